//! `takt profile`

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use taktline_core::{Cancellation, Frame, Schema, did_you_mean};
use taktline_engine::{Store, rows_after, write_atomically};
use taktline_evaluate::profile::{ColumnProfile, Profile, percent, profile as look, profile_html};
use taktline_ops::files;

use super::{run::Failed, score::refuse};
use crate::{
    args::{Format, ProfileArguments},
    diagnostics, exit,
    output::{Align, BAD, BOLD, FAINT, Output, Table, counted, duration, styled, thousands},
    progress, project,
};

/// Pairs of columns that the text shows.
const PAIRS: usize = 10;
/// Terminals with fewer characters a line have no room for a table of columns.
const NARROW: usize = 70;

pub(crate) fn profile(arguments: &ProfileArguments, output: &mut Output) -> anyhow::Result<u8> {
    let began = Instant::now();
    let frame = match Target::of(&arguments.target) {
        Target::File(path) => match files::read_file(path, None) {
            Ok(data) => {
                let schema = Schema::from_polars(data.schema());
                Frame { data, schema }
            }
            Err(error) => return refuse(&error, error.help().map(str::to_owned), output),
        },
        Target::Pipeline { file, stage } => match stage_rows(file, stage, arguments, output)? {
            Ok(frame) => frame,
            Err(code) => return Ok(code),
        },
    };
    let profile = match look(&arguments.target, &frame) {
        Ok(profile) => profile,
        Err(error) => return refuse(&error, error.help().map(str::to_owned), output),
    };
    drop(frame);
    let format = format(arguments, output);
    let Some(path) = &arguments.output else {
        match format {
            Format::Json => output.json(&profile)?,
            Format::Html => output.line(profile_html(&profile).trim_end())?,
            Format::Text => {
                for line in text(&profile, output.width()) {
                    output.line(line)?;
                }
            }
        }
        return Ok(exit::OK);
    };
    let content = match format {
        Format::Json => serde_json::to_string_pretty(&profile)? + "\n",
        Format::Html => profile_html(&profile),
        Format::Text => {
            let lines = text(&profile, output.width()).join("\n") + "\n";
            anstream::adapter::strip_str(&lines).to_string()
        }
    };
    if let Err(error) = write_atomically(path, content.as_bytes()) {
        return refuse(&error, error.help().map(str::to_owned), output);
    }
    output.note(format!(
        "{} profiled in {}: {}",
        counted(profile.rows, "row"),
        duration(began.elapsed().as_secs_f64()),
        path.display()
    ));
    Ok(exit::OK)
}

/// What is to be profiled.
enum Target<'a> {
    File(&'a Path),
    Pipeline {
        file: PathBuf,
        stage: Option<&'a str>,
    },
}

impl<'a> Target<'a> {
    fn of(target: &'a str) -> Self {
        let is_spec = |text: &str| {
            let text = text.to_lowercase();
            text.ends_with(".yaml") || text.ends_with(".yml")
        };
        match target.rsplit_once(':') {
            Some((file, stage)) if is_spec(file) => Self::Pipeline {
                file: file.into(),
                stage: Some(stage),
            },
            _ if is_spec(target) => Self::Pipeline {
                file: target.into(),
                stage: None,
            },
            _ => Self::File(Path::new(target)),
        }
    }
}

/// As `--format` says, or else as the output's name does.
fn format(arguments: &ProfileArguments, output: &Output) -> Format {
    let extension = arguments
        .output
        .as_deref()
        .and_then(Path::extension)
        .map(|extension| extension.to_string_lossy().to_lowercase());
    match (output.format(), extension.as_deref()) {
        (Format::Text, Some("html" | "htm")) => Format::Html,
        (Format::Text, Some("json")) => Format::Json,
        (format, _) => format,
    }
}

/// The rows after a stage of a pipeline, its first where none is named; or the exit code, all being said.
fn stage_rows(
    file: PathBuf,
    stage: Option<&str>,
    arguments: &ProfileArguments,
    output: &mut Output,
) -> anyhow::Result<Result<Frame, u8>> {
    let registry = project::registry()?;
    let loaded = project::load(&file, &arguments.spec, &registry);
    loaded.print(output);
    let (false, Some(plan)) = (loaded.failed(), &loaded.checked.plan) else {
        if output.is_json() {
            output.json(&Failed::new(loaded.checked.diagnostics))?;
        }
        return Ok(Err(exit::USAGE));
    };
    let index = match stage {
        None => Some(0),
        Some(id) => plan.stages.iter().position(|stage| stage.id == id),
    };
    let Some(index) = index.filter(|index| *index < plan.stages.len()) else {
        let id = stage.unwrap_or_default();
        let known = plan.stages.iter().map(|stage| stage.id.as_str());
        let error = format!("`{}` has no stage `{id}`", file.display());
        refuse(&error, did_you_mean(id, known), output)?;
        return Ok(Err(exit::USAGE));
    };
    let directory = project::directory();
    let store = Store::new(&directory);
    let observer = progress::observer(output.is_watched());
    let rows = rows_after(
        plan,
        index,
        &store,
        &directory,
        observer.as_ref(),
        &Cancellation::default(),
    );
    drop(observer);
    Ok(match rows {
        Ok(frame) => Ok(frame),
        Err(failure) => {
            diagnostics::print(
                std::slice::from_ref(&failure.diagnostic),
                loaded.text.as_deref(),
                output,
            );
            if output.is_json() {
                output.json(&Failed::new(vec![*failure.diagnostic]))?;
            }
            Err(exit::of(failure.kind))
        }
    })
}

