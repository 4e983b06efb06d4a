//! `evaluate.clustering`

use std::collections::{BTreeMap, BTreeSet};

use polars::prelude::DataType;
use rand::{
    SeedableRng,
    seq::{SliceRandom, index},
};
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::{
    CheckContext, Classes, Error, Evaluate, Evaluation, Frame, PARTITION, Partition, Result,
    Schema, Shape, Stage, Table, Training, counted, features, register_kind,
};

use crate::{
    bootstrap::Bootstrap,
    further::Further,
    judged::{
        self, CLUSTER, Lift, MetricList, Parts, amount, figure, figure_or_none, pick, target_name,
    },
    metrics::{
        self, Points, adjusted_rand, calinski_harabasz, davies_bouldin,
        normalized_mutual_information, silhouettes,
    },
    plots,
    slices::By,
};

/// Judges the clusters of the model above: how compact and how far apart they are, and how they agree with a target.
///
/// It gives `silhouette` (Rousseeuw, 1987: from -1 to 1, how much nearer rows lie to their own cluster than to the next),
/// `davies_bouldin` (lower is better), `calinski_harabasz` (higher is better), `clusters` (how many there are) and `noise_share` (the
/// share of rows in no cluster, `-1`). These look at the columns in `features` as they are, so scale them above as for the model; rows of noise
/// are left out. The silhouette compares every two rows: of more rows than `sample`, it is that of a random sample, the same for the
/// same seed.
///
/// Where a column of labels has the role `target`, also `adjusted_rand` and `normalized_mutual_information`: 1 where the clusters are
/// the classes, whatever their names; noise counts as one more cluster.
///
/// Beside them stand `baseline_silhouette` and `baseline_normalized_mutual_information`: what clusters of the same sizes reach on average
/// whose rows are drawn by chance. `adjusted_rand` is 0 then. A table shows the lift.
///
/// The table `clusters` shows size and mean silhouette of each cluster, `centres` its mean in every column. With `by`, a table shows
/// `silhouette` and the two figures of agreement by slice, and `worst_silhouette` and so on are those of the worst slice. With
/// `bootstrap` every metric comes with an interval (a row keeps its silhouette when rows are drawn again). Every row counts once. A
/// metric without a value for the rows at hand is left out and listed in the table `undefined_metrics`; a gate on it fails.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Clustering {
    /// The rows to judge: `test`, `validation` or `train`. Default: `test` below a split, else all rows.
    part: Option<Partition>,
    /// The columns whose distances count. Default: every column of numbers with role `feature`.
    #[schemars(length(min = 1))]
    features: Option<Vec<String>>,
    /// The most rows whose silhouette is measured; time grows with the square of it.
    #[serde(default = "default_sample")]
    #[schemars(range(min = 10))]
    sample: usize,
    /// Columns whose values part the rows into slices, each with its own figures.
    by: Option<By>,
    /// Intervals of the metrics, by drawing the judged rows again.
    bootstrap: Option<Bootstrap>,
}

fn default_sample() -> usize {
    5000
}

register_kind! {
    Clustering, "evaluate.clustering", version: 1,
    example: "- evaluate.clustering: {features: [spent, visits]}",
}

const NOISE: i64 = -1;
const AGREEMENT: [&str; 2] = ["adjusted_rand", "normalized_mutual_information"];
const BASELINE_SILHOUETTE: &str = "baseline_silhouette";
const BASELINE_INFORMATION: &str = "baseline_normalized_mutual_information";
/// Clusters by chance are drawn at most so often, of large samples less often:
const MOST_DRAWS: usize = 20;
/// so many pairs of rows are looked at.
const MOST_PAIRS: usize = 25_000_000;
/// The most clusters that tables and pictures show.
const MOST_CLUSTERS: usize = 30;
/// The most columns of the table of centres.
const MOST_CENTRES: usize = 10;

