//! The example of every kind that reads, cleans, checks, describes, parts, balances or writes rows, run as it is shown.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Cursor,
    iter,
};

use image::{ImageFormat, Rgb, RgbImage};
use serde_json::{Map, Number, Value, json};

use crate::harness::{Outcome, Project, repository};

/// What one example needs around it, and what comes out of it in the end.
struct Case {
    kind: &'static str,
    /// The roles of columns, as YAML.
    columns: &'static str,
    files: Vec<(String, Vec<u8>)>,
    /// The stages of a pipeline that runs before: it writes what the example reads.
    first: &'static str,
    before: String,
    after: &'static str,
    /// The stages of a pipeline that runs afterwards: it reads what the example wrote.
    then: &'static str,
    rows: usize,
    parts: &'static [(&'static str, usize)],
    /// The last row with all its columns in their order.
    whole: Option<Value>,
    /// Some values of the last row.
    some: Option<Value>,
    written: Option<(&'static str, &'static str)>,
    shown: &'static [&'static str],
    warnings: &'static [&'static str],
    /// Whether it needs libtorch.
    is_network: bool,
}

fn case(kind: &'static str) -> Case {
    Case {
        kind,
        columns: "{}",
        files: Vec::new(),
        first: "",
        before: String::new(),
        after: "",
        then: "",
        rows: 0,
        parts: &[],
        whole: None,
        some: None,
        written: None,
        shown: &[],
        warnings: &[],
        is_network: false,
    }
}

impl Case {
    fn columns(mut self, roles: &'static str) -> Self {
        self.columns = roles;
        self
    }

    fn file(mut self, name: &str, content: impl Into<Vec<u8>>) -> Self {
        self.files.push((name.to_owned(), content.into()));
        self
    }

    /// A CSV file, and a source of that id that reads it.
    fn table(self, id: &str, content: impl Into<Vec<u8>>) -> Self {
        let name = format!("{id}.csv");
        let source = format!("- source.csv: {{path: {name}}}\n  id: {id}\n");
        self.file(&name, content).before(&source)
    }

    fn first(mut self, stages: &'static str) -> Self {
        self.first = stages;
        self
    }

    fn before(mut self, stages: &str) -> Self {
        self.before.push_str(stages);
        self
    }

    /// Training and test rows, as the column `part` says.
    fn parted(self) -> Self {
        self.before("- split.column: {column: part, train: train, test: test}\n")
    }

    fn network(mut self) -> Self {
        self.is_network = true;
        self
    }

    fn after(mut self, stages: &'static str) -> Self {
        self.after = stages;
        self
    }

    fn then(mut self, stages: &'static str) -> Self {
        self.then = stages;
        self
    }

    /// How many rows each part has.
    fn parts(mut self, parts: &'static [(&'static str, usize)]) -> Self {
        self.parts = parts;
        self
    }

    /// How many rows come out, and all of the last one.
    fn gives(mut self, rows: usize, last: Value) -> Self {
        self.rows = rows;
        self.whole = Some(last);
        self
    }

    /// How many rows come out, and some values of the last one.
    fn gives_among_others(mut self, rows: usize, last: Value) -> Self {
        self.rows = rows;
        self.some = Some(last);
        self
    }

    fn writes(mut self, file: &'static str, content: &'static str) -> Self {
        self.written = Some((file, content));
        self
    }

    fn shows(mut self, texts: &'static [&'static str]) -> Self {
        self.shown = texts;
        self
    }

    fn warns(mut self, texts: &'static [&'static str]) -> Self {
        self.warnings = texts;
        self
    }

    fn run(&self, example: &str) {
        let project = Project::new();
        for (name, content) in &self.files {
            project.write(name, content);
        }
        if !self.first.is_empty() {
            run(&project, "first", "{}", self.first);
        }
        let mut stages = format!("{}{example}\n{}", self.before, self.after);
        let mut then = self.then.to_owned();
        let last = if then.is_empty() {
            &mut stages
        } else {
            &mut then
        };
        if !last.contains("rows.ndjson") {
            last.push_str("- sink.ndjson: {path: rows.ndjson}\n");
        }
        let outcome = run(&project, "example", self.columns, &stages);
        let warnings: Vec<&str> = outcome
            .stderr
            .lines()
            .filter(|line| line.starts_with("warning"))
            .collect();
        assert!(
            warnings.len() == self.warnings.len()
                && self
                    .warnings
                    .iter()
                    .zip(&warnings)
                    .all(|(text, line)| line.contains(text)),
            "`{}` warns: {warnings:?}",
            self.kind
        );
        for text in self.shown {
            assert!(
                outcome.stdout.contains(text),
                "`{}` does not show `{text}`:\n{}",
                self.kind,
                outcome.stdout
            );
        }
        if let Some((file, content)) = self.written {
            assert_eq!(project.read(file), content, "`{}`", self.kind);
        }
        if !then.is_empty() {
            run(&project, "then", "{}", &then);
        }
        self.look_at(&project.read("rows.ndjson"));
    }

    /// Holds what came out, a JSON object for each row, against what should.
    fn look_at(&self, text: &str) {
        let rows: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).expect("an object"))
            .collect();
        assert_eq!(rows.len(), self.rows, "rows of `{}`", self.kind);
        let last = rows.last().expect("a row");
        if !self.parts.is_empty() {
            let mut parts = BTreeMap::new();
            for row in &rows {
                *parts
                    .entry(row["partition"].as_str().expect("a part"))
                    .or_insert(0) += 1;
            }
            let expected: BTreeMap<_, usize> = self.parts.iter().copied().collect();
            assert_eq!(parts, expected, "parts of `{}`", self.kind);
        }
        if let Some(whole) = &self.whole {
            assert_eq!(names(last), names(whole), "columns of `{}`", self.kind);
        }
        for (name, value) in [&self.whole, &self.some]
            .into_iter()
            .flatten()
            .flat_map(|row| row.as_object().expect("a row"))
        {
            let found = last
                .get(name)
                .unwrap_or_else(|| panic!("`{}` gives no column `{name}`", self.kind));
            assert!(
                same(value, found),
                "`{}` gives in `{name}` {found}, not {value}",
                self.kind
            );
        }
    }
}

