//! Bundles: they score as the run did, refuse what does not fit, and are the same bytes every time.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    path::{Path, PathBuf},
};

use polars::prelude::{
    CsvReadOptions, CsvWriter, DataFrame, DataType, IdxCa, IpcReader, IpcWriter, JsonFormat,
    JsonReader, JsonWriter, NamedFrom, ParquetReader, ParquetWriter, SerReader, SerWriter,
};
use proptest::{
    collection::vec,
    sample::select,
    strategy::Strategy,
    test_runner::{Config, TestRunner},
};

use crate::{
    harness::{Outcome, Project, golden_settings},
    tumours,
};

/// Payments with every kind of feature: an expression, the calendar, a window, categories, a scale.
const PAYMENTS: &str = "\
pipeline: payments
columns:
  payment_id: {role: id}
  at: {role: time}
  step: {role: ignore}
  account: {role: pii}
  counterparty: {role: pii}
  is_fraud: {role: target}
stages:
  - source.synthetic.payments: {rows: 6000, fraud_rate: 0.01}
    id: payments
  - clean.drop_duplicates: {on: [payment_id]}
    id: rows
  - features.derive:
      log_amount: ln(amount + 1)
      share_of_balance: least(amount / (balance_before + 1), 2.0)
  - features.calendar: {column: at, parts: [hour], cyclic: true}
  - features.rolling: {by: account, over: at, window: 24h, aggregate: {payments_24h: count(), spent_24h: sum(amount)}}
  - split.time: {test: 0.25}
  - features.one_hot: {columns: [type]}
  - features.standardize: {columns: [log_amount, share_of_balance, payments_24h, spent_24h]}
  - model.linfa.logistic_regression:
      features: [log_amount, share_of_balance, payments_24h, spent_24h, at_hour_sin, at_hour_cos, type=CASH_OUT, type=TRANSFER]
      class_weight: balanced
    id: classifier
  - evaluate.classification: {}
    id: quality
  - deploy.bundle: {}
  - sink.parquet: {path: predictions.parquet}
    from: classifier
  - sink.csv: {path: rows.csv}
    from: rows
  - sink.parquet: {path: rows.parquet}
    from: rows
  - sink.ndjson: {path: rows.ndjson}
    from: rows
  - sink.ipc: {path: rows.arrow}
    from: rows
";

pub(crate) const FORMATS: [&str; 4] = ["csv", "parquet", "ndjson", "arrow"];

/// A table from a file, by its ending.
pub(crate) fn read_table(path: &Path) -> DataFrame {
    let file = || File::open(path).expect("a table");
    let table = match path.extension().and_then(|extension| extension.to_str()) {
        Some("csv") => CsvReadOptions::default()
            .with_infer_schema_length(None)
            .try_into_reader_with_file_path(Some(path.to_owned()))
            .and_then(SerReader::finish),
        Some("parquet") => ParquetReader::new(file()).finish(),
        Some("ndjson") => JsonReader::new(file())
            .with_json_format(JsonFormat::JsonLines)
            .finish(),
        Some("arrow") => IpcReader::new(file()).finish(),
        other => panic!("no reader for {other:?}"),
    };
    table.expect("a readable table")
}

/// Writes a table to a file, by its ending.
pub(crate) fn write_table(path: &Path, table: &mut DataFrame) {
    let file = File::create(path).expect("a file");
    let written = match path.extension().and_then(|extension| extension.to_str()) {
        Some("csv") => CsvWriter::new(file).finish(table),
        Some("parquet") => ParquetWriter::new(file).finish(table).map(|_| ()),
        Some("ndjson") => JsonWriter::new(file)
            .with_json_format(JsonFormat::JsonLines)
            .finish(table),
        Some("arrow") => IpcWriter::new(file).finish(table),
        other => panic!("no writer for {other:?}"),
    };
    written.expect("a table is written");
}

