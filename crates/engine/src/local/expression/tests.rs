use taktline_core::{Column as SchemaColumn, Schema as FrameSchema, data_type, sql};

use super::*;

fn payments() -> DataFrame {
    let datetime = |unit| {
        Series::new("".into(), [Some(1_700_000_000_123_456_i64), None, Some(-1)])
            .cast(&DataType::Datetime(TimeUnit::Microseconds, None))
            .expect("datetimes")
            .cast(&DataType::Datetime(unit, None))
            .expect("unit")
    };
    let named = |series: Series, name: &str| series.with_name(name.into()).into_column();
    let integers = Series::new("".into(), [Some(7_i64), None, Some(100)]);
    let mut columns = vec![
        named(
            Series::new("".into(), [Some(2.5_f64), None, Some(f64::NAN)]),
            "real",
        ),
        named(
            Series::new("".into(), [Some(-2.5_f32), None, Some(0.1)]),
            "real32",
        ),
        named(
            Series::new("".into(), [Some(true), None, Some(false)]),
            "truth",
        ),
        named(
            Series::new("".into(), [Some("Größe"), None, Some("")]),
            "text",
        ),
        named(datetime(TimeUnit::Microseconds), "at"),
        named(datetime(TimeUnit::Milliseconds), "at_ms"),
        named(datetime(TimeUnit::Nanoseconds), "at_ns"),
        named(
            datetime(TimeUnit::Microseconds)
                .cast(&DataType::Date)
                .expect("dates"),
            "day",
        ),
        named(
            Series::new("".into(), [Some(90_000_000_i64), None, Some(-1)])
                .cast(&DataType::Duration(TimeUnit::Microseconds))
                .expect("durations"),
            "span",
        ),
        named(
            Series::new("".into(), [Some("b"), None, Some("a")])
                .cast(&DataType::from_categories(Categories::global()))
                .expect("categories"),
            "category",
        ),
    ];
    for (name, dtype) in [
        ("i8", DataType::Int8),
        ("i16", DataType::Int16),
        ("i32", DataType::Int32),
        ("i64", DataType::Int64),
        ("u8", DataType::UInt8),
        ("u16", DataType::UInt16),
        ("u32", DataType::UInt32),
        ("u64", DataType::UInt64),
    ] {
        columns.push(named(integers.cast(&dtype).expect("integers"), name));
    }
    let frame = DataFrame::new_infer_height(columns).expect("a frame");
    frame
        .lazy()
        .with_columns([column("at")
            .dt()
            .replace_time_zone(
                TimeZone::opt_try_new(Some("Asia/Shanghai")).expect("zone"),
                lit("raise"),
                NonExistent::Raise,
            )
            .alias("at_zone")])
        .collect()
        .expect("a zone")
}

fn schema(frame: &DataFrame) -> FrameSchema {
    FrameSchema::from_polars(frame.schema())
}

fn evaluated(frame: &DataFrame, text: &str) -> Series {
    let compiled = sql::compile(text, &schema(frame))
        .unwrap_or_else(|problems| panic!("{text}: {problems:?}"));
    let lowered = expression(&compiled.expression, &schema(frame)).expect(text);
    // Beside a column, so that a constant is repeated.
    let first = column(frame.columns()[0].name());
    let result = frame
        .clone()
        .lazy()
        .select([first.alias("first"), lowered.alias("result")])
        .collect()
        .unwrap_or_else(|error| panic!("{text}: {error}"));
    let result = result
        .column("result")
        .expect("result")
        .as_materialized_series()
        .clone();
    assert_eq!(*result.dtype(), compiled.dtype, "{text}");
    result
}

#[track_caller]
fn gives<T>(text: &str, expected: [T; 3])
where
    Series: NamedFrom<Vec<T>, [T]>,
    [T]: 'static,
    T: Clone + 'static,
{
    let expected = Series::new("result".into(), expected.to_vec());
    let found = evaluated(&payments(), text);
    let expected = expected.cast(found.dtype()).expect("type");
    assert!(
        found.equals_missing(&expected),
        "{text}\nfound {found}\nexpected {expected}"
    );
}

