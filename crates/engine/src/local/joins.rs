//! Joins → polars. Row order is the left side's; rows of the right alone come last. Rows that carry their place come in any order.

use polars::{
    lazy::dsl::apply_multiple,
    prelude::{JoinType as PolarsJoin, *},
};
use taktline_core::{Cardinality, Error, JoinKind, Result, Schema as FrameSchema};

use super::{expression::column, places};

pub(super) type Pairs<'a> = &'a [(String, String)];

pub(super) struct Join<'a> {
    pub(super) on: Pairs<'a>,
    pub(super) columns: Pairs<'a>,
    pub(super) kind: JoinKind,
    pub(super) expect: Cardinality,
}

pub(super) fn join(
    left: LazyFrame,
    right: (LazyFrame, &FrameSchema),
    schema: &FrameSchema,
    join: &Join<'_>,
) -> Result<LazyFrame> {
    let (on, expect) = (join.on, join.expect);
    // A key that does not fit the left side's type has no partner there; only a full join still shows it.
    let strict = join.kind == JoinKind::Full;
    let who = [who(schema, "left"), who(right.1, "right")];
    let mut right = right_side(right, schema, on, join.columns, strict)?;
    let mut left = left;
    if matches!(expect, Cardinality::OneToOne | Cardinality::OneToMany) {
        let names = on.iter().map(|(left, _)| left.clone()).collect();
        left = once(left, on, names, &who[0], expect);
    }
    if matches!(expect, Cardinality::OneToOne | Cardinality::ManyToOne) {
        let names = on.iter().map(|(_, right)| right.clone()).collect();
        right = once(right, on, names, &who[1], expect);
    }
    let (how, order) = match join.kind {
        JoinKind::Inner => (PolarsJoin::Inner, MaintainOrderJoin::LeftRight),
        JoinKind::Left => (PolarsJoin::Left, MaintainOrderJoin::LeftRight),
        JoinKind::Full => (PolarsJoin::Full, MaintainOrderJoin::LeftRight),
        JoinKind::Semi => (PolarsJoin::Semi, MaintainOrderJoin::Left),
        JoinKind::Anti => (PolarsJoin::Anti, MaintainOrderJoin::Left),
    };
    let keys = keys(on);
    Ok(left.join(right, keys.clone(), keys, arguments(how, order, schema)))
}

/// A truth column: whether the right side has these keys.
pub(super) fn mark(
    left: LazyFrame,
    right: (LazyFrame, &FrameSchema),
    schema: &FrameSchema,
    on: Pairs<'_>,
    name: &str,
) -> Result<LazyFrame> {
    let present = right_side(right, schema, on, &[], false)?
        .unique(None, UniqueKeepStrategy::Any)
        .with_columns([lit(true).alias(name)]);
    let keys = keys(on);
    let arguments = arguments(PolarsJoin::Left, MaintainOrderJoin::Left, schema);
    Ok(left
        .join(present, keys.clone(), keys, arguments)
        .with_columns([column(name).is_not_null().alias(name)]))
}

/// By now both sides have the left side's key names.
fn keys(on: Pairs<'_>) -> Vec<Expr> {
    on.iter().map(|(left, _)| column(left)).collect()
}

fn arguments(how: PolarsJoin, order: MaintainOrderJoin, left: &FrameSchema) -> JoinArgs {
    JoinArgs {
        coalesce: JoinCoalesce::CoalesceColumns,
        maintain_order: match places::are_carried(left) {
            true => MaintainOrderJoin::None,
            false => order,
        },
        ..JoinArgs::new(how)
    }
}

/// The right side: its keys under the left side's names and in its types, and the wanted columns under their new names.
pub(super) fn right_side(
    right: (LazyFrame, &FrameSchema),
    left: &FrameSchema,
    on: Pairs<'_>,
    columns: Pairs<'_>,
    strict: bool,
) -> Result<LazyFrame> {
    let (frame, schema) = right;
    let missing = |name: &str| Error::data(format!("there is no column `{name}`"));
    let mut selected = Vec::with_capacity(on.len() + columns.len());
    for (left_key, right_key) in on {
        let wanted = left.column(left_key).ok_or_else(|| missing(left_key))?;
        let found = schema.column(right_key).ok_or_else(|| missing(right_key))?;
        let key = column(right_key);
        let key = match found.dtype == wanted.dtype {
            true => key,
            false if strict => key.strict_cast(wanted.dtype.clone()),
            false => key.cast(wanted.dtype.clone()),
        };
        selected.push(key.alias(left_key.as_str()));
    }
    for (name, wanted) in columns {
        schema.column(name).ok_or_else(|| missing(name))?;
        selected.push(column(name).alias(wanted.as_str()));
    }
    Ok(frame.select(selected))
}

