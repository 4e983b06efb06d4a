//! Tables: their names, and what is known of those that are there.

use std::borrow::Cow;

use polars::prelude::DataType;
use schemars::{JsonSchema, SchemaGenerator, json_schema};
use serde::Deserialize;
use taktline_core::type_name;

use super::{Address, address::Target};

/// A dialect of SQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Postgres,
    MySql,
    Sqlite,
}

impl Address {
    pub(super) fn dialect(&self) -> Dialect {
        match self.target {
            Target::Postgres(_) => Dialect::Postgres,
            Target::MySql(_) => Dialect::MySql,
            Target::Sqlite { .. } => Dialect::Sqlite,
        }
    }
}

impl Dialect {
    /// A name, whatever is in it.
    pub(super) fn quoted(self, name: &str) -> String {
        match self {
            Self::MySql => format!("`{}`", name.replace('`', "``")),
            Self::Postgres | Self::Sqlite => format!("\"{}\"", name.replace('"', "\"\"")),
        }
    }

    /// Names, one after the other.
    pub(super) fn list<'n>(self, names: impl IntoIterator<Item = &'n str>) -> String {
        let names: Vec<String> = names.into_iter().map(|name| self.quoted(name)).collect();
        names.join(", ")
    }

    /// A text constant.
    pub(super) fn text(self, text: &str) -> String {
        let text = text.replace('\'', "''");
        match self {
            Self::MySql => format!("'{}'", text.replace('\\', "\\\\")),
            Self::Postgres | Self::Sqlite => format!("'{text}'"),
        }
    }

    /// Longer names are cut by the database without a word.
    pub(super) fn longest_name(self) -> usize {
        match self {
            Self::Postgres => 63,
            Self::MySql => 64,
            Self::Sqlite => usize::MAX,
        }
    }
}

/// A table's name, with its schema in front where it has one: `orders`, `sales.orders`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(crate) struct TableName(String);

impl JsonSchema for TableName {
    fn schema_name() -> Cow<'static, str> {
        "TableName".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> schemars::Schema {
        json_schema!({"type": "string", "minLength": 1})
    }
}

impl std::fmt::Display for TableName {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl TableName {
    pub(super) fn schema_and_name(&self) -> (Option<&str>, &str) {
        match self.0.split_once('.') {
            Some((schema, name)) => (Some(schema), name),
            None => (None, &self.0),
        }
    }

    /// As it stands in a statement.
    pub(super) fn quoted(&self, dialect: Dialect) -> String {
        match self.schema_and_name() {
            (Some(schema), name) => format!("{}.{}", dialect.quoted(schema), dialect.quoted(name)),
            (None, name) => dialect.quoted(name),
        }
    }

    /// Another table in the same schema.
    pub(super) fn sibling(&self, name: &str) -> Self {
        match self.schema_and_name() {
            (Some(schema), _) => Self(format!("{schema}.{name}")),
            (None, _) => Self(name.to_owned()),
        }
    }

    /// Without its schema.
    pub(super) fn name(&self) -> &str {
        self.schema_and_name().1
    }

    /// Everything in it.
    pub(crate) fn select(&self, address: &Address) -> String {
        format!("select * from {}", self.quoted(address.dialect()))
    }
}

/// A column of a table that is there.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TableColumn {
    pub(super) name: String,
    /// The database's own name of the type.
    pub(super) database_type: String,
    pub(super) holds: Holds,
    /// Neither null nor a default stands in where a row brings no value.
    pub(super) is_required: bool,
    /// The database makes its values itself, always.
    pub(super) is_generated: bool,
}

/// What a column takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    Bool,
    Whole,
    Number,
    Text,
    Bytes,
    Date,
    Time,
    Instant,
    /// SQLite takes anything where nothing is declared.
    Anything,
    Other,
}

impl TableColumn {
    /// Whether values of this type can be written there; a number that is too large is found as it is written.
    pub(super) fn takes(&self, dtype: &DataType, dialect: Dialect) -> bool {
        let is_text = matches!(
            dtype,
            DataType::String | DataType::Categorical(..) | DataType::Enum(..)
        );
        match self.holds {
            Holds::Bool => *dtype == DataType::Boolean,
            Holds::Whole => {
                // MySQL's `boolean` is a small whole number.
                dtype.is_integer() || (dialect != Dialect::Postgres && *dtype == DataType::Boolean)
            }
            Holds::Number => dtype.is_primitive_numeric() || matches!(dtype, DataType::Decimal(..)),
            Holds::Text => is_text,
            Holds::Bytes => *dtype == DataType::Binary,
            Holds::Date => *dtype == DataType::Date,
            Holds::Time => *dtype == DataType::Time,
            Holds::Instant => matches!(dtype, DataType::Datetime(..)),
            Holds::Anything => true,
            Holds::Other => false,
        }
    }
}

