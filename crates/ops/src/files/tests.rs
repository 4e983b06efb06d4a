//! Good and bad files, read and written for real.

mod formats;
mod several;
mod sinks;

use std::{
    fmt::Write as _,
    fs,
    io::{Read as _, Write as _},
    path::PathBuf,
};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use polars::prelude::Schema as PolarsSchema;
use polars::prelude::{
    DataFrame, DataType, IntoColumn, IntoLazy, NamedFrom, ReshapeDimension, Series, TimeUnit, col,
    df,
};
use taktline_core::{Problem, SourceContext, Stage};
use tempfile::TempDir;

use super::*;
use crate::columns::testing::in_check;

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn put(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(&path, content).expect("written");
        path
    }

    /// The problems that the kind's check reports.
    fn check(&self, kind: &str, params: &str) -> (taktline_core::Schema, Vec<Problem>) {
        in_check(self.0.path(), |cx| stage(kind, params).check(&[], cx))
    }

    /// The folder of written files, as a sink sees it.
    fn directory(&self) -> &Path {
        self.0.path()
    }

    /// All rows, as an engine reads them.
    fn run(&self, kind: &str, params: &str) -> Result<DataFrame> {
        let cx = SourceContext {
            seed: 0,
            directory: self.0.path(),
            run_key: None,
        };
        let stage = stage(kind, params);
        let taktline_core::Shape::Source(source) = stage.shape() else {
            panic!("a source")
        };
        source
            .scan(&cx)?
            .collect()
            .map_err(|error| source.explain(error.into(), &cx))
    }

    /// The only problem of a check, and the error of a run of the same.
    fn both(&self, kind: &str, params: &str) -> (&'static str, String, String) {
        let (_, problems) = self.check(kind, params);
        assert_eq!(problems.len(), 1, "{problems:#?}");
        let run = self
            .run(kind, params)
            .expect_err("the run fails too")
            .to_string();
        (problems[0].code, problems[0].message.clone(), run)
    }
}

fn stage(kind: &str, params: &str) -> Box<dyn Stage> {
    let registry = taktline_core::Registry::collect().expect("no kind twice");
    let params = taktline_core::serde_yaml::from_str(params).expect("YAML");
    (registry.get(kind).expect("registered").parse)(&params).expect("params that fit")
}

fn frame() -> DataFrame {
    df!(
        "id" => [1_i64, 2, 3],
        "amount" => [Some(0.5), None, Some(-3.25)],
        "note" => [Some("a, \"b\""), Some("line\nbreak"), None],
        "paid" => [true, false, true],
        "at" => [1_700_000_000_123_456_i64, 0, 86_400_000_000],
        "day" => [0_i32, 19_723, -1],
    )
    .expect("columns of one length")
    .lazy()
    .with_columns([
        col("at").cast(DataType::Datetime(TimeUnit::Microseconds, None)),
        col("day").cast(DataType::Date),
    ])
    .collect()
    .expect("types that fit")
}

fn with_images(frame: &DataFrame) -> DataFrame {
    let pixels: Vec<u8> = (0..18).map(|pixel| pixel * 14).collect();
    let dimensions = [3, 2, 3, 1].map(ReshapeDimension::new);
    let images = Series::new("image".into(), pixels)
        .reshape_array(&dimensions)
        .expect("18 pixels");
    frame.hstack(&[images.into_column()]).expect("three rows")
}

fn known(frame: &DataFrame) -> taktline_core::Schema {
    taktline_core::Schema::from_polars(frame.schema())
}

