use polars::{
    df,
    prelude::{DataFrame, NamedFrom, Series, TimeUnit},
};
use taktline_core::Schema;

use super::*;

fn of(data: DataFrame) -> Profile {
    let schema = Schema::from_polars(data.schema());
    profile("rows", &Frame { data, schema }).expect("a profile")
}

fn column(data: DataFrame) -> ColumnProfile {
    of(data).columns.remove(0)
}

#[test]
fn numbers_by_hand() {
    let values = [
        Some(1.0),
        Some(2.0),
        Some(2.0),
        Some(-5.0),
        Some(0.0),
        None,
        Some(f64::NAN),
        Some(f64::INFINITY),
    ];
    let column = column(df!("x" => values).expect("a frame"));
    assert_eq!(
        (column.count, column.nulls, column.distinct),
        (7, 1, Some(6))
    );
    assert_eq!(
        column.in_short(),
        "-5 to 2, quartiles 0, 1, 2, mean 0, 1 NaN, 1 infinite"
    );
    let numbers = column.numbers.expect("figures");
    assert_eq!((numbers.min, numbers.max, numbers.mean), (-5.0, 2.0, 0.0));
    // Squares: 1 + 4 + 4 + 25 + 0 = 34, over 4.
    assert!((numbers.standard_deviation.expect("several") - 8.5_f64.sqrt()).abs() < 1e-12);
    // Sorted: -5 0 1 2 2; numpy.quantile gives 1 at 0.5, -4.8 at 0.01 and 2 at 0.75.
    assert_eq!(
        (numbers.quantiles.median, numbers.quantiles.p75),
        (1.0, 2.0)
    );
    assert!((numbers.quantiles.p01 + 4.8).abs() < 1e-12);
    assert_eq!(
        (
            numbers.zeros,
            numbers.negative,
            numbers.infinite,
            numbers.not_a_number
        ),
        (1, 1, 1, 1)
    );
    assert_eq!(
        column.frequent[0],
        Frequency {
            value: "2".into(),
            count: 2
        }
    );
    let histogram = column.histogram.expect("bins");
    assert_eq!(
        histogram.counts.iter().sum::<usize>() + histogram.below + histogram.above,
        5
    );
}

#[test]
fn whole_numbers_get_a_bin_each() {
    let histogram = column(df!("n" => [3_u8, 1, 3, 6]).expect("a frame"))
        .histogram
        .expect("bins");
    assert_eq!(histogram.counts, [1, 0, 2, 0, 0, 1]);
    assert_eq!(histogram.edges.len(), 7);
}

#[test]
fn outliers_do_not_flatten_the_histogram() {
    let mut values: Vec<f64> = (0..10_000).map(|row| f64::from(row) / 100.0).collect();
    values.push(1e9);
    let histogram = column(df!("x" => values).expect("a frame"))
        .histogram
        .expect("bins");
    assert!(
        histogram.above >= 1 && histogram.counts.iter().all(|count| *count > 0),
        "{histogram:?}"
    );
    assert_eq!(
        histogram.counts.iter().sum::<usize>() + histogram.above,
        10_001
    );
}

#[test]
fn large_ids_are_told_apart() {
    let ids = [
        9_007_199_254_740_993_i64,
        9_007_199_254_740_992,
        9_007_199_254_740_993,
    ];
    let column = column(df!("id" => ids).expect("a frame"));
    assert_eq!(column.distinct, Some(2));
    assert!(column.frequent.is_empty());
}

#[test]
fn texts_by_hand() {
    let values = [
        Some("ü"),
        Some("ab"),
        Some(" ab"),
        None,
        Some(""),
        Some("ab"),
    ];
    let column = column(df!("name" => values).expect("a frame"));
    let texts = column.texts.expect("lengths");
    assert_eq!(
        (texts.shortest, texts.longest, texts.empty, texts.padded),
        (0, 3, 1, 1)
    );
    assert!((texts.mean_length - 8.0 / 5.0).abs() < 1e-12);
    assert_eq!(column.distinct, Some(4));
    assert_eq!(
        column.frequent[0],
        Frequency {
            value: "ab".into(),
            count: 2
        }
    );
    // Equally frequent values come in their own order.
    assert_eq!(column.frequent[1].value, "");
}

#[test]
fn times_have_a_range_and_gaps() {
    let hour = 3_600_000_000_i64;
    let at = Series::new(
        "at".into(),
        [
            Some(0),
            Some(hour),
            Some(2 * hour),
            None,
            Some(10 * hour),
            Some(11 * hour),
        ],
    )
    .cast(&DataType::Datetime(TimeUnit::Microseconds, None))
    .expect("times");
    let column = column(DataFrame::new(6, vec![at.into()]).expect("a frame"));
    let times = column.times.expect("a range");
    assert_eq!(times.first, "1970-01-01 00:00:00");
    assert_eq!(times.last, "1970-01-01 11:00:00");
    assert_eq!(
        (times.step_seconds, times.is_regular, times.is_in_order),
        (Some(3600.0), false, true)
    );
    assert_eq!(
        times.gaps,
        [Gap {
            after: "1970-01-01 02:00:00".into(),
            before: "1970-01-01 10:00:00".into(),
            seconds: 28_800.0
        }]
    );
    assert_eq!(
        column.histogram.expect("bins").counts.iter().sum::<usize>(),
        5
    );
}

#[test]
fn days_are_counted_in_days() {
    let days = Series::new("day".into(), [4_i32, 1, 2, 3])
        .cast(&DataType::Date)
        .expect("days");
    let column = column(DataFrame::new(4, vec![days.into()]).expect("a frame"));
    let times = column.times.expect("a range");
    assert_eq!(
        (times.step_seconds, times.is_regular, times.is_in_order),
        (Some(86_400.0), true, false)
    );
    assert_eq!(
        (times.first.as_str(), times.last.as_str()),
        ("1970-01-02", "1970-01-05")
    );
}

