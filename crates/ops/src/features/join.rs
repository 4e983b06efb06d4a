//! `features.join`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    Cardinality, CheckContext, JoinKind, Operation, PARTITION, ParamPath, ParamStep, Problem,
    Relational, Result, Schema, Shape, Stage, output_schema, path, register_kind,
};

use super::joining::{self, KeyParams, Wanted};
use crate::columns::Names;

/// Put columns of another table beside each row, by equal keys: each payment's card limit.
///
/// The stage has two inputs, `from: [payments, cards]`: rows of the first find their partners in the second. A row with
/// several partners becomes several rows; `expect` says when that is a mistake. Null keys equal nothing, not even null. Rows
/// keep the order of the left input, and partners that of the right; with `how: full` rows of the right alone come last.
/// Keys may be text, whole numbers of any size, dates, datetimes or truth values; both sides are compared before the run.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Join {
    /// The key columns, where they have the same names on both sides.
    on: Option<Names>,
    /// The key columns of the left input, where the names differ.
    left_on: Option<Names>,
    /// The key columns of the right input, in the same order.
    right_on: Option<Names>,
    /// Which rows come out.
    #[serde(default)]
    how: How,
    /// The columns of the right input that come in; default: all but its keys.
    select: Option<Names>,
    /// Put before the name of every column that comes in.
    prefix: Option<String>,
    /// Put after the name of a column that comes in, where the left input has one of that name.
    #[serde(default = "default_suffix")]
    suffix: String,
    /// How many partners a row may have; more are an error that names the key.
    #[serde(default)]
    expect: Expect,
}

pub(super) fn default_suffix() -> String {
    "_right".to_owned()
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum How {
    /// All rows of the left input; null where there is no partner.
    #[default]
    Left,
    /// Rows with a partner.
    Inner,
    /// All rows of both inputs.
    Full,
    /// Rows of the left input with a partner, and no columns of the right.
    Semi,
    /// Rows of the left input without a partner.
    Anti,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Expect {
    /// Each key at most once on both sides.
    OneToOne,
    /// Each key at most once in the left input.
    OneToMany,
    /// Each key at most once in the right input: no row is doubled.
    ManyToOne,
    /// Any number.
    #[default]
    ManyToMany,
}

register_kind! {
    Join, "features.join", version: 1,
    example: "- features.join: {on: card, select: [limit, opened], expect: many_to_one}\n  from: [payments, cards]",
}

impl Join {
    fn keys(&self) -> KeyParams<'_> {
        KeyParams {
            both: ("on", self.on.as_ref()),
            left: ("left_on", self.left_on.as_ref()),
            right: ("right_on", self.right_on.as_ref()),
        }
    }

    fn wanted(&self) -> Wanted<'_> {
        Wanted {
            select: self.select.as_ref(),
            prefix: self.prefix.as_deref(),
            suffix: &self.suffix,
        }
    }

    fn brings_columns(&self) -> bool {
        !matches!(self.how, How::Semi | How::Anti)
    }

    fn operation(&self, on: Vec<(String, String)>, left: &Schema, right: &Schema) -> Operation {
        let keys: Vec<&str> = on.iter().map(|(_, right)| right.as_str()).collect();
        let columns = if self.brings_columns() {
            self.wanted().columns(left, right, &keys)
        } else {
            Vec::new()
        };
        Operation::Join {
            right: 1,
            kind: match self.how {
                How::Left => JoinKind::Left,
                How::Inner => JoinKind::Inner,
                How::Full => JoinKind::Full,
                How::Semi => JoinKind::Semi,
                How::Anti => JoinKind::Anti,
            },
            columns,
            expect: match self.expect {
                Expect::OneToOne => Cardinality::OneToOne,
                Expect::OneToMany => Cardinality::OneToMany,
                Expect::ManyToOne => Cardinality::ManyToOne,
                Expect::ManyToMany => Cardinality::ManyToMany,
            },
            on,
        }
    }
}

