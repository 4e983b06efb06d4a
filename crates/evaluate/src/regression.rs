//! `evaluate.regression`

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    CheckContext, Evaluate, Evaluation, Frame, PARTITION, Partition, Problem, Result, Role, Schema,
    Shape, Stage, Table, Training,
    classifier::PREDICTION,
    path, register_kind,
    regressor::{LOWER, UPPER},
};

use crate::{
    bootstrap::Bootstrap,
    further::Further,
    judged::{self, Lift, MetricList, Parts, figure, pick, target_name},
    metrics::{Errors, Family, coverage, weighted_quantile},
    plots,
    slices::By,
    unrolled,
};

/// Judges the predictions of the regression above: metrics, residuals, lift over a constant.
///
/// It gives `rmse`, `mae` and `median_absolute_error` (all in the target's unit), `r2`, `mape` (a share, not percent; only where no
/// truth is 0) and `bias` (the mean of prediction minus truth). With `deviance` also `mean_deviance` and `d2`, the share of the
/// deviance that is explained: what `r2` is to squared errors (Hastie, Tibshirani and Wainwright, 2015). With `quantile` also
/// `pinball_loss`. Where the model gives `lower` and `upper` also `coverage`, the share of truths between them, and `mean_width`.
///
/// Beside them stand `baseline_rmse`, `baseline_mae` (and `baseline_mean_deviance`, `baseline_pinball_loss`) of a constant learned from
/// the training rows, and the lift over it, `1 - error / baseline error`: `rmse_skill`, `mae_skill` (and `deviance_skill`,
/// `pinball_skill`). 1 is perfect, 0 no better than the constant, below 0 worse.
///
/// With `by`, a table shows `rmse`, `mae` and `r2` of each slice, and `worst_rmse`, `worst_mae` and `worst_r2` are those of the worst
/// slice. Where the target is a list of numbers, so is the prediction, and each number is judged by itself: the constant is one for each
/// place of the list, and a table shows the figures of each place. With `bootstrap` every metric comes with an interval. Rows count by the column with role `weight`. A metric without a value for
/// the rows at hand is left out and listed in the table `undefined_metrics`; a gate on it fails.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Regression {
    /// The rows to judge: `test`, `validation` or `train`. Default: `test` below a split, else all rows.
    part: Option<Partition>,
    /// Also judge by the deviance of this family, for predictions above 0.
    deviance: Option<Deviance>,
    /// Also judge the predictions as this quantile of the target: 0.9 for a value that 9 of 10 truths do not exceed.
    #[schemars(range(min = 0.0, max = 1.0))]
    quantile: Option<f64>,
    /// The constant to compare with, over the training rows.
    #[serde(default)]
    baseline: Baseline,
    /// Columns whose values part the rows into slices, each with its own figures.
    by: Option<By>,
    /// Intervals of the metrics, by drawing the judged rows again.
    bootstrap: Option<Bootstrap>,
}

/// Whose deviance.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Deviance {
    /// Counts.
    Poisson,
    /// Amounts above 0.
    Gamma,
    /// Amounts with a heap at 0: the power of the mean that the variance grows with, between 1 and 2.
    Tweedie(#[schemars(range(min = 1.0, max = 2.0))] f64),
}

impl Deviance {
    fn family(self) -> Family {
        match self {
            Self::Poisson => Family::Poisson,
            Self::Gamma => Family::Gamma,
            Self::Tweedie(power) => Family::Tweedie(power),
        }
    }
}

/// A constant over the training rows.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Baseline {
    /// The mean: no constant has a smaller squared error there.
    #[default]
    Mean,
    /// The median: no constant has a smaller absolute error there.
    Median,
}

register_kind! {
    Regression, "evaluate.regression", version: 1,
    example: "- evaluate.regression: {deviance: poisson, by: line, bootstrap: {samples: 1000}}",
}

const BY_SLICE: [&str; 3] = ["rmse", "mae", "r2"];