/// All expressions over all columns and pairs of columns, with what their types say.
#[test]
fn types_are_what_polars_yields() {
    let frame = payments();
    let schema = schema(&frame);
    let columns: Vec<Expression> = schema.names().map(Expression::column).collect();
    let constants = [
        Expression::Literal(Literal::Null),
        Expression::int(2),
        Expression::int(-1_000_000),
        Expression::float(0.5),
        Expression::text("2024-01-31"),
        Expression::Literal(Literal::Bool(true)),
        Expression::Literal(Literal::Timestamp(1_000_000)),
        Expression::Literal(Literal::Date(3)),
        Expression::Literal(Literal::Interval(5_000_000)),
    ];
    let operands: Vec<Expression> = columns.iter().chain(&constants).cloned().collect();
    use BinaryOperator as Op;
    use Function as F;
    let mut cases: Vec<Expression> = Vec::new();
    for operand in &operands {
        for operator in [
            UnaryOperator::Not,
            UnaryOperator::Negate,
            UnaryOperator::IsNull,
            UnaryOperator::IsNotNull,
        ] {
            cases.push(operand.clone().unary(operator));
        }
        for function in [
            F::Abs,
            F::Ln,
            F::Log10,
            F::Log2,
            F::Exp,
            F::Sqrt,
            F::Floor,
            F::Ceil,
            F::Round,
            F::Sign,
            F::IsNan,
            F::Sin,
            F::Cos,
            F::Tan,
            F::Asin,
            F::Acos,
            F::Atan,
            F::Trunc,
            F::Lower,
            F::Upper,
            F::Trim,
            F::TrimStart,
            F::TrimEnd,
            F::Length,
            F::Year,
            F::Quarter,
            F::Month,
            F::Week,
            F::Day,
            F::DayOfYear,
            F::DayOfWeek,
            F::IsoDayOfWeek,
            F::Hour,
            F::Minute,
            F::Second,
            F::Epoch,
        ] {
            cases.push(Expression::call(function, vec![operand.clone()]));
        }
        for unit in [
            "year", "quarter", "month", "week", "day", "hour", "minute", "second",
        ] {
            cases.push(Expression::call(
                F::DateTrunc,
                vec![Expression::text(unit), operand.clone()],
            ));
        }
        for function in [
            F::Round,
            F::Trunc,
            F::Left,
            F::Right,
            F::PadStart,
            F::PadEnd,
        ] {
            cases.push(Expression::call(
                function,
                vec![operand.clone(), Expression::int(2)],
            ));
            cases.push(Expression::call(
                function,
                vec![Expression::text("text"), operand.clone()],
            ));
        }
        for months in [Expression::int(-2), Expression::column("i8")] {
            cases.push(Expression::call(
                F::AddMonths,
                vec![operand.clone(), months],
            ));
        }
        for format in ["%Y-%m-%d", "%H:%M"] {
            for function in [F::TryToDate, F::TryToTimestamp, F::Strftime] {
                cases.push(Expression::call(
                    function,
                    vec![operand.clone(), Expression::text(format)],
                ));
            }
        }
        cases.push(Expression::call(
            F::SplitPart,
            vec![operand.clone(), Expression::text("r"), Expression::int(-1)],
        ));
        for arguments in [vec![], vec![Expression::int(1)]] {
            cases.push(Expression::call(
                F::RegexpExtract,
                [vec![operand.clone(), Expression::text("^(.)r")], arguments].concat(),
            ));
        }
        for arguments in [vec![], vec![Expression::text("g")]] {
            let replaced = vec![
                operand.clone(),
                Expression::text("r"),
                Expression::text("$\\0"),
            ];
            cases.push(Expression::call(
                F::RegexpReplace,
                [replaced, arguments].concat(),
            ));
        }
        cases.push(Expression::call(
            F::Substr,
            vec![operand.clone(), Expression::int(2), Expression::int(1)],
        ));
        cases.push(Expression::call(
            F::RegexpLike,
            vec![operand.clone(), Expression::text("^.r")],
        ));
        cases.push(Expression::call(
            F::Replace,
            vec![operand.clone(), Expression::text("r"), operand.clone()],
        ));
        for to in [
            DataType::Boolean,
            DataType::Int8,
            DataType::Int64,
            DataType::UInt64,
            DataType::Float32,
            DataType::Float64,
            DataType::String,
            DataType::Date,
            DATETIME,
            DataType::Datetime(TimeUnit::Nanoseconds, None),
            DURATION,
        ] {
            cases.push(Expression::Cast {
                operand: Box::new(operand.clone()),
                to,
                strict: false,
            });
        }
        for literal in [
            Literal::Int(7),
            Literal::Float(2.5),
            Literal::Text("b".into()),
            Literal::Timestamp(-1),
            Literal::Date(-1),
            Literal::Bool(true),
        ] {
            cases.push(Expression::In {
                operand: Box::new(operand.clone()),
                list: vec![literal, Literal::Null],
                negated: true,
            });
        }
        for right in &operands {
            for operator in [
                Op::Add,
                Op::Subtract,
                Op::Multiply,
                Op::Divide,
                Op::Modulo,
                Op::Equal,
                Op::NotEqual,
                Op::Less,
                Op::LessOrEqual,
                Op::Greater,
                Op::GreaterOrEqual,
                Op::And,
                Op::Or,
                Op::Concat,
            ] {
                cases.push(operand.clone().binary(operator, right.clone()));
            }
            for function in [
                F::Least,
                F::Greatest,
                F::Coalesce,
                F::NullIf,
                F::Power,
                F::Atan2,
                F::Position,
                F::StartsWith,
                F::EndsWith,
                F::Contains,
            ] {
                cases.push(Expression::call(
                    function,
                    vec![operand.clone(), right.clone()],
                ));
            }
            for unit in ["month", "week", "hour"] {
                cases.push(Expression::call(
                    F::DateDiff,
                    vec![Expression::text(unit), operand.clone(), right.clone()],
                ));
            }
            cases.push(Expression::Case {
                branches: vec![(Expression::column("truth"), operand.clone())],
                otherwise: Box::new(right.clone()),
            });
        }
    }
    let typed: Vec<(Expression, DataType)> = cases
        .into_iter()
        .filter_map(|case| data_type(&case, &schema).ok().map(|dtype| (case, dtype)))
        .collect();
    assert!(
        typed.len() > 4_000,
        "only {} of the expressions have a type",
        typed.len()
    );
    for chunk in typed.chunks(500) {
        let lowered: Vec<Expr> = chunk
            .iter()
            .enumerate()
            .map(|(index, (case, _))| {
                expression(case, &schema)
                    .expect("lowers")
                    .alias(index.to_string())
            })
            .collect();
        let kept = || std::iter::once(column("i64").alias("kept"));
        // The last row's not-a-number times an interval is an error, as it should be.
        for rows in [frame.slice(0, 2), frame.slice(1, 1), frame.slice(0, 0)] {
            let query = rows
                .clone()
                .lazy()
                .select(kept().chain(lowered.clone()).collect::<Vec<_>>());
            let planned = query.clone().collect_schema().expect("a schema");
            let result = query.collect().unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(result.height(), rows.height());
            for (index, (case, dtype)) in chunk.iter().enumerate() {
                assert_eq!(
                    planned.get(&index.to_string()),
                    Some(dtype),
                    "planned: {case:?}"
                );
                assert_eq!(
                    result.column(&index.to_string()).expect("a column").dtype(),
                    dtype,
                    "found: {case:?}"
                );
            }
        }
    }
}

