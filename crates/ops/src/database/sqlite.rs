//! SQLite's types: what is declared for a column, and values that each have a type of their own.

use polars::prelude::{DataType, TimeUnit};
use sqlx::{
    AssertSqlSafe, Column as _, Decode, Executor, Row, SqlSafeStr, Sqlite, SqliteConnection,
    Statement, TypeInfo, ValueRef, sqlite::SqliteRow,
};

use super::{
    Value,
    connection::{Cells, Described, Readable, Wire},
};

/// Rows whose values tell the type of a column that has none declared.
pub(super) const SAMPLE_ROWS: usize = 1000;

/// The columns of a query's result with what is declared for them. No rows are read.
pub(super) async fn describe(
    connection: &mut SqliteConnection,
    sql: &str,
) -> sqlx::Result<Vec<Described>> {
    let statement = connection
        .prepare(AssertSqlSafe(sql.to_owned()).into_sql_str())
        .await?;
    let declared = declared_types(connection, sql).await?;
    Ok(statement
        .columns()
        .iter()
        .enumerate()
        .map(|(index, column)| {
            let declared = declared.get(index).map_or("", String::as_str);
            Described {
                name: column.name().to_owned(),
                database_type: match declared {
                    "" => "no declared type".to_owned(),
                    declared => declared.to_lowercase(),
                },
                readable: readable(declared),
            }
        })
        .collect())
}

/// A view's columns have the declared types of the columns that they come from; prepared statements do not tell those that
/// SQLite itself does not know, such as `DECIMAL(10, 2)`. The view is gone with the connection.
async fn declared_types(connection: &mut SqliteConnection, sql: &str) -> sqlx::Result<Vec<String>> {
    let view = format!(
        "create temp view takt_described as\n{}\n",
        sql.trim_end().trim_end_matches(';')
    );
    // What is no `select` (a pragma) has no declared types.
    if sqlx::raw_sql(AssertSqlSafe(view))
        .execute(&mut *connection)
        .await
        .is_err()
    {
        return Ok(Vec::new());
    }
    let rows =
        sqlx::query("select type from pragma_table_info('takt_described', 'temp') order by cid")
            .fetch_all(&mut *connection)
            .await?;
    let types = rows.iter().map(|row| row.try_get(0)).collect();
    sqlx::raw_sql("drop view temp.takt_described")
        .execute(&mut *connection)
        .await?;
    types
}

/// By the words that SQLite itself looks for, and those that other databases use.
/// See "Determination Of Column Affinity" in SQLite's "Datatypes In SQLite".
fn readable(declared: &str) -> Readable {
    let declared = declared.to_ascii_uppercase();
    let name = declared.split('(').next().unwrap_or_default().trim();
    let has = |words: &[&str]| words.iter().any(|word| name.contains(word));
    let dtype = match name {
        "BOOL" | "BOOLEAN" => DataType::Boolean,
        "DATE" => DataType::Date,
        "TIME" => DataType::Time,
        _ if name.starts_with("DATETIME") || name.starts_with("TIMESTAMP") => {
            DataType::Datetime(TimeUnit::Microseconds, None)
        }
        "UUID" | "JSON" => DataType::String,
        _ if has(&["INT"]) => DataType::Int64,
        _ if has(&["CHAR", "CLOB", "TEXT"]) => DataType::String,
        _ if has(&["REAL", "FLOA", "DOUB"]) || matches!(name, "NUMERIC" | "DECIMAL") => {
            DataType::Float64
        }
        // Of an expression nothing is known, and it then counts as `BLOB` or `NUM`.
        _ => return Readable::Undeclared(Wire::Sqlite),
    };
    Readable::As(dtype, Wire::Sqlite)
}

/// The type that holds all of these values; none where there are none or they differ.
pub(super) fn common_type(values: impl IntoIterator<Item = DataType>) -> Option<DataType> {
    values
        .into_iter()
        .try_fold(None, |so_far, next| match (so_far, next) {
            (None, next) => Some(Some(next)),
            (Some(so_far), next) if so_far == next => Some(Some(next)),
            (Some(DataType::Int64), DataType::Float64)
            | (Some(DataType::Float64), DataType::Int64) => Some(Some(DataType::Float64)),
            _ => None,
        })?
}

/// The type of a value by itself; none for null.
pub(super) fn type_of(value: &Value<'_>) -> Option<DataType> {
    match value {
        Value::Int(_) => Some(DataType::Int64),
        Value::Float(_) => Some(DataType::Float64),
        Value::Text(_) => Some(DataType::String),
        Value::Bytes(_) => Some(DataType::Binary),
        _ => None,
    }
}

impl Cells for SqliteRow {
    fn value(&self, index: usize, _: Wire) -> Result<Value<'_>, String> {
        let raw = self.try_get_raw(index).map_err(|error| error.to_string())?;
        if raw.is_null() {
            return Ok(Value::Null);
        }
        let info = raw.type_info().into_owned();
        let value = match info.name() {
            "INTEGER" => <i64 as Decode<Sqlite>>::decode(raw).map(Value::Int),
            "REAL" => <f64 as Decode<Sqlite>>::decode(raw).map(Value::Float),
            "TEXT" => <&str as Decode<Sqlite>>::decode(raw).map(|text| Value::Text(text.into())),
            _ => <&[u8] as Decode<Sqlite>>::decode(raw).map(|bytes| Value::Bytes(bytes.into())),
        };
        value.map_err(|_| "holds text that is not UTF-8".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dtype(declared: &str) -> Option<DataType> {
        match readable(declared) {
            Readable::As(dtype, _) => Some(dtype),
            _ => None,
        }
    }

    #[test]
    fn declared_types_are_read_loosely() {
        assert_eq!(dtype("UNSIGNED BIG INT"), Some(DataType::Int64));
        assert_eq!(dtype("varchar(20)"), Some(DataType::String));
        assert_eq!(dtype("DECIMAL(10, 2)"), Some(DataType::Float64));
        assert_eq!(dtype("double precision"), Some(DataType::Float64));
        assert_eq!(
            dtype("timestamp with time zone"),
            Some(DataType::Datetime(TimeUnit::Microseconds, None))
        );
        assert_eq!(dtype("date"), Some(DataType::Date));
        for unknown in ["", "NUM", "BLOB", "ANY", "STRING"] {
            assert_eq!(dtype(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn values_share_a_type_or_none() {
        use DataType::{Float64, Int64, String};
        assert_eq!(common_type([Int64, Int64]), Some(Int64));
        assert_eq!(common_type([Int64, Float64, Int64]), Some(Float64));
        assert_eq!(common_type([Int64, String]), None);
        assert_eq!(common_type([]), None);
    }
}
