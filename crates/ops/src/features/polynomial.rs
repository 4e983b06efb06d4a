//! `features.polynomial`.

use polars::prelude::DataType;
use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::{
    BinaryOperator, CheckContext, Expression, Operation, Problem, Relational, Result, Schema,
    Shape, Stage, output_schema, path, register_kind,
};

use super::{numbers, placement};
use crate::columns::{self, Names};

/// Multiply number columns with each other and with themselves, so that a linear model can learn curves and interactions.
///
/// From `a` and `b` come `a^2`, `a*b` and `b^2`, with `degree: 3` also `a^3`, `a^2*b`, `a*b^2` and `b^3`; `a` and `b`
/// stay. Null in any factor gives null. The new columns are f64. Scale the columns first, as products of large numbers
/// are very large.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Polynomial {
    /// The columns; default: all features that are real numbers (f32, f64).
    columns: Option<Names>,
    /// The most factors of a product.
    #[serde(default = "two")]
    #[schemars(range(min = 2, max = 3))]
    degree: usize,
    /// Only products of different columns, no powers.
    #[serde(default)]
    interaction_only: bool,
}

fn two() -> usize {
    2
}

register_kind! {
    Polynomial, "features.polynomial", version: 1,
    example: "- features.polynomial: {columns: [area, rooms], degree: 2}",
}

/// More columns than this make every later stage slow.
const MAX_COLUMNS: usize = 1000;

/// `a^2*b`, for a product of `a`, `a` and `b`.
fn name(factors: &[&str]) -> String {
    factors
        .chunk_by(|left, right| left == right)
        .map(|same| match same {
            [one] => (*one).to_owned(),
            several => format!("{}^{}", several[0], several.len()),
        })
        .collect::<Vec<_>>()
        .join("*")
}

fn product(factors: &[&str]) -> Option<Expression> {
    factors
        .iter()
        .map(|factor| Expression::column(*factor).cast(DataType::Float64))
        .reduce(|left, right| left.binary(BinaryOperator::Multiply, right))
}

impl Polynomial {
    /// The factors of each product, by degree and then in the order of the columns.
    fn products<'c>(&self, columns: &'c [String]) -> Vec<Vec<&'c str>> {
        let mut all = Vec::new();
        let mut shorter: Vec<Vec<usize>> = (0..columns.len()).map(|place| vec![place]).collect();
        for _ in 2..=self.degree {
            let longer: Vec<Vec<usize>> = shorter
                .iter()
                .flat_map(|factors| {
                    let last = factors.last().copied().unwrap_or_default();
                    let from = last + usize::from(self.interaction_only);
                    (from..columns.len()).map(move |next| {
                        let mut longer = factors.clone();
                        longer.push(next);
                        longer
                    })
                })
                .collect();
            all.extend(longer.iter().map(|factors| {
                factors
                    .iter()
                    .map(|place| columns[*place].as_str())
                    .collect()
            }));
            shorter = longer;
        }
        all
    }

    /// How many products there are, without making them.
    fn count(&self, columns: usize) -> usize {
        let pairs = if self.interaction_only {
            columns * columns.saturating_sub(1) / 2
        } else {
            columns * (columns + 1) / 2
        };
        let triples = if self.degree < 3 {
            0
        } else if self.interaction_only {
            pairs * columns.saturating_sub(2) / 3
        } else {
            pairs * (columns + 2) / 3
        };
        pairs + triples
    }

    fn operations(&self, columns: &[String]) -> Vec<Operation> {
        let made = self
            .products(columns)
            .into_iter()
            .filter_map(|factors| Some((name(&factors), product(&factors)?)))
            .collect();
        vec![Operation::With(made)]
    }
}

impl Stage for Polynomial {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let input = columns::input(inputs);
        let chosen = numbers::check(self.columns.as_ref(), input, cx);
        let count = self.count(chosen.len());
        if count > MAX_COLUMNS {
            cx.report(
                Problem::error(
                    "too-many-columns",
                    path![],
                    format!(
                        "stage `{}` would make {count} columns, more than {MAX_COLUMNS}",
                        cx.stage
                    ),
                )
                .label(format!("the products of {} columns", chosen.len()))
                .help("name fewer with `columns`"),
            );
            return input.clone();
        }
        if count == 0 && !chosen.is_empty() {
            cx.report(
                Problem::error(
                    "no-columns",
                    path!["interaction_only"],
                    format!("stage `{}` finds no two columns to multiply", cx.stage),
                )
                .help("name more with `columns`"),
            );
        }
        for factors in self.products(&chosen) {
            let path = placement::place(self.columns.as_ref(), factors[0]);
            columns::is_free(input, &name(&factors), path, cx);
        }
        output_schema(&self.operations(&chosen), inputs)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Relational(self)
    }
}

