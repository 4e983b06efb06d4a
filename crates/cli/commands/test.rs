//! `takt test`

use std::{path::Path, time::Instant};

use serde::Serialize;
use taktline_core::{Cancellation, Diagnostic};
use taktline_engine::{Difference, DifferentRow, Finding, TestResult, test as run_test};

use crate::{
    args::TestArguments,
    diagnostics, exit,
    output::{BAD, FAINT, GOOD, Output, counted, duration, styled},
    project,
};

/// The result for scripts.
#[derive(Serialize)]
struct Report {
    status: &'static str,
    passed: usize,
    failed: usize,
    files: Vec<FileReport>,
    seconds: f64,
}

#[derive(Serialize)]
struct FileReport {
    file: String,
    /// Why its tests cannot run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    diagnostics: Vec<Diagnostic>,
    is_refused: bool,
    tests: Vec<TestResult>,
}

pub(crate) fn test(arguments: &TestArguments, output: &mut Output) -> anyhow::Result<u8> {
    let start = Instant::now();
    let registry = project::registry()?;
    let directory = project::directory();
    let cancellation = Cancellation::default();
    let filter = arguments.filter.as_ref().map(|name| name.to_lowercase());
    let mut files = Vec::new();
    let mut any = false;
    for file in &arguments.files {
        let loaded = project::load(file, &arguments.spec, &registry);
        loaded.print(output);
        let mut report = FileReport {
            file: file.display().to_string(),
            diagnostics: Vec::new(),
            is_refused: loaded.failed(),
            tests: Vec::new(),
        };
        if !output.is_json() {
            output.line(heading(file, &report))?;
        }
        if let Some(plan) = loaded.checked.plan.as_ref().filter(|_| !report.is_refused) {
            any |= !plan.tests.is_empty();
            let chosen = plan.tests.iter().enumerate().filter(|(_, test)| {
                let name = test.case.name.to_lowercase();
                filter.as_ref().is_none_or(|filter| name.contains(filter))
            });
            for (index, _) in chosen {
                let result = run_test(plan, index, &directory, &cancellation);
                if !output.is_json() {
                    show(&result, loaded.text.as_deref(), output)?;
                }
                report.tests.push(result);
            }
            if plan.tests.is_empty() && !output.is_json() {
                output.line(styled(FAINT, "  no tests"))?;
            }
        }
        report.diagnostics = loaded.checked.diagnostics;
        files.push(report);
    }
    let count = |passed: bool| {
        let tests = files.iter().flat_map(|file| &file.tests);
        tests.filter(|test| test.passed == passed).count()
    };
    let (passed, failed) = (count(true), count(false));
    let is_refused = files.iter().any(|file| file.is_refused);
    let finds_none = any && passed + failed == 0 && filter.is_some();
    if finds_none && let Some(name) = &arguments.filter {
        output.note(format!(
            "{}: no test's name holds `{name}`",
            styled(BAD, "error")
        ));
    }
    let seconds = start.elapsed().as_secs_f64();
    if output.is_json() {
        output.json(&Report {
            status: if failed == 0 && !is_refused && !finds_none {
                "passed"
            } else {
                "failed"
            },
            passed,
            failed,
            files,
            seconds,
        })?;
    } else {
        summarise(passed, failed, seconds, output)?;
    }
    Ok(if is_refused || finds_none {
        exit::USAGE
    } else if failed > 0 {
        exit::FAILED
    } else {
        exit::OK
    })
}

fn heading(file: &Path, report: &FileReport) -> String {
    if report.is_refused {
        format!("{}: {}", file.display(), styled(BAD, "refused"))
    } else {
        file.display().to_string()
    }
}

fn summarise(
    passed: usize,
    failed: usize,
    seconds: f64,
    output: &mut Output,
) -> anyhow::Result<()> {
    let passed_words = format!("{passed} passed");
    let failed_words = format!("{failed} failed");
    output.line("")?;
    output.line(format!(
        "{}: {}, {} {}",
        counted(passed + failed, "test"),
        if passed > 0 {
            styled(GOOD, passed_words)
        } else {
            passed_words
        },
        if failed > 0 {
            styled(BAD, failed_words)
        } else {
            failed_words
        },
        styled(FAINT, format!("({})", duration(seconds)))
    ))
}

fn show(result: &TestResult, source: Option<&str>, output: &mut Output) -> anyhow::Result<()> {
    let time = styled(FAINT, format!("({})", duration(result.seconds)));
    if result.passed {
        return output.line(format!(
            "  {}      {} {time}",
            styled(GOOD, "ok"),
            result.name
        ));
    }
    output.line(format!(
        "  {}  {} {time}",
        styled(BAD, "FAILED"),
        result.name
    ))?;
    output.line(styled(
        FAINT,
        format!(
            "          {}:{}:{}, stage `{}`",
            result.location.file, result.location.line, result.location.column, result.stage
        ),
    ))?;
    for finding in &result.findings {
        for line in told(finding) {
            output.line(format!("          {line}").trim_end())?;
        }
        if let Finding::Error { diagnostic } = finding {
            diagnostics::print(std::slice::from_ref(diagnostic), source, output);
        }
    }
    Ok(())
}

