//! Real rows held out: no worse than networks of the same form in PyTorch, which learned the same rows with the same settings.
//! Figures of ten seeds each: tests/peers/networks_quality.py.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
    path::PathBuf,
};

use flate2::read::GzDecoder;
use serde_yaml::Value;

use super::networks::{answers, arrays, badness, floats, numbers_in, rows_of};
use super::synthesis::{learned, made_up, parted, pixels_of};
use super::*;

fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path)
}

/// What the peer tells of a case.
fn told_of(case: &str) -> Value {
    let file = repository("tests/data/networks/quality.json");
    let text = std::fs::read_to_string(file).expect("the peer's figures");
    // JSON is YAML.
    let cases: BTreeMap<String, Value> = serde_yaml::from_str(&text).expect("figures");
    cases[case].clone()
}

fn figures(of: &Value) -> Vec<f64> {
    let figures = of.as_sequence().expect("a list");
    figures
        .iter()
        .map(|figure| figure.as_f64().expect("a number"))
        .collect()
}

/// The peer's params and its figures.
fn peer(case: &str) -> (String, Vec<f64>) {
    let told = told_of(case);
    let params = told["params"].as_str().expect("params").to_owned();
    (params, figures(&told["figures"]))
}

/// The peer's figures of the same networks before they learn.
fn untrained(case: &str) -> Vec<f64> {
    figures(&told_of(case)["untrained"])
}

/// What the kind says of the judged rows, with each of these seeds.
fn said(
    kind: &str,
    params: &str,
    learned: &Frame,
    judged: &DataFrame,
    seeds: std::ops::RangeInclusive<u64>,
) -> Vec<Vec<PolarsColumn>> {
    seeds
        .map(|seed| {
            let stage = stage(kind, params);
            let state = model(&*stage)
                .fit(learned, None, &mut FitContext::quiet(seed))
                .expect("trained");
            answers(kind, params, &state, judged)
        })
        .collect()
}

fn column<'a>(found: &'a [PolarsColumn], name: &str) -> &'a PolarsColumn {
    found
        .iter()
        .find(|column| column.name() == name)
        .expect(name)
}

fn mean(figures: &[f64]) -> f64 {
    figures.iter().sum::<f64>() / figures.len() as f64
}

/// Ours, on the mean, are no farther on the bad side of the peer's mean than three of its standard deviations.
fn as_good(case: &str, ours: &[f64]) {
    let (center, deviation, peers) = spread(case);
    assert!(
        mean(ours) >= center - 3.0 * deviation,
        "{case}: {ours:?} beside {peers:?}"
    );
}

/// Ours, on the mean, are no farther from the peer's mean on either side than that.
fn as_usual(case: &str, ours: &[f64]) {
    as_good(case, ours);
    as_small(case, ours);
}

/// Of errors.
fn as_small(case: &str, ours: &[f64]) {
    let (center, deviation, peers) = spread(case);
    assert!(
        mean(ours) <= center + 3.0 * deviation,
        "{case}: {ours:?} beside {peers:?}"
    );
}

fn spread(case: &str) -> (f64, f64, Vec<f64>) {
    let (_, peers) = peer(case);
    let center = mean(&peers);
    let squares: f64 = peers.iter().map(|figure| (figure - center).powi(2)).sum();
    let deviation = (squares / (peers.len() - 1) as f64).sqrt();
    (center, deviation, peers)
}

/// The share of pairs of a positive and another row whose scores stand in the right order.
pub(crate) fn roc_auc(scores: &[f64], is_positive: &[bool]) -> f64 {
    let (mut right, mut pairs) = (0.0, 0.0);
    for (score, _) in scores.iter().zip(is_positive).filter(|(_, is)| **is) {
        for (other, _) in scores.iter().zip(is_positive).filter(|(_, is)| !**is) {
            pairs += 1.0;
            right += match score.total_cmp(other) {
                std::cmp::Ordering::Greater => 1.0,
                std::cmp::Ordering::Equal => 0.5,
                std::cmp::Ordering::Less => 0.0,
            };
        }
    }
    right / pairs
}

/// The share of rows whose label is told.
fn share_right(found: &[PolarsColumn], truth: &[i64]) -> f64 {
    let told = column(found, "prediction").i64().expect("labels");
    let rows = told.iter().zip(truth);
    let right = rows.filter(|(told, truth)| *told == Some(**truth)).count();
    right as f64 / truth.len() as f64
}

fn rmse(found: &[f64], truth: &[f64]) -> f64 {
    let squares: f64 = found.iter().zip(truth).map(|(f, t)| (f - t).powi(2)).sum();
    (squares / truth.len() as f64).sqrt()
}