impl Stage for Clustering {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let Some(input) = inputs.first() else {
            return judged::no_input();
        };
        judged::check_model(input, CLUSTER, cx);
        judged::check_part_exists(self.part, input, cx);
        features::check(
            self.features.as_deref(),
            target_name(input).as_deref(),
            input,
            // Without a list, columns of other types are no mistake: the model above may have left them out, too.
            |column| column.is_numeric() || self.features.is_none(),
            cx,
        );
        self.further().check(input, cx);
        input.clone()
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Evaluate(self)
    }
}

/// Everything that is judged, row by row.
struct Rows {
    clusters: Vec<i64>,
    truths: Option<Vec<i64>>,
    names: Vec<String>,
    columns: Vec<Vec<f64>>,
    points: Points,
    /// Not-a-number for rows of noise and rows outside of the sample.
    silhouettes: Vec<f64>,
}

impl Rows {
    /// Measures the silhouettes of a sample of these rows.
    fn add_silhouettes(&mut self, rows: &[usize], most: usize, seed: u64) {
        let sample = self.sample(rows, most, seed);
        if let Some(found) = silhouettes(&self.points, &self.clusters, &sample) {
            for (row, silhouette) in sample.iter().zip(found) {
                self.silhouettes[*row] = silhouette;
            }
        }
    }

    /// Those of these rows that lie in a cluster, or a random sample of them.
    fn sample(&self, rows: &[usize], most: usize, seed: u64) -> Vec<usize> {
        let clustered = self.clustered(rows);
        match clustered.len() > most {
            false => clustered,
            true => {
                let mut random = ChaCha8Rng::seed_from_u64(seed);
                let mut places = index::sample(&mut random, clustered.len(), most).into_vec();
                places.sort_unstable();
                pick(&clustered, &places)
            }
        }
    }

    /// What clusters of the same sizes reach on average whose rows are drawn by chance.
    fn by_chance(&self, rows: &[usize], most: usize, seed: u64) -> Chance {
        let sample = self.sample(rows, most, seed);
        let draws = MOST_PAIRS / sample.len().pow(2).max(1);
        let draws = draws.clamp(1, MOST_DRAWS);
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(1);
        let (mut all, mut means, mut information) = (self.clusters.clone(), Vec::new(), Vec::new());
        for _ in 0..draws {
            let mut drawn = pick(&self.clusters, &sample);
            drawn.shuffle(&mut random);
            for (row, cluster) in sample.iter().zip(drawn) {
                all[*row] = cluster;
            }
            means.extend(silhouettes(&self.points, &all, &sample).and_then(|found| mean(&found)));
            if let Some(truths) = &self.truths {
                let mut drawn = pick(&self.clusters, rows);
                drawn.shuffle(&mut random);
                let found = normalized_mutual_information(&pick(truths, rows), &drawn);
                information.extend(found);
            }
        }
        Chance {
            silhouette: mean(&means),
            information: mean(&information),
        }
    }

    fn clustered(&self, rows: &[usize]) -> Vec<usize> {
        let is_clustered = |row: &usize| self.clusters[*row] != NOISE;
        rows.iter().copied().filter(is_clustered).collect()
    }

    fn mean_silhouette(&self, rows: &[usize]) -> Option<f64> {
        let found = pick(&self.silhouettes, rows);
        let found: Vec<f64> = found.into_iter().filter(|value| !value.is_nan()).collect();
        mean(&found)
    }

