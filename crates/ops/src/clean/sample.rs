//! `clean.sample`.

use std::sync::Arc;

use polars::{
    lazy::dsl::apply_multiple,
    prelude::{
        BooleanChunked, Column as PolarsColumn, DataType, Expr, Field, IntoColumn, NewChunkedArray,
        PolarsResult, by_name,
    },
};
use rand::{SeedableRng, seq::index};
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::{
    CheckContext, Local, Operation, ParamPath, Problem, Relational, Result, Schema, Shape, Stage,
    path, register_kind,
};

use super::groups::{report_unused, rows_of};
use crate::{
    columns::{self, Names},
    features::check_groups,
};

/// Keep some of the rows, by chance.
///
/// Rows that stay keep their order, and no row comes twice. With `fraction` each row stays or goes by a chance of its own,
/// so that the number of rows is about that share; with `by` each group keeps its share to the nearest row. With `rows`
/// exactly so many stay, of each group where there is `by`, or all rows where there are no more. The same seed keeps the
/// same rows.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Sample {
    /// The share of the rows to keep.
    #[schemars(extend("exclusiveMinimum" = 0, "maximum" = 1))]
    fraction: Option<f64>,
    /// How many rows to keep.
    #[schemars(range(min = 1))]
    rows: Option<usize>,
    /// The columns whose groups are sampled each by itself: strata. Null is a group of its own.
    by: Option<Names>,
    /// Another seed keeps other rows.
    #[serde(default)]
    seed: u64,
}

register_kind! {
    Sample, "clean.sample", version: 1,
    example: "- clean.sample: {fraction: 0.1, by: channel, seed: 7}",
}

/// No name that a spec can write.
const KEPT: &str = "\u{1}sampled";

/// How many of so many rows stay.
#[derive(Debug, Clone, Copy)]
enum Size {
    Rows(usize),
    Fraction(f64),
}

impl Size {
    fn of(self, rows: usize) -> usize {
        match self {
            Self::Rows(count) => count.min(rows),
            Self::Fraction(share) => (((rows as f64) * share).round() as usize).min(rows),
        }
    }
}

/// Which rows stay, group by group in order of first appearance.
fn kept(keys: &[PolarsColumn], height: usize, size: Size, seed: u64) -> PolarsResult<PolarsColumn> {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    let mut kept = vec![false; height];
    for rows in rows_of(keys, height)? {
        for place in index::sample(&mut generator, rows.len(), size.of(rows.len())) {
            kept[rows[place] as usize] = true;
        }
    }
    Ok(BooleanChunked::from_iter_values(KEPT.into(), kept.into_iter()).into_column())
}

impl Sample {
    /// Not relational: a number of rows, and the share of a group, are matters of all rows together.
    fn sampled(&self, size: Size, input: &Schema) -> Operation {
        let by = self.by.as_ref().map(Names::to_vec).unwrap_or_default();
        let key_count = by.len();
        // Some column must say how many rows there are.
        let counted = input.names().next().map(str::to_owned);
        let reads: Vec<String> = by.into_iter().chain(counted).collect();
        let inputs: Vec<Expr> = reads
            .iter()
            .map(|name| Expr::Column(name.as_str().into()))
            .collect();
        let seed = self.seed;
        Operation::Local(Local {
            name: "sample rows",
            reads: reads.into_iter().collect(),
            keeps_rows: false,
            schema: input.clone(),
            apply: Arc::new(move |frame| {
                if inputs.is_empty() {
                    return Ok(frame);
                }
                let chosen = apply_multiple(
                    move |columns: &mut [PolarsColumn]| {
                        let height = columns.first().map_or(0, PolarsColumn::len);
                        kept(&columns[..key_count], height, size, seed)
                    },
                    inputs.clone(),
                    |_, _| Ok(Field::new(KEPT.into(), DataType::Boolean)),
                    false,
                );
                Ok(frame
                    .with_columns([chosen.alias(KEPT)])
                    .filter(Expr::Column(KEPT.into()))
                    .drop(by_name([KEPT], true, false)))
            }),
        })
    }
}

impl Stage for Sample {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let input = columns::input(inputs);
        match (self.fraction, self.rows) {
            (None, None) => cx.report(
                Problem::error(
                    "missing-param",
                    ParamPath::kind(),
                    format!("stage `{}` does not say how many rows to keep", cx.stage),
                )
                .label("needs `fraction` or `rows`")
                .help("write `fraction: 0.1` or `rows: 1000`"),
            ),
            (Some(_), Some(_)) => report_unused("rows", "`fraction` says it already", cx),
            (Some(fraction), None) if !(fraction > 0.0 && fraction <= 1.0) => {
                let message = format!("stage `{}` keeps {fraction} of the rows", cx.stage);
                cx.report(
                    Problem::error("bad-range", path!["fraction"], message)
                        .label("a share above 0, up to 1"),
                );
            }
            _ => {}
        }
        check_groups(self.by.as_ref(), input, cx);
        input.clone()
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Relational(self)
    }
}