/// The values of a column as text: numbers to the bit, so that 0.1 + 0.2 is not 0.3.
pub(crate) fn values(table: &DataFrame, name: &str) -> Vec<String> {
    let column = table
        .column(name)
        .unwrap_or_else(|_| panic!("no column `{name}` in {:?}", table.get_column_names()));
    match column.dtype() {
        DataType::Float64 => {
            let bits = |value: Option<f64>| {
                value.map_or("null".to_owned(), |value| {
                    format!("{:016x}", value.to_bits())
                })
            };
            column.f64().expect("numbers").iter().map(bits).collect()
        }
        _ => {
            let text = column.cast(&DataType::String).expect("text");
            text.str()
                .expect("text")
                .iter()
                .map(|value| value.unwrap_or("null").to_owned())
                .collect()
        }
    }
}

/// The columns that a model adds.
fn outputs(table: &DataFrame) -> Vec<String> {
    let is_output =
        |name: &str| matches!(name, "prediction" | "score") || name.starts_with("probability_");
    let names: Vec<String> = table
        .columns()
        .iter()
        .map(|column| column.name().to_string())
        .filter(|name| is_output(name))
        .collect();
    assert!(names.len() >= 3, "{names:?}");
    names
}

/// The scored rows are those of the run, in the same order, with the same outputs to the bit.
pub(crate) fn assert_same_outputs(run: &DataFrame, scored: &DataFrame, what: &str) {
    assert_eq!(scored.height(), run.height(), "{what}");
    let outputs = outputs(run);
    for name in &outputs {
        let (run, scored) = (values(run, name), values(scored, name));
        if let Some(row) = (0..run.len()).find(|row| run[*row] != scored[*row]) {
            panic!(
                "{what}: `{name}` of row {} is {} in the run and {} when scored",
                row + 1,
                run[row],
                scored[row]
            );
        }
    }
}

fn payments() -> (Project, PathBuf) {
    let project = Project::with(PAYMENTS);
    let bundle = project.run_pipeline(&[]).bundle();
    (project, bundle)
}

/// A trained tumour pipeline, with what it predicted for every row.
fn tumours() -> (Project, PathBuf, DataFrame) {
    let project = tumours::project();
    let spec = project.read("pipeline.yaml")
        + "  - sink.parquet: {path: predictions.parquet}\n    from: classifier\n  - sink.parquet: {path: rows.parquet}\n    from: sane\n";
    project.write("pipeline.yaml", spec);
    let bundle = project.run_pipeline(&[]).bundle();
    let predictions = read_table(&project.path("predictions.parquet"));
    (project, bundle, predictions)
}

#[test]
fn scores_as_the_run_did_in_every_format() {
    let (project, bundle) = payments();
    let run = read_table(&project.path("predictions.parquet"));
    for input in FORMATS {
        for output in FORMATS {
            let what = format!("{input} to {output}");
            let name = format!("scored-{input}.{output}");
            let outcome = project
                .score(&bundle, &format!("rows.{input}"), &name)
                .succeeded();
            // The window sees no payment of before.
            let note = format!("history is that of rows.{input} alone");
            assert!(outcome.stdout.contains(&note), "{}", outcome.stdout);
            let scored = read_table(&project.path(&name));
            assert_eq!(
                values(&scored, "payment_id"),
                values(&run, "payment_id"),
                "{what}"
            );
            assert_same_outputs(&run, &scored, &what);
        }
    }
}

/// What is known of a run: the rows that it read and what it predicted for each of them, in the same order.
pub(crate) struct Known<'a> {
    pub(crate) project: &'a Project,
    pub(crate) bundle: &'a Path,
    pub(crate) source: &'a DataFrame,
    pub(crate) run: &'a DataFrame,
    /// A column that scoring passes through, to see that rows did not change places.
    pub(crate) passed: &'a str,
}