    fn measure(&self, chosen: &[usize], chance: Chance) -> MetricList {
        let clustered = self.clustered(chosen);
        let clusters: BTreeSet<i64> = pick(&self.clusters, &clustered).into_iter().collect();
        let too_few = "fewer than two clusters, or no more rows than clusters";
        let mut list = MetricList::default();
        list.add("silhouette", self.mean_silhouette(&clustered), too_few);
        let davies = davies_bouldin(&self.points, &self.clusters, &clustered);
        list.add("davies_bouldin", davies, too_few);
        let calinski = calinski_harabasz(&self.points, &self.clusters, &clustered);
        list.add("calinski_harabasz", calinski, too_few);
        list.add("clusters", Some(clusters.len() as f64), "");
        let noise = chosen.len() - clustered.len();
        let share = (!chosen.is_empty()).then(|| noise as f64 / chosen.len() as f64);
        list.add("noise_share", share, "there are no rows");
        if let Some(truths) = &self.truths {
            let (truths, clusters) = (pick(truths, chosen), pick(&self.clusters, chosen));
            let values = [
                adjusted_rand(&truths, &clusters),
                normalized_mutual_information(&truths, &clusters),
            ];
            for (name, value) in AGREEMENT.into_iter().zip(values) {
                list.add(name, value, "fewer than two rows");
            }
        }
        list.add(BASELINE_SILHOUETTE, chance.silhouette, too_few);
        if self.truths.is_some() {
            list.add(
                BASELINE_INFORMATION,
                chance.information,
                "fewer than two rows",
            );
        }
        list
    }
}

/// What clusters by chance reach.
#[derive(Debug, Clone, Copy)]
struct Chance {
    silhouette: Option<f64>,
    information: Option<f64>,
}

impl Chance {
    fn lifts(self, found: &Evaluation) -> Vec<Lift> {
        let baselines = [
            ("silhouette", self.silhouette),
            ("adjusted_rand", Some(0.0)),
            ("normalized_mutual_information", self.information),
        ];
        baselines
            .into_iter()
            .filter_map(|(metric, baseline)| {
                Some(Lift {
                    metric: metric.to_owned(),
                    model: found.metric(metric)?,
                    baseline: baseline?,
                    best: 1.0,
                })
            })
            .collect()
    }
}

fn mean(values: &[f64]) -> Option<f64> {
    metrics::mean(values.len(), None, |place| values[place])
}

/// The target, where it holds labels.
fn truth_column(schema: &Schema) -> Option<String> {
    let name = target_name(schema)?;
    let column = schema.column(&name)?;
    Classes::can_hold(&column.dtype).then_some(name)
}

impl Clustering {
    fn further(&self) -> Further<'_> {
        Further {
            bootstrap: self.bootstrap.as_ref(),
            by: self.by.as_ref(),
            param: "by",
        }
    }

    fn features(&self, schema: &Schema) -> Vec<String> {
        let target = target_name(schema);
        let named = self.features.as_deref();
        features::names(named, target.as_deref(), schema, |column| {
            column.is_numeric()
        })
    }

    fn by_slice(schema: &Schema) -> Vec<String> {
        let agreement = truth_column(schema).map(|_| AGREEMENT);
        std::iter::once("silhouette")
            .chain(agreement.into_iter().flatten())
            .map(str::to_owned)
            .collect()
    }

    fn read(&self, frame: &Frame) -> Result<Rows> {
        let data = &frame.data;
        let clusters = data
            .column(CLUSTER)
            .map_err(|_| Error::data("no model stands above, so there is no `cluster` to judge"))?;
        if clusters.null_count() > 0 {
            return Err(Error::data(format!(
                "`{CLUSTER}` has no value in {}",
                counted(clusters.null_count(), "row")
            )));
        }
        let clusters = clusters.cast(&DataType::Int64)?;
        let clusters: Vec<i64> = clusters.i64()?.iter().flatten().collect();
        let truths = match truth_column(&frame.schema) {
            Some(name) => {
                let Classes { codes, .. } = Classes::of(data.column(&name)?, None)?;
                Some(codes.into_iter().map(i64::from).collect())
            }
            None => None,
        };
        let names = self.features(&frame.schema);
        if names.is_empty() {
            return Err(Error::data(
                "no column of numbers has the role `feature`, so there are no distances; name columns in `features`",
            ));
        }
        let columns = names
            .iter()
            .map(|name| judged::numbers(data.column(name)?))
            .collect::<Result<Vec<_>>>()?;
        Ok(Rows {
            silhouettes: vec![f64::NAN; clusters.len()],
            clusters,
            truths,
            names,
            points: Points::of(&columns),
            columns,
        })
    }
}