#[test]
fn every_format_gives_back_what_was_written() {
    let place = Place::new();
    let plain = frame();
    let nested = with_images(&plain);
    for name in [
        "f.csv",
        "f.csv.gz",
        "f.parquet",
        "f.ndjson",
        "f.jsonl.gz",
        "f.arrow",
        "f.feather",
        "new/dir/f.ipc",
        "f.csv.zst",
        "f.ndjson.zst",
        "f.json",
        "f.json.gz",
        "f.json.zst",
    ] {
        let path = place.path(name);
        write_file(&path, plain.clone()).expect(name);
        let found = read_file(&path, None).expect(name);
        assert!(found.equals_missing(&plain), "{name}: {found}");
        if !name.contains("csv") {
            write_file(&path, nested.clone()).expect(name);
            let found = read_file(&path, Some(&known(&nested))).expect(name);
            assert!(found.equals_missing(&nested), "{name}: {found}");
        }
    }
    let mut text = String::new();
    let compressed = fs::File::open(place.path("f.csv.gz")).expect("there");
    GzDecoder::new(compressed)
        .read_to_string(&mut text)
        .expect("gzip");
    assert!(text.starts_with("id,amount,note,paid,at,day\n"), "{text}");
}

#[test]
fn csv_refuses_arrays_and_says_what_to_write() {
    let place = Place::new();
    let path = place.path("f.csv");
    let error = write_file(&path, with_images(&frame()))
        .expect_err("an array")
        .to_string();
    assert!(
        error.contains("`image` (array[2, 3, 1] of u8)") && error.contains("Parquet"),
        "{error}"
    );
    assert!(!path.exists());
    assert!(write_file(&place.path("f.xlsx"), frame()).is_err());
}

#[test]
fn a_failed_write_leaves_what_was_there_and_nothing_else() {
    let place = Place::new();
    let path = place.put("out.txt", "before");
    let failed = write_atomically(&path, |file| {
        file.write_all(b"half")
            .map_err(|error| Error::writing(&path, error))?;
        Err(Error::data("stopped"))
    });
    assert_eq!(failed.expect_err("stopped").to_string(), "stopped");
    assert_eq!(fs::read_to_string(&path).expect("still there"), "before");
    assert_eq!(fs::read_dir(place.0.path()).expect("listed").count(), 1);
    write_atomically(&path, |file| {
        file.write_all(b"after")
            .map_err(|error| Error::writing(&path, error))
    })
    .expect("written");
    assert_eq!(fs::read_to_string(&path).expect("there"), "after");
    assert!(write_atomically(place.0.path(), |_| Ok(())).is_err());
}

#[cfg(unix)]
#[test]
fn a_written_file_has_the_usual_rights_and_a_link_stays_a_link() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let place = Place::new();
    let target = place.path("target");
    let link = place.path("link");
    let usual = fs::metadata(place.put("usual", ""))
        .expect("there")
        .permissions()
        .mode();
    let write = |path: &Path| {
        write_atomically(path, |file| {
            file.write_all(b"new")
                .map_err(|error| Error::writing(path, error))
        })
    };
    write(&target).expect("written");
    assert_eq!(
        fs::metadata(&target).expect("there").permissions().mode(),
        usual
    );
    fs::write(&target, "old").expect("written");
    symlink(&target, &link).expect("linked");
    write(&link).expect("written");
    assert!(link.is_symlink());
    assert_eq!(fs::read_to_string(&target).expect("there"), "new");
}