/// Scores rows of the source in many an order and in every format; each time `(given, asked)`: the rows that go in, and the
/// places among them of those whose outputs must be the run's, to the bit.
pub(crate) fn assert_any_rows_score_as_in_the_run(
    known: &Known<'_>,
    formats: &'static [&'static str],
    cases: u32,
    rows: impl Strategy<Value = (Vec<u32>, Vec<u32>)>,
) {
    let mut runner = TestRunner::new(Config {
        cases,
        failure_persistence: None,
        // Each is a process of its own.
        max_shrink_iters: 30,
        ..Config::default()
    });
    let outcome = runner.run(
        &(rows, select(formats), select(formats)),
        |((given, asked), input, output)| {
            let take = |table: &DataFrame, rows: &[u32]| {
                table
                    .take(&IdxCa::new("row".into(), rows))
                    .expect("rows that are there")
            };
            let (input, output) = (format!("some.{input}"), format!("some-scored.{output}"));
            let rows: Vec<u32> = asked.iter().map(|place| given[*place as usize]).collect();
            let expected = take(known.run, &rows);
            let mut sample = take(known.source, &given);
            write_table(&known.project.path(&input), &mut sample);
            known
                .project
                .score(known.bundle, &input, &output)
                .succeeded();
            let scored = read_table(&known.project.path(&output));
            assert_eq!(scored.height(), given.len());
            let scored = take(&scored, &asked);
            assert_eq!(
                values(&scored, known.passed),
                values(&expected, known.passed)
            );
            assert_same_outputs(&expected, &scored, &format!("{input} to {output}"));
            fs::remove_file(known.project.path(&output))
                .expect("the output goes, so that a later failure cannot hide behind it");
            Ok(())
        },
    );
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

/// Any rows, some of them more than once, of which all are asked for.
pub(crate) fn any_rows(
    among: usize,
    at_most: usize,
) -> impl Strategy<Value = (Vec<u32>, Vec<u32>)> {
    vec(0..among as u32, 1..=at_most).prop_map(|given| {
        let all = (0..given.len() as u32).collect();
        (given, all)
    })
}

#[test]
fn any_rows_in_any_order_score_as_in_the_run() {
    let (project, bundle, run) = tumours();
    // The run's own columns are scaled by now.
    let source = read_table(&project.path("rows.parquet"))
        .select(["mean_radius", "mean_texture", "worst_area", "diagnosis"])
        .expect("columns");
    let known = Known {
        project: &project,
        bundle: &bundle,
        source: &source,
        run: &run,
        passed: "diagnosis",
    };
    assert_any_rows_score_as_in_the_run(&known, &FORMATS, 12, any_rows(run.height(), 79));
}

#[test]
fn columns_that_the_bundle_does_not_need_pass_through() {
    let (project, bundle, _) = tumours();
    project.write(
        "input.csv",
        "note,worst_area,mean_texture,mean_radius\nfirst,2019.0,10.38,17.99\nsecond,700,15.5,12\n",
    );
    let outcome = project
        .score(&bundle, "input.csv", "scored.csv")
        .succeeded();
    golden_settings().bind(|| insta::assert_snapshot!("scored", outcome.golden()));
    let scored = project.read("scored.csv");
    let lines: Vec<&str> = scored.lines().collect();
    assert!(
        lines[0].starts_with("note,worst_area,mean_texture,mean_radius,prediction,"),
        "{}",
        lines[0]
    );
    assert!(
        lines[1].starts_with("first,2019.0,10.38,17.99,M,"),
        "{}",
        lines[1]
    );
    assert!(
        lines[2].starts_with("second,") && lines[2].contains(",B,"),
        "{}",
        lines[2]
    );
    let names: BTreeSet<&str> = lines[0].split(',').collect();
    assert!(
        !names.contains("texture_to_radius"),
        "what the plan makes on its way is not an output: {names:?}"
    );
    let report = project
        .takt([
            "score",
            bundle.to_str().expect("UTF-8"),
            "--input",
            "input.csv",
            "--output",
            "o.csv",
            "--format",
            "json",
        ])
        .run()
        .succeeded()
        .json();
    assert_eq!(
        (&report["rows"], &report["pipeline"]),
        (&2.into(), &"tumours".into())
    );
}

fn refused(name: &str, outcome: &Outcome) {
    assert_eq!(outcome.code, 1, "{}", outcome.stderr);
    golden_settings().bind(|| insta::assert_snapshot!(name, outcome.golden()));
}

#[test]
fn rows_that_do_not_fit_are_refused() {
    let (project, bundle, _) = tumours();
    let check = |name: &str, file: &str, content: &str| {
        project.write(file, content);
        refused(name, &project.score(&bundle, file, "scored.csv"));
    };
    check(
        "input_lacks_columns",
        "input.csv",
        "mean_radius,mean_textur\n17.99,10.38\n",
    );
    check(
        "input_mistyped_in_csv",
        "input.csv",
        "mean_radius,mean_texture,worst_area\n17.99,10.38,2019\n12.1,rough,700\n",
    );
    check(
        "input_mistyped_in_ndjson",
        "input.ndjson",
        "{\"mean_radius\": 17.99, \"mean_texture\": \"rough\", \"worst_area\": 2019}\n",
    );
    check(
        "input_has_nulls",
        "input.csv",
        "mean_radius,mean_texture,worst_area\n17.99,10.38,2019\n12.1,,700\n,,3\n",
    );
    check(
        "input_has_an_output",
        "input.csv",
        "mean_radius,mean_texture,worst_area,score\n17.99,10.38,2019,0.5\n",
    );
    check(
        "input_ragged",
        "input.csv",
        "mean_radius,mean_texture,worst_area\n17.99,10.38\n",
    );
    check("input_empty", "input.csv", "");
    check("input_of_unknown_format", "input.xlsx", "PK");
    refused(
        "input_missing",
        &project.score(&bundle, "inputs.csv", "scored.csv"),
    );
    project.write(
        "input.csv",
        "mean_radius,mean_texture,worst_area\n17.99,10.38,2019\n",
    );
    refused(
        "output_of_unknown_format",
        &project.score(&bundle, "input.csv", "scored.xlsx"),
    );
}

#[test]
fn a_typed_file_of_another_type_is_refused() {
    let (project, bundle, run) = tumours();
    let mut rows = run
        .select(["mean_radius", "mean_texture", "worst_area"])
        .expect("columns")
        .head(Some(3));
    let text = rows
        .column("mean_texture")
        .expect("a column")
        .cast(&DataType::String)
        .expect("text");
    rows.with_column(text).expect("a column");
    for format in ["parquet", "arrow"] {
        let input = format!("input.{format}");
        write_table(&project.path(&input), &mut rows);
        refused(
            "input_mistyped_in_a_typed_file",
            &project.score(&bundle, &input, "scored.csv"),
        );
    }
}

#[test]
fn an_unseen_category_is_refused() {
    let (project, bundle) = payments();
    let header = "payment_id,at,type,amount,account,balance_before";
    project.write("input.csv", format!("{header}\n1,2024-01-05 10:00:00,TRANSFER,12.5,C1,100.0\n2,2024-01-05 11:00:00,CHEQUE,8.0,C1,80.0\n"));
    refused(
        "input_has_an_unseen_category",
        &project.score(&bundle, "input.csv", "scored.csv"),
    );
    project.edit("input.csv", "CHEQUE", "DEBIT");
    project
        .score(&bundle, "input.csv", "scored.csv")
        .succeeded();
}

#[test]
fn a_category_declared_as_other_is_scored() {
    let project = Project::with(&PAYMENTS.replace(
        "one_hot: {columns: [type]}",
        "one_hot: {columns: [type], unknown: ignore}",
    ));
    let bundle = project.run_pipeline(&[]).bundle();
    let header = "payment_id,at,type,amount,account,balance_before";
    project.write(
        "input.csv",
        format!("{header}\n1,2024-01-05 10:00:00,CHEQUE,12.5,C1,100.0\n"),
    );
    project
        .score(&bundle, "input.csv", "scored.csv")
        .succeeded();
}

#[test]
fn a_null_where_training_had_some_is_scored() {
    let project = tumours::project();
    project.edit("data/tumours.csv", "17.99,10.38", ",10.38");
    project.edit(
        "pipeline.yaml",
        "{texture_to_radius: mean_texture / mean_radius}",
        "{texture_to_radius: \"mean_texture / coalesce(mean_radius, 14.0)\"}",
    );
    project.edit(
        "pipeline.yaml",
        "columns: [mean_radius, texture",
        "columns: [texture",
    );
    project.edit(
        "pipeline.yaml",
        "features: [mean_radius, texture",
        "features: [texture",
    );
    let bundle = project.run_pipeline(&[]).bundle();
    project.write(
        "input.csv",
        "mean_radius,mean_texture,worst_area\n,10.38,2019.0\n14,10.38,2019.0\n",
    );
    project
        .score(&bundle, "input.csv", "scored.csv")
        .succeeded();
    let scored = project.read("scored.csv");
    let outputs: Vec<&str> = scored
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once("2019.0,"))
        .map(|(_, rest)| rest)
        .collect();
    assert_eq!(
        outputs[0], outputs[1],
        "the declared handling is that of 14.0"
    );
}

