//! What databases know of their tables.

use sqlx::{AssertSqlSafe, Row};

use super::{
    Address, Connection, Failure, TableName,
    failure::Doing,
    table::{Dialect, Holds, Table, TableColumn},
};

/// The table of that name; none where there is none.
pub(super) async fn look(
    connection: &mut Connection,
    name: &TableName,
    address: &Address,
) -> Result<Option<Table>, Failure> {
    let table = match connection {
        Connection::Postgres(connection) => look_in_postgres(connection, name).await,
        Connection::MySql(connection) => look_in_mysql(connection, name).await,
        Connection::Sqlite(connection) => look_in_sqlite(connection, name).await,
    };
    let table = table.map_err(|error| Failure::of(&error, address, Doing::Working))?;
    Ok(Some(table).filter(|table| !table.columns.is_empty()))
}

async fn look_in_postgres(
    connection: &mut sqlx::PgConnection,
    name: &TableName,
) -> sqlx::Result<Table> {
    const COLUMNS: &str = "
        select a.attname::text, format_type(a.atttypid, a.atttypmod), coalesce(b.typname, t.typname)::text,
            coalesce(b.typcategory, t.typcategory)::text,
            a.attnotnull and not (a.atthasdef or a.attidentity <> ''),
            a.attgenerated <> '' or a.attidentity = 'a'
        from pg_catalog.pg_attribute a
        join pg_catalog.pg_type t on t.oid = a.atttypid
        left join pg_catalog.pg_type b on b.oid = nullif(t.typbasetype, 0)
        where a.attrelid = to_regclass($1) and a.attnum > 0 and not a.attisdropped
        order by a.attnum";
    const KEYS: &str = "
        select array(
            select a.attname::text from pg_catalog.pg_attribute a
            where a.attrelid = i.indrelid and a.attnum = any((i.indkey::int2[])[0:i.indnkeyatts - 1])
        )
        from pg_catalog.pg_index i
        where i.indrelid = to_regclass($1) and i.indisunique and i.indimmediate and i.indpred is null and i.indexprs is null";
    let quoted = name.quoted(Dialect::Postgres);
    let mut columns = Vec::new();
    for row in sqlx::query(COLUMNS)
        .bind(&quoted)
        .fetch_all(&mut *connection)
        .await?
    {
        let (base, category): (String, String) = (row.try_get(2)?, row.try_get(3)?);
        let holds = match (base.as_str(), category.as_str()) {
            ("int2" | "int4" | "int8" | "oid", _) => Holds::Whole,
            ("numeric" | "float4" | "float8", _) => Holds::Number,
            ("date", _) => Holds::Date,
            ("timestamp" | "timestamptz", _) => Holds::Instant,
            ("time", _) => Holds::Time,
            ("bytea", _) => Holds::Bytes,
            ("uuid" | "json" | "jsonb" | "xml" | "inet" | "cidr" | "macaddr", _) => Holds::Text,
            (_, "B") => Holds::Bool,
            (_, "S" | "E") => Holds::Text,
            _ => Holds::Other,
        };
        columns.push(TableColumn {
            name: row.try_get(0)?,
            database_type: row.try_get(1)?,
            holds,
            is_required: row.try_get(4)?,
            is_generated: row.try_get(5)?,
        });
    }
    let mut keys = Vec::new();
    for row in sqlx::query(KEYS)
        .bind(&quoted)
        .fetch_all(&mut *connection)
        .await?
    {
        keys.push(row.try_get(0)?);
    }
    Ok(Table { columns, keys })
}

async fn look_in_mysql(
    connection: &mut sqlx::MySqlConnection,
    name: &TableName,
) -> sqlx::Result<Table> {
    // Names of the catalogue are bytes or text, depending on the server's version.
    const COLUMNS: &str = "
        select cast(column_name as char), cast(column_type as char), cast(data_type as char),
            is_nullable = 'NO' and column_default is null and extra not like '%auto_increment%',
            extra like '%GENERATED%'
        from information_schema.columns
        where table_schema = coalesce(?, database()) and table_name = ?
        order by ordinal_position";
    const KEYS: &str = "
        select cast(index_name as char), cast(column_name as char)
        from information_schema.statistics
        where table_schema = coalesce(?, database()) and table_name = ? and non_unique = 0
        order by index_name, seq_in_index";
    let (schema, table) = name.schema_and_name();
    let mut columns = Vec::new();
    for row in sqlx::query(COLUMNS)
        .bind(schema)
        .bind(table)
        .fetch_all(&mut *connection)
        .await?
    {
        let data_type: String = row.try_get(2)?;
        let (is_required, is_generated): (i64, i64) = (row.try_get(3)?, row.try_get(4)?);
        let holds = match data_type.to_lowercase().as_str() {
            "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "year" => Holds::Whole,
            "decimal" | "float" | "double" => Holds::Number,
            "date" => Holds::Date,
            "time" => Holds::Time,
            "datetime" | "timestamp" => Holds::Instant,
            "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" | "enum"
            | "set" | "json" | "uuid" | "inet4" | "inet6" => Holds::Text,
            "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => {
                Holds::Bytes
            }
            _ => Holds::Other,
        };
        columns.push(TableColumn {
            name: row.try_get(0)?,
            database_type: row.try_get(1)?,
            holds,
            is_required: is_required != 0,
            is_generated: is_generated != 0,
        });
    }
    let mut keys: Vec<(String, Vec<String>)> = Vec::new();
    for row in sqlx::query(KEYS)
        .bind(schema)
        .bind(table)
        .fetch_all(&mut *connection)
        .await?
    {
        let (index, column): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        match keys.last_mut() {
            Some((last, columns)) if *last == index => columns.push(column),
            _ => keys.push((index, vec![column])),
        }
    }
    let keys = keys.into_iter().map(|(_, columns)| columns).collect();
    Ok(Table { columns, keys })
}