impl Relational for Polynomial {
    fn lower(&self, inputs: &[Schema]) -> Result<Vec<Operation>> {
        let input = columns::input(inputs);
        let chosen = numbers::chosen(self.columns.as_ref(), input);
        Ok(columns::possible(self.operations(&chosen), input))
    }
}

#[cfg(test)]
mod tests {
    use polars::df;

    use super::*;
    use crate::{
        columns::testing::{codes, passes, schema, stage},
        testing::applied,
    };

    fn made(params: &str) -> Vec<String> {
        let input = schema([
            ("a", DataType::Float64),
            ("b", DataType::Int64),
            ("c", DataType::Float32),
        ]);
        let output = passes(&stage::<Polynomial>(params), &input);
        output.names().skip(3).map(str::to_owned).collect()
    }

    #[test]
    fn names_say_what_was_multiplied() {
        // The order of scikit-learn 1.9.1, PolynomialFeatures.get_feature_names_out().
        assert_eq!(made("{columns: [a, b]}"), ["a^2", "a*b", "b^2"]);
        assert_eq!(
            made("{columns: [a, b], degree: 3}"),
            ["a^2", "a*b", "b^2", "a^3", "a^2*b", "a*b^2", "b^3"]
        );
        assert_eq!(
            made("{columns: [a, b, c], degree: 3, interaction_only: true}"),
            ["a*b", "a*c", "b*c", "a*b*c"]
        );
        // Unless they are named, only real numbers.
        assert_eq!(made("{}"), ["a^2", "a*c", "c^2"]);
    }

    #[test]
    fn counts_as_many_as_it_makes() {
        let columns: Vec<String> = (0..7).map(|index| format!("c{index}")).collect();
        for params in [
            "{}",
            "{degree: 3}",
            "{interaction_only: true}",
            "{degree: 3, interaction_only: true}",
        ] {
            let stage = stage::<Polynomial>(params);
            for count in 0..=7 {
                assert_eq!(
                    stage.count(count),
                    stage.products(&columns[..count]).len(),
                    "{params} {count}"
                );
            }
        }
    }

    #[test]
    fn multiplies_without_overflow_and_passes_nothing_over() {
        let data =
            df!("a" => [Some(2.0), None, Some(f64::NAN), Some(0.0)], "n" => [i64::MAX, 1, 2, 3])
                .expect("a frame");
        let rows = applied(&stage::<Polynomial>("{columns: [a, n]}"), &[data]).expect("rows");
        let column = |name: &str| -> Vec<Option<f64>> {
            rows.column(name)
                .expect(name)
                .f64()
                .expect("numbers")
                .iter()
                .collect()
        };
        assert_eq!(column("a^2")[..2], [Some(4.0), None]);
        assert!(column("a*n")[2].is_some_and(f64::is_nan));
        assert_eq!(column("a*n")[0], Some(2.0 * i64::MAX as f64));
        assert_eq!(
            column("n^2"),
            [
                Some((i64::MAX as f64).powi(2)),
                Some(1.0),
                Some(4.0),
                Some(9.0)
            ]
        );
    }

    #[test]
    fn makes_what_it_can_while_scoring() {
        let operations = stage::<Polynomial>("{columns: [a, b]}")
            .lower(&[schema([("b", DataType::Float64)])])
            .expect("operations");
        assert!(
            matches!(&operations[..], [Operation::With(made)] if made.len() == 1 && made[0].0 == "b^2")
        );
    }

    #[test]
    fn refuses_text_too_much_and_names_that_are_taken() {
        let input = schema([
            ("a", DataType::Float64),
            ("b", DataType::Float64),
            ("a*b", DataType::Float64),
            ("kind", DataType::String),
        ]);
        assert_eq!(
            codes(&stage::<Polynomial>("{columns: [a, b, kind]}"), &input),
            ["type-mismatch", "name-taken"]
        );
        assert_eq!(
            codes(
                &stage::<Polynomial>("{columns: a, interaction_only: true}"),
                &input
            ),
            ["no-columns"]
        );
        let wide = Schema::new(
            (0..45)
                .map(|index| taktline_core::Column::new(format!("c{index}"), DataType::Float64))
                .collect(),
        );
        assert_eq!(
            codes(&stage::<Polynomial>("{}"), &wide),
            ["too-many-columns"]
        );
    }
}
