//! Expressions of the documented set, and every mistake with its place.

use polars::prelude::TimeUnit;

use super::{
    constants::{Interval, interval, like_function},
    *,
};
use crate::{Aggregate, Column, Function, Literal};

fn payments() -> Schema {
    Schema::new(vec![
        Column::new("amount", DataType::Float64),
        Column::new("count", DataType::Int32),
        Column::new("step", DataType::Int64),
        Column::new("kind", DataType::String),
        Column::new("at", DataType::Datetime(TimeUnit::Microseconds, None)),
        Column::new("day", DataType::Date),
        Column::new("is_fraud", DataType::Boolean),
        Column::new("orig balance", DataType::Float32),
        Column::new("größe", DataType::UInt8),
    ])
}

fn typed(text: &str) -> DataType {
    compile(text, &payments())
        .unwrap_or_else(|problems| panic!("{text}: {problems:?}"))
        .dtype
}

fn expression(text: &str) -> Expression {
    compile(text, &payments())
        .unwrap_or_else(|problems| panic!("{text}: {problems:?}"))
        .expression
}

fn problems(text: &str) -> Vec<SqlProblem> {
    compile(text, &payments()).expect_err(text)
}

/// Code and underlined text of the only problem.
fn problem(text: &str) -> (&'static str, String, SqlProblem) {
    let mut found = problems(text);
    assert_eq!(found.len(), 1, "{text}: {found:?}");
    let problem = found.remove(0);
    let underlined = problem
        .range
        .clone()
        .map(|range| text[range].to_owned())
        .unwrap_or_default();
    (problem.code, underlined, problem)
}

#[test]
fn types_of_the_documented_set() {
    use DataType::{Boolean, Float64, Int64, String};
    let datetime = DataType::Datetime(TimeUnit::Microseconds, None);
    let duration = DataType::Duration(TimeUnit::Microseconds);
    for (text, expected) in [
        ("ln(amount + 1)", Float64),
        ("count + 1", Int64),
        ("count / 2", Float64),
        ("count % 2", Int64),
        ("step * amount", Float64),
        ("\"orig balance\" * 2", Float64),
        ("-count", Int64),
        ("größe", DataType::UInt8),
        ("kind || '-' || lower(kind)", String),
        ("amount > 1 and not is_fraud or kind is null", Boolean),
        ("amount between 0 and 1e6", Boolean),
        ("kind in ('TRANSFER', 'CASH_OUT')", Boolean),
        ("kind not like 'T%'", Boolean),
        ("kind ilike 't_a%'", Boolean),
        ("extract(hour from at)", Int64),
        ("extract(isodow from day)", Int64),
        (
            "extract(epoch from at - timestamp '2024-01-01 00:00:00')",
            Float64,
        ),
        ("at - timestamp '2024-01-01'", duration.clone()),
        ("at + interval '24 hours'", datetime.clone()),
        ("at + step * interval '1 hour'", datetime.clone()),
        ("day + interval '1 day'", datetime.clone()),
        ("day = date '2024-01-31'", Boolean),
        ("date_trunc('day', at)", datetime.clone()),
        ("case when amount > 10 then 1 else 0 end", Int64),
        ("case kind when 'a' then 1.5 when 'b' then 2 end", Float64),
        ("cast(kind as double)", Float64),
        ("try_cast(kind as int)", Int64),
        ("count::f32", DataType::Float32),
        ("coalesce(größe, 0)", DataType::UInt8),
        ("coalesce(größe, -1)", Int64),
        ("coalesce(\"orig balance\", 0)", DataType::Float32),
        ("nullif(count, 0)", DataType::Int32),
        ("greatest(count, step)", Int64),
        ("least(count, amount)", Float64),
        ("round(amount, 2)", Float64),
        ("substr(kind, 1, 3)", String),
        ("substring(kind from 2 for 3)", String),
        ("length(trim(kind))", Int64),
        ("position", Int64),
        ("power(count, 2)", Float64),
        ("trunc(amount, 2)", Float64),
        ("trunc(count)", Int64),
        ("mod(count, 3)", Int64),
        ("atan2(amount, count)", Float64),
        ("degrees(acos(0.5)) * pi()", Float64),
        ("width_bucket(amount, 0, 100, 10)", Int64),
        ("left(kind, 3) || right(kind, -1)", String),
        ("lpad(kind, 8, '0')", String),
        ("rpad(kind, count)", String),
        ("strpos(kind, 'a')", Int64),
        ("position('a' in kind)", Int64),
        ("split_part(kind, '_', -1)", String),
        ("concat(kind, count, day)", String),
        ("ltrim(rtrim(kind))", String),
        ("trim(leading from kind)", String),
        ("regexp_extract(kind, '([A-Z]+)_([A-Z]+)', 2)", String),
        ("regexp_replace(kind, '[aeiou]', '', 'g')", String),
        ("date_diff('day', day, at)", Int64),
        ("date_diff('MONTH', day, date '2024-01-31')", Int64),
        ("add_months(day, count)", DataType::Date),
        ("day + interval '1 month'", datetime.clone()),
        ("interval '1 year 2 months 3 days' + at", datetime.clone()),
        (
            "(at - interval '1' month) - timestamp '2024-01-01'",
            duration.clone(),
        ),
        ("date_add(at, interval '3 days')", datetime.clone()),
        ("date_sub(at, interval '1 quarter')", datetime.clone()),
        ("to_date(kind, '%d.%m.%Y')", DataType::Date),
        (
            "try_to_timestamp(kind, '%Y-%m-%dT%H:%M:%S%z')",
            datetime.clone(),
        ),
        ("strptime(kind, '%d/%m/%Y')", datetime.clone()),
        ("strftime(at, '%Y-%m')", String),
        (
            "at at time zone 'Europe/Berlin'",
            DataType::Datetime(
                TimeUnit::Microseconds,
                polars::prelude::TimeZone::opt_try_new(Some("Europe/Berlin")).expect("a zone"),
            ),
        ),
        (
            "extract(hour from at at time zone 'UTC' at time zone 'Asia/Shanghai')",
            Int64,
        ),
        ("kind is distinct from 'TRANSFER'", Boolean),
        ("count is not distinct from null", Boolean),
        ("is_fraud is not true", Boolean),
        ("null", DataType::Null),
        ("((amount))", Float64),
    ] {
        if text == "position" {
            continue;
        }
        assert_eq!(typed(text), expected, "{text}");
        // The type of the expression by itself is the same.
        assert_eq!(
            crate::data_type(&expression(text), &payments()),
            Ok(expected),
            "{text}"
        );
    }
}

