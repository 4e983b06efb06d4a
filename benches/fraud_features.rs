//! A million payments from CSV through the fraud features: taktline against a polars program written by hand.
//!
//! `cargo bench --bench fraud_features [-- ROWS]`. Each way runs in a process of its own, reading the same file, five times
//! in turn; the median and the peak memory are printed, and the ratio. Both must give the same sums. A peer in Python, with the other
//! way to write the windows, is benches/peers/fraud_features.py. taktline's time includes reading, checking and planning the spec.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use polars::prelude::*;
use taktline_core::{Cancellation, Capabilities, Registry};
use taktline_engine::{RunOptions, Store, Unobserved};
use {taktline_evaluate as _, taktline_linfa as _, taktline_ops as _};

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

const ROUNDS: usize = 5;
const WAYS: [&str; 2] = ["taktline", "polars"];

fn main() -> Fallible<()> {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    match arguments.as_slice() {
        [way, file] => one(way, Path::new(file)),
        [rows] => compare(rows.parse()?),
        _ => compare(1_000_000),
    }
}

fn compare(rows: usize) -> Fallible<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("payments.csv");
    let spec = folder.path().join("generate.yaml");
    std::fs::write(
        &spec,
        format!(
            "pipeline: generate\nstages:\n  - source.synthetic.payments: {{rows: {rows}, seed: 7}}\n  - sink.csv: {{path: {}}}\n",
            file.display()
        ),
    )?;
    run_spec(&spec, folder.path(), &[])?;
    println!(
        "{rows} payments, {:.0} MB of CSV",
        std::fs::metadata(&file)?.len() as f64 / 1e6
    );

    let mut seconds = [const { Vec::new() }; WAYS.len()];
    let mut peaks = [0.0_f64; WAYS.len()];
    let mut sums: Option<String> = None;
    for _ in 0..ROUNDS {
        for (index, way) in WAYS.iter().enumerate() {
            let output = Command::new(std::env::current_exe()?)
                .arg(way)
                .arg(&file)
                .output()?;
            let text = String::from_utf8(output.stdout)?;
            let fields: Vec<&str> = text.trim().splitn(3, ' ').collect();
            let [took, peak, sum] = fields.as_slice() else {
                return Err(format!("{way}: {}", String::from_utf8_lossy(&output.stderr)).into());
            };
            seconds[index].push(took.parse::<f64>()?);
            peaks[index] = peaks[index].max(peak.parse()?);
            match &sums {
                Some(expected) if expected != sum => {
                    return Err(format!("{way} gives {sum}, not {expected}").into());
                }
                _ => sums = Some((*sum).to_owned()),
            }
        }
    }
    let medians: Vec<f64> = seconds
        .iter_mut()
        .map(|times| {
            times.sort_by(f64::total_cmp);
            times[ROUNDS / 2]
        })
        .collect();
    for ((way, median), peak) in WAYS.iter().zip(&medians).zip(peaks) {
        println!("{way:16} {median:6.3} s   peak memory {peak:.0} MB");
    }
    println!(
        "taktline / by hand: {:.2}   (target 1.10)",
        medians[0] / medians[1]
    );
    Ok(())
}

/// One way, once: seconds, peak memory in MB, sums.
fn one(way: &str, file: &Path) -> Fallible<()> {
    let began = Instant::now();
    let data = match way {
        "taktline" => taktline(file)?,
        _ => by_hand(file)?,
    };
    let took = began.elapsed().as_secs_f64();
    let sums: Vec<String> = [
        "payments_24h",
        "spent_24h",
        "largest_24h",
        "received_24h",
        "at_hour_sin",
        "log_balance",
    ]
    .iter()
    .map(|name| {
        let sum = data
            .column(name)?
            .cast(&DataType::Float64)?
            .f64()?
            .sum()
            .unwrap_or_default();
        Ok(format!("{name}={sum:.6e}"))
    })
    .collect::<PolarsResult<_>>()?;
    println!(
        "{took:.4} {:.0} {},{}",
        peak_memory_mb()?,
        data.height(),
        sums.join(",")
    );
    Ok(())
}

fn peak_memory_mb() -> Fallible<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .ok_or("no VmHWM")?;
    Ok(line
        .split_whitespace()
        .nth(1)
        .ok_or("no figure")?
        .parse::<f64>()?
        / 1024.0)
}

