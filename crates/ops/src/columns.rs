//! Params and column checks that many kinds share, so that the same mistake reads the same everywhere.

use std::{collections::BTreeSet, fmt, sync::LazyLock};

use chrono::{DateTime, NaiveDate, NaiveDateTime};
use polars::prelude::DataType;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    CheckContext, Column, Error, Literal, Operation, PARTITION, ParamPath, Problem, Result, Role,
    Schema, output_schema,
    sql::{self, Compiled},
    type_name,
};

/// The only input of a stage; an empty schema where the planner found none (and said so).
pub(crate) fn input(inputs: &[Schema]) -> &Schema {
    static NOTHING: LazyLock<Schema> = LazyLock::new(|| Schema {
        incomplete: true,
        ..Schema::default()
    });
    inputs.first().unwrap_or(&NOTHING)
}

/// A column, or a list of columns.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Names {
    /// A column.
    One(String),
    /// Columns.
    Many(#[schemars(length(min = 1))] Vec<String>),
}

impl Names {
    /// The names, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        match self {
            Self::One(name) => std::slice::from_ref(name).iter(),
            Self::Many(names) => names.iter(),
        }
        .map(String::as_str)
    }

    /// The names, in order, each with its place in the spec, where the param itself stands at `path`.
    pub(crate) fn located(&self, path: &ParamPath) -> impl Iterator<Item = (ParamPath, &str)> {
        let is_list = matches!(self, Self::Many(_));
        self.iter().enumerate().map(move |(index, name)| {
            (
                if is_list {
                    path.join(index)
                } else {
                    path.clone()
                },
                name,
            )
        })
    }

    /// The names, owned.
    pub(crate) fn to_vec(&self) -> Vec<String> {
        self.iter().map(str::to_owned).collect()
    }

    /// The columns of these names; unknown and repeated names are reported.
    pub(crate) fn find<'s>(
        &self,
        schema: &'s Schema,
        path: &ParamPath,
        cx: &mut CheckContext<'_>,
    ) -> Vec<(ParamPath, &'s Column)> {
        self.find_by(find, schema, path, cx)
    }

    /// As [`Names::find`], for stages that take `channel=*` for all columns that training makes in its place.
    pub(crate) fn find_with_open<'s>(
        &self,
        schema: &'s Schema,
        path: &ParamPath,
        cx: &mut CheckContext<'_>,
    ) -> Vec<(ParamPath, &'s Column)> {
        self.find_by(find_with_open, schema, path, cx)
    }

    fn find_by<'s>(
        &self,
        find: impl Fn(&'s Schema, &str, ParamPath, &mut CheckContext<'_>) -> Option<&'s Column>,
        schema: &'s Schema,
        path: &ParamPath,
        cx: &mut CheckContext<'_>,
    ) -> Vec<(ParamPath, &'s Column)> {
        let mut seen = BTreeSet::new();
        let mut found = Vec::new();
        for (path, name) in self.located(path) {
            if !seen.insert(name) {
                cx.report(
                    Problem::error(
                        "duplicate-name",
                        path,
                        format!("stage `{}` names `{name}` twice", cx.stage),
                    )
                    .label("named before"),
                );
            } else if let Some(column) = find(schema, name, path.clone(), cx) {
                found.push((path, column));
            }
        }
        found
    }
}

/// The column of that name; an unknown name is reported, and one that stands for several columns.
pub(crate) fn find<'s>(
    schema: &'s Schema,
    name: &str,
    path: ParamPath,
    cx: &mut CheckContext<'_>,
) -> Option<&'s Column> {
    let found = find_with_open(schema, name, path.clone(), cx)?;
    if found.is_open() && found.name == name {
        cx.report(
            Problem::error(
                "open-column",
                path,
                format!(
                    "stage `{}` needs one column, but `{name}` stands for several",
                    cx.stage
                ),
            )
            .label("only training knows their names")
            .help(
                "name one of them, as `column=value`, or work on the column before it is encoded",
            ),
        );
        return None;
    }
    Some(found)
}

