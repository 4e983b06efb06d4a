use polars::{
    df,
    prelude::{DataFrame, DataType, IntoLazy, NamedFrom, Series, TimeUnit},
};
use taktline_core::{Expect as _, Role, Stage as _};

use super::*;
use crate::columns::testing::{check, check_all, codes, frame, passes, refuses, schema, stage};

fn examine(rules: &str, data: DataFrame) -> Vec<Expectation> {
    stage::<Expect>(rules)
        .examine(&frame(data), &[])
        .expect("findings")
}

fn broken(rules: &str, data: DataFrame) -> (usize, Vec<String>) {
    let found = examine(rules, data);
    assert_eq!(found.len(), 1, "{found:?}");
    (found[0].violations, found[0].examples.clone())
}

#[test]
fn counts_the_rows_that_break_each_condition() {
    let amounts = || {
        df!("amount" => [Some(5.0), None, Some(-1.0), Some(f64::NAN), Some(5.0), Some(f64::INFINITY)]).expect("a frame")
    };
    assert_eq!(broken("[{column: amount, not_null: true}]", amounts()).0, 1);
    assert_eq!(
        broken("[{column: amount, unique: true}]", amounts()),
        (1, vec!["row 5: 5.0".to_owned()])
    );
    assert_eq!(broken("[{column: amount, finite: true}]", amounts()).0, 2);
    assert_eq!(
        broken("[{column: amount, between: [0, 1e6]}]", amounts()),
        (
            3,
            vec![
                "row 3: -1.0".to_owned(),
                "row 4: NaN".to_owned(),
                "row 6: inf".to_owned()
            ]
        )
    );
    assert_eq!(
        broken("[{column: amount, between: [null, 5]}]", amounts()).0,
        2
    );
    assert_eq!(broken("[{column: amount, in: [5, -1]}]", amounts()).0, 2);
}

#[test]
fn text_whole_numbers_truth_and_dates() {
    let data = || {
        let days = Series::new("day".into(), [0_i32, 1, 2])
            .cast(&DataType::Date)
            .expect("dates");
        let mut data = df!("kind" => [Some("A-1"), None, Some("B-x")], "n" => [1_u8, 2, 3], "ok" => [true, false, true])
            .expect("a frame");
        data.with_column(days.into()).expect("one more column");
        data
    };
    assert_eq!(
        broken("[{column: kind, regex: '^[A-Z]-[0-9]$'}]", data()),
        (1, vec!["row 3: B-x".to_owned()])
    );
    assert_eq!(broken("[{column: kind, in: [A-1]}]", data()).0, 1);
    assert_eq!(broken("[{column: n, in: [1, 2]}]", data()).0, 1);
    assert_eq!(broken("[{column: n, between: [1.5, 2.5]}]", data()).0, 2);
    assert_eq!(broken("[{column: ok, in: [true]}]", data()).0, 1);
    assert_eq!(
        broken("[{column: day, between: ['1970-01-02', null]}]", data()).0,
        1
    );
    assert_eq!(broken("[{column: day, in: ['1970-01-01']}]", data()).0, 2);
}

#[test]
fn times_are_compared_in_their_own_unit() {
    for unit in [
        TimeUnit::Milliseconds,
        TimeUnit::Microseconds,
        TimeUnit::Nanoseconds,
    ] {
        let at = Series::new("at".into(), [0_i64, 3_600_000, 7_200_000])
            .cast(&DataType::Datetime(TimeUnit::Milliseconds, None))
            .and_then(|at| at.cast(&DataType::Datetime(unit, None)))
            .expect("times");
        let data = DataFrame::new(3, vec![at.into()]).expect("a frame");
        assert_eq!(
            broken(
                "[{column: at, between: ['1970-01-01 01:00:00', null]}]",
                data
            )
            .0,
            1
        );
    }
}

