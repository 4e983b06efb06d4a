//! `sink.table`.

use polars::prelude::{AnyValue, DataFrame, DataType, TimeUnit};
use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::{
    CheckContext, Frame, Output, Result, Schema, Shape, Sink, SourceContext, Stage, register_kind,
    thousands, type_name,
};

use crate::columns;

/// Show the first rows at the end of the run.
///
/// Numbers stand to the right, text to the left; a missing value is `null`. Long text is cut, and columns that do not fit the
/// width are left out and counted.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Table {
    /// How many rows.
    #[serde(default = "rows")]
    #[schemars(range(min = 1, max = 10_000))]
    rows: usize,
    /// How many characters wide the whole table may be.
    #[serde(default = "width")]
    #[schemars(range(min = 20, max = 1_000))]
    width: usize,
    /// How many characters of a value are shown.
    #[serde(default = "value_width")]
    #[schemars(range(min = 4, max = 1_000))]
    value_width: usize,
}

fn rows() -> usize {
    10
}

fn width() -> usize {
    100
}

fn value_width() -> usize {
    32
}

register_kind! { Table, "sink.table", version: 1, example: "- sink.table: {rows: 5}" }

impl Stage for Table {
    fn check(&self, inputs: &[Schema], _: &mut CheckContext<'_>) -> Schema {
        columns::input(inputs).clone()
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Sink(self)
    }
}

impl Sink for Table {
    fn write(&self, frame: &Frame, _: &SourceContext<'_>) -> Result<Output> {
        Ok(Output::Text(self.text(&frame.data)?))
    }
}

/// A column as it is shown: heading, type and values.
struct Shown {
    cells: Vec<String>,
    width: usize,
    to_the_right: bool,
}

const GAP: &str = "  ";

impl Table {
    fn text(&self, data: &DataFrame) -> Result<String> {
        let count = data.height().min(self.rows);
        let mut shown: Vec<Shown> = Vec::new();
        let mut taken = 0;
        for column in data.columns() {
            let mut cells = vec![
                cut(&plain(column.name()), self.value_width),
                type_name(column.dtype()),
            ];
            for row in 0..count {
                cells.push(cut(&written(&column.get(row)?), self.value_width));
            }
            let width = cells.iter().map(|cell| width_of(cell)).max().unwrap_or(0);
            let needed = width + if shown.is_empty() { 0 } else { GAP.len() };
            // The first column is always shown.
            if !shown.is_empty() && taken + needed > self.width {
                break;
            }
            taken += needed;
            let to_the_right = column.dtype().is_primitive_numeric()
                || matches!(column.dtype(), DataType::Decimal(..));
            shown.push(Shown {
                cells,
                width,
                to_the_right,
            });
        }
        let mut lines: Vec<String> = (0..count + 2).map(|line| line_of(&shown, line)).collect();
        lines.push(self.summary(data, count, shown.len()));
        Ok(lines.join("\n"))
    }

    fn summary(&self, data: &DataFrame, rows: usize, columns: usize) -> String {
        let all = data.height();
        let rows = match all {
            1 => "1 row".to_owned(),
            all if all > rows => format!(
                "{} of {} rows",
                thousands(rows as u64),
                thousands(all as u64)
            ),
            all => format!("{} rows", thousands(all as u64)),
        };
        let hidden = &data.columns()[columns..];
        if hidden.is_empty() {
            return rows;
        }
        let names: Vec<String> = hidden.iter().map(|column| plain(column.name())).collect();
        let names = cut(
            &names.join(", "),
            self.width.saturating_sub(rows.len() + 24).max(16),
        );
        match hidden.len() {
            1 => format!("{rows}; 1 more column: {names}"),
            count => format!("{rows}; {count} more columns: {names}"),
        }
    }
}

fn line_of(columns: &[Shown], line: usize) -> String {
    let cells: Vec<String> = columns
        .iter()
        .map(|column| {
            let cell = &column.cells[line];
            let padding = " ".repeat(column.width - width_of(cell));
            if column.to_the_right {
                padding + cell
            } else {
                format!("{cell}{padding}")
            }
        })
        .collect();
    cells.join(GAP).trim_end().to_owned()
}

fn written(value: &AnyValue<'_>) -> String {
    match value {
        AnyValue::Null => "null".to_owned(),
        AnyValue::Float64(number) => real(*number),
        AnyValue::Float32(number) => real(f64::from(*number)),
        AnyValue::Binary(bytes) => format!("{} bytes", bytes.len()),
        AnyValue::BinaryOwned(bytes) => format!("{} bytes", bytes.len()),
        // To the second where there is no fraction of one, as it is with most.
        AnyValue::Datetime(at, TimeUnit::Microseconds, zone) if at % 1_000_000 == 0 => {
            let at = AnyValue::Datetime(at / 1000, TimeUnit::Milliseconds, *zone);
            plain(&at.to_string()).replace(".000", "")
        }
        other => match other.get_str() {
            Some(text) => plain(text),
            None => plain(&other.to_string()),
        },
    }
}

/// Six digits that count, and never fewer than the whole part has.
fn real(number: f64) -> String {
    if !number.is_finite() {
        return number.to_string();
    }
    let size = number.abs();
    if size != 0.0 && !(1e-4..1e15).contains(&size) {
        return format!("{number:.5e}");
    }
    let whole_digits = if size < 1.0 {
        0
    } else {
        size.log10() as usize + 1
    };
    let fraction = 6_usize.saturating_sub(whole_digits).max(1);
    let mut text = format!("{number:.fraction$}");
    while text.ends_with('0') && !text.ends_with(".0") {
        text.pop();
    }
    text
}