fn text(path: &str) -> String {
    let bytes = std::fs::read(repository(path)).expect("a file");
    let mut text = String::new();
    match path.ends_with(".gz") {
        true => GzDecoder::new(bytes.as_slice()).read_to_string(&mut text),
        false => bytes.as_slice().read_to_string(&mut text),
    }
    .expect("text");
    text
}

/// 569 tumours: the measurements of each, and whether it is malignant.
fn tumours() -> (Vec<String>, Vec<Vec<f64>>, Vec<bool>) {
    let text = text("datasets/medical/wdbc.csv");
    let mut lines = text.lines();
    let names = lines.next().expect("a header").split(',');
    let (mut rows, mut is_malignant) = (Vec::new(), Vec::new());
    for line in lines {
        let (numbers, label) = line.rsplit_once(',').expect("fields");
        rows.push(
            numbers
                .split(',')
                .map(|number| number.parse().expect("a number"))
                .collect(),
        );
        is_malignant.push(label == "M");
    }
    let names = names.take(30).map(str::to_owned).collect();
    (names, rows, is_malignant)
}

/// The tumours as columns, scaled by the rows that are learned from; those, and the others.
fn tumours_parted(
    is_learned: impl Fn(usize, bool) -> bool,
    target: Option<&str>,
) -> (Frame, DataFrame, Vec<bool>) {
    let (names, rows, is_malignant) = tumours();
    let (learned, judged): (Vec<usize>, Vec<usize>) =
        (0..rows.len()).partition(|row| is_learned(*row, is_malignant[*row]));
    let mut columns = [Vec::new(), Vec::new()];
    for (place, name) in names.iter().enumerate() {
        let known: Vec<f64> = learned.iter().map(|row| rows[*row][place]).collect();
        let center = mean(&known);
        let squares: Vec<f64> = known.iter().map(|value| (value - center).powi(2)).collect();
        let scale = mean(&squares).sqrt();
        for (columns, part) in columns.iter_mut().zip([&learned, &judged]) {
            let scaled: Vec<f64> = part
                .iter()
                .map(|row| (rows[*row][place] - center) / scale)
                .collect();
            columns.push(PolarsColumn::new(name.as_str().into(), scaled));
        }
    }
    if let Some(target) = target {
        for (columns, part) in columns.iter_mut().zip([&learned, &judged]) {
            let labels: Vec<&str> = part
                .iter()
                .map(|row| if is_malignant[*row] { "M" } else { "B" })
                .collect();
            columns.push(PolarsColumn::new(target.into(), labels));
        }
    }
    let [train, test] = columns;
    let truth = judged.iter().map(|row| is_malignant[*row]).collect();
    (
        frame(train, target.unwrap_or_default()),
        DataFrame::new(judged.len(), test).expect("a frame"),
        truth,
    )
}

#[test]
fn networks_that_say_rows_again_find_tumours_as_those_of_pytorch() {
    let is_learned = |row: usize, is_malignant: bool| !row.is_multiple_of(3) && !is_malignant;
    let (train, test, truth) = tumours_parted(is_learned, None);
    let rows = rows_of(&test);
    for (case, deviation) in [("autoencoder", None), ("vae", Some(0.5))] {
        let (params, _) = peer(case);
        let kind = format!("model.torch.{case}");
        let (mut areas, mut means) = (Vec::new(), Vec::new());
        for seed in 1..=3 {
            let stage = stage(&kind, &params);
            let state = model(&*stage)
                .fit(&train, None, &mut FitContext::quiet(seed))
                .expect("trained");
            let found = answers(&kind, &params, &state, &test);
            areas.push(roc_auc(&floats(column(&found, "score")), &truth));
            let benign = rows.iter().zip(&truth).filter(|(_, is)| !**is);
            let each: Vec<f64> = benign
                .map(|(row, _)| badness(&state, |number: f64| number.max(0.0), deviation, row))
                .collect();
            means.push(mean(&each));
        }
        // Malignant rows lie so far out that networks which learned nothing find them even better, and are outside the bounds.
        as_usual(case, &areas);
        let (center, deviation, _) = spread(case);
        let area = mean(&untrained(case));
        assert!(area > center + 3.0 * deviation, "{case}: {area} untrained");
        // How well benign rows are said must be learned: without, errors are four times as large, and bounds three times as far.
        let case = format!("{case}_benign");
        as_small(&case, &means);
        let (center, deviation, _) = spread(&case);
        for mean in untrained(&case) {
            let most = center + 3.0 * deviation;
            assert!(mean > 2.0 * most, "{case}: {mean} untrained");
        }
    }
}