async fn look_in_sqlite(
    connection: &mut sqlx::SqliteConnection,
    name: &TableName,
) -> sqlx::Result<Table> {
    let (schema, table) = name.schema_and_name();
    let schema = schema.unwrap_or("main");
    let rows = sqlx::query(
        "select name, type, \"notnull\", dflt_value is not null, pk, hidden from pragma_table_xinfo(?, ?) order by cid",
    )
    .bind(table)
    .bind(schema)
    .fetch_all(&mut *connection)
    .await?;
    let mut columns = Vec::new();
    let mut primary: Vec<(i64, String)> = Vec::new();
    for row in &rows {
        let (name, declared): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        let numbers: [i64; 4] = [
            row.try_get(2)?,
            row.try_get(3)?,
            row.try_get(4)?,
            row.try_get(5)?,
        ];
        let [not_null, has_default, primary_place, hidden] = numbers;
        if primary_place > 0 {
            primary.push((primary_place, name.clone()));
        }
        columns.push(TableColumn {
            holds: sqlite_holds(&declared),
            database_type: declared.to_lowercase(),
            is_required: not_null != 0 && has_default == 0,
            is_generated: hidden != 0,
            name,
        });
    }
    primary.sort();
    let mut keys: Vec<Vec<String>> = Vec::new();
    if !primary.is_empty() {
        keys.push(primary.into_iter().map(|(_, name)| name).collect());
    }
    let indices = sqlx::query(
        "select name from pragma_index_list(?, ?) where \"unique\" = 1 and partial = 0",
    )
    .bind(table)
    .bind(schema)
    .fetch_all(&mut *connection)
    .await?;
    for index in indices {
        let index: String = index.try_get(0)?;
        let columns = sqlx::query("select name from pragma_index_info(?, ?) order by seqno")
            .bind(index)
            .bind(schema)
            .fetch_all(&mut *connection)
            .await?;
        // An index over an expression has no column's name there.
        let columns: Vec<Option<String>> = columns
            .iter()
            .map(|row| row.try_get(0))
            .collect::<Result<_, _>>()?;
        keys.extend(columns.into_iter().collect::<Option<Vec<String>>>());
    }
    Ok(Table { columns, keys })
}

fn sqlite_holds(declared: &str) -> Holds {
    let declared = declared.to_ascii_uppercase();
    let name = declared.split('(').next().unwrap_or_default().trim();
    let has = |words: &[&str]| words.iter().any(|word| name.contains(word));
    match name {
        "BOOL" | "BOOLEAN" => Holds::Bool,
        "DATE" => Holds::Date,
        "TIME" => Holds::Time,
        _ if name.starts_with("DATETIME") || name.starts_with("TIMESTAMP") => Holds::Instant,
        "UUID" | "JSON" => Holds::Text,
        _ if has(&["INT"]) => Holds::Whole,
        _ if has(&["CHAR", "CLOB", "TEXT"]) => Holds::Text,
        "BLOB" => Holds::Bytes,
        _ if has(&["REAL", "FLOA", "DOUB"]) || matches!(name, "NUMERIC" | "DECIMAL") => {
            Holds::Number
        }
        _ => Holds::Anything,
    }
}

/// The names of the tables that can be seen without a schema, sorted.
pub(super) async fn names(connection: &mut Connection) -> sqlx::Result<Vec<String>> {
    macro_rules! names {
        ($connection:expr, $sql:literal) => {
            sqlx::query(AssertSqlSafe($sql.to_owned()))
                .fetch_all($connection)
                .await?
                .iter()
                .map(|row| row.try_get(0))
                .collect()
        };
    }
    match connection {
        Connection::Postgres(connection) => names!(
            connection,
            "select relname::text from pg_catalog.pg_class where relkind in ('r', 'v', 'm', 'p', 'f') and pg_table_is_visible(oid) and relnamespace::regnamespace::text not in ('pg_catalog', 'information_schema') order by 1"
        ),
        Connection::MySql(connection) => names!(
            connection,
            "select cast(table_name as char) from information_schema.tables where table_schema = database() order by 1"
        ),
        Connection::Sqlite(connection) => names!(
            connection,
            "select name from sqlite_schema where type in ('table', 'view') and name not like 'sqlite_%' order by 1"
        ),
    }
}
