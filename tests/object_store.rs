//! Object stores, against servers on this machine: S3 (moto), Google (fake-gcs-server) and Azure (Azurite).
#![cfg(unix)]

use std::{
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{Mutex, OnceLock},
};

use polars::prelude::{
    DataFrame, IntoLazy, IpcWriter, ParquetReader, ParquetWriter, SerReader, SerWriter, col, df,
};
use serde_json::{Value, json};

use crate::harness::{Outcome, Project, repository};

/// The secret of the key that the tests use; no message and no file may hold it.
const SECRET: &str = "hunter2";
/// That of the account that every Azurite has.
const AZURE_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// A server that ends with the tests, when the pipe that it reads closes.
struct Server {
    url: String,
    pipes: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
    _process: Child,
}

/// Whose language a store speaks.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Service {
    S3,
    Google,
    Azure,
}

impl Service {
    fn scheme(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Google => "gs",
            Self::Azure => "az",
        }
    }

    fn server(self) -> &'static Server {
        static SERVERS: [OnceLock<Server>; 3] = [const { OnceLock::new() }; 3];
        SERVERS[self as usize].get_or_init(|| Server::start(&[self.scheme()]))
    }
}

/// The Python that has the servers.
fn python() -> PathBuf {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let python = home
        .unwrap_or_default()
        .join(".cache/taktline/stores/bin/python3");
    assert!(python.exists(), "run scripts/test-servers.sh");
    python
}

