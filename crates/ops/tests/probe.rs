use polars::prelude::*;
use std::io::Write;
fn read(name: &str, text: &[u8]) {
    let path = std::env::temp_dir().join(format!("probe-{name}.csv"));
    std::fs::File::create(&path).unwrap().write_all(text).unwrap();
    let lazy = LazyCsvReader::new(PlRefPath::try_from_path(&path).unwrap()).with_try_parse_dates(true).with_infer_schema_length(Some(2)).with_glob(false).finish();
    match lazy.and_then(|mut lazy| { println!("{name}: {:?}", lazy.collect_schema()); lazy.collect() }) {
        Ok(frame) => println!("{name}: {frame}"),
        Err(error) => println!("{name}: ERROR {error}"),
    }
}
#[test]
fn probe() {
    read("blank-end", b"a,b\n1,2\n3,4\n\n");
    read("blank-mid", b"a,b\n1,2\n\n3,4\n");
    read("bad", b"a,b\n1,2\n1,2\n3,x\n");
    read("badquoted", b"a,b\n1,2\n1,2\n3,\"x\"\"y\"\n");
    read("short", b"a,b\n1,2\n1,2\n3\n");
    read("long", b"a,b\n1,2\n1,2\n3,4,5\n");
    read("latin", b"a,b\n1,x\n1,y\n3,\xe9t\xe9\n");
    read("empty", b"");
    read("headeronly", b"a,b\n");
    read("dates", b"a,b,c,d,e\n2024-01-01 00:00:01.123456,2024-01-01T00:00:00.5,2024-01-02,true,\"12\"\n2024-01-01 00:00:01,2024-01-01T00:00:00,2024-01-02,true,\"12\"\n2024-01-01 00:00:02,garbage,2024-01-02,true,12\n");
    read("baddate", b"a\n2024-01-01\n2024-01-01\n2024-13-45\n");
    read("badbool", b"a\ntrue\ntrue\nmaybe\n");
    read("dup", b"a,a\n1,2\n");
    read("bom", b"\xef\xbb\xbfa,b\n1,2\n");
    read("crlf", b"a,b\r\n1,2\r\n3,4\r\n");
    read("bigint", b"a\n1\n2\n99999999999999999999\n");
    read("emptystr", b"a,b\n\"\",1\n,2\nx,3\n");
    read("quotenl", b"a,b\n\"x\ny\",1\n\"p,q\",2\nx,3\n");
    read("stray", b"a,b\n5\" pipe,1\nz,2\nx,3\n");
    read("onecol", b"a\n1\n\n3\n");
    read("space", b"a,b\n 1, 2\n3 ,4\n");
    read("nan", b"a,b\n1.5,inf\nNaN,2.0\n1e5,3\n");
}
#[test]
fn arrays() {
    let s = Column::new("image".into(), (0u8..24).collect::<Vec<_>>());
    let s = s.as_materialized_series().reshape_array(&[ReshapeDimension::new(2), ReshapeDimension::new(3), ReshapeDimension::new(4), ReshapeDimension::new(1)]).unwrap();
    println!("{:?}", s.dtype());
    let at = Column::new("at".into(), vec![1i64, 2_000_000]).cast(&DataType::Datetime(TimeUnit::Microseconds, None)).unwrap();
    let mut df = DataFrame::new(2, vec![s.into(), at, Column::new("b".into(), vec![true,false]), Column::new("n".into(), vec![Some("x"),None]), Column::new("f".into(), vec![1.0,f64::NAN])]).unwrap();
    let mut out = Vec::new();
    JsonWriter::new(&mut out).with_json_format(JsonFormat::JsonLines).finish(&mut df).unwrap();
    println!("{}", String::from_utf8(out).unwrap());
    let dir = std::env::temp_dir();
    let p = dir.join("probe.parquet");
    ParquetWriter::new(std::fs::File::create(&p).unwrap()).finish(&mut df).unwrap();
    let back = LazyFrame::scan_parquet(PlRefPath::try_from_path(&p).unwrap(), ScanArgsParquet{glob:false,..Default::default()}).unwrap().collect().unwrap();
    println!("{} {}", back, back.equals_missing(&df));
    let p = dir.join("probe.arrow");
    IpcWriter::new(std::fs::File::create(&p).unwrap()).finish(&mut df).unwrap();
    let back = LazyFrame::scan_ipc(PlRefPath::try_from_path(&p).unwrap(), Default::default(), Default::default()).unwrap().collect().unwrap();
    println!("{} {}", back, back.equals_missing(&df));
    let mut d2 = df.drop("image").unwrap();
    let mut out = Vec::new();
    CsvWriter::new(&mut out).finish(&mut d2).unwrap();
    println!("{}", String::from_utf8(out).unwrap());
}