#[test]
fn dense_layers_tell_tumours_apart_as_those_of_pytorch() {
    let (train, test, truth) = tumours_parted(|row, _| !row.is_multiple_of(3), Some("diagnosis"));
    let (params, _) = peer("mlp");
    let found = said("model.torch.mlp", &params, &train, &test, 1..=3);
    let ours: Vec<f64> = found
        .iter()
        .map(|found| roc_auc(&floats(column(found, "probability_M")), &truth))
        .collect();
    as_good("mlp", &ours);
}

/// Digits as images and as the mean of each line, and their labels.
fn digits(rows: std::ops::Range<usize>) -> Frame {
    const SIDE: usize = 28;
    let bytes = |name: &str| {
        let file = repository(&format!("datasets/mnist/digits-10k-{name}.gz"));
        let file = std::fs::File::open(file).expect("a file");
        let mut bytes = Vec::new();
        GzDecoder::new(file)
            .read_to_end(&mut bytes)
            .expect("the whole file");
        bytes
    };
    let images = &bytes("images-idx3-ubyte")[16..];
    let labels = &bytes("labels-idx1-ubyte")[8..];
    let pixels: Vec<f32> = images[rows.start * SIDE * SIDE..rows.end * SIDE * SIDE]
        .iter()
        .map(|pixel| f32::from(*pixel) / 255.0)
        .collect();
    let means = pixels
        .chunks_exact(SIDE)
        .map(|line| line.iter().sum::<f32>() / SIDE as f32)
        .collect();
    let labels: Vec<i64> = labels[rows].iter().map(|label| i64::from(*label)).collect();
    frame(
        vec![
            image_column(pixels, SIDE),
            arrays("row_means", means, &[SIDE]),
            PolarsColumn::new("label".into(), labels),
        ],
        "label",
    )
}

#[test]
fn pictures_and_figures_together_tell_digits_as_in_pytorch() {
    let (train, test) = (digits(0..2_000), digits(8_000..10_000));
    let (params, _) = peer("multimodal");
    let found = said("model.torch.multimodal", &params, &train, &test.data, 1..=2);
    let truth = test.data.column("label").expect("labels");
    let truth: Vec<i64> = truth.i64().expect("labels").iter().flatten().collect();
    let ours: Vec<f64> = found
        .iter()
        .map(|found| share_right(found, &truth))
        .collect();
    as_good("multimodal", &ours);
}

/// Each digit of these rows as its middle 8 × 8 means, and its label.
fn small_digits(rows: std::ops::Range<usize>) -> Vec<(Vec<f32>, i64)> {
    const SIDE: usize = 28;
    let whole = digits(rows);
    let labels = whole.data.column("label").expect("labels");
    let labels: Vec<i64> = labels.i64().expect("labels").iter().flatten().collect();
    let smaller = |image: &[f32]| -> Vec<f32> {
        (0..64)
            .map(|place| {
                let (down, across) = (2 + place / 8 * 3, 2 + place % 8 * 3);
                let block = (0..9).map(|own| image[(down + own / 3) * SIDE + across + own % 3]);
                block.sum::<f32>() / 9.0
            })
            .collect()
    };
    let pixels = pixels_of(&whole.data);
    let images = pixels.chunks_exact(SIDE * SIDE).map(smaller);
    images.zip(labels).collect()
}

/// Many zeros and forty of each other digit; of those, as many are made up as there are zeros, and read from what was made up alone.
#[test]
fn digits_that_are_made_up_teach_as_much_as_those_of_pytorch() {
    let mut seen = [0; 10];
    let (mut images, mut labels) = (Vec::new(), Vec::new());
    for (image, label) in small_digits(0..2_000) {
        let seen = &mut seen[usize::try_from(label).expect("a digit")];
        *seen += 1;
        if label == 0 || *seen <= 40 {
            images.extend(image);
            labels.push(label);
        }
    }
    let parts = vec!["train"; labels.len()];
    let mut few = frame(
        vec![
            image_column(images, 8),
            PolarsColumn::new("label".into(), labels),
            PolarsColumn::new(taktline_core::PARTITION.into(), parts),
        ],
        "label",
    );
    parted(&mut few);
    let as_lists = |pixels: Vec<f32>, labels: Vec<i64>| {
        let columns = vec![
            arrays("pixels", pixels, &[64]),
            PolarsColumn::new("label".into(), labels),
        ];
        frame(columns, "label")
    };
    let judged = small_digits(8_000..10_000);
    let judged = judged.into_iter().filter(|(_, label)| *label > 0);
    let (pixels_judged, truth): (Vec<_>, Vec<_>) = judged.unzip();
    let judged = as_lists(pixels_judged.concat(), truth.clone());
    let (params, _) = peer("gan");
    let reader =
        "{hidden: [32], epochs: 20, batch_size: 32, optimizer: {adam: {learning_rate: 0.003}}}";
    let ours: Vec<f64> = (1..=1)
        .map(|seed| {
            let state = learned("balance.gan", &params, &few, &mut FitContext::quiet(seed))
                .expect("trained");
            let rows = made_up("balance.gan", &params, &few, &state);
            let labels = rows.column("label").expect("labels").i64().expect("labels");
            assert_eq!(rows.height(), 9 * (seen[0] - 40));
            let rows = as_lists(pixels_of(&rows), labels.iter().flatten().collect());
            let found = said("model.torch.mlp", reader, &rows, &judged.data, seed..=seed);
            share_right(&found[0], &truth)
        })
        .collect();
    as_good("gan", &ours);
}