impl Server {
    fn start(arguments: &[&str]) -> Self {
        let mut process = Command::new(python())
            .arg(repository().join("tests/peers/object_store.py"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the server starts");
        let input = process.stdin.take().expect("a pipe");
        let mut output = BufReader::new(process.stdout.take().expect("a pipe"));
        let mut line = String::new();
        output.read_line(&mut line).expect("the server answers");
        let url = line.trim().strip_prefix("ready ");
        Self {
            url: url.expect("run scripts/test-servers.sh").to_owned(),
            pipes: Mutex::new((input, output)),
            _process: process,
        }
    }

    fn ask(&self, request: &Value) {
        let mut pipes = self.pipes.lock().expect("one at a time");
        writeln!(pipes.0, "{request}").expect("the server listens");
        let mut line = String::new();
        pipes.1.read_line(&mut line).expect("the server answers");
        assert_eq!(line, "done\n", "{request}");
    }
}

/// A project with a bucket of its own.
struct Bucket {
    service: Service,
    name: String,
    project: Project,
}

impl Bucket {
    fn new(name: &str) -> Self {
        Self::on(Service::S3, name)
    }

    fn on(service: Service, name: &str) -> Self {
        let server = service.server();
        server.ask(&json!({"bucket": [name]}));
        let project = Project::new();
        if service == Service::Google {
            let key = json!({
                "gcs_base_url": server.url, "disable_oauth": true,
                "type": "service_account", "client_email": "someone", "private_key": SECRET, "private_key_id": "1",
            });
            project.write("key.json", key.to_string());
        }
        Self {
            service,
            name: name.to_owned(),
            project,
        }
    }

    fn put(&self, key: &str, content: impl AsRef<[u8]>) {
        self.project.write("upload", content);
        let file = self.project.path("upload");
        self.service
            .server()
            .ask(&json!({"put": [self.name, key, file]}));
    }

    fn put_parquet(&self, key: &str, rows: &DataFrame) {
        let mut bytes = Vec::new();
        ParquetWriter::new(&mut bytes)
            .finish(&mut rows.clone())
            .expect("Parquet");
        self.put(key, bytes);
    }

    fn get(&self, key: &str) -> PathBuf {
        let file = self.project.path("download");
        self.service
            .server()
            .ask(&json!({"get": [self.name, key, file]}));
        file
    }

    /// A pipeline from this source to a Parquet file.
    fn reading(&self, source: &str) {
        let bucket = format!("{}://{}", self.service.scheme(), self.name);
        let source = source.replace("BUCKET", &bucket);
        self.project.write(
            "pipeline.yaml",
            format!("pipeline: reading\nstages:\n  - {source}\n    id: rows\n  - sink.parquet: {{path: rows.parquet}}\n"),
        );
    }

    fn takt(&self, arguments: &[&str]) -> Outcome {
        let url = &self.service.server().url;
        let key = self.project.path("key.json");
        let environment: &[(&str, &str)] = match self.service {
            Service::S3 => &[
                ("AWS_ENDPOINT_URL", url),
                ("AWS_REGION", "us-east-1"),
                ("AWS_ACCESS_KEY_ID", "someone"),
                ("AWS_SECRET_ACCESS_KEY", SECRET),
            ],
            Service::Google => &[("GOOGLE_SERVICE_ACCOUNT", key.to_str().expect("a path"))],
            Service::Azure => &[
                ("AZURE_STORAGE_ENDPOINT", url),
                ("AZURE_STORAGE_ACCOUNT_NAME", "devstoreaccount1"),
                ("AZURE_STORAGE_ACCOUNT_KEY", AZURE_KEY),
            ],
        };
        let takt = self.project.takt(arguments);
        let outcome = environment
            .iter()
            .fold(takt, |takt, (name, value)| takt.env(name, value))
            .run();
        let shown = format!("{}{}", outcome.stdout, outcome.stderr);
        for secret in [SECRET, AZURE_KEY] {
            assert!(!shown.contains(secret), "the secret is shown:\n{shown}");
        }
        outcome
    }

    fn run(&self) -> Outcome {
        self.takt(&["run", "pipeline.yaml"])
    }

    fn rows(&self) -> DataFrame {
        self.run().succeeded();
        let file = std::fs::File::open(self.project.path("rows.parquet")).expect("written");
        ParquetReader::new(file).finish().expect("Parquet")
    }
}

fn integers(rows: &DataFrame, name: &str) -> Vec<i64> {
    let column = rows.column(name).expect("there");
    column
        .i64()
        .expect("whole numbers")
        .into_no_null_iter()
        .collect()
}

#[test]
fn text_comes_from_objects() {
    let bucket = Bucket::new("text");
    // More than one piece is fetched, and a value far down is found.
    let mut text = String::from("id,note\n");
    for row in 0..60_000 {
        text.push_str(&format!("{row},a note of row {row}\n"));
    }
    bucket.put("big.csv", &text);
    bucket.reading("source.csv: {path: 'BUCKET/big.csv'}");
    assert_eq!(bucket.rows().height(), 60_000);
    bucket.put("days/2024-01.csv", "id,note\n1,a\n");
    bucket.put("days/2024-02.csv", "id,note\n2,b\n");
    bucket.put("days/2023-02.csv", "id,note\n0,c\n");
    bucket.reading("source.csv: {path: 'BUCKET/days/2024-*.csv', file_column: file}");
    let rows = bucket.rows();
    assert_eq!(integers(&rows, "id"), [1, 2]);
    let files = rows
        .column("file")
        .expect("there")
        .str()
        .expect("text")
        .get(0);
    assert_eq!(files, Some("s3://text/days/2024-01.csv"));
    bucket.put("lines.ndjson", "{\"id\": 1}\n{\"id\": 2}\n");
    bucket.reading("source.file: {path: 'BUCKET/lines.ndjson'}");
    assert_eq!(integers(&bucket.rows(), "id"), [1, 2]);
    bucket.put("big.csv", text.replace("59999,", "x,"));
    bucket.reading("source.csv: {path: 'BUCKET/big.csv'}");
    let outcome = bucket.run().ended_with(1);
    assert!(
        outcome
            .stderr
            .contains("`s3://text/big.csv` line 60001 (row 60000), column `id`: `x` is not an i64"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn parquet_is_scanned_where_it_is() {
    let bucket = Bucket::new("lake");
    for (year, value) in [(2023_i64, 1_i64), (2024, 2), (2025, 3)] {
        let rows = df!("value" => [value, value * 10]).expect("rows");
        bucket.put_parquet(&format!("sales/year={year}/part.parquet"), &rows);
    }
    bucket.put("sales/_SUCCESS", "x");
    for path in ["BUCKET/sales/", "BUCKET/sales/*/*.parquet"] {
        bucket.reading(&format!(
            "source.parquet: {{path: '{path}'}}\n  - clean.filter: {{where: year > 2023}}"
        ));
        let rows = bucket.rows();
        assert_eq!(integers(&rows, "value"), [2, 20, 3, 30], "{path}");
        assert_eq!(integers(&rows, "year"), [2024, 2024, 2025, 2025], "{path}");
    }
}

#[test]
fn every_store_gives_text_and_tables_in_columns() {
    for service in [Service::Google, Service::Azure] {
        let bucket = Bucket::on(service, "stores");
        bucket.put("days/2024-01.csv", "id,note\n1,a\n");
        bucket.put("days/2024-02.csv", "id,note\n2,b\n");
        for path in ["BUCKET/days/2024-02.csv", "BUCKET/days/*-02.csv"] {
            bucket.reading(&format!("source.csv: {{path: '{path}'}}"));
            assert_eq!(integers(&bucket.rows(), "id"), [2], "{service:?} {path}");
        }
        for (year, value) in [(2023_i64, 1_i64), (2024, 2), (2025, 3)] {
            let mut rows = df!("value" => [value, value * 10]).expect("rows");
            bucket.put_parquet(&format!("sales/year={year}/part.parquet"), &rows);
            let mut bytes = Vec::new();
            IpcWriter::new(&mut bytes).finish(&mut rows).expect("Arrow");
            bucket.put(&format!("arrow/{year}.arrow"), bytes);
        }
        bucket.reading(
            "source.parquet: {path: BUCKET/sales/}\n  - clean.filter: {where: year > 2023}",
        );
        let rows = bucket.rows();
        assert_eq!(integers(&rows, "value"), [2, 20, 3, 30], "{service:?}");
        assert_eq!(integers(&rows, "year"), [2024, 2024, 2025, 2025]);
        bucket.reading("source.ipc: {path: 'BUCKET/arrow/*.arrow'}");
        assert_eq!(integers(&bucket.rows(), "value"), [1, 10, 2, 20, 3, 30]);
        bucket.reading("source.csv: {path: BUCKET/days/2024-03.csv}");
        let outcome = bucket.takt(&["check", "pipeline.yaml"]).ended_with(2);
        let meant = format!("did you mean `{}://stores/days/2024-0", service.scheme());
        assert!(outcome.stderr.contains(&meant), "{}", outcome.stderr);
        bucket.project.write("pipeline.yaml", format!("pipeline: none\nstages:\n  - source.csv: {{path: {}://no-such-place/days/2024-03.csv}}\n", service.scheme()));
        let outcome = bucket.takt(&["check", "pipeline.yaml"]).ended_with(2);
        assert!(
            outcome.stderr.contains("does not exist"),
            "{}",
            outcome.stderr
        );
    }
}

#[test]
fn results_are_kept_until_the_object_changes() {
    let bucket = Bucket::new("kept");
    bucket.put("rows.csv", "id,amount\n1,2\n2,3\n");
    let spec = "pipeline: kept\nstages:\n  - source.csv: {path: 's3://kept/rows.csv'}\n  - check.expect: [{column: amount, not_null: true}]\n";
    bucket.project.write("pipeline.yaml", spec);
    let report = |outcome: Outcome| outcome.succeeded().run_report().outcomes();
    let run = || report(bucket.takt(&["run", "pipeline.yaml", "--format", "json"]));
    assert!(run().contains(&("expect".into(), "ran".into())));
    assert!(run().contains(&("expect".into(), "cached".into())));
    bucket.put("rows.csv", "id,amount\n1,2\n2,4\n");
    assert!(run().contains(&("expect".into(), "ran".into())));
}

#[test]
fn sinks_write_objects() {
    // Several parts of an upload.
    let rows = df!("id" => (0..900_000_i64).collect::<Vec<_>>())
        .expect("rows")
        .lazy()
        .with_column(((col("id") * 7_919.into()) % 1_000_003.into()).alias("mixed"))
        .collect()
        .expect("rows");
    // The server that stands in for Google's takes no writes of the kind that Google's does.
    for service in [Service::S3, Service::Azure] {
        let bucket = Bucket::on(service, "sinks");
        let address = format!("{}://sinks", service.scheme());
        bucket.put_parquet("in.parquet", &rows);
        bucket.project.write(
            "pipeline.yaml",
            format!("pipeline: writing\nstages:\n  - source.parquet: {{path: '{address}/in.parquet'}}\n    id: rows\n  - {{sink.parquet: {{path: '{address}/out/copy.parquet', compression: none}}, from: rows}}\n  - {{sink.csv: {{path: '{address}/out/copy.csv.gz'}}, from: rows}}\n"),
        );
        let outcome = bucket.run().succeeded();
        assert!(
            outcome
                .stdout
                .contains(&format!("{address}/out/copy.parquet")),
            "{}",
            outcome.stdout
        );
        let copy = std::fs::File::open(bucket.get("out/copy.parquet")).expect("there");
        assert!(copy.metadata().expect("size").len() > 9_000_000);
        assert_eq!(ParquetReader::new(copy).finish().expect("Parquet"), rows);
        let text = std::fs::read(bucket.get("out/copy.csv.gz")).expect("there");
        assert_eq!(text[..2], [0x1f, 0x8b]);
    }
}

#[test]
fn what_is_missing_is_named() {
    let bucket = Bucket::new("missing");
    bucket.put("days/a.csv", "id\n1\n");
    let told = |source: &str| {
        bucket.reading(source);
        let outcome = bucket.takt(&["check", "pipeline.yaml"]).ended_with(2);
        outcome.stderr
    };
    let text = told("source.csv: {path: 'BUCKET/days/b.csv'}");
    assert!(
        text.contains("`s3://missing/days/b.csv` does not exist"),
        "{text}"
    );
    assert!(
        text.contains("did you mean `s3://missing/days/a.csv`?"),
        "{text}"
    );
    assert!(text.contains("pipeline.yaml:3:"), "{text}");
    let text = told("source.csv: {path: 's3://no-such-bucket/days/b.csv'}");
    assert!(
        text.contains("there is no bucket `s3://no-such-bucket`"),
        "{text}"
    );
    let text = told("source.csv: {path: 'BUCKET/days/*.parquet'}");
    assert!(
        text.contains("means no object") && text.contains("one object below"),
        "{text}"
    );
}

#[test]
fn nobody_there_and_no_credentials() {
    let project = Project::with(
        "pipeline: nobody\nstages:\n  - source.parquet:\n      path: s3://bucket/a.parquet\n      storage: {endpoint: 'http://127.0.0.1:9', region: us-east-1, access_key_id: someone, secret_access_key: '${secret:KEY}'}\n",
    );
    let outcome = project
        .takt(["check", "pipeline.yaml"])
        .env("KEY", SECRET)
        .run()
        .ended_with(2);
    assert!(
        outcome.stderr.contains("the store does not answer"),
        "{}",
        outcome.stderr
    );
    assert!(!outcome.stderr.contains(SECRET), "{}", outcome.stderr);
    let project =
        Project::with("pipeline: azure\nstages:\n  - source.csv: {path: az://container/a.csv}\n");
    let outcome = project.takt(["check", "pipeline.yaml"]).run().ended_with(2);
    assert!(
        outcome.stderr.contains("AZURE_STORAGE_ACCOUNT_NAME"),
        "{}",
        outcome.stderr
    );
    let project = Project::with(
        "pipeline: google\nstages:\n  - source.csv: {path: gs://bucket/a.csv, storage: {service_account: nowhere.json}}\n",
    );
    let outcome = project.takt(["check", "pipeline.yaml"]).run().ended_with(2);
    assert!(
        outcome.stderr.contains("GOOGLE_APPLICATION_CREDENTIALS"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn credentials_that_are_not_accepted_are_told() {
    // After two requests, the bucket and the object, keys are looked at.
    let server = Server::start(&["s3", "2"]);
    server.ask(&json!({"bucket": ["locked"]}));
    let project =
        Project::with("pipeline: locked\nstages:\n  - source.csv: {path: s3://locked/a.csv}\n");
    project.write("a.csv", "id\n1\n");
    server.ask(&json!({"put": ["locked", "a.csv", project.path("a.csv")]}));
    let outcome = project
        .takt(["check", "pipeline.yaml"])
        .env("AWS_ENDPOINT_URL", &server.url)
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", "nobody")
        .env("AWS_SECRET_ACCESS_KEY", SECRET)
        .run()
        .ended_with(2);
    assert!(
        outcome.stderr.contains("refuses these credentials"),
        "{}",
        outcome.stderr
    );
    assert!(!outcome.stderr.contains(SECRET), "{}", outcome.stderr);
}