#[test]
fn a_share_may_break_a_rule_and_a_warning_ends_nothing() {
    let data = || df!("amount" => [1.0, -1.0, 2.0, 3.0]).expect("a frame");
    let is_error = |rule: &str| examine(rule, data())[0].is_error;
    assert!(is_error("[{column: amount, between: [0, null]}]"));
    assert!(!is_error(
        "[{column: amount, between: [0, null], allow: 0.25}]"
    ));
    assert!(is_error(
        "[{column: amount, between: [0, null], allow: 0.2}]"
    ));
    assert!(!is_error(
        "[{column: amount, between: [0, null], severity: warn}]"
    ));
    assert!(!is_error("[{column: amount, between: [-1, null]}]"));
    assert_eq!(
        examine(
            "[{column: amount, between: [0, null], allow: 0.025}]",
            data()
        )[0]
        .rule,
        "amount >= 0 (in all but 2.5 % of the rows)"
    );
}

#[test]
fn bounds_the_number_of_rows() {
    let data = || df!("n" => [1, 2, 3]).expect("a frame");
    let found = examine(
        "[{rows: {min: 5}}, {rows: {max: 5}}, {rows: {min: 3, max: 3}}]",
        data(),
    );
    assert_eq!(
        found.iter().map(|rule| rule.is_error).collect::<Vec<_>>(),
        [true, false, false]
    );
    assert_eq!(found[0].rule, "at least 5 rows");
    assert_eq!(found[0].examples, ["there are 3"]);
}

#[test]
fn a_condition_is_looked_at_where_the_engine_computed_it() {
    let rules: Expect = stage("[{rows: {min: 1}}, {where: amount > 0}]");
    let input = schema([("amount", DataType::Float64)]);
    passes(&rules, &input);
    let operations = rules.prepare(&input).expect("operations");
    assert!(
        matches!(&operations[..], [Operation::With(columns)] if columns[0].0 == "check.expect[1]")
    );
    assert_eq!(
        rules.reads(&input).into_iter().collect::<Vec<_>>(),
        ["amount"]
    );
    let data = df!("amount" => [Some(1.0), Some(-1.0), None], "check.expect[1]" => [Some(true), Some(false), None])
        .expect("a frame");
    let found = rules.examine(&frame(data), &[]).expect("findings");
    assert_eq!(
        (found[1].violations, &found[1].examples[..]),
        (1, &["row 2".to_owned()][..])
    );
    assert_eq!(found[1].rule, "amount > 0");
}

#[test]
fn personal_data_is_not_shown() {
    let mut frame = frame(df!("card" => ["1234", "1234"]).expect("a frame"));
    frame.schema.columns[0] = frame.schema.columns[0].clone().with_role(Role::Pii);
    let found = stage::<Expect>("[{column: card, unique: true}]")
        .examine(&frame, &[])
        .expect("findings");
    assert_eq!(found[0].examples, ["row 2"]);
}

#[test]
fn every_rule_is_checked() {
    let input = schema([
        ("amount", DataType::Float64),
        ("kind", DataType::String),
        ("n", DataType::Int64),
    ]);
    assert_eq!(
        codes(
            &stage::<Expect>(
                "[{column: amount}, {column: amout, unique: true}, {column: kind, between: [0, 1], finite: true}, \
                 {column: n, between: [2, 1]}, {column: n, in: [a]}, {column: amount, regex: a}, \
                 {column: kind, regex: '('}, {rows: {}}, {rows: {min: 2, max: 1}}, {where: amount + 1}]"
            ),
            &input
        ),
        [
            "empty-rule",
            "unknown-column",
            "type-mismatch",
            "type-mismatch",
            "bad-range",
            "type-mismatch",
            "type-mismatch",
            "bad-regex",
            "empty-rule",
            "bad-range",
            "type-mismatch",
        ]
    );
    let (_, problems) = check(&stage::<Expect>("[{column: n, in: [1, a]}]"), &input);
    assert_eq!(problems[0].path, path![0, "in", 1]);
    assert_eq!(
        refuses(&stage::<Expect>("[{column: n, in: [0.5]}]"), &input)[0].1,
        "stage `this` compares `n` with what it cannot be: `0.5` is not a whole number (i64)"
    );
}