/// The stage that the rows come from; the side of the join, where that is not known.
fn who(schema: &FrameSchema, side: &str) -> String {
    match schema.facts.stage.as_str() {
        "" => format!("the {side} side of the join"),
        id => format!("`{id}`"),
    }
}

/// The frame, which fails as soon as two rows have the same keys; `names` are the keys' names to the user.
fn once(
    frame: LazyFrame,
    on: Pairs<'_>,
    names: Vec<String>,
    who: &str,
    expect: Cardinality,
) -> LazyFrame {
    let expected = match expect {
        Cardinality::OneToOne => "one_to_one",
        Cardinality::OneToMany => "one_to_many",
        _ => "many_to_one",
    };
    let who = who.to_owned();
    let checked = apply_multiple(
        move |columns: &mut [Column]| {
            if let Some((row, again)) = repeated(columns)? {
                let key: Vec<String> = names
                    .iter()
                    .zip(columns.iter())
                    .map(|(name, column)| Ok(format!("`{name}` = {}", column.get(row)?)))
                    .collect::<PolarsResult<_>>()?;
                return Err(PolarsError::ComputeError(
                    format!(
                        "{who} has {} in rows {} and {}, and `expect: {expected}` allows each key once there",
                        key.join(", "),
                        row + 1,
                        again + 1
                    )
                    .into(),
                ));
            }
            Ok(columns[0].clone())
        },
        keys(on),
        |_, fields| Ok(fields[0].clone()),
        false,
    );
    frame.with_columns([checked.alias(on[0].0.as_str())])
}

/// The first row whose keys come again, and where they first do; a key with a null equals nothing.
fn repeated(columns: &[Column]) -> PolarsResult<Option<(usize, usize)>> {
    let height = columns.iter().map(Column::len).max().unwrap_or(0);
    let numbered: Vec<Column> = columns
        .iter()
        .enumerate()
        .map(|(index, column)| column.clone().with_name(index.to_string().into()).rechunk())
        .collect();
    let frame = DataFrame::new(height, numbered.clone())?;
    let groups = frame.group_by_with_series(numbered, true, false)?;
    let known = |row: IdxSize| {
        columns
            .iter()
            .all(|column| column.get(row as usize).is_ok_and(|value| !value.is_null()))
    };
    let mut first: Option<(usize, usize)> = None;
    for group in groups.get_groups().iter() {
        let pair = match group {
            GroupsIndicator::Idx((row, rows)) if rows.len() > 1 => (row, rows[1]),
            GroupsIndicator::Slice([row, length]) if length > 1 => (row, row + 1),
            _ => continue,
        };
        if known(pair.0) && first.is_none_or(|first| (pair.0 as usize) < first.0) {
            first = Some((pair.0 as usize, pair.1 as usize));
        }
    }
    Ok(first)
}

#[cfg(test)]
mod tests {
    use taktline_core::{AsOfDirection, Expression, Operation};

    use super::super::operation::tests::{applied, attempted, payments, same};
    use super::*;

    fn pairs(names: &[(&str, &str)]) -> Vec<(String, String)> {
        names
            .iter()
            .map(|(one, other)| ((*one).to_owned(), (*other).to_owned()))
            .collect()
    }

    fn ids() -> Operation {
        Operation::Project(vec![("id".into(), Expression::column("id"))])
    }

    fn cards() -> DataFrame {
        df!("number" => ["b", "a", "c"], "amount" => [100.0, 200.0, 300.0], "card" => [1_i32, 2, 3])
            .expect("a frame")
    }

    fn on_card(kind: JoinKind, expect: Cardinality) -> Operation {
        let columns: &[(&str, &str)] = match kind {
            JoinKind::Semi | JoinKind::Anti => &[],
            _ => &[("amount", "amount_limit"), ("card", "card_limit")],
        };
        Operation::Join {
            right: 1,
            on: pairs(&[("card", "number")]),
            kind,
            columns: pairs(columns),
            expect,
        }
    }

