//! `features.sequence`.

use std::{collections::BTreeSet, sync::Arc};

use polars::{
    lazy::dsl::apply_multiple,
    prelude::{
        BooleanChunked, Column as PolarsColumn, DataFrame, DataType, Expr, Field, GroupsIndicator,
        IntoColumn, LazyFrame, NamedFrom, PolarsError, PolarsResult, ReshapeDimension, Series,
    },
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    CheckContext, Column, Local, Operation, Problem, Relational, Result, Schema, Shape, Stage,
    path, register_kind, type_name,
};

use crate::columns::{self, Names};

/// Put the last rows beside each row as a sequence, for `model.torch.rnn`: the last 24 hours of a machine.
///
/// The values of `columns` in the row itself and in the `steps - 1` rows before it, in the same group, become one array of shape
/// steps × columns, oldest first. Where a group has fewer rows by then, the missing ones are as the oldest that there is
/// (`start: repeat`), or zeros. Rows stay in their place, and rows of one time follow each other in row order. Steps count rows, not
/// time: `clean.resample_time` makes them equal. Rows to score need the rows before them. A null or not-a-number is an error.
///
/// With `ahead` it is the `steps` rows after each row, the next one first, as a list of numbers: what a model learns to say that
/// forecasts several steps at once. Give the column the role `target`. It is null where fewer rows follow; drop such rows for
/// training (`clean.drop_nulls`).
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Sequence {
    /// The columns of numbers or truth values, in the order of the channels.
    columns: Names,
    /// The columns that make rows belong together: `machine`; default: all rows belong together.
    by: Option<Names>,
    /// The column that orders the rows in time; default: the column with the role `time`.
    over: Option<String>,
    /// How many rows a sequence has.
    #[schemars(range(min = 1, max = 100_000))]
    steps: usize,
    /// What stands where there were no rows yet.
    #[serde(default)]
    start: Start,
    /// Whether it is the rows after each row, of one column, instead of the row and those before it.
    #[serde(default)]
    ahead: bool,
    /// The new column.
    #[serde(default = "sequence")]
    name: String,
}

/// What stands where there were no rows yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Start {
    /// The oldest row there is.
    #[default]
    Repeat,
    /// Zeros.
    Zero,
}

fn sequence() -> String {
    "sequence".to_owned()
}

register_kind! {
    Sequence, "features.sequence", version: 1,
    example: "- features.sequence: {columns: [load, temperature], by: machine, over: at, steps: 24, name: history}",
}

impl Sequence {
    fn by(&self) -> Vec<String> {
        self.by.as_ref().map(Names::to_vec).unwrap_or_default()
    }

    fn dtype(&self) -> DataType {
        if self.ahead {
            return DataType::Array(Box::new(DataType::Float32), self.steps);
        }
        let step = DataType::Array(Box::new(DataType::Float32), self.columns.iter().count());
        DataType::Array(Box::new(step), self.steps)
    }

    fn output(&self, input: &Schema) -> Schema {
        let mut output = input.clone();
        let mut column = Column::new(self.name.clone(), self.dtype());
        for source in self.columns.iter().filter_map(|name| input.column(name)) {
            let lineage = source.from_target.iter().cloned();
            column.from_target.extend(lineage);
            // Of personal data it is personal data.
            if source.role == taktline_core::Role::Pii {
                column.role = taktline_core::Role::Pii;
            }
        }
        output.set(column);
        output
    }
}