/// The column of that name, or the one that stands for several; an unknown name is reported.
fn find_with_open<'s>(
    schema: &'s Schema,
    name: &str,
    path: ParamPath,
    cx: &mut CheckContext<'_>,
) -> Option<&'s Column> {
    let found = schema.column(name);
    if found.is_none() {
        let problem = Problem::error(
            "unknown-column",
            path,
            format!(
                "stage `{}` reads `{name}`, which its input does not have",
                cx.stage
            ),
        )
        .of_column(name);
        // A near miss belongs at the caret; a list of all columns would be too long there.
        cx.report(match schema.suggestion(name) {
            Some(suggestion) if suggestion.starts_with("did you mean") => problem.label(suggestion),
            other => problem.label("no such column").help_if(other),
        });
    }
    found
}

/// Reports a column whose type is not what the stage needs.
pub(crate) fn report_type(
    column: &Column,
    needs: &str,
    path: ParamPath,
    cx: &mut CheckContext<'_>,
) {
    let found = type_name(&column.dtype);
    cx.report(
        Problem::error(
            "type-mismatch",
            path,
            format!(
                "stage `{}` needs {needs}, but `{}` is {found}",
                cx.stage, column.name
            ),
        )
        .label(format!("this is {found}")),
    );
}

/// Whether the column holds numbers; another type is reported.
pub(crate) fn is_number(column: &Column, path: ParamPath, cx: &mut CheckContext<'_>) -> bool {
    let fits = column.dtype.is_primitive_numeric();
    if !fits {
        report_type(column, "numbers", path, cx);
    }
    fits
}

/// Whether the column puts rows in order in time: dates, times with a date, or whole numbers that count steps.
pub(crate) fn is_time(column: &Column, path: ParamPath, cx: &mut CheckContext<'_>) -> bool {
    let fits = is_instant(&column.dtype) || column.dtype.is_integer();
    if !fits {
        report_type(column, "a date, a datetime or whole-number steps", path, cx);
    }
    fits
}

/// Whether values of the type are points in time.
pub(crate) fn is_instant(dtype: &DataType) -> bool {
    matches!(dtype, DataType::Date | DataType::Datetime(..))
}

/// How many columns have the role, where that is not one, as a message says it.
pub(crate) fn declared_with(schema: &Schema, role: Role, word: &str) -> String {
    match schema.with_role(role).count() {
        0 => format!("no column has the role `{word}`"),
        count => format!("{count} columns have the role `{word}`"),
    }
}

/// The column that orders rows in time: the one that is named, or the only one with the role `time`.
pub(crate) fn time_column<'s>(
    named: Option<&str>,
    schema: &'s Schema,
    path: ParamPath,
    cx: &mut CheckContext<'_>,
) -> Option<&'s Column> {
    let column = match named {
        Some(name) => find(schema, name, path.clone(), cx)?,
        None => {
            let declared: Vec<&Column> = schema.with_role(Role::Time).collect();
            let [column] = declared[..] else {
                let found = declared_with(schema, Role::Time, "time");
                cx.report(
                    Problem::error(
                        "no-time-column",
                        ParamPath::kind(),
                        format!("stage `{}` does not know which column orders the rows in time: {found}", cx.stage),
                    )
                    .help("name it with `over`, or declare it under `columns:` as `{role: time}`"),
                );
                return None;
            };
            column
        }
    };
    is_time(column, path, cx).then_some(column)
}

/// The name of the time column of a checked stage; none where scoring brings no such column.
pub(crate) fn time_name(named: Option<&str>, schema: &Schema) -> Option<String> {
    named
        .or_else(|| {
            schema
                .with_role(Role::Time)
                .next()
                .map(|column| column.name.as_str())
        })
        .map(str::to_owned)
}

/// Whether the stage may make a column of that name; reports a name that is reserved, empty or taken.
pub(crate) fn is_free(
    schema: &Schema,
    name: &str,
    path: ParamPath,
    cx: &mut CheckContext<'_>,
) -> bool {
    if !is_allowed(name, path.clone(), cx) {
        return false;
    }
    let Some(existing) = schema.column(name) else {
        return true;
    };
    cx.report(
        Problem::error(
            "name-taken",
            path,
            format!(
                "stage `{}` makes a column `{name}`, which its input already has",
                cx.stage
            ),
        )
        .label(format!(
            "`{name}` ({}) would be lost",
            type_name(&existing.dtype)
        ))
        .help(format!(
            "choose another name, or rename or drop `{name}` above"
        )),
    );
    false
}