fn run(project: &Project, name: &str, columns: &str, stages: &str) -> Outcome {
    let file = format!("{name}.yaml");
    let spec = format!("pipeline: {name}\ncolumns: {columns}\nstages:\n{stages}");
    project.write(&file, &spec);
    let outcome = project
        .takt(["run", &file])
        .env("DATABASE_URL", "sqlite:shop.db")
        .run();
    assert_eq!(outcome.code, 0, "{spec}\n{}", outcome.stderr);
    outcome
}

fn names(row: &Value) -> Vec<&String> {
    row.as_object().expect("a row").keys().collect()
}

/// Equal, but for the last digits of an `f32`.
fn same(expected: &Value, found: &Value) -> bool {
    match (expected, found) {
        (Value::Array(expected), Value::Array(found)) => {
            expected.len() == found.len()
                && expected
                    .iter()
                    .zip(found)
                    .all(|(one, other)| same(one, other))
        }
        (Value::Number(expected), Value::Number(found)) => {
            let number = |value: &Number| value.as_f64().expect("a number");
            let (expected, found) = (number(expected), number(found));
            (expected - found).abs() <= 1e-5 * expected.abs().max(1.0)
        }
        _ => expected == found,
    }
}

/// Runs the examples of a family: each of its kinds has a case, and no case is of another.
fn run_examples(family: &str, cases: &[Case]) {
    let report = Project::new()
        .takt(["stages", "--format", "json"])
        .run()
        .succeeded()
        .json();
    let examples: BTreeMap<&str, &str> = report
        .as_array()
        .expect("a list of kinds")
        .iter()
        .map(|kind| {
            let text = |key: &str| kind[key].as_str().expect("text");
            (text("kind"), text("example"))
        })
        .filter(|(kind, _)| kind.split('.').next() == Some(family))
        .collect();
    let kinds: BTreeSet<&str> = examples.keys().copied().collect();
    let covered: BTreeSet<&str> = cases.iter().map(|case| case.kind).collect();
    assert_eq!(covered.len(), cases.len(), "a kind has two cases");
    let without_case: Vec<_> = kinds.difference(&covered).collect();
    let without_kind: Vec<_> = covered.difference(&kinds).collect();
    assert!(
        without_case.is_empty() && without_kind.is_empty(),
        "kinds without a case: {without_case:?}; cases without a kind: {without_kind:?}"
    );
    for case in cases {
        if case.is_network && !cfg!(feature = "torch") {
            continue;
        }
        case.run(examples[case.kind]);
    }
}

/// The lines of a CSV file below its header.
fn csv(header: &str, rows: impl IntoIterator<Item = String>) -> String {
    iter::once(header.to_owned())
        .chain(rows)
        .map(|line| line + "\n")
        .collect()
}

/// A PNG file of one colour.
fn picture(colour: [u8; 3]) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    RgbImage::from_pixel(8, 8, Rgb(colour))
        .write_to(&mut bytes, ImageFormat::Png)
        .expect("a picture");
    bytes.into_inner()
}

/// A WAV file of one channel and 16,000 samples a second.
pub(crate) fn wav(samples: &[i16]) -> Vec<u8> {
    let size = 2 * u32::try_from(samples.len()).expect("a short sound");
    let mut bytes = b"RIFF".to_vec();
    bytes.extend((36 + size).to_le_bytes());
    bytes.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    bytes.extend(16_000_u32.to_le_bytes());
    bytes.extend(32_000_u32.to_le_bytes());
    bytes.extend(b"\x02\0\x10\0data");
    bytes.extend(size.to_le_bytes());
    bytes.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
    bytes
}

/// An image of one colour, as rows of pixels.
fn image(side: usize, pixel: &Value) -> Value {
    json!(vec![vec![pixel; side]; side])
}

