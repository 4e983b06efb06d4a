//! Reading a query's rows into files, all of them or those that are new.

use std::{cmp::Ordering, path::Path};

use taktline_core::{Error, Result, type_name};

use super::{
    Access, Connection, Failure, Fetched, QueryColumn, Request, Value,
    arrow::Batch,
    connection::{Cells, Wire},
    parts::{Folder, Part, PartWriter, Progress, Watermark},
    request::without_end,
    table::Dialect,
    value::{date_text, timestamp_text},
    wait,
};

/// Reads the rows into files below `fetched`: all of them, or, with a watermark, those that are newer than the newest so far.
///
/// # Errors
/// What the database says, and the first value that does not fit, by row and column. Earlier reads stay as they were.
pub(crate) fn fetch(request: &Request<'_>, fetched: &Path) -> Result<Fetched> {
    let folder = request.folder(fetched)?;
    let reading = async {
        let mut connection = Connection::open(request.address, Access::Read)
            .await
            .map_err(Failure::into_error)?;
        let read = match request.watermark {
            None => read_all(request, &mut connection, &folder).await,
            Some(column) => read_new(request, column, &mut connection, &folder).await,
        };
        connection.close().await;
        read
    };
    wait(reading).unwrap_or_else(|error| Err(Failure::system(error).into_error()))
}

async fn columns(request: &Request<'_>, connection: &mut Connection) -> Result<Vec<QueryColumn>> {
    let settled = request.settled_columns(connection).await;
    settled.map_err(|failures| {
        failures.into_iter().next().map_or_else(
            || Error::data("the query cannot be read"),
            Failure::into_error,
        )
    })
}

async fn read_all(
    request: &Request<'_>,
    connection: &mut Connection,
    folder: &Folder,
) -> Result<Fetched> {
    let columns = columns(request, connection).await?;
    let mut reading = Reading::new(request, &columns, folder, None)?;
    reading.run(connection, request.sql).await?;
    let (part, _) = reading.finish()?;
    Ok(folder.fetched(&[part]))
}

async fn read_new(
    request: &Request<'_>,
    watermark: &str,
    connection: &mut Connection,
    folder: &Folder,
) -> Result<Fetched> {
    let _turn = folder.turn()?;
    let columns = columns(request, connection).await?;
    let names_and_types: Vec<(String, String)> = columns
        .iter()
        .map(|column| (column.name.clone(), type_name(&column.dtype)))
        .collect();
    // Other columns than before make other rows: all are read again.
    let before = folder
        .progress()
        .filter(|progress| progress.columns == names_and_types);
    let column = columns
        .iter()
        .find(|column| column.name == watermark)
        .ok_or_else(|| Error::data(format!("the query gives no column `{watermark}`")))?;
    let sql = match before
        .as_ref()
        .and_then(|progress| progress.watermark.as_ref())
    {
        Some(newest) => newer_than(request, column, newest)?,
        None => request.sql.to_owned(),
    };
    let mut reading = Reading::new(request, &columns, folder, Some(watermark))?;
    reading.newest = before
        .as_ref()
        .and_then(|progress| progress.watermark.clone());
    reading.run(connection, &sql).await?;
    let mut progress = before.unwrap_or(Progress {
        columns: names_and_types,
        watermark: None,
        parts: Vec::new(),
    });
    // The first read leaves a part even of no rows: it holds the columns.
    if reading.part.rows() + reading.pending() > 0 || progress.parts.is_empty() {
        let (part, newest) = reading.finish()?;
        // Where the rows so far were none, their empty part has done its work.
        progress.parts.retain(|before| before.rows > 0);
        progress.parts.push(part);
        progress.watermark = newest;
        folder.commit(&progress)?;
    }
    Ok(folder.fetched(&progress.parts))
}

/// The query for the rows after the newest one; those without a value come too, to be refused.
fn newer_than(request: &Request<'_>, column: &QueryColumn, newest: &Watermark) -> Result<String> {
    let dialect = request.address.dialect();
    let far = || {
        Error::data(format!(
            "the newest value of `{}` is outside the years 1 to 9999",
            column.name
        ))
    };
    let is_instant = column.database_type == "timestamptz";
    let constant = match (newest, dialect) {
        (Watermark::Int(number), _) => format!("({number})"),
        (Watermark::UInt(number), _) => number.to_string(),
        (Watermark::Text(text), _) => dialect.text(text),
        (Watermark::Date(days), _) => format!("date '{}'", date_text(*days).ok_or_else(far)?),
        (Watermark::Timestamp(at), Dialect::Postgres) if is_instant => {
            format!("timestamptz '{}+00'", timestamp_text(*at).ok_or_else(far)?)
        }
        (Watermark::Timestamp(at), _) => {
            format!("timestamp '{}'", timestamp_text(*at).ok_or_else(far)?)
        }
    };
    let name = dialect.quoted(&column.name);
    Ok(format!(
        "select * from (\n{}\n) as takt_rows where {name} > {constant} or {name} is null",
        without_end(request.sql)
    ))
}