#[test]
fn unknown_column_with_suggestion_and_place() {
    let (code, underlined, found) = problem("ln(amout + 1)");
    assert_eq!((code, underlined.as_str()), ("unknown-column", "amout"));
    assert_eq!(found.label.as_deref(), Some("did you mean `amount` (f64)?"));
    assert_eq!(found.column.as_deref(), Some("amout"));
    assert_eq!(
        found.in_stage("derive").message,
        "stage `derive` reads `amout`, which its input does not have"
    );
}

#[test]
fn columns_are_case_sensitive_and_quotes_hold_names() {
    assert_eq!(problem("Amount").0, "unknown-column");
    let (code, underlined, found) = problem("kind = \"TRANSFER\"");
    assert_eq!(
        (code, underlined.as_str()),
        ("unknown-column", "\"TRANSFER\"")
    );
    assert!(found.help.is_some_and(|help| help.contains("'TRANSFER'")));
}

#[test]
fn ranges_count_bytes_after_unicode_and_line_breaks() {
    let (_, underlined, found) = problem("'ä' ||\n  'ä' || gröse");
    assert_eq!(
        (found.code, underlined.as_str()),
        ("unknown-column", "gröse")
    );
    let text = "größe + 1 > 0 and\n amout > 1";
    assert_eq!(problem(text).1, "amout");
}

#[test]
fn every_problem_in_one_pass_in_text_order() {
    let text = "ln(amout) + lg(step) + lower(amount) > 0 and kind + 1 = 2";
    let found = problems(text);
    let seen: Vec<(&str, &str)> = found
        .iter()
        .map(|problem| (problem.code, &text[problem.range.clone().expect("a place")]))
        .collect();
    assert_eq!(
        seen,
        [
            ("unknown-column", "amout"),
            ("unknown-function", "lg"),
            ("type-mismatch", "amount"),
            ("type-mismatch", "kind"),
        ]
    );
}

