//! `features.tf_idf`.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use polars::{
    lazy::dsl::{col, lit, when},
    prelude::{DataType, Expr, Float32Type, NULL},
};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    CheckContext, Column, Error, Estimator, FitContext, Frame, Local, Operation, Problem, Result,
    Schema, Shape, Stage, State, output_schema, path, register_kind,
};

use super::{
    arrays, placement,
    tokens::{self, Lengths, Norm, Tokenizer, Unit},
};
use crate::columns;

const VERSION: u32 = 1;

/// Weigh the terms of a text by how often it has them and how rare they are in the training texts.
///
/// The terms are those of the training rows, in alphabetical order; terms that no training text has do not count. A term's
/// weight is its count in the text times ln((1 + texts) / (1 + texts with the term)) + 1, and the weights of a text are
/// brought to a length of 1: tf-idf as in scikit-learn's TfidfVectorizer. The text becomes an array of `max_features`
/// numbers, `f32`; where fewer terms were learned, the last numbers are zero. Null stays null and does not count as a
/// text; a text without a known term is all zeros.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TfIdf {
    /// The text column.
    column: String,
    /// The name of the new array column; default: the text column's, which it replaces.
    #[schemars(length(min = 1))]
    into: Option<String>,
    /// One array, or a column for each term in the place of the text: `review=great`.
    #[serde(default, rename = "as")]
    form: Form,
    /// What terms are made of.
    #[serde(default)]
    unit: Unit,
    /// How many units follow each other in a term: `[1, 2]` for single words and pairs.
    #[serde(default = "tokens::one_unit")]
    ngrams: Lengths,
    /// Whether upper and lower case are the same.
    #[serde(default = "tokens::yes")]
    lowercase: bool,
    /// Words that do not count: `[the, and]`.
    #[serde(default)]
    stop_words: BTreeSet<String>,
    /// The least texts that must have a term: a whole number, or a share of all texts with a decimal point.
    #[serde(default = "one_text")]
    min_df: Frequency,
    /// The most texts that may have a term: a whole number, or a share of all texts with a decimal point.
    #[serde(default = "all_texts")]
    max_df: Frequency,
    /// How many terms stay at most: those that occur most often in all texts; of equally frequent ones, the first by
    /// letters.
    #[serde(default = "max_features")]
    #[schemars(range(min = 1, max = 100_000))]
    max_features: usize,
    /// Counts as 1 + ln(count), so that the tenth occurrence adds less than the second.
    #[serde(default)]
    sublinear_tf: bool,
    /// Adds one text that has every term, as in the formula above; else ln(texts / texts with the term) + 1.
    #[serde(default = "tokens::yes")]
    smooth_idf: bool,
    /// Whether rare terms weigh more; else only counts weigh.
    #[serde(default = "tokens::yes")]
    use_idf: bool,
    /// How the weights of a text are brought to a length of 1.
    #[serde(default)]
    norm: Norm,
}

/// How the weights lie in the frame.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Form {
    /// One array column.
    #[default]
    Array,
    /// A column for each term.
    Columns,
}

/// A number of texts.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
enum Frequency {
    /// So many.
    Count(u64),
    /// This share of all.
    Share(#[schemars(range(min = 0, max = 1))] f64),
}

impl Frequency {
    fn of(self, texts: u64) -> f64 {
        match self {
            Self::Count(count) => count as f64,
            Self::Share(share) => share * texts as f64,
        }
    }
}

fn one_text() -> Frequency {
    Frequency::Count(1)
}

fn all_texts() -> Frequency {
    Frequency::Share(1.0)
}

fn max_features() -> usize {
    1000
}

register_kind! {
    TfIdf, "features.tf_idf", version: 1,
    example: "- features.tf_idf: {column: review, ngrams: [1, 2], min_df: 2, max_features: 2000}",
}

/// What was learned: the terms in order, and how rare each is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Learned {
    terms: Vec<String>,
    idf: Vec<f64>,
}

/// How often a term occurs, and in how many texts.
#[derive(Debug, Clone, Copy, Default)]
struct Counted {
    occurrences: u64,
    texts: u64,
}

/// Texts that one thread counts at once.
const CHUNK: usize = 256;

impl TfIdf {
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

