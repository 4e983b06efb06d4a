//! `clean.clip_outliers`.

use std::collections::BTreeSet;

use polars::prelude::{Column as PolarsColumn, DataType};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    BinaryOperator, CheckContext, Column, Error, Estimator, Expression, FitContext, Frame,
    Function, Literal, Operation, Problem, ProgressEvent, Result, Role, Schema, Shape, Stage,
    State, UnaryOperator, path, register_kind,
};

use super::{
    groups::report_unused,
    learned::{Constant, Learned, Values, with_values},
};
use crate::{
    columns::{self, Names},
    features::{check_groups, quantile},
};

const VERSION: u32 = 1;

/// Find values far away from the others, by bounds learned from the training rows, and clip them, drop them or make null.
///
/// `iqr` puts the bounds `k` times the distance between the quartiles below the first and above the third (Tukey 1977),
/// `z_score` puts them `limit` standard deviations (divided by n) around the mean, `quantile` at two quantiles. Quantiles
/// lie between two values by linear interpolation, as in NumPy. A value on a bound is inside.
///
/// Each group of `by` has its own bounds; one with fewer than `min_rows` values in the training rows, and one that training
/// did not see, gets those of all training rows. Infinite values are outliers like others, but teach nothing; null and
/// not-a-number stay as they are. Columns keep their type: in whole-number columns the bounds are rounded.
///
/// With `action: drop` rows with an outlier go, in all parts of the data; scoring then starts below this stage, so that
/// rows to score are never dropped.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ClipOutliers {
    /// The columns; default: all features that are real numbers (f32, f64).
    columns: Option<Names>,
    /// Where the bounds are.
    #[serde(default)]
    method: Method,
    /// For `iqr`: how many times the distance between the quartiles; default: 1.5.
    #[schemars(range(min = 0))]
    k: Option<f64>,
    /// For `z_score`: how many standard deviations; default: 3.
    #[schemars(extend("exclusiveMinimum" = 0))]
    limit: Option<f64>,
    /// For `quantile`: the lower one, as a share; default: 0.01.
    #[schemars(range(min = 0, max = 1))]
    low: Option<f64>,
    /// For `quantile`: the upper one, as a share; default: 0.99.
    #[schemars(range(min = 0, max = 1))]
    high: Option<f64>,
    /// The columns that make rows belong together; default: all rows belong together.
    by: Option<Names>,
    /// The fewest values of a group that make bounds of its own.
    #[serde(default = "ten")]
    #[schemars(range(min = 1))]
    min_rows: usize,
    /// What becomes of an outlier.
    #[serde(default)]
    action: Action,
}