/// A frame as the planner would hand it over, from the stage of that id.
fn from_stage(id: &str, data: DataFrame) -> Frame {
    let mut frame = frame(data);
    frame.schema.facts.stage = id.to_owned();
    frame
}

fn rows(rules: &str, data: DataFrame) -> Vec<usize> {
    let found = examine(rules, data);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].violations, found[0].violating.len());
    found[0].violating.clone()
}

#[test]
fn several_columns_are_unique_together() {
    let data = || {
        df!("store" => [Some(1), Some(1), Some(1), None, None], "day" => ["mon", "tue", "mon", "mon", "mon"])
            .expect("a frame")
    };
    assert_eq!(rows("[{columns: [store, day], unique: true}]", data()), [2]);
    assert_eq!(
        broken("[{columns: [store, day], unique: true}]", data()),
        (1, vec!["row 3: 1, mon".to_owned()])
    );
    assert_eq!(rows("[{columns: [day], unique: true}]", data()), [2, 3, 4]);
    let nothing = data().head(Some(0));
    assert!(rows("[{columns: [store, day], unique: true}]", nothing).is_empty());
    assert_eq!(
        rows(
            "[{columns: [store, day], unique: true}]",
            data().head(Some(1))
        ),
        Vec::<usize>::new()
    );
}

#[test]
fn lengths_are_counted_in_characters() {
    let data = df!("name" => [Some("Jürg"), Some(""), None, Some("日本語の名前"), Some("Al")])
        .expect("a frame");
    assert_eq!(
        rows("[{column: name, length: [2, 4]}]", data.clone()),
        [1, 3]
    );
    assert_eq!(
        rows("[{column: name, length: [1, null]}]", data.clone()),
        [1]
    );
    assert_eq!(
        examine("[{column: name, length: [2, 4]}]", data)[0].rule,
        "name has a length between 2 and 4"
    );
}

#[test]
fn values_that_are_not_allowed() {
    let data = df!("kind" => [Some("a"), None, Some("test")], "n" => [Some(0), Some(-1), None])
        .expect("a frame");
    assert_eq!(
        rows("[{column: kind, not_in: [test, x]}]", data.clone()),
        [2]
    );
    assert_eq!(rows("[{column: n, not_in: [-1]}]", data), [1]);
}

#[test]
fn values_go_up_or_down() {
    let order = |direction: &str, strict: bool| {
        format!("[{{column: at, order: {{direction: {direction}, strict: {strict}}}}}]")
    };
    let data =
        || df!("at" => [Some(1), Some(2), None, Some(2), Some(1), Some(3)]).expect("a frame");
    assert_eq!(rows(&order("increasing", false), data()), [4]);
    assert_eq!(rows(&order("increasing", true), data()), [3, 4]);
    assert_eq!(rows(&order("decreasing", false), data()), [1, 5]);
    assert_eq!(rows(&order("decreasing", true), data()), [1, 3, 5]);
    for few in [0, 1] {
        assert!(rows(&order("increasing", true), data().head(Some(few))).is_empty());
    }
    // Not a number is the largest number.
    let reals = df!("at" => [1.0, f64::NAN, f64::NAN, f64::INFINITY]).expect("a frame");
    assert_eq!(rows(&order("increasing", false), reals), [3]);
    let texts = df!("at" => ["B", "a", "É", "b"]).expect("a frame");
    assert_eq!(rows(&order("increasing", false), texts), [3]);
    let large = df!("at" => [0_u64, u64::MAX, u64::MAX - 1]).expect("a frame");
    assert_eq!(rows(&order("increasing", false), large), [2]);
}

