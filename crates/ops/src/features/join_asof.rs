//! `features.join_asof`.

use polars::prelude::DataType;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    AsOfDirection, CheckContext, Column, Operation, ParamPath, Problem, Relational, Result, Schema,
    Shape, Stage, output_schema, path, register_kind, type_name,
};

use super::{
    join::default_suffix,
    joining::{self, KeyParams, Wanted},
    span::Span,
};
use crate::columns::{self, Names};

/// Put beside each row the row of another table that is nearest in time: the last price before each trade.
///
/// The stage has two inputs, `from: [trades, quotes]`. Each row of the first takes one row of the second, or nulls where none
/// fits; rows stay in their place, and neither input needs to be sorted. Of several rows of the second at one time the last in
/// row order is taken, looking forward the first. A row without a time, or with a null in `by`, finds nobody.
///
/// Looking `backward` a row sees only what was known by then. `forward` and `nearest` look into the future: columns made that
/// way tell a model what it could not know. Even backward, a value that is measured at the row's own time may not be known
/// yet: `allow_equal: false` leaves it out.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct JoinAsof {
    /// The time column, where it has the same name on both sides; default: the columns with the role `time`.
    on: Option<String>,
    /// The time column of the left input, where the names differ.
    left_on: Option<String>,
    /// The time column of the right input.
    right_on: Option<String>,
    /// Columns that must be equal on both sides: `symbol`.
    by: Option<Names>,
    /// Such columns of the left input, where the names differ.
    left_by: Option<Names>,
    /// Such columns of the right input, in the same order.
    right_by: Option<Names>,
    /// Which row of the right input is taken.
    #[serde(default)]
    direction: Direction,
    /// Whether a row of the very same time counts.
    #[serde(default = "default_true")]
    allow_equal: bool,
    /// No farther away than this; default: however far.
    tolerance: Option<Tolerance>,
    /// The columns of the right input that come in; default: all but its keys and its time.
    select: Option<Names>,
    /// Put before the name of every column that comes in.
    prefix: Option<String>,
    /// Put after the name of a column that comes in, where the left input has one of that name.
    #[serde(default = "default_suffix")]
    suffix: String,
    /// A new column that holds the time of the row that was taken, which tells how old its values are.
    matched_at: Option<String>,
}

