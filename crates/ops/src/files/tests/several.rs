//! Several files as one table.

use polars::prelude::{AnyValue, DataType, IntoLazy, LazyFrame, col, df, lit};

use super::*;

fn column<'f>(frame: &'f DataFrame, name: &str) -> Vec<AnyValue<'f>> {
    let column = frame.column(name).expect("there");
    column.as_materialized_series().iter().collect()
}

fn names(frame: &DataFrame) -> Vec<String> {
    let names = frame.get_column_names();
    names.into_iter().map(ToString::to_string).collect()
}

#[test]
fn files_that_fit_are_read_in_name_order() {
    let place = Place::new();
    place.put("d/2024-10.csv", "id,amount\n4,4\n");
    place.put("d/2024-02.csv", "id,amount\n2,2.5\n3,3\n");
    place.put("d/2023-02.csv", "id,amount\n9,9\n");
    // Another order of columns, compressed, and a day without rows.
    place.put("d/2024-01.csv", "amount,id\n1,1\n");
    place.put("d/2024-03.csv", "id,amount\n");
    let params = "{path: 'd/2024-*.csv', file_column: file}";
    let (schema, problems) = place.check("source.csv", params);
    assert!(problems.is_empty(), "{problems:#?}");
    let frame = place.run("source.csv", params).expect("reads");
    assert_eq!(*frame.schema().as_ref(), schema.to_polars());
    assert_eq!(names(&frame), ["amount", "id", "file"]);
    // A whole number in one file and a real one in another are real in both.
    assert_eq!(
        column(&frame, "amount"),
        [1.0, 2.5, 3.0, 4.0].map(AnyValue::Float64)
    );
    assert_eq!(column(&frame, "id"), [1, 2, 3, 4].map(AnyValue::Int64));
    assert_eq!(
        column(&frame, "file"),
        [
            "d/2024-01.csv",
            "d/2024-02.csv",
            "d/2024-02.csv",
            "d/2024-10.csv"
        ]
        .map(AnyValue::String)
    );
    // Without names, files of one order of columns are one scan.
    let together = place
        .run("source.csv", "{path: 'd/2024-*.csv'}")
        .expect("reads");
    assert_eq!(together, frame.drop("file").expect("there"));
    let absolute = format!("{{path: '{}/d/2024-*.csv'}}", place.directory().display());
    assert_eq!(
        place.run("source.csv", &absolute).expect("reads").height(),
        4
    );
}

#[test]
fn a_difference_is_told_file_by_file() {
    let place = Place::new();
    place.put("1.csv", "id,amount,card\n1,1.5,\n");
    place.put("2.csv", "id,amount,card\n2,2.5,7\n");
    place.put("3.csv", "id,channel,amount,card\n3,x,n/a,8\n");
    place.put("4.csv", "id,card\n4,9\n");
    let (code, message, run) = place.both("source.csv", "{path: '?.csv'}");
    assert_eq!(code, "files-differ");
    assert_eq!(
        message,
        "`?.csv` means files of different columns: 2 of 4 differ from `1.csv`"
    );
    assert_eq!(message, run);
    let (_, problems) = place.check("source.csv", "{path: '?.csv'}");
    assert_eq!(
        problems[0].notes,
        [
            "`3.csv`: a new column `channel`; `amount` is text, f64 in `1.csv`",
            "`4.csv`: no column `amount`"
        ]
    );
    assert!(problems[0].help[0].contains("schema: {amount: text}"));
    // Where one may lack what another has, nulls stand there; `n/a` is said to be null.
    let params = "{path: '?.csv', fill_missing: true, null_values: [n/a]}";
    let frame = place.run("source.csv", params).expect("reads");
    assert_eq!(names(&frame), ["id", "amount", "card", "channel"]);
    assert_eq!(frame.column("amount").expect("there").null_count(), 2);
    // A column without a value in the first file has the type of those in the others.
    assert_eq!(
        *frame.column("card").expect("there").dtype(),
        DataType::Int64
    );
    assert_eq!(column(&frame, "channel")[2], AnyValue::String("x"));
}

#[test]
fn a_bad_value_in_one_of_several_files_is_located() {
    let place = Place::new();
    let good: String = (0..5000).fold("a,b\n".into(), |text, row| format!("{text}{row},1\n"));
    place.put("1.csv", &good);
    place.put("2.csv", good.replace("4999,1", "4999,x"));
    place.put("3.csv", &good);
    let run = place
        .run("source.csv", "{path: '?.csv'}")
        .expect_err("bad")
        .to_string();
    assert!(
        run.contains("`2.csv` line 5001 (row 5000), column `b`: `x` is not an i64"),
        "{run}"
    );
    place.put("2.csv", good.replace("4999,1", "4999"));
    let run = place
        .run("source.csv", "{path: '?.csv'}")
        .expect_err("short")
        .to_string();
    assert!(
        run.contains("`2.csv` is ragged: line 5001 has 1 field"),
        "{run}"
    );
}