/// Whether the name may be a column at all; reports one that is reserved or empty.
pub(crate) fn is_allowed(name: &str, path: ParamPath, cx: &mut CheckContext<'_>) -> bool {
    if name.trim().is_empty() {
        cx.report(Problem::error("bad-name", path, "a column needs a name").label("this is empty"));
        return false;
    }
    if name == PARTITION {
        cx.report(
            Problem::error(
                "reserved-name",
                path,
                format!(
                    "stage `{}` changes the column `{PARTITION}`, which belongs to `split.*`",
                    cx.stage
                ),
            )
            .label("says which part a row is in")
            .help("choose another name"),
        );
        return false;
    }
    true
}

/// The expression over one row; problems are reported at `path`.
pub(crate) fn row_expression(
    text: &str,
    schema: &Schema,
    path: &ParamPath,
    cx: &mut CheckContext<'_>,
) -> Option<Compiled> {
    reported(sql::compile(text, schema), path, cx)
}

/// The expression over many rows; problems are reported at `path`.
pub(crate) fn aggregate_expression(
    text: &str,
    schema: &Schema,
    path: &ParamPath,
    cx: &mut CheckContext<'_>,
) -> Option<Compiled> {
    reported(sql::compile_aggregate(text, schema), path, cx)
}

fn reported(
    compiled: Result<Compiled, Vec<sql::SqlProblem>>,
    path: &ParamPath,
    cx: &mut CheckContext<'_>,
) -> Option<Compiled> {
    match compiled {
        Ok(compiled) => Some(compiled),
        Err(problems) => {
            for problem in problems {
                let problem = problem.in_stage(cx.stage).at(path.clone());
                cx.report(problem);
            }
            None
        }
    }
}

/// The expression of a checked stage.
pub(crate) fn lowered(
    text: &str,
    compiled: Result<Compiled, Vec<sql::SqlProblem>>,
) -> Result<Compiled> {
    compiled.map_err(|problems| {
        let messages: Vec<String> = problems
            .into_iter()
            .map(|problem| problem.message)
            .collect();
        Error::data(format!(
            "the expression `{text}` does not fit its input: {}",
            messages.join("; ")
        ))
    })
}

/// The expression of a checked stage, or none where it reads a column that is not there.
///
/// `takt check` has refused such an expression. Only scoring brings a frame with fewer columns: it asks for those that the
/// model's features are made of, and a feature stage then makes just what it can.
pub(crate) fn lowered_if_possible(
    text: &str,
    compiled: Result<Compiled, Vec<sql::SqlProblem>>,
) -> Result<Option<Compiled>> {
    match compiled {
        Err(problems) if problems.iter().any(|problem| problem.column.is_some()) => Ok(None),
        other => lowered(text, other).map(Some),
    }
}

/// The schema after the operation; where a check found that there can be none, the input's, marked incomplete.
pub(crate) fn promised(operation: Option<Operation>, inputs: &[Schema]) -> Schema {
    match operation {
        Some(operation) => output_schema(&[operation], inputs),
        None => Schema {
            incomplete: true,
            ..input(inputs).clone()
        },
    }
}

/// The operations without the columns that they cannot make, for a frame with fewer columns than the one that was checked.
pub(crate) fn possible(operations: Vec<Operation>, input: &Schema) -> Vec<Operation> {
    let mut known: BTreeSet<String> = input.names().map(str::to_owned).collect();
    let mut kept = Vec::with_capacity(operations.len());
    for mut operation in operations {
        match &mut operation {
            Operation::With(made)
            | Operation::Window {
                aggregates: made, ..
            } => {
                made.retain(|(_, expression)| expression.columns().is_subset(&known));
            }
            _ => {}
        }
        match &operation {
            Operation::With(made) if made.is_empty() => continue,
            Operation::Window {
                by,
                over,
                aggregates,
                ..
            } if aggregates.is_empty()
                || !by.iter().chain([over]).all(|name| known.contains(name)) =>
            {
                continue;
            }
            Operation::With(made)
            | Operation::Window {
                aggregates: made, ..
            } => {
                known.extend(made.iter().map(|(name, _)| name.clone()));
            }
            _ => {}
        }
        kept.push(operation);
    }
    kept
}