#[test]
fn aggregate_types_are_what_polars_yields() {
    let frame = payments();
    let schema = schema(&frame);
    let mut cases = vec![Expression::Aggregate(Aggregate::Count, None)];
    for name in schema.names() {
        for aggregate in [
            Aggregate::Count,
            Aggregate::CountDistinct,
            Aggregate::Sum,
            Aggregate::Mean,
            Aggregate::Min,
            Aggregate::Max,
            Aggregate::StdDev,
            Aggregate::Variance,
            Aggregate::Median,
            Aggregate::Quantile(0.9),
            Aggregate::Mode,
            Aggregate::AnyValue,
            Aggregate::First,
            Aggregate::Last,
        ] {
            cases.push(Expression::Aggregate(
                aggregate,
                Some(Box::new(Expression::column(name))),
            ));
        }
    }
    for (left, right) in [("real", "i8"), ("u64", "real32"), ("i64", "i64")] {
        for aggregate in [PairAggregate::Correlation, PairAggregate::Covariance] {
            cases.push(Expression::AggregatePair(
                aggregate,
                Box::new(Expression::column(left)),
                Box::new(Expression::column(right)),
            ));
        }
    }
    let typed: Vec<(Expression, DataType)> = cases
        .into_iter()
        .filter_map(|case| data_type(&case, &schema).ok().map(|dtype| (case, dtype)))
        .collect();
    assert!(typed.len() > 150);
    let lowered: Vec<Expr> = typed
        .iter()
        .enumerate()
        .map(|(index, (case, _))| {
            expression(case, &schema)
                .expect("lowers")
                .alias(index.to_string())
        })
        .collect();
    for rows in [frame.clone(), frame.slice(1, 1), frame.slice(0, 0)] {
        let over_all = rows
            .clone()
            .lazy()
            .select(lowered.clone())
            .collect()
            .expect("over all");
        let grouped = rows
            .lazy()
            .group_by_stable([column("truth").alias("key")])
            .agg(lowered.clone());
        let grouped = grouped.collect().expect("grouped");
        for (index, (case, dtype)) in typed.iter().enumerate() {
            assert_eq!(
                over_all
                    .column(&index.to_string())
                    .expect("a column")
                    .dtype(),
                dtype,
                "{case:?}"
            );
            assert_eq!(
                grouped
                    .column(&index.to_string())
                    .expect("a column")
                    .dtype(),
                dtype,
                "{case:?}"
            );
        }
    }
}

#[test]
fn arithmetic() {
    gives("i8 + 1", [Some(8_i64), None, Some(101)]);
    gives("u8 - 200", [Some(-193_i64), None, Some(-100)]);
    gives("i64 * i64", [Some(49_i64), None, Some(10_000)]);
    gives("i64 / 2", [Some(3.5), None, Some(50.0)]);
    gives("i64 / 0", [Some(f64::INFINITY), None, Some(f64::INFINITY)]);
    gives("-i64 % 3", [Some(-1_i64), None, Some(-1)]);
    gives("i64 % -3", [Some(1_i64), None, Some(1)]);
    gives("i64 % 0", [None::<i64>, None, None]);
    gives("-real % 2", [Some(-0.5), None, Some(f64::NAN)]);
    gives("real * 2", [Some(5.0), None, Some(f64::NAN)]);
    gives("real32 * 1", [Some(-2.5), None, Some(f64::from(0.1_f32))]);
    gives("1 + 2 * 3 - -4", [11_i64, 11, 11]);
    gives("abs(-i64)", [Some(7_i64), None, Some(100)]);
    gives("-real", [Some(-2.5), None, Some(f64::NAN)]);
    gives("3 / 10", [0.3; 3]);
}

/// A row scored by itself must give what it gave among others, to the bit.
#[test]
fn one_row_alone_gives_the_same() {
    let values: Vec<f64> = (1..200).map(|value| f64::from(value) * 0.37).collect();
    let frame = df!("a" => &values, "b" => values.iter().rev().copied().collect::<Vec<_>>())
        .expect("a frame");
    for text in [
        "a / b",
        "a / 10",
        "3 / a",
        "power(a, b)",
        "power(a, 0.5)",
        "a % b",
        "ln(a) * b - a / 7",
        "exp(a / b)",
        "sin(a)",
    ] {
        let together = evaluated(&frame, text);
        for row in 0..frame.height() {
            let alone = evaluated(&frame.slice(row as i64, 1), text);
            assert!(
                alone.equals(&together.slice(row as i64, 1)),
                "{text}, row {row}"
            );
        }
    }
}

