//! What a source asks of a database, and the columns that come of it.

use std::path::Path;

use polars::prelude::DataType;
use taktline_core::{Result, did_you_mean, type_name};

use super::{
    Access, Address, Connection, Failure, Place, QueryColumn, Value, catalogue,
    connection::{Described, Readable, Wire},
    mysql,
    parts::{Folder, folder_of},
    postgres,
    sqlite::{self, SAMPLE_ROWS},
    wait,
};
use crate::column_type::ColumnType;

/// What to read, and from where.
#[derive(Debug)]
pub(crate) struct Request<'p> {
    pub(crate) address: &'p Address,
    /// The query.
    pub(crate) sql: &'p str,
    /// Declared types.
    pub(crate) declared: &'p [(String, ColumnType)],
    /// The column that orders incremental reads.
    pub(crate) watermark: Option<&'p str>,
    /// Rows that are in memory at a time.
    pub(crate) batch_rows: usize,
}

impl Request<'_> {
    /// The columns that the query gives.
    ///
    /// # Errors
    /// Every problem of them; only the first where the database does not answer.
    pub(crate) fn columns(&self) -> Result<Vec<QueryColumn>, Vec<Failure>> {
        let looking = async {
            let mut connection = Connection::open(self.address, Access::Read)
                .await
                .map_err(|failure| vec![failure])?;
            let columns = self.settled_columns(&mut connection).await;
            connection.close().await;
            columns
        };
        wait(looking).unwrap_or_else(|error| Err(vec![Failure::system(error)]))
    }

    /// Names everything that the rows depend on, besides the database's content.
    fn identity(&self) -> String {
        const LAYOUT: u32 = 1;
        format!(
            "{LAYOUT}\n{}\n{}\n{:?}\n{:?}",
            self.address.identity(),
            self.sql,
            self.declared,
            self.watermark
        )
    }

    pub(super) fn folder(&self, fetched: &Path) -> Result<Folder> {
        Folder::open(folder_of(fetched, &self.identity()))
    }

    /// Forgets what earlier incremental reads found.
    pub(crate) fn forget(&self, fetched: &Path) -> Result<()> {
        let folder = self.folder(fetched)?;
        let _turn = folder.turn()?;
        folder.forget()
    }

    pub(super) async fn settled_columns(
        &self,
        connection: &mut Connection,
    ) -> Result<Vec<QueryColumn>, Vec<Failure>> {
        let described = match connection.describe(self.sql, self.address).await {
            Ok(described) => described,
            Err(failure) => return Err(vec![suggested(failure, connection).await]),
        };
        let mut failures = self.unknown_names(&described);
        let sampled = self
            .sampled(connection, &described)
            .await
            .map_err(|failure| vec![failure])?;
        let mut columns: Vec<QueryColumn> = Vec::with_capacity(described.len());
        for (index, column) in described.into_iter().enumerate() {
            if columns.iter().any(|before| before.name == column.name) {
                failures.push(
                    Failure::new(
                        "duplicate-name",
                        Place::Query,
                        format!("the query gives two columns `{}`", column.name),
                    )
                    .help("name one of them otherwise, with `as`"),
                );
                continue;
            }
            match self.settled(column, sampled.get(index).cloned().flatten()) {
                Ok(column) => columns.push(column),
                Err(failure) => failures.push(failure),
            }
        }
        if failures.is_empty() {
            failures.extend(self.unfit_watermark(&columns));
        }
        if failures.is_empty() {
            Ok(columns)
        } else {
            Err(failures)
        }
    }

    fn declared_type(&self, column: &str) -> Option<ColumnType> {
        let declared = self.declared.iter().find(|(name, _)| name == column);
        declared.map(|(_, declared)| *declared)
    }

    fn unknown_names(&self, described: &[Described]) -> Vec<Failure> {
        let known = || described.iter().map(|column| column.name.as_str());
        let missing = |name: &&String| known().all(|column| column != *name);
        self.declared
            .iter()
            .map(|(name, _)| name)
            .filter(missing)
            .map(|name| {
                let failure = Failure::new(
                    "unknown-column",
                    Place::Declared(name.clone()),
                    format!("the query gives no column `{name}`, which `schema` declares"),
                )
                .label("not in the database");
                match did_you_mean(name, known()) {
                    Some(help) => failure.help(help),
                    None => failure,
                }
            })
            .collect()
    }

    /// The types of columns for which SQLite declares none, told by the values in the first rows.
    async fn sampled(
        &self,
        connection: &mut Connection,
        described: &[Described],
    ) -> Result<Vec<Option<DataType>>, Failure> {
        let is_open = |column: &Described| {
            matches!(column.readable, Readable::Undeclared(_))
                && self.declared_type(&column.name).is_none()
        };
        if !described.iter().any(is_open) {
            return Ok(Vec::new());
        }
        let mut seen: Vec<Vec<DataType>> = vec![Vec::new(); described.len()];
        let sql = format!(
            "select * from (\n{}\n) limit {SAMPLE_ROWS}",
            without_end(self.sql)
        );
        connection
            .each_row(&sql, self.address, &mut |row| {
                for (index, types) in seen.iter_mut().enumerate() {
                    let value = row.value(index, Wire::Sqlite).unwrap_or(Value::Null);
                    types.extend(sqlite::type_of(&value));
                }
                Ok(())
            })
            .await
            .map_err(|error| Failure::new("bad-query", Place::Query, error.to_string()))?;
        Ok(seen.into_iter().map(sqlite::common_type).collect())
    }

    fn settled(
        &self,
        column: Described,
        sampled: Option<DataType>,
    ) -> Result<QueryColumn, Failure> {
        let declared = self.declared_type(&column.name);
        let (dtype, wire) = match (column.readable, declared) {
            (Readable::Undeclared(wire), Some(declared)) => (declared.data_type(), wire),
            (Readable::Undeclared(wire), None) => match sampled {
                Some(dtype) => (dtype, wire),
                None => {
                    return Err(Failure::new(
                        "unknown-type",
                        Place::Query,
                        format!(
                            "the type of `{}` cannot be told: SQLite declares none, and its values do not agree on one",
                            column.name
                        ),
                    )
                    .help(format!("declare it: `schema: {{{}: f64}}`", column.name)));
                }
            },
            (Readable::No(help), _) => {
                return Err(Failure::new(
                    "unsupported-type",
                    Place::Query,
                    format!(
                        "`{}` is of the type `{}`, which cannot be read",
                        column.name, column.database_type
                    ),
                )
                .help(help));
            }
            (Readable::As(dtype, wire), None) => (dtype, wire),
            (Readable::As(dtype, wire), Some(declared)) => {
                if !can_read_as(&dtype, wire, declared) {
                    return Err(Failure::new(
                        "type-mismatch",
                        Place::Declared(column.name.clone()),
                        format!(
                            "`{}` is of the type `{}`, which cannot be read as {}",
                            column.name,
                            column.database_type,
                            type_name(&declared.data_type())
                        ),
                    )
                    .label(format!("this is {} in the database", type_name(&dtype)))
                    .help("leave it out here, and change it with `clean.cast` or in the query"));
                }
                (declared.data_type(), wire)
            }
        };
        Ok(QueryColumn {
            name: column.name,
            database_type: column.database_type,
            dtype,
            wire,
        })
    }

    fn unfit_watermark(&self, columns: &[QueryColumn]) -> Option<Failure> {
        let name = self.watermark?;
        let Some(column) = columns.iter().find(|column| column.name == name) else {
            let failure = Failure::new(
                "unknown-column",
                Place::Watermark,
                format!("the query gives no column `{name}` to order reads by"),
            );
            let known = columns.iter().map(|column| column.name.as_str());
            return Some(match did_you_mean(name, known) {
                Some(help) => failure.help(help),
                None => failure,
            });
        };
        let is_ordered = column.dtype.is_integer()
            || matches!(column.dtype, DataType::Date | DataType::Datetime(..));
        // A number that is kept as a decimal is compared as one.
        let is_decimal = matches!(
            column.wire,
            Wire::Postgres(postgres::Wire::Numeric) | Wire::MySql(mysql::Wire::Decimal)
        );
        (!is_ordered || is_decimal).then(|| {
            Failure::new(
                "type-mismatch",
                Place::Watermark,
                format!(
                    "`{name}` is {} (`{}`), and a watermark is a date, a datetime or a whole number that grows",
                    type_name(&column.dtype),
                    column.database_type
                ),
            )
            .label(format!("this is {}", type_name(&column.dtype)))
        })
    }
}