#[test]
fn nothing_fits_or_no_rows() {
    let place = Place::new();
    let (code, message, _) = place.both("source.csv", "{path: 'd/*.csv'}");
    assert_eq!(
        (code, message.as_str()),
        ("missing-file", "`d/*.csv` means no file")
    );
    place.put("d/a.csv", "a\n");
    place.put("d/b.csv", "a\n");
    let (code, message, _) = place.both("source.csv", "{path: 'd/*.csv'}");
    assert_eq!(code, "empty-source");
    assert!(message.contains("no rows in any of 2 files"), "{message}");
    let (code, message, _) = place.both("source.csv", "{path: 'https://example.org/a.csv'}");
    assert_eq!(code, "unknown-address");
    assert!(message.contains("does not read from"), "{message}");
}

#[test]
fn a_name_that_is_taken_is_refused_for_the_file_column() {
    let place = Place::new();
    place.put("1.csv", "a,b\n1,2\n");
    let (code, _, _) = place.both("source.csv", "{path: '*.csv', file_column: a}");
    assert_eq!(code, "name-taken");
    // One file has a name, too.
    let frame = place
        .run("source.csv", "{path: 1.csv, file_column: file}")
        .expect("reads");
    assert_eq!(column(&frame, "file"), [AnyValue::String("1.csv")]);
}

#[test]
fn what_the_schema_does_not_name_is_kept_dropped_or_refused() {
    let place = Place::new();
    place.put("f.csv", "a,b,c\n1,2,3\n");
    let params =
        |what: &str| format!("{{path: f.csv, schema: {{c: f64, a: i64}}, undeclared: {what}}}");
    assert_eq!(
        names(&place.run("source.csv", &params("keep")).expect("reads")),
        ["a", "b", "c"]
    );
    let (schema, problems) = place.check("source.csv", &params("drop"));
    assert!(problems.is_empty(), "{problems:#?}");
    let frame = place.run("source.csv", &params("drop")).expect("reads");
    assert_eq!(names(&frame), ["a", "c"]);
    assert_eq!(*frame.schema().as_ref(), schema.to_polars());
    let (code, message, _) = place.both("source.csv", &params("refuse"));
    assert_eq!(code, "schema-differs");
    assert_eq!(message, "`f.csv` differs from `schema`: a new column `b`");
    // Everything that differs in one message.
    let (_, problems) = place.check(
        "source.csv",
        "{path: f.csv, schema: {d: i64, a: i64, c: i64}, undeclared: refuse}",
    );
    assert_eq!(problems.len(), 1, "{problems:#?}");
    assert_eq!(
        problems[0].message,
        "`f.csv` differs from `schema`: no column `d`; a new column `b`"
    );
    let (_, problems) = place.check("source.csv", "{path: f.csv, undeclared: drop}");
    assert_eq!(problems[0].code, "missing-schema");
}

fn partitioned(place: &Place) {
    for (year, month, value) in [(2023, "12", 1), (2024, "01", 2), (2024, "02", 3)] {
        let frame = df!("value" => [value], "text" => ["x"]).expect("a frame");
        let name = format!("lake/year={year}/month={month}/part-0.parquet");
        write_file(&place.path(&name), frame).expect("written");
    }
    place.put("lake/_SUCCESS", "");
    place.put("lake/notes.txt", "");
}