#[test]
fn a_null_that_a_stage_fills_is_scored_though_training_had_none() {
    let project = Project::with(
        "\
pipeline: filled
columns: {label: {role: target}}
stages:
  - source.csv: {path: rows.csv}
  - split.random: {test: 0.3, seed: 1}
  - clean.fill_null: {columns: [x], with: median}
  - features.standardize: {columns: [x]}
  - model.linfa.logistic_regression: {features: [x, y]}
  - evaluate.classification: {}
  - deploy.bundle: {}
",
    );
    let rows: String = (0..100)
        .map(|row| format!("{row},{},{}\n", row * 7 % 10, u8::from(row > 40)))
        .collect();
    project.write("rows.csv", format!("x,y,label\n{rows}"));
    let bundle = project.run_pipeline(&[]).bundle();
    project.write("input.csv", "x,y\n,3\n80,3\n");
    project
        .score(&bundle, "input.csv", "scored.csv")
        .succeeded();
    let scored = project.read("scored.csv");
    let answers: Vec<&str> = scored.lines().skip(1).collect();
    assert_ne!(answers[0], answers[1]);
    // What nothing fills is refused as before.
    project.write("input.csv", "x,y\n1,\n80,3\n");
    let outcome = project.score(&bundle, "input.csv", "scored.csv");
    assert_eq!(outcome.code, 1);
    assert!(
        outcome.stderr.contains("`y` has a null in row 1"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn no_rows_are_scored_as_none() {
    let (project, bundle, _) = tumours();
    project.write("input.csv", "note,mean_radius,mean_texture,worst_area\n");
    let outcome = project
        .score(&bundle, "input.csv", "scored.csv")
        .succeeded();
    assert!(
        outcome.stdout.starts_with("0 rows scored in "),
        "{}",
        outcome.stdout
    );
    let scored = project.read("scored.csv");
    assert_eq!(
        scored.trim_end(),
        "note,mean_radius,mean_texture,worst_area,prediction,score,probability_B,probability_M"
    );
    // Without rows the columns that are missing are still named.
    project.write("input.csv", "mean_radius,mean_texture\n");
    let outcome = project.score(&bundle, "input.csv", "scored.csv");
    assert_eq!(outcome.code, 1);
    assert!(
        outcome.stderr.contains("`worst_area` (f64) is missing"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn what_is_no_bundle_is_refused() {
    let (project, bundle, _) = tumours();
    project.write(
        "input.csv",
        "mean_radius,mean_texture,worst_area\n17.99,10.38,2019\n",
    );
    fs::create_dir_all(project.path("empty")).expect("a folder");
    refused(
        "bundle_missing",
        &project.score(Path::new("nowhere"), "input.csv", "scored.csv"),
    );
    refused(
        "bundle_empty",
        &project.score(Path::new("empty"), "input.csv", "scored.csv"),
    );
    let above = Path::new(".taktline/bundles/tumours");
    refused(
        "bundle_is_the_folder_above",
        &project.score(above, "input.csv", "scored.csv"),
    );
    fs::remove_file(bundle.join("states/classifier.safetensors")).expect("a file of the bundle");
    refused(
        "bundle_lacks_a_file",
        &project.score(&bundle, "input.csv", "scored.csv"),
    );
}

#[test]
fn one_flipped_byte_is_refused() {
    let (project, bundle) = payments();
    let header = "payment_id,at,type,amount,account,balance_before";
    project.write(
        "input.csv",
        format!("{header}\n1,2024-01-05 10:00:00,TRANSFER,12.5,C1,100.0\n"),
    );
    let files = crate::harness::files_below(&bundle);
    assert!(
        files.len() >= 5,
        "a manifest, three states and the sums: {:?}",
        files.keys()
    );
    for (name, bytes) in &files {
        // In the sums: a digit, the gap, a letter of a name, the last line break; `0x20` turns a letter's case.
        for offset in [0, 7, 65, 70, bytes.len() / 2, bytes.len() - 1] {
            for flip in [0x01, 0x20] {
                let mut flipped = bytes.clone();
                flipped[offset] ^= flip;
                fs::write(bundle.join(name), flipped).expect("a damaged file");
                let outcome = project.score(&bundle, "input.csv", "scored.csv");
                assert_eq!(
                    outcome.code, 1,
                    "byte {offset} of `{name}` may be flipped by {flip:#x}"
                );
                assert!(
                    outcome.stderr.contains("is not a sound bundle: "),
                    "{}",
                    outcome.stderr
                );
                assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.stderr);
            }
        }
        fs::write(bundle.join(name), bytes).expect("a file as it was");
    }
    project
        .score(&bundle, "input.csv", "scored.csv")
        .succeeded();
}

#[test]
fn a_damaged_bundle_is_made_whole_by_the_next_run() {
    let (project, bundle, _) = tumours();
    let files = crate::harness::files_below(&bundle);
    fs::write(bundle.join("manifest.json"), "{}").expect("damaged");
    let report = project.run_pipeline(&[]);
    assert_eq!(report.bundle(), bundle);
    assert_eq!(report.bundle_files(), files);
}

#[cfg(unix)]
#[test]
fn sums_are_those_of_sha256sum() {
    let (_project, bundle, _) = tumours();
    let status = std::process::Command::new("sha256sum")
        .args(["--check", "--quiet", "SHA256SUMS"])
        .current_dir(bundle)
        .status();
    assert!(status.expect("sha256sum").success());
}

#[test]
fn two_runs_give_the_same_bytes_and_another_seed_others() {
    let bundles: Vec<_> = [&[][..], &["--fresh"], &["--seed", "8"]]
        .into_iter()
        .map(|more| Project::with(PAYMENTS).run_pipeline(more).bundle_files())
        .collect();
    assert!(bundles[0] == bundles[1], "two runs of the same differ");
    assert!(bundles[0] != bundles[2], "another seed makes no difference");
}

#[test]
fn the_number_of_threads_makes_no_difference() {
    let bundles: Vec<_> = ["1", "3"]
        .into_iter()
        .map(|threads| {
            let project = Project::with(PAYMENTS);
            let run = project.takt(["run", "pipeline.yaml", "--format", "json"]);
            let run = run
                .env("POLARS_MAX_THREADS", threads)
                .env("RAYON_NUM_THREADS", threads);
            run.run().succeeded().run_report().bundle_files()
        })
        .collect();
    assert!(bundles[0] == bundles[1]);
}

#[test]
fn a_bundle_says_nothing_of_where_and_when() {
    let (project, bundle) = payments();
    let directory = project.path("").display().to_string();
    for (name, bytes) in crate::harness::files_below(&bundle) {
        let text = String::from_utf8_lossy(&bytes);
        assert!(
            !text.contains(directory.trim_end_matches('/')),
            "`{name}` holds a path"
        );
    }
}

#[test]
fn an_empty_batch_is_scored_and_every_format_written() {
    let (project, bundle, _) = tumours();
    let header = "mean_radius,mean_texture,worst_area\n";
    project.write("none.csv", header);
    let scored = project
        .score(&bundle, "none.csv", "none-scored.csv")
        .succeeded();
    assert!(scored.stdout.contains("0 rows scored"), "{}", scored.stdout);
    let text = project.read("none-scored.csv");
    assert!(
        text.starts_with("mean_radius,mean_texture,worst_area,prediction"),
        "{text}"
    );
    assert_eq!(text.lines().count(), 1);
    project.write("one.csv", format!("{header}17.99,10.38,2019\n"));
    for output in ["one.json", "one.json.gz", "one.ndjson.zst", "one.csv.zst"] {
        let scored = project.score(&bundle, "one.csv", output).succeeded();
        assert!(scored.stdout.contains("1 row scored"), "{}", scored.stdout);
        // It is read again, and found to be scored already.
        let refused = project.score(&bundle, output, "twice.csv").ended_with(1);
        assert!(
            refused.stderr.contains("`prediction`"),
            "{}",
            refused.stderr
        );
    }
}
