use polars::{
    df,
    prelude::{CsvReader, DataType, SerReader},
};

use super::*;
use crate::{
    columns::testing::{codes, frame, passes, schema, stage},
    testing::fitted,
};

fn values(rows: &DataFrame, name: &str) -> Vec<f64> {
    let column = rows.column(name).expect(name);
    column.f64().expect("numbers").iter().flatten().collect()
}

/// A sine, a saw and a square, in three mixtures.
fn mixtures() -> (DataFrame, [Vec<f64>; 3]) {
    let times = (0..2000).map(|step| f64::from(step) / 250.0);
    let sine: Vec<f64> = times.clone().map(|time| (2.0 * time).sin()).collect();
    let saw: Vec<f64> = times
        .clone()
        .map(|time| (3.1 * time).fract() - 0.5)
        .collect();
    let square: Vec<f64> = times.map(|time| (3.0 * time).sin().signum()).collect();
    let mixed = |of: [f64; 3]| -> Vec<f64> {
        (0..2000)
            .map(|row| of[0] * sine[row] + of[1] * saw[row] + of[2] * square[row] + 7.0)
            .collect()
    };
    let data = df!(
        "left" => mixed([1.0, 1.0, 1.0]),
        "right" => mixed([0.5, 2.0, 1.0]),
        "middle" => mixed([1.5, 1.0, 2.0]),
    );
    (data.expect("a frame"), [sine, saw, square])
}

fn correlation(left: &[f64], right: &[f64]) -> f64 {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (left_mean, right_mean) = (mean(left), mean(right));
    let product = |one: &[f64], one_mean: f64, other: &[f64], other_mean: f64| -> f64 {
        let pairs = one.iter().zip(other);
        pairs
            .map(|(one, other)| (one - one_mean) * (other - other_mean))
            .sum()
    };
    product(left, left_mean, right, right_mean)
        / (product(left, left_mean, left, left_mean)
            * product(right, right_mean, right, right_mean))
        .sqrt()
}

#[test]
fn signals_come_out_of_their_mixtures() {
    let (data, signals) = mixtures();
    for contrast in ["logcosh", "exp", "cube"] {
        let rows = fitted(
            &stage::<Ica>(&format!("{{contrast: {contrast}}}")),
            &data,
            &data,
        )
        .expect("rows");
        assert_eq!(rows.width(), 3);
        let found: Vec<Vec<f64>> = ["ica_1", "ica_2", "ica_3"]
            .iter()
            .map(|name| values(&rows, name))
            .collect();
        for signal in &signals {
            let nearest = found
                .iter()
                .map(|component| correlation(component, signal).abs())
                .fold(0.0, f64::max);
            assert!(nearest > 0.99, "{contrast}: {nearest}");
        }
        for component in &found {
            let square: f64 = component.iter().map(|value| value * value).sum();
            assert!(
                (square / 2000.0 - 1.0).abs() < 1e-9 && component.iter().sum::<f64>().abs() < 1e-6
            );
        }
    }
}