#[test]
fn csv_types_are_told_from_the_rows() {
    let place = Place::new();
    place.put("f.csv", "\u{feff}id,amount,ok,at,day,note,none\r\n1,2,true,2024-01-01 00:00:01.5,2024-01-31,x,\r\n2,2.5,false,2024-01-01 00:00:02,2024-02-01,,\r\n");
    let (schema, problems) = place.check("source.csv", "{path: f.csv}");
    assert!(problems.is_empty(), "{problems:#?}");
    let found: Vec<String> = schema
        .columns
        .iter()
        .map(|column| {
            format!(
                "{} {}",
                column.name,
                taktline_core::type_name(&column.dtype)
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            "id i64",
            "amount f64",
            "ok bool",
            "at datetime",
            "day date",
            "note text",
            "none text"
        ]
    );
    let frame = place.run("source.csv", "{path: f.csv}").expect("reads");
    assert_eq!(*frame.schema().as_ref(), schema.to_polars());
    assert_eq!(frame.column("note").expect("there").null_count(), 1);
}

#[test]
fn csv_dialects_are_read() {
    let place = Place::new();
    place.put("f.txt", "1;NA;x\n2;?;y\n3;4;z\n");
    let params = "{path: f.txt, delimiter: ';', has_header: false, null_values: [NA, '?']}";
    let (schema, problems) = place.check("source.csv", params);
    assert!(problems.is_empty(), "{problems:#?}");
    assert_eq!(
        schema.names().collect::<Vec<_>>(),
        ["column_1", "column_2", "column_3"]
    );
    let frame = place.run("source.csv", params).expect("reads");
    assert_eq!(
        (
            frame.height(),
            frame.column("column_2").expect("there").null_count()
        ),
        (3, 2)
    );
    // As many declared columns as there are: they are the names.
    let named = "{path: f.txt, delimiter: ';', has_header: false, null_values: [NA, '?'], schema: {id: i32, many: f64, name: text}}";
    let frame = place.run("source.csv", named).expect("reads");
    let expected = PolarsSchema::from_iter([
        ("id".into(), DataType::Int32),
        ("many".into(), DataType::Float64),
        ("name".into(), DataType::String),
    ]);
    assert_eq!(*frame.schema().as_ref(), expected);
    let (_, problems) = place.check("source.csv", "{path: f.txt, delimiter: '\"'}");
    assert_eq!(problems[0].code, "bad-delimiter");
}

#[test]
fn empty_files_may_be_allowed() {
    let place = Place::new();
    place.put("header.csv", "a,b\n");
    place.put("none.ndjson", "\n\n");
    place.put("none.json", "[]");
    for (kind, params) in [
        (
            "source.csv",
            "{path: header.csv, allow_empty: true, schema: {a: i64, b: text}}",
        ),
        (
            "source.ndjson",
            "{path: none.ndjson, allow_empty: true, schema: {a: i64, b: text}}",
        ),
        (
            "source.json",
            "{path: none.json, allow_empty: true, schema: {a: i64, b: text}}",
        ),
        (
            "source.file",
            "{path: header.csv, allow_empty: true, schema: {a: i64, b: text}}",
        ),
    ] {
        let frame = place.run(kind, params).expect("no rows");
        assert_eq!(frame.height(), 0, "{kind}");
        let types: Vec<_> = frame.schema().iter_values().cloned().collect();
        assert_eq!(types, [DataType::Int64, DataType::String], "{kind}");
    }
    let (_, problems) = place.check(
        "source.csv",
        "{path: header.csv, allow_empty: true, schema: {a: i64}}",
    );
    assert_eq!(problems[0].code, "no-types");
    assert!(problems[0].message.contains("`b` taken as text"));
    // A file of nothing at all is damaged.
    place.put("empty.csv", "");
    let (code, ..) = place.both("source.csv", "{path: empty.csv, allow_empty: true}");
    assert_eq!(code, "empty-source");
}

#[test]
fn empty_files_are_refused() {
    let place = Place::new();
    place.put("empty.csv", "");
    place.put("header.csv", "a,b\n");
    place.put("empty.ndjson", "\n\n");
    place.put("bad.parquet", "no parquet");
    place.put("bad.arrow", "no arrow");
    assert_eq!(
        place.both("source.csv", "{path: empty.csv}").1,
        "`empty.csv` is empty (0 bytes)"
    );
    let (code, message, run) = place.both("source.csv", "{path: header.csv}");
    assert_eq!(
        (code, message.as_str()),
        ("empty-source", "`header.csv` has a header but no rows")
    );
    assert!(run.contains("has a header but no rows"), "{run}");
    assert_eq!(
        place.both("source.ndjson", "{path: empty.ndjson}").0,
        "empty-source"
    );
    assert_eq!(
        place.both("source.parquet", "{path: bad.parquet}").0,
        "unreadable-file"
    );
    assert_eq!(
        place.both("source.ipc", "{path: bad.arrow}").0,
        "unreadable-file"
    );
    for name in ["none.parquet", "none.arrow"] {
        write_file(&place.path(name), frame().head(Some(0))).expect("written");
        assert_eq!(
            place.both("source.file", &format!("{{path: {name}}}")).0,
            "empty-source"
        );
    }
}

#[test]
fn types_are_those_of_the_whole_sample_whatever_its_first_rows_say() {
    let place = Place::new();
    // A hundred and fifty rows like the first field, and one like the second.
    let told = [
        ("7", "8", DataType::Int64),
        ("7", "8.5", DataType::Float64),
        ("7.5", "8", DataType::Float64),
        ("7", "9223372036854775808", DataType::Int64),
        ("true", "FALSE", DataType::Boolean),
        ("7", "eight", DataType::String),
        ("true", "1", DataType::String),
        ("\"7\"", "8", DataType::Int64),
        // These could be read as numbers, but do not tell of one.
        ("7", "+8", DataType::String),
        ("7", " 8", DataType::String),
        ("7", "\"\"", DataType::String),
        ("nan", "infinity", DataType::String),
        ("7.5", "nan", DataType::Float64),
        ("7.5", "infinity", DataType::Float64),
        ("7.5", "NaN", DataType::Float64),
        ("7.5", "inf", DataType::Float64),
        // Nothing but the last row has a value.
        ("", "8", DataType::Int64),
        // Dates are looked for in the first rows.
        ("", "2024-01-31", DataType::String),
        ("2024-01-31", "2024-02-01", DataType::Date),
        ("2024-01-31", "later", DataType::String),
    ];
    for (first, last, dtype) in told {
        let rows: Vec<&str> = std::iter::repeat_n(first, 150).chain([last]).collect();
        let text = rows
            .iter()
            .map(|field| format!("x,{field}\n"))
            .collect::<String>();
        place.put("rows.csv", format!("name,value\n{text}"));
        let (schema, problems) = place.check("source.csv", "{path: rows.csv}");
        let codes: Vec<&str> = problems.iter().map(|problem| problem.code).collect();
        let value = schema.column("value").map(|column| column.dtype.clone());
        assert_eq!(value, Some(dtype), "{first:?} then {last:?}: {codes:?}");
    }
}

#[test]
fn a_missing_file_says_where_it_looked_and_what_is_there() {
    let place = Place::new();
    place.put("payments.csv", "a\n1\n");
    let (schema, problems) = place.check("source.csv", "{path: payment.csv, schema: {a: i64}}");
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].code, "missing-file");
    assert_eq!(problems[0].message, "`payment.csv` does not exist");
    assert_eq!(problems[0].help, ["did you mean `payments.csv`?"]);
    assert_eq!(
        problems[0].notes,
        [format!("tried `{}`", place.path("payment.csv").display())]
    );
    // What was declared is still known below.
    assert!(schema.incomplete && schema.column("a").is_some());
    let (_, problems) = place.check("source.parquet", "{path: nowhere/f.parquet}");
    assert!(problems[0].help[0].contains("nowhere"), "{problems:#?}");
    let (_, problems) = place.check("source.ndjson", "{path: .}");
    assert!(
        problems[0].message.contains("is a directory"),
        "{problems:#?}"
    );
    let (_, problems) = place.check("source.file", "{path: f.xlsx}");
    assert_eq!(problems[0].code, "unknown-format");
}

