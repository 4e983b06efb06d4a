//! Relational operations → polars.

use polars::{
    lazy::dsl::{concat, map_multiple},
    prelude::*,
};
use taktline_core::{
    Error, Expression, Keep, Operation, Result, Schema as FrameSchema, SortKey, output_schema,
};

use super::{
    as_of::{AsOf, as_of},
    beside::beside,
    expression::{column, expression},
    joins::{self, Join},
    window,
};

/// The first input after these operations. `schemas` are the inputs' schemas; nothing is computed yet.
///
/// # Errors
/// An operation that does not fit the schemas.
pub fn apply(
    operations: &[Operation],
    inputs: &[LazyFrame],
    schemas: &[FrameSchema],
) -> Result<LazyFrame> {
    let mut frame = inputs
        .first()
        .cloned()
        .ok_or_else(|| Error::data("operations need an input"))?;
    let mut schemas = schemas.to_vec();
    if schemas.len() != inputs.len() {
        return Err(Error::data("operations need one schema for each input"));
    }
    let mut rest = operations;
    while let Some(operation) = rest.first() {
        // Windows over the same groups in the same order share the work of finding them.
        let (these, others) = rest.split_at(window::in_common(rest).max(1));
        frame = match these {
            [_] => step(operation, frame, inputs, &schemas)?,
            windows => window::windows(frame, windows, &schemas[0])?,
        };
        schemas[0] = output_schema(these, &schemas);
        rest = others;
    }
    Ok(frame)
}

/// Row numbers while rows are out of their place; no name that a spec can write.
pub(super) const ROW: &str = "\u{1}row";

fn step(
    operation: &Operation,
    frame: LazyFrame,
    inputs: &[LazyFrame],
    schemas: &[FrameSchema],
) -> Result<LazyFrame> {
    let schema = &schemas[0];
    match operation {
        Operation::Project(columns) => {
            // Constants alone would give one row.
            if columns.iter().all(|(_, value)| value.columns().is_empty()) {
                let names = columns
                    .iter()
                    .map(|(name, _)| column(name))
                    .collect::<Vec<_>>();
                return Ok(frame.with_columns(named(columns, schema)?).select(names));
            }
            Ok(frame.select(named(columns, schema)?))
        }
        Operation::With(columns) => Ok(frame.with_columns(named(columns, schema)?)),
        Operation::Filter(condition) => Ok(frame.filter(expression(condition, schema)?)),
        Operation::Distinct { on, keep } => {
            let keep = match keep {
                Keep::First => UniqueKeepStrategy::First,
                Keep::Last => UniqueKeepStrategy::Last,
                Keep::None => UniqueKeepStrategy::None,
            };
            let subset =
                (!on.is_empty()).then(|| by_name(on.iter().map(String::as_str), true, false));
            Ok(frame.unique_stable(subset, keep))
        }
        Operation::Join {
            right,
            on,
            kind,
            columns,
            expect,
        } => {
            let right = other(*right, inputs, schemas)?;
            let join = Join {
                on,
                columns,
                kind: *kind,
                expect: *expect,
            };
            joins::join(frame, right, schema, &join)
        }
        Operation::AsOfJoin {
            right,
            on,
            by,
            direction,
            allow_equal,
            tolerance,
            columns,
        } => {
            let right = other(*right, inputs, schemas)?;
            let join = AsOf {
                on,
                by,
                columns,
                direction: *direction,
                allow_equal: *allow_equal,
                tolerance: *tolerance,
            };
            as_of(frame, right, schema, &join)
        }
        Operation::Mark { right, on, name } => {
            let right = other(*right, inputs, schemas)?;
            joins::mark(frame, right, schema, on, name)
        }
        Operation::Beside { right, columns } => {
            let right = other(*right, inputs, schemas)?;
            beside(frame, right, schema, columns)
        }
        Operation::Aggregate { by, aggregates } => {
            let values = named(aggregates, schema)?;
            if by.is_empty() {
                return Ok(frame.select(values));
            }
            let keys: Vec<Expr> = by.iter().map(|key| column(key)).collect();
            Ok(frame.group_by_stable(keys).agg(values))
        }
        Operation::Window { .. } => window::windows(frame, std::slice::from_ref(operation), schema),
        Operation::Sort(keys) => Ok(sorted(frame, keys)),
        Operation::Union { others } => {
            let mut frames = vec![frame];
            for index in others {
                let (input, input_schema) = other(*index, inputs, schemas)?;
                frames.push(alike(input, input_schema, schema)?);
            }
            Ok(concat(
                frames,
                UnionArgs {
                    rechunk: false,
                    ..UnionArgs::default()
                },
            )?)
        }
        Operation::Sample { fraction, seed } => Ok(sample(frame, *fraction, *seed)),
        Operation::Local(local) => (local.apply)(frame),
    }
}