#[test]
fn groups_have_an_order_each() {
    let data = df!(
        "machine" => ["a", "b", "a", "b", "a"],
        "at" => [1, 9, 2, 8, 2],
    )
    .expect("a frame");
    let rule = "[{column: at, order: {direction: increasing, strict: true, by: machine}}]";
    assert_eq!(rows(rule, data.clone()), [3, 4]);
    assert_eq!(
        examine(rule, data)[0].rule,
        "at is strictly increasing by machine"
    );
    let rule: Expect = stage(rule);
    let input = schema([("machine", DataType::String), ("at", DataType::Int64)]);
    assert_eq!(
        rule.reads(&input).into_iter().collect::<Vec<_>>(),
        ["at", "machine"]
    );
}

#[test]
fn values_are_looked_up_in_another_stage() {
    let payments = from_stage(
        "payments",
        df!("account" => [Some(1_i32), Some(7), None, Some(2), Some(9)]).expect("a frame"),
    );
    let accounts = from_stage(
        "accounts",
        df!("id" => [Some(1_i64), Some(2), Some(2), None]).expect("a frame"),
    );
    let rules: Expect = stage("[{column: account, references: {stage: accounts, column: id}}]");
    assert_eq!(rules.arity(), 1..=2);
    let inputs = [payments.schema.clone(), accounts.schema.clone()];
    assert!(problems(&rules, &inputs).is_empty());
    let found = rules.examine(&payments, &[accounts]).expect("findings");
    assert_eq!(found[0].violating, [1, 4]);
    assert_eq!(found[0].examples, ["row 2: 7", "row 5: 9"]);
    assert_eq!(found[0].rule, "account in accounts.id");
}

#[test]
fn values_are_looked_up_in_their_own_rows_and_together() {
    let people = from_stage(
        "people",
        df!("id" => [1, 2, 3], "boss" => [None, Some(1), Some(4)]).expect("a frame"),
    );
    let rules: Expect = stage("[{column: boss, references: {stage: people, column: id}}]");
    assert!(problems(&rules, std::slice::from_ref(&people.schema)).is_empty());
    assert_eq!(
        rules.examine(&people, &[]).expect("findings")[0].violating,
        [2]
    );

    let sales = from_stage(
        "sales",
        df!("store" => [Some("a"), Some("b"), None], "product" => [1, 1, 3]).expect("a frame"),
    );
    let listed = from_stage(
        "listed",
        df!("shop" => ["a", "b"], "item" => [1, 2]).expect("a frame"),
    );
    let rules: Expect =
        stage("[{columns: [store, product], references: {stage: listed, column: [shop, item]}}]");
    assert!(problems(&rules, &[sales.schema.clone(), listed.schema.clone()]).is_empty());
    let found = rules.examine(&sales, &[listed]).expect("findings");
    assert_eq!(found[0].violating, [1]);
    assert_eq!(found[0].rule, "store, product in listed.shop, item");
}

fn problems(rules: &Expect, inputs: &[Schema]) -> Vec<Problem> {
    check_all(rules, inputs).1
}