#[test]
fn folders_of_partitions_are_typed_columns() {
    let place = Place::new();
    partitioned(&place);
    for path in [
        "lake",
        "lake/",
        "./lake",
        "lake/**/*.parquet",
        "lake/year=*/*/*.parquet",
    ] {
        let params = format!("{{path: '{path}'}}");
        let (schema, problems) = place.check("source.parquet", &params);
        assert!(problems.is_empty(), "{path}: {problems:#?}");
        let frame = place.run("source.parquet", &params).expect(path);
        assert_eq!(*frame.schema().as_ref(), schema.to_polars(), "{path}");
        assert_eq!(names(&frame), ["value", "text", "year", "month"], "{path}");
        assert_eq!(
            column(&frame, "year"),
            [2023, 2024, 2024].map(AnyValue::Int64)
        );
        assert_eq!(column(&frame, "month"), [12, 1, 2].map(AnyValue::Int64));
    }
    let one = place
        .run(
            "source.parquet",
            "{path: 'lake/year=2024', file_column: file}",
        )
        .expect("reads");
    assert_eq!(names(&one), ["value", "text", "year", "month", "file"]);
    assert_eq!(column(&one, "value"), [2, 3].map(AnyValue::Int32));
    let without = place
        .run("source.parquet", "{path: lake, partitions: false}")
        .expect("reads");
    assert_eq!(names(&without), ["value", "text"]);
    // A single file by its name gives its columns, unless asked.
    let file = "{path: lake/year=2024/month=01/part-0.parquet, partitions: true}";
    assert_eq!(place.run("source.parquet", file).expect("reads").width(), 4);
    write_file(
        &place.path("lake/year=2025/part-0.parquet"),
        df!("value" => [1], "text" => ["y"]).expect("a frame"),
    )
    .expect("written");
    assert_eq!(
        place.both("source.parquet", "{path: lake}").0,
        "partitions-differ"
    );
}

#[test]
fn a_condition_on_a_partition_leaves_files_out() {
    let place = Place::new();
    partitioned(&place);
    let stage = stage("source.parquet", "{path: lake}");
    let taktline_core::Shape::Source(source) = stage.shape() else {
        panic!("a source")
    };
    let cx = SourceContext {
        seed: 0,
        directory: place.directory(),
        run_key: None,
    };
    let frame: LazyFrame = source.scan(&cx).expect("opens");
    // A file that is left out is not missed.
    fs::remove_file(place.path("lake/year=2024/month=02/part-0.parquet")).expect("removed");
    let rows = frame
        .filter(col("year").eq(lit(2023)))
        .collect()
        .expect("reads");
    assert_eq!(rows.height(), 1);
}

#[test]
fn stored_files_must_match() {
    let place = Place::new();
    for (extension, kind) in [("parquet", "source.parquet"), ("arrow", "source.ipc")] {
        let path = |name: &str| place.path(&format!("{extension}/{name}.{extension}"));
        let glob = format!("{{path: '{extension}/*.{extension}'}}");
        write_file(
            &path("1"),
            df!("a" => [1_i64], "b" => ["x"]).expect("a frame"),
        )
        .expect("written");
        write_file(
            &path("2"),
            df!("b" => ["y"], "a" => [2_i64]).expect("a frame"),
        )
        .expect("written");
        let frame = place
            .run(kind, &glob)
            .expect("the order of columns does not matter");
        assert_eq!(names(&frame), ["a", "b"]);
        assert_eq!(column(&frame, "a"), [1, 2].map(AnyValue::Int64));
        assert_eq!(
            place
                .run(kind, &format!("{{path: {extension}}}"))
                .expect("a folder")
                .height(),
            2
        );
        write_file(&path("3"), df!("a" => [3_i64]).expect("a frame")).expect("written");
        assert_eq!(place.both(kind, &glob).0, "files-differ");
        let filled = format!("{{path: {extension}, fill_missing: true, file_column: file}}");
        let frame = place
            .run(kind, &filled)
            .expect("nulls where a column lacks");
        assert_eq!(frame.column("b").expect("there").null_count(), 1);
        assert_eq!(frame.height(), 3);
        let filled = format!("{{path: {extension}, fill_missing: true}}");
        let lazily = place.run(kind, &filled).expect("reads");
        assert_eq!(lazily, frame.drop("file").expect("there"), "{extension}");
        write_file(
            &path("3"),
            df!("a" => ["3"], "b" => ["z"]).expect("a frame"),
        )
        .expect("written");
        let (_, problems) = place.check(kind, &glob);
        assert!(
            problems[0].notes[0].contains("`a` is text, i64 in"),
            "{problems:#?}"
        );
    }
}

#[test]
fn fields_that_some_json_files_lack_are_null() {
    let place = Place::new();
    place.put("1.ndjson", "{\"a\": 1}\n");
    place.put("2.ndjson", "{\"b\": \"x\", \"a\": 2.5}\n");
    place.put("3.ndjson", "");
    let frame = place
        .run("source.ndjson", "{path: '*.ndjson'}")
        .expect("reads");
    assert_eq!(names(&frame), ["a", "b"]);
    assert_eq!(column(&frame, "a"), [1.0, 2.5].map(AnyValue::Float64));
    assert_eq!(frame.column("b").expect("there").null_count(), 1);
    let lazy = frame.lazy();
    assert_eq!(lazy.collect().expect("reads").height(), 2);
}