/// The share of puzzles solved that were not learned from.
#[test]
fn puzzles_are_solved_as_in_pytorch() {
    struct Told(Mutex<Option<f64>>);

    impl Progress for Told {
        fn event(&self, event: ProgressEvent) {
            if let ProgressEvent::Epoch { figures, .. } = event {
                let share = figures
                    .iter()
                    .find(|(name, _)| name == "validation_accuracy");
                *self.0.lock().expect("lock") = share.map(|(_, share)| *share);
            }
        }
    }

    let images = |rows| {
        let mut digits = digits(rows);
        digits.data = digits.data.select(["image"]).expect("images");
        digits
            .schema
            .columns
            .retain(|column| column.name == "image");
        digits
    };
    let (train, judged) = (images(0..2_000), images(8_000..10_000));
    let (params, _) = peer("jigsaw");
    let ours: Vec<f64> = (1..=2)
        .map(|seed| {
            let told = Told(Mutex::new(None));
            let mut context = FitContext {
                progress: &told,
                ..FitContext::quiet(seed)
            };
            let stage = stage("model.torch.jigsaw", &params);
            model(&*stage)
                .fit(&train, Some(&judged), &mut context)
                .expect("trained");
            told.0.lock().expect("lock").expect("a share")
        })
        .collect();
    as_good("jigsaw", &ours);
}

#[test]
fn what_people_think_of_films_is_told_as_in_pytorch() {
    let text = text("datasets/pulled/movielens-100k/ratings.csv");
    let part = |is_judged: bool| {
        let (mut users, mut films, mut ratings) = (Vec::new(), Vec::new(), Vec::new());
        let rows = text.lines().skip(1).enumerate();
        for (_, line) in rows.filter(|(row, _)| row.is_multiple_of(5) == is_judged) {
            let mut fields = line.split(',').map(|field| field.parse::<i64>());
            let mut next = || fields.next().expect("a field").expect("a number");
            users.push(next());
            films.push(next());
            ratings.push(next() as f64);
        }
        frame(
            vec![
                PolarsColumn::new("user".into(), users),
                PolarsColumn::new("film".into(), films),
                PolarsColumn::new("rating".into(), ratings),
            ],
            "rating",
        )
    };
    let (train, test) = (part(false), part(true));
    assert_eq!((train.data.height(), test.data.height()), (80_000, 20_000));
    let truth = floats(test.data.column("rating").expect("ratings"));
    for case in ["matrix_factorisation", "two_tower"] {
        let case = format!("recommender_{case}");
        let (params, _) = peer(&case);
        let found = said(
            "model.torch.recommender",
            &params,
            &train,
            &test.data,
            1..=2,
        );
        let ours: Vec<f64> = found
            .iter()
            .map(|found| rmse(&floats(column(found, "prediction")), &truth))
            .collect();
        as_small(&case, &ours);
    }
}

