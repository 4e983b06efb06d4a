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

/// Holds what a forecaster wrote beside a column of the peer's.
///
/// `apart` is how far a forecast may be from the peer's, as a share of half the width of the peer's interval. The interval may be up
/// to `wider` wider: the peer takes the variance of the errors over all steps, augurs (as R) over the steps less the numbers
/// that were learned, 4 to 7 of 165 weeks.
fn assert_near(
    project: &Project,
    time: &str,
    peer: &DataFrame,
    name: &str,
    apart: f64,
    wider: f64,
) {
    let found = read_table(&project.path(&format!("{name}.csv")));
    let [point, lower, upper] =
        ["prediction", "lower", "upper"].map(|column| numbers(&found, time, column));
    let halves = numbers(peer, time, &format!("{name}_half"));
    let forecasts = numbers(peer, time, name);
    assert!(forecasts.len() >= 5 * 8, "{}", forecasts.len());
    for (key, wanted) in forecasts {
        let half = halves[&key];
        let found_half = (upper[&key] - lower[&key]) / 2.0;
        assert!(
            (point[&key] - wanted).abs() <= apart * half
                && (0.0..=wider).contains(&(found_half / half - 1.0)),
            "{name} of {key:?}: {} ± {found_half} is not {wanted} ± {half}",
            point[&key]
        );
    }
}

#[test]
fn smoothing_of_weeks_is_that_of_statsmodels() {
    // Both look for the likeliest numbers by steps, and end somewhere near the top. It is the flatter the more there are: a damped
    // trend's forecasts are up to a twentieth of the interval apart where its likelihood hardly differs.
    let variants = [
        ("level", "trend: none", 0.001),
        ("trend", "trend: additive, damped: false", 0.005),
        ("damped", "trend: additive, damped: true", 0.06),
        ("auto", "trend: auto", 0.06),
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
    for (name, params, _) in variants {
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
    for (name, _, apart) in variants {
        assert_near(&project, "week", &peer, name, apart, 0.035);
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
  - clean.filter: {where: (store = 19 and product = 110) or (product = 101 and (store = 17 or store = 20 or store = 47 or store = 50))}
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
        // augurs decomposes 32-bit numbers, and its low-pass window is two steps shorter.
        assert_near(&project, "date", &peer, name, 0.002, 0.005);
    }
}