#[test]
fn short_and_long_rows_are_named_never_filled() {
    let place = Place::new();
    place.put("short.csv", "a,b\n1,2\n3\n4,5\n6\n");
    let (code, message, run) = place.both("source.csv", "{path: short.csv}");
    assert_eq!(
        (code, message.as_str()),
        (
            "ragged-csv",
            "`short.csv` is ragged: line 3 has 1 field where the header has 2"
        )
    );
    assert!(run.contains("line 3 has 1 field"), "{run}");
    place.put("long.csv", "a,b\n1,2\n\"x\ny\",2\n3,4,5\n");
    assert!(
        place
            .both("source.csv", "{path: long.csv}")
            .1
            .contains("line 5 has 3 fields")
    );
    place.put("blank.csv", "a,b\n1,2\n\n3,4\n");
    assert!(
        place
            .both("source.csv", "{path: blank.csv}")
            .1
            .contains("line 3 has nothing")
    );
    place.put("open.csv", "a,b\n1,\"2\n3,4\n");
    let (_, problems) = place.check("source.csv", "{path: open.csv}");
    assert!(
        problems
            .iter()
            .any(|problem| problem.code == "open-quote" && problem.message.contains("line 2")),
        "{problems:#?}"
    );
    // Beyond the sample only a run can tell.
    let mut text = String::from("a,b\n");
    for row in 0..12_000 {
        writeln!(text, "{row},{row}").expect("text");
    }
    text.push_str("12000\n");
    place.put("late.csv", &text);
    assert!(place.check("source.csv", "{path: late.csv}").1.is_empty());
    let run = place
        .run("source.csv", "{path: late.csv}")
        .expect_err("ragged")
        .to_string();
    assert!(
        run.contains("line 12002 has 1 field where the header has 2"),
        "{run}"
    );
}