impl Relational for Sample {
    fn lower(&self, inputs: &[Schema]) -> Result<Vec<Operation>> {
        let input = columns::input(inputs);
        Ok(vec![match (self.fraction, self.rows) {
            (Some(fraction), _) if self.by.is_none() => Operation::Sample {
                fraction,
                seed: self.seed,
            },
            (Some(fraction), _) => self.sampled(Size::Fraction(fraction), input),
            (None, rows) => self.sampled(Size::Rows(rows.unwrap_or(usize::MAX)), input),
        }])
    }
}

#[cfg(test)]
mod tests {
    use polars::{df, prelude::DataFrame};

    use super::*;
    use crate::{
        columns::testing::{codes, schema, stage},
        testing::applied,
    };

    fn rows(count: i64) -> DataFrame {
        let kinds: Vec<Option<&str>> = (0..count)
            .map(|row| [Some("a"), Some("a"), Some("b"), None][row as usize % 4])
            .collect();
        df!("kind" => kinds, "n" => (0..count).collect::<Vec<_>>()).expect("a frame")
    }

    fn sampled(params: &str, data: &DataFrame) -> Vec<i64> {
        let found = applied(&stage::<Sample>(params), std::slice::from_ref(data)).expect("rows");
        let numbers = found
            .column("n")
            .expect("n")
            .i64()
            .expect("numbers")
            .clone();
        numbers.iter().flatten().collect()
    }

    #[test]
    fn exactly_so_many_rows_in_order() {
        let data = rows(1000);
        let found = sampled("{rows: 100, seed: 7}", &data);
        assert_eq!(found.len(), 100);
        assert!(found.is_sorted_by(|one, other| one < other));
        assert_eq!(found, sampled("{rows: 100, seed: 7}", &data));
        assert_ne!(found, sampled("{rows: 100, seed: 8}", &data));
        // Both ends of the frame have their chance.
        assert!(found[0] < 100 && found[99] >= 900);
        assert_eq!(sampled("{rows: 2000}", &data).len(), 1000);
        assert_eq!(sampled("{rows: 5}", &data.slice(0, 0)), [0_i64; 0]);
        assert_eq!(sampled("{rows: 5}", &data.slice(3, 1)), [3]);
    }

    #[test]
    fn a_fraction_is_about_that_share() {
        let found = sampled("{fraction: 0.3, seed: 7}", &rows(10_000));
        // Binomial: within five standard deviations of 3,000.
        assert!(
            (found.len() as i64 - 3_000).abs() < 5 * 46,
            "{}",
            found.len()
        );
        assert_eq!(sampled("{fraction: 1}", &rows(10)).len(), 10);
    }

    #[test]
    fn each_group_keeps_its_share() {
        let data = rows(400);
        let count = |found: &[i64], places: &[i64]| {
            found
                .iter()
                .filter(|row| places.contains(&(*row % 4)))
                .count()
        };
        for (params, expected) in [
            ("{fraction: 0.1, by: kind}", [20, 10, 10]),
            ("{fraction: 0.004, by: kind}", [1, 0, 0]),
            ("{rows: 7, by: kind}", [7, 7, 7]),
        ] {
            let found = sampled(params, &data);
            let groups = [
                count(&found, &[0, 1]),
                count(&found, &[2]),
                count(&found, &[3]),
            ];
            assert_eq!(groups, expected, "{params}");
            assert!(found.is_sorted());
        }
    }

    #[test]
    fn every_row_has_the_same_chance() {
        let data = rows(10);
        let mut counts = [0_u32; 10];
        for seed in 0..400 {
            for row in sampled(&format!("{{rows: 3, seed: {seed}}}"), &data) {
                counts[row as usize] += 1;
            }
        }
        // 120 each; five standard deviations are 46.
        assert!(
            counts.iter().all(|count| count.abs_diff(120) < 46),
            "{counts:?}"
        );
    }

    #[test]
    fn refuses_sizes_that_are_none() {
        let input = schema([("x", DataType::Float64)]);
        for (params, expected) in [
            ("{}", vec!["missing-param"]),
            ("{rows: 1, fraction: 0.5}", vec!["unused-param"]),
            ("{fraction: 0}", vec!["bad-range"]),
            ("{fraction: 1.5}", vec!["bad-range"]),
            ("{fraction: .nan}", vec!["bad-range"]),
            (
                "{rows: 1, by: [x, y]}",
                vec!["unknown-column", "type-mismatch"],
            ),
        ] {
            assert_eq!(
                codes(&stage::<Sample>(params), &input),
                expected,
                "{params}"
            );
        }
    }
}
