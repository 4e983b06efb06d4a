//! How long `takt` takes before it does anything: start, and `check` of a 200-stage spec.
//!
//! `cargo bench --bench startup`. Whole processes are timed, from spawn to exit; the median of 21 runs is printed.

use std::{
    fmt::Write as _,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

const RUNS: usize = 21;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let data: String = std::iter::once("amount,kind\n".to_owned())
        .chain(
            (0..20_000).map(|row| format!("{}.5,{}\n", row, if row % 3 == 0 { "a" } else { "b" })),
        )
        .collect();
    std::fs::write(folder.path().join("data.csv"), data)?;
    std::fs::write(folder.path().join("long.yaml"), long_spec(200)?)?;

    report("start (`takt --version`)", 20.0, || {
        takt(folder.path(), &["--version"])
    })?;
    report("`takt stages`", 20.0, || takt(folder.path(), &["stages"]))?;
    report("`takt check` of 200 stages", 50.0, || {
        takt(folder.path(), &["check", "long.yaml"])
    })?;
    Ok(())
}

/// A source and stages that each add, rename or filter something.
fn long_spec(stages: usize) -> Result<String, std::fmt::Error> {
    let mut spec = String::from("pipeline: long\nstages:\n  - source.csv: {path: data.csv}\n");
    for number in 1..stages {
        match number % 4 {
            0 => writeln!(
                spec,
                "  - clean.filter: {{where: amount_{} >= 0}}",
                number - 1
            )?,
            1 => writeln!(
                spec,
                "  - features.derive: {{amount_{number}: ln(amount + {number}) * 2, text_{number}: upper(kind)}}"
            )?,
            2 => writeln!(
                spec,
                "  - features.derive: {{amount_{number}: amount_{} + amount}}",
                number - 1
            )?,
            _ => writeln!(
                spec,
                "  - clean.rename: {{columns: {{amount_{}: amount_{number}}}}}",
                number - 1
            )?,
        }
    }
    Ok(spec)
}

fn takt(folder: &Path, arguments: &[&str]) -> Result<Duration, Box<dyn std::error::Error>> {
    let began = Instant::now();
    let output = Command::new(env!("CARGO_BIN_EXE_takt"))
        .arg("-C")
        .arg(folder)
        .args(arguments)
        .stdout(Stdio::piped())
        .output()?;
    let took = began.elapsed();
    if !output.status.success() {
        return Err(format!(
            "takt {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        )
        .into());
    }
    Ok(took)
}

#[expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
fn report(
    what: &str,
    target: f64,
    run: impl Fn() -> Result<Duration, Box<dyn std::error::Error>>,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut times: Vec<Duration> = (0..RUNS).map(|_| run()).collect::<Result<_, _>>()?;
    times.sort();
    let median = times[RUNS / 2].as_secs_f64() * 1e3;
    println!(
        "{what:32} {median:7.1} ms   (target {target} ms; {:.1}–{:.1})",
        millis(times[0]),
        millis(times[RUNS - 1])
    );
    Ok(())
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