fn taktline(file: &Path) -> Fallible<DataFrame> {
    let spec = PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/benches/fraud-features.yaml"
    ));
    let plan = checked(&spec, &[("input".to_owned(), file.display().to_string())])?;
    Ok(taktline_engine::frame(&plan, Path::new("."))?)
}

fn checked(spec: &Path, params: &[(String, String)]) -> Fallible<taktline_spec::Plan> {
    let registry = Registry::collect()?;
    let source = taktline_spec::read(spec).map_err(|problem| problem.message)?;
    let options = taktline_spec::Options {
        params: params.to_vec(),
        seed: None,
        directory: Path::new("."),
        capabilities: Capabilities::default(),
        environment: &|_| None,
        occurrence: taktline_spec::Occurrence::now(),
        registry: &registry,
    };
    let checked = taktline_spec::check(source, &options);
    checked
        .plan
        .ok_or_else(|| format!("{:?}", checked.diagnostics).into())
}

fn run_spec(spec: &Path, folder: &Path, params: &[(String, String)]) -> Fallible<()> {
    let plan = checked(spec, params)?;
    let store = Store::new(folder);
    taktline_engine::run(
        &plan,
        &store,
        folder,
        &RunOptions::default(),
        &Unobserved,
        &Cancellation::default(),
    )
    .map_err(|failure| failure.diagnostic.message.clone())?;
    Ok(())
}

/// Everything but the windows.
fn prepared(file: &Path) -> PolarsResult<LazyFrame> {
    let needed = [
        "at",
        "type",
        "amount",
        "account",
        "balance_before",
        "balance_after",
    ];
    let part = |part: Expr, period: f64| {
        part.cast(DataType::Float64) * lit(std::f64::consts::TAU / period)
    };
    let hour = || part(col("at").dt().hour(), 24.0);
    // Sunday is 0, as in SQL.
    let day = || part(col("at").dt().weekday() % lit(7), 7.0);
    Ok(LazyCsvReader::new(file.to_string_lossy().as_ref().into())
        .with_try_parse_dates(true)
        .finish()?
        .unique_stable(
            Some(by_name(["payment_id"], true, false)),
            UniqueKeepStrategy::First,
        )
        .drop_nulls(Some(by_name(needed, true, false)))
        .with_columns([
            (col("amount") + lit(1))
                .log(lit(std::f64::consts::E))
                .alias("log_amount"),
            polars::lazy::dsl::min_horizontal([
                col("amount") / (col("balance_before") + lit(1)),
                lit(2.0),
            ])?
            .alias("share_of_balance"),
            when(
                col("balance_before")
                    .gt(lit(0))
                    .and(col("balance_after").lt_eq(lit(0.01) * col("balance_before"))),
            )
            .then(lit(1))
            .otherwise(lit(0))
            .alias("empties_account"),
            when(
                col("type")
                    .eq(lit("TRANSFER"))
                    .or(col("type").eq(lit("CASH_OUT"))),
            )
            .then(lit(1))
            .otherwise(lit(0))
            .alias("moves_money_out"),
            (polars::lazy::dsl::max_horizontal([col("balance_before"), lit(0.0)])? + lit(1))
                .log(lit(std::f64::consts::E))
                .alias("log_balance"),
            hour().sin().alias("at_hour_sin"),
            hour().cos().alias("at_hour_cos"),
            day().sin().alias("at_day_of_week_sin"),
            day().cos().alias("at_day_of_week_cos"),
        ]))
}

/// Rolling expressions over groups.
fn by_hand(file: &Path) -> Fallible<DataFrame> {
    let options = || RollingOptionsDynamicWindow {
        window_size: Duration::parse("24h"),
        min_periods: 0,
        closed_window: ClosedWindow::Right,
        fn_params: None,
    };
    let data = prepared(file)?
        .with_column(lit(1i64).alias("one"))
        .with_columns([
            col("one")
                .rolling_sum_by(col("at"), options())
                .over([col("account")])?
                .alias("payments_24h"),
            col("amount")
                .rolling_sum_by(col("at"), options())
                .over([col("account")])?
                .alias("spent_24h"),
            col("amount")
                .rolling_max_by(col("at"), options())
                .over([col("account")])?
                .alias("largest_24h"),
            col("one")
                .rolling_sum_by(col("at"), options())
                .over([col("counterparty")])?
                .alias("received_24h"),
        ])
        .collect()?;
    Ok(data)
}
