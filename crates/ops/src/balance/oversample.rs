//! `balance.oversample`.

use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::{
    CheckContext, Operation, Relational, Result, Schema, Shape, Stage, register_kind,
};

use super::{check, draws, generator, lacking, operations, taken, training_classes};
use crate::columns;

/// Repeat training rows of the smaller classes, so that a model does not pass them over.
///
/// Each class gets at least `ratio` times as many training rows as the largest has. All rows of a class are repeated
/// equally often, as far as that goes, and some of them, chosen at random, once more. Repeated rows are equal in all
/// columns and stand after all others. Rows for validation and testing stay as they are; scoring does not repeat
/// anything. Needs a `split.*` above.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Oversample {
    /// The column whose classes are balanced; default: the column with the role `target`.
    target: Option<String>,
    /// How many rows a class has at least, as a share of the largest class.
    #[serde(default = "as_many")]
    #[schemars(extend("exclusiveMinimum" = 0, "maximum" = 1))]
    ratio: f64,
    /// Another seed chooses other rows.
    #[serde(default)]
    seed: u64,
}

fn as_many() -> f64 {
    1.0
}

register_kind! {
    Oversample, "balance.oversample", version: 1,
    example: "- balance.oversample: {target: is_fraud, ratio: 0.2, seed: 7}",
}

impl Stage for Oversample {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let input = columns::input(inputs);
        let mut output = check(self.target.as_deref(), self.ratio, input, cx);
        output.facts.multiplied_by = Some(cx.stage.to_owned());
        output
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Relational(self)
    }
}

impl Relational for Oversample {
    fn lower(&self, inputs: &[Schema]) -> Result<Vec<Operation>> {
        let (ratio, seed) = (self.ratio, self.seed);
        let input = columns::input(inputs);
        Ok(operations(
            "repeat rows of small classes",
            self.target.as_deref(),
            input,
            move |data, target| {
                let classes = training_classes(data, target)?;
                let mut generator = generator(seed);
                let mut repeated = Vec::new();
                for (class, count) in classes.iter().zip(lacking(&classes, ratio)) {
                    let drawn = draws(class.rows.len(), count, &mut generator);
                    repeated.extend(drawn.into_iter().map(|place| class.rows[place]));
                }
                Ok(data.vstack(&taken(data, &repeated)?)?)
            },
        ))
    }

    fn is_training_only(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use polars::{
        df,
        prelude::{DataFrame, DataType},
    };
    use taktline_core::PARTITION;

    use super::{
        super::testing::{balanced, divided},
        *,
    };
    use crate::columns::testing::{codes, passes, refuses, schema, stage};

    fn rows() -> DataFrame {
        df!(
            "id" => [1, 2, 3, 4, 5, 6, 7, 8],
            "label" => ["a", "a", "b", "a", "b", "a", "c", "b"],
            PARTITION => ["train", "train", "train", "train", "test", "train", "train", "train"],
        )
        .expect("a frame")
    }

    fn ids(rows: &DataFrame) -> Vec<i32> {
        rows.column("id")
            .expect("ids")
            .i32()
            .expect("numbers")
            .iter()
            .flatten()
            .collect()
    }

    #[test]
    fn what_learns_out_of_fold_is_told_of_the_copies() {
        let input = divided(&rows(), "label");
        let (output, problems) = crate::columns::testing::check(&stage::<Oversample>("{}"), &input);
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(output.facts.multiplied_by.as_deref(), Some("this"));
    }

    #[test]
    fn small_classes_are_repeated_at_the_end() {
        let data = rows();
        let input = divided(&data, "label");
        let found = balanced(&stage::<Oversample>("{seed: 3}"), &data, &input).expect("rows");
        assert_eq!(ids(&found)[..8], [1, 2, 3, 4, 5, 6, 7, 8]);
        // Four of a; b has two and gets each again, c has one and gets it three times more.
        assert_eq!(ids(&found)[8..], [3, 8, 7, 7, 7]);
        let half = balanced(&stage::<Oversample>("{ratio: 0.5}"), &data, &input).expect("rows");
        assert_eq!(ids(&half)[8..], [7]);
        let none = balanced(&stage::<Oversample>("{ratio: 0.1}"), &data, &input).expect("rows");
        assert_eq!(none, data);
    }

    #[test]
    fn the_seed_chooses_the_rest() {
        let mut labels = vec!["a"; 50];
        labels.extend(["b"; 30]);
        let data = df!("id" => (0..80).collect::<Vec<i32>>(), "label" => labels, PARTITION => ["train"; 80]).expect("a frame");
        let input = divided(&data, "label");
        let found = |seed: u64| {
            let stage = stage::<Oversample>(&format!("{{seed: {seed}}}"));
            ids(&balanced(&stage, &data, &input).expect("rows"))
        };
        assert_eq!(found(1), found(1));
        assert_ne!(found(1), found(2));
        assert_eq!(found(1).len(), 100);
    }

    #[test]
    fn scoring_and_empty_frames_are_left_alone() {
        let stage = stage::<Oversample>("{target: label}");
        assert!(stage.is_training_only());
        let scored = rows().drop(PARTITION).expect("a frame");
        let input = Schema::from_polars(scored.schema());
        assert!(stage.lower(&[input]).expect("operations").is_empty());
        let nothing = rows().head(Some(0));
        assert_eq!(
            balanced(&stage, &nothing, &divided(&nothing, "label")).expect("rows"),
            nothing
        );
    }

    #[test]
    fn refuses_rows_that_are_not_split_and_amounts() {
        let input = schema([("label", DataType::String), ("price", DataType::Float64)]);
        assert_eq!(
            refuses(&stage::<Oversample>("{target: label}"), &input),
            [(
                "no-split",
                "stage `this` needs to know which rows are for training, and nothing above splits them".to_owned()
            )]
        );
        let input = divided(&rows(), "label");
        passes(&stage::<Oversample>("{}"), &input);
        assert_eq!(
            codes(&stage::<Oversample>("{target: labl, ratio: 0}"), &input),
            ["unknown-column", "out-of-range"]
        );
        let input = divided(
            &df!("price" => [1.0], PARTITION => ["train"]).expect("a frame"),
            "price",
        );
        assert_eq!(codes(&stage::<Oversample>("{}"), &input), ["type-mismatch"]);
    }
}