#[test]
fn references_that_lead_nowhere_are_refused() {
    let mut payments = schema([("account", DataType::Int64), ("at", DataType::Date)]);
    payments.facts.stage = "payments".into();
    let mut accounts = schema([("id", DataType::Int64), ("name", DataType::String)]);
    accounts.facts.stage = "accounts".into();
    let inputs = [payments, accounts];
    let codes = |rules: &str| -> Vec<&'static str> {
        problems(&stage(rules), &inputs)
            .iter()
            .map(|problem| problem.code)
            .collect()
    };
    assert_eq!(
        codes("[{column: account, references: {stage: acounts, column: id}}]"),
        ["unknown-stage"]
    );
    assert_eq!(
        codes("[{column: account, references: {stage: accounts, column: idd}}]"),
        ["unknown-reference"]
    );
    assert_eq!(
        codes("[{column: account, references: {stage: accounts, column: name}}]"),
        ["type-mismatch"]
    );
    assert_eq!(
        codes("[{column: account, references: {stage: accounts, column: [id, name]}}]"),
        ["wrong-count"]
    );
    assert_eq!(
        codes(
            "[{columns: [account, at], unique: true, references: {stage: accounts, column: id}}]"
        ),
        ["wrong-count"]
    );
    assert_eq!(
        codes("[{columns: [account, acount]}]"),
        ["empty-rule", "unknown-column"]
    );
    let missing = &problems(
        &stage("[{column: account, references: {stage: acounts, column: id}}]"),
        &inputs,
    )[0];
    assert_eq!(missing.path, path![0, "references", "stage"]);
    assert_eq!(missing.help, ["did you mean `accounts`?"]);
    let far = &problems(
        &stage("[{column: account, references: {stage: customers, column: id}}]"),
        &inputs[..1],
    )[0];
    assert_eq!(
        far.help,
        ["name it as a further input: `from: [payments, customers]`"]
    );
}

#[test]
fn figures_keep_their_bounds() {
    let data = || {
        df!("x" => [Some(1.0), Some(2.0), Some(3.0), Some(6.0), None], "kind" => [Some("a"), Some("b"), Some("a"), None, None])
            .expect("a frame")
    };
    for (rule, is_kept, evidence) in [
        ("mean: [3, 3]", true, ""),
        ("mean: [null, 2.9]", false, "it is 3"),
        ("sum: [12, 12]", true, ""),
        ("sum: [13, null]", false, "it is 12"),
        // Squares of the distances to 3: 4 + 1 + 0 + 9 = 14, over 3.
        ("stddev: [2.1602, 2.1603]", true, ""),
        ("min: [1, null]", true, ""),
        ("min: [1.5, null]", false, "it is 1.0"),
        ("max: [null, 5]", false, "it is 6.0"),
        ("quantile: {at: 0.5, between: [2.5, 2.5]}", true, ""),
        ("quantile: {at: 1, between: [null, 5]}", false, "it is 6"),
        ("nulls: [null, 0.2]", true, ""),
        ("nulls: [null, 0.1]", false, "1 of 5 are null"),
        ("distinct: [4, 4]", true, ""),
        ("distinct: [5, null]", false, "there are 4"),
    ] {
        let found = &examine(&format!("[{{column: x, {rule}}}]"), data())[0];
        assert_eq!(found.is_error, !is_kept, "{rule}: {found:?}");
        assert!(found.about_all && found.violating.is_empty());
        assert_eq!(found.violations, usize::from(!is_kept));
        assert_eq!(found.examples.concat(), evidence, "{rule}");
    }
    let found = examine(
        "[{column: kind, distinct: [2, 2], nulls: [0.4, 0.4]}]",
        data(),
    );
    assert!(found.iter().all(|found| found.violations == 0), "{found:?}");
    assert_eq!(found[0].rule, "share of nulls in kind between 0.4 and 0.4");
    let warned = &examine("[{column: x, mean: [9, null], severity: warn}]", data())[0];
    assert!(!warned.is_error && warned.violations == 1);
}

#[test]
fn quantiles_are_interpolated_as_numpy_does() {
    let data = df!("x" => [4.0, f64::NAN, 1.0, 3.0, 2.0]).expect("a frame");
    for (at, value) in [(0.0, 1.0), (0.25, 1.75), (0.4, 2.2), (0.9, 3.7), (1.0, 4.0)] {
        let bounds = format!("[{}, {}]", value - 1e-12, value + 1e-12);
        let rule = format!("[{{column: x, quantile: {{at: {at}, between: {bounds}}}}}]");
        assert_eq!(examine(&rule, data.clone())[0].violations, 0, "{at}");
    }
}