#[test]
fn duplicate_rows_are_counted() {
    let data =
        df!("a" => [1, 1, 1, 2], "b" => [Some("x"), Some("x"), None, Some("x")]).expect("a frame");
    assert_eq!(of(data.clone()).duplicate_rows, Some(1));
    assert_eq!(of(data.head(Some(0))).duplicate_rows, Some(0));
}

#[test]
fn a_column_without_a_finite_number_says_so() {
    let column = column(df!("x" => [f64::NAN, f64::INFINITY]).expect("a frame"));
    assert!(column.numbers.is_none());
    assert_eq!(column.in_short(), "NaN or infinite only");
}

#[test]
fn empty_and_null_columns() {
    let data = df!("x" => [None::<f64>, None], "t" => [None::<&str>, None]).expect("a frame");
    for data in [data.clone(), data.head(Some(0)), data.head(Some(1))] {
        let profile = of(data);
        for column in &profile.columns {
            assert_eq!((column.count, column.distinct), (0, Some(0)));
            assert!(
                column.numbers.is_none() && column.texts.is_none() && column.histogram.is_none()
            );
            assert_eq!(column.in_short(), "no values");
        }
        assert!(profile_html(&profile).contains("no values"));
    }
}

#[test]
fn personal_data_is_counted_and_not_shown() {
    let data = df!("card" => ["4111-secret", "4111-secret", "x"], "salary" => [98_765.0, 1.0, 2.0])
        .expect("a frame");
    let mut schema = Schema::from_polars(data.schema());
    for column in &mut schema.columns {
        *column = column.clone().with_role(Role::Pii);
    }
    let profile = profile("people", &Frame { data, schema }).expect("a profile");
    assert_eq!(profile.columns[0].distinct, Some(2));
    let shown = serde_json::to_string(&profile).expect("JSON") + &profile_html(&profile);
    assert!(
        !shown.contains("secret") && !shown.contains("98765") && !shown.contains("98,765"),
        "{shown}"
    );
}

#[test]
fn expectations_say_what_holds() {
    let rows = 40;
    let data = df!(
        "id" => (1..=rows).collect::<Vec<i64>>(),
        "code" => (0..rows).map(|row| format!("K{row}")).collect::<Vec<_>>(),
        "kind" => (0..rows).map(|row| ["web", "shop"][row as usize % 2]).collect::<Vec<_>>(),
        "amount" => (0..rows).map(|row| (row != 3).then_some(f64::from(row as i32) * 2.5)).collect::<Vec<_>>(),
        "on" => (0..rows).map(|row| row % 3 == 0).collect::<Vec<_>>(),
        "note" => (0..rows).map(|row| "ab ".repeat(row as usize + 1)).collect::<Vec<_>>(),
    )
    .expect("a frame");
    assert_eq!(
        of(data).expectations,
        "- check.expect:\n    \
         - {column: id, type: i64, not_null: true, unique: true}\n    \
         - {column: code, type: text, not_null: true, unique: true, regex: \"^[A-Z][0-9]{1,2}$\"}\n    \
         - {column: kind, type: text, not_null: true, in: [\"shop\", \"web\"]}\n    \
         - {column: amount, type: f64, nulls: [null, 0.038], finite: true, between: [0, 110]}\n    \
         - {column: \"on\", type: bool, not_null: true}\n    \
         - {column: note, type: text, not_null: true, unique: true, length: [1, 180]}\n    \
         - {rows: {min: 20}}\n"
    );
}

#[test]
fn the_page_escapes_all_text() {
    let evil = "<script>alert('&')</script>";
    let data =
        df!(evil => [evil, evil, "b"], "<b>" => [1, 2, 3], "<i>" => [1, 2, 4]).expect("a frame");
    let schema = Schema::from_polars(data.schema());
    let page = profile_html(&profile(evil, &Frame { data, schema }).expect("a profile"));
    assert!(!page.contains("<script") && !page.contains("<b>") && !page.contains("<i>"));
    assert!(page.contains("&lt;script&gt;alert(&#39;&amp;&#39;)&lt;/script&gt;"));
    for needed in [
        "lang=\"en\"",
        "role=\"img\" aria-label=",
        "scope=\"row\"",
        "color-scheme",
        "<svg class=\"histogram\"",
    ] {
        assert!(page.contains(needed), "{needed}");
    }
    assert!(!page.contains("http"), "nothing is loaded from elsewhere");
}

#[test]
fn the_same_rows_give_the_same_profile() {
    let data = df!(
        "x" => (0..5000).map(|row| f64::from(row * 7919 % 1000)).collect::<Vec<_>>(),
        "y" => (0..5000).map(|row| f64::from(row * 104_729 % 997)).collect::<Vec<_>>(),
        "kind" => (0..5000).map(|row| format!("k{}", row % 37)).collect::<Vec<_>>(),
    )
    .expect("a frame");
    let first = of(data.clone());
    for _ in 0..3 {
        assert_eq!(of(data.clone()), first);
    }
}

#[test]
fn bars_show_how_values_are_spread() {
    let squares: Vec<i64> = (0..200).map(|root| root * root).collect();
    let bars = column(df!("x" => squares).expect("a frame")).bars();
    let bars: Vec<char> = bars.expect("bars").chars().collect();
    assert!((6..=12).contains(&bars.len()), "{bars:?}");
    assert_eq!(bars[0], '█');
    assert!(bars.is_sorted_by(|left, right| left >= right), "{bars:?}");
    let texts = column(df!("x" => ["a", "b"]).expect("a frame"));
    assert_eq!(texts.bars(), None);
}