impl Stage for Join {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let (left, right) = joining::sides(inputs);
        if self.on.is_none() && self.left_on.is_none() && self.right_on.is_none() {
            cx.report(
                Problem::error(
                    "missing-param",
                    ParamPath::kind(),
                    format!("stage `{}` needs the keys to join on", cx.stage),
                )
                .help("name them with `on`, or with `left_on` and `right_on`"),
            );
        }
        let found = self.keys().find(left, right, cx);
        let mut on = Vec::new();
        for (path, left, right) in &found {
            if joining::keys_meet(path, left, right, cx) {
                on.push((left.name.clone(), right.name.clone()));
            }
        }
        if self.how == How::Full && left.column(PARTITION).is_some() {
            cx.report(
                Problem::error(
                    "no-partition",
                    path!["how"],
                    format!(
                        "stage `{}` brings in rows of the right input alone, which would be in no part",
                        cx.stage
                    ),
                )
                .label("the left input is split already")
                .help("join above `split.*`, or keep the rows of the left with `how: left`"),
            );
        }
        let names: Vec<String> = self.keys().pairs().into_iter().map(|pair| pair.1).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        if self.brings_columns() {
            self.wanted().check(left, right, &names, cx);
        } else {
            for (name, given) in [
                ("select", self.select.is_some()),
                ("prefix", self.prefix.is_some()),
            ] {
                if given {
                    cx.report(
                        Problem::error(
                            "contradicting-params",
                            path![ParamStep::KeyOf(name.to_owned())],
                            format!(
                                "stage `{}` brings in no columns of the right input",
                                cx.stage
                            ),
                        )
                        .help("`how: inner` or `how: left` brings them in"),
                    );
                }
            }
        }
        let mut output = output_schema(&[self.operation(on, left, right)], inputs);
        output.incomplete |= right.incomplete;
        output
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Relational(self)
    }

    fn arity(&self) -> std::ops::RangeInclusive<usize> {
        2..=2
    }
}

impl Relational for Join {
    fn lower(&self, inputs: &[Schema]) -> Result<Vec<Operation>> {
        let (left, right) = joining::sides(inputs);
        Ok(vec![self.operation(self.keys().pairs(), left, right)])
    }
}

#[cfg(test)]
mod tests {
    use polars::{
        df,
        prelude::{DataFrame, DataType, TimeUnit},
    };
    use taktline_core::Role;

    use super::*;
    use crate::{
        columns::testing::{check_all, schema, stage, types},
        testing::{applied, run},
    };

    fn checked(params: &str, inputs: &[Schema]) -> (Schema, Vec<Problem>) {
        check_all(&stage::<Join>(params), inputs)
    }