    #[test]
    fn joins() {
        let join = |kind| on_card(kind, Cardinality::ManyToMany);
        let inputs = [payments(), cards()];
        same(
            &applied(&[join(JoinKind::Left)], &inputs),
            df!(
                "id" => [1_i64, 2, 3, 4, 5],
                "card" => [Some("a"), Some("b"), Some("a"), None, Some("b")],
                "amount" => [Some(3.0), None, Some(1.0), Some(2.0), Some(1.0)],
                "amount_limit" => [Some(200.0), Some(100.0), Some(200.0), None, Some(100.0)],
                "card_limit" => [Some(2), Some(1), Some(2), None, Some(1)],
            ),
        );
        for (kind, expected) in [
            (JoinKind::Inner, vec![1_i64, 2, 3, 5]),
            (JoinKind::Semi, vec![1, 2, 3, 5]),
            (JoinKind::Anti, vec![4]),
        ] {
            same(
                &applied(&[join(kind), ids()], &inputs),
                df!("id" => expected),
            );
        }
        let full = applied(&[join(JoinKind::Full)], &inputs);
        assert_eq!(full.height(), 6);
        let cards: Vec<Option<&str>> = full
            .column("card")
            .expect("card")
            .str()
            .expect("text")
            .iter()
            .collect();
        assert_eq!(
            cards,
            [Some("a"), Some("b"), Some("a"), None, Some("b"), Some("c")]
        );
    }

    #[test]
    fn nulls_never_meet() {
        let left = df!("id" => [1_i64, 2], "key" => [Some(1_i64), None]).expect("a frame");
        let right =
            df!("key" => [None, None, Some(1_i64)], "value" => [7_i64, 8, 9]).expect("a frame");
        for (kind, expected) in [
            (JoinKind::Inner, vec![1_i64]),
            (JoinKind::Left, vec![1, 2]),
            (JoinKind::Semi, vec![1]),
            (JoinKind::Anti, vec![2]),
        ] {
            let join = Operation::Join {
                right: 1,
                on: pairs(&[("key", "key")]),
                kind,
                columns: Vec::new(),
                // Nor are they keys that come twice.
                expect: Cardinality::OneToOne,
            };
            same(
                &applied(&[join, ids()], [left.clone(), right.clone()]),
                df!("id" => expected),
            );
        }
    }

    #[test]
    fn a_key_that_comes_again_is_named() {
        let doubled = cards().vstack(&cards()).expect("rows");
        let of = |expect, right: &DataFrame| {
            attempted(
                &[on_card(JoinKind::Left, expect)],
                &[payments(), right.clone()],
            )
            .map(|rows| rows.height())
            .map_err(|error| error.to_string())
        };
        assert_eq!(of(Cardinality::ManyToOne, &cards()), Ok(5));
        assert_eq!(of(Cardinality::ManyToMany, &doubled), Ok(9));
        let error = of(Cardinality::ManyToOne, &doubled).expect_err("twice");
        assert!(
            error.contains("the right side of the join has `number` = \"b\" in rows 1 and 4, and `expect: many_to_one`"),
            "{error}"
        );
        let error = of(Cardinality::OneToMany, &doubled).expect_err("twice");
        assert!(
            error.contains("the left side of the join has `card` = \"a\" in rows 1 and 3"),
            "{error}"
        );
        assert!(of(Cardinality::OneToOne, &cards()).is_err());
    }

    #[test]
    fn keys_take_the_left_sides_type() {
        let left = df!("id" => [1_i64, 2], "key" => [1_i8, 2]).expect("a frame");
        let right = df!("key" => [2_i64, 1_000], "value" => ["two", "many"]).expect("a frame");
        let join = |kind| Operation::Join {
            right: 1,
            on: pairs(&[("key", "key")]),
            kind,
            columns: pairs(&[("value", "value")]),
            expect: Cardinality::ManyToOne,
        };
        same(
            &applied(&[join(JoinKind::Left)], [left.clone(), right.clone()]),
            df!("id" => [1_i64, 2], "key" => [1_i8, 2], "value" => [None, Some("two")]),
        );
        // 1000 fits no i8, and a full join would have to show it.
        assert!(attempted(&[join(JoinKind::Full)], &[left, right]).is_err());
    }