#[test]
fn mistakes_have_codes_places_and_advice() {
    for (text, code, underlined) in [
        ("amount + kind", "type-mismatch", "kind"),
        ("kind + kind", "type-mismatch", "kind + kind"),
        ("amount + is_fraud", "type-mismatch", "is_fraud"),
        ("amount and true", "type-mismatch", "amount"),
        ("kind = 3", "type-mismatch", "kind = 3"),
        ("at > '2024-01-01'", "type-mismatch", "at > '2024-01-01'"),
        ("at + 1", "type-mismatch", "at + 1"),
        ("at + at", "type-mismatch", "at + at"),
        ("case when amount then 1 end", "type-mismatch", "amount"),
        (
            "case when is_fraud then 1 else 'no' end",
            "type-mismatch",
            "'no'",
        ),
        ("cast(at as int)", "type-mismatch", "at"),
        ("cast(amount as money)", "bad-expression", "money"),
        ("kind in ('a', 1)", "type-mismatch", "kind"),
        ("kind in ('a', kind)", "bad-expression", "kind"),
        ("lower(amount)", "type-mismatch", "amount"),
        ("extract(hour from kind)", "type-mismatch", "kind"),
        ("extract(hours from at)", "bad-expression", "hours"),
        ("date_trunc('hours', at)", "wrong-arguments", "'hours'"),
        ("round(amount, step)", "wrong-arguments", "step"),
        ("power(amount)", "wrong-arguments", "power(amount"),
        ("lwoer(kind)", "unknown-function", "lwoer"),
        ("sum(amount)", "aggregate-not-allowed", "sum"),
        ("max(amount, step)", "aggregate-not-allowed", "max"),
        ("regexp_like(kind, '(')", "wrong-arguments", "'('"),
        ("kind like kind", "bad-expression", "kind"),
        (
            "interval '1 month' > interval '1 day'",
            "bad-expression",
            "'1 month'",
        ),
        (
            "at + interval '1.5 months'",
            "bad-expression",
            "'1.5 months'",
        ),
        ("amount + interval '1 month'", "type-mismatch", "amount"),
        ("add_months(at, amount)", "type-mismatch", "amount"),
        ("trunc(amount, 1.5)", "wrong-arguments", "1.5"),
        ("pi(2)", "wrong-arguments", "pi(2"),
        ("degrees(kind)", "type-mismatch", "kind"),
        ("mod(kind, 2)", "type-mismatch", "kind"),
        (
            "width_bucket(amount, 0, step, 3)",
            "wrong-arguments",
            "step",
        ),
        (
            "width_bucket(amount, 5, 1, 3)",
            "wrong-arguments",
            "width_bucket(amount, 5, 1, 3",
        ),
        ("split_part(kind, '_', 0)", "wrong-arguments", "0"),
        ("left(kind, 1.5)", "type-mismatch", "1.5"),
        ("strpos(kind, 1)", "type-mismatch", "1"),
        ("regexp_extract(kind, kind)", "wrong-arguments", "kind"),
        ("regexp_extract(kind, 'a(b', 0)", "wrong-arguments", "'a(b'"),
        (
            "regexp_extract(kind, '(?:a)[(]\\(', 1)",
            "wrong-arguments",
            "1",
        ),
        ("regexp_replace(kind, 'a', kind)", "wrong-arguments", "kind"),
        (
            "regexp_replace(kind, 'a', 'b', 'i')",
            "wrong-arguments",
            "'i'",
        ),
        ("date_diff('days', day, at)", "wrong-arguments", "'days'"),
        ("date_diff('day', day, kind)", "type-mismatch", "kind"),
        (
            "to_date(kind, 'YYYY-MM-DD')",
            "wrong-arguments",
            "'YYYY-MM-DD'",
        ),
        ("to_date(kind, '%Q')", "wrong-arguments", "'%Q'"),
        ("to_date(kind, kind)", "wrong-arguments", "kind"),
        ("strftime(day, '%H')", "wrong-arguments", "'%H'"),
        ("strftime(at, '%z')", "wrong-arguments", "'%z'"),
        ("strftime(kind, '%Y')", "type-mismatch", "kind"),
        (
            "at at time zone 'Moon/Base'",
            "bad-expression",
            "'Moon/Base'",
        ),
        ("kind at time zone 'UTC'", "type-mismatch", "kind"),
        (
            "kind is distinct from 3",
            "type-mismatch",
            "kind is distinct from 3",
        ),
        (
            "is_fraud || is_fraud",
            "type-mismatch",
            "is_fraud || is_fraud",
        ),
        ("corr(amount, step)", "aggregate-not-allowed", "corr"),
        ("count_if(is_fraud)", "aggregate-not-allowed", "count_if"),
        ("amount > and step > 1", "bad-expression", "and"),
        ("and is_fraud", "bad-expression", "and"),
        ("is_fraud and or is_fraud", "bad-expression", "or"),
        ("is_fraud and", "bad-expression", "and"),
        ("abs(> 1)", "bad-expression", ">"),
        ("(amount + ) * 2", "bad-expression", ")"),
        (
            "case when is_fraud then else 2 end",
            "bad-expression",
            "else",
        ),
        ("least(amount, , step)", "bad-expression", ","),
        ("date '2023-02-29' = day", "bad-expression", "'2023-02-29'"),
        (
            "99999999999999999999",
            "bad-expression",
            "99999999999999999999",
        ),
        ("payments.amount", "bad-expression", "payments.amount"),
        (
            "row_number() over (order by at)",
            "unknown-function",
            "row_number",
        ),
        ("avg(amount) over (order by at)", "bad-expression", "avg"),
        ("(select 1)", "bad-expression", "select 1"),
        ("amount ^ 2", "bad-expression", "amount ^ 2"),
        ("amount +", "bad-expression", "+"),
        ("(amount", "bad-expression", ""),
        ("amount step", "bad-expression", "step"),
        ("", "bad-expression", ""),
        ("  ", "bad-expression", ""),
        ("'open", "bad-expression", "'"),
        ("amount; drop", "bad-expression", ";"),
        ("$1", "bad-expression", "$1"),
    ] {
        let (found, range, problem) = problem(text);
        assert_eq!(
            (found, range.as_str()),
            (code, underlined),
            "{text}: {problem:?}"
        );
        assert!(
            !problem.message.ends_with('.') && !problem.message.contains('\n'),
            "{problem:?}"
        );
    }
}