fn default_true() -> bool {
    true
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Direction {
    /// The last at or before the row's time.
    #[default]
    Backward,
    /// The first at or after it: looks into the future.
    Forward,
    /// The nearest; of two equally near, the later: looks into the future.
    Nearest,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Tolerance {
    /// A span of time: `30m`, `2h`, `7d`.
    Span(Span),
    /// A number of steps, where time is counted in whole numbers.
    Steps(u32),
}

register_kind! {
    JoinAsof, "features.join_asof", version: 1,
    example: "- features.join_asof: {on: at, by: symbol, tolerance: 2h, select: [bid, ask], matched_at: quoted_at}\n  from: [trades, quotes]",
}

impl JoinAsof {
    fn by(&self) -> KeyParams<'_> {
        KeyParams {
            both: ("by", self.by.as_ref()),
            left: ("left_by", self.left_by.as_ref()),
            right: ("right_by", self.right_by.as_ref()),
        }
    }

    /// The names of the time columns, as far as they are told or have the role.
    fn times(&self, left: &Schema, right: &Schema) -> Option<(String, String)> {
        let named = |own: &Option<String>, schema| {
            columns::time_name(own.as_deref().or(self.on.as_deref()), schema)
        };
        Some((named(&self.left_on, left)?, named(&self.right_on, right)?))
    }

    fn operation(
        &self,
        on: (String, String),
        by: Vec<(String, String)>,
        left: &Schema,
        right: &Schema,
    ) -> Operation {
        let columns = self.brought(&on.1, &by, left, right);
        Operation::AsOfJoin {
            right: 1,
            on,
            by,
            direction: match self.direction {
                Direction::Backward => AsOfDirection::Backward,
                Direction::Forward => AsOfDirection::Forward,
                Direction::Nearest => AsOfDirection::Nearest,
            },
            allow_equal: self.allow_equal,
            tolerance: self.tolerance.map(|tolerance| match tolerance {
                Tolerance::Span(span) => span.microseconds(),
                Tolerance::Steps(steps) => steps.into(),
            }),
            columns,
        }
    }

    fn wanted(&self) -> Wanted<'_> {
        Wanted {
            select: self.select.as_ref(),
            prefix: self.prefix.as_deref(),
            suffix: &self.suffix,
        }
    }

    fn brought(
        &self,
        time: &str,
        by: &[(String, String)],
        left: &Schema,
        right: &Schema,
    ) -> Vec<(String, String)> {
        let keys = key_names(time, by);
        let mut brought = self.wanted().columns(left, right, &keys);
        if let Some(name) = &self.matched_at {
            brought.push((time.to_owned(), name.clone()));
        }
        brought
    }

    /// The time columns of both sides, fit to be compared; else what is wrong is reported.
    fn find_times<'s>(
        &self,
        left: &'s Schema,
        right: &'s Schema,
        cx: &mut CheckContext<'_>,
    ) -> Option<(&'s Column, &'s Column)> {
        if self.on.is_some() && (self.left_on.is_some() || self.right_on.is_some()) {
            cx.report(
                Problem::error(
                    "contradicting-params",
                    path!["on"],
                    format!("stage `{}` names a time column twice", cx.stage),
                )
                .help("`on` is for a time column of one name on both sides, `left_on` and `right_on` for different names"),
            );
            return None;
        }
        let path_of = |own: &Option<String>, name: &str| match (own, &self.on) {
            (Some(_), _) => path![name],
            (None, Some(_)) => path!["on"],
            (None, None) => ParamPath::kind(),
        };
        let named = |own: &'_ Option<String>| own.clone().or_else(|| self.on.clone());
        let left_path = path_of(&self.left_on, "left_on");
        let left = columns::time_column(named(&self.left_on).as_deref(), left, left_path, cx);
        let before = cx.problems.len();
        let right_path = path_of(&self.right_on, "right_on");
        let found = columns::time_column(
            named(&self.right_on).as_deref(),
            right,
            right_path.clone(),
            cx,
        );
        joining::tell_right(right, before, cx);
        let (left, right) = (left?, found?);
        let fits = match (&left.dtype, &right.dtype) {
            (DataType::Datetime(_, here), DataType::Datetime(_, there)) => {
                here.is_some() == there.is_some()
            }
            // A date would lose the time of day that the other side has.
            (DataType::Datetime(_, None), DataType::Date) => true,
            (here, there) => here == there || (here.is_integer() && there.is_integer()),
        };
        if !fits {
            let help = match (&left.dtype, &right.dtype) {
                (DataType::Date, DataType::Datetime(..)) => {
                    "bring the left side to datetimes: `clean.cast` or `cast(… as timestamp)`"
                }
                _ => "`clean.cast` brings them to one type",
            };
            joining::report_unlike(&right_path, left, right, help, cx);
        }
        fits.then_some((left, right))
    }

    fn check_tolerance(&self, time: &Column, cx: &mut CheckContext<'_>) {
        let found = type_name(&time.dtype);
        let problem =
            |message: String| Problem::error("type-mismatch", path!["tolerance"], message);
        match self.tolerance {
            Some(Tolerance::Span(_)) if time.dtype.is_integer() => cx.report(
                problem(format!(
                    "stage `{}` has a tolerance of time, but `{}` counts steps ({found})",
                    cx.stage, time.name
                ))
                .label("write a number of steps: `24`"),
            ),
            Some(Tolerance::Steps(_)) if columns::is_instant(&time.dtype) => cx.report(
                problem(format!(
                    "stage `{}` has a tolerance of steps, but `{}` is {found}",
                    cx.stage, time.name
                ))
                .label("write a span of time: `24h`"),
            ),
            Some(Tolerance::Span(span))
                if time.dtype == DataType::Date && span.microseconds() % DAY != 0 =>
            {
                cx.report(
                    problem(format!(
                        "stage `{}` has a tolerance of {span}, but `{}` is date",
                        cx.stage, time.name
                    ))
                    .label("write whole days: `2d`"),
                );
            }
            _ => {}
        }
    }
}