    fn learn(&self, texts: &[&str]) -> Result<Learned> {
        let tokenizer = self.tokenizer();
        // Sums of whole numbers: the same in whatever order threads add them.
        let counted = texts
            .par_chunks(CHUNK)
            .map(|texts| count(&tokenizer, texts))
            .reduce(HashMap::new, |mut all, some| {
                for (term, counted) in some {
                    let known = all.entry(term).or_default();
                    known.occurrences += counted.occurrences;
                    known.texts += counted.texts;
                }
                all
            });
        let total = texts.len() as u64;
        let (least, most) = (self.min_df.of(total), self.max_df.of(total));
        let found = counted.len();
        let mut kept: Vec<(String, Counted)> = counted
            .into_iter()
            .filter(|(_, counted)| (least..=most).contains(&(counted.texts as f64)))
            .collect();
        if kept.is_empty() {
            return Err(Error::data(match found {
                0 => format!(
                    "`{}` has no term in the {total} training texts to learn from",
                    self.column
                ),
                _ => format!(
                    "`{}` has {found} terms in the training texts, but none is in {least} to {most} of the {total} texts; see `min_df` and `max_df`",
                    self.column
                ),
            }));
        }
        kept.sort_by(|(term, counted), (other, others)| {
            others
                .occurrences
                .cmp(&counted.occurrences)
                .then_with(|| term.cmp(other))
        });
        kept.truncate(self.max_features);
        kept.sort_by(|(term, _), (other, _)| term.cmp(other));
        let smooth = if self.smooth_idf { 1.0 } else { 0.0 };
        let idf = |counted: &Counted| match self.use_idf {
            true => ((total as f64 + smooth) / (counted.texts as f64 + smooth)).ln() + 1.0,
            false => 1.0,
        };
        Ok(Learned {
            idf: kept.iter().map(|(_, counted)| idf(counted)).collect(),
            terms: kept.into_iter().map(|(term, _)| term).collect(),
        })
    }

    /// Terms have no relational form.
    fn operation(&self, input: &Schema, learned: Learned) -> Result<Option<Operation>> {
        let width = match self.form {
            Form::Array => self.max_features,
            Form::Columns => learned.terms.len(),
        };
        let dtype = arrays::array_type(DataType::Float32, &[width]);
        let Some(mut schema) = arrays::with_array(input, &self.column, self.made(), &dtype) else {
            return Ok(None);
        };
        let mut spread = None;
        if self.form == Form::Columns {
            schema = self.with_columns(input, &learned.terms)?;
            spread = Some(self.spread(input, &learned.terms));
        }
        let weigher = Arc::new(Weigher {
            tokenizer: self.tokenizer(),
            places: (0..)
                .zip(&learned.terms)
                .map(|(place, term)| (term.clone(), place))
                .collect(),
            idf: learned.idf,
            sublinear: self.sublinear_tf,
            norm: self.norm,
        });
        let (from, to) = (self.column.clone(), self.made().to_owned());
        Ok(Some(Operation::Local(Local {
            name: "weigh the terms of texts",
            reads: [from.clone()].into(),
            keeps_rows: true,
            schema,
            apply: Arc::new(move |frame| {
                let weigher = Arc::clone(&weigher);
                let make = move |column: &polars::prelude::Column| {
                    arrays::map_texts::<Float32Type>(column, width, |text, row| {
                        weigher.weigh(text, row);
                    })
                };
                let frame = arrays::with_made(frame, &from, &to, dtype.clone(), make);
                Ok(match &spread {
                    Some(columns) => frame.select(columns.clone()),
                    None => frame,
                })
            }),
        })))
    }

    /// All columns, with those of the terms in the place of the text.
    fn spread(&self, input: &Schema, terms: &[String]) -> Vec<Expr> {
        let mut columns = Vec::with_capacity(input.columns.len() + terms.len());
        for name in input.names() {
            if name == self.column {
                columns.extend(terms.iter().zip(0_i64..).map(|(term, place)| {
                    let weight = col(name).arr().get(lit(place), false);
                    // An element of an array that is null is 0 otherwise.
                    when(col(name).is_not_null())
                        .then(weight)
                        .otherwise(lit(NULL))
                        .alias(self.name(term))
                }));
            } else {
                columns.push(col(name));
            }
        }
        columns
    }

    fn name(&self, term: &str) -> String {
        format!("{}={term}", self.column)
    }