impl Stage for Regression {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let Some(input) = inputs.first() else {
            return judged::no_input();
        };
        judged::check_model(input, PREDICTION, cx);
        if unrolled::width(input).is_none() {
            judged::check_number_target(input, cx);
        }
        Self::check_prediction(input, cx);
        judged::check_part(self.part, input, cx);
        if let Some(Deviance::Tweedie(power)) = self.deviance {
            let place = path!["deviance", "tweedie"];
            judged::check_between("tweedie", power, (1.0, 2.0), place, cx);
        }
        if let Some(quantile) = self.quantile {
            judged::check_between("quantile", quantile, (0.0, 1.0), path!["quantile"], cx);
        }
        self.further().check(input, cx);
        input.clone()
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Evaluate(self)
    }
}

impl Regression {
    /// Warns where the model above says classes, though they are numbers.
    fn check_prediction(input: &Schema, cx: &mut CheckContext<'_>) {
        let says_classes = input.facts.classes.is_some() || input.facts.lacks_classes_only;
        let target = target_name(input).and_then(|name| input.column(&name));
        if says_classes && target.is_some_and(|target| target.dtype.is_primitive_numeric()) {
            let message = "the model above says classes, and they are judged as amounts";
            cx.report(
                Problem::warning("classes-as-numbers", path![], message).help(
                    "judge them by `evaluate.classification`, or learn amounts (`task: regression`)",
                ),
            );
        }
    }
}

/// Everything that is judged, row by row; rows outside of the judged parts may hold no numbers.
struct Rows {
    truths: Vec<f64>,
    predictions: Vec<f64>,
    ends: Option<(Vec<f64>, Vec<f64>)>,
    weights: Option<Vec<f64>>,
    /// How many numbers the list of a row has; the rows are such numbers.
    width: usize,
}

impl Rows {
    fn read(frame: &Frame, parts: &Parts, width: usize) -> Result<Self> {
        let column = |name: &str| judged::numbers_or_none(frame.data.column(name)?);
        let target = target_name(&frame.schema)
            .ok_or_else(|| taktline_core::Error::data("no column has the role `target`"))?;
        let ends = match judged::has_ends(&frame.schema) {
            true => Some((column(LOWER)?, column(UPPER)?)),
            false => None,
        };
        let rows = Self {
            truths: column(&target)?,
            predictions: column(PREDICTION)?,
            ends,
            weights: judged::weights(frame)?,
            width,
        };
        let judged = || parts.judged.iter().copied();
        judged::check_finite(&target, judged(), &rows.truths)?;
        judged::check_finite(PREDICTION, judged(), &rows.predictions)?;
        if let Some((lower, upper)) = &rows.ends {
            judged::check_finite(LOWER, judged(), lower)?;
            judged::check_finite(UPPER, judged(), upper)?;
        }
        judged::check_finite(&target, parts.baseline().iter().copied(), &rows.truths)?;
        Ok(rows)
    }

    fn weights_of(&self, rows: &[usize]) -> Option<Vec<f64>> {
        self.weights.as_ref().map(|weights| pick(weights, rows))
    }
}

/// What the constant says: one for errors, one for the quantile that is judged. Of lists, each place has its own.
struct Constant {
    value: f64,
    quantile: Option<f64>,
}