/// Microseconds.
const DAY: i64 = 86_400_000_000;

fn key_names<'a>(time: &'a str, by: &'a [(String, String)]) -> Vec<&'a str> {
    by.iter()
        .map(|(_, right)| right.as_str())
        .chain([time])
        .collect()
}

impl Stage for JoinAsof {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let (left, right) = joining::sides(inputs);
        let times = self.find_times(left, right, cx);
        if let Some((time, _)) = times {
            self.check_tolerance(time, cx);
        }
        let mut by = Vec::new();
        for (path, left, right) in self.by().find(left, right, cx) {
            if joining::keys_meet(&path, left, right, cx) {
                by.push((left.name.clone(), right.name.clone()));
            }
        }
        let time = times
            .map(|(_, right)| right.name.as_str())
            .unwrap_or_default();
        let all_by = self.by().pairs();
        self.wanted()
            .check(left, right, &key_names(time, &all_by), cx);
        if let Some(name) = &self.matched_at {
            let path = path!["matched_at"];
            let taken = self
                .wanted()
                .columns(left, right, &key_names(time, &all_by));
            if columns::is_free(left, name, path.clone(), cx)
                && taken.iter().any(|(_, wanted)| wanted == name)
            {
                let message = format!("stage `{}` would make two columns `{name}`", cx.stage);
                cx.report(Problem::error("name-taken", path, message).help("choose another name"));
            }
        }
        let Some((left_time, right_time)) = times else {
            return Schema {
                incomplete: true,
                ..left.clone()
            };
        };
        let on = (left_time.name.clone(), right_time.name.clone());
        let mut output = output_schema(&[self.operation(on, by, left, right)], inputs);
        output.incomplete |= right.incomplete;
        output
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Relational(self)
    }

    fn arity(&self) -> std::ops::RangeInclusive<usize> {
        2..=2
    }
}