    fn with_columns(&self, input: &Schema, terms: &[String]) -> Result<Schema> {
        let mut columns = Vec::with_capacity(input.columns.len() + terms.len());
        for column in &input.columns {
            if column.name == self.column {
                columns.extend(
                    terms
                        .iter()
                        .map(|term| placement::heir(self.name(term), DataType::Float32, [column])),
                );
            } else {
                columns.push(column.clone());
            }
        }
        let mut taken = BTreeSet::new();
        match columns.iter().find(|column| !taken.insert(&column.name)) {
            Some(Column { name, .. }) => Err(Error::data(format!(
                "two columns would have the name `{name}`; rename one above"
            ))),
            None => Ok(Schema {
                columns,
                ..input.clone()
            }),
        }
    }
}

fn count(tokenizer: &Tokenizer, texts: &[&str]) -> HashMap<String, Counted> {
    let mut counted: HashMap<String, Counted> = HashMap::new();
    // For each term, the last text that had it.
    let mut last: HashMap<String, usize> = HashMap::new();
    for (text, content) in texts.iter().enumerate() {
        tokenizer.terms(content, &mut |term| {
            let Some(known) = counted.get_mut(term) else {
                counted.insert(
                    term.to_owned(),
                    Counted {
                        occurrences: 1,
                        texts: 1,
                    },
                );
                last.insert(term.to_owned(), text);
                return;
            };
            known.occurrences += 1;
            if let Some(last) = last.get_mut(term).filter(|last| **last != text) {
                known.texts += 1;
                *last = text;
            }
        });
    }
    counted
}

/// Gives a text's terms their weights.
struct Weigher {
    tokenizer: Tokenizer,
    places: HashMap<String, usize>,
    idf: Vec<f64>,
    sublinear: bool,
    norm: Norm,
}

impl Weigher {
    fn weigh(&self, text: &str, row: &mut [f32]) {
        let mut places = Vec::new();
        self.tokenizer.terms(text, &mut |term| {
            if let Some(place) = self.places.get(term) {
                if row[*place] == 0.0 {
                    places.push(*place);
                }
                row[*place] += 1.0;
            }
        });
        // In the order of the terms, so that sums do not depend on the order of words.
        places.sort_unstable();
        for place in &places {
            let count = f64::from(row[*place]);
            let weight = if self.sublinear {
                1.0 + count.ln()
            } else {
                count
            };
            row[*place] = (weight * self.idf[*place]) as f32;
        }
        self.norm.apply(row, &places);
    }
}

impl Stage for TfIdf {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let input = columns::input(inputs);
        self.tokenizer().check(cx);
        if let (Frequency::Share(least), Frequency::Share(most)) = (self.min_df, self.max_df)
            && least > most
        {
            cx.report(
                Problem::error(
                    "out-of-range",
                    path!["min_df"],
                    format!(
                        "no term can be in {least} of the texts or more and in {most} or fewer"
                    ),
                )
                .label("above `max_df`"),
            );
        }
        if self.form == Form::Columns && self.into.is_some() {
            cx.report(
                Problem::error(
                    "unused-param",
                    path!["into"],
                    "a column for each term is named by the text column",
                )
                .label("`as: columns` makes no such column"),
            );
        }
        let mut is_possible = tokens::is_text(&self.column, self.into.as_deref(), input, cx);
        let open = self.name("*");
        if is_possible && self.form == Form::Columns {
            is_possible = columns::is_free(input, &open, path!["column"], cx);
        }
        // The width of the array does not depend on what will be learned; the names of columns do.
        let expected = Learned {
            terms: vec!["*".into()],
            idf: vec![1.0],
        };
        match self.operation(input, expected) {
            Ok(Some(operation)) if is_possible => output_schema(&[operation], inputs),
            _ => Schema {
                incomplete: true,
                ..input.clone()
            },
        }
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Estimator(self)
    }
}

impl Estimator for TfIdf {
    fn fit_reads(&self, _: &Schema) -> BTreeSet<String> {
        [self.column.clone()].into()
    }

    fn fit(&self, train: &Frame, cx: &mut FitContext<'_>) -> Result<State> {
        cx.cancellation.check()?;
        let column = train.data.column(&self.column)?;
        let texts: Vec<&str> = column.str()?.iter().flatten().collect();
        State::from_data(VERSION, &self.learn(&texts)?)
    }

