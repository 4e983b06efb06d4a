//! Dialects, encodings and compressions of text, and JSON documents.

use polars::prelude::{AnyValue, DataType};

use super::*;
use crate::files::{FileSet, RowFile, ndjson, stored};

fn texts(frame: &DataFrame, name: &str) -> Vec<String> {
    let column = frame.column(name).expect("there");
    let column = column.as_materialized_series();
    column
        .iter()
        .map(|value| match value {
            AnyValue::String(text) => text.to_owned(),
            value => value.to_string(),
        })
        .collect()
}

#[test]
fn comments_and_lines_above_the_header_are_passed_over() {
    let place = Place::new();
    let text = "made by a \"machine\non a Monday\n# the columns\nid,note\n1,\"a\n# no comment\"\n# it's a comment\n2,b # c\n\n# end\n";
    place.put("f.csv", text);
    let params = "{path: f.csv, skip_rows: 2, comment: '#'}";
    let (schema, problems) = place.check("source.csv", params);
    assert!(problems.is_empty(), "{problems:#?}");
    let frame = place.run("source.csv", params).expect("reads");
    assert_eq!(*frame.schema().as_ref(), schema.to_polars());
    assert_eq!(texts(&frame, "note"), ["a\n# no comment", "b # c"]);
    // Comments at the start alone need no copy.
    place.put("head.csv", "# one\n#two\nid,note\n1,a\n2,b\n");
    let frame = place
        .run("source.csv", "{path: head.csv, comment: '#'}")
        .expect("reads");
    assert_eq!(texts(&frame, "note"), ["a", "b"]);
    // Lines are those of the file, in messages.
    place.put("bad.csv", text.replace("2,b", "x2,b"));
    let (_, message, run) = place.both(
        "source.csv",
        "{path: bad.csv, skip_rows: 2, comment: '#', schema: {id: i64}}",
    );
    assert_eq!(
        message,
        "`bad.csv` line 8 (row 2), column `id`: `x2` is not an i64"
    );
    assert_eq!(message, run);
    place.put("only.csv", "# nothing\n");
    let (code, _, _) = place.both("source.csv", "{path: only.csv, comment: '#'}");
    assert_eq!(code, "empty-source");
}

#[test]
fn quotes_names_and_decimal_commas() {
    let place = Place::new();
    place.put(
        "f.txt",
        "1;'a;''b''';3,5\n2;\"c;-1.250,0\n".replace("1.250", "1250"),
    );
    let params = "{path: f.txt, delimiter: ';', quote: \"'\", decimal: ',', has_header: false, names: [id, note, amount]}";
    let (schema, problems) = place.check("source.csv", params);
    assert!(problems.is_empty(), "{problems:#?}");
    let frame = place.run("source.csv", params).expect("reads");
    assert_eq!(*frame.schema().as_ref(), schema.to_polars());
    assert_eq!(texts(&frame, "note"), ["a;'b'", "\"c"]);
    assert_eq!(texts(&frame, "amount"), ["3.5", "-1250.0"]);
    place.put("none.txt", "a\tb\n\"x\ty\"\n");
    let frame = place
        .run(
            "source.csv",
            "{path: none.txt, delimiter: \"\\t\", quote: null}",
        )
        .expect("reads");
    assert_eq!(texts(&frame, "a"), ["\"x"]);
    let (code, message, _) = place.both(
        "source.csv",
        "{path: f.txt, delimiter: ';', quote: \"'\", has_header: false, names: [id, note]}",
    );
    assert_eq!(
        (code, message.as_str()),
        ("wrong-names", "`f.txt` has 3 columns, and `names` has 2")
    );
    for (params, code) in [
        ("quote: ','", "bad-quote"),
        ("quote: a", "bad-quote"),
        ("decimal: ','", "bad-decimal"),
        ("encoding: klingon", "unknown-encoding"),
        ("names: [a]", "unused-param"),
        ("has_header: false, names: [a, b, a]", "duplicate-column"),
    ] {
        let (_, problems) = place.check("source.csv", &format!("{{path: f.txt, {params}}}"));
        assert_eq!(problems[0].code, code, "{params}");
    }
}

