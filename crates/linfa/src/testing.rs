//! What the tests of models share: data with roles, a fit that goes through the bytes of its state, outputs by name.

use std::path::Path;

use polars::prelude::{
    ChunkAgg, ChunkVar, Column as PolarsColumn, CsvReader, DataFrame, DataType, IdxCa, NamedFrom,
    SerReader, Series,
};
use serde::de::DeserializeOwned;
use taktline_core::{
    Capabilities, CheckContext, Error, FitContext, Frame, Model, Problem, Registry, Result, Role,
    Schema, Shape, Stage, State, serde_yaml,
};

/// Params as a user writes them.
pub(crate) fn params<M: DeserializeOwned>(yaml: &str) -> M {
    let node = serde_yaml::Deserializer::from_str(yaml);
    serde_yaml::with::singleton_map_recursive::deserialize(node).expect("params")
}

pub(crate) fn with_roles(data: DataFrame, roles: &[(&str, Role)]) -> Frame {
    let mut schema = Schema::from_polars(data.schema());
    for (name, role) in roles {
        let column = schema.column_mut(name).expect("a column");
        *column = column.clone().with_role(*role);
    }
    Frame { data, schema }
}

/// The Wisconsin breast cancer data.
pub(crate) fn tumours() -> DataFrame {
    shipped("medical/wdbc.csv")
}

/// A shipped data set.
pub(crate) fn shipped(name: &str) -> DataFrame {
    let datasets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets");
    let file = std::fs::File::open(datasets.join(name)).expect("the data set");
    CsvReader::new(file).finish().expect("a frame")
}

/// The rows to learn from, and every third one to judge by.
pub(crate) fn thirds(data: &DataFrame) -> (DataFrame, DataFrame) {
    let part = |is_test: bool| {
        let rows: Vec<u32> = (0..data.height() as u32)
            .filter(|row| (row % 3 == 0) == is_test)
            .collect();
        data.take(&IdxCa::from_vec("".into(), rows)).expect("rows")
    };
    (part(false), part(true))
}

/// The column's numbers.
pub(crate) fn values(data: &DataFrame, name: &str) -> Vec<f64> {
    let column = data.column(name).expect("a column");
    column.f64().expect("f64").iter().flatten().collect()
}

/// With these columns brought to mean 0 and variance 1.
pub(crate) fn standardised(mut data: DataFrame, names: &[&str]) -> DataFrame {
    for name in names {
        let column = data.column(name).expect("a column").f64().expect("f64");
        let (mean, deviation) = (column.mean().expect("rows"), column.std(0).expect("rows"));
        let scaled: Vec<f64> = column
            .iter()
            .flatten()
            .map(|value| (value - mean) / deviation)
            .collect();
        data.with_column(Series::new((*name).into(), scaled).into())
            .expect("a column");
    }
    data
}

/// The column's text.
pub(crate) fn texts(data: &DataFrame, name: &str) -> Vec<String> {
    let column = data.column(name).expect("a column").str().expect("text");
    column.iter().flatten().map(str::to_owned).collect()
}