/// A constant in a spec.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Scalar {
    /// Truth.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A real number.
    Float(f64),
    /// Text; also a date (`2024-01-31`) or datetime (`2024-01-31 12:00:00`), where the column is one.
    Text(String),
}

impl Scalar {
    /// The constant as a value of this type.
    ///
    /// # Errors
    /// One line that says why it is none.
    pub(crate) fn literal(&self, dtype: &DataType) -> Result<Literal, String> {
        let unfit = || format!("`{self}` is not {}", article(dtype));
        match (self, dtype) {
            (Self::Bool(value), DataType::Boolean) => Ok(Literal::Bool(*value)),
            (Self::Text(value), DataType::String) => Ok(Literal::Text(value.clone())),
            (Self::Text(value), DataType::Date) => date(value).map(Literal::Date).ok_or_else(unfit),
            (Self::Text(value), DataType::Datetime(..)) => {
                timestamp(value).map(Literal::Timestamp).ok_or_else(unfit)
            }
            (Self::Int(value), dtype) if dtype.is_float() => Ok(Literal::Float(*value as f64)),
            (Self::Float(value), dtype) if dtype.is_float() => Ok(Literal::Float(*value)),
            (Self::Int(value), dtype) if dtype.is_integer() => {
                if fits_integer(*value, dtype) {
                    Ok(Literal::Int(*value))
                } else {
                    Err(format!(
                        "`{value}` is out of the range of {}",
                        type_name(dtype)
                    ))
                }
            }
            // YAML reads `1e6` as a real number; nobody means 1000000.0 there.
            (Self::Float(value), dtype)
                if dtype.is_integer() && value.fract() == 0.0 && value.abs() < 9.0e15 =>
            {
                Self::Int(*value as i64).literal(dtype)
            }
            _ => Err(unfit()),
        }
    }

    /// As a number, if it is one.
    pub(crate) fn number(&self) -> Option<f64> {
        match self {
            Self::Int(value) => Some(*value as f64),
            Self::Float(value) => Some(*value),
            Self::Bool(_) | Self::Text(_) => None,
        }
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => value.fmt(formatter),
            Self::Int(value) => value.fmt(formatter),
            Self::Float(value) => value.fmt(formatter),
            Self::Text(value) => value.fmt(formatter),
        }
    }
}

fn article(dtype: &DataType) -> String {
    match dtype {
        DataType::Boolean => "a bool".into(),
        DataType::String => "text".into(),
        DataType::Date => "a date (write `2024-01-31`)".into(),
        DataType::Datetime(..) => "a datetime (write `2024-01-31 12:00:00`)".into(),
        dtype if dtype.is_integer() => format!("a whole number ({})", type_name(dtype)),
        dtype if dtype.is_float() => format!("a number ({})", type_name(dtype)),
        dtype => format!("a value of type {}", type_name(dtype)),
    }
}

fn fits_integer(value: i64, dtype: &DataType) -> bool {
    match dtype {
        DataType::Int8 => i8::try_from(value).is_ok(),
        DataType::Int16 => i16::try_from(value).is_ok(),
        DataType::Int32 => i32::try_from(value).is_ok(),
        DataType::UInt8 => u8::try_from(value).is_ok(),
        DataType::UInt16 => u16::try_from(value).is_ok(),
        DataType::UInt32 => u32::try_from(value).is_ok(),
        DataType::UInt64 => u64::try_from(value).is_ok(),
        _ => true,
    }
}

/// Days since 1970-01-01.
fn date(text: &str) -> Option<i32> {
    let days = NaiveDate::parse_from_str(text, "%Y-%m-%d")
        .ok()?
        .signed_duration_since(NaiveDate::default())
        .num_days();
    i32::try_from(days).ok()
}