#[test]
fn other_encodings_are_read_and_bytes_that_are_none_located() {
    let place = Place::new();
    let text = "id,ville\n1,Orléans\n2,Nîmes\n";
    let (latin, _, _) = encoding_rs::WINDOWS_1252.encode(text);
    place.put("latin.csv", latin);
    let wide: Vec<u8> = format!("\u{feff}{text}")
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    place.put("wide.csv", &wide);
    place.put(
        "big.csv",
        wide.as_chunks::<2>()
            .0
            .iter()
            .flat_map(|[low, high]| [*high, *low])
            .collect::<Vec<_>>(),
    );
    for params in [
        "{path: latin.csv, encoding: latin-1}",
        "{path: wide.csv, encoding: utf-16}",
        "{path: big.csv, encoding: utf-16}",
    ] {
        let (schema, problems) = place.check("source.csv", params);
        assert!(problems.is_empty(), "{params}: {problems:#?}");
        let frame = place.run("source.csv", params).expect(params);
        assert_eq!(*frame.schema().as_ref(), schema.to_polars());
        assert_eq!(texts(&frame, "ville"), ["Orléans", "Nîmes"]);
    }
    place.put("gbk.csv", b"id,name\n1,\xd6\xd0\xce\xc4\n2,\xff\n");
    let (code, message, run) = place.both("source.csv", "{path: gbk.csv, encoding: gbk}");
    assert_eq!(
        (code, message.as_str()),
        (
            "not-text",
            "`gbk.csv` is not GBK: line 3, byte 17 of the file"
        )
    );
    assert_eq!(message, run);
    let (_, problems) = place.check("source.csv", "{path: wide.csv}");
    assert!(
        problems[0].help[0].contains("encoding: utf-16"),
        "{problems:#?}"
    );
    let (_, problems) = place.check("source.csv", "{path: latin.csv}");
    assert!(
        problems[0].help[0].contains("windows-1252"),
        "{problems:#?}"
    );
    // Values are located in what is not UTF-8, too.
    let (latin, _, _) = encoding_rs::WINDOWS_1252.encode("é,a\nx,1\n\"ü\",deux\n");
    place.put("bad.csv", latin);
    let (_, message, _) = place.both(
        "source.csv",
        "{path: bad.csv, encoding: latin-1, schema: {a: i64}}",
    );
    assert!(
        message.contains("line 3 (row 2), column `a`: `deux`"),
        "{message}"
    );
}

#[test]
fn a_million_rows_with_one_bad_one_are_told_where() {
    let place = Place::new();
    let mut text = String::with_capacity(30_000_000);
    text.push_str("id,at,amount,card\n");
    for row in 1..=1_000_000 {
        let amount = if row == 999_999 { "12,5" } else { "12.5" };
        let quote = if row == 999_999 { "\"" } else { "" };
        writeln!(text, "{row},2024-01-01,{quote}{amount}{quote},card {row}").expect("text");
    }
    place.put("f.csv", &text);
    let began = std::time::Instant::now();
    let run = place
        .run("source.csv", "{path: f.csv}")
        .expect_err("bad")
        .to_string();
    assert!(
        run.contains("`f.csv` line 1000000 (row 999999), column `amount`: `12,5` is not an f64"),
        "{run}"
    );
    assert!(began.elapsed().as_secs() < 30, "{:?}", began.elapsed());
}

#[test]
fn json_documents_are_arrays_of_objects_somewhere() {
    let place = Place::new();
    place.put(
        "top.json",
        "\u{feff}[\n  {\"a\": 1, \"b\": \"x\"},\n  {\"a\": 2.5}\n]\n",
    );
    let frame = place.run("source.json", "{path: top.json}").expect("reads");
    assert_eq!(texts(&frame, "a"), ["1.0", "2.5"]);
    assert_eq!(frame.column("b").expect("there").null_count(), 1);
    place.put("in.json", "{\"data\": {\"it/ems\": [\n{\"a\": {\"city\": \"Rome\", \"at\": {\"x\": 1}}},\n{\"a\": null}]}, \"n\": 2}");
    let (_, problems) = place.check("source.json", "{path: in.json}");
    assert_eq!(problems[0].code, "no-records");
    assert_eq!(
        problems[0].message,
        "`in.json` has no array of records at the top"
    );
    let (_, problems) = place.check("source.json", "{path: in.json, records: /data}");
    assert_eq!(
        problems[0].help,
        ["say where it is: `records: /data/it~1ems`"]
    );
    assert_eq!(problems[0].path, taktline_core::path!["records"]);
    let (_, problems) = place.check("source.json", "{path: in.json, records: /dat/x}");
    assert_eq!(problems[0].help, ["did you mean `data`?"]);
    let params = "{path: in.json, records: /data/it~1ems}";
    let (code, message, _) = place.both("source.json", params);
    assert_eq!(code, "unsupported-value");
    assert!(
        message.contains("a nested object in field `a`"),
        "{message}"
    );
    let params = "{path: in.json, records: /data/it~1ems, flatten: true}";
    let (schema, problems) = place.check("source.json", params);
    assert!(problems.is_empty(), "{problems:#?}");
    let frame = place.run("source.json", params).expect("reads");
    assert_eq!(*frame.schema().as_ref(), schema.to_polars());
    assert_eq!(texts(&frame, "a_city"), ["Rome", "null"]);
    assert_eq!(texts(&frame, "a_at_x"), ["1", "null"]);
}