#[test]
fn whole_numbers_never_wrap() {
    let frame = df!("big" => [i64::MAX, 1], "small" => [i64::MIN, 1], "unsigned" => [u64::MAX, 1])
        .expect("a frame");
    for text in [
        "big + 1",
        "small - 1",
        "big * 2",
        "-small",
        "abs(small)",
        "big + big",
        "unsigned + 1",
        "big * -2 + 1",
    ] {
        let compiled = sql::compile(text, &schema(&frame)).expect(text);
        let lowered = expression(&compiled.expression, &schema(&frame)).expect(text);
        let result = frame
            .clone()
            .lazy()
            .select([lowered.alias("result")])
            .collect();
        assert!(result.is_err(), "{text}: {result:?}");
    }
    let sum = sql::compile_aggregate("sum(big)", &schema(&frame)).expect("sum");
    let lowered = expression(&sum.expression, &schema(&frame))
        .expect("sum")
        .alias("sum");
    assert!(
        frame
            .clone()
            .lazy()
            .select([lowered.clone()])
            .collect()
            .is_err()
    );
    assert!(
        frame
            .clone()
            .lazy()
            .group_by([lit(1).alias("one")])
            .agg([lowered])
            .collect()
            .is_err()
    );
    let fine = evaluated(&frame, "big - 1 + 1");
    assert_eq!(fine.i64().expect("integers").get(0), Some(i64::MAX));
    // A null hides whatever lies beneath it.
    let frame = df!("a" => [Some(i64::MAX), Some(1)], "b" => [None, Some(1_i64)]).expect("a frame");
    assert_eq!(
        evaluated(&frame, "a + b").i64().expect("integers").to_vec(),
        [None, Some(2)]
    );
}

#[test]
fn comparisons_and_truth() {
    gives("real > 1", [Some(true), None, Some(true)]);
    gives("real = real", [Some(true), None, Some(true)]);
    gives("real32 = 0.1", [Some(false), None, Some(false)]);
    gives("u8 > -1", [Some(true), None, Some(true)]);
    gives("u64 = 100.0", [Some(false), None, Some(true)]);
    gives("i8 < 1000", [Some(true), None, Some(true)]);
    gives("truth and null", [None, None, Some(false)]);
    gives("truth or null", [Some(true), None, None]);
    gives("not truth", [Some(false), None, Some(true)]);
    gives("truth is true", [true, false, false]);
    gives("truth is not false", [true, true, false]);
    gives("real is null", [false, true, false]);
    gives("i64 between 7 and 50", [Some(true), None, Some(false)]);
    gives("i64 not in (7, 8)", [Some(false), None, Some(true)]);
    gives("i64 in (7, null)", [Some(true), None, None]);
    gives("i64 in (7.5, 100)", [Some(false), None, Some(true)]);
    gives("text in ('', 'x')", [Some(false), None, Some(true)]);
    gives("category = 'b'", [Some(true), None, Some(false)]);
    gives("category in ('a')", [Some(false), None, Some(true)]);
    gives(
        "at < timestamp '2000-01-01'",
        [Some(false), None, Some(true)],
    );
    gives(
        "at_zone > timestamp '2023-11-15 06:13:20'",
        [Some(false), None, Some(false)],
    );
    gives(
        "at_zone > timestamp '2023-11-14 22:13:20'",
        [Some(true), None, Some(false)],
    );
    gives("at = at_ns", [Some(true), None, Some(true)]);
    gives("day = date '2023-11-14'", [Some(true), None, Some(false)]);
    gives("day <= at", [Some(true), None, Some(true)]);
}

#[test]
fn functions_of_numbers() {
    gives("ln(real)", [Some(2.5_f64.ln()), None, Some(f64::NAN)]);
    gives("log10(i64 * 10)", [Some(70.0_f64.log10()), None, Some(3.0)]);
    gives("log2(8)", [3.0, 3.0, 3.0]);
    gives("ln(0)", [f64::NEG_INFINITY; 3]);
    gives("sqrt(-1)", [f64::NAN; 3]);
    gives("power(i8, 2)", [Some(49.0), None, Some(10_000.0)]);
    gives("round(real)", [Some(3.0), None, Some(f64::NAN)]);
    gives("round(-real)", [Some(-3.0), None, Some(f64::NAN)]);
    gives("round(1.25, 1)", [1.3; 3]);
    gives("floor(-real)", [Some(-3.0), None, Some(f64::NAN)]);
    gives("ceil(real)", [Some(3.0), None, Some(f64::NAN)]);
    gives("ceil(i8)", [Some(7_i64), None, Some(100)]);
    gives("sign(-real)", [Some(-1.0), None, Some(f64::NAN)]);
    gives("sign(i64 - 7)", [Some(0_i64), None, Some(1)]);
    gives("isnan(real)", [Some(false), None, Some(true)]);
    gives("isnan(i64)", [Some(false), None, Some(false)]);
    gives("cos(0)", [1.0; 3]);
    gives("tan(0)", [0.0; 3]);
    gives("asin(1) * 2", [std::f64::consts::PI; 3]);
    gives("acos(real - 1.5)", [Some(0.0), None, Some(f64::NAN)]);
    gives("acos(2)", [f64::NAN; 3]);
    gives("atan2(-1, 0)", [-std::f64::consts::FRAC_PI_2; 3]);
    gives("degrees(atan(1))", [45.0; 3]);
    gives("cos(radians(180))", [-1.0; 3]);
    gives("pi()", [std::f64::consts::PI; 3]);
    gives("trunc(-real)", [Some(-2.0), None, Some(f64::NAN)]);
    gives("trunc(-1.239, 2)", [-1.23; 3]);
    gives("trunc(1e300, 2)", [1e300; 3]);
    gives("trunc(i8, 1)", [Some(7_i64), None, Some(100)]);
    gives("mod(-i64, 4)", [Some(-3_i64), None, Some(0)]);
    gives("width_bucket(real, 0, 5, 5)", [Some(3_i64), None, Some(6)]);
    gives("width_bucket(i64, 7, 100, 3)", [Some(1_i64), None, Some(4)]);
    gives("width_bucket(-1e300, 0, 1, 4)", [0_i64; 3]);
    // 0.999… of the last part is not lifted out of it by rounding.
    gives("width_bucket(0.29999999999999993, 0, 0.3, 3)", [3_i64; 3]);
}