#[test]
fn a_figure_of_nothing_is_not_bounded() {
    let nulls = df!("x" => [None::<f64>, None]).expect("a frame");
    let rule = "[{column: x, mean: [0, 1], stddev: [0, 1], min: [0, 1], max: [0, 1], quantile: {at: 0.5, between: [0, 1]}}]";
    for data in [nulls.clone(), nulls.head(Some(0))] {
        let found = examine(rule, data);
        assert_eq!(found.len(), 5);
        assert!(found.iter().all(|found| found.violations == 0), "{found:?}");
    }
    assert_eq!(
        examine("[{column: x, nulls: [0, 0.5]}]", nulls.clone())[0].violations,
        1
    );
    assert_eq!(
        examine("[{column: x, nulls: [0, 0.5]}]", nulls.head(Some(0)))[0].violations,
        0
    );
    // What is not a number is in no range, and neither is a mean of it.
    let not_a_number = df!("x" => [1.0, f64::NAN]).expect("a frame");
    assert_eq!(
        examine("[{column: x, mean: [null, 1e9]}]", not_a_number.clone())[0].violations,
        1
    );
    assert_eq!(
        examine("[{column: x, max: [null, 1]}]", not_a_number)[0].violations,
        0
    );
}

#[test]
fn least_and_largest_times() {
    let days = Series::new("day".into(), [Some(19_000_i32), None, Some(19_001)])
        .cast(&DataType::Date)
        .expect("dates");
    let data = DataFrame::new(3, vec![days.into()]).expect("a frame");
    // 19,000 days after 1970-01-01.
    let found = examine(
        "[{column: day, min: ['2022-01-08', null], max: [null, '2022-01-08']}]",
        data,
    );
    assert_eq!(
        found
            .iter()
            .map(|found| found.violations)
            .collect::<Vec<_>>(),
        [0, 1]
    );
    assert_eq!(found[1].examples, ["it is 2022-01-09"]);
}

#[test]
fn the_newest_value_is_new_enough() {
    for unit in [
        TimeUnit::Milliseconds,
        TimeUnit::Microseconds,
        TimeUnit::Nanoseconds,
    ] {
        let at = Series::new("at".into(), [Some(0_i64), None, Some(7_200_000)])
            .cast(&DataType::Datetime(TimeUnit::Milliseconds, None))
            .and_then(|at| at.cast(&DataType::Datetime(unit, None)))
            .expect("times");
        let data = DataFrame::new(3, vec![at.into()]).expect("a frame");
        let fresh = |within: &str, as_of: &str| {
            let rule = format!("[{{column: at, fresh: {{within: {within}, as_of: '{as_of}'}}}}]");
            examine(&rule, data.clone()).remove(0)
        };
        assert!(!fresh("1h", "1970-01-01 03:00:00").is_error);
        assert!(
            !fresh("1h", "1970-01-01 00:30:00").is_error,
            "newer than asked for"
        );
        let stale = fresh("1h", "1970-01-01 03:00:01");
        assert!(stale.is_error);
        assert_eq!(stale.examples, ["it is 1970-01-01 02:00:00 UTC"]);
        assert_eq!(
            stale.rule,
            "newest value of at is at most 1h old at 1970-01-01 03:00:01"
        );
    }
    let none = df!("at" => [None::<i64>]).expect("a frame");
    let none = none
        .lazy()
        .select([polars::prelude::col("at").cast(DataType::Date)])
        .collect()
        .expect("a frame");
    assert!(
        examine(
            "[{column: at, fresh: {within: 1w, as_of: '2024-01-01'}}]",
            none
        )[0]
        .is_error
    );
}