    fn codes(params: &str, inputs: &[Schema]) -> Vec<&'static str> {
        checked(params, inputs)
            .1
            .iter()
            .map(|problem| problem.code)
            .collect()
    }

    fn tables() -> [DataFrame; 2] {
        let payments = df!("id" => [1_i64, 2, 3, 4], "card" => [Some("a"), Some("ä"), None, Some("z")], "amount" => [1.0, 2.0, 3.0, f64::NAN])
            .expect("a frame");
        let cards = df!("card" => [Some("ä"), Some("a"), None], "amount" => [20.0, 10.0, 30.0], "limit" => [200_i32, 100, 300])
            .expect("a frame");
        [payments, cards]
    }

    #[test]
    fn columns_come_in_beside_each_row() {
        let rows =
            applied(&stage::<Join>("{on: card, expect: many_to_one}"), &tables()).expect("rows");
        let expected = df!(
            "id" => [1_i64, 2, 3, 4],
            "card" => [Some("a"), Some("ä"), None, Some("z")],
            "amount" => [1.0, 2.0, 3.0, f64::NAN],
            "amount_right" => [Some(10.0), Some(20.0), None, None],
            "limit" => [Some(100_i32), Some(200), None, None],
        )
        .expect("a frame");
        assert!(rows.equals_missing(&expected), "{rows}");
        for (params, height, names) in [
            (
                "{on: card, how: inner, select: limit, prefix: card_}",
                2,
                vec!["id", "card", "amount", "card_limit"],
            ),
            ("{on: card, how: semi}", 2, vec!["id", "card", "amount"]),
            ("{on: card, how: anti}", 2, vec!["id", "card", "amount"]),
            (
                "{on: card, how: full, select: [amount], suffix: _of_card}",
                5,
                vec!["id", "card", "amount", "amount_of_card"],
            ),
            // A key comes in under another name where it is asked for.
            (
                "{left_on: card, right_on: card, select: card}",
                4,
                vec!["id", "card", "amount", "card_right"],
            ),
        ] {
            let rows = applied(&stage::<Join>(params), &tables()).expect(params);
            assert_eq!(rows.height(), height, "{params}");
            assert_eq!(rows.get_column_names(), names, "{params}");
        }
    }

    #[test]
    fn keys_of_several_columns_and_names() {
        let left = df!("a" => [1_i32, 1, 2], "b" => ["x", "y", "x"]).expect("a frame");
        let right = df!("c" => ["y", "x", "x"], "d" => [1_i64, 1, 2], "value" => [1, 2, 3])
            .expect("a frame");
        let join = stage::<Join>("{left_on: [a, b], right_on: [d, c], expect: one_to_one}");
        let rows = applied(&join, &[left, right]).expect("rows");
        let expected = df!("a" => [1_i32, 1, 2], "b" => ["x", "y", "x"], "value" => [2, 1, 3])
            .expect("a frame");
        assert!(rows.equals(&expected), "{rows}");
    }

    #[test]
    fn empty_and_single_rows() {
        let [left, right] = tables();
        for (rows, partners, expected) in [(0, 3, 0), (4, 0, 4), (1, 1, 1), (0, 0, 0)] {
            let inputs = [left.slice(0, rows), right.slice(0, partners)];
            let joined =
                applied(&stage::<Join>("{on: card, expect: one_to_one}"), &inputs).expect("rows");
            assert_eq!(joined.height(), expected);
        }
    }

    #[test]
    fn a_doubled_key_is_named() {
        let [left, right] = tables();
        let right = right.vstack(&right).expect("rows");
        let error = applied(
            &stage::<Join>("{on: card, expect: many_to_one}"),
            &[left.clone(), right.clone()],
        )
        .expect_err("doubled")
        .to_string();
        assert!(error.contains("`card` = \"ä\" in rows 1 and 4"), "{error}");
        assert_eq!(
            applied(&stage::<Join>("{on: card}"), &[left, right])
                .expect("rows")
                .height(),
            6
        );
    }

    #[test]
    fn types_and_roles_of_what_comes_in() {
        let mut left = schema([("id", DataType::Int64), ("label", DataType::Boolean)]);
        left.columns[1] = left.columns[1].clone().with_role(Role::Target);
        let mut right = schema([
            ("id", DataType::Int32),
            ("name", DataType::String),
            (PARTITION, DataType::String),
        ]);
        right.columns[1] = right.columns[1].clone().with_role(Role::Pii);
        right.columns[2].role = Role::Internal;
        let (output, problems) = checked("{on: id}", &[left, right]);
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(
            types(&output),
            [
                ("id", DataType::Int64),
                ("label", DataType::Boolean),
                ("name", DataType::String)
            ]
        );
        assert!(output.columns[2].from_pii.contains("name"));
    }

    #[test]
    fn both_types_are_told() {
        let datetime = |zone: Option<&str>| {
            DataType::Datetime(
                TimeUnit::Microseconds,
                polars::prelude::TimeZone::opt_try_new(zone).expect("a zone"),
            )
        };
        let left = schema([
            ("id", DataType::Int64),
            ("at", datetime(None)),
            ("share", DataType::Float64),
            ("day", DataType::Date),
        ]);
        let right = schema([
            ("id", DataType::String),
            ("at", datetime(Some("UTC"))),
            ("share", DataType::Float64),
            ("day", datetime(None)),
        ]);
        let (_, problems) = checked("{on: [id, at, share, day]}", &[left, right]);
        let messages: Vec<&str> = problems
            .iter()
            .map(|problem| problem.message.as_str())
            .collect();
        assert_eq!(
            messages[0],
            "stage `this` compares `id` of the left input, which is i64, with `id` of the right, which is text"
        );
        assert!(
            messages[1].contains("datetime") && messages[1].contains("datetime[UTC]"),
            "{messages:?}"
        );
        assert!(messages[2].contains("needs keys of text"), "{messages:?}");
        assert!(
            messages[3].contains("which is date, with `day`"),
            "{messages:?}"
        );
        assert_eq!(problems[3].path, path!["on", 3]);
    }

    #[test]
    fn refuses_what_does_not_fit() {
        let left = schema([
            ("id", DataType::Int64),
            ("a", DataType::Int64),
            ("a_right", DataType::Int64),
        ]);
        let right = schema([
            ("id", DataType::Int64),
            ("a", DataType::Int64),
            ("b", DataType::Int64),
        ]);
        let inputs = [left, right];
        assert_eq!(codes("{}", &inputs), ["missing-param", "name-taken"]);
        assert_eq!(codes("{on: id}", &inputs), ["name-taken"]);
        assert_eq!(codes("{on: id, prefix: r_}", &inputs), [""; 0]);
        assert_eq!(
            codes("{on: [b, id, id], prefix: r_}", &inputs),
            ["unknown-column", "duplicate-name"]
        );
        assert_eq!(
            codes("{on: id, left_on: id, select: b}", &inputs),
            ["contradicting-params"]
        );
        assert_eq!(
            codes("{left_on: id, select: b}", &inputs),
            ["missing-param"]
        );
        assert_eq!(
            codes("{left_on: id, right_on: [id, b], select: b}", &inputs),
            ["wrong-count"]
        );
        assert_eq!(
            codes("{on: id, how: semi, select: b}", &inputs),
            ["contradicting-params"]
        );
        assert_eq!(
            codes("{on: id, select: [b, b, c]}", &inputs),
            ["duplicate-name", "unknown-column"]
        );
        let (_, problems) = checked("{left_on: a, right_on: c, select: b}", &inputs);
        assert_eq!(
            problems[0].message,
            "stage `this` reads `c`, which the right input does not have"
        );
        assert_eq!(problems[0].notes, ["the right input has `id`, `a`, `b`"]);
        let mut named = inputs.clone();
        named[1].facts.stage = "cards".into();
        let (_, problems) = checked("{left_on: a, right_on: c, select: b}", &named);
        assert_eq!(
            problems[0].message,
            "stage `this` reads `c`, which `cards` does not have"
        );
        let mut split = inputs.clone();
        split[0]
            .columns
            .push(taktline_core::Column::new(PARTITION, DataType::String));
        assert_eq!(
            codes("{on: id, how: full, select: b}", &split),
            ["no-partition"]
        );
    }

    #[test]
    fn runs_in_a_pipeline() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("sales.csv"), "store,units\n2,5\n1,7\n").expect("a file");
        std::fs::write(
            folder.path().join("stores.csv"),
            "store,city\n1,Köln\n2,Bonn\n",
        )
        .expect("a file");
        let yaml = "pipeline: sales\nstages:\n  - source.csv: {path: stores.csv}\n    id: stores\n  - source.csv: {path: sales.csv}\n    id: sales\n  - features.join: {on: store, expect: many_to_one}\n    from: [sales, stores]\n";
        let rows = run(yaml, folder.path()).expect("rows");
        let cities: Vec<Option<&str>> = rows
            .column("city")
            .expect("city")
            .str()
            .expect("text")
            .iter()
            .collect();
        assert_eq!(cities, [Some("Bonn"), Some("Köln")]);
    }
}