#[test]
fn functions_that_pick() {
    gives("greatest(real, 3)", [Some(3.0), Some(3.0), Some(f64::NAN)]);
    gives("least(real, 3)", [Some(2.5), Some(3.0), Some(3.0)]);
    gives("greatest(i8, u8, 50)", [Some(50_i64), Some(50), Some(100)]);
    gives("least(text, 'M')", [Some("Größe"), Some("M"), Some("")]);
    gives(
        "greatest(truth, false)",
        [Some(true), Some(false), Some(false)],
    );
    gives(
        "greatest(at, timestamp '1970-01-01')",
        [Some(1_700_000_000_123_456_i64), Some(0), Some(0)],
    );
    gives(
        "coalesce(real, i64, 1)",
        [Some(2.5), Some(1.0), Some(f64::NAN)],
    );
    gives("coalesce(u8, 0)", [7_u8, 0, 100]);
    gives("nullif(i64, 7)", [None, None, Some(100_i64)]);
    gives(
        "case when truth then 'yes' when truth is null then 'unknown' else text end",
        ["yes", "unknown", ""],
    );
    gives("case i8 when 7 then 1.5 end", [Some(1.5), None, None]);
}

#[test]
fn functions_of_text() {
    gives("lower(text)", [Some("größe"), None, Some("")]);
    gives("upper(text)", [Some("GRÖSSE"), None, Some("")]);
    gives("length(text)", [Some(5_i64), None, Some(0)]);
    gives("trim('  a b ')", ["a b"; 3]);
    gives("substr(text, 2, 3)", [Some("röß"), None, Some("")]);
    gives("substr(text, 0, 2)", [Some("G"), None, Some("")]);
    gives("substr(text, 4)", [Some("ße"), None, Some("")]);
    gives("substr(text, i64 - 5)", [Some("röße"), None, Some("")]);
    gives("replace(text, 'ö', 'oe')", [Some("Groeße"), None, Some("")]);
    gives("replace('aa', '', 'x')", ["aa"; 3]);
    gives("text || '!' ", [Some("Größe!"), None, Some("!")]);
    gives("starts_with(text, 'Gr')", [Some(true), None, Some(false)]);
    gives("contains(text, '.')", [Some(false), None, Some(false)]);
    gives("regexp_like(text, '^.r')", [Some(true), None, Some(false)]);
    gives("text like 'G_ö%'", [Some(true), None, Some(false)]);
    gives("text ilike 'GRÖ%'", [Some(true), None, Some(false)]);
    gives("text like ''", [Some(false), None, Some(true)]);
    gives("category || text", [Some("bGröße"), None, Some("a")]);
    gives("left(text, 2)", [Some("Gr"), None, Some("")]);
    gives("left(text, -2)", [Some("Grö"), None, Some("")]);
    gives("left(text, -9)", [Some(""), None, Some("")]);
    gives("right(text, 2)", [Some("ße"), None, Some("")]);
    gives("right(text, -2)", [Some("öße"), None, Some("")]);
    gives("right('abc', i64)", [Some("abc"), None, Some("abc")]);
    gives("lpad(text, 7)", [Some("  Größe"), None, Some("       ")]);
    gives("lpad(text, 3, 'ä-')", [Some("Grö"), None, Some("ä-ä")]);
    gives(
        "rpad(text, 7, 'ä-')",
        [Some("Größeä-"), None, Some("ä-ä-ä-ä")],
    );
    gives("lpad('a', 0)", [""; 3]);
    gives("lpad('a', -1)", [""; 3]);
    gives("rpad('a', 3, '')", ["a"; 3]);
    gives("ltrim('  a ')", ["a "; 3]);
    gives("rtrim('  a ')", ["  a"; 3]);
    gives("strpos(text, 'ße')", [Some(4_i64), None, Some(0)]);
    gives("position('' in text)", [Some(1_i64), None, Some(1)]);
    gives("split_part('a--b--', '--', 2)", ["b"; 3]);
    gives("split_part('a--b--', '--', -1)", [""; 3]);
    gives("split_part('a--b--', '--', 4)", [""; 3]);
    gives("split_part(text, 'ö', 1)", [Some("Gr"), None, Some("")]);
    gives("split_part('ab', '', 1)", ["ab"; 3]);
    gives(
        "concat(text, '-', i64, truth)",
        ["Größe-7true", "-", "-100false"],
    );
    gives("regexp_extract(text, 'r(.)')", [Some("rö"), None, None]);
    gives("regexp_extract(text, 'r(.)', 1)", [Some("ö"), None, None]);
    gives("regexp_replace('a1b2', '[0-9]', '')", ["ab2"; 3]);
    gives("regexp_replace('a1b2', '[0-9]', '$', 'g')", ["a$b$"; 3]);
    gives("regexp_replace('ab', 'a', '$')", ["$b"; 3]);
    gives(
        "regexp_replace('2024-01', '([0-9]+)-([0-9]+)', '\\2/\\1 \\&')",
        ["01/2024 2024-01"; 3],
    );
    gives("text is distinct from null", [true, false, true]);
    gives("text is not distinct from ''", [false, false, true]);
    gives("real is distinct from real", [false; 3]);
}