/// With the name of a table that is nearly the one that is missing.
async fn suggested(failure: Failure, connection: &mut Connection) -> Failure {
    if failure.code != "unknown-table" || failure.help.is_some() {
        return failure;
    }
    // After an error PostgreSQL hears nothing more in the same transaction.
    if let Connection::Postgres(connection) = connection {
        let _ = sqlx::raw_sql("rollback").execute(connection).await;
    }
    let wanted = failure
        .message
        .split(['"', '\'', '`'])
        .nth(1)
        .unwrap_or_default()
        .rsplit('.')
        .next()
        .unwrap_or_default()
        .to_owned();
    let names = catalogue::names(connection).await.unwrap_or_default();
    match did_you_mean(&wanted, names.iter().map(String::as_str)) {
        Some(help) => failure.help(help),
        None => failure,
    }
}

/// Whether values that are of this type in the database can be read as the declared one without loss or guessing.
fn can_read_as(dtype: &DataType, wire: Wire, declared: ColumnType) -> bool {
    use ColumnType as To;
    if *dtype == declared.data_type() {
        return true;
    }
    let is_decimal = matches!(
        wire,
        Wire::Postgres(postgres::Wire::Numeric) | Wire::MySql(mysql::Wire::Decimal)
    );
    let to_whole = declared.data_type().is_integer();
    let to_float = declared.data_type().is_float();
    match dtype {
        // A value of SQLite says itself what it is.
        _ if wire == Wire::Sqlite => true,
        DataType::Boolean => to_whole || declared == To::Text,
        whole if whole.is_integer() => {
            to_whole || to_float || matches!(declared, To::Text | To::Bool)
        }
        float if float.is_float() => to_float || declared == To::Text || (is_decimal && to_whole),
        DataType::Date => matches!(declared, To::Datetime | To::Text),
        DataType::Datetime(..) => matches!(declared, To::Datetime | To::Text),
        DataType::Time => declared == To::Text,
        _ => false,
    }
}

/// A query as a part of another.
pub(super) fn without_end(sql: &str) -> &str {
    sql.trim().trim_end_matches(';')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declared_types_lose_nothing() {
        let postgres = Wire::Postgres(postgres::Wire::Int4);
        let decimal = Wire::Postgres(postgres::Wire::Numeric);
        assert!(can_read_as(&DataType::Int32, postgres, ColumnType::I64));
        assert!(can_read_as(&DataType::Int32, postgres, ColumnType::Text));
        assert!(can_read_as(&DataType::Float64, decimal, ColumnType::I64));
        assert!(!can_read_as(
            &DataType::Float64,
            Wire::Postgres(postgres::Wire::Float8),
            ColumnType::I64
        ));
        assert!(!can_read_as(
            &DataType::String,
            Wire::Postgres(postgres::Wire::Text),
            ColumnType::F64
        ));
        assert!(can_read_as(
            &DataType::String,
            Wire::Sqlite,
            ColumnType::F64
        ));
    }
}