#[test]
fn only_the_time_of_the_run_is_looked_at_again() {
    let now = (chrono::Utc::now() - chrono::Duration::minutes(90)).timestamp_micros();
    let at = Series::new("at".into(), [now])
        .cast(&DataType::Datetime(TimeUnit::Microseconds, None))
        .expect("times");
    let data = DataFrame::new(1, vec![at.into()]).expect("a frame");
    for (within, is_fresh) in [("1h", false), ("2h", true)] {
        let rule = format!("[{{column: at, fresh: {{within: {within}}}}}]");
        assert!(stage::<Expect>(&rule).looks_at_clock());
        assert_eq!(
            examine(&rule, data.clone())[0].violations,
            usize::from(!is_fresh)
        );
    }
    assert!(
        !stage::<Expect>("[{column: at, fresh: {within: 1h, as_of: '2024-01-01'}}]")
            .looks_at_clock()
    );
}

#[test]
fn types_are_told_before_any_row_is_read() {
    let input = schema([
        ("amount", DataType::Float64),
        ("at", DataType::Datetime(TimeUnit::Nanoseconds, None)),
    ]);
    passes(
        &stage::<Expect>("[{column: amount, type: f64}, {column: at, type: datetime}]"),
        &input,
    );
    let (_, problems) = check(
        &stage::<Expect>(
            "[{column: amount, type: i64}, {column: amount, type: text, severity: warn}]",
        ),
        &input,
    );
    let severities: Vec<_> = problems.iter().map(|problem| problem.severity).collect();
    assert_eq!(
        severities,
        [
            taktline_core::Severity::Error,
            taktline_core::Severity::Warning
        ]
    );
    assert_eq!(
        problems[0].message,
        "stage `this` expects `amount` to be i64, but it is f64"
    );
    let found = examine(
        "[{column: n, type: i64}]",
        df!("n" => [1_i32]).expect("a frame"),
    );
    assert_eq!(
        (found[0].violations, found[0].examples.concat().as_str()),
        (1, "it is i32")
    );
}

#[test]
fn figures_of_personal_data_are_not_told() {
    let mut frame = frame(df!("salary" => [10.0, 20.0]).expect("a frame"));
    frame.schema.columns[0] = frame.schema.columns[0].clone().with_role(Role::Pii);
    let found =
        stage::<Expect>("[{column: salary, max: [null, 5], mean: [0, 1], distinct: [5, null]}]")
            .examine(&frame, &[])
            .expect("findings");
    let told: Vec<String> = found.iter().map(|found| found.examples.concat()).collect();
    assert_eq!(told, ["there are 2", "", ""]);
    assert!(found.iter().all(|found| found.is_error));
}

#[test]
fn bounds_that_bound_nothing_are_refused() {
    let input = schema([
        ("x", DataType::Float64),
        ("kind", DataType::String),
        ("at", DataType::Date),
    ]);
    for (rule, expected) in [
        ("column: x, mean: [2, 1]", vec!["bad-range"]),
        ("column: x, mean: [null, null]", vec!["empty-rule"]),
        ("column: x, between: [null, null]", vec!["empty-rule"]),
        ("column: kind, mean: [0, 1]", vec!["type-mismatch"]),
        ("column: kind, fresh: {within: 1h}", vec!["type-mismatch"]),
        (
            "column: at, fresh: {within: 1h, as_of: soon}",
            vec!["bad-date"],
        ),
        (
            "column: at, max: ['2024-02-01', '2024-01-01']",
            vec!["bad-range"],
        ),
        ("column: at, min: [1, null]", vec!["type-mismatch"]),
        ("column: x, nulls: [0, 5]", vec!["out-of-range"]),
        ("column: x, length: [1, 2]", vec!["type-mismatch"]),
        ("column: kind, length: [3, 2]", vec!["bad-range"]),
        ("column: x, mean: [0, 1], allow: 0.1", vec!["unused-allow"]),
        (
            "column: x, order: {direction: increasing, by: kin}",
            vec!["unknown-column"],
        ),
        (
            "column: x, quantile: {at: 0.5, between: [2, 1]}",
            vec!["bad-range"],
        ),
    ] {
        assert_eq!(
            codes(&stage::<Expect>(&format!("[{{{rule}}}]")), &input),
            expected,
            "{rule}"
        );
    }
}
