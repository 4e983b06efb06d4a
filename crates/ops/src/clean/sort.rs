//! `clean.sort`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taktline_core::{
    CheckContext, Operation, Problem, Relational, Result, Schema, Shape, SortKey, Stage, path,
    register_kind,
};

use crate::columns;

/// Put the rows in order.
///
/// Rows that are equal in all keys keep their order. Null comes last, in whatever direction, unless `nulls` says otherwise;
/// not a number is larger than every number. Text is put in the order of its characters' code points: capitals before small
/// letters.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Sort {
    /// The columns to sort by, the most important first: a name, or `{column: amount, descending: true}`.
    by: Keys,
    /// Largest first, for keys that do not say so themselves.
    #[serde(default)]
    descending: bool,
    /// Where rows without a value go, for keys that do not say so themselves.
    #[serde(default)]
    nulls: Nulls,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Nulls {
    /// Before all others.
    First,
    /// After all others.
    #[default]
    Last,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Keys {
    /// A key.
    One(Key),
    /// Keys.
    Many(#[schemars(length(min = 1))] Vec<Key>),
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Key {
    /// A column.
    Column(String),
    /// A column with a direction of its own.
    Directed(Directed),
}

/// A column with a direction of its own.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Directed {
    /// The column.
    column: String,
    /// Largest first; default: as the stage says.
    descending: Option<bool>,
    /// Where rows without a value go; default: as the stage says.
    nulls: Option<Nulls>,
}

register_kind! {
    Sort, "clean.sort", version: 1,
    example: "- clean.sort: {by: [account, {column: at, descending: true, nulls: first}]}",
}

impl Sort {
    fn keys(&self) -> Vec<SortKey> {
        let keys = match &self.by {
            Keys::One(key) => std::slice::from_ref(key),
            Keys::Many(keys) => keys,
        };
        keys.iter()
            .map(|key| match key {
                Key::Column(column) => SortKey {
                    column: column.clone(),
                    descending: self.descending,
                    nulls_first: self.nulls == Nulls::First,
                },
                Key::Directed(key) => SortKey {
                    column: key.column.clone(),
                    descending: key.descending.unwrap_or(self.descending),
                    nulls_first: key.nulls.unwrap_or(self.nulls) == Nulls::First,
                },
            })
            .collect()
    }
}

impl Stage for Sort {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let input = columns::input(inputs);
        let keys = self.keys();
        for (index, key) in keys.iter().enumerate() {
            let path = match self.by {
                Keys::One(_) => path!["by"],
                Keys::Many(_) => path!["by", index],
            };
            if keys[..index]
                .iter()
                .any(|before| before.column == key.column)
            {
                let message = format!("stage `{}` names `{}` twice", cx.stage, key.column);
                cx.report(Problem::error("duplicate-name", path, message).label("named before"));
                continue;
            }
            if let Some(column) = columns::find(input, &key.column, path.clone(), cx)
                && column.dtype.is_nested()
            {
                columns::report_type(column, "columns that have an order", path, cx);
            }
        }
        input.clone()
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Relational(self)
    }
}

impl Relational for Sort {
    fn lower(&self, _: &[Schema]) -> Result<Vec<Operation>> {
        Ok(vec![Operation::Sort(self.keys())])
    }
}

#[cfg(test)]
mod tests {
    use polars::{df, prelude::DataType};

    use super::*;
    use crate::{
        columns::testing::{codes, passes, schema, stage},
        testing::applied,
    };

    fn key(column: &str, descending: bool, nulls_first: bool) -> SortKey {
        SortKey {
            column: column.into(),
            descending,
            nulls_first,
        }
    }

    #[test]
    fn each_key_may_have_its_direction() {
        let input = schema([("account", DataType::String), ("at", DataType::Date)]);
        let sort: Sort =
            stage("{by: [account, {column: at, descending: false}], descending: true}");
        assert_eq!(passes(&sort, &input), input);
        let operations = sort.lower(&[input]).expect("operations");
        let [Operation::Sort(keys)] = &operations[..] else {
            panic!("{operations:?}")
        };
        assert_eq!(
            *keys,
            [key("account", true, false), key("at", false, false)]
        );
        assert_eq!(stage::<Sort>("{by: at}").keys(), [key("at", false, false)]);
        assert_eq!(
            stage::<Sort>(
                "{by: [at, {column: account, nulls: last}], nulls: first, descending: true}"
            )
            .keys(),
            [key("at", true, true), key("account", true, false)]
        );
    }

    #[test]
    fn nulls_go_where_they_are_told() {
        let rows =
            df!("a" => [Some(1.0), None, Some(f64::NAN), Some(2.0)], "id" => [1_i64, 2, 3, 4])
                .expect("a frame");
        for (params, expected) in [
            ("{by: a}", [1, 4, 3, 2]),
            ("{by: a, nulls: first}", [2, 1, 4, 3]),
            ("{by: a, descending: true}", [3, 4, 1, 2]),
            (
                "{by: {column: a, nulls: first}, descending: true}",
                [2, 3, 4, 1],
            ),
        ] {
            let sorted =
                applied(&stage::<Sort>(params), std::slice::from_ref(&rows)).expect("rows");
            let ids: Vec<i64> = sorted
                .column("id")
                .expect("ids")
                .i64()
                .expect("integers")
                .into_no_null_iter()
                .collect();
            assert_eq!(ids, expected, "{params}");
        }
    }

    #[test]
    fn refuses_what_has_no_order() {
        let input = schema([("image", DataType::Array(Box::new(DataType::UInt8), 4))]);
        assert_eq!(
            codes(&stage::<Sort>("{by: image}"), &input),
            ["type-mismatch"]
        );
        assert_eq!(
            codes(&stage::<Sort>("{by: [at]}"), &input),
            ["unknown-column"]
        );
        let input = schema([("at", DataType::Date)]);
        assert_eq!(
            codes(
                &stage::<Sort>("{by: [at, {column: at, descending: true}]}"),
                &input
            ),
            ["duplicate-name"]
        );
    }
}