/// With all columns of numbers brought to mean 0 and variance 1.
pub(crate) fn at_one_scale(mut data: DataFrame) -> DataFrame {
    let names: Vec<String> = data
        .columns()
        .iter()
        .filter(|column| column.dtype().is_primitive_numeric())
        .map(|column| column.name().to_string())
        .collect();
    for name in &names {
        let column = data.column(name).expect("a column");
        let numbers = column.cast(&DataType::Float64).expect("numbers");
        data.with_column(numbers).expect("a column");
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    standardised(data, &names)
}

/// With a class for each row, `grade`: how many of these borders its number in this column reaches.
fn with_grades(mut data: DataFrame, name: &str, borders: &[f64]) -> DataFrame {
    let grades: Vec<String> = values(&data, name)
        .iter()
        .map(|value| {
            let reached = borders.iter().filter(|border| *border <= value);
            format!("g{}", reached.count())
        })
        .collect();
    data.with_column(Series::new("grade".into(), grades).into())
        .expect("a column");
    data
}

/// The tumours by all that says nothing of their size, and of which of three sizes they are.
pub(crate) fn graded_shapes() -> DataFrame {
    let data = with_grades(tumours(), "mean_radius", &[12.0, 15.0]);
    let sizes = ["radius", "perimeter", "area", "diagnosis"];
    let told: Vec<String> = data
        .columns()
        .iter()
        .map(|column| column.name().to_string())
        .filter(|name| sizes.iter().any(|size| name.contains(*size)))
        .collect();
    data.drop_many(told)
}

/// The mixes of concrete, and of which of four grades of strength they are, 20 MPa each.
pub(crate) fn graded_mixes() -> DataFrame {
    let data = shipped("manufacturing/concrete.csv");
    with_grades(data, "compressive_strength", &[20.0, 40.0, 60.0])
        .drop("compressive_strength")
        .expect("a frame")
}

/// The credits of the German bank, numbers only: which answer of each question, as truth values.
pub(crate) fn credits() -> DataFrame {
    let data = shipped("finance/german-credit.csv");
    let questions: Vec<String> = data
        .columns()
        .iter()
        .filter(|column| *column.dtype() == DataType::String)
        .map(|column| column.name().to_string())
        .filter(|name| name != "creditability")
        .collect();
    let mut wide = data.clone();
    for name in &questions {
        let answers = data.column(name).expect("a column").str().expect("text");
        let mut kinds: Vec<&str> = answers.iter().flatten().collect();
        kinds.sort_unstable();
        kinds.dedup();
        for kind in kinds {
            let is: Vec<f64> = answers
                .iter()
                .map(|answer| f64::from(u8::from(answer == Some(kind))))
                .collect();
            wide = with_column(wide, &format!("{name}={kind}"), is);
        }
    }
    wide.drop_many(questions)
}

/// The tumours whose place is a multiple of three, or the others; with three classes by radius in `grade`, and `count`, which is 1, 2, 3, 1
/// and so on.
pub(crate) fn graded(is_test: bool) -> DataFrame {
    let all = tumours();
    let radius = all.column("mean_radius").expect("a column");
    let grades: Vec<i32> = radius
        .f64()
        .expect("f64")
        .iter()
        .flatten()
        .map(|radius| {
            if radius < 12.0 {
                0
            } else if radius < 15.0 {
                1
            } else {
                2
            }
        })
        .collect();
    let counts = (0..all.height())
        .map(|row| 1.0 + (row % 3) as f64)
        .collect();
    let mut all = with_column(all, "count", counts);
    all.with_column(Series::new("grade".into(), grades).into())
        .expect("a column");
    let rows: Vec<u32> = (0..all.height() as u32)
        .filter(|row| (row % 3 == 0) == is_test)
        .collect();
    all.take(&IdxCa::from_vec("".into(), rows)).expect("rows")
}

/// With five features rounded as in tests/peers/tree_models.py, so that bins are values.
pub(crate) fn rounded(data: DataFrame) -> DataFrame {
    let features = [
        ("mean_radius", 2.0),
        ("mean_texture", 2.0),
        ("mean_smoothness", 500.0),
        ("mean_concave_points", 400.0),
        ("worst_texture", 1.5),
    ];
    features.iter().fold(data, |data, (name, scale)| {
        let values = values(&data, name);
        let values = values.iter().map(|value| (value * scale).round_ties_even());
        with_column(data, name, values.collect())
    })
}

/// With one more column.
pub(crate) fn with_column(mut data: DataFrame, name: &str, values: Vec<f64>) -> DataFrame {
    data.with_column(Series::new(name.into(), values).into())
        .expect("a column");
    data
}

/// Features of the tumours that peers in tests/peers learn from.
pub(crate) const CELL_FEATURES: [&str; 5] = [
    "mean_texture",
    "mean_smoothness",
    "mean_symmetry",
    "worst_texture",
    "mean_compactness",
];

/// The tumours with these features brought to one scale; `count`, which is 1, 2, 3, 1 and so on, is the weight or left alone.
pub(crate) fn cells(weighted: bool) -> Frame {
    let data = standardised(tumours(), &CELL_FEATURES);
    let weights = (0..data.height())
        .map(|row| 1.0 + (row % 3) as f64)
        .collect();
    let role = if weighted { Role::Weight } else { Role::Ignore };
    with_roles(with_column(data, "count", weights), &[("count", role)])
}

/// Asserts that one thread learns the same bytes as four.
pub(crate) fn same_on_any_threads(model: &impl Model, train: &Frame) {
    let bytes = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .expect("a pool");
        pool.install(|| {
            let state = model.fit(train, None, &mut FitContext::quiet(1));
            state.expect("a state").to_bytes().expect("bytes")
        })
    };
    assert!(bytes(1) == bytes(4), "four threads learned other bytes");
}

/// Fits, writes the state and predicts these rows with what is read back; fits again and holds the bytes side by side.
pub(crate) fn predict(
    model: &impl Model,
    train: &Frame,
    rows: &DataFrame,
) -> Result<Vec<PolarsColumn>> {
    let bytes = model
        .fit(train, None, &mut FitContext::quiet(1))?
        .to_bytes()?;
    let again = model
        .fit(train, None, &mut FitContext::quiet(1))?
        .to_bytes()?;
    assert!(bytes == again, "the same seed gave other bytes");
    let predictor = model.load(&State::from_bytes(&bytes)?)?;
    let all = predictor.predict(rows)?;
    // No row depends on the others.
    for row in [0, rows.height() / 2] {
        if rows.height() == 0 {
            break;
        }
        let alone = predictor.predict(&rows.slice(row as i64, 1))?;
        for (alone, all) in alone.iter().zip(&all) {
            assert_eq!(
                alone.get(0).expect("a row"),
                all.get(row).expect("a row"),
                "{} of row {row}",
                all.name()
            );
        }
    }
    Ok(all)
}