fn named(columns: &[(String, Expression)], schema: &FrameSchema) -> Result<Vec<Expr>> {
    columns
        .iter()
        .map(|(name, value)| Ok(expression(value, schema)?.alias(name.as_str())))
        .collect()
}

fn other<'a>(
    index: usize,
    inputs: &'a [LazyFrame],
    schemas: &'a [FrameSchema],
) -> Result<(LazyFrame, &'a FrameSchema)> {
    let (Some(frame), Some(schema)) = (inputs.get(index), schemas.get(index)) else {
        return Err(Error::data(format!("there is no input {index}")));
    };
    Ok((frame.clone(), schema))
}

fn sorted(frame: LazyFrame, keys: &[SortKey]) -> LazyFrame {
    if keys.is_empty() {
        return frame;
    }
    let by: Vec<Expr> = keys.iter().map(|key| column(&key.column)).collect();
    let options = SortMultipleOptions::default()
        .with_order_descending_multi(keys.iter().map(|key| key.descending))
        .with_nulls_last_multi(keys.iter().map(|key| !key.nulls_first))
        .with_maintain_order(true);
    frame.sort_by_exprs(by, options)
}

/// The columns of `schema`, in its order and types; null where the frame lacks one.
fn alike(frame: LazyFrame, from: &FrameSchema, schema: &FrameSchema) -> Result<LazyFrame> {
    let mut made = Vec::new();
    let mut names = Vec::with_capacity(schema.columns.len());
    for wanted in &schema.columns {
        names.push(column(&wanted.name));
        match from.column(&wanted.name) {
            None => {
                let null = lit(Scalar::null(wanted.dtype.clone()));
                made.push(null.alias(wanted.name.as_str()));
            }
            Some(found) if found.dtype != wanted.dtype => {
                made.push(column(&wanted.name).strict_cast(wanted.dtype.clone()));
            }
            Some(_) => {}
        }
    }
    // Beside the columns that are there: nulls alone would give one row.
    Ok(frame.with_columns(made).select(names))
}

/// Each row is kept or not by its number and the seed alone: the same rows whatever the number of threads.
fn sample(frame: LazyFrame, fraction: f64, seed: u64) -> LazyFrame {
    // 2^64 as a real number; a fraction of 1 keeps every row.
    let limit = (fraction.clamp(0.0, 1.0) * 18_446_744_073_709_551_616.0) as u128;
    let kept = map_multiple(
        move |columns: &mut [Column]| {
            let rows = columns[0].idx()?;
            let kept: BooleanChunked = rows
                .iter()
                .map(|row| row.map(|row| u128::from(mixed(seed, row)) < limit))
                .collect();
            Ok(kept.with_name(columns[0].name().clone()).into_column())
        },
        [column(ROW)],
        |_, fields| Ok(Field::new(fields[0].name().clone(), DataType::Boolean)),
    );
    frame
        .with_row_index(ROW, None)
        .filter(kept)
        .drop(by_name([ROW], true, false))
}

/// SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014): the number after `row` steps.
fn mixed(seed: u64, row: IdxSize) -> u64 {
    let mut state = seed.wrapping_add(
        u64::from(row)
            .wrapping_add(1)
            .wrapping_mul(0x9E37_79B9_7F4A_7C15),
    );
    state = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    state ^ (state >> 31)
}

#[cfg(test)]
pub(super) mod tests {
    use std::{collections::BTreeSet, sync::Arc};

    use taktline_core::{Local, sql};

    use super::*;

    fn schema(frame: &DataFrame) -> FrameSchema {
        FrameSchema::from_polars(frame.schema())
    }

    /// Applies, and holds the schema that was foretold against the one that came.
    pub(in super::super) fn applied(
        operations: &[Operation],
        inputs: impl AsRef<[DataFrame]>,
    ) -> DataFrame {
        attempted(operations, inputs.as_ref()).expect("runs")
    }

    /// The same for rows that may be refused.
    pub(in super::super) fn attempted(
        operations: &[Operation],
        inputs: &[DataFrame],
    ) -> PolarsResult<DataFrame> {
        let schemas: Vec<FrameSchema> = inputs.iter().map(schema).collect();
        let frames: Vec<LazyFrame> = inputs.iter().map(|input| input.clone().lazy()).collect();
        let expected = output_schema(operations, &schemas).to_polars();
        let mut query = apply(operations, &frames, &schemas).expect("lowers");
        assert_eq!(*query.collect_schema().expect("a schema"), expected);
        let result = query.collect()?;
        assert_eq!(**result.schema(), expected);
        Ok(result)
    }

