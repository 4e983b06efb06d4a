//! `features.hash_text`.

use std::{collections::BTreeSet, sync::Arc};

use polars::prelude::{DataType, Float32Type};
use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::{
    CheckContext, Local, Operation, Relational, Result, Schema, Shape, Stage, register_kind,
};

use super::{
    arrays, murmur,
    tokens::{self, Lengths, Norm, Tokenizer, Unit},
};
use crate::columns;

/// Count the terms of a text in a fixed number of buckets that a hash chooses, without learning a vocabulary.
///
/// The text becomes an array of `buckets` numbers, `f32`. A term's bucket is its hash (MurmurHash3, 32 bits, seed 0, of its
/// UTF-8 bytes, as a signed number without its sign) modulo `buckets`; with `signed`, terms with a negative hash count
/// negatively, so that terms that share a bucket tend to cancel out. The same as scikit-learn's HashingVectorizer. Null
/// stays null; a text without a term is all zeros.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct HashText {
    /// The text column.
    column: String,
    /// The name of the new column; default: the text column's, which it replaces.
    #[schemars(length(min = 1))]
    into: Option<String>,
    /// How many buckets; the more, the fewer terms share one.
    #[serde(default = "buckets")]
    #[schemars(range(min = 2, max = 1_048_576))]
    buckets: usize,
    /// What terms are made of.
    #[serde(default)]
    unit: Unit,
    /// How many units follow each other in a term: `[1, 2]` for single words and pairs.
    #[serde(default = "tokens::one_unit")]
    ngrams: Lengths,
    /// Whether upper and lower case are the same.
    #[serde(default = "tokens::yes")]
    lowercase: bool,
    /// Words that do not count.
    #[serde(default)]
    stop_words: BTreeSet<String>,
    /// Whether terms with a negative hash count negatively.
    #[serde(default = "tokens::yes")]
    signed: bool,
    /// How the numbers of a text are brought to a length of 1.
    #[serde(default)]
    norm: Norm,
}

fn buckets() -> usize {
    1024
}

register_kind! {
    HashText, "features.hash_text", version: 1,
    example: "- features.hash_text: {column: review, buckets: 2048, ngrams: [1, 2]}",
}

impl HashText {
    fn tokenizer(&self) -> Tokenizer {
        Tokenizer {
            unit: self.unit,
            lengths: self.ngrams,
            lowercase: self.lowercase,
            stop_words: self.stop_words.clone(),
        }
    }

    fn made(&self) -> &str {
        self.into.as_deref().unwrap_or(&self.column)
    }

    /// Terms have no relational form.
    fn operation(&self, input: &Schema) -> Option<Operation> {
        let dtype = arrays::array_type(DataType::Float32, &[self.buckets]);
        let schema = arrays::with_array(input, &self.column, self.made(), &dtype)?;
        let tokenizer = Arc::new(self.tokenizer());
        let (buckets, signed, norm) = (self.buckets, self.signed, self.norm);
        let (from, to) = (self.column.clone(), self.made().to_owned());
        Some(Operation::Local(Local {
            name: "hash the terms of texts",
            reads: [from.clone()].into(),
            keeps_rows: true,
            schema,
            apply: Arc::new(move |frame| {
                let tokenizer = Arc::clone(&tokenizer);
                let make = move |column: &polars::prelude::Column| {
                    arrays::map_texts::<Float32Type>(column, buckets, |text, row| {
                        count(&tokenizer, text, signed, row);
                        let places: Vec<usize> =
                            (0..buckets).filter(|place| row[*place] != 0.0).collect();
                        norm.apply(row, &places);
                    })
                };
                Ok(arrays::with_made(frame, &from, &to, dtype.clone(), make))
            }),
        }))
    }
}