/// What a model that learned from the first of these says of the others, for tests that ask nothing of bytes: [`predict`] learns twice.
pub(crate) fn foretold(model: &impl Model, train: &Frame, rows: &DataFrame) -> Vec<PolarsColumn> {
    let state = model
        .fit(train, None, &mut FitContext::quiet(1))
        .expect("a state");
    model
        .load(&state)
        .and_then(|predictor| predictor.predict(rows))
        .expect("outputs")
}

/// The share of rows whose label is told right, and the mean logarithmic loss.
pub(crate) fn right_and_loss(outputs: &[PolarsColumn], truth: &[String]) -> (f64, f64) {
    let told = named(outputs, "prediction").str().expect("text");
    assert_eq!(told.len(), truth.len());
    let right = told
        .iter()
        .zip(truth)
        .filter(|(told, truth)| *told == Some(truth.as_str()))
        .count();
    let losses = truth.iter().enumerate().map(|(row, label)| {
        let chances = named(outputs, &format!("probability_{label}"));
        let chance = chances.f64().expect("f64").get(row).expect("a number");
        -chance.max(f64::EPSILON).ln()
    });
    let rows = truth.len() as f64;
    (right as f64 / rows, losses.sum::<f64>() / rows)
}

/// Asserts that a number in the seventh row which cannot be squared is refused in training; where `in_rows`, in rows to predict, too.
pub(crate) fn refuses_what_cannot_be_squared(
    model: &impl Model,
    train: &Frame,
    feature: &str,
    in_rows: bool,
) {
    let mut numbers = values(&train.data, feature);
    numbers[6] = 1e300;
    let wild = Frame {
        data: with_column(train.data.clone(), feature, numbers),
        schema: train.schema.clone(),
    };
    let message = refusal(model, &wild);
    let wanted = format!("`{feature}` holds 1e300 in training row 7, ");
    assert!(message.starts_with(&wanted), "{message}");
    if in_rows {
        let message = match predict(model, train, &wild.data) {
            Ok(_) => panic!("it predicts that"),
            Err(error) => error.to_string(),
        };
        let wanted = format!(
            "the features of row 7 are too far outside of those of training to be weighed: `{feature}` holds 1e300"
        );
        assert_eq!(message, wanted);
    }
}

/// Why these rows are refused.
pub(crate) fn refusal(model: &impl Model, train: &Frame) -> String {
    match predict(model, train, &train.data) {
        Ok(_) => panic!("it learned from that"),
        Err(Error::Interrupted) => "interrupted".into(),
        Err(error) => error.to_string(),
    }
}

pub(crate) fn named<'a>(columns: &'a [PolarsColumn], name: &str) -> &'a PolarsColumn {
    columns
        .iter()
        .find(|column| column.name() == name)
        .unwrap_or_else(|| panic!("no output `{name}`"))
}

pub(crate) fn numbers_of(columns: &[PolarsColumn], name: &str) -> Vec<f64> {
    let column = named(columns, name).f64().expect("f64");
    column
        .iter()
        .map(|value| value.expect("a number"))
        .collect()
}

/// Asserts that numbers agree to this share of the greater one, or of 1.
pub(crate) fn close(left: &[f64], right: &[f64], tolerance: f64) {
    assert_eq!(left.len(), right.len());
    for (left, right) in left.iter().zip(right) {
        let scale = left.abs().max(right.abs()).max(1.0);
        assert!(
            (left - right).abs() <= tolerance * scale,
            "{left} is not {right}"
        );
    }
}

/// The schema after the stage, and the problems that its check finds.
pub(crate) fn check(stage: &impl Stage, input: &Schema) -> (Schema, Vec<Problem>) {
    let capabilities = Capabilities::default();
    let mut cx = CheckContext {
        stage: "model",
        seed: 1,
        directory: Path::new("."),
        capabilities: &capabilities,
        problems: Vec::new(),
    };
    let output = stage.check(std::slice::from_ref(input), &mut cx);
    (output, cx.problems)
}

/// The codes of the problems that its check finds.
pub(crate) fn codes(stage: &impl Stage, input: &Schema) -> Vec<&'static str> {
    let (_, problems) = check(stage, input);
    problems.iter().map(|problem| problem.code).collect()
}