    fn lower(&self, state: &State, inputs: &[Schema]) -> Result<Vec<Operation>> {
        // Scoring brings only what the model needs: without the column there is nothing to do.
        let operation = self.operation(columns::input(inputs), state.data(VERSION)?)?;
        Ok(operation.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use polars::{df, prelude::DataFrame};

    use super::*;
    use crate::{
        columns::testing::{codes, frame, passes, schema, stage, types},
        testing::fitted,
    };

    const TRAIN: [&str; 4] = [
        "Great taste, great price!",
        "Not a great coffee: weak and stale",
        "The price of coffee is not great",
        "Weak tea, weak taste",
    ];

    fn learned(params: &str) -> Learned {
        let train = frame(df!("review" => TRAIN).expect("a frame"));
        let state = stage::<TfIdf>(params)
            .fit(&train, &mut FitContext::quiet(7))
            .expect("a state");
        state.data(VERSION).expect("what was learned")
    }

    /// The weights of a known text, of new ones, and of none.
    fn weighed(params: &str) -> DataFrame {
        let train = df!("review" => TRAIN).expect("a frame");
        let rows = df!("review" => [
            Some("great weak TEA of no price"), Some("unknown words only"), None, Some(TRAIN[0]),
        ])
        .expect("a frame");
        fitted(&stage::<TfIdf>(params), &train, &rows).expect("rows")
    }

    fn is_near(rows: &DataFrame, width: usize, expected: &[(usize, f32)]) {
        let column = rows.column("review").expect("there");
        assert_eq!(column.null_count(), 1);
        let numbers = column
            .drop_nulls()
            .as_materialized_series()
            .get_leaf_array();
        let numbers: Vec<f32> = numbers
            .f32()
            .expect("numbers")
            .into_no_null_iter()
            .collect();
        assert_eq!(numbers.len(), 3 * width);
        for (place, number) in numbers.iter().enumerate() {
            let wanted = expected
                .iter()
                .find(|(known, _)| *known == place)
                .map_or(0.0, |(_, wanted)| *wanted);
            assert!(
                (number - wanted).abs() < 1e-6,
                "{place}: {number}, not {wanted}"
            );
        }
    }

    // All figures: scikit-learn 1.9, TfidfVectorizer; tests/peers/text.py.
    #[test]
    fn weights_are_scikit_learns() {
        assert_eq!(
            learned("{column: review}").terms,
            [
                "and", "coffee", "great", "is", "not", "of", "price", "stale", "taste", "tea",
                "the", "weak"
            ]
        );
        let rows = weighed("{column: review, max_features: 15}");
        let expected = [
            (2, 0.334_067_45),
            (5, 0.523_381_2),
            (6, 0.412_639_76),
            (9, 0.523_381_2),
            (11, 0.412_639_76),
            (32, 0.753_167_04),
            (36, 0.465_155_57),
            (38, 0.465_155_57),
        ];
        is_near(&rows, 15, &expected);
    }

    #[test]
    fn pairs_of_words_and_rare_terms() {
        let params = "{column: review, ngrams: [1, 2], min_df: 2, max_features: 7}";
        assert_eq!(
            learned(params).terms,
            [
                "coffee",
                "great",
                "not",
                "not great",
                "price",
                "taste",
                "weak"
            ]
        );
        let expected = [
            (1, 0.496_816_12),
            (4, 0.613_666_7),
            (6, 0.613_666_7),
            (15, 0.753_167_04),
            (18, 0.465_155_57),
            (19, 0.465_155_57),
        ];
        is_near(&weighed(params), 7, &expected);
    }

    #[test]
    fn other_weights_are_scikit_learns_too() {
        let params = "{column: review, sublinear_tf: true, smooth_idf: false, norm: l1, stop_words: [the, of, is, and], max_features: 8}";
        let expected = [
            (1, 0.182_384_23),
            (3, 0.239_813_35),
            (6, 0.337_989_07),
            (7, 0.239_813_35),
            (17, 0.391_668_67),
            (19, 0.304_165_66),
            (21, 0.304_165_66),
        ];
        is_near(&weighed(params), 8, &expected);
        let params = "{column: review, max_df: 0.5, use_idf: false, norm: none, max_features: 11}";
        let expected = [
            (4, 1.0),
            (5, 1.0),
            (8, 1.0),
            (10, 1.0),
            (27, 1.0),
            (29, 1.0),
        ];
        is_near(&weighed(params), 11, &expected);
        let params = "{column: review, unit: char_in_word, ngrams: [3, 3], max_features: 5}";
        assert_eq!(learned(params).terms, [" gr", "at ", "eat", "gre", "rea"]);
    }

    #[test]
    fn of_equally_frequent_terms_the_first_by_letters_stay() {
        // great 4, weak 3, then coffee, not, price and taste with 2 each.
        assert_eq!(
            learned("{column: review, max_features: 4}").terms,
            ["coffee", "great", "not", "weak"]
        );
    }

    #[test]
    fn a_column_for_each_term_stands_in_the_place_of_the_text() {
        let train = df!("id" => [1_i64, 2, 3, 4], "review" => TRAIN, "stars" => [5_i64, 2, 2, 1])
            .expect("a frame");
        let rows = fitted(
            &stage::<TfIdf>(
                "{column: review, as: columns, max_features: 2, norm: none, use_idf: false}",
            ),
            &train,
            &train,
        )
        .expect("rows");
        let expected = df!(
            "id" => [1_i64, 2, 3, 4],
            "review=great" => [2.0_f32, 1.0, 1.0, 0.0],
            "review=weak" => [0.0_f32, 1.0, 0.0, 2.0],
            "stars" => [5_i64, 2, 2, 1],
        )
        .expect("a frame");
        assert_eq!(rows, expected);
    }

    #[test]
    fn null_is_no_text_and_nothing_to_learn_from_is_an_error() {
        let stage: TfIdf = stage("{column: review}");
        let learn = |texts: &[Option<&str>]| {
            let train = frame(df!("review" => texts).expect("a frame"));
            stage.fit(&train, &mut FitContext::quiet(7))
        };
        let learned: Learned = learn(&[Some("good tea"), None, Some("bad tea")])
            .expect("a state")
            .data(VERSION)
            .expect("what was learned");
        // In both texts: ln(3 / 3) + 1.
        assert_eq!(learned.idf[2], 1.0);
        for texts in [&[][..], &[None, None], &[Some(""), Some("a b c")]] {
            let error = learn(texts).expect_err("nothing").to_string();
            assert!(error.starts_with("`review` has no term in the "), "{error}");
        }
        let strict: TfIdf = crate::columns::testing::stage("{column: review, min_df: 3}");
        let train = frame(df!("review" => ["a tea", "a coffee"]).expect("a frame"));
        let error = strict
            .fit(&train, &mut FitContext::quiet(7))
            .expect_err("too rare")
            .to_string();
        assert!(
            error.contains("none is in 3 to 2 of the 2 texts"),
            "{error}"
        );
    }

    #[test]
    fn the_width_is_known_before_training() {
        let mut input = schema([("review", DataType::String), ("stars", DataType::Int64)]);
        input.columns[0].from_pii.insert("review".into());
        let output = passes(
            &stage::<TfIdf>("{column: review, max_features: 50}"),
            &input,
        );
        assert_eq!(
            types(&output),
            [
                ("review", arrays::array_type(DataType::Float32, &[50])),
                ("stars", DataType::Int64)
            ]
        );
        assert!(output.columns[0].from_pii.contains("review"));
        let output = passes(&stage::<TfIdf>("{column: review, as: columns}"), &input);
        assert_eq!(types(&output)[0], ("review=*", DataType::Float32));
    }

    #[test]
    fn refuses_what_does_not_fit() {
        let input = schema([("review", DataType::String), ("stars", DataType::Int64)]);
        let refused = |params: &str| codes(&stage::<TfIdf>(params), &input);
        assert_eq!(refused("{column: stars}"), ["type-mismatch"]);
        assert_eq!(refused("{column: text}"), ["unknown-column"]);
        assert_eq!(
            refused("{column: review, min_df: 0.5, max_df: 0.2}"),
            ["out-of-range"]
        );
        assert_eq!(
            refused("{column: review, as: columns, into: terms, ngrams: [0, 1]}"),
            ["out-of-range", "unused-param"]
        );
        assert_eq!(
            refused("{column: review, stop_words: [The]}"),
            ["unused-param"]
        );
    }
}