fn count(tokenizer: &Tokenizer, text: &str, signed: bool, row: &mut [f32]) {
    let buckets = row.len() as u64;
    tokenizer.terms(text, &mut |term| {
        let hash = murmur::hash(term.as_bytes()).cast_signed();
        let bucket = u64::from(hash.unsigned_abs()) % buckets;
        row[bucket as usize] += if signed && hash < 0 { -1.0 } else { 1.0 };
    });
}

impl Stage for HashText {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let input = columns::input(inputs);
        self.tokenizer().check(cx);
        let is_possible = tokens::is_text(&self.column, self.into.as_deref(), input, cx);
        columns::promised(self.operation(input).filter(|_| is_possible), inputs)
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Relational(self)
    }
}

impl Relational for HashText {
    fn lower(&self, inputs: &[Schema]) -> Result<Vec<Operation>> {
        // Scoring brings only what the model needs: without the column there is nothing to do.
        Ok(self.operation(columns::input(inputs)).into_iter().collect())
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

    fn rows(params: &str, texts: &[Option<&str>]) -> DataFrame {
        let frame = df!("review" => texts).expect("a frame");
        applied(&stage::<HashText>(params), &[frame]).expect("rows")
    }

    fn numbers(rows: &DataFrame) -> Vec<f32> {
        let column = rows.column("review").expect("there").drop_nulls();
        let leaf = column.as_materialized_series().get_leaf_array();
        leaf.f32().expect("numbers").into_no_null_iter().collect()
    }

    // scikit-learn 1.9: HashingVectorizer(n_features=8, ngram_range=(1, 2)); tests/peers/text.py.
    #[test]
    fn is_scikit_learns() {
        let texts = [
            Some("Great taste, great price!"),
            None,
            Some("Not a great coffee: weak and stale"),
            Some("?"),
        ];
        let made = rows("{column: review, buckets: 8, ngrams: [1, 2]}", &texts);
        assert_eq!(made.column("review").expect("there").null_count(), 1);
        let expected = [
            [
                -0.301_511_34,
                -0.301_511_34,
                0.0,
                0.0,
                0.904_534_03,
                0.0,
                0.0,
                0.0,
            ],
            [
                -2.0 / 3.0,
                0.0,
                1.0 / 3.0,
                0.0,
                1.0 / 3.0,
                -1.0 / 3.0,
                -1.0 / 3.0,
                1.0 / 3.0,
            ],
            [0.0; 8],
        ];
        let found = numbers(&made);
        assert_eq!(found.len(), 24);
        for (found, expected) in found.iter().zip(expected.iter().flatten()) {
            assert!((found - expected).abs() < 1e-6, "{:?}", numbers(&made));
        }
        let unsigned = rows(
            "{column: review, buckets: 8, signed: false, norm: none}",
            &texts,
        );
        assert_eq!(numbers(&unsigned).iter().sum::<f32>(), 10.0);
    }

    #[test]
    fn another_column_keeps_the_text() {
        let made = rows(
            "{column: review, into: terms, buckets: 4}",
            &[Some("good tea")],
        );
        assert_eq!(made.get_column_names(), ["review", "terms"]);
        assert_eq!(rows("{column: review, buckets: 4}", &[]).height(), 0);
        assert_eq!(
            rows("{column: review, buckets: 4}", &[None, None])
                .column("review")
                .expect("there")
                .null_count(),
            2
        );
    }

    #[test]
    fn refuses_what_is_no_text() {
        let input = schema([("review", DataType::String), ("stars", DataType::Int64)]);
        assert_eq!(
            codes(&stage::<HashText>("{column: stars}"), &input),
            ["type-mismatch"]
        );
        assert_eq!(
            codes(&stage::<HashText>("{column: reviews}"), &input),
            ["unknown-column"]
        );
        assert_eq!(
            codes(
                &stage::<HashText>("{column: review, into: stars, ngrams: [2, 1]}"),
                &input
            ),
            ["out-of-range", "name-taken"]
        );
        assert_eq!(
            codes(
                &stage::<HashText>("{column: review, unit: char, stop_words: [the]}"),
                &input
            ),
            ["unused-param"]
        );
    }
}
