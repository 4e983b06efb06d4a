//! What the sinks write, read again.

use taktline_core::{Output, Shape};

use super::*;

impl Place {
    /// Writes the rows with this sink, whole and in parts, and answers with where they are.
    fn write(&self, kind: &str, params: &str, rows: &DataFrame) -> Result<PathBuf> {
        let cx = SourceContext {
            seed: 0,
            directory: self.directory(),
            run_key: Some("run"),
        };
        let stage = stage(kind, params);
        let Shape::Sink(sink) = stage.shape() else {
            panic!("a sink")
        };
        let frame = taktline_core::Frame {
            schema: known(rows),
            data: rows.clone(),
        };
        let whole = sink.write(&frame, &cx)?;
        let Output::Path(path) = whole else {
            panic!("a path")
        };
        let bytes = |path: &Path| fs::read(path).unwrap_or_default();
        let before = bytes(&path);
        sink.stream(rows.clone().lazy(), &cx).expect("streams")?;
        assert_eq!(before, bytes(&path), "the same bytes both ways");
        Ok(path)
    }

    fn refuses(&self, kind: &str, params: &str, rows: &DataFrame) -> (&'static str, String) {
        let (_, problems) = in_check(self.directory(), |cx| {
            stage(kind, params).check(&[known(rows)], cx)
        });
        assert_eq!(problems.len(), 1, "{problems:#?}");
        (problems[0].code, problems[0].message.clone())
    }
}

#[test]
fn csv_is_written_as_it_is_asked() {
    let place = Place::new();
    let rows = df!("a" => [Some(1), None], "b" => ["x;y", ""]).expect("a frame");
    let params = "{path: f.txt, delimiter: ';', header: false, null_value: NA}";
    let path = place.write("sink.csv", params, &rows).expect("written");
    assert_eq!(
        fs::read_to_string(path).expect("text"),
        "1;\"x;y\"\nNA;\"\"\n"
    );
    for (params, magic) in [
        ("{path: f.csv.gz}", &[0x1f, 0x8b][..]),
        ("{path: f.csv.zst}", &[0x28, 0xb5, 0x2f, 0xfd][..]),
        (
            "{path: z.csv, compression: zstd}",
            &[0x28, 0xb5, 0x2f, 0xfd][..],
        ),
        ("{path: g.csv.gz, compression: none}", b"a,b\n"),
    ] {
        let path = place.write("sink.csv", params, &rows).expect("written");
        assert!(
            fs::read(&path).expect("bytes").starts_with(magic),
            "{params}"
        );
        let source = format!("{{path: {}}}", path.display());
        let read = place.run("source.csv", &source).expect("reads");
        assert_eq!(read.height(), 2, "{params}");
    }
    assert_eq!(
        place
            .refuses("sink.csv", "{path: f.csv, delimiter: é}", &rows)
            .0,
        "bad-delimiter"
    );
    assert_eq!(
        place
            .refuses("sink.csv", "{path: f.csv, null_value: 'a,b'}", &rows)
            .0,
        "bad-null-value"
    );
    let none = rows.head(Some(0));
    let path = place
        .write("sink.csv", "{path: none.csv}", &none)
        .expect("written");
    assert_eq!(fs::read_to_string(path).expect("text"), "a,b\n");
}

#[test]
fn every_compression_is_read_again() {
    let place = Place::new();
    let rows = with_images(&frame());
    for compression in ["zstd", "snappy", "gzip", "lz4", "brotli", "none"] {
        let params = format!("{{path: f.parquet, compression: {compression}}}");
        let path = place
            .write("sink.parquet", &params, &rows)
            .expect(compression);
        assert!(
            read_file(&path, None)
                .expect(compression)
                .equals_missing(&rows)
        );
    }
    for compression in ["none", "lz4", "zstd"] {
        let params = format!("{{path: f.arrow, compression: {compression}}}");
        let path = place.write("sink.ipc", &params, &rows).expect(compression);
        assert!(
            read_file(&path, None)
                .expect(compression)
                .equals_missing(&rows)
        );
    }
    let params = "{path: f.ndjson.zst}";
    let path = place.write("sink.ndjson", params, &rows).expect("written");
    assert!(
        read_file(&path, Some(&known(&rows)))
            .expect("reads")
            .equals_missing(&rows)
    );
}

