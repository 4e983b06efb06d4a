//! `takt plan`

use std::collections::BTreeSet;

use serde::Serialize;
use taktline_core::{Diagnostic, Role, Schema, type_name};
use taktline_engine::{Explanation, Status, Store, explain};
use taktline_spec::Plan;

use crate::{
    args::{Graph, PlanArguments},
    exit,
    output::{BOLD, FAINT, GOOD, Output, counted, styled},
    project,
};

/// The result for scripts: why there is no plan.
#[derive(Serialize)]
struct Refusal {
    status: &'static str,
    diagnostics: Vec<Diagnostic>,
}

#[derive(Serialize)]
struct PlanReport {
    pipeline: String,
    seed: u64,
    stages: Vec<StageReport>,
}

#[derive(Serialize)]
struct StageReport {
    #[serde(flatten)]
    explanation: Explanation,
    schema: Vec<ColumnReport>,
}

#[derive(Serialize)]
struct ColumnReport {
    name: String,
    #[serde(rename = "type")]
    type_name: String,
    role: Role,
}

pub(crate) fn plan(arguments: &PlanArguments, output: &mut Output) -> anyhow::Result<u8> {
    let registry = project::registry()?;
    let loaded = project::load(&arguments.file, &arguments.spec, &registry);
    loaded.print(output);
    let (false, Some(plan)) = (loaded.failed(), &loaded.checked.plan) else {
        if output.is_json() {
            output.json(&Refusal {
                status: "failed",
                diagnostics: loaded.checked.diagnostics,
            })?;
        }
        return Ok(exit::USAGE);
    };
    let directory = project::directory();
    let explanations = explain(plan, &Store::new(&directory), &directory)?;
    match arguments.graph {
        Some(Graph::Mermaid) => mermaid(&explanations, output)?,
        Some(Graph::Dot) => dot(&plan.pipeline, &explanations, output)?,
        None if output.is_json() => {
            let stages = explanations
                .into_iter()
                .zip(&plan.stages)
                .map(|(explanation, stage)| StageReport {
                    explanation,
                    schema: stage
                        .schema
                        .columns
                        .iter()
                        .map(|column| ColumnReport {
                            name: column.name.clone(),
                            type_name: type_name(&column.dtype),
                            role: column.role,
                        })
                        .collect(),
                })
                .collect();
            output.json(&PlanReport {
                pipeline: plan.pipeline.clone(),
                seed: plan.seed,
                stages,
            })?;
        }
        None => text(plan, &explanations, output)?,
    }
    Ok(exit::OK)
}

fn text(plan: &Plan, explanations: &[Explanation], output: &mut Output) -> anyhow::Result<()> {
    let about = plan
        .about
        .as_deref()
        .map(|about| format!(": {about}"))
        .unwrap_or_default();
    output.line(format!(
        "{}{about} {}",
        styled(BOLD, &plan.pipeline),
        styled(FAINT, format!("(seed {})", plan.seed))
    ))?;
    output.line("")?;
    let empty = Schema::default();
    for (stage, explanation) in plan.stages.iter().zip(explanations) {
        let status = match explanation.status {
            Status::Cached => styled(GOOD, "cached"),
            Status::Run => styled(BOLD, "to run"),
            Status::Lazy => styled(FAINT, "lazy"),
        };
        let from = match stage.inputs.as_slice() {
            [] | [_] => String::new(),
            _ => format!(" from {}", explanation.inputs.join(", ")),
        };
        output.line(format!(
            "{} {}  {}{from}",
            if explanation.barrier { "●" } else { "○" },
            styled(BOLD, &explanation.id),
            styled(FAINT, &explanation.kind),
        ))?;
        output.line(format!("    {status}: {}", explanation.reason))?;
        let before = stage
            .inputs
            .first()
            .map_or(&empty, |input| &plan.stages[*input].schema);
        for line in wrapped(
            &schema_change(before, &stage.schema),
            output.width().saturating_sub(4),
        ) {
            output.line(format!("    {line}"))?;
        }
    }
    output.line("")?;
    output.line(styled(
        FAINT,
        "● ends a query (split, fit, model, evaluation, sink, bundle, or read twice)   ○ is part of the next one's query",
    ))?;
    Ok(())
}

/// The schema after a stage, told as what it changes.
fn schema_change(before: &Schema, after: &Schema) -> Vec<String> {
    let of = |column: &taktline_core::Column| {
        let role = match column.role {
            Role::Feature | Role::Internal => String::new(),
            role => format!(" [{}]", format!("{role:?}").to_lowercase()),
        };
        format!("{}: {}{role}", column.name, type_name(&column.dtype))
    };
    let mut parts: Vec<String> = Vec::new();
    for column in &after.columns {
        match before.column(&column.name) {
            None => parts.push(format!("+{}", of(column))),
            Some(earlier) if earlier.dtype != column.dtype || earlier.role != column.role => {
                parts.push(format!("~{}", of(column)));
            }
            Some(_) => {}
        }
    }
    let kept: BTreeSet<&str> = after.names().collect();
    parts.extend(
        before
            .names()
            .filter(|name| !kept.contains(name))
            .map(|name| format!("-{name}")),
    );
    parts.push(format!("({})", counted(after.columns.len(), "column")));
    parts
}

fn wrapped(parts: &[String], width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for part in parts {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 2 + part.chars().count() <= width => {
                line.push_str("  ");
                line.push_str(part);
            }
            _ => lines.push(part.clone()),
        }
    }
    lines
}

fn mermaid(explanations: &[Explanation], output: &mut Output) -> anyhow::Result<()> {
    // Nodes are named by number: an id may be a word of the language (`end`).
    let node = |id: &str| {
        explanations
            .iter()
            .position(|one| one.id == id)
            .unwrap_or_default()
    };
    output.line("flowchart TD")?;
    for (number, one) in explanations.iter().enumerate() {
        let (open, close) = if one.barrier {
            ("[\"", "\"]")
        } else {
            ("(\"", "\")")
        };
        output.line(format!(
            "    n{number}{open}{}<br/><small>{}</small>{close}",
            one.id, one.kind
        ))?;
    }
    for (number, one) in explanations.iter().enumerate() {
        for input in &one.inputs {
            output.line(format!("    n{} --> n{number}", node(input)))?;
        }
    }
    let cached: Vec<String> = explanations
        .iter()
        .enumerate()
        .filter(|(_, one)| one.status == Status::Cached)
        .map(|(number, _)| format!("n{number}"))
        .collect();
    if !cached.is_empty() {
        output.line("    classDef cached fill:#d9f2d9,stroke:#2e7d32,color:#1b3a1d")?;
        output.line(format!("    class {} cached", cached.join(",")))?;
    }
    Ok(())
}

fn dot(pipeline: &str, explanations: &[Explanation], output: &mut Output) -> anyhow::Result<()> {
    output.line(format!("digraph \"{pipeline}\" {{"))?;
    output.line("    rankdir=TB; node [fontname=\"sans-serif\", style=\"rounded,filled\", fillcolor=white];")?;
    for one in explanations {
        let shape = if one.barrier { "box" } else { "ellipse" };
        let fill = if one.status == Status::Cached {
            ", fillcolor=\"#d9f2d9\""
        } else {
            ""
        };
        output.line(format!(
            "    \"{}\" [label=\"{}\\n{}\", shape={shape}{fill}];",
            one.id, one.id, one.kind
        ))?;
    }
    for one in explanations {
        for input in &one.inputs {
            output.line(format!("    \"{input}\" -> \"{}\";", one.id))?;
        }
    }
    output.line("}")
}