#[test]
fn functions_of_time() {
    // 2023-11-14 22:13:20.123456 was a Tuesday; 1969-12-31 23:59:59.999999 a Wednesday.
    gives("extract(year from at)", [Some(2023_i64), None, Some(1969)]);
    gives("extract(quarter from day)", [Some(4_i64), None, Some(4)]);
    gives("extract(week from at)", [Some(46_i64), None, Some(1)]);
    gives("extract(doy from at)", [Some(318_i64), None, Some(365)]);
    gives("extract(dow from at)", [Some(2_i64), None, Some(3)]);
    gives("extract(dow from date '2023-11-12')", [0_i64; 3]);
    gives("extract(isodow from date '2023-11-12')", [7_i64; 3]);
    gives("extract(hour from at)", [Some(22_i64), None, Some(23)]);
    gives("extract(hour from at_zone)", [Some(22_i64), None, Some(23)]);
    gives("extract(hour from day)", [Some(0_i64), None, Some(0)]);
    gives("extract(second from at)", [Some(20_i64), None, Some(59)]);
    gives(
        "extract(epoch from at)",
        [Some(1_700_000_000.123_456), None, Some(-0.000_001)],
    );
    gives(
        "extract(epoch from at_zone)",
        [Some(1_699_971_200.123_456), None, Some(-28_800.000_001)],
    );
    gives(
        "extract(epoch from day)",
        [Some(1_699_920_000.0), None, Some(-86_400.0)],
    );
    gives(
        "extract(epoch from span)",
        [Some(90.0), None, Some(-0.000_001)],
    );
    gives(
        "extract(epoch from at - day)",
        [Some(80_000.123_456), None, Some(86_399.999_999)],
    );
    gives(
        "date_trunc('hour', at)",
        [Some(1_699_999_200_000_000_i64), None, Some(-3_600_000_000)],
    );
    gives(
        "date_trunc('week', day)",
        [
            Some(1_699_833_600_000_000_i64),
            None,
            Some(-259_200_000_000),
        ],
    );
    gives(
        "at + interval '1 second'",
        [Some(1_700_000_001_123_456_i64), None, Some(999_999)],
    );
    gives(
        "at_ms + interval '1 microsecond'",
        [Some(1_700_000_000_123_001_i64), None, Some(-999)],
    );
    gives(
        "timestamp '1970-01-01' + i64 * interval '1 hour'",
        [Some(25_200_000_000_i64), None, Some(360_000_000_000)],
    );
    gives(
        "span / interval '1 minute'",
        [Some(1.5), None, Some(-1.0 / 60e6)],
    );
    gives("span * 0.5", [Some(45_000_000_i64), None, Some(-1)]);
    gives("-span", [Some(-90_000_000_i64), None, Some(1)]);
    let microseconds = |text: &str| sql::timestamp(text).expect(text);
    gives(
        "timestamp '2024-01-31 12:00' + interval '1 month'",
        [microseconds("2024-02-29 12:00"); 3],
    );
    gives(
        "timestamp '2024-03-31' - interval '1 month 1 day'",
        [microseconds("2024-02-28"); 3],
    );
    gives(
        "interval '1 year' + date '2024-02-29'",
        [microseconds("2025-02-28"); 3],
    );
    gives(
        "add_months(day, -12 * 54)",
        [sql::date("1969-11-14"), None, sql::date("1915-12-31")],
    );
    for column in ["at", "at_ms", "at_ns"] {
        gives(
            &format!("cast(add_months({column}, 3) as date)"),
            [sql::date("2024-02-14"), None, sql::date("1970-03-31")],
        );
    }
    // 2024-03-31 02:30 is skipped in Berlin, 2024-10-27 02:30 comes twice: 00:30 in UTC, then 01:30.
    for (start, expected) in [
        ("2024-02-29 02:30", "2024-03-29 01:30"),
        ("2024-01-31 02:30", "2024-03-31 01:30"),
        ("2024-08-27 02:30", "2024-10-27 00:30"),
    ] {
        let months = if start.starts_with("2024-02") { 1 } else { 2 };
        gives(
            &format!(
                "add_months(timestamp '{start}' at time zone 'Europe/Berlin', {months}) at time zone 'UTC'"
            ),
            [microseconds(expected); 3],
        );
    }
    for (unit, expected) in [
        ("year", 1_i64),
        ("quarter", 1),
        ("month", 1),
        ("week", 0),
        ("day", 1),
        ("hour", 1),
        ("minute", 2),
        ("second", 62),
    ] {
        let (start, end) = ("2024-12-31 23:59:59.5", "2025-01-01 00:01:01.4");
        gives(
            &format!("date_diff('{unit}', timestamp '{start}', timestamp '{end}')"),
            [expected; 3],
        );
        gives(
            &format!("date_diff('{unit}', timestamp '{end}', timestamp '{start}')"),
            [-expected; 3],
        );
    }
    gives(
        "date_diff('week', date '2024-01-07', date '2024-01-08')",
        [1_i64; 3],
    );
    gives("date_diff('hour', day, at)", [Some(22_i64), None, Some(23)]);
    gives(
        "date_diff('minute', day, day)",
        [Some(0_i64), None, Some(0)],
    );
    // The day on which Berlin's clocks go forward has 23 hours, and is one day all the same.
    let day = |unit: &str| {
        format!(
            "date_diff('{unit}', timestamp '2024-03-31' at time zone 'Europe/Berlin', timestamp '2024-04-01' at time zone 'Europe/Berlin')"
        )
    };
    gives(&day("hour"), [23_i64; 3]);
    gives(&day("day"), [1_i64; 3]);
    gives(
        "to_date('31.12.2023', '%d.%m.%Y')",
        [sql::date("2023-12-31"); 3],
    );
    gives("to_date('2023-12', '%Y-%m')", [sql::date("2023-12-01"); 3]);
    gives("try_to_date('31.02.2023', '%d.%m.%Y')", [None::<i32>; 3]);
    gives("try_to_date(text, '%d.%m.%Y')", [None::<i32>; 3]);
    gives(
        "to_timestamp(' 01/02/2024 03:04 PM', '%d/%m/%Y %I:%M %p')",
        [microseconds("2024-02-01 15:04"); 3],
    );
    gives(
        "to_timestamp('2024-02-01T15+0200', '%Y-%m-%dT%H%z')",
        [microseconds("2024-02-01 13:00"); 3],
    );
    gives(
        "to_timestamp('1700000000', '%s')",
        [1_700_000_000_000_000_i64; 3],
    );
    gives(
        "to_timestamp('2024-02-01', '%Y-%m-%d')",
        [microseconds("2024-02-01"); 3],
    );
    gives(
        "strftime(at, '%Y/%m/%d %H')",
        [Some("2023/11/14 22"), None, Some("1969/12/31 23")],
    );
    gives(
        "strftime(at_zone, '%H:%M %z')",
        [Some("22:13 +0800"), None, Some("23:59 +0800")],
    );
    gives(
        "strftime(day, '%d.%m.')",
        [Some("14.11."), None, Some("31.12.")],
    );
    gives(
        "extract(hour from at at time zone 'UTC' at time zone 'Asia/Shanghai')",
        [Some(6_i64), None, Some(7)],
    );
}

