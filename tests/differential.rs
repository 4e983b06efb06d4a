//! The relational kinds beside pandas, scikit-learn and Pillow, on rows that are awkward: nulls, not-a-number, infinities, ties,
//! unicode, one row, no row, columns without a value, days on which clocks are set.
//!
//! `tests/peers/differential.py` made the folders under `tests/data/differential`: the input, the stages, and what the peer made
//! of it, one result or several, or what the refusal says.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
};

use polars::prelude::{AnyValue, Column, DataFrame, DataType, ParquetReader, SerReader};

use crate::harness::{Project, repository};

/// As far as sums in another order may be apart.
const TOLERANCE: f64 = 1e-9;

fn rows(path: &Path) -> DataFrame {
    let file = fs::File::open(path).expect("a file");
    ParquetReader::new(file).finish().expect("Parquet")
}

/// A real number, if the value is a number or a truth value.
fn real(value: &AnyValue<'_>) -> Option<f64> {
    match value {
        AnyValue::Boolean(value) => Some(f64::from(u8::from(*value))),
        value if value.dtype().is_primitive_numeric() => value.extract(),
        _ => None,
    }
}

fn is_same(found: &AnyValue<'_>, expected: &AnyValue<'_>, tolerance: f64) -> bool {
    match (real(found), real(expected)) {
        (Some(found), Some(expected)) => {
            found == expected
                || (found.is_nan() && expected.is_nan())
                // Any number is as near to infinity as a share of infinity.
                || (expected.is_finite()
                    && (found - expected).abs() <= tolerance * expected.abs().max(1.0))
        }
        (None, None) => match (items(found), items(expected)) {
            (Some(found), Some(expected)) => {
                found.len() == expected.len()
                    && found.iter().zip(&expected).all(|pair| match pair {
                        // Vectors are kept as f32.
                        (Some(found), Some(expected)) => (found - expected).abs() <= 1e-6,
                        (found, expected) => found == expected,
                    })
            }
            _ => found == expected,
        },
        _ => false,
    }
}

/// The numbers of a vector, or of an image, pixel by pixel.
fn items(value: &AnyValue<'_>) -> Option<Vec<Option<f64>>> {
    let (AnyValue::List(parts) | AnyValue::Array(parts, _)) = value else {
        return None;
    };
    let mut numbers = Vec::new();
    for part in parts.iter() {
        match items(&part) {
            Some(inner) => numbers.extend(inner),
            None => numbers.push(real(&part)),
        }
    }
    Some(numbers)
}

/// Points in time in one unit, whatever the file had.
fn plain(column: &Column) -> Column {
    match column.dtype() {
        DataType::Datetime(_, zone) => column
            .cast(&DataType::Datetime(
                polars::prelude::TimeUnit::Microseconds,
                zone.clone(),
            ))
            .expect("a datetime"),
        _ => column.clone(),
    }
}

fn differences(found: &DataFrame, expected: &DataFrame, tolerance: f64) -> Vec<String> {
    if found.height() != expected.height() {
        return vec![format!(
            "{} rows instead of {}",
            found.height(),
            expected.height()
        )];
    }
    let names = |frame: &DataFrame| {
        let mut names: Vec<String> = frame
            .get_column_names()
            .iter()
            .map(|name| name.to_string())
            .collect();
        names.sort();
        names
    };
    if names(found) != names(expected) {
        return vec![format!(
            "columns {:?} instead of {:?}",
            names(found),
            names(expected)
        )];
    }
    let mut differences = Vec::new();
    for expected in expected.columns() {
        let name = expected.name();
        let (found, expected) = (
            plain(found.column(name).expect("a column")),
            plain(expected),
        );
        for row in 0..expected.len() {
            let (found, expected) = (
                found.get(row).expect("a value"),
                expected.get(row).expect("a value"),
            );
            if !is_same(&found, &expected, tolerance) {
                differences.push(format!("`{name}` row {row}: {found} instead of {expected}"));
            }
        }
    }
    differences
}

/// How a case's results differ from those of its peer.
fn run(case: &Path) -> Vec<String> {
    let name = case.file_name().expect("a name").to_string_lossy();
    let project = Project::new();
    for entry in fs::read_dir(case).expect("a case").flatten() {
        let file = entry.file_name();
        project.write(
            &file.to_string_lossy(),
            fs::read(entry.path()).expect("bytes"),
        );
    }
    let outcome = project.takt(["run", "pipeline.yaml"]).run();
    if let Ok(refusal) = fs::read_to_string(case.join("refused.txt")) {
        let is_refused = matches!(outcome.code, 1 | 2)
            && refusal.lines().all(|text| outcome.stderr.contains(text));
        return if is_refused {
            Vec::new()
        } else {
            vec![format!(
                "{name}: code {} instead of a refusal: {}",
                outcome.code, outcome.stderr
            )]
        };
    }
    if outcome.code != 0 {
        return vec![format!("{name}: {}", outcome.stderr)];
    }
    // SciPy's search for the exponent ends this far from the likeliest.
    let tolerance = if name.starts_with("power") {
        1e-6
    } else {
        TOLERANCE
    };
    let mut failures = Vec::new();
    let mut results = 0;
    for entry in fs::read_dir(case).expect("a case").flatten() {
        let file = entry.file_name();
        let Some(result) = file.to_str().and_then(|file| file.strip_prefix("expected")) else {
            continue;
        };
        results += 1;
        let differences = differences(
            &rows(&project.path(&format!("found{result}"))),
            &rows(&entry.path()),
            tolerance,
        );
        if !differences.is_empty() {
            failures.push(format!("{name}{result}: {}", differences.join("; ")));
        }
    }
    assert!(results > 0, "{name} expects nothing");
    failures
}

#[test]
fn every_kind_does_what_its_peer_does() {
    let mut cases: Vec<PathBuf> = fs::read_dir(repository().join("tests/data/differential"))
        .expect("the cases")
        .map(|entry| entry.expect("a folder").path())
        .collect();
    cases.sort();
    assert!(cases.len() > 160, "{} cases", cases.len());
    // A run mostly waits for the disk.
    let failures: Vec<String> = thread::scope(|scope| {
        let runs: Vec<_> = cases
            .chunks(cases.len().div_ceil(4))
            .map(|cases| {
                scope.spawn(|| cases.iter().flat_map(|case| run(case)).collect::<Vec<_>>())
            })
            .collect();
        runs.into_iter()
            .flat_map(|run| run.join().expect("a thread"))
            .collect()
    });
    assert!(
        failures.is_empty(),
        "{} results of {} cases differ:\n{}",
        failures.len(),
        cases.len(),
        failures.join("\n")
    );
}