impl Stage for Sequence {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let input = columns::input(inputs);
        for (place, column) in self.columns.find(input, &path!["columns"], cx) {
            if !column.is_numeric() {
                columns::report_type(column, "numbers, true or false", place, cx);
            }
        }
        if let Some(by) = &self.by {
            by.find(input, &path!["by"], cx);
        }
        columns::time_column(self.over.as_deref(), input, path!["over"], cx);
        if self.ahead && self.columns.iter().count() > 1 {
            cx.report(
                Problem::error(
                    "several-columns",
                    path!["columns"],
                    "what follows is a list of the numbers of one column",
                )
                .help("name one, or make a sequence of each"),
            );
        }
        if self.ahead && self.start == Start::Zero {
            cx.report(Problem::error(
                "unused-param",
                path!["start"],
                "nothing stands for rows that do not follow: the list is null",
            ));
        }
        columns::is_free(input, &self.name, path!["name"], cx);
        self.output(input)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Relational(self)
    }
}

impl Relational for Sequence {
    fn lower(&self, inputs: &[Schema]) -> Result<Vec<Operation>> {
        let input = columns::input(inputs);
        let Some(over) = columns::time_name(self.over.as_deref(), input) else {
            return Ok(Vec::new());
        };
        let (by, own) = (self.by(), self.columns.to_vec());
        let reads: Vec<String> = std::iter::once(over)
            .chain(by.iter().cloned())
            .chain(own.iter().cloned())
            .collect();
        // Scoring may bring a frame without them.
        if reads.iter().any(|name| input.column(name).is_none()) {
            return Ok(Vec::new());
        }
        let window = Arc::new(Window {
            keys: by.len(),
            steps: self.steps,
            start: self.start,
            ahead: self.ahead,
        });
        let arguments: Vec<Expr> = reads
            .iter()
            .map(|name| Expr::Column(name.as_str().into()))
            .collect();
        let (name, dtype) = (self.name.clone(), self.dtype());
        // Arrays of arrays have no window function.
        let apply = move |frame: LazyFrame| {
            let (window, dtype, output) = (Arc::clone(&window), dtype.clone(), name.clone());
            let sequences = apply_multiple(
                move |columns: &mut [PolarsColumn]| window.run(columns),
                arguments.clone(),
                move |_, _| Ok(Field::new(output.as_str().into(), dtype.clone())),
                false,
            );
            Ok(frame.with_columns([sequences.alias(name.as_str())]))
        };
        Ok(vec![Operation::Local(Local {
            name: match self.ahead {
                true => "put the next rows beside each",
                false => "put the last rows beside each",
            },
            reads: reads.into_iter().collect::<BTreeSet<_>>(),
            keeps_rows: true,
            schema: self.output(input),
            apply: Arc::new(apply),
        })])
    }
}

/// The windows over columns: the time, so many keys, and the channels.
struct Window {
    keys: usize,
    steps: usize,
    start: Start,
    ahead: bool,
}

impl Window {
    fn run(&self, columns: &mut [PolarsColumn]) -> PolarsResult<PolarsColumn> {
        let (time, rest) = columns
            .split_first()
            .ok_or_else(|| failed("no columns".to_owned()))?;
        let (keys, channels) = rest.split_at(self.keys);
        let rows = time.len();
        let width = channels.len();
        let mut numbers = vec![0.0_f32; rows * width];
        for (channel, column) in channels.iter().enumerate() {
            put(column, &mut numbers, channel, width)?;
        }
        let times = time.to_physical_repr().cast(&DataType::Int64)?;
        let times = times.i64()?;
        if let Some(row) = times.iter().position(|time| time.is_none()) {
            return Err(failed(format!(
                "`{}` is null in row {}, so it has no place in a sequence; drop such rows above",
                time.name(),
                row + 1
            )));
        }
        let mut made = vec![0.0_f32; rows * self.steps * width];
        let mut is_whole = vec![true; rows];
        for mut group in groups(keys, rows)? {
            group.sort_by_key(|row| times.get(*row));
            for (place, row) in group.iter().enumerate() {
                let own = &mut made[row * self.steps * width..(row + 1) * self.steps * width];
                is_whole[*row] = !self.ahead || place + self.steps < group.len();
                for (step, slot) in own.chunks_exact_mut(width).enumerate() {
                    let Some(from) = self.from(&group, place, step) else {
                        continue;
                    };
                    slot.copy_from_slice(&numbers[from * width..(from + 1) * width]);
                }
            }
        }
        let mut shape = vec![rows, self.steps, width];
        if self.ahead {
            shape.pop();
        }
        let shape: Vec<ReshapeDimension> = shape
            .into_iter()
            .map(|side| ReshapeDimension::new(side as i64))
            .collect();
        let made = Series::new("sequence".into(), made).reshape_array(&shape)?;
        if is_whole.iter().all(|is_whole| *is_whole) {
            return Ok(made.into_column());
        }
        let none = Series::full_null("sequence".into(), rows, made.dtype());
        let is_whole = BooleanChunked::new("".into(), is_whole);
        Ok(made.zip_with(&is_whole, &none)?.into_column())
    }