/// Microseconds since 1970-01-01 00:00.
fn timestamp(text: &str) -> Option<i64> {
    [
        "%Y-%m-%d %H:%M:%S%.f",
        "%Y-%m-%dT%H:%M:%S%.f",
        "%Y-%m-%d %H:%M",
        "%Y-%m-%dT%H:%M",
    ]
    .iter()
    .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
    .or_else(|| {
        NaiveDate::parse_from_str(text, "%Y-%m-%d")
            .ok()?
            .and_hms_opt(0, 0, 0)
    })
    .map(|at| at.and_utc())
    .or_else(|| {
        DateTime::parse_from_rfc3339(text)
            .ok()
            .map(|at| at.to_utc())
    })
    .map(|at| at.timestamp_micros())
}

/// A few lines that every test of a kind starts with.
#[cfg(test)]
pub(crate) mod testing {
    use std::path::Path;

    use polars::prelude::{DataFrame, DataType};
    use serde::de::DeserializeOwned;
    use taktline_core::{Capabilities, CheckContext, Column, Frame, Problem, Schema, Stage};

    /// A stage from its params as YAML.
    pub(crate) fn stage<S: DeserializeOwned>(params: &str) -> S {
        taktline_core::serde_yaml::from_str(params).expect("params that fit")
    }

    /// What `look` answers and reports while a stage `this` is checked in this directory.
    pub(crate) fn in_check<T>(
        directory: &Path,
        look: impl FnOnce(&mut CheckContext<'_>) -> T,
    ) -> (T, Vec<Problem>) {
        let capabilities = Capabilities::default();
        let mut cx = CheckContext {
            stage: "this",
            seed: 7,
            directory,
            capabilities: &capabilities,
            problems: Vec::new(),
        };
        let answer = look(&mut cx);
        (answer, cx.problems)
    }

    /// What the check of a stage with these inputs answers and reports.
    pub(crate) fn check_all(stage: &dyn Stage, inputs: &[Schema]) -> (Schema, Vec<Problem>) {
        in_check(Path::new("."), |cx| stage.check(inputs, cx))
    }

    /// What the stage's check answers and reports.
    pub(crate) fn check(stage: &dyn Stage, input: &Schema) -> (Schema, Vec<Problem>) {
        check_all(stage, std::slice::from_ref(input))
    }

    /// Codes and messages, in order.
    pub(crate) fn told(problems: Vec<Problem>) -> Vec<(&'static str, String)> {
        problems
            .into_iter()
            .map(|problem| (problem.code, problem.message))
            .collect()
    }

    /// The schema after a check that finds nothing.
    pub(crate) fn passes(stage: &dyn Stage, input: &Schema) -> Schema {
        let (output, problems) = check(stage, input);
        assert!(problems.is_empty(), "{problems:#?}");
        output
    }

    /// The codes and messages that the check reports, in order.
    pub(crate) fn refuses(stage: &dyn Stage, input: &Schema) -> Vec<(&'static str, String)> {
        told(check(stage, input).1)
    }

    /// Only the codes that the check reports, in order.
    pub(crate) fn codes(stage: &dyn Stage, input: &Schema) -> Vec<&'static str> {
        refuses(stage, input)
            .into_iter()
            .map(|(code, _)| code)
            .collect()
    }

    /// A schema of feature columns.
    pub(crate) fn schema<const N: usize>(columns: [(&str, DataType); N]) -> Schema {
        Schema::new(
            columns
                .into_iter()
                .map(|(name, dtype)| Column::new(name, dtype))
                .collect(),
        )
    }

    /// The frame with every column as a feature.
    pub(crate) fn frame(data: DataFrame) -> Frame {
        let schema = Schema::from_polars(data.schema());
        Frame { data, schema }
    }

