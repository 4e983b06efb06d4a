use std::fs;

use polars::{
    df,
    prelude::{DataFrame, IntoLazy},
};
use taktline_core::{Partition, Role};

use super::*;
use crate::{
    columns::testing::{check, codes, passes, refuses, schema, stage, types},
    testing::run,
};

const CITIES: [&str; 10] = ["a", "a", "a", "b", "b", "b", "b", "c", "c", "d"];
const BOUGHT: [i64; 10] = [1, 0, 1, 0, 0, 1, 0, 1, 1, 0];

/// The cities as training rows and six test rows, the last of an unknown city and of none.
fn table() -> String {
    let mut text = "city,bought,part\n".to_owned();
    for (city, bought) in CITIES.iter().zip(BOUGHT) {
        text.push_str(&format!("{city},{bought},train\n"));
    }
    for city in ["a", "b", "c", "d", "new", ""] {
        text.push_str(&format!("{city},1,test\n"));
    }
    text
}

fn encoded(stages: &str) -> Result<DataFrame, String> {
    let directory = tempfile::tempdir().expect("a folder");
    fs::write(directory.path().join("rows.csv"), table()).expect("a file");
    let yaml = format!(
        "pipeline: test\ncolumns:\n  bought: {{role: target}}\nstages:\n  - source.csv: {{path: rows.csv}}\n  - split.column: {{column: part}}\n{stages}"
    );
    run(&yaml, directory.path())
}

fn numbers(rows: &DataFrame, name: &str) -> Vec<Option<f64>> {
    let column = rows.column(name).expect(name);
    column.f64().expect("numbers").iter().collect()
}

/// What a training row must become: the mean of its city in the other folds, with two rows more of the mean of these.
fn out_of_fold(row: usize, fold_of: &[u32]) -> f64 {
    let others: Vec<usize> = (0..10)
        .filter(|other| fold_of[*other] != fold_of[row])
        .collect();
    let mean = others.iter().map(|row| BOUGHT[*row] as f64).sum::<f64>() / others.len() as f64;
    let city: Vec<usize> = others
        .into_iter()
        .filter(|other| CITIES[*other] == CITIES[row])
        .collect();
    let sum = city.iter().map(|row| BOUGHT[*row] as f64).sum::<f64>();
    (sum + 2.0 * mean) / (city.len() as f64 + 2.0)
}

#[test]
fn training_rows_get_the_other_folds_and_all_others_everything() {
    let rows =
        encoded("  - features.target_encode: {columns: city, smooth: 2, folds: 3, seed: 5}\n")
            .expect("rows");
    let found = numbers(&rows, "city");
    // scikit-learn 1.9.1, TargetEncoder(smooth=2.0) fitted on the ten rows; an unknown city gets the mean.
    let expected = [0.6, 1.0 / 3.0, 0.75, 1.0 / 3.0, 0.5, 0.5];
    for (found, expected) in found[10..].iter().zip(expected) {
        assert!(
            (found.expect("a number") - expected).abs() < 1e-12,
            "{found:?} {expected}"
        );
    }
    let folds = Folds {
        count: 3,
        rows: 10,
        seed: 5,
    };
    let fold_of = folds.of_rows();
    for (row, found) in found[..10].iter().enumerate() {
        let expected = out_of_fold(row, &fold_of);
        assert!(
            (found.expect("a number") - expected).abs() < 1e-12,
            "row {row}: {found:?} {expected}"
        );
    }
}

#[test]
fn stages_below_do_not_change_what_a_row_gets() {
    let all =
        encoded("  - features.target_encode: {columns: city, suffix: _mean}\n").expect("rows");
    let fewer = encoded(
        "  - features.target_encode: {columns: city, suffix: _mean}\n  - clean.filter: {where: city <> 'a'}\n  - clean.select: {columns: [city_mean]}\n",
    )
    .expect("rows");
    let cities = all.column("city").expect("the cities").str().expect("text");
    let expected: Vec<Option<f64>> = numbers(&all, "city_mean")
        .into_iter()
        .zip(cities.iter())
        .filter(|(_, city)| city.is_some_and(|city| city != "a"))
        .map(|(number, _)| number)
        .collect();
    assert_eq!(numbers(&fewer, "city_mean"), expected);
}