#[test]
fn json_documents_that_are_none_are_located() {
    let place = Place::new();
    for (text, code, part) in [
        ("[{\"a\": 1},\n {\"a\": }]", "bad-json", "line 2, column 8"),
        (
            "{\"a\": 1}\n{\"a\": 2}\n",
            "bad-json",
            "trailing characters",
        ),
        ("[1, 2]", "bad-json", "record 1 (line 1) is no JSON object"),
        ("[]", "empty-source", "no rows"),
        (" \n", "empty-source", "is empty"),
        (
            "[{\"a\": {\"b\": 1}, \"a_b\": 2}]",
            "name-taken",
            "two fields that would both be `a_b`",
        ),
    ] {
        place.put("f.json", text);
        let (found, message, _) = place.both("source.json", "{path: f.json, flatten: true}");
        assert_eq!(found, code, "{message}");
        assert!(message.contains(part), "{message}");
    }
    let mut text = String::from("[\n");
    for row in 0..10_500 {
        writeln!(text, "{{\"a\": {row}}},").expect("text");
    }
    place.put("late.json", format!("{text}{{\"a\": \"x\"}}]"));
    assert!(place.check("source.json", "{path: late.json}").1.is_empty());
    let run = place
        .run("source.json", "{path: late.json}")
        .expect_err("late")
        .to_string();
    assert!(
        run.contains("record 10501 (line 10502), field `a`: `x` does not fit type i64"),
        "{run}"
    );
}

#[test]
fn many_json_lines_go_through_a_file() {
    let place = Place::new();
    let text: String = (0..1000).fold(String::new(), |text, row| {
        format!("{text}{{\"id\": {row}, \"note\": \"n {row}\"}}\n\n")
    });
    let path = place.put("f.ndjson", &text);
    let file = RowFile::new(path, Format::Ndjson, Some(place.path("kept")));
    let schema = FileSet::one(file.clone()).inspect().0.expect("a schema");
    let parts = ndjson::scan_within(&file, &schema, 700, 4000)
        .expect("opens")
        .collect()
        .expect("reads");
    assert!(fs::read_dir(place.path("kept")).expect("listed").count() > 5);
    let whole = ndjson::scan_within(&file, &schema, 1 << 20, usize::MAX)
        .expect("opens")
        .collect()
        .expect("reads");
    assert_eq!(parts, whole);
    assert_eq!(parts.height(), 1000);
    place.put("f.ndjson", text.replace("{\"id\": 900,", "{\"id\": \"x\","));
    let error = match ndjson::scan_within(&file, &schema, 700, 4000) {
        Err(problem) => problem.into_error(Path::new("f.ndjson")).to_string(),
        Ok(_) => panic!("a bad value"),
    };
    assert!(error.contains("line 1801, field `id`"), "{error}");
}

#[test]
fn an_empty_batch_is_one_to_score() {
    let place = Place::new();
    let known =
        taktline_core::Schema::new(vec![taktline_core::Column::new("a", DataType::Float64)]);
    for (name, content) in [("h.csv", "a,b\n"), ("e.json", "[]"), ("e.ndjson", "")] {
        let path = place.put(name, content);
        let frame = read_file(&path, Some(&known)).expect(name);
        assert_eq!(frame.height(), 0);
        if name == "h.csv" {
            assert_eq!(
                *frame.column("a").expect("there").dtype(),
                DataType::Float64
            );
        }
        assert!(read_file(&path, None).is_err(), "{name}");
    }
    assert!(read_file(&place.put("0.csv", ""), Some(&known)).is_err());
}