impl Regression {
    fn further(&self) -> Further<'_> {
        Further {
            bootstrap: self.bootstrap.as_ref(),
            by: self.by.as_ref(),
            param: "by",
        }
    }

    fn constants(&self, rows: &Rows, learned: &[usize]) -> Option<Vec<Constant>> {
        let of_place = |place: usize| {
            let here = learned.iter().copied();
            let here: Vec<usize> = here.filter(|row| row % rows.width == place).collect();
            self.constant(rows, &here)
        };
        (0..rows.width).map(of_place).collect()
    }

    fn constant(&self, rows: &Rows, learned: &[usize]) -> Option<Constant> {
        let truths = pick(&rows.truths, learned);
        let weights = rows.weights_of(learned);
        let weights = weights.as_deref();
        let value = match self.baseline {
            Baseline::Mean => crate::metrics::mean(truths.len(), weights, |row| truths[row])?,
            Baseline::Median => weighted_quantile(&truths, weights, 0.5)?,
        };
        let quantile = match self.quantile {
            Some(quantile) => Some(weighted_quantile(&truths, weights, quantile)?),
            None => None,
        };
        Some(Constant { value, quantile })
    }

    fn measure(&self, rows: &Rows, constants: Option<&[Constant]>, chosen: &[usize]) -> MetricList {
        let truths = pick(&rows.truths, chosen);
        let predictions = pick(&rows.predictions, chosen);
        let weights = rows.weights_of(chosen);
        let errors = Errors {
            truths: &truths,
            predictions: &predictions,
            weights: weights.as_deref(),
        };
        let no_weight = "the rows have no weight";
        let mut list = MetricList::default();
        list.add("rmse", errors.rmse(), no_weight);
        list.add("mae", errors.mae(), no_weight);
        list.add(
            "median_absolute_error",
            errors.median_absolute_error(),
            no_weight,
        );
        list.add("r2", errors.r2(), "the truths are all alike");
        list.add("mape", errors.mape(), "a truth is 0");
        list.add("bias", errors.bias(), no_weight);
        let outside = "a truth or a prediction lies outside of what the family knows";
        let family = self.deviance.map(Deviance::family);
        if let Some(family) = family {
            list.add("mean_deviance", errors.mean_deviance(family), outside);
            list.add("d2", errors.d2(family), outside);
        }
        if let Some(quantile) = self.quantile {
            list.add("pinball_loss", errors.pinball_loss(quantile), no_weight);
        }
        if let Some((lower, upper)) = &rows.ends {
            let (lower, upper) = (pick(lower, chosen), pick(upper, chosen));
            let found = coverage(&truths, &lower, &upper, weights.as_deref());
            list.add("coverage", found.map(|found| found.coverage), no_weight);
            list.add("mean_width", found.map(|found| found.mean_width), no_weight);
        }
        let of_each = |value: &dyn Fn(&Constant) -> Option<f64>| -> Vec<f64> {
            let of_row = |row: &usize| value(constants?.get(row % rows.width)?);
            chosen
                .iter()
                .map(|row| of_row(row).unwrap_or(f64::NAN))
                .collect()
        };
        let values = of_each(&|constant| Some(constant.value));
        let baseline = Errors {
            predictions: &values,
            ..errors
        };
        let quantiles = of_each(&|constant| constant.quantile);
        let quantile_baseline = Errors {
            predictions: &quantiles,
            ..errors
        };
        let mut pairs = vec![
            ("rmse", "rmse_skill", baseline.rmse()),
            ("mae", "mae_skill", baseline.mae()),
        ];
        if let Some(family) = family {
            let null = baseline.mean_deviance(family);
            pairs.push(("mean_deviance", "deviance_skill", null));
        }
        if let Some(quantile) = self.quantile {
            let null = quantile_baseline.pinball_loss(quantile);
            pairs.push(("pinball_loss", "pinball_skill", null));
        }
        for (name, _, value) in &pairs {
            list.add(&format!("baseline_{name}"), *value, no_weight);
        }
        for (name, skill, _) in &pairs {
            let lift = lift(&list, name).and_then(|lift| lift.skill());
            list.add(skill, lift, "the baseline makes no error");
        }
        list
    }
}

fn lift(list: &MetricList, name: &str) -> Option<Lift> {
    Some(Lift {
        metric: name.to_owned(),
        model: list.get(name)?,
        baseline: list.get(&format!("baseline_{name}"))?,
        best: 0.0,
    })
}

