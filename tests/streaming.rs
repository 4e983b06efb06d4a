//! Rows that do not fit into memory go through a pipeline of relational stages all the same.

use std::{fs, fs::File};

use polars::prelude::{
    DataFrame, IntoColumn, NamedFrom, ParquetReader, ParquetWriter, SerReader, Series,
};

use crate::harness::Project;

const COLUMNS: usize = 10;

/// Numbers that do not compress, in row groups that are small beside the whole.
fn rows(count: usize) -> DataFrame {
    let mut state = 1_u64;
    let mut next = || {
        // Knuth's MMIX constants.
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    let ids = Series::new("id".into(), (0..count as i64).collect::<Vec<_>>());
    let mut columns = vec![ids.into_column()];
    for index in 0..COLUMNS {
        let values: Vec<Option<f64>> = (0..count)
            .map(|row| (row % 100 != index).then(&mut next))
            .collect();
        columns.push(Series::new(format!("x{index}").into(), values).into_column());
    }
    DataFrame::new(count, columns).expect("a frame")
}

fn project(count: usize) -> Project {
    let project = Project::new();
    let mut file = File::create(project.path("rows.parquet")).expect("a file");
    ParquetWriter::new(&mut file)
        .with_row_group_size(Some(8192))
        .finish(&mut rows(count))
        .expect("written");
    project
}

/// Cleaning and features that work on a part of the rows as on all of them.
const STEADY: &str = "\
pipeline: steady
stages:
  - source.parquet: {path: rows.parquet}
    id: rows
  - clean.fill_null: {columns: [x0, x1], value: 0}
  - features.derive: {product: x0 * x1, logs: ln(x2 + 1)}
  - clean.filter: {where: x3 > 0.25 or x3 is null}
    id: kept
";

/// What was seen before grows with the rows, but not with their columns.
const DISTINCT: &str = "  - clean.drop_duplicates: {on: [id]}\n    id: distinct\n";

/// A look at the row before needs all rows.
const UNSTEADY: &str = "  - features.lag: {over: id, columns: [x0]}\n";

const OUTPUTS: &str = "  - sink.parquet: {path: out/rows.parquet}
    from: distinct
  - sink.csv: {path: out/rows.csv}
    from: distinct
  - sink.csv: {path: out/rows.csv.gz}
    from: distinct
  - sink.ndjson: {path: out/rows.ndjson}
    from: distinct
  - sink.ipc: {path: out/rows.arrow}
    from: distinct
";

#[test]
fn the_same_bytes_each_time_and_the_same_rows_as_in_memory() {
    let project = project(60_000);
    let written = |spec: String| {
        project.write("pipeline.yaml", spec);
        let report = project.run_pipeline(&["--fresh"]);
        assert_eq!(report.rows_out("rows"), Some(60_000));
        assert!(
            report
                .rows_out("kept")
                .is_some_and(|kept| kept > 40_000 && kept < 50_000)
        );
        crate::harness::files_below(&project.path("out"))
    };
    // One branch each, so that the query is not made for several readers at once.
    let single: Vec<String> = OUTPUTS
        .split_inclusive("from: distinct\n")
        .map(|sink| format!("{STEADY}{DISTINCT}{sink}"))
        .collect();
    assert_eq!(single.len(), 5);
    let streamed = || {
        for spec in &single {
            written(spec.clone());
        }
        crate::harness::files_below(&project.path("out"))
    };
    let first = streamed();
    assert_eq!(first.len(), 5);
    let second = streamed();
    for (name, bytes) in &first {
        assert!(
            second[name] == *bytes,
            "`{name}` is another file the second time"
        );
    }
    // Five readers: the rows are made once, and written from memory.
    let from_memory = written(format!("{STEADY}{DISTINCT}{OUTPUTS}"));
    for name in ["rows.csv", "rows.ndjson"] {
        assert!(first[name] == from_memory[name], "`{name}` differs");
    }
    let read = |bytes: &[u8]| {
        let cursor = std::io::Cursor::new(bytes.to_vec());
        ParquetReader::new(cursor).finish().expect("rows")
    };
    let (streamed, in_memory) = (
        read(&first["rows.parquet"]),
        read(&from_memory["rows.parquet"]),
    );
    assert!(streamed.equals_missing(&in_memory));
}

/// Sums of real numbers over joined tables: each payment has some notes, of which there are more than payments.
const JOINED: &str = "\
pipeline: joined
stages:
  - source.parquet: {path: rows.parquet}
    id: rows
  - source.parquet: {path: notes.parquet}
    id: notes
  - source.csv: {path: groups.csv}
    id: groups
  - clean.filter: {where: x3 > 0.25}
    id: kept
    from: rows
  - features.derive: {group: id % 7, note: id % 20000}
  - features.join: {on: group, how: left, expect: many_to_one}
    id: named
    from: [derive, groups]
  - clean.fill_null: {columns: [x0], value: 0.5}
  - features.join: {on: note, how: left}
    id: noted
    from: [fill_null, notes]
  - features.aggregate:
      by: [name]
      aggregate: {total: sum(x0 * weight), mean: avg(weight), notes: count()}
  - sink.parquet: {path: out/totals.parquet}
";

#[test]
fn sums_over_joins_have_the_same_last_digit_in_parts_and_in_memory() {
    let project = project(60_000);
    let mut notes = rows(100_000);
    let ids = notes.column("id").and_then(|id| Ok(id.i64()?.clone()));
    let note: Vec<Option<i64>> = ids
        .expect("ids")
        .iter()
        // Two or three notes for each number there is; every ninth note belongs to none.
        .map(|id| id.map(|id| if id % 9 == 0 { -1 } else { id * 7 % 40_000 }))
        .collect();
    let weight = notes.column("x9").expect("a column").clone();
    notes = DataFrame::new(
        note.len(),
        vec![
            Series::new("note".into(), note).into_column(),
            weight.with_name("weight".into()),
        ],
    )
    .expect("a frame");
    let mut file = File::create(project.path("notes.parquet")).expect("a file");
    ParquetWriter::new(&mut file)
        .with_row_group_size(Some(8192))
        .finish(&mut notes)
        .expect("written");
    project.write(
        "groups.csv",
        "group,name\n6,six\n0,none\n1,one\n2,two\n3,three\n5,five\n",
    );
    let totals = |spec: &str| {
        project.write("pipeline.yaml", spec);
        let report = project.run_pipeline(&["--fresh"]);
        let counted = ["kept", "named", "noted", "aggregate"].map(|stage| report.rows_out(stage));
        let filled = report.changed("fill_null", "x0");
        let bytes = fs::read(project.path("out/totals.parquet")).expect("totals");
        (bytes, counted, filled)
    };
    let in_parts = totals(JOINED);
    assert!(totals(JOINED) == in_parts, "another result the second time");
    // Two readers of the joined rows: they are made once, in memory and in their order.
    let in_memory = totals(&format!(
        "{JOINED}  - features.aggregate: {{by: [name], aggregate: {{most: max(weight)}}}}\n    from: noted\n"
    ));
    let [kept, named, noted, groups] = in_parts.1.map(|rows| rows.expect("counted"));
    assert!(kept < 50_000 && named == kept && noted > kept && groups == 7);
    assert!(in_parts.2.is_some_and(|filled| filled > 0));
    assert!(in_parts == in_memory, "{:?}, {:?}", in_parts.1, in_memory.1);
}

#[test]
fn a_value_that_does_not_parse_is_found_and_nothing_is_written() {
    let project = Project::with(
        "\
pipeline: broken
stages:
  - source.csv: {path: rows.csv, schema: {id: i64, x: f64}}
  - clean.filter: {where: x > 0}
  - sink.csv: {path: out/rows.csv}
",
    );
    let mut text = String::from("id,x\n");
    for id in 0..30_000 {
        let value = if id == 29_998 {
            "much".to_owned()
        } else {
            format!("{id}.5")
        };
        text.push_str(&format!("{id},{value}\n"));
    }
    project.write("rows.csv", text);
    project.write("out/rows.csv", "before\n");
    let outcome = project.takt(["run", "pipeline.yaml"]).run().ended_with(1);
    assert!(outcome.stderr.contains("line 30000"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("`much`"), "{}", outcome.stderr);
    assert_eq!(project.read("out/rows.csv"), "before\n");
    assert_eq!(crate::harness::files_below(&project.path("out")).len(), 1);
}

/// What may be allocated, in kilobytes, stacks of threads included: the rows alone, twice in memory, would take more.
#[cfg(target_os = "linux")]
const LIMIT: u64 = 500_000;

#[cfg(target_os = "linux")]
#[test]
fn a_pipeline_stays_within_less_memory_than_its_rows_take() {
    use std::process::Command;

    let count = 3_000_000;
    let project = project(count);
    let bytes = count * (COLUMNS + 1) * 8;
    let limited = |spec: String| {
        project.write("pipeline.yaml", spec);
        let takt = env!("CARGO_BIN_EXE_takt");
        let run = format!("ulimit -d {LIMIT}; exec '{takt}' run pipeline.yaml --fresh");
        Command::new("sh")
            .args(["-c", &run])
            .current_dir(project.path("."))
            .output()
            .expect("`sh` runs")
    };
    let sink = "  - sink.parquet: {path: out/rows.parquet}\n";
    let streamed = limited(format!("{STEADY}{sink}"));
    let told = String::from_utf8_lossy(&streamed.stderr);
    assert!(streamed.status.success(), "{told}");
    let written = fs::metadata(project.path("out/rows.parquet"))
        .expect("the rows")
        .len();
    assert!(written as usize > bytes / 2, "{written} bytes");
    let in_memory = limited(format!("{STEADY}{UNSTEADY}{sink}"));
    assert!(!in_memory.status.success(), "the limit is no limit");
}

/// Files that tell how many rows they have let the engine leave out rows without a partner before a join; CSV files do not.
#[test]
fn a_join_with_a_much_larger_table_is_the_same_from_files_of_columns() {
    let project = Project::with("pipeline: none\nstages: []\n");
    let key = |row: usize, step: usize| match row % 11 {
        0 => String::new(),
        _ => (row * step % 900).to_string(),
    };
    let purchases: String = (0..700)
        .map(|row| format!("{row},{},s{},{}\n", key(row, 7), row % 5, row % 3))
        .collect();
    let promotions: String = (0..9_000)
        .map(|row| format!("{},s{},{}.5\n", key(row, 13), row % 7, row))
        .collect();
    project.write(
        "purchases.csv",
        format!("id,product,store,units\n{purchases}"),
    );
    project.write(
        "promotions.csv",
        format!("product,shop,price\n{promotions}"),
    );
    for (table, integer) in [("purchases", "i32"), ("promotions", "i64")] {
        project.write(
            "convert.yaml",
            format!(
                "pipeline: convert\nstages:\n  - source.csv: {{path: {table}.csv}}\n  - clean.cast: {{columns: {{product: {integer}}}}}\n  - sink.parquet: {{path: {table}.parquet}}\n"
            ),
        );
        project.takt(["run", "convert.yaml"]).run().succeeded();
    }
    let joined = |format: &str, how: &str, more: &str| {
        project.write(
            "join.yaml",
            format!(
                "pipeline: joined\nstages:\n  - source.{format}: {{path: purchases.{format}}}\n    id: rows\n  - clean.rename: {{columns: {{product: item}}}}\n  - clean.filter: {{where: units < 2}}\n    id: purchases\n  - source.{format}: {{path: promotions.{format}}}\n    id: promotions\n  - features.join: {{left_on: [item, store], right_on: [product, shop], how: {how}}}\n    from: [purchases, promotions]\n{more}  - sink.csv: {{path: out.csv}}\n",
            ),
        );
        let report = project.takt(["run", "join.yaml", "--fresh", "--format", "json"]);
        let report = report.run().succeeded().run_report();
        (project.read("out.csv"), report.rows_out("promotions"))
    };
    let sums =
        "  - features.aggregate: {by: [units], aggregate: {price: sum(price), rows: count()}}\n";
    for (how, more) in [
        ("left", ""),
        ("inner", ""),
        ("semi", ""),
        ("anti", ""),
        ("full", ""),
        ("left", sums),
        ("inner", sums),
    ] {
        let (by_rows, _) = joined("csv", how, more);
        let (by_columns, promotions) = joined("parquet", how, more);
        assert!(by_rows.lines().count() > 2, "{how} {more}");
        assert!(by_rows == by_columns, "{how} {more}");
        // What is left out for want of a partner is not lost.
        assert_eq!(promotions, Some(9_000), "{how} {more}");
    }
}