/// Numbers of which only these are not zero.
fn sparse(length: usize, values: &[(usize, f64)]) -> Value {
    let mut numbers = vec![0.0; length];
    for (index, value) in values {
        numbers[*index] = *value;
    }
    json!(numbers)
}

const PAYMENTS: &str = "payment_id,amount\n1,20.5\n2,30.25\n";

const MADE_PARQUET: &str = "\
- source.csv: {path: made.csv}
- sink.parquet: {path: data/payments.parquet}
";

const SOUNDS: &str = "\
- source.audio: {path: data/words, rate: 16000, seconds: 1}
- clean.select: {columns: [sound]}
";

#[test]
fn sources_read_what_their_examples_name() {
    let dataset = |name: &str| fs::read(repository().join(name)).expect("a data set");
    let images = "datasets/mnist/digits-10k-images-idx3-ubyte.gz";
    let labels = "datasets/mnist/digits-10k-labels-idx1-ubyte.gz";
    let payment = json!({"payment_id": 2, "amount": 30.25});
    run_examples(
        "source",
        &[
            case("source.audio")
                .file("data/words/no/1.wav", wav(&[0; 8]))
                .file("data/words/yes/1.wav", wav(&[16_384, -8_192]))
                .gives(
                    2,
                    json!({
                        "file": "yes/1.wav",
                        "label": "yes",
                        "sound": sparse(16_000, &[(0, 0.5), (1, -0.25)]),
                        "duration": 2.0 / 16_000.0,
                    }),
                ),
            case("source.csv")
                .file("data/payments.csv", "account,amount\n007,1.5\n008,2\n")
                .gives(2, json!({"account": "008", "amount": 2.0})),
            case("source.file")
                .file("made.csv", PAYMENTS)
                .first(MADE_PARQUET)
                .gives(2, payment.clone()),
            // The last digit of the data set is a nought.
            case("source.idx")
                .file(images, dataset(images))
                .file(labels, dataset(labels))
                .after("- clean.select: {columns: [label]}\n")
                .gives(10_000, json!({"label": 0})),
            case("source.images")
                .file("data/tiles/good/1.png", picture([9, 9, 9]))
                .file("data/tiles/scratch/1.png", picture([255, 128, 0]))
                .gives(
                    2,
                    json!({
                        "path": "scratch/1.png",
                        "image": image(64, &json!([255, 128, 0])),
                        "label": "scratch",
                    }),
                ),
            case("source.ipc")
                .file("made.csv", PAYMENTS)
                .first("- source.csv: {path: made.csv}\n- sink.ipc: {path: data/payments.arrow}\n")
                .gives(2, payment.clone()),
            case("source.json")
                .file(
                    "data/orders.json",
                    r#"{"orders": [{"id": 1}, {"id": 2, "address": {"city": "Kiel"}}]}"#,
                )
                .gives(2, json!({"id": 2, "address_city": "Kiel"})),
            case("source.ndjson")
                .file(
                    "data/payments.ndjson",
                    "{\"payment_id\":1,\"amount\":1}\n{\"payment_id\":2,\"amount\":30.25}\n",
                )
                .gives(2, payment.clone()),
            case("source.parquet")
                .file("made.csv", PAYMENTS)
                .first(MADE_PARQUET)
                .gives(2, payment),
            case("source.sql")
                .file(
                    "made.csv",
                    "id,amount,updated_at\n\
                     1,20.5,2024-01-31 09:00:00\n\
                     2,30.25,2024-01-31 10:00:00\n",
                )
                .first(
                    "- source.csv: {path: made.csv}\n\
                     - sink.sql: {url: \"${secret:DATABASE_URL}\", table: payments}\n",
                )
                .gives(
                    2,
                    json!({"id": 2, "amount": 30.25, "updated_at": "2024-01-31 10:00:00"}),
                ),
            // 365 days of 8 products in 5 stores, a series after the other.
            case("source.synthetic.demand").gives_among_others(
                14_600,
                json!({"date": "2022-12-31", "store": "S005", "product": "P008"}),
            ),
            // The published altitudes are 0, 10, 20, 25, 35 and 42 thousand feet.
            case("source.synthetic.engines")
                .after(
                    "- features.aggregate:\n    \
                     aggregate:\n      \
                     engines: count(distinct unit)\n      \
                     altitudes: count(distinct round(altitude / 5))\n",
                )
                .gives(1, json!({"engines": 100, "altitudes": 6})),
            // Qualities L, M and H; five types of payment; three defects and none.
            case("source.synthetic.milling")
                .after(
                    "- features.aggregate:\n    \
                     aggregate: {jobs: max(job), qualities: count(distinct quality)}\n",
                )
                .gives(1, json!({"jobs": 10_000, "qualities": 3})),
            case("source.synthetic.payments")
                .after(
                    "- features.aggregate:\n    \
                     aggregate: {payments: max(payment_id), types: count(distinct type)}\n",
                )
                .gives(1, json!({"payments": 200_000, "types": 5})),
            case("source.synthetic.tiles")
                .after(
                    "- features.aggregate:\n    \
                     aggregate: {tiles: max(tile), labels: count(distinct label)}\n",
                )
                .gives(1, json!({"tiles": 2_000, "labels": 4})),
            case("source.text")
                .file("data/letters/kind/1.txt", b"Gr\xfc\xdfe".as_slice())
                .file("data/letters/rude/1.txt", b"5 \x80".as_slice())
                .gives(
                    2,
                    json!({"file": "rude/1.txt", "label": "rude", "text": "5 €"}),
                ),
        ],
    );
}

