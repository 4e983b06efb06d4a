//! The shipped pipelines of the use cases, on the data that they ship with: the quality that their issue asks for, on held-out rows.

use std::{fs, os::unix::fs::symlink};

use crate::harness::{Project, repository};

/// A project with that pipeline, beside the repository's data sets.
fn project(pipeline: &str) -> Project {
    let spec =
        fs::read_to_string(repository().join("pipelines").join(pipeline)).expect("a pipeline");
    let project = Project::with(&spec);
    symlink(repository().join("datasets"), project.path("datasets")).expect("a link");
    project
}

/// The mean of a metric over five folds.
fn over_folds(pipeline: &str, metric: &str) -> f64 {
    let project = project(pipeline);
    let folds = (1..=5).map(|fold| {
        let fold = format!("fold={fold}");
        let outcome = project
            .takt(["run", "pipeline.yaml", "--format", "json", "--param", &fold])
            .run();
        // A gate may say no to a single fold; the question here is the mean.
        assert!(matches!(outcome.code, 0 | 3), "{}", outcome.stderr);
        outcome.run_report().metrics("quality")[metric]
    });
    folds.sum::<f64>() / 5.0
}

#[test]
fn solder_skips_are_explained_as_well_as_by_the_reference() {
    let explained = over_folds("manufacturing/process-quality.yaml", "d2");
    assert!(explained >= 0.78, "{explained}");
}

#[test]
fn tumours_are_told_apart() {
    let area = over_folds("medical/disease-diagnosis.yaml", "roc_auc");
    assert!(area >= 0.995, "{area}");
}

#[test]
fn credit_risks_are_ranked_better_than_by_the_reference() {
    let area = over_folds("finance/credit-risk.yaml", "roc_auc");
    assert!(area >= 0.79, "{area}");
}

/// Of scaffolds that training never saw; a constant has an RMSE of 2.32.
#[test]
fn solubility_is_told_of_molecules_of_new_kinds() {
    let report = project("medical/drug-solubility.yaml").run_pipeline(&[]);
    let (metrics, constant) = (
        report.metrics("quality"),
        report.metrics("quality_of_constant"),
    );
    assert!(metrics["rmse"] <= 1.25, "{metrics:?}");
    assert!(metrics["r2"] >= 0.6, "{metrics:?}");
    assert!(
        metrics["rmse"] <= 0.65 * constant["rmse"],
        "{metrics:?} {constant:?}"
    );
}

#[test]
fn enthusiastic_reviews_are_told_from_others() {
    let metrics = project("text/review-sentiment.yaml")
        .run_pipeline(&[])
        .metrics("quality");
    assert!(metrics["accuracy"] >= 0.80, "{metrics:?}");
}

#[test]
#[cfg(feature = "torch")]
fn tastes_are_known_better_than_the_biases_of_people_and_films() {
    let project = project("retail/recommendation.yaml");
    let report = project.run_pipeline(&[]);
    let metrics = report.metrics("quality");
    // Biases alone reach 0.955 (../datasets/README.md).
    assert!(metrics["rmse"] <= 0.94, "{metrics:?}");
    // The films that are shown, out of all: held against those that most people liked.
    let lists = report.metrics("lists");
    for figure in ["precision_at_10", "ndcg_at_10"] {
        let popular = lists[&format!("baseline_{figure}")];
        assert!(lists[figure] >= 1.25 * popular, "{lists:?}");
    }
}

#[test]
#[cfg(feature = "torch")]
fn engines_say_how_long_they_will_last() {
    let report =
        project("manufacturing/remaining-life.yaml").run_pipeline(&["--param", "units=40"]);
    let metrics = report.metrics("quality");
    assert!(metrics["r2"] >= 0.7, "{metrics:?}");
    assert!((0.75..=0.98).contains(&metrics["coverage"]), "{metrics:?}");
}

#[test]
fn failing_machines_are_found() {
    let metrics = project("manufacturing/predictive-maintenance.yaml")
        .run_pipeline(&[])
        .metrics("quality_of_alarms");
    assert!(metrics["average_precision"] >= 0.80, "{metrics:?}");
}