fn ten() -> usize {
    10
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Method {
    /// By the distance between the quartiles.
    #[default]
    Iqr,
    /// By the distance from the mean.
    ZScore,
    /// At two quantiles.
    Quantile,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Action {
    /// It becomes the bound.
    #[default]
    Clip,
    /// It becomes null.
    Null,
    /// Its row goes.
    Drop,
}

register_kind! {
    ClipOutliers, "clean.clip_outliers", version: 1,
    example: "- clean.clip_outliers: {columns: [amount], method: iqr, k: 3, by: channel}",
}

/// Values beyond these are outliers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Bounds {
    low: f64,
    high: f64,
}

impl ClipOutliers {
    fn names(&self, input: &Schema) -> Vec<String> {
        match &self.columns {
            Some(names) => names.to_vec(),
            None => input
                .with_role(Role::Feature)
                .filter(|column| column.dtype.is_float())
                .map(|column| column.name.clone())
                .collect(),
        }
    }

    fn by(&self) -> Vec<String> {
        self.by.as_ref().map(Names::to_vec).unwrap_or_default()
    }

    fn bounds(&self, mut values: Vec<f64>) -> Bounds {
        let around = |middle: (f64, f64), width: f64| Bounds {
            low: middle.0 - width,
            high: middle.1 + width,
        };
        match self.method {
            Method::ZScore => {
                // One pass without large sums (Welford 1962).
                let (mut mean, mut squares) = (0.0_f64, 0.0_f64);
                for (index, value) in values.iter().enumerate() {
                    let before = value - mean;
                    mean += before / (index + 1) as f64;
                    squares += before * (value - mean);
                }
                let deviation = (squares / values.len() as f64).sqrt();
                around((mean, mean), self.limit.unwrap_or(3.0) * deviation)
            }
            Method::Iqr => {
                values.sort_unstable_by(f64::total_cmp);
                let quartiles = (quantile(&values, 0.25), quantile(&values, 0.75));
                around(
                    quartiles,
                    self.k.unwrap_or(1.5) * (quartiles.1 - quartiles.0),
                )
            }
            Method::Quantile => {
                values.sort_unstable_by(f64::total_cmp);
                Bounds {
                    low: quantile(&values, self.low.unwrap_or(0.01)),
                    high: quantile(&values, self.high.unwrap_or(0.99)),
                }
            }
        }
    }

    fn check_params(&self, input: &Schema, cx: &mut CheckContext<'_>) {
        let used = |method| (self.method != method).then_some("belongs to another `method`");
        for (key, is_given, unused) in [
            ("k", self.k.is_some(), used(Method::Iqr)),
            ("limit", self.limit.is_some(), used(Method::ZScore)),
            ("low", self.low.is_some(), used(Method::Quantile)),
            ("high", self.high.is_some(), used(Method::Quantile)),
        ] {
            if let (true, Some(label)) = (is_given, unused) {
                report_unused(key, label, cx);
            }
        }
        let (low, high) = (self.low.unwrap_or(0.01), self.high.unwrap_or(0.99));
        if self.method == Method::Quantile && !(0.0 <= low && low < high && high <= 1.0) {
            let path = if self.low.is_some() {
                path!["low"]
            } else {
                path!["high"]
            };
            let message = format!("stage `{}` has quantiles from {low} to {high}", cx.stage);
            cx.report(
                Problem::error("bad-range", path, message)
                    .label("two shares between 0 and 1, the smaller as `low`"),
            );
        }
        let not_a_distance =
            |value: Option<f64>| value.is_some_and(|value| !value.is_finite() || value < 0.0);
        for (key, value) in [("k", self.k), ("limit", self.limit)] {
            if not_a_distance(value) {
                let message = format!("stage `{}` needs a distance from 0", cx.stage);
                cx.report(Problem::error("bad-range", path![key], message).label("not a distance"));
            }
        }
        for name in check_groups(self.by.as_ref(), input, cx) {
            if self.names(input).contains(&name) {
                let message = format!(
                    "stage `{}` cannot change `{name}` and group by it at once",
                    cx.stage
                );
                cx.report(
                    Problem::error("bad-value", path!["by"], message)
                        .label("also a column to look at"),
                );
            }
        }
    }
}

/// The finite numbers of a column.
fn finite(column: &PolarsColumn) -> Result<Vec<f64>> {
    let numbers = column.cast(&DataType::Float64)?;
    Ok(numbers
        .f64()?
        .iter()
        .flatten()
        .filter(|number| number.is_finite())
        .collect())
}

/// A bound as a value of the column, or as near to it as the type allows.
fn bound(value: f64, dtype: &DataType) -> Constant {
    let (least, greatest) = match dtype {
        DataType::Int8 => (i8::MIN.into(), i8::MAX.into()),
        DataType::Int16 => (i16::MIN.into(), i16::MAX.into()),
        DataType::Int32 => (i32::MIN.into(), i32::MAX.into()),
        DataType::UInt8 => (0, u8::MAX.into()),
        DataType::UInt16 => (0, u16::MAX.into()),
        DataType::UInt32 => (0, u32::MAX.into()),
        DataType::UInt64 => (0, i64::MAX),
        DataType::Int64 => (i64::MIN, i64::MAX),
        _ => return Constant::Float(value),
    };
    Constant::Int((value.round() as i64).clamp(least, greatest))
}

/// What a column is compared with, row by row.
struct Limits {
    low: Values,
    high: Values,
}

impl Limits {
    fn of(learned: super::learned::LearnedColumn<Bounds>, dtype: &DataType) -> Self {
        let values = |name: &str, side: fn(&Bounds) -> f64| Values {
            name: format!("{name}-{}", learned.column),
            overall: bound(side(&learned.overall), dtype),
            by_group: learned
                .by_group
                .iter()
                .map(|bounds| bounds.as_ref().map(|bounds| bound(side(bounds), dtype)))
                .collect(),
        };
        Self {
            low: values("low", |bounds| bounds.low),
            high: values("high", |bounds| bounds.high),
        }
    }

    /// Whether the value of a row is beyond: first below, then above. Not-a-number is neither.
    fn beyond(&self, column: &Column) -> [Expression; 2] {
        let value = || Expression::column(&column.name);
        let is_number =
            || Expression::call(Function::IsNan, vec![value()]).unary(UnaryOperator::Not);
        let compared = |operator, limit: &Values| {
            let beyond = value().binary(operator, limit.expression());
            if column.dtype.is_float() {
                is_number().binary(BinaryOperator::And, beyond)
            } else {
                beyond
            }
        };
        [
            compared(BinaryOperator::Less, &self.low),
            compared(BinaryOperator::Greater, &self.high),
        ]
    }

    fn replaced(&self, column: &Column, action: Action) -> (String, Expression) {
        let [below, above] = self.beyond(column);
        let instead = |limit: &Values| match action {
            Action::Null => Expression::Literal(Literal::Null),
            Action::Clip | Action::Drop => limit.expression(),
        };
        let value = Expression::Case {
            branches: vec![(below, instead(&self.low)), (above, instead(&self.high))],
            otherwise: Box::new(Expression::column(&column.name)),
        };
        (column.name.clone(), value.cast(column.dtype.clone()))
    }

    /// Null is no outlier.
    fn is_inside(&self, column: &Column) -> Expression {
        let [below, above] = self.beyond(column);
        let outside = below.binary(BinaryOperator::Or, above);
        Expression::call(
            Function::Coalesce,
            vec![outside, Expression::Literal(Literal::Bool(false))],
        )
        .unary(UnaryOperator::Not)
    }
}

impl Stage for ClipOutliers {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let input = columns::input(inputs);
        self.check_params(input, cx);
        match &self.columns {
            Some(names) => {
                for (path, column) in names.find(input, &path!["columns"], cx) {
                    columns::is_number(column, path, cx);
                }
            }
            None if self.names(input).is_empty() && !input.incomplete => {
                let message = format!(
                    "stage `{}` finds no feature that is a real number",
                    cx.stage
                );
                cx.report(
                    Problem::error("no-columns", taktline_core::ParamPath::kind(), message)
                        .help("name the columns with `columns`"),
                );
            }
            None => {}
        }
        input.clone()
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Estimator(self)
    }
}