#[test]
fn rows_are_cleaned_as_the_examples_say() {
    run_examples(
        "clean",
        &[
            case("clean.align")
                .table("measured", "length,width\n1,2\n3,4\n")
                .table("result", "label\na\nb\n")
                .gives(2, json!({"length": 3, "width": 4, "label": "b"})),
            case("clean.cast")
                .table("rows", "amount,at\n1,2024-01-31\n3,2024-02-01\n")
                .gives(2, json!({"amount": 3.0, "at": "2024-02-01 00:00:00"})),
            // Quartiles of 3.5 and 8.5 on the web: the upper bound is 8.5 + 3 · 5.
            case("clean.clip_outliers")
                .table(
                    "rows",
                    csv(
                        "channel,amount",
                        iter::repeat_n("shop,1000.0".to_owned(), 10).chain(
                            (1..=10)
                                .chain([100])
                                .map(|amount| format!("web,{amount}.0")),
                        ),
                    ),
                )
                .gives(21, json!({"channel": "web", "amount": 23.5})),
            case("clean.drop")
                .table("rows", "amount,comment\n1,x\n2,y\n")
                .gives(2, json!({"amount": 2})),
            case("clean.drop_duplicates")
                .table("rows", "payment_id,amount\n1,5\n2,6\n2,7\n")
                .gives(2, json!({"payment_id": 2, "amount": 6})),
            case("clean.drop_nulls")
                .table("rows", "payment_id,amount\n1,5\n2,6\n3,\n")
                .gives(2, json!({"payment_id": 2, "amount": 6})),
            case("clean.fill_null")
                .table("rows", "amount,channel\n1,web\n2,\n")
                .gives(2, json!({"amount": 2, "channel": "unknown"})),
            case("clean.filter")
                .table("rows", "payment_id,amount\n1,5\n2,0\n3,-1\n")
                .gives(1, json!({"payment_id": 1, "amount": 5})),
            case("clean.map_values")
                .table("rows", "channel,amount\nweb,1\nfax,4\n")
                .gives(2, json!({"channel": "other", "amount": 4})),
            case("clean.normalize_text")
                .table("rows", "city\nParis\nＫöln Südstraße\n")
                .gives(2, json!({"city": "koln sudstrasse"})),
            // Berlin is an hour ahead of UTC in winter.
            case("clean.parse_dates")
                .table("rows", "at\n2024-01-30\n31.01.2024 10:30\n")
                .gives(2, json!({"at": "2024-01-31T10:30:00+01:00"})),
            case("clean.rename")
                .table("rows", "dt,amt\n2024-01-31,5\n")
                .gives(1, json!({"at": "2024-01-31", "amount": 5})),
            case("clean.replace")
                .table("rows", "phone\n030-1\n0049-30\n")
                .gives(2, json!({"phone": "+49-30"})),
            // No row between 10 and 11 o'clock: the heat lies between its neighbours.
            case("clean.resample_time")
                .table(
                    "rows",
                    "sensor,at,heat\n\
                     a,2024-01-31 09:10:00,1\n\
                     a,2024-01-31 09:50:00,3\n\
                     a,2024-01-31 11:30:00,6\n",
                )
                .after("- clean.filter: {where: readings < 1}\n")
                .gives(
                    1,
                    json!({"sensor": "a", "at": "2024-01-31 10:00:00", "heat": 4.0, "readings": 0}),
                ),
            // Two of 20 rows and one of 10.
            case("clean.sample")
                .table(
                    "rows",
                    csv(
                        "channel,amount",
                        iter::repeat_n("web,1", 20)
                            .chain(iter::repeat_n("shop,2", 10))
                            .map(str::to_owned),
                    ),
                )
                .gives(3, json!({"channel": "shop", "amount": 2})),
            case("clean.select")
                .table("rows", "is_fraud,comment,amount,at\n0,x,5,2024-01-31\n")
                .gives(1, json!({"at": "2024-01-31", "amount": 5, "is_fraud": 0})),
            case("clean.sort")
                .table(
                    "rows",
                    "account,at\nb,2024-01-01\nb,2024-01-02\na,2024-01-03\nb,\n",
                )
                .gives(4, json!({"account": "b", "at": "2024-01-01"})),
            case("clean.trim")
                .table("rows", "name,city\nA,B\n  Ada ,New   York \n")
                .gives(2, json!({"name": "Ada", "city": "New York"})),
            case("clean.union")
                .table("north", "id,snow\n1,true\n")
                .table("south", "id,heat\n2,35\n")
                .gives(
                    2,
                    json!({"id": 2, "snow": null, "heat": 35, "region": "south"}),
                ),
        ],
    );
}