    #[track_caller]
    pub(in super::super) fn same(found: &DataFrame, expected: PolarsResult<DataFrame>) {
        let expected = expected.expect("a frame");
        assert!(
            found.equals_missing(&expected),
            "found {found}\nexpected {expected}"
        );
    }

    fn sql(text: &str, frame: &DataFrame) -> Expression {
        sql::compile(text, &schema(frame)).expect(text).expression
    }

    pub(in super::super) fn payments() -> DataFrame {
        df!(
            "id" => [1_i64, 2, 3, 4, 5],
            "card" => [Some("a"), Some("b"), Some("a"), None, Some("b")],
            "amount" => [Some(3.0), None, Some(1.0), Some(2.0), Some(1.0)],
        )
        .expect("a frame")
    }

    #[test]
    fn columns_are_chosen_and_made() {
        let frame = payments();
        let project = Operation::Project(vec![
            ("twice".into(), sql("amount * 2", &frame)),
            ("id".into(), Expression::column("id")),
        ]);
        same(
            &applied(&[project], [frame.clone()]),
            df!("twice" => [Some(6.0), None, Some(2.0), Some(4.0), Some(2.0)], "id" => [1_i64, 2, 3, 4, 5]),
        );
        // Constants alone keep the rows; two that swap read the frame as it was.
        let constants = Operation::Project(vec![
            ("id".into(), Expression::int(7)),
            ("new".into(), Expression::text("x")),
        ]);
        same(
            &applied(&[constants], [frame.clone()]),
            df!("id" => [7_i64; 5], "new" => ["x"; 5]),
        );
        let swap = Operation::With(vec![
            ("id".into(), Expression::column("amount")),
            ("amount".into(), Expression::column("id")),
        ]);
        same(
            &applied(
                &[
                    swap,
                    Operation::Project(vec![("id".into(), Expression::column("id"))]),
                ],
                [frame.clone()],
            ),
            df!("id" => [Some(3.0), None, Some(1.0), Some(2.0), Some(1.0)]),
        );
        let filter = Operation::Filter(sql("amount < 2.5", &frame));
        let ids = Operation::Project(vec![("id".into(), Expression::column("id"))]);
        same(
            &applied(&[filter, ids], [frame]),
            df!("id" => [3_i64, 4, 5]),
        );
    }

    #[test]
    fn distinct_keeps_the_order() {
        let ids = || Operation::Project(vec![("id".into(), Expression::column("id"))]);
        for (keep, expected) in [
            (Keep::First, vec![1_i64, 2, 4]),
            (Keep::Last, vec![3, 4, 5]),
            (Keep::None, vec![4]),
        ] {
            let distinct = Operation::Distinct {
                on: vec!["card".into()],
                keep,
            };
            same(
                &applied(&[distinct, ids()], [payments()]),
                df!("id" => expected),
            );
        }
        let twice = payments().vstack(&payments()).expect("rows");
        let distinct = Operation::Distinct {
            on: Vec::new(),
            keep: Keep::First,
        };
        same(&applied(&[distinct], [twice]), Ok(payments()));
    }

    #[test]
    fn sort_is_stable_with_nulls_where_told() {
        let sort = |column: &str, descending| {
            Operation::Sort(vec![SortKey {
                column: column.into(),
                descending,
                nulls_first: false,
            }])
        };
        let ids = || Operation::Project(vec![("id".into(), Expression::column("id"))]);
        same(
            &applied(&[sort("amount", false), ids()], [payments()]),
            df!("id" => [3_i64, 5, 4, 1, 2]),
        );
        same(
            &applied(&[sort("amount", true), ids()], [payments()]),
            df!("id" => [1_i64, 4, 3, 5, 2]),
        );
        let keys = Operation::Sort(vec![
            SortKey {
                column: "card".into(),
                descending: true,
                nulls_first: false,
            },
            SortKey {
                column: "amount".into(),
                descending: false,
                nulls_first: true,
            },
        ]);
        same(
            &applied(&[keys, ids()], [payments()]),
            df!("id" => [2_i64, 5, 3, 1, 4]),
        );
    }