/// The root of the mean squared error.
pub(crate) fn root_mean_square(found: &[f64], truth: &[f64]) -> f64 {
    assert_eq!(found.len(), truth.len());
    let squares = found
        .iter()
        .zip(truth)
        .map(|(found, truth)| (found - truth).powi(2));
    (squares.sum::<f64>() / truth.len() as f64).sqrt()
}

/// The area under the ROC curve, pair by pair.
pub(crate) fn roc_auc(scores: &[f64], is_positive: &[bool]) -> f64 {
    let of = |positive: bool| {
        let rows = scores.iter().zip(is_positive);
        rows.filter(move |(_, is)| **is == positive)
            .map(|(score, _)| *score)
    };
    let right: f64 = of(true)
        .flat_map(|high| of(false).map(move |low| (high, low)))
        .map(|(high, low)| match high.total_cmp(&low) {
            std::cmp::Ordering::Greater => 1.0,
            std::cmp::Ordering::Equal => 0.5,
            std::cmp::Ordering::Less => 0.0,
        })
        .sum();
    right / (of(true).count() * of(false).count()) as f64
}

/// What a small fit of a kind says.
fn small(kind: &str) -> String {
    let of_cells = |more: &str| format!("{{features: {CELL_FEATURES:?}, {more}}}");
    let of_numbers = |more: &str| {
        format!(
            "{{target: mean_radius, features: [mean_texture, mean_smoothness, mean_symmetry], {more}}}"
        )
    };
    match kind {
        "model.anomaly.isolation_forest" | "model.linfa.random_forest" => of_cells("trees: 10"),
        "model.anomaly.robust_z"
        | "model.linfa.logistic_regression"
        | "model.linfa.naive_bayes"
        | "model.linfa.svm" => of_cells(""),
        "model.baseline" => "{}".to_owned(),
        "model.boost.trees" => of_cells("rounds: 5, row_share: 0.5, feature_share: 0.5"),
        "model.calibrate" => {
            let inner = of_cells("");
            format!("{{model: {{model.linfa.naive_bayes: {inner}}}}}")
        }
        "model.forecast.ets" => "{horizon: 5}".to_owned(),
        "model.forecast.lagged" => {
            "{horizon: 5, lags: [1, 7], regressor: {model.linfa.random_forest: {trees: 5}}}"
                .to_owned()
        }
        "model.forecast.mstl" => "{seasons: [7], horizon: 5}".to_owned(),
        "model.forecast.seasonal_naive" => "{season: 7, horizon: 5}".to_owned(),
        "model.linfa.adaboost" => of_cells("rounds: 5"),
        "model.linfa.dbscan" => of_cells("eps: 1"),
        "model.linfa.decision_tree" => of_cells("max_depth: 4"),
        "model.linfa.elastic_net"
        | "model.linfa.glm"
        | "model.linfa.linear_regression"
        | "model.linfa.pls" => of_numbers(""),
        "model.linfa.ftrl" => of_cells("epochs: 2"),
        "model.linfa.gaussian_mixture" | "model.linfa.k_means" => of_cells("clusters: 3"),
        "model.linfa.optics" => of_cells("min_points: 5"),
        _ => panic!("nothing says how `{kind}` learns from a few rows"),
    }
}

/// Whoever adds a kind says in [`small`] how it learns from a few rows.
#[test]
fn the_same_seed_gives_the_same_bytes_whatever_the_kind() {
    let cells = standardised(tumours(), &CELL_FEATURES).head(Some(200));
    let cells = with_roles(cells, &[("diagnosis", Role::Target)]);
    let days: Vec<i32> = (0..140).collect();
    let sales: Vec<f64> = days
        .iter()
        .map(|day| 100.0 + f64::from(day % 7) * 5.0 + f64::from(day * 37 % 11))
        .collect();
    let weeks = crate::series::testing::table(&days, &["a"; 140], &sales);
    let registry = Registry::collect().expect("no kind twice");
    for kind in registry.iter() {
        let yaml = small(kind.name);
        let params: serde_yaml::Value = serde_yaml::from_str(&yaml).expect("YAML");
        let stage = (kind.parse)(&params).unwrap_or_else(|error| panic!("{}: {error}", kind.name));
        let Shape::Model(model) = stage.shape() else {
            panic!("`{}` is no model", kind.name);
        };
        let train = match kind.name.starts_with("model.forecast.") {
            true => &weeks,
            false => &cells,
        };
        let bytes = || {
            let state = model.fit(train, None, &mut FitContext::quiet(3));
            let state = state.unwrap_or_else(|error| panic!("{}: {error}", kind.name));
            state.to_bytes().expect("bytes")
        };
        assert!(
            bytes() == bytes(),
            "`{}`: the same seed gave other bytes",
            kind.name
        );
    }
}
