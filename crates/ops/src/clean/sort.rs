//! `clean.sort`.

use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::{
    CheckContext, Operation, Relational, Result, Schema, Shape, SortKey, Stage, path, register_kind,
};

use crate::columns;

/// Put the rows in order.
///
/// Rows that are equal in all keys keep their order; null comes last.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Sort {
    /// The columns to sort by, the most important first: a name, or `{column: amount, descending: true}`.
    by: Keys,
    /// Largest first, for keys that do not say so themselves.
    #[serde(default)]
    descending: bool,
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
    /// Largest first.
    descending: bool,
}

register_kind! {
    Sort, "clean.sort", version: 1,
    example: "- clean.sort: {by: [account, {column: at, descending: true}]}",
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
                },
                Key::Directed(key) => SortKey {
                    column: key.column.clone(),
                    descending: key.descending,
                },
            })
            .collect()
    }
}

impl Stage for Sort {
    fn check(&self, inputs: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
        let input = columns::input(inputs);
        for (index, key) in self.keys().iter().enumerate() {
            let path = match self.by {
                Keys::One(_) => path!["by"],
                Keys::Many(_) => path!["by", index],
            };
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
    use polars::prelude::DataType;

    use super::*;
    use crate::columns::testing::{codes, passes, schema, stage};

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
            [
                SortKey {
                    column: "account".into(),
                    descending: true
                },
                SortKey {
                    column: "at".into(),
                    descending: false
                }
            ]
        );
        assert_eq!(
            stage::<Sort>("{by: at}").keys(),
            [SortKey {
                column: "at".into(),
                descending: false
            }]
        );
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
    }
}