#[test]
fn a_category_of_one_row_does_not_give_its_answer_away() {
    let train = df!("id" => (0..40).map(|id| format!("c{id}")).collect::<Vec<_>>(), "bad" => (0..40).map(|id| id % 3 == 0).collect::<Vec<_>>(), PARTITION => ["train"; 40])
        .expect("a frame");
    let (stage, state, input) = learned("{columns: id, target: bad}", &train);
    let rows = apply(&stage, &state, &input, &train).expect("rows");
    let means = numbers(&rows, "id");
    for (row, mean) in means.iter().enumerate() {
        // The mean of the 32 other rows: far from 0 and from 1.
        let mean = mean.expect("a number");
        assert!((0.2..0.5).contains(&mean), "row {row}: {mean}");
    }
    // Without parts, as in scoring, every row gets the statistics of all rows.
    let scored = train.drop(PARTITION).expect("a frame");
    let input = Schema::from_polars(scored.schema());
    let rows = apply(&stage, &state, &input, &scored).expect("rows");
    let expected: Vec<_> = (0..40)
        .map(|id| Some(f64::from(u8::from(id % 3 == 0))))
        .collect();
    // One row has no spread: it counts in full, as in scikit-learn.
    assert_eq!(numbers(&rows, "id"), expected);
}

fn learned(params: &str, train: &DataFrame) -> (TargetEncode, State, Schema) {
    let stage: TargetEncode = stage(params);
    let input = Schema::from_polars(train.schema());
    let frame = Frame {
        data: train.clone(),
        schema: input.clone(),
    };
    let state = stage
        .fit(&frame, &mut FitContext::quiet(7))
        .expect("a state");
    let state = State::from_bytes(&state.to_bytes().expect("bytes")).expect("the same state");
    (stage, state, input)
}

fn apply(
    stage: &TargetEncode,
    state: &State,
    input: &Schema,
    rows: &DataFrame,
) -> Result<DataFrame> {
    let schemas = std::slice::from_ref(input);
    let operations = stage.lower(state, schemas)?;
    Ok(taktline_engine::local::apply(&operations, &[rows.clone().lazy()], schemas)?.collect()?)
}

#[test]
fn other_training_rows_than_those_learned_from_are_an_error() {
    let train = df!("city" => ["a", "b", "a"], "bad" => [1, 0, 0], PARTITION => ["train"; 3])
        .expect("a frame");
    let (stage, state, input) = learned("{columns: city, target: bad}", &train);
    let error = apply(&stage, &state, &input, &train.head(Some(2)))
        .expect_err("a row less")
        .to_string();
    assert!(
        error.contains("there are 2 training rows, but the folds were made of 3"),
        "{error}"
    );
    let tested = df!("city" => ["a", "b", "a", "c"], "bad" => [1, 0, 0, 1], PARTITION => ["train", "test", "train", "train"]).expect("a frame");
    let rows = apply(&stage, &state, &input, &tested).expect("rows");
    assert_eq!(rows.height(), 4);
}

#[test]
fn amounts_are_encoded_as_they_are() {
    let train =
        df!("city" => [Some("a"), Some("a"), None, None], "price" => [1.0, 3.0, 10.0, 20.0])
            .expect("a frame");
    let (stage, state, input) = learned(
        "{columns: city, target: price, smooth: 0, unknown: null}",
        &train,
    );
    let rows = df!("city" => [Some("a"), None, Some("z")], "price" => [0.0; 3]).expect("a frame");
    let rows = apply(&stage, &state, &input, &rows).expect("rows");
    assert_eq!(numbers(&rows, "city"), [Some(2.0), Some(15.0), None]);
    let (stage, state, input) = learned("{columns: city, target: price, unknown: error}", &train);
    let unknown = df!("city" => ["z"], "price" => [0.0]).expect("a frame");
    let error = apply(&stage, &state, &input, &unknown)
        .expect_err("unknown")
        .to_string();
    assert!(error.contains("`city` holds `z` in row 1"), "{error}");
}

#[test]
fn each_of_several_classes_has_a_column() {
    let train = df!("n" => [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], "city" => CITIES, "kind" => ["x", "y", "z", "x", "y", "z", "x", "x", "y", "z"]).expect("a frame");
    let (stage, state, input) = learned("{columns: city, target: kind, task: multiclass}", &train);
    let rows = df!("n" => [1, 2, 3, 4], "city" => ["a", "b", "c", "d"], "kind" => ["x"; 4])
        .expect("a frame");
    let rows = apply(&stage, &state, &input, &rows).expect("rows");
    let names: Vec<&str> = rows
        .columns()
        .iter()
        .map(|column| column.name().as_str())
        .collect();
    assert_eq!(names, ["n", "city=x", "city=y", "city=z", "kind"]);
    // scikit-learn 1.9.1, TargetEncoder(target_type="multiclass").
    for (name, expected) in [
        (
            "city=x",
            [
                0.3490566037735849,
                0.4793388429752066,
                0.4657534246575342,
                0.0,
            ],
        ),
        (
            "city=y",
            [
                0.32464146023468055,
                0.2591240875912409,
                0.4253731343283582,
                0.0,
            ],
        ),
        (
            "city=z",
            [0.32464146023468055, 0.2591240875912409, 0.0, 1.0],
        ),
    ] {
        for (found, expected) in numbers(&rows, name).into_iter().zip(expected) {
            assert!(
                (found.expect("a number") - expected).abs() < 1e-12,
                "{name} {found:?}"
            );
        }
    }
}