#[test]
fn rows_are_checked_as_the_example_says() {
    // A minute apart on the last day of January. Ten of the thousand are of another channel: as many as may, which is told.
    let payments = csv(
        "payment_id,account,at,amount,balance_before,channel",
        (1..=1_000).map(|id| {
            let (hour, minute) = (id / 60, id % 60);
            let channel = if id % 100 == 0 { "app" } else { "web" };
            format!(
                "{id},a,2024-01-31 {hour:02}:{minute:02}:00,{}.5,2000,{channel}",
                id % 500
            )
        }),
    );
    run_examples(
        "check",
        &[case("check.expect")
            .table("rows", payments)
            .warns(&["does not hold for 10 of 1,000 rows"])
            .gives(
                1_000,
                json!({
                    "payment_id": 1_000,
                    "account": "a",
                    "at": "2024-01-31 16:40:00",
                    "amount": 0.5,
                    "balance_before": 2_000,
                    "channel": "app",
                }),
            )],
    );
}

#[test]
fn features_are_made_as_the_examples_say() {
    let sales = "store,day,demand\n\
                 a,2024-01-01,10\n\
                 a,2024-01-02,12\n\
                 a,2024-01-03,12\n\
                 a,2024-01-04,13\n\
                 a,2024-01-05,14\n\
                 a,2024-01-06,15\n\
                 a,2024-01-07,16\n\
                 b,2024-01-07,99\n\
                 a,2024-01-08,20\n";
    let hashed: Map<String, Value> = (0..64)
        .map(|bucket| {
            let value = if bucket == 49 { -1.0 } else { 0.0 };
            (format!("hash_{bucket}"), json!(value))
        })
        .collect();
    let cepstrum: Vec<Vec<f64>> = (0..13)
        .map(|place| {
            let value = if place == 0 {
                -100.0 * 40_f64.sqrt()
            } else {
                0.0
            };
            vec![value; 101]
        })
        .collect();
    let history = |index: usize| {
        let value = if index < 23 { 1.0 } else { 2.0 };
        vec![value, 10.0 * value]
    };
    run_examples(
        "features",
        &[
            case("features.aggregate")
                .table(
                    "rows",
                    "customer,amount\na,1\nb,9\na,2\na,3\nb,9\na,4\nb,9\n",
                )
                .gives(1, json!({"customer": "a", "spent": 10, "payments": 4})),
            case("features.bin")
                .table(
                    "rows",
                    csv("income", (1..=10).map(|income| income.to_string())),
                )
                .gives(10, json!({"income": 10, "income_band": 4})),
            // Half past five in the evening in UTC is half past one in Shanghai: on New Year's Day, a Monday.
            case("features.calendar")
                .table("rows", "at\n2024-01-02 08:00:00\n2023-12-31 17:30:00\n")
                .gives(
                    2,
                    json!({
                        "at": "2023-12-31 17:30:00",
                        "at_hour": 1,
                        "at_day_of_week": 1,
                        "at_is_workday": false,
                    }),
                ),
            case("features.derive")
                .table("rows", "amount\n0\n9999\n")
                .gives(
                    2,
                    json!({"amount": 9_999, "log_amount": 4.0 * 10_f64.ln(), "is_large": true}),
                ),
            case("features.diff").table("rows", sales).gives(
                9,
                json!({
                    "store": "a",
                    "day": "2024-01-08",
                    "demand": 20,
                    "demand_diff_1": 4,
                    "demand_change_1": 0.25,
                    "demand_diff_7": 10,
                    "demand_change_7": 1.0,
                }),
            ),
            case("features.frequency")
                .table("rows", "merchant\na\na\na\nb\n")
                .gives(4, json!({"merchant": "b", "merchant_share": 0.25})),
            // By then b has both devices; c shares the second with it, a the first.
            case("features.graph")
                .table(
                    "rows",
                    "account,device,at\n\
                     a,d1,2024-01-01\n\
                     b,d1,2024-01-02\n\
                     c,d2,2024-01-03\n\
                     b,d2,2024-01-04\n",
                )
                .gives(
                    4,
                    json!({
                        "account": "b",
                        "device": "d2",
                        "at": "2024-01-04",
                        "account_device_links": 2,
                        "device_account_links": 2,
                        "account_device_neighbors": 2,
                        "account_device_component": 3,
                    }),
                ),
            // BLAKE3 of `merchant`, a zero byte and `m2`, in this kind's context, chooses bucket 49 and the sign.
            case("features.hash")
                .table("rows", "merchant,city\nm1,Kiel\nm2,\n")
                .gives(2, Value::Object(hashed)),
            // MurmurHash3 of `good` leaves 65.
            case("features.hash_text")
                .table("rows", "review\na\ngood\n")
                .gives(2, json!({"review": sparse(2_048, &[(65, 1.0)])})),
            // Four corners of a square are as far from normal as can be along its sides.
            case("features.ica")
                .table(
                    "rows",
                    "mean_radius,mean_texture,mean_smoothness\n\
                     -2.0,-1.0,0.0\n\
                     -2.0,1.0,0.0\n\
                     2.0,-1.0,0.0\n\
                     2.0,1.0,0.0\n",
                )
                .gives(4, json!({"ica_1": 1.0, "ica_2": 1.0})),
            case("features.image")
                .file("data/tiles/1.png", picture([255, 51, 0]))
                .before(
                    "- source.images:\n    \
                     {path: data/tiles, layout: flat, width: 8, height: 8, mode: rgb}\n",
                )
                .gives(
                    1,
                    json!({"path": "1.png", "image": image(64, &json!([1.0, 0.2, 0.0]))}),
                ),
            case("features.interact")
                .table("rows", "area,rooms,channel,weekday\n20,3,web,mon\n")
                .gives(
                    1,
                    json!({
                        "area": 20,
                        "rooms": 3,
                        "channel": "web",
                        "weekday": "mon",
                        "area*rooms": 60.0,
                        "channel*weekday": "web*mon",
                    }),
                ),
            case("features.join")
                .table("payments", "payment_id,card\n1,a\n2,b\n3,b\n")
                .table(
                    "cards",
                    "card,limit,opened,holder\n\
                     a,100,2020-01-01,Ada\n\
                     b,200,2021-01-01,Bo\n",
                )
                .gives(
                    3,
                    json!({"payment_id": 3, "card": "b", "limit": 200, "opened": "2021-01-01"}),
                ),
            case("features.join_asof")
                .table(
                    "trades",
                    "symbol,at\nX,2024-01-31 09:00:00\nX,2024-01-31 12:00:00\n",
                )
                .table(
                    "quotes",
                    "symbol,at,bid,ask\n\
                     X,2024-01-31 11:00:00,1,2\n\
                     X,2024-01-31 10:30:00,3,4\n\
                     Y,2024-01-31 11:59:00,5,6\n",
                )
                .gives(
                    2,
                    json!({
                        "symbol": "X",
                        "at": "2024-01-31 12:00:00",
                        "bid": 1,
                        "ask": 2,
                        "quoted_at": "2024-01-31 11:00:00",
                    }),
                ),
            case("features.lag").table("rows", sales).gives(
                9,
                json!({
                    "store": "a",
                    "day": "2024-01-08",
                    "demand": 20,
                    "demand_lag_1": 16,
                    "demand_lag_7": 10,
                }),
            ),
            case("features.lead")
                .table("rows", sales)
                .after("- clean.drop_nulls: {columns: [demand_lead_1]}\n")
                .gives(
                    7,
                    json!({"store": "a", "day": "2024-01-07", "demand": 16, "demand_lead_1": 20}),
                ),
            // Silence is the least power that counts, 1e-10; a second has 100 hops and its start.
            case("features.mel_spectrogram")
                .file("data/words/no/1.wav", wav(&[0; 16]))
                .before(SOUNDS)
                .gives(1, json!({"sound": vec![vec![-100.0; 101]; 64]})),
            // A cosine transform leaves of what is the same in 40 bands the first coefficient alone.
            case("features.mfcc")
                .file("data/words/no/1.wav", wav(&[0; 16]))
                .before(SOUNDS)
                .gives(1, json!({"sound": cepstrum})),
            case("features.min_max")
                .table(
                    "rows",
                    "part,pressure,temperature\ntrain,1,10\ntrain,5,30\ntest,9,15\n",
                )
                .parted()
                .gives(
                    3,
                    json!({
                        "part": "test",
                        "pressure": 1.0,
                        "temperature": 0.25,
                        "partition": "test",
                    }),
                ),
            case("features.one_hot")
                .table("rows", "part,channel\ntrain,web\ntrain,shop\ntest,fax\n")
                .parted()
                .gives(
                    3,
                    json!({
                        "part": "test",
                        "channel=shop": 0.0,
                        "channel=web": 0.0,
                        "channel=other": 1.0,
                        "partition": "test",
                    }),
                ),
            case("features.ordinal")
                .table("rows", "size\nsmall\nlarge\n")
                .gives(2, json!({"size": 2})),
            // All three say the same, in the last row the root of 3/2 each: nothing is left for the second component.
            case("features.pca")
                .table(
                    "rows",
                    "mean_radius,mean_perimeter,mean_area\n\
                     1.0,10.0,100.0\n\
                     2.0,20.0,200.0\n\
                     3.0,30.0,300.0\n",
                )
                .gives(3, json!({"pca_1": 4.5_f64.sqrt(), "pca_2": 0.0})),
            case("features.pivot")
                .table(
                    "rows",
                    "customer,channel,amount\na,web,1\nb,web,2\nb,web,3\n",
                )
                .gives(
                    2,
                    json!({
                        "customer": "b",
                        "spent=web": 5,
                        "spent=shop": 0,
                        "payments=web": 2,
                        "payments=shop": 0,
                    }),
                ),
            case("features.polynomial")
                .table("rows", "area,rooms\n2,3\n")
                .gives(
                    1,
                    json!({
                        "area": 2,
                        "rooms": 3,
                        "area^2": 4.0,
                        "area*rooms": 6.0,
                        "rooms^2": 9.0,
                    }),
                ),
            // What is symmetric is not bent, only divided by its standard deviation: the root of 2/3, and twice that.
            case("features.power")
                .table("rows", "income,distance\n-1,-2\n0,0\n1,2\n")
                .gives(
                    3,
                    json!({"income": 1.5_f64.sqrt(), "distance": 1.5_f64.sqrt()}),
                ),
            // Median 5, quantiles 1 and 9.
            case("features.robust_scale")
                .table(
                    "rows",
                    csv("income", (0..=10).map(|income| income.to_string())),
                )
                .gives(11, json!({"income": 0.625})),
            case("features.rolling")
                .table(
                    "rows",
                    "account,at,amount\n\
                     a,2024-01-01 08:00:00,1\n\
                     a,2024-01-01 20:00:00,2\n\
                     b,2024-01-02 09:00:00,9\n\
                     a,2024-01-02 10:00:00,3\n",
                )
                .gives(
                    4,
                    json!({
                        "account": "a",
                        "at": "2024-01-02 10:00:00",
                        "amount": 3,
                        "spent_24h": 5,
                        "payments_24h": 2,
                    }),
                ),
            // The first row stands for those that are not there yet.
            case("features.sequence")
                .table(
                    "rows",
                    "machine,at,load,temperature\na,2024-01-01,1,10\na,2024-01-02,2,20\n",
                )
                .gives(
                    2,
                    json!({
                        "machine": "a",
                        "at": "2024-01-02",
                        "load": 2,
                        "temperature": 20,
                        "history": (0..24).map(history).collect::<Vec<_>>(),
                    }),
                ),
            // Ethanol: 2 · 12.011 + 6 · 1.008 + 15.999.
            case("features.smiles")
                .table("rows", "smiles\nno molecule\nCCO\n")
                .gives_among_others(
                    2,
                    json!({
                        "smiles_heavy_atoms": 3,
                        "smiles_bonds": 2,
                        "smiles_rings": 0,
                        "smiles_weight": 46.069,
                        "smiles_hydrogen_donors": 1,
                        "smiles_C": 2,
                        "smiles_N": 0,
                        "smiles_O": 1,
                    }),
                ),
            case("features.standardize")
                .table("rows", "log_amount,spent_24h\n1,10\n3,30\n")
                .gives(2, json!({"log_amount": 1.0, "spent_24h": 1.0})),
            // All five rows of m are fraud, half of all are: (5 · 1 + 20 · 0.5) / 25.
            case("features.target_encode")
                .columns("{is_fraud: {role: target}}")
                .table(
                    "rows",
                    csv(
                        "part,merchant,is_fraud",
                        iter::repeat_n("train,m,1", 5)
                            .chain(iter::repeat_n("train,k,0", 5))
                            .chain(["test,m,0"])
                            .map(str::to_owned),
                    ),
                )
                .parted()
                .gives(
                    11,
                    json!({"part": "test", "merchant": 0.6, "is_fraud": 0, "partition": "test"}),
                ),
            // The terms of two texts are film, good and good film.
            case("features.tf_idf")
                .table("rows", "review\nGood film\nThe good film\nA bad film\n")
                .gives(3, json!({"review": sparse(2_000, &[(0, 1.0)])})),
            // Of four good rows three are old, of four bad ones one; half a row is added to each. Two of either are employed.
            case("features.woe")
                .columns("{defaulted: {role: target}}")
                .table(
                    "rows",
                    "part,age_band,employment,defaulted\n\
                     train,young,none,0\n\
                     train,old,none,0\n\
                     train,old,full,0\n\
                     train,old,full,0\n\
                     train,young,none,1\n\
                     train,young,none,1\n\
                     train,young,full,1\n\
                     train,old,full,1\n\
                     test,old,full,0\n",
                )
                .parted()
                .gives(
                    9,
                    json!({
                        "part": "test",
                        "age_band": (3.5_f64 / 1.5).ln(),
                        "employment": 0.0,
                        "defaulted": 0,
                        "partition": "test",
                    }),
                ),
        ],
    );
}