#[test]
fn partitions_are_a_folder_at_once() {
    let place = Place::new();
    let rows = df!(
        "year" => [2024_i64, 2023, 2024, 2024],
        "city" => [Some("a/b=c d%"), Some("é"), None, Some("a/b=c d%")],
        "value" => [1_i64, 2, 3, 4],
    )
    .expect("a frame");
    let params = "{path: out/lake, partition_by: [year, city]}";
    let path = place.write("sink.parquet", params, &rows).expect("written");
    let read = place
        .run("source.parquet", "{path: out/lake}")
        .expect("reads");
    let sorted = read
        .lazy()
        .select([col("year"), col("city"), col("value")])
        .sort(["value"], Default::default())
        .collect()
        .expect("sorts");
    assert!(sorted.equals_missing(&rows), "{sorted}");
    let kept = "out/lake/year=2024/city=__HIVE_DEFAULT_PARTITION__";
    assert!(place.path(kept).is_dir());
    // The rows of a partition keep their order.
    let one = place
        .run(
            "source.parquet",
            "{path: 'out/lake/year=2024', partitions: true}",
        )
        .expect("reads");
    assert_eq!(one.height(), 3);
    // What was there before is gone, and nothing else lies about.
    place
        .write("sink.parquet", params, &rows.head(Some(2)))
        .expect("written again");
    assert!(!place.path(kept).exists());
    let left: Vec<String> = fs::read_dir(place.path("out"))
        .expect("listed")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(left, ["lake"]);
    // What no sink has written is not removed.
    fs::write(path.join("thesis.txt"), "ten years").expect("written");
    let (code, message) = place.refuses("sink.parquet", params, &rows);
    assert_eq!(code, "bad-path");
    assert!(
        message.contains("`thesis.txt`, which is no partition"),
        "{message}"
    );
    assert!(place.write("sink.parquet", params, &rows).is_err());
    assert!(path.join("thesis.txt").is_file());
}

#[test]
fn what_cannot_name_a_folder_is_refused() {
    let place = Place::new();
    let rows = df!("a" => [1.5], "b" => [1]).expect("a frame");
    let refused = |params: &str| place.refuses("sink.parquet", params, &rows).0;
    assert_eq!(refused("{path: d, partition_by: [a]}"), "type-mismatch");
    assert_eq!(refused("{path: d, partition_by: [c]}"), "unknown-column");
    assert_eq!(
        refused("{path: d, partition_by: [b, b]}"),
        "duplicate-column"
    );
    assert_eq!(
        refused("{path: 's3://bucket/d', partition_by: [b]}"),
        "bad-path"
    );
    let one = df!("b" => [1]).expect("a frame");
    assert_eq!(
        place
            .refuses("sink.parquet", "{path: d, partition_by: [b]}", &one)
            .0,
        "nothing-left"
    );
}

#[test]
fn a_path_below_a_file_says_so() {
    let place = Place::new();
    place.put("out", "a file");
    let rows = frame();
    let (code, message) = place.refuses("sink.csv", "{path: out/deep/f.csv}", &rows);
    assert_eq!(code, "bad-path");
    assert!(
        message.starts_with("`out/deep/f.csv` cannot be written: `"),
        "{message}"
    );
    assert!(
        message.ends_with("out` is a file, not a directory"),
        "{message}"
    );
    let run = place
        .write("sink.csv", "{path: out/deep/f.csv}", &rows)
        .expect_err("below a file")
        .to_string();
    assert!(run.contains("is a file, not a directory"), "{run}");
    fs::create_dir(place.path("folder")).expect("made");
    assert_eq!(
        place.refuses("sink.csv", "{path: folder}", &rows).1,
        "`folder` is a directory"
    );
    assert_eq!(
        place
            .refuses("sink.csv", "{path: 'ftp://h/f.csv'}", &rows)
            .0,
        "unknown-address"
    );
    assert_eq!(
        place.refuses("sink.csv", "{path: 's3://bucket/'}", &rows).0,
        "bad-path"
    );
}