#[test]
fn blank_lines_at_the_end_are_no_rows() {
    let place = Place::new();
    place.put("f.csv", "a,b\n1,2\n3,4\n\n\n");
    let frame = place.run("source.csv", "{path: f.csv}").expect("reads");
    assert_eq!(frame.height(), 2, "{frame}");
    assert_eq!(frame.column("a").expect("there").null_count(), 0);
}

#[test]
fn other_encodings_are_located() {
    let place = Place::new();
    place.put("latin.csv", b"a,b\n1,x\n2,caf\xe9\n");
    let (code, message, run) = place.both("source.csv", "{path: latin.csv}");
    assert_eq!(
        (code, message.as_str()),
        (
            "not-utf8",
            "`latin.csv` is not UTF-8: line 3, byte 13 of the file"
        )
    );
    assert!(run.contains("line 3, byte 13"), "{run}");
    place.put("wide.csv", b"\xff\xfea\0,\0b\0\n\0");
    assert_eq!(place.both("source.csv", "{path: wide.csv}").0, "not-utf8");
    place.put("latin.ndjson", b"{\"a\": \"caf\xe9\"}\n");
    assert_eq!(
        place.both("source.ndjson", "{path: latin.ndjson}").0,
        "not-utf8"
    );
}

#[test]
fn headers_must_name_each_column_once() {
    let place = Place::new();
    place.put("twice.csv", "a,b,a\n1,2,3\n");
    assert_eq!(
        place.both("source.csv", "{path: twice.csv}").1,
        "`twice.csv` names the column `a` twice in its header"
    );
    place.put("unnamed.csv", "a,,b\n1,2,3\n");
    assert_eq!(
        place.both("source.csv", "{path: unnamed.csv}").0,
        "bad-header"
    );
}