#[test]
fn films_that_people_chose_stand_before_others_as_in_pytorch() {
    let text = text("datasets/pulled/movielens-100k/ratings.csv");
    let (mut known, mut judged) = (Vec::new(), BTreeMap::<i64, BTreeSet<i64>>::new());
    for (row, line) in text.lines().skip(1).enumerate() {
        let mut fields = line.split(',').map(|field| field.parse::<i64>());
        let mut next = || fields.next().expect("a field").expect("a number");
        let (user, film, rating) = (next(), next(), next());
        match row.is_multiple_of(5) {
            false => known.push((user, film, rating)),
            true if rating >= 4 && user % 5 == 0 => {
                judged.entry(user).or_default().insert(film);
            }
            true => {}
        }
    }
    let table = |rows: &[(i64, i64, i64)]| {
        let users: Vec<i64> = rows.iter().map(|row| row.0).collect();
        let films: Vec<i64> = rows.iter().map(|row| row.1).collect();
        let ratings: Vec<f64> = rows.iter().map(|row| row.2 as f64).collect();
        vec![
            PolarsColumn::new("user".into(), users),
            PolarsColumn::new("film".into(), films),
            PolarsColumn::new("rating".into(), ratings),
        ]
    };
    let train = frame(table(&known), "rating");
    let mut had: BTreeMap<i64, BTreeSet<i64>> = BTreeMap::new();
    for (user, film, _) in known.iter().filter(|(_, _, rating)| *rating >= 4) {
        had.entry(*user).or_default().insert(*film);
    }
    let films: BTreeSet<i64> = had.values().flatten().copied().collect();
    // Of each user all films but those learned with that user, and which of them they liked.
    let (mut rows, mut shelves) = (Vec::new(), Vec::new());
    for (user, liked) in &judged {
        let Some(had) = had.get(user) else { continue };
        let shelf: Vec<i64> = films.difference(had).copied().collect();
        let is_liked: Vec<bool> = shelf.iter().map(|film| liked.contains(film)).collect();
        if is_liked.contains(&true) {
            rows.extend(shelf.into_iter().map(|film| (*user, film, 0)));
            shelves.push(is_liked);
        }
    }
    assert_eq!(
        (films.len(), shelves.len(), rows.len()),
        (1412, 178, 243_319)
    );
    let test = DataFrame::new(rows.len(), table(&rows)).expect("a frame");
    let case = "recommender_implicit";
    let (params, _) = peer(case);
    let found = said("model.torch.recommender", &params, &train, &test, 1..=2);
    let ours: Vec<f64> = found
        .iter()
        .map(|found| {
            let scores = floats(column(found, "score"));
            let mut scores = scores.as_slice();
            let areas: Vec<f64> = shelves
                .iter()
                .map(|is_liked| {
                    let (own, rest) = scores.split_at(is_liked.len());
                    scores = rest;
                    roc_auc(own, is_liked)
                })
                .collect();
            mean(&areas)
        })
        .collect();
    as_good(case, &ours);
    // Those who learned nothing guess, and who knows but how often films are chosen reaches 0.86.
    let (center, deviation, _) = spread(case);
    assert!(center - 3.0 * deviation > 0.9);
    assert!(mean(&untrained(case)) < 0.55);
}

#[test]
fn the_next_week_of_bakeries_is_told_as_in_pytorch() {
    let days = text("datasets/retail/bakery_data.csv.gz");
    let demand = text("datasets/retail/bakery_target.csv.gz");
    let mut series: BTreeMap<(String, String), Vec<f32>> = BTreeMap::new();
    for (day, demand) in days.lines().zip(demand.lines()).skip(1) {
        let fields: Vec<&str> = day.split(',').collect();
        let key = (fields[7].to_owned(), fields[8].to_owned());
        let demand = demand.parse().expect("a number");
        series.entry(key).or_default().push(demand);
    }
    let count = series.values().next().expect("a series").len();
    let first_judged = count * 8 / 10;
    let part = |is_judged: bool| {
        let (mut histories, mut weeks) = (Vec::new(), Vec::new());
        for demand in series.values() {
            assert_eq!(demand.len(), count);
            for day in (28..count - 6).step_by(7) {
                let is_wanted = match is_judged {
                    true => day >= first_judged,
                    false => day + 6 < first_judged,
                };
                if is_wanted {
                    histories.extend(demand[day - 28..day].iter().map(|demand| demand / 100.0));
                    weeks.extend(&demand[day..day + 7]);
                }
            }
        }
        let columns = vec![
            arrays("history", histories, &[28]),
            arrays("week", weeks, &[7]),
        ];
        frame(columns, "week")
    };
    let (train, test) = (part(false), part(true));
    assert_eq!((train.data.height(), test.data.height()), (14_070, 3_570));
    let truth = numbers_in(test.data.column("week").expect("weeks"));
    let (params, _) = peer("rnn_sequence");
    let found = said("model.torch.rnn", &params, &train, &test.data, 1..=2);
    let ours: Vec<f64> = found
        .iter()
        .map(|found| rmse(&numbers_in(column(found, "prediction")), &truth))
        .collect();
    as_small("rnn_sequence", &ours);
}
