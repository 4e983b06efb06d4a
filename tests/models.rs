//! Every kind of model from a file to a scored file: checked, run, judged on rows that it did not learn from, put into a bundle, and
//! scored with what it said in the run.
//!
//! A kind that a file under `pipelines/` uses is tried there. Each other one has a case in the list below; a new kind without either
//! fails `every_kind_of_model_is_used`.

use std::{collections::BTreeSet, fs, ops::RangeInclusive, os::unix::fs::symlink, path::Path};

use crate::{
    bundle::read_table,
    harness::{Project, RunReport, repository},
};

/// A model of one kind on some rows, and how good it must be.
struct Case {
    /// The roles and the stages above the model; what a bundle scores are the rows after the stage `rows`.
    rows: &'static str,
    /// The model, a stage of the id `model`.
    model: &'static str,
    /// The evaluation, a stage of the id `quality`.
    judge: &'static str,
    metric: &'static str,
    bounds: RangeInclusive<f64>,
}

/// Tests of the cases, each of its name, and the list of them all.
macro_rules! cases {
    ($($(#[$only:meta])? $name:ident: $case:expr;)*) => {
        $(
            #[test]
            $(#[$only])?
            fn $name() {
                let case: Case = $case;
                case.holds();
            }
        )*

        fn cases() -> Vec<Case> {
            vec![$($case),*]
        }
    };
}

/// 569 tumours, scaled.
const TUMOURS: &str = "\
columns:
  diagnosis: {role: target}
stages:
  - source.csv: {path: datasets/medical/wdbc.csv}
    id: rows
  - split.stratified: {test: 0.3}
  - features.standardize: {}
";
const TELLS_TUMOURS: &str = "evaluate.classification: {positive: M}";

/// The same, of the malignant ones every fifth: there are to be few of what is to be found.
const RARE_TUMOURS: &str = "\
columns:
  diagnosis: {role: target}
stages:
  - source.csv: {path: datasets/medical/wdbc.csv}
  - clean.filter: {where: diagnosis = 'B' or floor(mean_texture * 100) % 5 = 0}
    id: rows
  - split.stratified: {test: 0.3}
  - features.standardize: {}
";
const FINDS_TUMOURS: &str = "evaluate.anomaly: {positive: M}";

/// 1,030 mixes of concrete, scaled.
const CONCRETE: &str = "\
columns:
  compressive_strength: {role: target}
stages:
  - source.csv: {path: datasets/manufacturing/concrete.csv}
    id: rows
  - split.random: {test: 0.3}
  - features.standardize: {columns: [cement, blast_furnace_slag, fly_ash, water, superplasticizer, coarse_aggregate, fine_aggregate, age]}
";
const REGRESSION: &str = "evaluate.regression: {}";

/// The days of bakery shops beside what they sold, with roles of further columns above and stages below.
macro_rules! bakeries {
    ($roles:literal, $stages:literal) => {
        concat!(
            "columns:\n",
            $roles,
            "  date: {role: time}
  store: {role: id}
  product: {role: id}
stages:
  - source.csv: {path: datasets/retail/bakery_data.csv.gz}
    id: days
  - source.csv: {path: datasets/retail/bakery_target.csv.gz}
    id: sales
  - clean.align: {}
    from: [days, sales]
",
            $stages
        )
    };
}

/// The daily demand of one product in six bakery shops; the last four weeks are to be forecast.
const DEMAND: &str = bakeries!(
    "  demand: {role: target}
",
    "  - clean.filter: {where: product = 110 and store >= 17 and store < 25}
    id: shops
  - clean.select: {columns: [date, store, product, demand]}
    id: rows
  - split.time: {test: 0.0231}
"
);
const FORECASTS: &str = "evaluate.forecast: {by: [store, product], season: 7d}";

/// What the shops sold of each of some products, as grades from 0 to 5, and what they had sold in the weeks before.
const BEST_SELLERS: &str = bakeries!(
    "  grade: {role: target}
  demand: {role: ignore}
",
    "  - clean.filter: {where: store < 20 and date >= date '2018-06-01'}
  - features.lag: {by: [store, product], columns: demand, steps: [7, 14]}
  - clean.drop_nulls: {columns: [demand_lag_7, demand_lag_14]}
    id: rows
  - clean.rename: {columns: {demand_lag_7: last_week, demand_lag_14: two_weeks_ago}}
  - features.derive: {grade: \"cast(least(floor(demand / 50), 5) as bigint)\"}
  - split.time: {test: 0.2}
"
);

/// A third of the ratings of MovieLens, with what is known of people and films.
const RATINGS: &str = "\
columns:
  rating: {role: target}
  user: {role: id}
  film: {role: id}
stages:
  - source.csv: {path: datasets/pulled/movielens-100k/ratings.csv}
    id: ratings
  - source.csv: {path: datasets/pulled/movielens-100k/users.csv}
    id: people
  - source.csv: {path: datasets/pulled/movielens-100k/films.csv}
    id: films
  - clean.sample: {rows: 33000, seed: 1}
    id: some
    from: ratings
  - features.join: {on: user, how: left}
    id: with_people
    from: [some, people]
  - features.join: {on: film, how: left}
    from: [with_people, films]
    id: rows
  - features.derive:
      age: cast(age as double) / 50
      is_student: occupation = 'student'
      drama: genres like '%Drama%'
      comedy: genres like '%Comedy%'
      horror: genres like '%Horror%'
  - split.random: {test: 0.2}
";

/// Four weeks of a product in a bakery shop, and the week after them; every seventh day.
const WEEKS: &str = bakeries!(
    "  next: {role: target}
  demand: {role: ignore}
",
    "  - clean.filter: {where: store < 4}
  - features.derive: {hundreds: demand / 100, place: extract(epoch from date) / 86400}
  - features.sequence: {columns: [hundreds, promotion_currentweek, is_holiday], by: [store, product], steps: 28, name: history}
  - features.sequence: {columns: demand, by: [store, product], steps: 7, ahead: true, name: next}
  - clean.drop_nulls: {columns: next}
  - clean.filter: {where: place % 7 = 0 and place >= 28}
    id: rows
  - split.time: {test: 0.15, validation: 0.15}
"
);

/// 1,500 molecules: their fingerprints, and figures that are scaled.
const MOLECULES: &str = "\
columns:
  smiles: {role: ignore}
  target: {role: target}
stages:
  - source.csv: {path: datasets/medical/aqsoldb.csv}
  - clean.sample: {rows: 1500, seed: 1}
    id: rows
  - features.smiles: {column: smiles, fingerprint: {bits: 256}}
  - clean.cast: {columns: {smiles_heavy_atoms: f64, smiles_rings: f64, smiles_aromatic_atoms: f64, smiles_hydrogen_donors: f64}}
  - split.random: {test: 0.25}
  - features.standardize: {columns: [smiles_heavy_atoms, smiles_rings, smiles_aromatic_atoms, smiles_hydrogen_donors, smiles_weight]}
";

/// 600 real digits.
const DIGITS: &str = "\
columns:
  label: {role: target}
stages:
  - source.idx:
      images: datasets/mnist/digits-10k-images-idx3-ubyte.gz
      labels: datasets/mnist/digits-10k-labels-idx1-ubyte.gz
  - clean.sample: {rows: 600, seed: 1}
    id: rows
  - features.image: {}
  - split.stratified: {test: 0.3}
";

// The place for the case of a new kind.
cases! {
    clusters_are_the_classes: Case {
        rows: TUMOURS,
        model: "model.linfa.k_means: {clusters: 2}",
        judge: "evaluate.clustering: {}",
        metric: "adjusted_rand",
        bounds: 0.55..=0.85,
    };
    a_tree_tells_tumours_apart: Case {
        rows: TUMOURS,
        model: "model.linfa.decision_tree: {max_depth: 4, positive: M}",
        judge: TELLS_TUMOURS,
        metric: "accuracy",
        bounds: 0.88..=1.0,
    };
    a_tree_says_how_strong_concrete_is: Case {
        rows: CONCRETE,
        model: "model.linfa.decision_tree: {max_depth: 8, min_samples_leaf: 3}",
        judge: REGRESSION,
        metric: "r2",
        bounds: 0.65..=1.0,
    };
    boosted_trees_know_a_strength_that_one_of_ten_mixes_exceeds: Case {
        rows: CONCRETE,
        model: "model.boost.trees: {loss: {quantile: 0.9}, rounds: 150}",
        judge: "evaluate.regression: {quantile: 0.9}",
        metric: "pinball_skill",
        bounds: 0.5..=1.0,
    };
    more_cement_makes_no_weaker_concrete: Case {
        rows: CONCRETE,
        model: "model.boost.trees: {rounds: 150, monotone: {cement: rising, age: rising}}",
        judge: REGRESSION,
        metric: "r2",
        bounds: 0.85..=1.0,
    };
    boosted_trees_put_products_in_order: Case {
        rows: BEST_SELLERS,
        model: "model.boost.trees: {loss: ranking, group: [store, date], features: [last_week, two_weeks_ago], rounds: 40}",
        judge: "evaluate.ranking: {group: [store, date], relevant_from: 3, k: 3}",
        metric: "ndcg_at_3",
        bounds: 0.85..=1.0,
    };
    a_forest_tells_tumours_apart: Case {
        rows: TUMOURS,
        model: "model.linfa.random_forest: {trees: 60, positive: M}",
        judge: TELLS_TUMOURS,
        metric: "roc_auc",
        bounds: 0.97..=1.0,
    };
    a_forest_says_how_strong_concrete_is: Case {
        rows: CONCRETE,
        model: "model.linfa.random_forest: {trees: 60}",
        judge: REGRESSION,
        metric: "r2",
        bounds: 0.85..=1.0,
    };
    shallow_trees_tell_tumours_apart: Case {
        rows: TUMOURS,
        model: "model.linfa.adaboost: {positive: M}",
        judge: TELLS_TUMOURS,
        metric: "roc_auc",
        bounds: 0.97..=1.0,
    };
    bayes_tells_tumours_apart: Case {
        rows: TUMOURS,
        model: "model.linfa.naive_bayes: {positive: M}",
        judge: TELLS_TUMOURS,
        metric: "roc_auc",
        bounds: 0.96..=1.0,
    };
    ftrl_tells_tumours_apart: Case {
        rows: TUMOURS,
        model: "model.linfa.ftrl: {alpha: 0.3, epochs: 5, positive: M}",
        judge: TELLS_TUMOURS,
        metric: "roc_auc",
        bounds: 0.98..=1.0,
    };
    support_vectors_tell_tumours_apart: Case {
        rows: TUMOURS,
        model: "model.linfa.svm: {task: classification, positive: M}",
        judge: TELLS_TUMOURS,
        metric: "roc_auc",
        bounds: 0.98..=1.0,
    };
    support_vectors_say_how_strong_concrete_is: Case {
        rows: CONCRETE,
        model: "model.linfa.svm: {task: regression, cost: 100, epsilon: 1}",
        judge: REGRESSION,
        metric: "r2",
        bounds: 0.8..=1.0,
    };
    one_class_finds_what_is_unusual: Case {
        rows: RARE_TUMOURS,
        model: "model.linfa.svm: {task: anomaly, contamination: 0.1}",
        judge: FINDS_TUMOURS,
        metric: "roc_auc",
        bounds: 0.85..=1.0,
    };
    latent_components_say_how_strong_concrete_is: Case {
        rows: CONCRETE,
        model: "model.linfa.pls: {components: 3}",
        judge: REGRESSION,
        metric: "r2",
        bounds: 0.5..=0.75,
    };
    a_net_of_penalties_says_how_strong_concrete_is: Case {
        rows: CONCRETE,
        model: "model.linfa.elastic_net: {penalty: 0.1, l1_share: 0.5}",
        judge: REGRESSION,
        metric: "r2",
        bounds: 0.5..=0.75,
    };
    amounts_are_modelled_by_a_gamma_family: Case {
        rows: CONCRETE,
        model: "model.linfa.glm: {family: gamma}",
        judge: "evaluate.regression: {deviance: gamma}",
        metric: "d2",
        bounds: 0.45..=1.0,
    };
    probabilities_are_calibrated: Case {
        rows: TUMOURS,
        model: "model.calibrate: {model: {model.linfa.naive_bayes: {positive: M}}, method: platt}",
        judge: "evaluate.classification: {positive: M, calibration: {bins: 5}}",
        metric: "log_loss",
        bounds: 0.0..=0.25,
    };
    probabilities_are_calibrated_by_steps: Case {
        rows: TUMOURS,
        model: "model.calibrate: {model: {model.linfa.naive_bayes: {positive: M}}, method: isotonic}",
        judge: "evaluate.classification: {positive: M, calibration: {bins: 5}}",
        metric: "brier",
        bounds: 0.0..=0.07,
    };
    deviations_from_the_middle_find_tumours: Case {
        rows: RARE_TUMOURS,
        model: "model.anomaly.robust_z: {contamination: 0.2}",
        judge: FINDS_TUMOURS,
        metric: "roc_auc",
        bounds: 0.85..=1.0,
    };
    isolated_rows_are_tumours: Case {
        rows: RARE_TUMOURS,
        model: "model.anomaly.isolation_forest: {contamination: 0.2}",
        judge: FINDS_TUMOURS,
        metric: "roc_auc",
        bounds: 0.85..=1.0,
    };
    weeks_repeat: Case {
        rows: DEMAND,
        model: "model.forecast.seasonal_naive: {by: [store, product], step: 1d, season: 7, horizon: 29}",
        judge: FORECASTS,
        metric: "wape_skill",
        bounds: 0.0..=0.0,
    };
    smoothing_without_seasons_is_a_rough_guide: Case {
        rows: DEMAND,
        model: "model.forecast.ets: {by: [store, product], step: 1d, horizon: 29}",
        judge: FORECASTS,
        metric: "wape",
        bounds: 0.1..=0.4,
    };
    seasons_and_smoothing_forecast_demand: Case {
        rows: DEMAND,
        model: "model.forecast.mstl: {by: [store, product], step: 1d, seasons: [7], horizon: 29}",
        judge: FORECASTS,
        metric: "wape_skill",
        bounds: 0.0..=0.8,
    };
    a_regressor_of_lags_forecasts_demand: Case {
        rows: DEMAND,
        model: "model.forecast.lagged: {by: [store, product], step: 1d, horizon: 29, lags: [1, 7, 14], calendar: [weekday], \
                regressor: {model.linfa.linear_regression: {}}}",
        judge: FORECASTS,
        metric: "wape_skill",
        bounds: 0.0..=0.8,
    };
    the_past_judges_a_forecaster: Case {
        rows: DEMAND,
        model: "model.forecast.mstl: {by: [store, product], step: 1d, seasons: [7], horizon: 29}",
        judge: "evaluate.backtest: {model: {model.forecast.mstl: {by: [store, product], step: 1d, seasons: [7], horizon: 14}}, \
                by: [store, product], horizon: 14, folds: 3, season: 7d}\n    from: time",
        metric: "wape_skill",
        bounds: 0.0..=0.8,
    };
    #[cfg(feature = "torch")]
    what_is_said_badly_is_a_tumour: Case {
        rows: RARE_TUMOURS,
        model: "model.torch.autoencoder: {hidden: [16], bottleneck: 2, code: true, epochs: 25, contamination: 0.2}",
        judge: FINDS_TUMOURS,
        metric: "roc_auc",
        bounds: 0.85..=1.0,
    };
    #[cfg(feature = "torch")]
    what_is_unlikely_is_a_tumour: Case {
        rows: RARE_TUMOURS,
        model: "model.torch.vae: {hidden: [16], bottleneck: 2, code: true, epochs: 25, contamination: 0.2}",
        judge: FINDS_TUMOURS,
        metric: "roc_auc",
        bounds: 0.85..=1.0,
    };
    #[cfg(feature = "torch")]
    what_people_are_like_says_what_they_like: Case {
        rows: RATINGS,
        model: "model.torch.recommender: {user: user, item: film, network: two_tower, factors: 16, hidden: [32], user_features: [age, is_student], \
                item_features: [drama, comedy, horror], epochs: 6, batch_size: 128, top: 3}",
        judge: REGRESSION,
        metric: "rmse_skill",
        bounds: 0.08..=1.0,
    };
    #[cfg(feature = "torch")]
    four_weeks_say_the_next: Case {
        rows: WEEKS,
        model: "model.torch.rnn: {input: history, units: [24], dropout: 0.05, recurrent_dropout: 0.05, interval: 0.8, samples: 10, epochs: 6, \
                optimizer: {adam: {learning_rate: 0.01}}}",
        judge: REGRESSION,
        metric: "rmse_skill",
        bounds: 0.3..=1.0,
    };
    #[cfg(feature = "torch")]
    fingerprints_and_figures_say_what_dissolves: Case {
        rows: MOLECULES,
        model: "model.torch.multimodal: {branches: [{input: smiles_fingerprint}, {input: [smiles_heavy_atoms, smiles_rings, \
                smiles_aromatic_atoms, smiles_hydrogen_donors, smiles_weight]}], dropout: 0.3, hidden: [32], epochs: 15, optimizer: {adam: {learning_rate: 0.001}}}",
        judge: REGRESSION,
        metric: "r2",
        bounds: 0.45..=0.95,
    };
}

/// A puzzle teaches a network to see, and reading digits starts from its weights.
const PUZZLES: &str = "model.torch.jigsaw: {layers: [{conv: {filters: 16, kernel: 3, padding: same, activation: relu}}], grid: 2, \
                       orders: 12, hidden: 64, epochs: 2, optimizer: {adam: {learning_rate: 0.003}}}";
const READER: Case = Case {
    rows: DIGITS,
    model: "model.torch.cnn: {layers: [{conv: {filters: 16, kernel: 3, padding: same, activation: relu}}, {max_pool: 4}, flatten, \
            {dense: {units: 10, activation: softmax}}], initial_weights: puzzles.safetensors, epochs: 6, \
            optimizer: {adam: {learning_rate: 0.003}}}",
    judge: "evaluate.classification: {}",
    metric: "accuracy",
    bounds: 0.7..=1.0,
};

#[test]
#[cfg(feature = "torch")]
fn what_puzzles_teach_is_a_start_for_reading_digits() {
    let puzzles = pipeline(DIGITS, PUZZLES, None);
    let solver = project(&puzzles);
    let report = runs_and_scores(&solver);
    let state = fs::read(report.bundle().join("states/model.safetensors")).expect("weights");

    let reader = project(&READER.pipeline());
    reader.write("puzzles.safetensors", state);
    READER.is_within_bounds(&runs_and_scores(&reader));
}

/// How worn a part is, which a picture, a sound, a note and a number each tell a quarter of.
#[test]
#[cfg(feature = "torch")]
fn pictures_sounds_notes_and_numbers_are_learned_together() {
    const ROWS: usize = 300;
    let _turn = crate::digits::turn();
    let project = project(
        "\
pipeline: parts
columns: {wear: {role: target}, file: {role: id}, number: {role: ignore}, duration: {role: ignore}}
stages:
  - source.idx: {images: pictures, labels: numbers, label_column: number}
    id: pictures
  - source.audio: {table: parts.csv, rate: 16000, seconds: 0.1}
    id: sounds
  - clean.align: {}
    from: [pictures, sounds]
    id: rows
  - features.image: {}
  - features.mel_spectrogram: {rate: 16000, n_fft: 512, hop: 256, mels: 16}
  - features.hash_text: {column: note, buckets: 64}
  - split.random: {test: 0.3}
  - model.torch.multimodal: {branches: [{input: image}, {input: sound}, {input: note}, {input: [load]}], epochs: 30, batch_size: 16,
      optimizer: {adam: {learning_rate: 0.003}}}
    id: model
  - evaluate.regression: {}
    id: quality
  - deploy.bundle: {}
    from: model
  - sink.parquet: {path: rows.parquet}
    from: rows
  - sink.parquet: {path: said.parquet}
    from: model
",
    );
    let mut state = 7_u32;
    // Numerical Recipes' generator.
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(state >> 8) / f64::from(1_u32 << 24)
    };
    let (mut pixels, mut table) = (Vec::new(), String::from("file,note,load,wear\n"));
    for row in 0..ROWS {
        let [is_right, is_high, is_loose] = [noise() > 0.5, noise() > 0.5, noise() > 0.5];
        let bar = usize::from(is_right) * 4 + (noise() * 4.0) as usize;
        pixels.extend((0..64).map(|pixel| {
            let light = if pixel % 8 == bar { 150.0 } else { 0.0 };
            (light + 100.0 * noise()) as u8
        }));
        let (phase, pitch) = (noise() * 6.0, if is_high { 3_000.0 } else { 800.0 });
        let samples: Vec<i16> = (0..1_600)
            .map(|sample| {
                let angle = phase + f64::from(sample) * std::f64::consts::TAU * pitch / 16_000.0;
                (6_000.0 * angle.sin() + 3_000.0 * (noise() - 0.5)) as i16
            })
            .collect();
        project.write(&format!("{row}.wav"), crate::examples::wav(&samples));
        let first = ["the part", "this one", "it"][(noise() * 3.0) as usize];
        let what = if is_loose { "rattles" } else { "sits tight" };
        let last = ["today", "again", "when warm"][(noise() * 3.0) as usize];
        // As much variance as a truth value has.
        let load = noise() * 3.0_f64.sqrt();
        let told = [is_right, is_high, is_loose].map(|is| f64::from(u8::from(is)));
        let wear = told.iter().sum::<f64>() + load;
        table.push_str(&format!("{row}.wav,{first} {what} {last},{load},{wear}\n"));
    }
    project.write("parts.csv", table);
    project.write("pictures", crate::data::idx(&[ROWS as u32, 8, 8], &pixels));
    let numbers: Vec<u8> = (0..ROWS).map(|row| (row % 10) as u8).collect();
    project.write("numbers", crate::data::idx(&[ROWS as u32], &numbers));
    let r2 = runs_and_scores(&project).metrics("quality")["r2"];
    // Without one of the four no more than 0.75 could be known.
    assert!(r2 > 0.85, "R² {r2}");
}

impl Case {
    fn pipeline(&self) -> String {
        pipeline(self.rows, self.model, Some(self.judge))
    }

    fn holds(&self) {
        // Trainings take turns.
        #[cfg(feature = "torch")]
        let _turn = self
            .model
            .starts_with("model.torch.")
            .then(crate::digits::turn);
        let project = project(&self.pipeline());
        self.is_within_bounds(&runs_and_scores(&project));
    }

    fn is_within_bounds(&self, report: &RunReport) {
        let metrics = report.metrics("quality");
        assert!(
            self.bounds.contains(&metrics[self.metric]),
            "`{}` is not within {:?}: {metrics:?}",
            self.metric,
            self.bounds
        );
    }
}

/// The whole pipeline, with the rows that go into the model's plan and what it says of them in files.
fn pipeline(rows: &str, model: &str, judge: Option<&str>) -> String {
    let judge = judge.map_or(String::new(), |judge| {
        // A backtest learns anew, and says itself from which rows.
        let from = match judge.contains("\n    from: ") {
            true => "",
            false => "    from: model\n",
        };
        format!("  - {judge}\n    id: quality\n{from}")
    });
    format!(
        "pipeline: one-kind\n{rows}  - {model}\n    id: model\n{judge}  - deploy.bundle: {{}}\n    from: model\n  - sink.parquet: {{path: rows.parquet}}\n    \
         from: rows\n  - sink.parquet: {{path: said.parquet}}\n    from: model\n"
    )
}

fn project(pipeline: &str) -> Project {
    let project = Project::with(pipeline);
    symlink(repository().join("datasets"), project.path("datasets")).expect("a link");
    project
}

/// Checks, runs, and scores the rows of the run with its bundle: what comes out is what came out in the run, to the bit.
fn runs_and_scores(project: &Project) -> RunReport {
    project.takt(["check", "pipeline.yaml"]).run().succeeded();
    let report = project.run_pipeline(&[]);
    project
        .score(&report.bundle(), "rows.parquet", "scored.parquet")
        .succeeded();
    let [rows, said, scored] = ["rows", "said", "scored"]
        .map(|name| read_table(&project.path(&format!("{name}.parquet"))));
    assert_eq!(
        (said.height(), scored.height()),
        (rows.height(), rows.height())
    );
    let added: Vec<&str> = scored
        .get_column_names()
        .into_iter()
        .map(|name| name.as_str())
        .filter(|name| rows.column(name).is_err())
        .collect();
    assert!(!added.is_empty(), "the bundle says nothing");
    for name in added {
        let [run, scored] = [&said, &scored].map(|table| table.column(name).expect("a column"));
        assert!(
            run.equals_missing(scored),
            "`{name}` is {run:?} in the run and {scored:?} when scored"
        );
        assert!(run.null_count() < run.len(), "`{name}` is null everywhere");
    }
    report
}

#[test]
fn every_kind_of_model_is_used() {
    fn visit(folder: &Path, texts: &mut Vec<String>) {
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                visit(&path, texts);
            } else if path.extension().is_some_and(|ending| ending == "yaml") {
                texts.push(fs::read_to_string(&path).expect("a pipeline"));
            }
        }
    }
    let mut texts = vec![pipeline(DIGITS, PUZZLES, None), READER.pipeline()];
    texts.extend(cases().iter().map(Case::pipeline));
    visit(&repository().join("pipelines"), &mut texts);
    // Tests of their own.
    for file in ["tests/groups.rs", "tests/torchscript.rs"] {
        texts.push(fs::read_to_string(repository().join(file)).expect("a file"));
    }
    let kinds = Project::new()
        .takt(["stages", "--format", "json"])
        .run()
        .succeeded()
        .json();
    let kinds: BTreeSet<&str> = kinds
        .as_array()
        .expect("kinds")
        .iter()
        .filter_map(|kind| kind["kind"].as_str())
        .filter(|kind| kind.starts_with("model."))
        .collect();
    assert!(kinds.len() > 25, "{kinds:?}");
    let is_used = |kind: &&&str| {
        let stage = format!("{kind}:");
        texts.iter().any(|text| text.contains(&stage))
    };
    let unused: Vec<_> = kinds.iter().filter(|kind| !is_used(kind)).collect();
    assert!(
        unused.is_empty(),
        "no pipeline uses {unused:?}: give each a case here or a file under pipelines/"
    );
}