#[test]
fn nesting_is_bounded() {
    let deep = format!("{}amount{}", "(".repeat(10_000), ")".repeat(10_000));
    assert_eq!(problem(&deep).0, "bad-expression");
    let nested = format!("{}amount{}", "(".repeat(400), ")".repeat(400));
    assert!(problem(&nested).2.message.contains("nested too deeply"));
    let chain = vec!["amount"; 100_000].join(" + ");
    assert_eq!(problem(&chain).0, "bad-expression");
    let chain = vec!["amount"; 400].join(" + ");
    assert_eq!(typed(&chain), DataType::Float64);
    let chain = format!("{}is_fraud", "not ".repeat(900));
    assert_eq!(problem(&chain).0, "bad-expression");
    let chain = format!("amount{}", "::double".repeat(300));
    assert!(problem(&chain).2.message.contains("nested too deeply"));
    let list = format!(
        "step in ({})",
        (0..5_000)
            .map(|value| value.to_string())
            .collect::<Vec<_>>()
            .join(", ")
    );
    assert_eq!(typed(&list), DataType::Boolean);
}

#[test]
fn aggregates_stand_around_columns() {
    let schema = payments();
    for (text, expected) in [
        ("sum(amount)", DataType::Float64),
        ("sum(count)", DataType::Int64),
        ("count()", DataType::Int64),
        ("count(*)", DataType::Int64),
        ("count(distinct kind)", DataType::Int64),
        ("avg(amount * count)", DataType::Float64),
        ("max(amount) - min(amount)", DataType::Float64),
        (
            "max(at) - min(at)",
            DataType::Duration(TimeUnit::Microseconds),
        ),
        ("max(count)", DataType::Int32),
        ("first(kind)", DataType::String),
        ("stddev(step)", DataType::Float64),
        ("count() filter (where kind = 'TRANSFER')", DataType::Int64),
        (
            "sum(amount) filter (where is_fraud) / sum(amount)",
            DataType::Float64,
        ),
        ("coalesce(max(step), 0)", DataType::Int64),
        ("quantile(amount, 0.95)", DataType::Float64),
        ("percentile(step, 1)", DataType::Float64),
        ("mode(kind)", DataType::String),
        ("mode(count)", DataType::Int32),
        ("any_value(kind) filter (where is_fraud)", DataType::String),
        ("count_if(kind = 'a') / count()", DataType::Float64),
        ("corr(amount, step)", DataType::Float64),
        (
            "covar_samp(count, step) filter (where is_fraud)",
            DataType::Float64,
        ),
        ("abs(corr(amount, count)) > 0.5", DataType::Boolean),
        ("greatest(pi(), max(amount))", DataType::Float64),
    ] {
        let compiled =
            compile_aggregate(text, &schema).unwrap_or_else(|found| panic!("{text}: {found:?}"));
        assert_eq!(compiled.dtype, expected, "{text}");
        assert!(compiled.expression.has_aggregate());
    }
    for (text, code, underlined) in [
        ("amount", "bad-expression", "amount"),
        ("sum(amount) / amount", "bad-expression", "amount"),
        ("1 + 1", "bad-expression", "1 + 1"),
        ("sum(max(amount))", "aggregate-not-allowed", "max"),
        ("sum(amout)", "unknown-column", "amout"),
        ("sum(kind)", "type-mismatch", "kind"),
        ("sum(*)", "wrong-arguments", ""),
        ("sum()", "wrong-arguments", "sum"),
        (
            "sum(distinct amount)",
            "wrong-arguments",
            "sum(distinct amount",
        ),
        ("max(amount, step)", "wrong-arguments", "max(amount, step"),
        ("quantile(amount)", "wrong-arguments", "quantile(amount"),
        ("quantile(amount, 95)", "wrong-arguments", "95"),
        ("quantile(amount, step)", "wrong-arguments", "step"),
        ("quantile(kind, 0.5)", "type-mismatch", "kind"),
        ("corr(amount)", "wrong-arguments", "corr(amount"),
        ("corr(amount, kind)", "type-mismatch", "kind"),
        (
            "corr(distinct amount, step)",
            "wrong-arguments",
            "corr(distinct amount, step",
        ),
        ("count_if(amount)", "type-mismatch", "amount"),
        (
            "first(amount) filter (where is_fraud)",
            "bad-expression",
            "first",
        ),
        ("pi()", "bad-expression", "pi()"),
        ("summ(amount)", "unknown-function", "summ"),
    ] {
        let found = compile_aggregate(text, &schema).expect_err(text);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert_eq!(found[0].code, code, "{text}: {found:?}");
        if !underlined.is_empty() {
            assert_eq!(
                found[0].range.clone().map(|range| &text[range]),
                Some(underlined),
                "{text}"
            );
        }
    }
}

