//! What the columns of a frame hold: figures, frequent values, how columns go together, and expectations that would hold.
//!
//! Everything is computed on all rows, but for the comparison of columns with each other, which takes evenly spaced rows
//! where there are too many pairs. Values of personal data are counted and never shown.

mod association;
mod categories;
mod format;
mod numbers;
mod page;
mod rules;
mod shape;
mod times;

use std::{
    num::NonZero,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use polars::prelude::{Column as PolarsColumn, DataType, IntoLazy, UniqueKeepStrategy};
use serde::Serialize;
use taktline_core::{Frame, Result, Role, type_name};

pub use association::{Association, Correlation};
pub use categories::Texts;
pub use format::{figure, percent};
pub use numbers::{Numbers, Quantiles};
pub use page::profile_html;
pub use times::{Gap, Times};

/// The most frequent values that are shown.
const MOST_FREQUENT: usize = 10;

/// What a frame holds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Profile {
    /// What was looked at: a file, a stage.
    pub name: String,
    /// Rows.
    pub rows: usize,
    /// Rows that are equal to one above in every column; none where the columns' types cannot be compared.
    pub duplicate_rows: Option<usize>,
    /// The columns, in order.
    pub columns: Vec<ColumnProfile>,
    /// How columns of numbers go together, the strongest first.
    pub correlations: Vec<Correlation>,
    /// How columns of categories go together, the strongest first.
    pub associations: Vec<Association>,
    /// Rows that columns were compared on.
    pub compared_rows: usize,
    /// Columns that were not compared with others because there are too many.
    pub uncompared_columns: usize,
    /// Expectations that hold for these rows, with some room: a `check.expect` stage, as YAML.
    pub expectations: String,
}

/// What a column holds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ColumnProfile {
    /// Its name.
    pub name: String,
    /// Its type, as specs write it.
    #[serde(rename = "type")]
    pub dtype: String,
    /// What it is for, where a pipeline says so.
    pub role: Role,
    /// Whether it is personal data, so that its values are not shown.
    pub is_private: bool,
    /// Values that are not null.
    pub count: usize,
    /// Nulls.
    pub nulls: usize,
    /// Different values, nulls left out; none for types that cannot be compared.
    pub distinct: Option<usize>,
    /// Figures, for numbers.
    pub numbers: Option<Numbers>,
    /// Lengths, for text.
    pub texts: Option<Texts>,
    /// Range and gaps, for dates and times.
    pub times: Option<Times>,
    /// The most frequent values, where values occur more than once.
    pub frequent: Vec<Frequency>,
    /// How the values are spread, for numbers and times.
    pub histogram: Option<Histogram>,
    /// What the expectations are made of.
    #[serde(skip)]
    pub(crate) evidence: rules::Evidence,
}

/// How often a value occurs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Frequency {
    /// The value, as text.
    pub value: String,
    /// Rows that hold it.
    pub count: usize,
}

/// Values counted in bins of equal width.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Histogram {
    /// Where bins begin and end: one more than there are bins, as text.
    pub edges: Vec<String>,
    /// Values in each bin; its beginning belongs to it, and the end of the last.
    pub counts: Vec<usize>,
    /// Values before the first bin, where a few lie far from the others.
    pub below: usize,
    /// Values after the last bin.
    pub above: usize,
}

/// What one look at a column gives: its profile, and what comparing it with others needs.
struct Looked {
    profile: ColumnProfile,
    comparable: association::Comparable,
}

/// Looks at every column of the frame, and at how they go together. Infinite numbers and those that are not a number are
/// counted and left out of all other figures.
///
/// # Errors
/// polars cannot read a column as its type says.
pub fn profile(name: &str, frame: &Frame) -> Result<Profile> {
    let data = &frame.data;
    let looked: Vec<Looked> =
        in_parallel(data.width(), |index| look(&data.columns()[index], frame))?;
    let (columns, comparables): (Vec<ColumnProfile>, Vec<association::Comparable>) = looked
        .into_iter()
        .map(|looked| (looked.profile, looked.comparable))
        .unzip();
    let duplicate_rows = data
        .clone()
        .lazy()
        .unique(None, UniqueKeepStrategy::Any)
        .collect()
        .ok()
        .filter(|_| data.width() > 0)
        .map(|unique| data.height() - unique.height());
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    let compared = association::compare(&names, &comparables, data.height())?;
    let expectations = rules::yaml(data.height(), &columns);
    Ok(Profile {
        name: name.to_owned(),
        rows: data.height(),
        duplicate_rows,
        columns,
        correlations: compared.correlations,
        associations: compared.associations,
        compared_rows: compared.rows,
        uncompared_columns: compared.left_out,
        expectations,
    })
}

fn look(column: &PolarsColumn, frame: &Frame) -> Result<Looked> {
    let known = frame.schema.column(column.name());
    let role = known.map(|known| known.role).unwrap_or_default();
    let nulls = column.null_count();
    let mut looked = Looked {
        profile: ColumnProfile {
            name: column.name().to_string(),
            dtype: type_name(column.dtype()),
            role,
            is_private: known
                .is_some_and(|known| known.role == Role::Pii || !known.from_pii.is_empty()),
            count: column.len() - nulls,
            nulls,
            distinct: None,
            numbers: None,
            texts: None,
            times: None,
            frequent: Vec::new(),
            histogram: None,
            evidence: rules::Evidence::None,
        },
        comparable: association::Comparable::No,
    };
    match column.dtype() {
        dtype if dtype.is_primitive_numeric() => numbers::look(column, &mut looked)?,
        DataType::Date | DataType::Datetime(..) => times::look(column, &mut looked)?,
        DataType::String | DataType::Boolean | DataType::Categorical(..) | DataType::Enum(..) => {
            categories::look(column, &mut looked)?;
        }
        dtype if !dtype.is_nested() => {
            let different = column.as_materialized_series().n_unique().ok();
            looked.profile.distinct = different.map(|count| count - usize::from(nulls > 0));
        }
        _ => {}
    }
    if looked.profile.is_private {
        let profile = &mut looked.profile;
        profile.numbers = None;
        profile.times = None;
        profile.frequent.clear();
        profile.histogram = None;
        profile.evidence = rules::Evidence::None;
    }
    Ok(looked)
}

/// The results of this work on every index, in order, by as many threads as there are cores.
fn in_parallel<T: Send>(count: usize, work: impl Fn(usize) -> Result<T> + Sync) -> Result<Vec<T>> {
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, Result<T>)>> = Mutex::new(Vec::with_capacity(count));
    std::thread::scope(|scope| {
        for _ in 0..threads.min(count) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count {
                        break;
                    }
                    let result = work(index);
                    done.lock()
                        .unwrap_or_else(std::sync::PoisonError::into_inner)
                        .push((index, result));
                }
            });
        }
    });
    let mut done = done
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

/// The most frequent of the counted values, by count, then in their own order; nothing where no value occurs twice.
fn most_frequent<V: Ord>(
    mut counted: Vec<(V, usize)>,
    text: impl Fn(&V) -> String,
) -> Vec<Frequency> {
    let order = |one: &(V, usize), other: &(V, usize)| {
        other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0))
    };
    if counted.len() > MOST_FREQUENT {
        counted.select_nth_unstable_by(MOST_FREQUENT, order);
        counted.truncate(MOST_FREQUENT);
    }
    counted.sort_by(order);
    if counted.first().is_none_or(|(_, count)| *count < 2) {
        return Vec::new();
    }
    counted
        .into_iter()
        .map(|(value, count)| Frequency {
            value: text(&value),
            count,
        })
        .collect()
}

#[cfg(test)]
mod tests;