impl Evaluate for Clustering {
    fn metrics(&self, input: &Schema) -> Vec<String> {
        let mut names = vec![
            "silhouette",
            "davies_bouldin",
            "calinski_harabasz",
            "clusters",
            "noise_share",
        ];
        if truth_column(input).is_some() {
            names.extend(AGREEMENT);
        }
        names.push(BASELINE_SILHOUETTE);
        names.extend(truth_column(input).map(|_| BASELINE_INFORMATION));
        let worst = self.further().worst(&Self::by_slice(input));
        names.into_iter().map(str::to_owned).chain(worst).collect()
    }

    fn reads(&self, input: &Schema) -> BTreeSet<String> {
        let outputs = input
            .names()
            .filter(|name| [CLUSTER, PARTITION].contains(name));
        outputs
            .map(str::to_owned)
            .chain(self.features(input))
            .chain(truth_column(input))
            .chain(self.further().reads())
            .collect()
    }

    fn add_training(&self, training: &Training, evaluation: &mut Evaluation) -> Result<()> {
        judged::add_training(training, evaluation)
    }

    fn evaluate(&self, frame: &Frame, seed: u64) -> Result<Evaluation> {
        let parts = Parts::of(frame, self.part)?;
        let mut rows = self.read(frame)?;
        rows.add_silhouettes(&parts.judged, self.sample, seed);
        if let Some(train) = parts.beside() {
            rows.add_silhouettes(train, self.sample, seed);
        }
        let rows = rows;
        let chance = rows.by_chance(&parts.judged, self.sample, seed);
        let measure = |chosen: &[usize]| rows.measure(chosen, chance);

        let mut clusters: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
        for row in &parts.judged {
            clusters.entry(rows.clusters[*row]).or_default().push(*row);
        }
        let mut evaluation = parts.evaluation();
        let all = parts.judged.len();
        evaluation.tables = vec![
            cluster_table(&rows, &clusters, all),
            centre_table(&rows, &clusters),
        ];
        let names = clusters.iter().take(MOST_CLUSTERS);
        let sizes = names
            .clone()
            .map(|(cluster, own)| (name_of(*cluster), own.len() as f64))
            .collect();
        evaluation
            .plots
            .push(plots::cluster_sizes(sizes, clusters.len())?);
        let by_cluster: Vec<(String, f64)> = names
            .filter_map(|(cluster, own)| Some((name_of(*cluster), rows.mean_silhouette(own)?)))
            .collect();
        if !by_cluster.is_empty() {
            let mean = rows.mean_silhouette(&parts.judged);
            evaluation.plots.push(plots::silhouettes(by_cluster, mean)?);
        }
        let by_slice = Self::by_slice(&frame.schema);
        self.further()
            .complete(&mut evaluation, frame, &parts, &by_slice, seed, &measure)?;
        let lifts = judged::lift_table("clusters by chance", &chance.lifts(&evaluation));
        evaluation.tables.splice(0..0, lifts);
        if let Some(train) = parts.beside() {
            let chance = rows.by_chance(train, self.sample, seed);
            evaluation.train_metrics = rows.measure(train, chance).defined;
        }
        Ok(evaluation)
    }
}

fn name_of(cluster: i64) -> String {
    match cluster {
        NOISE => "noise".to_owned(),
        cluster => cluster.to_string(),
    }
}

fn titled(title: &str, clusters: usize) -> String {
    match clusters > MOST_CLUSTERS {
        true => format!("{title}: the first {MOST_CLUSTERS} of {clusters}"),
        false => title.to_owned(),
    }
}

fn cluster_table(rows: &Rows, clusters: &BTreeMap<i64, Vec<usize>>, all: usize) -> Table {
    let line = |(cluster, own): (&i64, &Vec<usize>)| {
        vec![
            name_of(*cluster),
            amount(own.len() as f64),
            format!("{:.1} %", 100.0 * own.len() as f64 / all as f64),
            figure_or_none(rows.mean_silhouette(own)),
        ]
    };
    Table {
        name: "clusters".into(),
        title: titled("Clusters", clusters.len()),
        columns: ["cluster", "rows", "share", "silhouette"]
            .map(str::to_owned)
            .to_vec(),
        rows: clusters.iter().take(MOST_CLUSTERS).map(line).collect(),
    }
}