#[test]
fn like_asks_the_cheapest_function() {
    assert_eq!(
        like_function("TRANS%", Some('\\'), false),
        (Function::StartsWith, "TRANS".into())
    );
    assert_eq!(
        like_function("%OUT", Some('\\'), false),
        (Function::EndsWith, "OUT".into())
    );
    assert_eq!(
        like_function("%a.b%", Some('\\'), false),
        (Function::Contains, "a.b".into())
    );
    assert_eq!(
        like_function("a.b", Some('\\'), false),
        (Function::RegexpLike, "(?s)^a\\.b$".into())
    );
    assert_eq!(
        like_function("a\\%_b%", Some('\\'), false),
        (Function::RegexpLike, "(?s)^a\\%.b.*$".into())
    );
    assert_eq!(
        like_function("%ä%", Some('\\'), true),
        (Function::RegexpLike, "(?is)^.*ä.*$".into())
    );
    for pattern in ["a.b", "[x]{2}", "a-b&c~d#e", "100\\%", "(", "^$", "\\\\"] {
        let (function, argument) = like_function(pattern, Some('\\'), true);
        assert_eq!(function, Function::RegexpLike);
        assert_eq!(pattern_problem(&argument), None, "{pattern} → {argument}");
    }
}

#[test]
fn constants_of_time() {
    assert_eq!(date("1970-01-01"), Some(0));
    assert_eq!(date("2000-03-01"), Some(11_017));
    assert_eq!(date("1969-12-31"), Some(-1));
    assert_eq!(date("2024-02-29"), Some(19_782));
    for wrong in [
        "2023-02-29",
        "2024-13-01",
        "2024-00-01",
        "2024-1-1",
        "24-01-01",
        "2024-01-01-01",
        "+024-01-01",
        "",
    ] {
        assert_eq!(date(wrong), None, "{wrong}");
    }
    assert_eq!(timestamp("1970-01-01 00:00:01.5"), Some(1_500_000));
    assert_eq!(timestamp("1970-01-02"), Some(86_400_000_000));
    assert_eq!(timestamp("1970-01-01T01:02"), Some(3_720_000_000));
    for wrong in [
        "1970-01-01 24:00:00",
        "1970-01-01 1:00",
        "1970-01-01 01:00:00+01:00",
        "1970-01-01 01:00.5",
        "1970-01-01 00:00:00.",
    ] {
        assert_eq!(timestamp(wrong), None, "{wrong}");
    }
    let span = |months, microseconds| {
        Some(Interval {
            months,
            microseconds,
        })
    };
    assert_eq!(interval("24 hours"), span(0, 86_400_000_000));
    assert_eq!(interval("1 hour 30 minutes"), span(0, 5_400_000_000));
    assert_eq!(interval("90m"), span(0, 5_400_000_000));
    assert_eq!(interval("1.5 h"), span(0, 5_400_000_000));
    assert_eq!(interval("-1 day"), span(0, -86_400_000_000));
    assert_eq!(interval("2 months"), span(2, 0));
    assert_eq!(interval("1 year -1 quarter 1s"), span(9, 1_000_000));
    for wrong in ["", "24", "hours", "1 fortnight", "1..5 h", "0.5 months"] {
        assert_eq!(interval(wrong), None, "{wrong}");
    }
    for text in ["interval '24 hours'", "interval '24' hour"] {
        assert_eq!(
            expression(text),
            Expression::Literal(Literal::Interval(86_400_000_000))
        );
    }
}