    /// Names and types of a schema.
    pub(crate) fn types(schema: &Schema) -> Vec<(&str, DataType)> {
        schema
            .columns
            .iter()
            .map(|column| (column.name.as_str(), column.dtype.clone()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use polars::prelude::TimeUnit;
    use taktline_core::{Aggregate, Expression, Registry, WindowFrame, serde_yaml};

    use super::{testing::schema, *};

    #[test]
    fn every_example_is_a_stage() {
        let registry = Registry::collect().expect("no kind twice");
        assert!(registry.get("clean.drop_nulls").is_some());
        for kind in registry.iter() {
            let stages: Vec<serde_yaml::Mapping> =
                serde_yaml::from_str(kind.example).expect(kind.name);
            assert!(
                stages.iter().any(|stage| stage.contains_key(kind.name)),
                "{}",
                kind.name
            );
            // Whatever it reads is not there, but its params are read as a user's are.
            let misread: Vec<_> = crate::testing::diagnostics(kind.example)
                .into_iter()
                .filter(|problem| {
                    matches!(
                        problem.code.as_str(),
                        "unknown-param"
                            | "missing-param"
                            | "wrong-type"
                            | "unknown-value"
                            | "out-of-range"
                            | "wrong-format"
                            | "ambiguous"
                            | "invalid-params"
                    )
                })
                .collect();
            assert!(misread.is_empty(), "{}: {misread:#?}", kind.name);
            assert!(!kind.about().is_empty(), "{}", kind.name);
        }
    }

    #[test]
    fn constants_fit_their_column_or_say_why_not() {
        let datetime = DataType::Datetime(TimeUnit::Microseconds, None);
        assert_eq!(
            Scalar::Int(3).literal(&DataType::Float32),
            Ok(Literal::Float(3.0))
        );
        assert_eq!(
            Scalar::Float(1e6).literal(&DataType::Int64),
            Ok(Literal::Int(1_000_000))
        );
        assert_eq!(
            Scalar::Text("1970-01-02".into()).literal(&DataType::Date),
            Ok(Literal::Date(1))
        );
        assert_eq!(
            Scalar::Text("1970-01-01 00:00:01".into()).literal(&datetime),
            Ok(Literal::Timestamp(1_000_000))
        );
        assert_eq!(
            Scalar::Text("1970-01-01T01:00:00+01:00".into()).literal(&datetime),
            Ok(Literal::Timestamp(0))
        );
        assert_eq!(
            Scalar::Int(300)
                .literal(&DataType::UInt8)
                .expect_err("too large"),
            "`300` is out of the range of u8"
        );
        assert!(Scalar::Float(0.5).literal(&DataType::Int64).is_err());
        assert!(Scalar::Text("a".into()).literal(&DataType::Int64).is_err());
        assert!(Scalar::Int(1).literal(&DataType::String).is_err());
    }

    #[test]
    fn a_scalar_is_read_as_what_it_is() {
        let read = |text: &str| serde_yaml::from_str::<Scalar>(text).expect("a scalar");
        assert_eq!(read("true"), Scalar::Bool(true));
        assert_eq!(read("3"), Scalar::Int(3));
        assert_eq!(read("0.5"), Scalar::Float(0.5));
        assert_eq!(read("'3'"), Scalar::Text("3".into()));
    }

    #[test]
    fn time_columns_are_found_by_role() {
        let mut input = schema([("at", DataType::Date), ("amount", DataType::Float64)]);
        assert_eq!(time_name(None, &input), None);
        input.columns[0].role = Role::Time;
        assert_eq!(time_name(None, &input).as_deref(), Some("at"));
        assert_eq!(time_name(Some("amount"), &input).as_deref(), Some("amount"));
    }

    #[test]
    fn what_cannot_be_made_is_left_out() {
        let input = schema([("a", DataType::Float64)]);
        let reads = |name: &str| Expression::column(name);
        let window = |by: &[&str]| Operation::Window {
            by: by.iter().map(|name| (*name).to_owned()).collect(),
            over: "a".into(),
            frame: WindowFrame::Growing,
            aggregates: vec![("n".into(), Expression::Aggregate(Aggregate::Count, None))],
        };
        let operations = possible(
            vec![
                Operation::With(vec![("b".into(), reads("a")), ("c".into(), reads("gone"))]),
                Operation::With(vec![("d".into(), reads("b")), ("e".into(), reads("c"))]),
                Operation::With(vec![("f".into(), reads("e"))]),
                window(&["gone"]),
                window(&["d"]),
            ],
            &input,
        );
        let made: Vec<Vec<&str>> = operations
            .iter()
            .map(|operation| match operation {
                Operation::With(made)
                | Operation::Window {
                    aggregates: made, ..
                } => made.iter().map(|(name, _)| name.as_str()).collect(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(made, [vec!["b"], vec!["d"], vec!["n"]]);
    }
}