#[test]
fn rows_are_parted_as_the_examples_say() {
    let days = csv(
        "at,amount",
        (1..=10).map(|day| format!("2024-01-{day:02},{day}")),
    );
    run_examples(
        "split",
        &[
            case("split.column")
                .table("rows", "fold\n1\n2\n3\n4\n5\n5\n")
                .parts(&[("train", 3), ("validation", 1), ("test", 2)])
                .gives(6, json!({"fold": 5, "partition": "test"})),
            case("split.group")
                .table(
                    "rows",
                    csv("patient", (0..20).map(|row| (row / 2).to_string())),
                )
                .parts(&[("train", 16), ("test", 4)])
                .gives_among_others(20, json!({"patient": 9})),
            case("split.kfold")
                .table(
                    "rows",
                    csv("is_fraud", (0..20).map(|row| (row / 10).to_string())),
                )
                .parts(&[("train", 16), ("test", 4)])
                .gives_among_others(20, json!({"is_fraud": 1})),
            case("split.random")
                .table("rows", days.clone())
                .parts(&[("train", 7), ("validation", 1), ("test", 2)])
                .gives_among_others(10, json!({"amount": 10})),
            case("split.stratified")
                .table(
                    "rows",
                    csv("is_fraud", (0..12).map(|row| (row / 8).to_string())),
                )
                .parts(&[("train", 9), ("test", 3)])
                .gives_among_others(12, json!({"is_fraud": 1})),
            case("split.time")
                .table("rows", days)
                .parts(&[("train", 7), ("validation", 1), ("test", 2)])
                .gives(
                    10,
                    json!({"at": "2024-01-10", "amount": 10, "partition": "test"}),
                ),
        ],
    );
}