    /// The row that stands at a step of the sequence of the group's row at this place.
    fn from(&self, group: &[usize], place: usize, step: usize) -> Option<usize> {
        if self.ahead {
            return group.get(place + 1 + step).copied();
        }
        match (place + step + 1).checked_sub(self.steps) {
            Some(earlier) => Some(group[earlier]),
            None => (self.start == Start::Repeat).then(|| group[0]),
        }
    }
}

fn failed(message: String) -> PolarsError {
    PolarsError::ComputeError(message.into())
}

fn put(
    column: &PolarsColumn,
    numbers: &mut [f32],
    channel: usize,
    width: usize,
) -> PolarsResult<()> {
    let floats = column.cast(&DataType::Float32)?;
    for (row, value) in floats.f32()?.iter().enumerate() {
        match value.filter(|value| value.is_finite()) {
            Some(value) => numbers[row * width + channel] = value,
            None => {
                return Err(failed(format!(
                    "`{}` ({}) is null or no number in row {}; fill it with `clean.fill_null` above",
                    column.name(),
                    type_name(column.dtype()),
                    row + 1
                )));
            }
        }
    }
    Ok(())
}

/// The rows of each group, in row order.
fn groups(keys: &[PolarsColumn], rows: usize) -> PolarsResult<Vec<Vec<usize>>> {
    if keys.is_empty() {
        return Ok(vec![(0..rows).collect()]);
    }
    let keys: Vec<PolarsColumn> = keys
        .iter()
        .enumerate()
        .map(|(place, key)| key.rechunk().with_name(format!("key {place}").into()))
        .collect();
    let frame = DataFrame::new(rows, keys.clone())?;
    let groups = frame.group_by_with_series(keys, true, true)?;
    Ok(groups
        .get_groups()
        .iter()
        .map(|group| match group {
            GroupsIndicator::Idx((_, rows)) => rows.iter().map(|row| *row as usize).collect(),
            GroupsIndicator::Slice([first, length]) => {
                (first as usize..(first + length) as usize).collect()
            }
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use polars::prelude::{IntoLazy, df};

    use super::*;
    use crate::columns::testing::{codes, passes, schema, stage, types};

    fn readings() -> Schema {
        schema([
            ("at", DataType::Int64),
            ("machine", DataType::String),
            ("load", DataType::Float64),
            ("note", DataType::String),
        ])
    }

    fn made(params: &str, data: DataFrame) -> Result<Vec<Vec<f32>>> {
        let stage: Sequence = stage(params);
        let operations = stage.lower(&[Schema::from_polars(data.schema())])?;
        let Some(Operation::Local(local)) = operations.first() else {
            panic!("no work");
        };
        let found = (local.apply)(data.lazy())?.collect()?;
        let column = found.column("sequence")?;
        let count = column.len();
        let options = polars::prelude::ExplodeOptions {
            empty_as_null: true,
            keep_nulls: true,
        };
        let flat = column.explode(options)?.explode(options)?;
        let flat: Vec<f32> = flat.f32()?.iter().flatten().collect();
        Ok(flat
            .chunks((flat.len() / count.max(1)).max(1))
            .map(<[f32]>::to_vec)
            .collect())
    }

    fn rows() -> DataFrame {
        df![
            "at" => [3_i64, 1, 2, 1, 2],
            "machine" => ["a", "a", "a", "b", "b"],
            "load" => [30.0, 10.0, 20.0, 5.0, 6.0],
            "is_on" => [true, false, true, true, false],
        ]
        .expect("a frame")
    }

    #[test]
    fn the_last_rows_of_the_group_come_oldest_first() {
        let params = "{columns: load, by: machine, over: at, steps: 2}";
        assert_eq!(
            made(params, rows()).expect("sequences"),
            [
                [20.0, 30.0],
                [10.0, 10.0],
                [10.0, 20.0],
                [5.0, 5.0],
                [5.0, 6.0]
            ]
        );
        let params = "{columns: [load, is_on], by: machine, over: at, steps: 2, start: zero}";
        assert_eq!(
            made(params, rows()).expect("sequences")[..2],
            [[20.0, 1.0, 30.0, 1.0], [0.0, 0.0, 10.0, 0.0]]
        );
        let params = "{columns: load, over: at, steps: 3}";
        // Rows of one time stay in row order: 10 and 5, 20 and 6, 30.
        assert_eq!(
            made(params, rows()).expect("sequences"),
            [
                [20.0, 6.0, 30.0],
                [10.0, 10.0, 10.0],
                [10.0, 5.0, 20.0],
                [10.0, 10.0, 5.0],
                [5.0, 20.0, 6.0]
            ]
        );
        assert!(made(params, rows().head(Some(0))).expect("none").is_empty());
    }

    #[test]
    fn the_next_rows_of_the_group_come_nearest_first() {
        let stage: Sequence =
            stage("{columns: load, by: machine, over: at, steps: 2, ahead: true, name: next}");
        let operations = stage
            .lower(&[Schema::from_polars(rows().schema())])
            .expect("lowered");
        let Some(Operation::Local(local)) = operations.first() else {
            panic!("no work");
        };
        let found = (local.apply)(rows().lazy())
            .expect("applied")
            .collect()
            .expect("rows");
        let next = found.column("next").expect("made");
        assert_eq!(next.dtype(), &stage.dtype());
        assert_eq!(next.null_count(), 4);
        // The row of machine a at time 1.
        assert_eq!(
            next.get(1).expect("a row").to_string(),
            "[20.0, 30.0]",
            "{next:?}"
        );
        let bad: Sequence = crate::columns::testing::stage(
            "{columns: [load, at], over: at, steps: 2, ahead: true, start: zero}",
        );
        assert_eq!(
            codes(&bad, &readings()),
            ["several-columns", "unused-param"]
        );
    }

    #[test]
    fn a_gap_is_named() {
        let data = df!["at" => [1_i64, 2], "load" => [Some(1.0), None]].expect("a frame");
        let error = made("{columns: load, over: at, steps: 2}", data).expect_err("null");
        assert!(
            error
                .to_string()
                .contains("`load` (f64) is null or no number in row 2"),
            "{error}"
        );
    }

    #[test]
    fn the_schema_says_the_shape_and_what_does_not_fit() {
        let good: Sequence =
            stage("{columns: load, by: machine, over: at, steps: 4, name: history}");
        let output = passes(&good, &readings());
        let step = DataType::Array(Box::new(DataType::Float32), 1);
        assert_eq!(
            types(&output).last(),
            Some(&("history", DataType::Array(Box::new(step), 4)))
        );
        let bad: Sequence =
            stage("{columns: [load, note], by: machin, over: note, steps: 4, name: load}");
        assert_eq!(
            codes(&bad, &readings()),
            [
                "type-mismatch",
                "unknown-column",
                "type-mismatch",
                "name-taken"
            ]
        );
    }
}