impl Estimator for ClipOutliers {
    fn fit_reads(&self, input: &Schema) -> BTreeSet<String> {
        self.names(input).into_iter().chain(self.by()).collect()
    }

    fn fit(&self, train: &Frame, cx: &mut FitContext<'_>) -> Result<State> {
        let names = self.names(&train.schema);
        let learned = Learned::of(&train.data, &self.by(), &names, |column| {
            cx.cancellation.check()?;
            let values = finite(column)?;
            // Bounds are f64, which would change whole numbers that it does not hold.
            const EXACT: f64 = 9_007_199_254_740_992.0;
            if column.dtype().is_integer() && values.iter().any(|value| value.abs() >= EXACT) {
                return Err(Error::data(format!(
                    "the training values of `{}` are too large to find outliers among them: beyond 2^53 not every whole number has bounds",
                    column.name()
                )));
            }
            // The whole column always has bounds; a group only where it has values enough.
            let is_whole = column.len() == train.data.height();
            let enough = if is_whole { 1 } else { self.min_rows };
            Ok((values.len() >= enough.max(1)).then(|| self.bounds(values)))
        })?;
        for learned in &learned.columns {
            let Bounds { low, high } = learned.overall;
            if !(low.is_finite() && high.is_finite()) {
                return Err(Error::data(format!(
                    "the training values of `{}` are too large to find outliers among them",
                    learned.column
                )));
            }
            if low == high {
                cx.progress.event(ProgressEvent::Message(format!(
                    "most training rows hold {low} in `{}`, so that every other value counts as an outlier",
                    learned.column
                )));
            }
        }
        State::from_data(VERSION, &learned)
    }

    fn lower(&self, state: &State, inputs: &[Schema]) -> Result<Vec<Operation>> {
        let input = columns::input(inputs);
        let Learned { groups, columns } = state.data::<Learned<Bounds>>(VERSION)?;
        let mut values = Vec::new();
        let mut replaced = Vec::new();
        let mut inside: Option<Expression> = None;
        for learned in columns {
            // Scoring brings only the columns that the model needs.
            let Some(column) = input.column(&learned.column) else {
                continue;
            };
            let limits = Limits::of(learned, &column.dtype);
            match self.action {
                Action::Drop => {
                    let this = limits.is_inside(column);
                    inside = Some(match inside {
                        Some(others) => others.binary(BinaryOperator::And, this),
                        None => this,
                    });
                }
                Action::Clip | Action::Null => replaced.push(limits.replaced(column, self.action)),
            }
            values.extend([limits.low, limits.high]);
        }
        let work = match inside {
            Some(inside) => Operation::Filter(inside),
            None => Operation::With(replaced),
        };
        with_values(&values, &groups, &self.by(), vec![work], input)
    }

    fn keeps_rows(&self) -> bool {
        self.action != Action::Drop
    }
}

#[cfg(test)]
mod tests;