/// Training rows of which so many are honest and so many fraud, all of one amount, and a test row.
fn payments(honest: usize, fraud: usize) -> String {
    csv(
        "part,amount,is_fraud",
        iter::once("test,10.0,0")
            .chain(iter::repeat_n("train,10.0,0", honest))
            .chain(iter::repeat_n("train,10.0,1", fraud))
            .map(str::to_owned),
    )
}

#[test]
fn classes_are_balanced_as_the_examples_say() {
    // Trainings take every core.
    #[cfg(feature = "torch")]
    let _turn = crate::digits::turn();
    let of = |kind, honest, fraud| {
        case(kind)
            .columns("{is_fraud: {role: target}}")
            .table("rows", payments(honest, fraud))
            .parted()
    };
    let last =
        |part: Value| json!({"part": part, "amount": 10.0, "is_fraud": 1, "partition": "train"});
    // What is made up is no copy of a row: it has nothing in a column that is no feature.
    run_examples(
        "balance",
        &[
            of("balance.gan", 120, 10)
                .network()
                .parts(&[("train", 120 + 12), ("test", 1)])
                .gives(133, last(Value::Null)),
            of("balance.oversample", 20, 1)
                .parts(&[("train", 20 + 4), ("test", 1)])
                .gives(25, last(json!("train"))),
            of("balance.smote", 20, 2)
                .parts(&[("train", 20 + 10), ("test", 1)])
                .gives(31, last(Value::Null)),
            of("balance.undersample", 40, 2)
                .parts(&[("train", 20 + 2), ("test", 1)])
                .gives(23, last(json!("train"))),
            of("balance.vae", 120, 10)
                .network()
                .parts(&[("train", 120 + 12), ("test", 1)])
                .gives(133, last(Value::Null)),
        ],
    );
}