/// In one line and without signs that steer a terminal.
fn plain(text: &str) -> String {
    text.chars()
        .flat_map(|sign| {
            let steers = sign.is_control()
                || matches!(sign, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            let escaped: Box<dyn Iterator<Item = char>> = if steers {
                Box::new(sign.escape_default())
            } else {
                Box::new(std::iter::once(sign))
            };
            escaped
        })
        .collect()
}

/// No wider than this, with `…` where something is missing.
fn cut(text: &str, width: usize) -> String {
    if width_of(text) <= width {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut taken = 1;
    for sign in text.chars() {
        taken += sign_width(sign);
        if taken > width {
            break;
        }
        kept.push(sign);
    }
    kept + "…"
}

fn width_of(text: &str) -> usize {
    text.chars().map(sign_width).sum()
}

/// Columns of a terminal that a sign takes: two for the wide signs of East Asia and for most pictures (Unicode Standard
/// Annex 11, classes W and F, by block), none for marks on the sign before.
fn sign_width(sign: char) -> usize {
    if unicode_normalization::char::is_combining_mark(sign)
        || matches!(sign, '\u{200b}'..='\u{200f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}')
    {
        return 0;
    }
    let is_wide = matches!(sign,
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{303e}'
        | '\u{3041}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{a4cf}'
        | '\u{a960}'..='\u{a97f}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{ffe0}'..='\u{ffe6}'
        | '\u{1f300}'..='\u{1f64f}'
        | '\u{1f680}'..='\u{1f6ff}'
        | '\u{1f900}'..='\u{1faff}'
        | '\u{20000}'..='\u{3fffd}');
    if is_wide { 2 } else { 1 }
}

#[cfg(test)]
mod tests {
    use polars::{df, prelude::*};

    use super::*;
    use crate::columns::testing::{frame, stage};

    fn shown(params: &str, data: DataFrame) -> String {
        let table: super::Table = stage(params);
        let cx = SourceContext {
            seed: 0,
            directory: std::path::Path::new("."),
            run_key: Some("run"),
        };
        match table.write(&frame(data), &cx).expect("shown") {
            Output::Text(text) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn numbers_stand_to_the_right_and_nulls_are_marked() {
        let data = df!(
            "part" => ["M8 screw", "nut"],
            "pieces" => [Some(1200_i64), None],
            "price" => [0.25, 1234.5],
        )
        .expect("a frame");
        assert_eq!(
            shown("{}", data),
            "\
part      pieces   price
text         i64     f64
M8 screw    1200    0.25
nut         null  1234.5
2 rows"
        );
    }

    #[test]
    fn long_text_is_cut_and_wide_signs_are_counted() {
        let data = df!(
            "名前" => ["東京都千代田区", "a\nb\u{1b}[2J", "e\u{301}cole"],
            "n" => [1_i64, 2, 3],
        )
        .expect("a frame");
        assert_eq!(
            shown("{value_width: 9, rows: 3}", data),
            "\
名前         n
text       i64
東京都千…    1
a\\nb\\u{1…    2
e\u{301}cole        3
3 rows"
        );
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let mut data = df!("a" => (0..30_i64).collect::<Vec<_>>()).expect("a frame");
        for name in ["second_column", "third_column", "fourth_column"] {
            data.with_column(Column::new(name.into(), vec!["x"; 30]))
                .expect("a column");
        }
        let text = shown("{rows: 2, width: 34}", data);
        let expected = [
            "  a  second_column  third_column",
            "i64  text           text",
            "  0  x              x",
            "  1  x              x",
            "2 of 30 rows; 1 more column: fourth_column",
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn many_rows_are_told_in_groups_of_digits() {
        let data = df!("a" => (0..12_345_i64).collect::<Vec<_>>()).expect("a frame");
        assert!(shown("{rows: 1}", data).ends_with("1 of 12,345 rows"));
    }

    #[test]
    fn an_empty_frame_shows_its_columns() {
        let data = df!("a" => Vec::<i64>::new()).expect("a frame");
        assert_eq!(shown("{}", data), "  a\ni64\n0 rows");
    }

    #[test]
    fn real_numbers_keep_what_counts() {
        assert_eq!(real(0.1 + 0.2), "0.3");
        assert_eq!(real(1_234_567.891), "1234567.9");
        assert_eq!(real(2.0), "2.0");
        assert_eq!(real(1e-7), "1.00000e-7");
        assert_eq!(real(f64::NAN), "NaN");
        assert_eq!(real(0.0), "0.0");
        assert_eq!(real(-12.25), "-12.25");
    }

    #[test]
    fn datetimes_are_shown_to_the_second_where_that_is_all() {
        let at = AnyValue::Datetime(1_700_000_000_000_000, TimeUnit::Microseconds, None);
        assert_eq!(written(&at), "2023-11-14 22:13:20");
        let at = AnyValue::Datetime(1_700_000_000_500_000, TimeUnit::Microseconds, None);
        assert!(
            written(&at).starts_with("2023-11-14 22:13:20.5"),
            "{}",
            written(&at)
        );
    }
}