impl Evaluate for Regression {
    fn metrics(&self, input: &Schema) -> Vec<String> {
        let mut names = vec!["rmse", "mae", "median_absolute_error", "r2", "mape", "bias"];
        let (with_deviance, with_quantile) = (self.deviance.is_some(), self.quantile.is_some());
        names.extend(
            with_deviance
                .then_some(["mean_deviance", "d2"])
                .into_iter()
                .flatten(),
        );
        names.extend(with_quantile.then_some("pinball_loss"));
        let ends = judged::has_ends(input).then_some(["coverage", "mean_width"]);
        names.extend(ends.into_iter().flatten());
        names.extend(["baseline_rmse", "baseline_mae"]);
        names.extend(with_deviance.then_some("baseline_mean_deviance"));
        names.extend(with_quantile.then_some("baseline_pinball_loss"));
        names.extend(["rmse_skill", "mae_skill"]);
        names.extend(with_deviance.then_some("deviance_skill"));
        names.extend(with_quantile.then_some("pinball_skill"));
        let worst = self.further().worst(&BY_SLICE.map(str::to_owned));
        names.into_iter().map(str::to_owned).chain(worst).collect()
    }

    fn reads(&self, input: &Schema) -> BTreeSet<String> {
        let weights = input
            .with_role(Role::Weight)
            .map(|column| column.name.clone());
        let outputs = input
            .names()
            .filter(|name| [PREDICTION, LOWER, UPPER, PARTITION].contains(name));
        outputs
            .map(str::to_owned)
            .chain(weights)
            .chain(target_name(input))
            .chain(self.further().reads())
            .collect()
    }

    fn add_training(&self, training: &Training, evaluation: &mut Evaluation) -> Result<()> {
        judged::add_training(training, evaluation)
    }

    fn evaluate(&self, frame: &Frame, seed: u64) -> Result<Evaluation> {
        let unrolled = unrolled::unrolled(frame)?;
        let width = unrolled::width(&frame.schema).unwrap_or(1);
        let frame = unrolled.as_ref().unwrap_or(frame);
        let parts = Parts::of(frame, self.part)?;
        let rows = Rows::read(frame, &parts, width)?;
        let constants = self.constants(&rows, parts.baseline());
        let measure = |chosen: &[usize]| self.measure(&rows, constants.as_deref(), chosen);

        let mut evaluation = parts.evaluation();
        let list = measure(&parts.judged);
        let how = match self.baseline {
            Baseline::Mean => "the mean of the training rows",
            Baseline::Median => "the median of the training rows",
        };
        let names = ["rmse", "mae", "mean_deviance", "pinball_loss"];
        let lifts: Vec<Lift> = names.iter().filter_map(|name| lift(&list, name)).collect();
        evaluation.tables.extend(judged::lift_table(how, &lifts));
        let truths = pick(&rows.truths, &parts.judged);
        let predictions = pick(&rows.predictions, &parts.judged);
        let residuals: Vec<f64> = truths
            .iter()
            .zip(&predictions)
            .map(|(truth, prediction)| truth - prediction)
            .collect();
        let weights = rows.weights_of(&parts.judged);
        if width > 1 {
            evaluation
                .tables
                .push(places_table(width, &parts.judged, &measure));
        }
        evaluation
            .tables
            .push(residual_table(&residuals, weights.as_deref()));
        evaluation.plots = vec![
            plots::predicted_against_true(&predictions, &truths, list.get("r2"))?,
            plots::residuals(&residuals, weights.as_deref(), list.get("bias"))?,
        ];
        let bootstrap = self.bootstrap.as_ref().map(|bootstrap| match width {
            1 => bootstrap.clone(),
            _ => bootstrap.clone().or_group(unrolled::ROW),
        });
        let further = Further {
            bootstrap: bootstrap.as_ref(),
            ..self.further()
        };
        further.complete(
            &mut evaluation,
            frame,
            &parts,
            &BY_SLICE.map(str::to_owned),
            seed,
            &measure,
        )?;
        // A forecaster answers no training rows; a model that does is judged on them, too.
        let answered = |row: &usize| {
            rows.predictions[*row].is_finite()
                && rows
                    .ends
                    .as_ref()
                    .is_none_or(|(lower, upper)| lower[*row].is_finite() && upper[*row].is_finite())
        };
        if let Some(train) = parts.beside().filter(|train| train.iter().all(answered)) {
            evaluation.train_metrics = measure(train).defined;
        }
        Ok(evaluation)
    }
}