/// What the rows of each cluster have in common.
fn centre_table(rows: &Rows, clusters: &BTreeMap<i64, Vec<usize>>) -> Table {
    let shown = rows.names.len().min(MOST_CENTRES);
    let line = |(cluster, own): (&i64, &Vec<usize>)| {
        let means = rows.columns[..shown].iter().map(|column| {
            let sum: f64 = own.iter().map(|row| column[*row]).sum();
            figure(sum / own.len() as f64)
        });
        std::iter::once(name_of(*cluster)).chain(means).collect()
    };
    let mut title = titled("Means by cluster", clusters.len());
    if shown < rows.names.len() {
        title = format!("{title} ({shown} of {} columns)", rows.names.len());
    }
    Table {
        name: "centres".into(),
        title,
        columns: std::iter::once("cluster".to_owned())
            .chain(rows.names[..shown].iter().cloned())
            .collect(),
        rows: clusters.iter().take(MOST_CLUSTERS).map(line).collect(),
    }
}

#[cfg(test)]
mod tests {
    use polars::prelude::df;
    use taktline_core::{Role, serde_yaml};

    use super::*;
    use crate::judged::testing::{self, announced, close, codes, table};

    fn stage(params: &str) -> Clustering {
        serde_yaml::from_str(params).expect("params")
    }

    /// Two pairs, a row of noise far away, and a column of text.
    fn customers() -> Frame {
        let data = df!(
            "spent" => [0.0, 1.0, 10.0, 11.0, 500.0],
            "name" => ["a", "b", "c", "d", "e"],
            "kind" => ["new", "new", "old", "old", "old"],
            "region" => ["north", "south", "north", "south", "north"],
            CLUSTER => [0_i64, 0, 1, 1, -1],
        );
        testing::frame(
            data.expect("a frame"),
            &[
                ("kind", Role::Target),
                ("name", Role::Id),
                ("region", Role::Ignore),
                (CLUSTER, Role::Internal),
            ],
        )
    }

    #[test]
    fn noise_is_left_out_of_distances_and_counted_in_agreement() {
        let stage = stage("{by: region}");
        let frame = customers();
        let evaluation = stage.evaluate(&frame, 1).expect("an evaluation");
        announced(&stage, &frame, &evaluation);
        close(
            &evaluation,
            "silhouette",
            1.0 - (1.0 / 10.5 + 1.0 / 9.5) / 2.0,
        );
        close(&evaluation, "davies_bouldin", 0.1);
        close(&evaluation, "calinski_harabasz", 200.0);
        close(&evaluation, "clusters", 2.0);
        close(&evaluation, "noise_share", 0.2);
        // Pairs: 1 + 1 together in both, 1 + 3 in the classes, 1 + 1 in the clusters, 10 in all.
        let chance = 4.0 * 2.0 / 10.0;
        close(
            &evaluation,
            "adjusted_rand",
            (2.0 - chance) / (3.0 - chance),
        );
        // `north` holds one row a cluster and the noise.
        close(
            &evaluation,
            "worst_silhouette",
            1.0 - (1.0 / 10.5 + 1.0 / 9.5) / 2.0,
        );
        let clusters = table(&evaluation, "clusters");
        assert_eq!(clusters.rows[0], ["noise", "1", "20.0 %", "–"]);
        assert_eq!(clusters.rows[1][..3], ["0", "2", "40.0 %"]);
        assert_eq!(table(&evaluation, "centres").rows[2], ["1", "10.5000"]);
        let plots: Vec<&str> = evaluation
            .plots
            .iter()
            .map(|plot| plot.name.as_str())
            .collect();
        assert_eq!(plots, ["cluster_sizes", "silhouettes"]);
    }

