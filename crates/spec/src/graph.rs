//! Which stage reads which, and in what order they are worked on.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
};

use taktline_core::did_you_mean;

use crate::{report::Report, stages::Draft};

/// Finds every stage's inputs, reports those that do not exist, and counts them.
pub(crate) fn connect(drafts: &mut [Draft], report: &mut Report<'_>) {
    let ids: HashMap<String, usize> = drafts
        .iter()
        .enumerate()
        .map(|(index, draft)| (draft.id.clone(), index))
        .collect();
    for index in 0..drafts.len() {
        let draft = &drafts[index];
        let arity = draft.stage.as_ref().map(|stage| stage.arity());
        let is_source = match &arity {
            Some(arity) => *arity.end() == 0,
            None => draft.kind.is_some_and(|kind| kind.family() == "source"),
        };
        let mut inputs = Vec::new();
        let mut wrong = false;
        match &draft.from {
            Some((names, place)) => {
                if is_source && !names.is_empty() {
                    wrong = true;
                    report
                        .error(
                            place.clone(),
                            "wrong-inputs",
                            format!("`{}` is a source and reads no stage", draft.id),
                        )
                        .help
                        .push("remove `from`".into());
                }
                for (name, place) in names.iter().filter(|_| !is_source) {
                    let found = ids.get(name).copied();
                    if found.is_none() {
                        let message = format!("`from` names `{name}`, which is no stage");
                        let others = drafts
                            .iter()
                            .filter(|other| other.id != draft.id)
                            .map(|other| other.id.as_str());
                        let help = did_you_mean(name, others);
                        report
                            .error(place.clone(), "unknown-stage", message)
                            .help
                            .extend(help);
                    }
                    inputs.push(found);
                }
            }
            None if is_source => {}
            // One that may do without an input does so where there is none.
            None if index == 0 && arity.as_ref().is_some_and(|arity| *arity.start() == 0) => {}
            None if index == 0 => {
                wrong = true;
                // Of an unknown kind nobody knows what it needs.
                if draft.kind.is_some() {
                    let message =
                        format!("stage `{}` is the first and has nothing to read", draft.id);
                    report
                        .error(draft.place.clone(), "missing-input", message)
                        .help
                        .push(
                            "begin with a `source.*` stage, or name what it reads with `from`"
                                .into(),
                        );
                }
            }
            None => inputs.push(Some(index - 1)),
        }
        if let Some(arity) = arity.filter(|arity| !wrong && !arity.contains(&inputs.len())) {
            wrong = true;
            let wanted = match (*arity.start(), *arity.end()) {
                (least, most) if least == most => inputs_in_words(least),
                (least, usize::MAX) => format!("at least {}", inputs_in_words(least)),
                (least, most) => format!("{least} to {}", inputs_in_words(most)),
            };
            let place = draft
                .from
                .as_ref()
                .map_or_else(|| draft.place.clone(), |(_, place)| place.clone());
            let message = format!(
                "stage `{}` reads {wanted}, and has {}",
                draft.id,
                inputs.len()
            );
            let diagnostic = report.error(place, "wrong-inputs", message);
            diagnostic.help.push(if *arity.end() == 1 {
                "name one stage in `from`".into()
            } else {
                "name them with `from: [first, second]`".into()
            });
        }
        drafts[index].inputs = inputs;
        drafts[index].wrong_inputs = wrong;
    }
}

fn inputs_in_words(count: usize) -> String {
    if count == 1 {
        "one stage".into()
    } else {
        format!("{count} stages")
    }
}

/// Topological order, as written where that is free; stages of a cycle, and below one, come last, as written.
pub(crate) fn order(drafts: &[Draft], report: &mut Report<'_>) -> Vec<usize> {
    let mut readers: Vec<Vec<usize>> = vec![Vec::new(); drafts.len()];
    let mut waits_for: Vec<usize> = vec![0; drafts.len()];
    for (index, draft) in drafts.iter().enumerate() {
        for input in draft.inputs.iter().flatten() {
            readers[*input].push(index);
            waits_for[index] += 1;
        }
    }
    let mut ready: BinaryHeap<Reverse<usize>> = waits_for
        .iter()
        .enumerate()
        .filter(|(_, count)| **count == 0)
        .map(|(index, _)| Reverse(index))
        .collect();
    let mut order = Vec::with_capacity(drafts.len());
    let mut done = vec![false; drafts.len()];
    while let Some(Reverse(index)) = ready.pop() {
        order.push(index);
        done[index] = true;
        for reader in &readers[index] {
            waits_for[*reader] -= 1;
            if waits_for[*reader] == 0 {
                ready.push(Reverse(*reader));
            }
        }
    }
    if order.len() < drafts.len() {
        report_cycles(drafts, &done, report);
        order.extend((0..drafts.len()).filter(|index| !done[*index]));
    }
    order
}

/// Follows inputs among the stages that never became ready: they lead into a cycle.
fn report_cycles(drafts: &[Draft], done: &[bool], report: &mut Report<'_>) {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        OnPath,
        Seen,
    }
    let mut marks = vec![Mark::New; drafts.len()];
    for start in (0..drafts.len()).filter(|index| !done[*index]) {
        // Depth-first, with the path kept by hand: each entry is a stage and how many of its inputs were followed.
        let mut path: Vec<(usize, usize)> = Vec::new();
        if marks[start] == Mark::New {
            marks[start] = Mark::OnPath;
            path.push((start, 0));
        }
        while let Some((index, followed)) = path.last_mut() {
            let next = drafts[*index].inputs.get(*followed).copied();
            *followed += 1;
            match next {
                None => {
                    marks[*index] = Mark::Seen;
                    path.pop();
                }
                Some(None) => {}
                Some(Some(input)) if done[input] => {}
                Some(Some(input)) => match marks[input] {
                    Mark::New => {
                        marks[input] = Mark::OnPath;
                        path.push((input, 0));
                    }
                    Mark::OnPath => {
                        let from = path
                            .iter()
                            .position(|(index, _)| *index == input)
                            .unwrap_or(0);
                        let cycle: Vec<usize> =
                            path[from..].iter().map(|(index, _)| *index).collect();
                        report_cycle(drafts, cycle, report);
                    }
                    Mark::Seen => {}
                },
            }
        }
    }
}

/// `a → b → a`, in the direction in which rows would flow, at the stage that is written first.
fn report_cycle(drafts: &[Draft], mut cycle: Vec<usize>, report: &mut Report<'_>) {
    cycle.reverse();
    let first = cycle
        .iter()
        .enumerate()
        .min_by_key(|(_, index)| **index)
        .map_or(0, |(position, _)| position);
    cycle.rotate_left(first);
    let Some(&head) = cycle.first() else { return };
    let chain: Vec<String> = cycle
        .iter()
        .chain([&head])
        .map(|index| format!("`{}`", drafts[*index].id))
        .collect();
    let draft = &drafts[head];
    let place = draft
        .from
        .as_ref()
        .map_or_else(|| draft.place.clone(), |(_, place)| place.clone());
    let diagnostic = report.error(
        place,
        "cycle",
        format!("stages read each other in a circle: {}", chain.join(" → ")),
    );
    diagnostic
        .help
        .push("change a `from` so that every stage reads only stages that do not need it".into());
}