/// What is known of a table.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Table {
    pub(super) columns: Vec<TableColumn>,
    /// The columns of each unique key.
    pub(super) keys: Vec<Vec<String>>,
}

impl Table {
    /// Whether these columns tell the table's rows apart.
    pub(super) fn has_key(&self, columns: &[String]) -> bool {
        let mut wanted = columns.to_vec();
        wanted.sort();
        self.keys.iter().any(|key| {
            let mut key = key.clone();
            key.sort();
            key == wanted
        })
    }
}

/// The type that a new column is given; none for types that no column holds.
pub(super) fn new_column_type(dialect: Dialect, dtype: &DataType, is_key: bool) -> Option<String> {
    use DataType as Type;
    use Dialect::{MySql, Postgres, Sqlite};
    let name = match (dtype, dialect) {
        (Type::Boolean, _) => "boolean",
        (Type::Int8, MySql) => "tinyint",
        (Type::UInt8, MySql) => "tinyint unsigned",
        (Type::UInt16, MySql) => "smallint unsigned",
        (Type::UInt32, MySql) => "int unsigned",
        (Type::UInt64, MySql) => "bigint unsigned",
        (Type::UInt64, Postgres) => "numeric(20, 0)",
        (Type::UInt64, Sqlite) => "bigint",
        (Type::Int8 | Type::Int16 | Type::UInt8, _) => "smallint",
        (Type::Int32 | Type::UInt16, _) => "integer",
        (Type::Int64 | Type::UInt32, _) => "bigint",
        (Type::Float32, MySql) => "float",
        (Type::Float32, Postgres | Sqlite) => "real",
        (Type::Float64, MySql) => "double",
        (Type::Float64, Postgres | Sqlite) => "double precision",
        (Type::Decimal(precision, scale), _) => {
            return Some(format!("decimal({precision}, {scale})"));
        }
        // A key of MySQL needs an upper bound.
        (Type::String | Type::Categorical(..) | Type::Enum(..), MySql) if is_key => "varchar(255)",
        (Type::String | Type::Categorical(..) | Type::Enum(..), MySql) => "longtext",
        (Type::String | Type::Categorical(..) | Type::Enum(..) | Type::Null, _) => "text",
        (Type::Binary, Postgres) => "bytea",
        (Type::Binary, MySql) if is_key => "varbinary(255)",
        (Type::Binary, MySql) => "longblob",
        (Type::Binary, Sqlite) => "blob",
        (Type::Date, _) => "date",
        (Type::Time, MySql) => "time(6)",
        (Type::Time, Postgres | Sqlite) => "time",
        (Type::Datetime(_, Some(_)), Postgres) => "timestamp with time zone",
        (Type::Datetime(..), Postgres) => "timestamp",
        (Type::Datetime(..), MySql) => "datetime(6)",
        (Type::Datetime(..), Sqlite) => "datetime",
        _ => return None,
    };
    Some(name.to_owned())
}

/// The statement that gives a table a column for values of this type.
pub(super) fn add_column(
    name: &TableName,
    column: &str,
    dtype: &DataType,
    dialect: Dialect,
) -> String {
    let new_type = new_column_type(dialect, dtype, false).unwrap_or_else(|| type_name(dtype));
    format!(
        "alter table {} add column {} {new_type}",
        name.quoted(dialect),
        dialect.quoted(column)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> TableName {
        TableName(text.to_owned())
    }

    #[test]
    fn names_are_quoted_whatever_is_in_them() {
        assert_eq!(
            name("sales.orders").quoted(Dialect::Postgres),
            "\"sales\".\"orders\""
        );
        assert_eq!(name("or`ders").quoted(Dialect::MySql), "`or``ders`");
        assert_eq!(
            name("a\"; drop table b; --").quoted(Dialect::Sqlite),
            "\"a\"\"; drop table b; --\""
        );
        assert_eq!(
            name("sales.orders")
                .sibling("log")
                .quoted(Dialect::Postgres),
            "\"sales\".\"log\""
        );
        assert_eq!(Dialect::Postgres.text("it's \\"), "'it''s \\'");
        assert_eq!(Dialect::MySql.text("it's \\"), "'it''s \\\\'");
    }

    #[test]
    fn a_key_is_a_set_of_columns() {
        let table = Table {
            columns: Vec::new(),
            keys: vec![vec!["b".into(), "a".into()]],
        };
        assert!(table.has_key(&["a".into(), "b".into()]));
        assert!(!table.has_key(&["a".into()]));
    }
}