fn divided(mut input: Schema) -> Schema {
    input.facts.partitions = vec![Partition::Train, Partition::Test];
    input
}

#[test]
fn the_made_column_is_no_leak() {
    let mut input = divided(schema([
        ("card", DataType::String),
        ("bad", DataType::Boolean),
    ]));
    input.columns[0] = input.columns[0].clone().with_role(Role::Pii);
    input.columns[1] = input.columns[1].clone().with_role(Role::Target);
    let output = passes(
        &stage::<TargetEncode>("{columns: card, suffix: _risk}"),
        &input,
    );
    let made = output.column("card_risk").expect("the made column");
    assert!(made.from_target.is_empty());
    assert!(made.from_pii.contains("card"));
    assert_eq!(
        (made.role, &made.dtype),
        (Role::Feature, &DataType::Float64)
    );
}

#[test]
fn classes_are_known_before_training_or_stand_open() {
    let mut input = divided(schema([
        ("city", DataType::String),
        ("kind", DataType::String),
    ]));
    let several = stage::<TargetEncode>("{columns: city, target: kind, task: multiclass}");
    assert_eq!(
        passes(&several, &input).names().collect::<Vec<_>>(),
        ["city=*", "kind"]
    );
    let known = ["x", "y", "z"].map(str::to_owned).to_vec();
    input.columns[1].categories = Some(known);
    let told = stage::<TargetEncode>("{columns: city, target: kind, suffix: _m}");
    assert_eq!(
        passes(&told, &input).names().collect::<Vec<_>>(),
        ["city", "kind", "city_m=x", "city_m=y", "city_m=z"]
    );
}

#[test]
fn refuses_what_cannot_be_encoded() {
    let input = schema([
        ("city", DataType::String),
        ("price", DataType::Float64),
        ("on", DataType::Date),
    ]);
    assert_eq!(
        refuses(
            &stage::<TargetEncode>("{columns: city, target: price}"),
            &input
        ),
        [(
            "no-split",
            "stage `this` needs to know which rows are for training, and nothing above splits them"
                .to_owned()
        )]
    );
    let input = divided(input);
    assert_eq!(
        codes(
            &stage::<TargetEncode>("{columns: [price, city], target: city, positive: a}"),
            &input
        ),
        ["type-mismatch", "target-leak"]
    );
    assert_eq!(
        codes(
            &stage::<TargetEncode>("{columns: city, target: on}"),
            &input
        ),
        ["type-mismatch"]
    );
    assert_eq!(
        codes(
            &stage::<TargetEncode>("{columns: city, target: price, positive: a, smooth: -1}"),
            &input
        ),
        ["unused-param", "out-of-range"]
    );
    let (output, problems) = check(&stage::<TargetEncode>("{columns: city}"), &input);
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(types(&output)[0], ("city", DataType::Float64));
    let one = df!("city" => ["a"], "price" => [1.0]).expect("a frame");
    let frame = Frame {
        schema: Schema::from_polars(one.schema()),
        data: one,
    };
    let error = stage::<TargetEncode>("{columns: city, target: price}")
        .fit(&frame, &mut FitContext::quiet(7))
        .expect_err("one row")
        .to_string();
    assert!(error.contains("there is 1 row in all"), "{error}");
}

#[test]
fn copies_of_training_rows_are_refused() {
    let mut input = schema([
        ("city", DataType::String),
        ("price", DataType::Float64),
        (PARTITION, DataType::String),
    ]);
    input.facts.partitions = vec![Partition::Train, Partition::Test];
    let encode = stage::<TargetEncode>("{columns: city, target: price}");
    passes(&encode, &input);
    input.facts.multiplied_by = Some("oversample".to_owned());
    assert_eq!(codes(&encode, &input), ["target-leak"]);
}