    #[test]
    fn a_sample_stands_for_many_rows_and_is_the_same_again() {
        let spent: Vec<f64> = (0..600)
            .map(|row| f64::from(row % 2) * 10.0 + f64::from(row % 7) / 7.0)
            .collect();
        let clusters: Vec<i64> = (0..600).map(|row| row % 2).collect();
        let data = df!("spent" => spent, CLUSTER => clusters).expect("a frame");
        let frame = testing::frame(data, &[(CLUSTER, Role::Internal)]);
        let of = |params: &str, seed: u64| {
            let evaluation = stage(params).evaluate(&frame, seed).expect("an evaluation");
            evaluation.metric("silhouette").expect("a silhouette")
        };
        let whole = of("{}", 1);
        let sample = of("{sample: 100}", 1);
        assert!(
            (whole - sample).abs() < 0.01 && whole != sample,
            "{whole} {sample}"
        );
        assert_eq!(sample, of("{sample: 100}", 1));
        assert_ne!(sample, of("{sample: 100}", 2));
    }

    #[test]
    fn clusters_are_held_against_clusters_by_chance() {
        let spent: Vec<f64> = (0..200)
            .map(|row| f64::from(row % 2) * 10.0 + f64::from(row % 7))
            .collect();
        let kinds: Vec<&str> = (0..200).map(|row| ["new", "old"][row % 2]).collect();
        let told = |clusters: Vec<i64>| {
            let data = df!("spent" => &spent, "kind" => &kinds, CLUSTER => clusters);
            let roles = [("kind", Role::Target), (CLUSTER, Role::Internal)];
            let frame = testing::frame(data.expect("a frame"), &roles);
            stage("{}").evaluate(&frame, 1).expect("an evaluation")
        };
        let right = told((0..200).map(|row| row % 2).collect());
        // Rows of either sort are as near to one cluster as to the other.
        let baseline = right.metric("baseline_silhouette").expect("a baseline");
        assert!(baseline.abs() < 0.02, "{baseline}");
        let information = right.metric("baseline_normalized_mutual_information");
        assert!(information.is_some_and(|found| (0.0..0.02).contains(&found)));
        let lift = table(&right, "baseline");
        assert_eq!(lift.title, "Lift over the baseline (clusters by chance)");
        assert_eq!(
            lift.rows[1],
            ["adjusted_rand", "1.0000", "0.0000", "100.0 %"]
        );
        assert_eq!(lift.rows.len(), 3);
        // Halves of the rows as they come have nothing to do with what they are.
        let wrong = told((0..200).map(|row| row / 100).collect());
        let skill = |evaluation: &Evaluation| {
            let share = table(evaluation, "baseline").rows[0][3].replace(" %", "");
            share.parse::<f64>().expect("a share")
        };
        assert!(skill(&right) > 60.0 && skill(&wrong).abs() < 2.0);
    }

    #[test]
    fn one_cluster_has_no_silhouette() {
        let data = df!("spent" => [1.0, 2.0], CLUSTER => [0_i64, 0]).expect("a frame");
        let frame = testing::frame(data, &[(CLUSTER, Role::Internal)]);
        let evaluation = stage("{}").evaluate(&frame, 1).expect("an evaluation");
        assert_eq!(evaluation.metric("silhouette"), None);
        close(&evaluation, "clusters", 1.0);
        assert_eq!(table(&evaluation, "undefined_metrics").rows.len(), 4);
    }

    #[test]
    fn check_finds_every_problem() {
        let schema = customers().schema;
        assert!(codes(&stage("{}"), &schema).is_empty());
        assert_eq!(
            codes(
                &stage("{features: [spend, name], part: test, by: spent}"),
                &schema
            ),
            [
                "unknown-part",
                "unknown-column",
                "not-numeric",
                "wrong-type"
            ]
        );
        let data = df!("spent" => [1.0]).expect("a frame");
        assert_eq!(
            codes(&stage("{}"), &testing::frame(data, &[]).schema),
            ["no-model"]
        );
    }

    #[test]
    fn the_example_is_a_stage() {
        testing::example_is_a_stage("evaluate.clustering", "Judges the clusters");
    }
}