/// Weekly naive forecasts have a WAPE of 0.293 in 2019. A bundle forecasts a week whose demand nobody knows yet.
#[test]
fn demand_is_forecast_better_than_by_last_week() {
    let project = project("retail/demand-forecasting.yaml");
    let report = project.run_pipeline(&[]);
    assert_eq!(report.rows_out("by_time"), Some(127_575));
    let metrics = report.metrics("quality");
    assert!(
        (metrics["baseline_wape"] - 0.2925).abs() < 1e-3,
        "{metrics:?}"
    );
    assert!(
        metrics["wape"] <= 0.85 * metrics["baseline_wape"],
        "{metrics:?}"
    );

    // 36 days of one series, the last seven without their demand: what comes out is what came out with it.
    let header = "date,store,product,is_schoolholiday,is_holiday,is_holiday_next2days,rain,temperature,promotion_currentweek,demand";
    let rows = |is_known: bool| {
        let rows = (1..=36).map(|day| {
            let date = if day <= 31 {
                format!("2019-05-{day:02}")
            } else {
                format!("2019-06-{:02}", day - 31)
            };
            let demand = if is_known || day <= 29 {
                format!("{}", 100 + (day % 7) * 10)
            } else {
                String::new()
            };
            format!("{date},2,101,0,0,0,0.5,{}.5,0,{demand}\n", 10 + day % 5)
        });
        std::iter::once(format!("{header}\n"))
            .chain(rows)
            .collect::<String>()
    };
    let last_week = |name: &str, is_known: bool| {
        project.write(&format!("{name}.csv"), rows(is_known));
        let scored = format!("{name}-scored.csv");
        project
            .score(&report.bundle(), &format!("{name}.csv"), &scored)
            .succeeded();
        let text = project.read(&scored);
        let predictions: Vec<f64> = text
            .lines()
            .skip(30)
            .map(|line| {
                line.rsplit(',')
                    .next()
                    .and_then(|value| value.parse().ok())
                    .expect("a number")
            })
            .collect();
        assert_eq!(predictions.len(), 7);
        predictions
    };
    let unknown = last_week("unknown", false);
    assert_eq!(unknown, last_week("known", true));
    assert!(
        unknown.iter().all(|demand| (80.0..200.0).contains(demand)),
        "{unknown:?}"
    );
}

const FORECASTS: &str = "\
pipeline: forecasts
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
  - clean.filter: {where: product = 101 and store < 20}
    id: few
  - split.time: {test: 0.0231}
    id: by_time
  - model.forecast.MODEL: {by: [store, product], step: 1d, horizon: 29, SETTINGS}
    id: forecast
  - evaluate.forecast: {by: [store, product], season: 7d}
    id: quality
  - deploy.bundle: {}
";

/// Four weeks ahead, beside the last week over and over.
#[test]
fn forecasters_run_and_score_and_are_compared_with_the_last_week() {
    for (model, settings) in [
        ("seasonal_naive", "season: 7"),
        ("ets", "trend: auto"),
        ("mstl", "seasons: [7]"),
    ] {
        let spec = FORECASTS
            .replace("MODEL", model)
            .replace("SETTINGS", settings);
        let project = Project::with(&spec);
        symlink(repository().join("datasets"), project.path("datasets")).expect("a link");
        let report = project.run_pipeline(&[]);
        let metrics = report.metrics("quality");
        assert!(
            metrics["coverage"] > 0.5 && metrics["coverage"] <= 1.0,
            "{model}: {metrics:?}"
        );
        match model {
            "seasonal_naive" => assert_eq!(metrics["wape"], metrics["baseline_wape"]),
            "mstl" => assert!(metrics["wape_skill"] > 0.0, "{metrics:?}"),
            _ => assert!(metrics["wape"] < 1.0, "{metrics:?}"),
        }
        // The last training day is the second of April.
        project.write("next.csv", "date,store,product\n2019-04-30,2,101\n");
        project
            .score(&report.bundle(), "next.csv", "scored.csv")
            .succeeded();
        let scored = project.read("scored.csv");
        assert!(
            scored.starts_with("date,store,product,prediction,lower,upper\n"),
            "{scored}"
        );
        project.write("late.csv", "date,store,product\n2019-05-02,2,101\n");
        let outcome = project.score(&report.bundle(), "late.csv", "late-scored.csv");
        assert_eq!(outcome.code, 1, "{}", outcome.stderr);
        for words in ["row 1: step 30", "beyond the horizon of 29"] {
            assert!(outcome.stderr.contains(words), "{}", outcome.stderr);
        }
    }
}

const ANOMALIES: &str = "\
pipeline: strange-tumours
columns:
  diagnosis: {role: target}
stages:
  - source.csv: {path: datasets/medical/wdbc.csv}
    id: tumours
  - split.stratified: {test: 0.3}
    id: parts
  - model.anomaly.MODEL: {contamination: 0.2}
    id: strange
  - evaluate.anomaly: {positive: M}
    id: quality
  - deploy.bundle: {}
";

#[test]
fn anomalies_are_scored_alike_in_a_run_and_from_a_bundle() {
    for model in ["isolation_forest", "robust_z"] {
        let project = Project::with(&ANOMALIES.replace("MODEL", model));
        symlink(repository().join("datasets"), project.path("datasets")).expect("a link");
        let report = project.run_pipeline(&[]);
        let metrics = report.metrics("quality");
        assert!(metrics["roc_auc"] > 0.7, "{model}: {metrics:?}");
        assert!(
            (0.1..0.35).contains(&metrics["flagged_share"]),
            "{model}: {metrics:?}"
        );
        project
            .score(&report.bundle(), "datasets/medical/wdbc.csv", "scored.csv")
            .succeeded();
        let scored = project.read("scored.csv");
        let header = scored.lines().next().expect("a header");
        assert!(header.contains(",prediction,score"), "{header}");
        assert_eq!(scored.lines().count(), 570);
    }
}
