//! Exponential smoothing and MSTL beside statsmodels, on real demand.
//!
//! `tests/peers/forecasts.py` made the files under `tests/data/forecasts`: the series, and what the peer forecasts.

use std::{collections::BTreeMap, fs, os::unix::fs::symlink};

use polars::prelude::{DataFrame, DataType};

use crate::{
    bundle::read_table,
    harness::{Project, repository},
};

fn golden(name: &str) -> DataFrame {
    read_table(&repository().join("tests/data/forecasts").join(name))
}

/// A column's numbers, by the values of the columns that tell rows apart.
fn numbers(table: &DataFrame, time: &str, name: &str) -> BTreeMap<[String; 3], f64> {
    let texts = [time, "store", "product"].map(|key| {
        let texts = table.column(key).expect("a key").cast(&DataType::String);
        texts.expect("text")
    });
    let numbers = table.column(name).expect("a column").f64().expect("reals");
    let rows = (0..table.height()).map(|row| {
        let key = [0, 1, 2].map(|place| {
            let text = texts[place].str().expect("text").get(row).expect("a key");
            // A date has no time of day, whoever wrote it.
            text.chars().take(10).collect()
        });
        (key, numbers.get(row).unwrap_or(f64::NAN))
    });
    rows.collect()
}

/// How far a forecast and half the width of its interval may be from the peer's.
struct Tolerance {
    /// Of the forecast, as a share of half the width of the peer's interval.
    point: f64,
    /// Of half the width, as a share of the peer's.
    half: f64,
}

/// Holds what a forecaster wrote beside a column of the peer's; answers with the largest distances.
fn assert_near(
    project: &Project,
    file: &str,
    time: &str,
    peer: &DataFrame,
    name: &str,
    tolerance: &Tolerance,
) {
    let found = read_table(&project.path(file));
    let [point, lower, upper] =
        ["prediction", "lower", "upper"].map(|column| numbers(&found, time, column));
    let halves = numbers(peer, time, &format!("{name}_half"));
    let mut worst = (0.0_f64, 0.0_f64);
    for (key, wanted) in numbers(peer, time, name) {
        let half = halves[&key];
        let distance = (point[&key] - wanted).abs() / half;
        let wider = ((upper[&key] - lower[&key]) / 2.0 / half - 1.0).abs();
        assert!(
            distance <= tolerance.point && wider <= tolerance.half,
            "{name} of {key:?}: {} ± {} is not {wanted} ± {half}",
            point[&key],
            (upper[&key] - lower[&key]) / 2.0
        );
        worst = (worst.0.max(distance), worst.1.max(wider));
    }
    eprintln!("{name}: {worst:?}");
}

#[test]
fn smoothing_of_weeks_is_that_of_statsmodels() {
    let variants = [
        ("level", "trend: none"),
        ("trend", "trend: additive, damped: false"),
        ("damped", "trend: additive, damped: true"),
        ("auto", "trend: auto"),
    ];
    let mut spec = "\
pipeline: weeks
columns:
  demand: {role: target}
  week: {role: time}
  store: {role: id}
  product: {role: id}
stages:
  - source.csv: {path: weeks.csv}
  - split.time: {test: 0.0463}
    id: parts
"
    .to_owned();
    for (name, params) in variants {
        spec += &format!(
            "  - model.forecast.ets: {{by: [store, product], step: 1w, horizon: 8, {params}}}\n    id: {name}\n    from: parts\n  \
             - sink.csv: {{path: {name}.csv}}\n    id: {name}_file\n"
        );
    }
    let project = Project::with(&spec);
    let weeks = repository().join("tests/data/forecasts/weeks.csv");
    project.write("weeks.csv", fs::read(weeks).expect("the series"));
    project.run_pipeline(&[]);
    let peer = golden("weeks-statsmodels.csv");
    for (name, _) in variants {
        let tolerance = Tolerance {
            point: 0.05,
            half: 0.02,
        };
        assert_near(
            &project,
            &format!("{name}.csv"),
            "week",
            &peer,
            name,
            &tolerance,
        );
    }
}

#[test]
fn decomposed_days_go_on_as_those_of_statsmodels() {
    let variants = [("mstl_week", "[7]"), ("mstl_week_year", "[7, 365]")];
    let mut spec = "\
pipeline: days
columns:
  demand: {role: target}
  date: {role: time}
  store: {role: id}
  product: {role: id}
stages:
  - source.csv: {path: datasets/retail/bakery_data.csv.gz}
    id: days
  - source.csv: {path: datasets/retail/bakery_target.csv.gz}
    id: sales
  - clean.align: {}
    from: [days, sales]
  - clean.filter: {where: (store = 17 and product = 101) or (store = 19 and product = 110) or (store in (20, 47, 50) and product = 101)}
  - clean.select: {columns: [date, store, product, demand]}
  - split.time: {test: 0.02305}
    id: parts
"
    .to_owned();
    for (name, seasons) in variants {
        spec += &format!(
            "  - model.forecast.mstl: {{by: [store, product], step: 1d, horizon: 28, seasons: {seasons}}}\n    id: {name}\n    from: parts\n  \
             - sink.csv: {{path: {name}.csv}}\n    id: {name}_file\n"
        );
    }
    let project = Project::with(&spec);
    symlink(repository().join("datasets"), project.path("datasets")).expect("a link");
    project.run_pipeline(&[]);
    let peer = golden("days-statsmodels.csv");
    for (name, _) in variants {
        let tolerance = Tolerance {
            point: 0.05,
            half: 0.02,
        };
        assert_near(
            &project,
            &format!("{name}.csv"),
            "date",
            &peer,
            name,
            &tolerance,
        );
    }
}