    #[test]
    fn marks_rows_with_a_partner() {
        let mark = Operation::Mark {
            right: 1,
            on: pairs(&[("card", "number")]),
            name: "known".into(),
        };
        assert!(mark.keeps_rows());
        let doubled = cards()
            .slice(0, 1)
            .vstack(&cards().slice(0, 1))
            .expect("rows");
        let result = applied(&[mark], [payments(), doubled]);
        assert_eq!(
            result
                .column("known")
                .expect("known")
                .bool()
                .expect("truths")
                .iter()
                .collect::<Vec<_>>(),
            [false, true, false, false, true].map(Some)
        );
    }

    #[test]
    fn filters_and_unread_columns_pass_a_join() {
        let operations = [
            on_card(JoinKind::Left, Cardinality::ManyToOne),
            Operation::Filter(
                taktline_core::sql::compile(
                    "id > 2",
                    &FrameSchema::from_polars(payments().schema()),
                )
                .expect("a condition")
                .expression,
            ),
            Operation::Project(vec![
                ("id".into(), Expression::column("id")),
                ("limit".into(), Expression::column("amount_limit")),
            ]),
        ];
        let inputs = [payments(), cards()];
        let schemas: Vec<FrameSchema> = inputs
            .iter()
            .map(|input| FrameSchema::from_polars(input.schema()))
            .collect();
        let frames: Vec<LazyFrame> = inputs.into_iter().map(IntoLazy::lazy).collect();
        let query = super::super::apply(&operations, &frames, &schemas).expect("lowers");
        let plan = query.describe_optimized_plan().expect("a plan");
        assert!(plan.find("FILTER") > plan.find("JOIN"), "{plan}");
        assert_eq!(plan.matches("2/3 COLUMNS").count(), 2, "{plan}");
    }

    #[test]
    fn order_is_the_left_sides_then_the_rights() {
        let left = df!("id" => (0..2_000_i64).collect::<Vec<_>>(), "key" => (0..2_000_i64).map(|id| id * 7 % 50).collect::<Vec<_>>())
            .expect("a frame");
        let right = df!("key" => (0..100_i64).map(|row| row % 50).collect::<Vec<_>>(), "value" => (0..100_i64).collect::<Vec<_>>())
            .expect("a frame");
        for kind in [JoinKind::Inner, JoinKind::Left, JoinKind::Full] {
            let join = Operation::Join {
                right: 1,
                on: pairs(&[("key", "key")]),
                kind,
                columns: pairs(&[("value", "value")]),
                expect: Cardinality::ManyToMany,
            };
            let result = applied(&[join], [left.clone(), right.clone()]);
            let of = |name: &str| {
                result
                    .column(name)
                    .expect(name)
                    .i64()
                    .expect("integers")
                    .to_vec()
            };
            let found: Vec<_> = of("id").into_iter().zip(of("value")).collect();
            assert_eq!(found.len(), 4_000);
            assert!(found.is_sorted(), "{kind:?}");
        }
    }

    fn trades() -> [DataFrame; 2] {
        let trades = df!(
            "at" => [Some(5_i64), Some(1), None, Some(9), Some(3)],
            "symbol" => ["x", "x", "x", "y", "x"],
            "price" => [1.0, 2.0, 3.0, 4.0, 5.0],
        )
        .expect("a frame");
        let quotes = df!(
            "time" => [Some(4_i32), Some(2), Some(8), None, Some(4)],
            "of" => ["x", "x", "y", "x", "x"],
            "price" => [40.0, 20.0, 80.0, 0.0, 41.0],
        )
        .expect("a frame");
        [trades, quotes]
    }

    fn quoted(
        inputs: &[DataFrame; 2],
        direction: AsOfDirection,
        tolerance: Option<i64>,
        allow_equal: bool,
        by: &[(&str, &str)],
    ) -> Vec<Option<f64>> {
        let join = Operation::AsOfJoin {
            right: 1,
            on: ("at".into(), "time".into()),
            by: pairs(by),
            direction,
            allow_equal,
            tolerance,
            columns: pairs(&[("price", "price_quoted"), ("time", "quoted_at")]),
        };
        let result = applied(&[join], inputs);
        let of = |name: &str| {
            result
                .column(name)
                .expect(name)
                .f64()
                .expect("reals")
                .to_vec()
        };
        assert_eq!(
            of("price"),
            inputs[0]
                .column("price")
                .expect("price")
                .f64()
                .expect("reals")
                .to_vec()
        );
        of("price_quoted")
    }