/// How good each number of the lists is: of a sequence, each step.
fn places_table(width: usize, judged: &[usize], measure: &dyn Fn(&[usize]) -> MetricList) -> Table {
    let line = |place: usize| {
        let rows = judged.iter().copied();
        let rows: Vec<usize> = rows.filter(|row| row % width == place).collect();
        let list = measure(&rows);
        let figures = BY_SLICE.map(|name| list.get(name).map_or("–".into(), figure));
        [vec![(place + 1).to_string()], figures.to_vec()].concat()
    };
    Table {
        name: "places".into(),
        title: "Each number of the lists".into(),
        columns: [&["place"][..], &BY_SLICE]
            .concat()
            .into_iter()
            .map(str::to_owned)
            .collect(),
        rows: (0..width).map(line).collect(),
    }
}

/// How far truths lie from predictions.
fn residual_table(residuals: &[f64], weights: Option<&[f64]>) -> Table {
    let quantiles = [
        ("5 %", 0.05),
        ("25 %", 0.25),
        ("median", 0.5),
        ("75 %", 0.75),
        ("95 %", 0.95),
    ];
    // As `bias`: prediction minus truth.
    let errors: Vec<f64> = residuals.iter().map(|residual| 0.0 - residual).collect();
    let line = |(name, at): (&str, f64)| {
        let value = weighted_quantile(&errors, weights, at);
        vec![name.to_owned(), value.map_or("–".into(), figure)]
    };
    Table {
        name: "residuals".into(),
        title: "Residuals (prediction minus truth)".into(),
        columns: vec!["share of rows below".into(), "residual".into()],
        rows: quantiles.map(line).to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use polars::prelude::{DataFrame, NamedFrom, ReshapeDimension, Series, df};
    use taktline_core::serde_yaml;

    use super::*;
    use crate::judged::testing::{self, announced, close, codes, table};

    fn stage(params: &str) -> Regression {
        let params: serde_yaml::Value = serde_yaml::from_str(params).expect("YAML");
        serde_yaml::with::singleton_map_recursive::deserialize(params).expect("params")
    }

    fn frame(data: DataFrame) -> Frame {
        testing::frame(
            data,
            &[("defects", Role::Target), (PREDICTION, Role::Internal)],
        )
    }

    #[test]
    fn columns_of_the_rows_are_no_interval_of_the_model() {
        let mut frame = boards();
        assert!(
            stage("{}")
                .metrics(&frame.schema)
                .contains(&"coverage".to_owned())
        );
        for name in [LOWER, UPPER] {
            let column = frame.schema.column_mut(name).expect("a column");
            *column = column.clone().with_role(Role::Feature);
        }
        let evaluation = stage("{}").evaluate(&frame, 1).expect("an evaluation");
        announced(&stage("{}"), &frame, &evaluation);
        assert_eq!(evaluation.metric("coverage"), None);
    }

    /// Train: mean 4, median 3. Test: truths 2, 4, 8 and predictions 3, 4, 6.
    fn boards() -> Frame {
        let data = df!(
            "defects" => [1_i64, 3, 8, 2, 4, 8],
            PREDICTION => [1.0, 3.0, 8.0, 3.0, 4.0, 6.0],
            LOWER => [0.0, 2.0, 7.0, 2.5, 3.0, 4.0],
            UPPER => [2.0, 4.0, 9.0, 3.5, 5.0, 8.0],
            "line" => ["a", "a", "a", "a", "b", "b"],
            PARTITION => ["train", "train", "train", "test", "test", "test"],
        );
        frame(data.expect("a frame"))
    }

    #[test]
    fn lists_are_judged_number_by_number() {
        let lists = |numbers: [f64; 8]| {
            let series = Series::new("".into(), numbers.to_vec());
            let shape = [4, 2].map(ReshapeDimension::new);
            series.reshape_array(&shape).expect("lists")
        };
        let data = df!(
            "defects" => lists([1.0, 10.0, 3.0, 20.0, 2.0, 14.0, 4.0, 18.0]),
            PREDICTION => lists([1.0, 10.0, 3.0, 20.0, 3.0, 15.0, 4.0, 16.0]),
            PARTITION => ["train", "train", "test", "test"],
            "line" => ["a", "b", "a", "b"],
        );
        let frame = frame(data.expect("a frame"));
        let stage = stage("{by: line, bootstrap: {samples: 100}}");
        let mut cx_problems = codes(&stage, &frame.schema);
        cx_problems.retain(|code| *code != "no-split");
        assert!(cx_problems.is_empty(), "{cx_problems:?}");
        let evaluation = stage.evaluate(&frame, 1).expect("an evaluation");
        announced(&stage, &frame, &evaluation);
        // Errors 1, 1, 0 and -2.
        close(&evaluation, "rmse", (6.0_f64 / 4.0).sqrt());
        close(&evaluation, "mae", 1.0);
        // The constants 2 and 15 miss by 0, 1, 2 and 3.
        close(&evaluation, "baseline_rmse", (14.0_f64 / 4.0).sqrt());
        close(&evaluation, "worst_mae", 1.0);
        let places = table(&evaluation, "places");
        assert_eq!(places.rows[0][..3], ["1", "0.7071", "0.5000"]);
        assert_eq!(places.rows[1][..3], ["2", "1.5811", "1.5000"]);
    }

    #[test]
    fn errors_baseline_and_lift_by_hand() {
        let stage = stage("{quantile: 0.75, deviance: poisson, by: line}");
        let frame = boards();
        let evaluation = stage.evaluate(&frame, 1).expect("an evaluation");
        announced(&stage, &frame, &evaluation);
        close(&evaluation, "rmse", (5.0_f64 / 3.0).sqrt());
        close(&evaluation, "mae", 1.0);
        close(&evaluation, "median_absolute_error", 1.0);
        close(&evaluation, "bias", -1.0 / 3.0);
        close(&evaluation, "mape", (0.5 + 0.25) / 3.0);
        close(&evaluation, "coverage", 2.0 / 3.0);
        close(&evaluation, "mean_width", (1.0 + 2.0 + 4.0) / 3.0);
        // The constant 4 misses by 2, 0 and 4.
        close(&evaluation, "baseline_rmse", (20.0_f64 / 3.0).sqrt());
        close(&evaluation, "baseline_mae", 2.0);
        close(&evaluation, "rmse_skill", 0.5);
        close(&evaluation, "mae_skill", 0.5);
        close(&evaluation, "pinball_loss", (0.25 + 0.75 * 2.0) / 3.0);
        // Of 1, 3 and 8, three quarters of the rows do not exceed 8.
        close(
            &evaluation,
            "baseline_pinball_loss",
            0.25 * (6.0 + 4.0) / 3.0,
        );
        close(&evaluation, "worst_rmse", 2.0_f64.sqrt());
        close(&evaluation, "worst_mae", 1.0);
        let slices = table(&evaluation, "by_line");
        assert_eq!(slices.rows[0], ["a", "1", "1.0000", "1.0000", "–"]);
        let train = &evaluation.train_metrics;
        assert!(train.contains(&("rmse".to_owned(), 0.0)), "{train:?}");
        let lift = table(&evaluation, "baseline");
        assert_eq!(
            lift.title,
            "Lift over the baseline (the mean of the training rows)"
        );
        assert_eq!(lift.rows[1], ["mae", "1.0000", "2", "50.0 %"]);
        let plots: Vec<&str> = evaluation
            .plots
            .iter()
            .map(|plot| plot.name.as_str())
            .collect();
        assert_eq!(plots, ["predicted_against_true", "residuals"]);
    }

    #[test]
    fn the_median_is_another_constant() {
        let evaluation = stage("{baseline: median}")
            .evaluate(&boards(), 1)
            .expect("an evaluation");
        close(&evaluation, "baseline_mae", (1.0 + 1.0 + 5.0) / 3.0);
    }

    #[test]
    fn intervals_hold_the_metric() {
        let truths: Vec<f64> = (0..200).map(f64::from).collect();
        let predictions: Vec<f64> = (0..200)
            .map(|row| f64::from(row) + f64::from(row % 3) - 1.0)
            .collect();
        let data = df!("defects" => truths, PREDICTION => predictions).expect("a frame");
        let frame = frame(data);
        let stage = stage("{bootstrap: {samples: 300, level: 0.9}}");
        let evaluation = stage.evaluate(&frame, 5).expect("an evaluation");
        let intervals = evaluation.intervals.as_ref().expect("intervals");
        assert_eq!((intervals.level, intervals.samples), (0.9, 300));
        for name in ["rmse", "mae", "r2", "bias", "mae_skill"] {
            let (low, high) = intervals.of(name).expect("an interval");
            let value = evaluation.metric(name).expect("a metric");
            assert!(low < value && value < high, "{name}: {low} {value} {high}");
        }
        assert_eq!(intervals.of("baseline_mae"), None);
        assert_eq!(
            stage.evaluate(&frame, 5).expect("an evaluation"),
            evaluation
        );
    }

    #[test]
    fn what_has_no_value_is_listed_and_rows_without_numbers_are_named() {
        let data = df!("defects" => [0.0, 0.0], PREDICTION => [Some(1.0), Some(2.0)]);
        let evaluation = stage("{deviance: gamma}")
            .evaluate(&frame(data.expect("a frame")), 1)
            .expect("an evaluation");
        let undefined = table(&evaluation, "undefined_metrics");
        let names: Vec<&str> = undefined.rows.iter().map(|row| row[0].as_str()).collect();
        for name in ["r2", "mape", "mean_deviance", "d2", "rmse_skill"] {
            assert!(names.contains(&name), "{names:?}");
        }
        let data = df!("defects" => [1.0, 2.0], PREDICTION => [Some(1.0), None]);
        let error = stage("{}")
            .evaluate(&frame(data.expect("a frame")), 1)
            .expect_err("a row without prediction")
            .to_string();
        assert_eq!(error, "`prediction` holds no finite number in row 2");
    }

    #[test]
    fn check_finds_every_problem() {
        let mut schema = boards().schema;
        schema.facts.partitions = vec![Partition::Train, Partition::Test];
        assert!(codes(&stage("{deviance: {tweedie: 1.5}}"), &schema).is_empty());
        let wrong = stage(
            "{part: validation, deviance: {tweedie: 1.0}, quantile: 1.0, by: lines, bootstrap: {level: 0.0}}",
        );
        assert_eq!(
            codes(&wrong, &schema),
            [
                "unknown-part",
                "out-of-range",
                "out-of-range",
                "unknown-column",
                "out-of-range"
            ]
        );
        let data = df!("defects" => ["many"]).expect("a frame");
        let bare = testing::frame(data, &[("defects", Role::Target)]).schema;
        assert_eq!(
            codes(&stage("{}"), &bare),
            ["no-model", "wrong-type", "no-split"]
        );
    }

    #[test]
    fn the_example_is_a_stage() {
        testing::example_is_a_stage("evaluate.regression", "Judges the predictions");
    }
}