/// tests/peers/ica.py: rows 0, 19, 100, 300 and 568 of the tumours.
#[test]
fn components_are_those_of_scikit_learn() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../datasets/medical/wdbc.csv"
    );
    let file = std::fs::File::open(path).expect("the data set");
    let cells = CsvReader::new(file).finish().expect("a frame");
    let columns = "columns: [mean_radius, mean_texture, area_error, concavity_error, fractal_dimension_error], \
                   tolerance: 1e-12, max_iterations: 10000";
    let cases: [(&str, &[[f64; 5]]); 4] = [
        (
            "contrast: logcosh",
            &[
                [
                    -2.754997379,
                    0.2652655154,
                    -0.1973619578,
                    -1.804297945,
                    -0.5397476211,
                ],
                [
                    -0.3052488032,
                    0.08623871299,
                    0.1332763534,
                    -0.3284690076,
                    0.6929701682,
                ],
                [
                    0.8196482703,
                    -0.595269309,
                    -0.6765217919,
                    0.01288525587,
                    0.1330268209,
                ],
                [
                    2.530167275,
                    1.140286068,
                    -1.492768713,
                    0.6633838015,
                    -2.126939886,
                ],
                [
                    0.05876866109,
                    -0.2050061741,
                    -0.208234924,
                    0.956718635,
                    -2.09497047,
                ],
            ],
        ),
        (
            "contrast: exp",
            &[
                [
                    -2.746244573,
                    0.2936324796,
                    -0.1644076963,
                    -1.912807646,
                    -0.2666326647,
                ],
                [
                    0.28122101,
                    -0.1875114967,
                    -0.1588354003,
                    0.3169148985,
                    -0.6662343769,
                ],
                [
                    0.7583777439,
                    -0.584099206,
                    -0.6407737127,
                    -0.06220496515,
                    0.2917406986,
                ],
                [
                    2.540245734,
                    1.125762964,
                    -1.509000105,
                    0.6898776034,
                    -2.195297025,
                ],
                [
                    -0.3335883217,
                    -0.2110298101,
                    -0.2149079679,
                    0.6927257035,
                    -2.069445082,
                ],
            ],
        ),
        (
            "contrast: cube",
            &[
                [
                    -2.743287363,
                    0.2360141053,
                    -0.2135330136,
                    -1.746200286,
                    -0.6520550322,
                ],
                [
                    -0.414276781,
                    -0.02261613332,
                    0.1660318729,
                    -0.3556658705,
                    0.7663799466,
                ],
                [
                    0.9763591925,
                    -0.5634571609,
                    -0.7342095109,
                    0.09284004511,
                    0.01306798186,
                ],
                [
                    -2.435558194,
                    -1.177295476,
                    1.440163442,
                    -0.5412581079,
                    1.912726525,
                ],
                [
                    0.4215911229,
                    -0.1212664495,
                    -0.3159414517,
                    1.114290961,
                    -2.242944117,
                ],
            ],
        ),
        (
            "components: 2",
            &[
                [
                    -2.933984506,
                    0.1848958757,
                    0.1606368276,
                    -2.115411824,
                    0.6620917194,
                ],
                [
                    -2.3901692,
                    -1.096166409,
                    1.288268978,
                    -0.2685948718,
                    1.059699679,
                ],
            ],
        ),
    ];
    for (params, expected) in cases {
        let ica = stage::<Ica>(&format!("{{{columns}, {params}}}"));
        let rows = fitted(&ica, &cells, &cells).expect("rows");
        for (place, expected) in expected.iter().enumerate() {
            let all = values(&rows, &format!("ica_{}", place + 1));
            let found = [0, 19, 100, 300, 568].map(|row| all[row]);
            for (found, expected) in found.iter().zip(expected) {
                assert!(
                    (found - expected).abs() < 1e-4,
                    "{params}: {found} {expected}"
                );
            }
        }
    }
}

#[test]
fn threads_and_batches_do_not_change_a_bit() {
    let (data, _) = mixtures();
    let train = frame(data);
    let ica = stage::<Ica>("{seed: 3}");
    let bytes = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .expect("a pool");
        pool.install(|| {
            let state = ica.fit(&train, &mut FitContext::quiet(1));
            state.expect("a state").to_bytes().expect("bytes")
        })
    };
    assert!(bytes(1) == bytes(4));
}

#[test]
fn what_holds_no_signals_is_refused() {
    let error = |data: &DataFrame, params: &str| {
        fitted(&stage::<Ica>(params), data, data)
            .expect_err("no signals")
            .to_string()
    };
    let doubled = df!("a" => [1.0, 2.0, 4.0, 9.0], "b" => [2.0, 4.0, 8.0, 18.0]).expect("a frame");
    let message = error(&doubled, "{}");
    assert!(message.contains("say `components: 1`"), "{message}");
    assert!(fitted(&stage::<Ica>("{components: 1}"), &doubled, &doubled).is_ok());
    assert!(error(&doubled.head(Some(1)), "{}").contains("nothing that varies in 1 training row"));
    let same = df!("a" => [2.0, 2.0], "b" => [3.0, 3.0]).expect("a frame");
    assert!(error(&same, "{}").contains("no column varies"));
    let hole = df!("a" => [Some(1.0), None], "b" => [3.0, 1.0]).expect("a frame");
    assert!(error(&hole, "{}").contains("`a` is null in row 2: independent components need"));
}

#[test]
fn refuses_what_it_cannot_make() {
    let input = schema([
        ("a", DataType::Float64),
        ("b", DataType::Float64),
        ("ica_2", DataType::Int64),
        ("kind", DataType::String),
    ]);
    assert_eq!(
        codes(&stage::<Ica>("{components: 3, name: p}"), &input),
        ["too-many-components"]
    );
    assert_eq!(codes(&stage::<Ica>("{}"), &input), ["name-taken"]);
    assert_eq!(
        codes(&stage::<Ica>("{columns: [a, kind], components: 1}"), &input),
        ["type-mismatch"]
    );
    let output = passes(&stage::<Ica>("{components: 1, keep: true}"), &input);
    let names: Vec<&str> = output.names().collect();
    assert_eq!(names, ["a", "b", "ica_2", "kind", "ica_1"]);
}