impl Relational for JoinAsof {
    fn lower(&self, inputs: &[Schema]) -> Result<Vec<Operation>> {
        let (left, right) = joining::sides(inputs);
        let times = self.times(left, right);
        Ok(times
            .map(|on| vec![self.operation(on, self.by().pairs(), left, right)])
            .unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use polars::{
        df,
        prelude::{DataFrame, IntoColumn, NamedFrom, Series, TimeUnit},
    };
    use taktline_core::Role;

    use super::*;
    use crate::{
        columns::testing::{check_all, schema, stage},
        testing::applied,
    };

    const HOUR: i64 = 3_600_000_000;

    fn at(name: &str, hours: &[Option<i64>]) -> polars::prelude::Column {
        let ticks: Vec<Option<i64>> = hours
            .iter()
            .map(|hour| hour.map(|hour| hour * HOUR))
            .collect();
        Series::new(name.into(), ticks)
            .cast(&DataType::Datetime(TimeUnit::Microseconds, None))
            .expect("datetimes")
            .into_column()
    }

    fn tables() -> [DataFrame; 2] {
        let mut trades = df!("symbol" => [Some("x"), Some("y"), Some("x"), None, Some("x")], "price" => [1.0, 2.0, 3.0, 4.0, 5.0]).expect("a frame");
        trades
            .with_column(at("at", &[Some(5), Some(5), Some(1), Some(5), None]))
            .expect("a column");
        let mut quotes = df!("symbol" => [Some("x"), Some("x"), None, Some("y")], "price" => [40.0, 20.0, 9.0, 50.0]).expect("a frame");
        quotes
            .with_column(at("at", &[Some(5), Some(2), Some(1), Some(2)]))
            .expect("a column");
        [trades, quotes]
    }

    fn prices(params: &str) -> Vec<Option<f64>> {
        let rows = applied(&stage::<JoinAsof>(params), &tables()).expect(params);
        let of = |name: &str| {
            rows.column(name)
                .expect(name)
                .f64()
                .expect("reals")
                .to_vec()
        };
        assert_eq!(of("price"), [1.0, 2.0, 3.0, 4.0, 5.0].map(Some));
        of("price_right")
    }

    #[test]
    fn the_last_known_row_comes_in() {
        assert_eq!(
            prices("{on: at, by: symbol}"),
            [Some(40.0), Some(50.0), None, None, None]
        );
        assert_eq!(
            prices("{on: at, by: symbol, allow_equal: false}"),
            [Some(20.0), Some(50.0), None, None, None]
        );
        assert_eq!(
            prices("{on: at, by: symbol, tolerance: 2h}"),
            [Some(40.0), None, None, None, None]
        );
        assert_eq!(
            prices("{on: at, by: symbol, direction: forward}"),
            [Some(40.0), None, Some(20.0), None, None]
        );
        // Without `by` all rows are one.
        assert_eq!(
            prices("{on: at, select: price, direction: nearest}"),
            [Some(40.0), Some(40.0), Some(9.0), Some(40.0), None]
        );
    }

    #[test]
    fn the_time_of_the_partner_is_kept_where_asked() {
        let join = stage::<JoinAsof>("{on: at, by: symbol, select: price, matched_at: quoted_at}");
        let rows = applied(&join, &tables()).expect("rows");
        assert_eq!(
            rows.get_column_names(),
            ["symbol", "price", "at", "price_right", "quoted_at"]
        );
        let quoted = rows
            .column("quoted_at")
            .expect("times")
            .cast(&DataType::Int64)
            .expect("ticks");
        assert_eq!(
            quoted.i64().expect("integers").to_vec(),
            [Some(5 * HOUR), Some(2 * HOUR), None, None, None]
        );
    }

    #[test]
    fn one_time_column_stays() {
        let mut inputs = [("at", "price"), ("time", "bid")].map(|(time, value)| {
            schema([
                (time, DataType::Datetime(TimeUnit::Microseconds, None)),
                (value, DataType::Float64),
            ])
        });
        for input in &mut inputs {
            input.columns[0].role = Role::Time;
        }
        let (output, problems) = checked("{matched_at: quoted_at}", &inputs);
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(
            output.names().collect::<Vec<_>>(),
            ["at", "price", "bid", "quoted_at"]
        );
        assert_eq!(output.columns[3].role, Role::Ignore);
    }

    fn checked(params: &str, inputs: &[Schema]) -> (Schema, Vec<Problem>) {
        check_all(&stage::<JoinAsof>(params), inputs)
    }

    #[test]
    fn refuses_what_does_not_fit() {
        let datetime = DataType::Datetime(TimeUnit::Microseconds, None);
        let left = schema([
            ("at", datetime.clone()),
            ("day", DataType::Date),
            ("step", DataType::Int64),
            ("id", DataType::Int64),
            ("matched", DataType::Int64),
        ]);
        let right = schema([
            ("at", DataType::Date),
            ("day", datetime),
            ("step", DataType::Int32),
            ("id", DataType::String),
        ]);
        let codes = |params: &str| -> Vec<&'static str> {
            let inputs = [left.clone(), right.clone()];
            checked(params, &inputs)
                .1
                .iter()
                .map(|problem| problem.code)
                .collect()
        };
        assert_eq!(codes("{on: at}"), [""; 0]);
        assert_eq!(codes("{on: day, select: step}"), ["type-mismatch"]);
        assert_eq!(codes("{on: step, tolerance: 3}"), [""; 0]);
        assert_eq!(codes("{on: step, tolerance: 3h}"), ["type-mismatch"]);
        assert_eq!(codes("{on: at, tolerance: 3}"), ["type-mismatch"]);
        assert_eq!(codes("{on: at, by: id}"), ["type-mismatch"]);
        assert_eq!(codes("{on: at, left_by: step}"), ["missing-param"]);
        assert_eq!(codes("{on: at, left_on: at}"), ["contradicting-params"]);
        assert_eq!(codes("{left_on: at, right_on: step}"), ["type-mismatch"]);
        assert_eq!(codes("{left_on: at, right_on: att}"), ["unknown-column"]);
        assert_eq!(codes("{on: at, matched_at: matched}"), ["name-taken"]);
        assert_eq!(codes("{}"), ["no-time-column", "no-time-column"]);
    }
}