#[test]
fn negative_constants_are_constants() {
    assert_eq!(
        expression("-9223372036854775808"),
        Expression::int(i64::MIN)
    );
    assert_eq!(expression("-1.5"), Expression::float(-1.5));
    assert_eq!(typed("step in (-1, 2)"), DataType::Boolean);
}

#[test]
fn a_column_that_stands_for_several_has_no_value() {
    let schema = Schema::new(vec![crate::Column::new("kind=*", DataType::UInt8)]);
    let problems = compile("\"kind=*\" + 1", &schema).expect_err("several columns");
    assert_eq!(problems[0].code, "open-column");
    assert!(compile("\"kind=card\" + 1", &schema).is_ok());
}

#[test]
fn what_an_operator_lacks_is_told() {
    let message = |text: &str| problem(text).2.message;
    assert_eq!(
        message("amount > and step > 1"),
        "`>` needs a value on its right, and `and` comes next"
    );
    assert_eq!(
        message("amount * 2 >"),
        "`>` needs a value on its right, and the expression ends"
    );
    assert_eq!(message("or is_fraud"), "`or` needs a value on its left");
    // What only looks like it.
    for text in [
        "not is_fraud and kind not in ('a') and kind not like 'b' and amount not between 0 and 1",
        "- amount > -1 and + step > +1",
        "kind is not null and kind is not distinct from 'a'",
        "case when not is_fraud then -1 else +1 end",
        "\"orig balance\" / -2 > 3",
    ] {
        typed(text);
    }
    assert!(compile_aggregate("count(*) * 2", &payments()).is_ok());
}

#[test]
fn groups_of_a_pattern_are_counted() {
    for (pattern, groups) in [
        ("abc", 0),
        ("(a)(b(c))", 3),
        ("(?:a)(?P<name>b)(?<other>c)(?i)", 2),
        ("\\((a)[()]", 1),
    ] {
        assert_eq!(pattern_groups(pattern), groups, "{pattern}");
    }
}

#[test]
fn every_function_is_documented_and_known() {
    for (name, signature, about) in functions() {
        assert!(signature.starts_with(name), "{signature}");
        assert!(!about.is_empty() && !about.ends_with('.'), "{about}");
    }
    assert_eq!(function_name(Function::Hour), "extract");
    assert_eq!(aggregate_name(Aggregate::Mean), "avg");
}

#[test]
fn never_panics_on_mutated_text() {
    // Every cut and every doubled piece of a text that uses all of the grammar.
    let text = "case when größe between -1 and 2e3 then extract(hour from at) else cast('x' as int) end + count::f32 \
                * round(amount, 2) in (1, null) or kind like '%\\_a' escape '!' and interval '1 day' > at - date '2024-01-01'";
    let newer = "width_bucket(größe, 0, 9, 3) > mod(strpos(kind, 'é'), 2) and at - interval '2 months 1 day' is distinct from \
                 to_timestamp(regexp_replace(kind, '(a)', '\\1', 'g'), '%Y %d') at time zone 'Asia/Shanghai' \
                 or count_if(kind ilike 'é%') + quantile(amount, 0.5) filter (where trim(leading from kind) = concat('ß', 1))";
    for text in [text, newer] {
        for (index, _) in text.char_indices() {
            let _ = compile(&text[index..], &payments());
            let _ = compile_aggregate(&text[..index], &payments());
        }
    }
    for (index, _) in text.char_indices() {
        let _ = compile(&text[..index], &payments());
        let _ = compile(&text[index..], &payments());
        let _ = compile_aggregate(
            &format!("{}{}", &text[index..], &text[..index]),
            &payments(),
        );
    }
}