    #[test]
    fn aggregates_in_order_of_first_appearance() {
        let frame = payments();
        let aggregate = |text: &str| {
            sql::compile_aggregate(text, &schema(&frame))
                .expect(text)
                .expression
        };
        let operation = |by: &[&str]| Operation::Aggregate {
            by: by.iter().map(|key| (*key).to_owned()).collect(),
            aggregates: vec![
                ("spent".into(), aggregate("sum(amount)")),
                ("rows".into(), aggregate("count()")),
                ("mean".into(), aggregate("sum(amount) / count(amount)")),
                ("ids".into(), aggregate("sum(id)")),
            ],
        };
        same(
            &applied(&[operation(&["card"])], [frame.clone()]),
            df!("card" => [Some("a"), Some("b"), None], "spent" => [4.0, 1.0, 2.0], "rows" => [2_i64, 2, 1], "mean" => [2.0, 1.0, 2.0], "ids" => [4_i64, 7, 4]),
        );
        same(
            &applied(&[operation(&[])], [frame.clone()]),
            df!("spent" => [7.0], "rows" => [5_i64], "mean" => [1.75], "ids" => [15_i64]),
        );
        assert_eq!(
            applied(&[operation(&["card"])], [frame.slice(0, 0)]).height(),
            0
        );
    }

    #[test]
    fn union_matches_columns_by_name() {
        let more = df!("amount" => [9.0], "card" => ["z"], "id" => [6_i32], "extra" => [1])
            .expect("a frame");
        let union = Operation::Union { others: vec![1, 0] };
        let result = applied(&[union], [payments(), more]);
        assert_eq!(result.height(), 11);
        assert_eq!(
            result
                .column("id")
                .expect("id")
                .i64()
                .expect("integers")
                .get(5),
            Some(6)
        );
        assert_eq!(result.get_column_names(), ["id", "card", "amount"]);
    }

    #[test]
    fn a_union_is_null_where_an_input_lacks_the_column() {
        let union = || Operation::Union { others: vec![1] };
        let less = df!("card" => ["z"]).expect("a frame");
        let result = applied(&[union()], [payments().slice(0, 1), less]);
        same(
            &result,
            df!("id" => [Some(1_i64), None], "card" => ["a", "z"], "amount" => [Some(3.0), None]),
        );
        let nothing_alike = df!("other" => [1, 2]).expect("a frame");
        assert_eq!(applied(&[union()], [payments(), nothing_alike]).height(), 7);
    }

    #[test]
    fn a_sample_depends_on_the_seed_alone() {
        let frame = df!("id" => (0..10_000_i64).collect::<Vec<_>>()).expect("a frame");
        let sample =
            |fraction, seed| applied(&[Operation::Sample { fraction, seed }], [frame.clone()]);
        let kept = sample(0.3, 7);
        // Binomial: within five standard deviations of 3,000.
        assert!(
            (kept.height() as i64 - 3_000).abs() < 5 * 46,
            "{}",
            kept.height()
        );
        assert!(kept.equals(&sample(0.3, 7)));
        assert!(!kept.equals(&sample(0.3, 8)));
        assert!(
            kept.column("id")
                .expect("id")
                .i64()
                .expect("integers")
                .to_vec()
                .is_sorted()
        );
        assert_eq!(
            (sample(0.0, 1).height(), sample(1.0, 1).height()),
            (0, 10_000)
        );
        // The first outputs of SplitMix64 for seed 1234567, as its reference implementation prints them.
        assert_eq!(
            [mixed(1_234_567, 0), mixed(1_234_567, 1)],
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]
        );
    }

    #[test]
    fn closures_run_where_they_stand() {
        let frame = payments();
        let local = Local {
            name: "shift",
            reads: BTreeSet::from(["id".to_owned()]),
            keeps_rows: true,
            schema: schema(&frame),
            apply: Arc::new(|frame| {
                Ok(frame.with_columns([column("id") + lit(Scalar::from(10_i64))]))
            }),
        };
        let filter = Operation::Filter(sql("id > 14", &frame));
        let result = applied(&[Operation::Local(local), filter], [frame]);
        assert_eq!(
            result
                .column("id")
                .expect("id")
                .i64()
                .expect("integers")
                .to_vec(),
            [Some(15)]
        );
    }

    #[test]
    fn filters_reach_the_source() {
        let frame = payments();
        let operations = [
            Operation::With(vec![("ratio".into(), sql("amount / id + id % 3", &frame))]),
            Operation::Filter(sql("id in (1, 2)", &frame)),
            Operation::Project(vec![("ratio".into(), Expression::column("ratio"))]),
        ];
        // `ratio` is not in the input's schema: the operations see each other's columns.
        let query = apply(&operations, &[frame.clone().lazy()], &[schema(&frame)]).expect("lowers");
        let plan = query.describe_optimized_plan().expect("a plan");
        let (filter, with) = (
            plan.find("FILTER"),
            plan.find("WITH_COLUMNS").or(plan.find("SELECT")),
        );
        assert!(filter > with, "{plan}");
        assert!(plan.contains("2/3 COLUMNS"), "{plan}");
    }
}
