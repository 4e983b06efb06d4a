//! What the tests of models share: data with roles, a fit that goes through the bytes of its state, outputs by name.

use std::path::Path;

use polars::prelude::{
    ChunkAgg, ChunkVar, Column as PolarsColumn, CsvReader, DataFrame, IdxCa, NamedFrom, SerReader,
    Series,
};
use serde::de::DeserializeOwned;
use taktline_core::{
    Capabilities, CheckContext, Error, FitContext, Frame, Model, Problem, Result, Role, Schema,
    Stage, State, serde_yaml,
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