/// Rows on their way into a part.
struct Reading<'r> {
    request: &'r Request<'r>,
    columns: &'r [QueryColumn],
    batch: Batch,
    part: PartWriter,
    rows: u64,
    watermark: Option<usize>,
    newest: Option<Watermark>,
    pending: u64,
}

impl<'r> Reading<'r> {
    fn new(
        request: &'r Request<'r>,
        columns: &'r [QueryColumn],
        folder: &Folder,
        watermark: Option<&str>,
    ) -> Result<Self> {
        let batch = Batch::new(columns, request.batch_rows)?;
        let part = folder.part(batch.schema())?;
        Ok(Self {
            request,
            columns,
            batch,
            part,
            rows: 0,
            watermark: watermark
                .and_then(|name| columns.iter().position(|column| column.name == name)),
            newest: None,
            pending: 0,
        })
    }

    fn pending(&self) -> u64 {
        self.pending
    }

    async fn run(&mut self, connection: &mut Connection, sql: &str) -> Result<()> {
        let request = self.request;
        connection
            .each_row(sql, request.address, &mut |row| self.row(row))
            .await
    }

    fn row(&mut self, row: &dyn Cells) -> Result<()> {
        self.rows += 1;
        for (index, column) in self.columns.iter().enumerate() {
            let unfit = |reason: String| unfit_value(column, self.rows, &reason);
            let value = row.value(index, column.wire).map_err(unfit)?;
            if self.watermark == Some(index) {
                newest(&mut self.newest, &value).map_err(|reason| {
                    Error::data(format!(
                        "row {}: `{}` {reason}, and reads are ordered by it; leave such rows out in the query",
                        self.rows, column.name
                    ))
                })?;
            }
            self.batch.push(index, value).map_err(unfit)?;
        }
        self.pending += 1;
        if self.batch.end_row() {
            self.write()?;
        }
        Ok(())
    }

    fn write(&mut self) -> Result<()> {
        if let Some(batch) = self.batch.take()? {
            self.part.write(&batch)?;
        }
        self.pending = 0;
        Ok(())
    }

    fn finish(mut self) -> Result<(Part, Option<Watermark>)> {
        self.write()?;
        Ok((self.part.finish()?, self.newest))
    }
}

fn unfit_value(column: &QueryColumn, row: u64, reason: &str) -> Error {
    let help = match column.wire {
        Wire::Sqlite => {
            "; SQLite keeps what it is given: mend the value, cast it in the query, or declare `text` for the column under `schema`"
        }
        _ => "",
    };
    Error::data(format!("row {row}: `{}` {reason}{help}", column.name))
}

/// Notes the value if it is the largest so far.
fn newest(so_far: &mut Option<Watermark>, value: &Value<'_>) -> Result<(), String> {
    let next = match value {
        Value::Int(number) => Watermark::Int(*number),
        Value::UInt(number) => Watermark::UInt(*number),
        Value::Date(days) => Watermark::Date(*days),
        Value::Timestamp(at) => Watermark::Timestamp(*at),
        Value::Text(text) => {
            // Most texts are not the largest: compare before copying.
            if matches!(so_far, Some(Watermark::Text(largest)) if largest.as_str() >= text.as_ref())
            {
                return Ok(());
            }
            Watermark::Text(text.to_string())
        }
        Value::Null => return Err("has no value".to_owned()),
        other => return Err(format!("holds {other}")),
    };
    let is_larger = match so_far {
        None => true,
        Some(largest) => match next.partial_cmp(largest) {
            Some(order) if std::mem::discriminant(&next) == std::mem::discriminant(largest) => {
                order == Ordering::Greater
            }
            _ => {
                return Err(format!(
                    "holds {value}, which is of another type than before"
                ));
            }
        },
    };
    if is_larger {
        *so_far = Some(next);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_value_is_the_largest() {
        let mut so_far = None;
        for number in [3, 1, 7, 5] {
            newest(&mut so_far, &Value::Int(number)).expect("a number");
        }
        assert_eq!(so_far, Some(Watermark::Int(7)));
        assert_eq!(
            newest(&mut so_far, &Value::Null),
            Err("has no value".to_owned())
        );
        assert!(newest(&mut so_far, &Value::Text("2024-01-01".into())).is_err());
        let mut texts = None;
        for text in ["2024-01-02", "2024-01-10", "2024-01-03"] {
            newest(&mut texts, &Value::Text(text.into())).expect("text");
        }
        assert_eq!(texts, Some(Watermark::Text("2024-01-10".into())));
    }
}