#[test]
fn a_quote_inside_a_name_is_one() {
    let place = Place::new();
    place.put("f.csv", "\"a \"\"b\"\" c\",d\n1,2\n");
    let (schema, problems) =
        place.check("source.csv", r#"{path: f.csv, schema: {'a "b" c': f64}}"#);
    assert!(problems.is_empty(), "{problems:#?}");
    assert_eq!(schema.names().collect::<Vec<_>>(), ["a \"b\" c", "d"]);
    let rows = place
        .run("source.csv", r#"{path: f.csv, schema: {'a "b" c': f64}}"#)
        .expect("rows");
    let expected = df!("a \"b\" c" => [1.0], "d" => [2_i64]).expect("a frame");
    assert_eq!(rows, expected);
}

#[test]
fn a_whole_number_that_is_too_large_says_so() {
    let place = Place::new();
    place.put("ids.csv", "id\n12345678901234567890\n");
    let (_, problems) = place.check("source.csv", "{path: ids.csv}");
    assert_eq!(problems.len(), 1, "{problems:#?}");
    assert_eq!(
        problems[0].notes,
        ["`id` holds whole numbers, and this one has no room in 64 bits"]
    );
    let rows = place
        .run("source.csv", "{path: ids.csv, schema: {id: u64}}")
        .expect("rows");
    assert_eq!(
        rows,
        df!("id" => [12_345_678_901_234_567_890_u64]).expect("a frame")
    );
}

#[test]
fn a_declared_column_must_be_there_and_fit() {
    let place = Place::new();
    place.put("f.csv", "amount,name\n1.5,x\n2,y\n");
    let (schema, problems) = place.check(
        "source.csv",
        "{path: f.csv, schema: {amout: f64, name: text}}",
    );
    assert_eq!(problems.len(), 1, "{problems:#?}");
    assert_eq!(problems[0].code, "unknown-column");
    assert_eq!(problems[0].help, ["did you mean `amount`?"]);
    assert_eq!(
        problems[0].path,
        taktline_core::path!["schema", taktline_core::ParamStep::KeyOf("amout".into())]
    );
    assert_eq!(schema.names().collect::<Vec<_>>(), ["amount", "name"]);
    // `1.5` is no whole number, and the sample shows it.
    let (code, message, run) = place.both("source.csv", "{path: f.csv, schema: {amount: i64}}");
    assert_eq!(code, "bad-value");
    assert!(
        message.contains("line 2 (row 1), column `amount`: `1.5` is not an i64"),
        "{message}"
    );
    assert!(run.contains("line 2 (row 1)"), "{run}");
    let frame = place
        .run(
            "source.csv",
            "{path: f.csv, schema: {amount: f32, name: text}}",
        )
        .expect("reads");
    assert_eq!(
        *frame.column("amount").expect("there").dtype(),
        DataType::Float32
    );
    // Parquet carries its types.
    write_file(&place.path("f.parquet"), frame).expect("written");
    let (_, problems) = place.check(
        "source.file",
        "{path: f.parquet, schema: {amount: f64, nome: text}}",
    );
    assert_eq!(problems.len(), 1, "{problems:#?}");
    assert_eq!(problems[0].code, "schema-differs");
    assert_eq!(
        problems[0].message,
        "`f.parquet` differs from `schema`: no column `nome`; `amount` is f32, not f64"
    );
    assert_eq!(problems[0].path, taktline_core::path!["schema"]);
    assert_eq!(problems[0].help, ["did you mean `name`?"]);
}

#[test]
fn a_value_far_down_that_does_not_parse_is_an_error_with_its_row() {
    let place = Place::new();
    let bad = [
        ("number", "7", "7x", "a", "i64"),
        ("real", "7.5", "7,5", "a", "f64"),
        ("truth", "true", "maybe", "a", "bool"),
        ("day", "2024-01-31", "2024-02-30", "a", "date"),
        ("time", "2024-01-31 10:00:00", "soon", "a", "datetime"),
    ];
    for (name, good, value, column, dtype) in bad {
        for gzip in [false, true] {
            let mut text = String::from("id,a,note\n");
            for row in 1..=30_000 {
                let value = if row == 25_000 {
                    format!("\"{value}\"")
                } else {
                    good.to_owned()
                };
                writeln!(text, "{row},{value},\"n {row}\"").expect("text");
            }
            let file = format!("{name}.csv");
            if gzip {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
                encoder.write_all(text.as_bytes()).expect("compressed");
                place.put(&file, encoder.finish().expect("compressed"));
            } else {
                place.put(&file, &text);
            }
            let params = format!("{{path: {file}}}");
            let (schema, problems) = place.check("source.csv", &params);
            assert!(problems.is_empty(), "{name}: {problems:#?}");
            assert_eq!(
                taktline_core::type_name(&schema.column(column).expect("there").dtype),
                dtype
            );
            let run = place
                .run("source.csv", &params)
                .expect_err(name)
                .to_string();
            assert!(
                run.contains("line 25001 (row 25000), column `a`"),
                "{name}: {run}"
            );
            assert!(
                run.contains(&format!("`{value}` is not a")),
                "{name}: {run}"
            );
        }
    }
}

#[test]
fn json_is_read_strictly() {
    let place = Place::new();
    let cases = [
        ("{\"a\": 1}\n{\"a\": 2.5}\n", None),
        ("{\"a\": 1}\n\n{\"b\": \"x\"}\n", None),
        ("{\"a\": 1}\n{\"a\": 2\n", Some(("bad-json", "line 2"))),
        ("{\"a\": 1}\n[1]\n", Some(("bad-json", "line 2"))),
        (
            "{\"a\": {\"b\": 1}}\n",
            Some(("unsupported-value", "nested object")),
        ),
        (
            "{\"a\": [1, 2]}\n{\"a\": [1]}\n",
            Some(("unsupported-value", "different lengths")),
        ),
        (
            "{\"a\": [[1, 2], [3]]}\n",
            Some(("unsupported-value", "different lengths")),
        ),
        (
            "{\"a\": 1}\n{\"a\": \"x\"}\n",
            Some(("unsupported-value", "different types")),
        ),
    ];
    for (text, expected) in cases {
        place.put("f.ndjson", text);
        match expected {
            None => assert_eq!(
                place
                    .run("source.ndjson", "{path: f.ndjson}")
                    .expect(text)
                    .height(),
                2
            ),
            Some((code, part)) => {
                let (found, message, _) = place.both("source.ndjson", "{path: f.ndjson}");
                assert_eq!(found, code);
                assert!(message.contains(part), "{message}");
            }
        }
    }
    let mut lines = String::new();
    for row in 0..12_000 {
        writeln!(lines, "{{\"a\": {row}, \"at\": \"2024-01-01T00:00:00\"}}").expect("text");
    }
    for (last, part) in [
        (
            "{\"a\": 1.5}",
            "line 12001, field `a`: `1.5` does not fit type i64",
        ),
        ("{\"a\": \"x\"}", "`x` does not fit"),
        (
            "{\"a\": 1, \"at\": \"soon\"}",
            "field `at`: `soon` does not fit type datetime",
        ),
        ("{\"a\": 1, \"c\": 2}", "line 12001 has a field `c`"),
    ] {
        place.put("f.ndjson", format!("{lines}{last}\n"));
        assert!(
            place
                .check("source.ndjson", "{path: f.ndjson}")
                .1
                .is_empty()
        );
        let run = place
            .run("source.ndjson", "{path: f.ndjson}")
            .expect_err(last)
            .to_string();
        assert!(run.contains(part), "{run}");
    }
    place.put("f.ndjson", "{\"a\": 300}\n");
    let run = place
        .run("source.ndjson", "{path: f.ndjson, schema: {a: u8}}")
        .expect_err("too large")
        .to_string();
    assert!(run.contains("does not fit type u8"), "{run}");
}

#[test]
fn scoring_passes_over_known_columns_that_a_file_lacks() {
    let place = Place::new();
    let path = place.put("f.csv", "amount\n1\n");
    let known = taktline_core::Schema::new(vec![
        taktline_core::Column::new("amount", DataType::Float64),
        taktline_core::Column::new("other", DataType::String),
    ]);
    let frame = read_file(&path, Some(&known)).expect("reads");
    assert_eq!(
        *frame.schema().as_ref(),
        PolarsSchema::from_iter([("amount".into(), DataType::Float64)])
    );
    place.put("f.csv", "amount\nx\n");
    let error = read_file(&path, Some(&known))
        .expect_err("text")
        .to_string();
    assert!(
        error.contains("line 2 (row 1), column `amount`: `x`"),
        "{error}"
    );
}

#[test]
fn names_with_pattern_characters_are_only_names() {
    let place = Place::new();
    for name in ["a[1]*.csv", "a[1]*.parquet", "a[1]*.arrow", "a[1]*.ndjson"] {
        write_file(&place.path(name), frame()).expect(name);
        assert_eq!(read_file(&place.path(name), None).expect(name).height(), 3);
    }
}