fn text(profile: &Profile, width: usize) -> Vec<String> {
    let mut lines = vec![styled(BOLD, &profile.name), facts(profile), String::new()];
    lines.extend(if width < NARROW {
        narrow_columns(profile, width)
    } else {
        columns(profile, width)
    });
    if !profile.correlations.is_empty() {
        let mut pairs = Table::new([
            ("column", Align::Left),
            ("with", Align::Left),
            ("Pearson", Align::Right),
            ("Spearman", Align::Right),
        ]);
        for pair in profile.correlations.iter().take(PAIRS) {
            pairs.row([
                pair.left.clone(),
                pair.right.clone(),
                format!("{:.3}", pair.pearson),
                format!("{:.3}", pair.spearman),
            ]);
        }
        let strongest = strongest(profile.correlations.len(), profile);
        section(&mut lines, "Correlations", &strongest);
        lines.extend(pairs.lines(width));
    }
    if !profile.associations.is_empty() {
        let mut pairs = Table::new([
            ("column", Align::Left),
            ("with", Align::Left),
            ("Cramér's V", Align::Right),
        ]);
        for pair in profile.associations.iter().take(PAIRS) {
            let strength = format!("{:.3}", pair.cramers_v);
            pairs.row([pair.left.clone(), pair.right.clone(), strength]);
        }
        let strongest = strongest(profile.associations.len(), profile);
        section(&mut lines, "Categories that go together", &strongest);
        lines.extend(pairs.lines(width));
    }
    if !profile.expectations.is_empty() {
        section(
            &mut lines,
            "Expectations",
            "they hold for these rows, with some room",
        );
        lines.extend(profile.expectations.lines().map(str::to_owned));
    }
    lines
}

/// A line a column, what its values are beside.
fn columns(profile: &Profile, width: usize) -> Vec<String> {
    let mut columns = Table::new([
        ("column", Align::Left),
        ("type", Align::Left),
        ("nulls", Align::Right),
        ("different", Align::Right),
        ("values", Align::Left),
    ]);
    for column in &profile.columns {
        columns.row([
            column.name.clone(),
            column.dtype.clone(),
            percent(column.nulls, profile.rows),
            different(column),
            values(column),
        ]);
    }
    columns.lines(width)
}

/// Below each other what has no room side by side.
fn narrow_columns(profile: &Profile, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for column in &profile.columns {
        lines.push(format!(
            "{}  {}",
            styled(BOLD, &column.name),
            styled(FAINT, &column.dtype)
        ));
        let nulls = percent(column.nulls, profile.rows);
        let counts = format!("{nulls} null, {} different", different(column));
        for text in [counts, values(column)] {
            let mut line = String::from(" ");
            for word in text.split(' ') {
                if line.len() > 1 && line.chars().count() + 1 + word.chars().count() > width {
                    lines.push(std::mem::replace(&mut line, String::from(" ")));
                }
                line.push(' ');
                line.push_str(word);
            }
            lines.push(line);
        }
    }
    lines
}

/// What the values are, with bars of how they are spread.
fn values(column: &ColumnProfile) -> String {
    match column.bars() {
        Some(bars) => format!("{bars} {}", column.in_short()),
        None => column.in_short(),
    }
}

fn different(column: &ColumnProfile) -> String {
    let distinct = column.distinct.map(|count| thousands(count as u64));
    distinct.unwrap_or_else(|| "–".to_owned())
}

fn facts(profile: &Profile) -> String {
    let duplicates = match profile.duplicate_rows {
        Some(0) => ", none twice".to_owned(),
        Some(count) => styled(
            BAD,
            format!(
                ", {} of them again ({})",
                thousands(count as u64),
                percent(count, profile.rows)
            ),
        ),
        None => String::new(),
    };
    format!(
        "{}, {}{duplicates}",
        counted(profile.columns.len(), "column"),
        counted(profile.rows, "row")
    )
}

/// Which pairs are shown, and of which rows they speak.
fn strongest(pairs: usize, profile: &Profile) -> String {
    let mut told = Vec::new();
    if pairs > PAIRS {
        told.push(format!(
            "the strongest {PAIRS} of {}",
            thousands(pairs as u64)
        ));
    }
    if profile.compared_rows < profile.rows {
        told.push(format!(
            "on {} evenly spaced rows",
            thousands(profile.compared_rows as u64)
        ));
    }
    if profile.uncompared_columns > 0 {
        told.push(format!(
            "{} left out",
            counted(profile.uncompared_columns, "column")
        ));
    }
    told.join(", ")
}

fn section(lines: &mut Vec<String>, title: &str, note: &str) {
    lines.push(String::new());
    let line = format!("{}  {}", styled(BOLD, title), styled(FAINT, note));
    lines.push(if note.is_empty() {
        styled(BOLD, title)
    } else {
        line
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_file_a_pipeline_or_a_stage() {
        let stage_of = |target| match Target::of(target) {
            Target::File(_) => None,
            Target::Pipeline { file, stage } => Some((file.display().to_string(), stage)),
        };
        assert_eq!(stage_of("data/rows.csv"), None);
        assert_eq!(stage_of("C:\\data\\rows.csv"), None);
        assert_eq!(stage_of("a.yaml"), Some(("a.yaml".into(), None)));
        assert_eq!(
            stage_of("C:\\a.YML:filter"),
            Some(("C:\\a.YML".into(), Some("filter")))
        );
    }
}