#[test]
fn casts() {
    gives("cast(real32 as int)", [Some(-2_i64), None, Some(0)]);
    gives("try_cast(real as int)", [Some(2_i64), None, None]);
    gives("try_cast(text as double)", [None::<f64>, None, None]);
    gives("cast('1.5' as double)", [1.5; 3]);
    gives("try_cast(i64 - 50 as u8)", [None, None, Some(50_u8)]);
    gives("cast(truth as int)", [Some(1_i64), None, Some(0)]);
    gives("cast(i64 as bool)", [Some(true), None, Some(true)]);
    gives("cast('Yes' as bool)", [true; 3]);
    gives("try_cast(text as bool)", [None::<bool>, None, None]);
    gives("cast(i64 as text)", [Some("7"), None, Some("100")]);
    gives("cast(truth as text)", [Some("true"), None, Some("false")]);
    gives("cast('1970-01-02' as date)", [1_i32; 3]);
    gives("try_cast(text as timestamp)", [None::<i64>, None, None]);
    gives(
        "cast('1970-01-01T00:00:01Z' as timestamp)",
        [1_000_000_i64; 3],
    );
    gives(
        "cast('1970-01-01 02:00:00.123456789+02:00' as timestamp)",
        [123_456_i64; 3],
    );
    gives("cast(at as date)", [Some(19_675_i32), None, Some(-1)]);
    gives(
        "cast(at_zone as timestamp)",
        [Some(1_700_000_000_123_456_i64), None, Some(-1)],
    );
    let frame = payments();
    for text in [
        "to_date(text, '%d.%m.%Y')",
        "to_timestamp('2024-01-01', '%Y-%m-%d %H:%M')",
        "split_part('a', 'b', i64 - 7)",
        "lpad('a', 1000 * 1000 * 1000)",
        "add_months(at, 1000 * 1000 * 1000)",
        "cast(text as int)",
        "cast(text as bool)",
        "cast(text as date)",
        "cast(real as int)",
        "cast(i64 + 200 as u8)",
    ] {
        let compiled = sql::compile(text, &schema(&frame)).expect(text);
        let lowered = expression(&compiled.expression, &schema(&frame)).expect(text);
        assert!(
            frame
                .clone()
                .lazy()
                .select([lowered.alias("result")])
                .collect()
                .is_err(),
            "{text}"
        );
    }
}