    #[test]
    fn as_of_joins_keep_rows_in_place() {
        use AsOfDirection::{Backward, Forward, Nearest};
        let inputs = trades();
        let by = [("symbol", "of")];
        let all = [Some(41.0), None, None, Some(80.0), Some(20.0)];
        assert_eq!(quoted(&inputs, Backward, None, true, &by), all);
        assert_eq!(
            quoted(&inputs, Forward, None, true, &by),
            [None, Some(20.0), None, None, Some(40.0)]
        );
        assert_eq!(quoted(&inputs, Backward, Some(0), true, &by), [None; 5]);
        assert_eq!(quoted(&inputs, Backward, Some(1), true, &[]), all);
        assert_eq!(
            quoted(&inputs, Nearest, None, true, &by),
            // 3 is as near to 2 as to 4: the later, and of two at 4 the last.
            [Some(41.0), Some(20.0), None, Some(80.0), Some(41.0)]
        );
    }

    #[test]
    fn a_neighbour_of_the_same_time_may_be_left_out() {
        let left = df!("at" => [4_i64, 4], "symbol" => [Some("x"), None], "price" => [1.0, 2.0])
            .expect("a frame");
        let right = df!("time" => [4_i64, 2, 4], "of" => [Some("x"), Some("x"), None], "price" => [40.0, 20.0, 9.0]).expect("a frame");
        let inputs = [left, right];
        let by = [("symbol", "of")];
        let backward = AsOfDirection::Backward;
        // A null symbol equals no symbol, not even a null one.
        assert_eq!(
            quoted(&inputs, backward, None, true, &by),
            [Some(40.0), None]
        );
        assert_eq!(
            quoted(&inputs, backward, None, false, &by),
            [Some(20.0), None]
        );
    }

    #[test]
    fn tolerances_are_told_in_every_unit() {
        let hour = 3_600_000_000_i64;
        let at = |ticks: &[i64], name: &str| {
            Series::new(name.into(), ticks)
                .cast(&DataType::Datetime(TimeUnit::Microseconds, None))
                .expect("datetimes")
        };
        let left = at(&[10 * hour], "at");
        let right = at(&[7 * hour], "time");
        for unit in [
            TimeUnit::Milliseconds,
            TimeUnit::Microseconds,
            TimeUnit::Nanoseconds,
        ] {
            let dtype = DataType::Datetime(unit, None);
            let price = Column::new("price".into(), [1.0]);
            let left = vec![
                left.cast(&dtype).expect("unit").into_column(),
                price.clone(),
            ];
            let right = vec![right.clone().into_column(), price];
            let inputs =
                [left, right].map(|columns| DataFrame::new_infer_height(columns).expect("a frame"));
            let found =
                |tolerance| quoted(&inputs, AsOfDirection::Backward, Some(tolerance), true, &[]);
            assert_eq!(found(3 * hour), [Some(1.0)], "{unit}");
            assert_eq!(found(3 * hour - 1_000), [None], "{unit}");
        }
    }

    #[test]
    fn empty_sides() {
        let inputs = trades();
        for (left, right, height) in [(5, 0, 5), (0, 5, 0), (0, 0, 0)] {
            let inputs = [inputs[0].slice(0, left), inputs[1].slice(0, right)];
            let found = quoted(
                &inputs,
                AsOfDirection::Backward,
                None,
                true,
                &[("symbol", "of")],
            );
            assert_eq!(found.len(), height);
        }
        let inputs = [payments(), cards().slice(0, 0)];
        for (kind, height) in [
            (JoinKind::Left, 5),
            (JoinKind::Inner, 0),
            (JoinKind::Full, 5),
            (JoinKind::Anti, 5),
        ] {
            let result = applied(
                &[on_card(kind, Cardinality::OneToOne)],
                &[inputs[0].slice(0, 2), inputs[1].clone()],
            );
            assert_eq!(result.height(), height.min(2));
        }
    }
}