#[test]
fn sinks_write_what_their_examples_name() {
    let of = |kind| case(kind).table("rows", PAYMENTS);
    let payment = json!({"payment_id": 2, "amount": 30.25});
    run_examples(
        "sink",
        &[
            of("sink.csv")
                .writes("out/payments.csv", PAYMENTS)
                .then("- source.csv: {path: out/payments.csv}\n")
                .gives(2, payment.clone()),
            of("sink.ipc")
                .then("- source.ipc: {path: out/payments.arrow}\n")
                .gives(2, payment.clone()),
            of("sink.ndjson")
                .writes(
                    "out/payments.ndjson",
                    "{\"payment_id\":1,\"amount\":20.5}\n{\"payment_id\":2,\"amount\":30.25}\n",
                )
                .then("- source.ndjson: {path: out/payments.ndjson}\n")
                .gives(2, payment.clone()),
            of("sink.parquet")
                .then("- source.parquet: {path: out/payments.parquet}\n")
                .gives(2, payment.clone()),
            // The row of the key 2 is overwritten, that of the key 0 stays.
            of("sink.sql")
                .file("made.csv", "payment_id,amount\n0,5.5\n2,6.5\n")
                .first(
                    "- source.csv: {path: made.csv}\n\
                     - sink.sql:\n    \
                     {url: \"${secret:DATABASE_URL}\", table: scores, mode: upsert, key: payment_id}\n",
                )
                .then(
                    "- source.sql:\n    \
                     url: ${secret:DATABASE_URL}\n    \
                     query: select payment_id, amount from scores order by payment_id\n",
                )
                .gives(3, payment.clone()),
            of("sink.table")
                .shows(&["payment_id", "30.25"])
                .after("- sink.ndjson: {path: rows.ndjson}\n  from: rows\n")
                .gives(2, payment),
        ],
    );
}