#[test]
fn formats_are_told_from_names() {
    for (name, expected) in [
        ("a.csv", Some(Format::Csv)),
        ("A.CSV.GZ", Some(Format::Csv)),
        ("a.csv.zst", Some(Format::Csv)),
        ("a.json", Some(Format::Json)),
        ("a.json.zst", Some(Format::Json)),
        ("a.jsonl.zst", Some(Format::Ndjson)),
        ("a.parquet", Some(Format::Parquet)),
        ("a.parquet.gz", None),
        ("2024-*.feather", Some(Format::Ipc)),
        ("csv", None),
        ("a.gz", None),
    ] {
        assert_eq!(Format::of(Path::new(name)), expected, "{name}");
    }
    let _ = stored::NULL_PARTITION;
}

#[test]
fn numbers_beyond_all_numbers_are_located() {
    let place = Place::new();
    place.put("f.csv", "id,x\n1,inf\n2,\n3,\"-1e400\"\n4,2.5\n");
    let (code, message, run) = place.both("source.csv", "{path: f.csv}");
    assert_eq!(
        (code, message.as_str()),
        (
            "bad-value",
            "`f.csv` line 4 (row 3), column `x`: `-1e400` is beyond the numbers of an f64, which end at 1.8e308"
        )
    );
    assert_eq!(message, run);
    let (_, message, run) = place.both(
        "source.csv",
        "{path: f.csv, null_values: [\"-1e400\", inf], schema: {id: i64, x: i8}}",
    );
    assert!(message.contains("`2.5` is not an i8"), "{message}");
    assert_eq!(message, run);
    // What the file says is infinite is so.
    place.put("inf.csv", "x\n1.5\ninf\n-inf\nInfinity\n");
    let params = "{path: inf.csv, schema: {x: f64}}";
    let (_, problems) = place.check("source.csv", params);
    assert!(problems.is_empty(), "{problems:#?}");
    let frame = place.run("source.csv", params).expect("reads");
    let values = frame.column("x").and_then(|x| Ok(x.f64()?.clone()));
    let values: Vec<f64> = values.expect("numbers").iter().flatten().collect();
    assert_eq!(
        values,
        [1.5, f64::INFINITY, f64::NEG_INFINITY, f64::INFINITY]
    );
    // A narrower type ends earlier, and a comma may stand for the point.
    place.put("narrow.csv", "x;y\n1,5;2\n1,5e39;3\n");
    let (code, message, run) = place.both(
        "source.csv",
        "{path: narrow.csv, delimiter: ';', decimal: ',', schema: {x: f32, y: i64}}",
    );
    assert_eq!(code, "bad-value");
    assert!(
        message.contains("line 3 (row 2), column `x`: `1,5e39` is beyond the numbers of an f32"),
        "{message}"
    );
    assert_eq!(message, run);
}

#[test]
fn a_number_too_large_far_down_is_located_in_its_file() {
    let place = Place::new();
    let mut text = String::from("id,x\n");
    for row in 1..=30_000 {
        let value = if row == 29_999 { "1e999" } else { "0.5" };
        writeln!(text, "{row},{value}").expect("text");
    }
    place.put("days/1.csv", "id,x\n1,0.5\n");
    place.put("days/2.csv", &text);
    for path in ["days/2.csv", "days/*.csv"] {
        let run = place
            .run("source.csv", &format!("{{path: \"{path}\"}}"))
            .expect_err("too large")
            .to_string();
        assert!(
            run.contains("2.csv` line 30000 (row 29999), column `x`: `1e999` is beyond"),
            "{run}"
        );
    }
}

#[test]
fn names_that_look_like_numbers_are_hinted_at() {
    let place = Place::new();
    place.put(
        "f.csv",
        "zip,n,at\n10115,0,2024-01-01\n01067,10,2024-01-02\n000,7,2024-01-03\n",
    );
    let (_, problems) = place.check("source.csv", "{path: f.csv}");
    let told: Vec<(&str, &str)> = problems
        .iter()
        .map(|problem| (problem.code, problem.message.as_str()))
        .collect();
    assert_eq!(
        told,
        [(
            "leading-zeros",
            "`f.csv` column `zip`: `01067` becomes the number 1067"
        )]
    );
    assert_eq!(problems[0].severity, taktline_core::Severity::Warning);
    assert!(problems[0].help[0].contains("schema: {zip: text}"));
    // It stands in nobody's way, and is not said again to who has decided.
    let frame = place.run("source.csv", "{path: f.csv}").expect("reads");
    assert_eq!(texts(&frame, "zip"), ["10115", "1067", "0"]);
    for kind in ["text", "i64"] {
        let declared = format!("{{path: f.csv, schema: {{zip: {kind}}}}}");
        let (_, problems) = place.check("source.csv", &declared);
        assert!(problems.is_empty(), "{problems:#?}");
    }
}