#[test]
fn aggregates() {
    let frame = df!(
        "real" => [Some(1.0), None, Some(4.0), Some(7.0)],
        "whole" => [Some(1_i32), Some(1), None, Some(i32::MAX)],
        "text" => [Some("b"), None, Some("a"), Some("b")],
    )
    .expect("a frame");
    let one = |text: &str| -> AnyValue<'static> {
        let compiled = sql::compile_aggregate(text, &schema(&frame)).expect(text);
        let lowered = expression(&compiled.expression, &schema(&frame)).expect(text);
        let result = frame
            .clone()
            .lazy()
            .select([lowered.alias("result")])
            .collect()
            .expect(text);
        result
            .column("result")
            .expect("result")
            .get(0)
            .expect("one")
            .into_static()
    };
    assert_eq!(one("count()"), AnyValue::Int64(4));
    assert_eq!(one("count(real)"), AnyValue::Int64(3));
    assert_eq!(one("count(distinct text)"), AnyValue::Int64(2));
    assert_eq!(one("sum(whole)"), AnyValue::Int64(i64::from(i32::MAX) + 2));
    assert_eq!(one("avg(real)"), AnyValue::Float64(4.0));
    assert_eq!(one("variance(real)"), AnyValue::Float64(9.0));
    assert_eq!(one("stddev(real)"), AnyValue::Float64(3.0));
    assert_eq!(one("median(real)"), AnyValue::Float64(4.0));
    assert_eq!(one("max(real) - min(real)"), AnyValue::Float64(6.0));
    assert_eq!(one("min(text)"), AnyValue::StringOwned("a".into()));
    assert_eq!(one("last(text)"), AnyValue::StringOwned("b".into()));
    assert_eq!(one("count() filter (where text = 'b')"), AnyValue::Int64(2));
    assert_eq!(
        one("sum(real) filter (where text = 'z')"),
        AnyValue::Float64(0.0)
    );
    assert_eq!(one("avg(real) filter (where text = 'z')"), AnyValue::Null);
    assert_eq!(one("quantile(real, 0.25)"), AnyValue::Float64(2.5));
    assert_eq!(one("quantile(real, 1)"), AnyValue::Float64(7.0));
    assert_eq!(
        one("quantile(real, 0.5) filter (where text = 'z')"),
        AnyValue::Null
    );
    assert_eq!(one("mode(text)"), AnyValue::StringOwned("b".into()));
    // Of 1, 4 and 7, once each, the smallest.
    assert_eq!(one("mode(real)"), AnyValue::Float64(1.0));
    assert_eq!(one("mode(text) filter (where real < 0)"), AnyValue::Null);
    assert_eq!(
        one("any_value(text) filter (where real > 1)"),
        AnyValue::StringOwned("a".into())
    );
    assert_eq!(
        one("any_value(text) filter (where real < 0)"),
        AnyValue::Null
    );
    assert_eq!(one("count_if(real > 1)"), AnyValue::Int64(2));
    assert_eq!(one("covar(real, -2 * real)"), AnyValue::Float64(-18.0));
    assert_eq!(one("corr(real, 1000000 - real)"), AnyValue::Float64(-1.0));
    // Two pairs have both values: (1, 1) and (7, 2147483647).
    assert_eq!(one("corr(real, whole)"), AnyValue::Float64(1.0));
    assert_eq!(one("corr(real, 3)"), AnyValue::Null);
    assert_eq!(
        one("corr(real, whole) filter (where text = 'b' and real < 2)"),
        AnyValue::Null
    );
}

#[test]
fn arrays_are_scaled() {
    let bytes = Series::new("".into(), (0..=255_u8).chain([255; 32]).collect::<Vec<_>>());
    let images = bytes
        .reshape_array(&[3, 12, 8, 1].map(ReshapeDimension::new_dimension))
        .expect("images")
        .with_name("image".into());
    let absent = Series::full_null("image".into(), 1, images.dtype());
    let mut with_null = images.clone();
    with_null.append(&absent).expect("same type");
    let scale = Expression::ScaleArray {
        operand: Box::new(Expression::column("image")),
        factor: 1.0 / 255.0,
        offset: 0.0,
    };
    for images in [
        images.clone(),
        with_null,
        images.slice(1, 2),
        images.slice(0, 0),
    ] {
        let frame =
            DataFrame::new_infer_height(vec![images.clone().into_column()]).expect("a frame");
        let schema = FrameSchema::new(vec![SchemaColumn::new("image", images.dtype().clone())]);
        let dtype = data_type(&scale, &schema).expect("a type");
        let lowered = expression(&scale, &schema).expect("lowers");
        let result = frame
            .lazy()
            .select([lowered.alias("image")])
            .collect()
            .expect("scales");
        let scaled = result
            .column("image")
            .expect("image")
            .as_materialized_series()
            .clone();
        assert_eq!(*scaled.dtype(), dtype);
        assert_eq!(scaled.null_count(), images.null_count());
        let before = images
            .drop_nulls()
            .array()
            .expect("arrays")
            .get_leaf_array();
        let after = scaled
            .drop_nulls()
            .array()
            .expect("arrays")
            .get_leaf_array();
        let expected: Vec<Option<f32>> = before
            .u8()
            .expect("bytes")
            .iter()
            .map(|byte| byte.map(|byte| f32::from(byte) / 255.0))
            .collect();
        assert_eq!(after.f32().expect("reals").to_vec(), expected);
    }
}

#[test]
fn names_are_never_patterns() {
    let frame = df!("^a.*$" => [1_i64], "abc" => [2_i64], "*" => [3_i64]).expect("a frame");
    assert_eq!(
        evaluated(&frame, "\"^a.*$\" + \"*\"")
            .i64()
            .expect("integers")
            .get(0),
        Some(4)
    );
}