fn told(finding: &Finding) -> Vec<String> {
    match finding {
        Finding::Rows { expected, found } => {
            let expected = counted(*expected as usize, "row");
            vec![format!("{expected} expected, {found} found")]
        }
        Finding::Frame(difference) => told_difference(difference),
        Finding::Columns { missing, found } => vec![
            format!("columns expected and not there: {}", quoted(missing)),
            format!("there: {}", quoted(found)),
        ],
        Finding::Condition {
            condition,
            violations,
            rows,
            columns,
            examples,
        } => {
            let mut lines = vec![format!(
                "`{condition}` does not hold for {violations} of {}",
                counted(*rows, "row")
            )];
            lines.extend(examples.iter().map(|(row, cells)| {
                let cells: Vec<String> = columns
                    .iter()
                    .zip(cells)
                    .map(|(column, cell)| format!("{column} = {cell}"))
                    .collect();
                format!("  row {row}: {}", cells.join(", "))
            }));
            lines
        }
        Finding::NotRefused { expected, rows } => vec![format!(
            "an error with `{expected}` expected; {} came out",
            counted(*rows, "row")
        )],
        Finding::OtherRefusal {
            expected,
            diagnostic,
        } => vec![
            format!("an error with `{expected}` expected, another came:"),
            format!("  {}", diagnostic.message),
        ],
        Finding::Error { diagnostic } => vec![diagnostic.message.clone()],
    }
}

fn quoted(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

/// Expected rows behind `-`, found rows behind `+`, with `^` under the cells that differ.
fn told_difference(difference: &Difference) -> Vec<String> {
    let differing = difference.lines.len() + difference.more;
    let verb = if differing == 1 { "differs" } else { "differ" };
    let mut lines = vec![format!(
        "{} {verb} (- expected, + found):",
        counted(differing, "row")
    )];
    let mut table: Vec<(char, String, &[String])> = Vec::new();
    for line in &difference.lines {
        match line {
            DifferentRow::Missing { row, cells } => table.push(('-', row.to_string(), cells)),
            DifferentRow::Unexpected { row, cells } => table.push(('+', row.to_string(), cells)),
            DifferentRow::Changed {
                expected_row,
                found_row,
                expected,
                found,
                ..
            } => {
                table.push(('-', expected_row.to_string(), expected));
                table.push(('+', found_row.to_string(), found));
            }
        }
    }
    let width = |text: &str| text.chars().count();
    let row_width = table.iter().map(|(_, row, _)| width(row)).max();
    let row_width = row_width.unwrap_or(0).max("row".len());
    let widths: Vec<usize> = difference
        .columns
        .iter()
        .enumerate()
        .map(|(index, name)| {
            let cells = table.iter().map(|(_, _, cells)| width(&cells[index]));
            cells.max().unwrap_or(0).max(width(name))
        })
        .collect();
    let written = |mark: char, row: &str, cells: &[String]| {
        let mut line = format!("{mark} {row:>row_width$}");
        for (cell, width) in cells.iter().zip(&widths) {
            line.push_str(&format!("  {cell:<width$}"));
        }
        line.trim_end().to_owned()
    };
    lines.push(written(' ', "row", &difference.columns));
    for line in &difference.lines {
        match line {
            DifferentRow::Missing { row, cells } => {
                lines.push(styled(BAD, written('-', &row.to_string(), cells)));
            }
            DifferentRow::Unexpected { row, cells } => {
                lines.push(styled(GOOD, written('+', &row.to_string(), cells)));
            }
            DifferentRow::Changed {
                expected_row,
                found_row,
                expected,
                found,
                differing,
            } => {
                lines.push(styled(
                    BAD,
                    written('-', &expected_row.to_string(), expected),
                ));
                lines.push(styled(GOOD, written('+', &found_row.to_string(), found)));
                let marks: Vec<String> = expected
                    .iter()
                    .zip(found)
                    .enumerate()
                    .map(|(index, (expected, found))| {
                        let length = width(expected).max(width(found)).max(1);
                        let mark = if differing.contains(&index) { "^" } else { " " };
                        mark.repeat(length)
                    })
                    .collect();
                lines.push(written(' ', "", &marks));
            }
        }
    }
    if difference.more > 0 {
        lines.push(format!("  … {} more", difference.more));
    }
    lines
}
