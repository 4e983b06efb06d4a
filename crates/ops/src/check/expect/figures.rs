//! Bounds on figures of a whole column: shares, means, quantiles, the newest value; and its type.

use chrono::{DateTime, Utc};
use polars::prelude::{Column as PolarsColumn, DataType, TimeUnit};
use taktline_core::{CheckContext, Column, Error, Literal, ParamPath, Problem, Result, type_name};

use super::{
    finding::{Bounded, percent},
    params::{Bounds, ColumnRule, Fresh, Quantile, RuleSeverity},
    values::{check_bounds, check_order, outside},
};
use crate::{
    column_type::ColumnType,
    columns::{self, Scalar},
};

/// One bound on a figure of the whole column.
#[derive(Debug, Clone, Copy)]
pub(super) enum Figure<'a> {
    Type(ColumnType),
    Nulls(&'a Bounds<f64>),
    Distinct(&'a Bounds<u64>),
    Mean(&'a Bounds<f64>),
    StdDev(&'a Bounds<f64>),
    Sum(&'a Bounds<f64>),
    Min(&'a Bounds<Scalar>),
    Max(&'a Bounds<Scalar>),
    Quantile(&'a Quantile),
    Fresh(&'a Fresh),
}

/// What a figure is, and whether it keeps its bounds.
pub(super) struct Measured {
    pub(super) is_broken: bool,
    /// The figure in words.
    pub(super) evidence: String,
    /// Whether the words tell the value of a single row.
    pub(super) tells_value: bool,
}

impl ColumnRule {
    /// The bounds on figures.
    pub(super) fn figures(&self) -> Vec<Figure<'_>> {
        [
            self.r#type.map(Figure::Type),
            self.nulls.as_ref().map(Figure::Nulls),
            self.distinct.as_ref().map(Figure::Distinct),
            self.mean.as_ref().map(Figure::Mean),
            self.stddev.as_ref().map(Figure::StdDev),
            self.sum.as_ref().map(Figure::Sum),
            self.min.as_ref().map(Figure::Min),
            self.max.as_ref().map(Figure::Max),
            self.quantile.as_ref().map(Figure::Quantile),
            self.fresh.as_ref().map(Figure::Fresh),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

impl Figure<'_> {
    fn key(&self) -> &'static str {
        match self {
            Self::Type(_) => "type",
            Self::Nulls(_) => "nulls",
            Self::Distinct(_) => "distinct",
            Self::Mean(_) => "mean",
            Self::StdDev(_) => "stddev",
            Self::Sum(_) => "sum",
            Self::Min(_) => "min",
            Self::Max(_) => "max",
            Self::Quantile(_) => "quantile",
            Self::Fresh(_) => "fresh",
        }
    }

    /// The rule in words.
    pub(super) fn rule(&self, name: &str) -> String {
        match self {
            Self::Type(wanted) => format!("{name} is {}", type_name(&wanted.data_type())),
            Self::Nulls(bounds) => format!("share of nulls in {name} {}", Bounded(bounds)),
            Self::Distinct(bounds) => format!("different values of {name} {}", Bounded(bounds)),
            Self::Mean(bounds) => format!("mean of {name} {}", Bounded(bounds)),
            Self::StdDev(bounds) => format!("standard deviation of {name} {}", Bounded(bounds)),
            Self::Sum(bounds) => format!("sum of {name} {}", Bounded(bounds)),
            Self::Min(bounds) => format!("least {name} {}", Bounded(bounds)),
            Self::Max(bounds) => format!("largest {name} {}", Bounded(bounds)),
            Self::Quantile(Quantile { at, between }) => {
                format!("{} quantile of {name} {}", percent(*at), Bounded(between))
            }
            Self::Fresh(Fresh { within, as_of }) => {
                let then = match as_of {
                    Some(at) => format!(" at {at}"),
                    None => String::new(),
                };
                format!("newest value of {name} is at most {within} old{then}")
            }
        }
    }

    /// Reports a figure that a column of this type does not have, and bounds that nothing keeps.
    pub(super) fn check(
        &self,
        column: &Column,
        severity: RuleSeverity,
        at: &ParamPath,
        cx: &mut CheckContext<'_>,
    ) {
        let path = at.join(self.key());
        match self {
            Self::Type(wanted) => {
                if !has_type(&column.dtype, *wanted) {
                    let found = type_name(&column.dtype);
                    let message = format!(
                        "stage `{}` expects `{}` to be {}, but it is {found}",
                        cx.stage,
                        column.name,
                        type_name(&wanted.data_type())
                    );
                    let problem = match severity {
                        RuleSeverity::Error => Problem::error("type-mismatch", path, message),
                        RuleSeverity::Warn => Problem::warning("type-mismatch", path, message),
                    };
                    cx.report(problem.label(format!("this is {found}")));
                }
            }
            Self::Nulls(bounds) => {
                check_order(bounds, path.clone(), cx);
                for (index, bound) in bounds.iter().enumerate() {
                    if bound.is_some_and(|bound| !(0.0..=1.0).contains(&bound)) {
                        cx.report(
                            Problem::error(
                                "out-of-range",
                                path.join(index),
                                format!("stage `{}` bounds a share by what is none", cx.stage),
                            )
                            .label("a share is from 0 to 1"),
                        );
                    }
                }
            }
            Self::Distinct(bounds) => {
                if column.dtype.is_nested() {
                    columns::report_type(column, "single values to count", path.clone(), cx);
                }
                check_order(
                    &bounds.map(|bound| bound.map(|bound| bound as f64)),
                    path,
                    cx,
                );
            }
            Self::Mean(bounds) | Self::StdDev(bounds) | Self::Sum(bounds) => {
                columns::is_number(column, path.clone(), cx);
                check_order(bounds, path, cx);
            }
            Self::Quantile(quantile) => {
                columns::is_number(column, path.clone(), cx);
                check_order(&quantile.between, path.join("between"), cx);
            }
            Self::Min(bounds) | Self::Max(bounds) => check_bounds(bounds, column, path, cx),
            Self::Fresh(fresh) => {
                if !columns::is_instant(&column.dtype) {
                    columns::report_type(column, "dates or datetimes", path.clone(), cx);
                }
                if let Some(text) = &fresh.as_of
                    && instant(text).is_none()
                {
                    cx.report(
                        Problem::error(
                            "bad-date",
                            path.join("as_of"),
                            format!("`{text}` is not a point in time"),
                        )
                        .label("not a point in time")
                        .help("write it as `2024-01-31 06:00:00`"),
                    );
                }
            }
        }
    }

    /// The figure, and whether it keeps its bounds; none where there are no values to take it of.
    pub(super) fn measure(&self, column: &PolarsColumn) -> Result<Option<Measured>> {
        let number = |value: f64, bounds: &Bounds<f64>| Measured {
            is_broken: !keeps(value, bounds),
            evidence: format!("it is {value}"),
            tells_value: true,
        };
        Ok(match self {
            Self::Type(wanted) => Some(Measured {
                is_broken: !has_type(column.dtype(), *wanted),
                evidence: format!("it is {}", type_name(column.dtype())),
                tells_value: false,
            }),
            Self::Nulls(bounds) => (!column.is_empty()).then(|| {
                let share = column.null_count() as f64 / column.len() as f64;
                Measured {
                    evidence: format!("{} of {} are null", column.null_count(), column.len()),
                    tells_value: false,
                    ..number(share, bounds)
                }
            }),
            Self::Distinct([low, high]) => {
                let series = column.as_materialized_series();
                // Null is counted as a value of its own.
                let values = series.n_unique()? - usize::from(series.null_count() > 0);
                Some(Measured {
                    is_broken: low.is_some_and(|low| (values as u64) < low)
                        || high.is_some_and(|high| values as u64 > high),
                    evidence: format!("there are {values}"),
                    tells_value: false,
                })
            }
            Self::Mean(bounds) => {
                let values = numbers(column)?;
                mean(&values).map(|mean| number(mean, bounds))
            }
            Self::StdDev(bounds) => {
                let values = numbers(column)?;
                mean(&values).filter(|_| values.len() > 1).map(|mean| {
                    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
                    number((squares / (values.len() - 1) as f64).sqrt(), bounds)
                })
            }
            Self::Sum(bounds) => Some(number(numbers(column)?.iter().sum(), bounds)),
            Self::Quantile(Quantile { at, between }) => {
                quantile(numbers(column)?, *at).map(|value| number(value, between))
            }
            Self::Min(bounds) => extreme(column.min_reduce()?, column, bounds)?,
            Self::Max(bounds) => extreme(column.max_reduce()?, column, bounds)?,
            Self::Fresh(fresh) => Some(age(fresh, column)?),
        })
    }
}

/// Whether a column of this type may pass for one of that; a datetime is one in every unit.
fn has_type(dtype: &DataType, wanted: ColumnType) -> bool {
    match (dtype, wanted.data_type()) {
        (DataType::Datetime(_, None), DataType::Datetime(_, None)) => true,
        (dtype, wanted) => *dtype == wanted,
    }
}

/// Not a number is in no range.
fn keeps(value: f64, [low, high]: &Bounds<f64>) -> bool {
    !value.is_nan() && low.is_none_or(|low| value >= low) && high.is_none_or(|high| value <= high)
}

/// All values that are not null.
fn numbers(column: &PolarsColumn) -> Result<Vec<f64>> {
    let values = column.cast(&DataType::Float64)?;
    Ok(values.f64()?.iter().flatten().collect())
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// Interpolated linearly between the two nearest values: definition 7 of Hyndman and Fan, "Sample quantiles in statistical
/// packages", The American Statistician 50, 1996.
fn quantile(mut values: Vec<f64>, at: f64) -> Option<f64> {
    values.retain(|value| !value.is_nan());
    if values.is_empty() {
        return None;
    }
    let place = at * (values.len() - 1) as f64;
    let below = place.floor() as usize;
    let (_, low, above) = values.select_nth_unstable_by(below, f64::total_cmp);
    let low = *low;
    let fraction = place - below as f64;
    if fraction == 0.0 {
        return Some(low);
    }
    let high = above.iter().copied().fold(f64::INFINITY, f64::min);
    Some(low + fraction * (high - low))
}

fn extreme(
    value: polars::prelude::Scalar,
    column: &PolarsColumn,
    bounds: &Bounds<Scalar>,
) -> Result<Option<Measured>> {
    let value = value.into_column(column.name().clone());
    if value.null_count() > 0 {
        return Ok(None);
    }
    Ok(Some(Measured {
        is_broken: outside(&value, bounds)?.get(0) == Some(true),
        evidence: format!("it is {}", value.get(0)?.str_value()),
        tells_value: true,
    }))
}

/// Microseconds since 1970-01-01 00:00 UTC.
fn instant(text: &str) -> Option<i64> {
    let dtype = DataType::Datetime(TimeUnit::Microseconds, None);
    match Scalar::Text(text.to_owned()).literal(&dtype) {
        Ok(Literal::Timestamp(at)) => Some(at),
        _ => None,
    }
}

fn age(fresh: &Fresh, column: &PolarsColumn) -> Result<Measured> {
    let newest = column.max_reduce()?.into_column(column.name().clone());
    let newest = newest.to_physical_repr().cast(&DataType::Int64)?;
    let Some(newest) = newest.i64()?.get(0) else {
        return Ok(Measured {
            is_broken: true,
            evidence: "there is no value".to_owned(),
            tells_value: false,
        });
    };
    let newest = match column.dtype() {
        DataType::Date => newest.saturating_mul(86_400_000_000),
        DataType::Datetime(TimeUnit::Milliseconds, _) => newest.saturating_mul(1000),
        DataType::Datetime(TimeUnit::Nanoseconds, _) => newest.div_euclid(1000),
        _ => newest,
    };
    let as_of = match &fresh.as_of {
        Some(text) => {
            instant(text).ok_or_else(|| Error::data(format!("`{text}` is not a point in time")))?
        }
        None => Utc::now().timestamp_micros(),
    };
    let shown = DateTime::from_timestamp_micros(newest).map_or_else(
        || newest.to_string(),
        |at| at.format("%Y-%m-%d %H:%M:%S UTC").to_string(),
    );
    Ok(Measured {
        is_broken: as_of.saturating_sub(newest) > fresh.within.microseconds(),
        evidence: format!("it is {shown}"),
        tells_value: true,
    })
}
