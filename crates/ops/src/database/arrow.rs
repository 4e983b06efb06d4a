//! Values in runs of rows, as Arrow record batches.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, RecordBatch, RecordBatchOptions,
    builder::{
        ArrayBuilder, BooleanBuilder, Date32Builder, DurationMicrosecondBuilder, Float32Builder,
        Float64Builder, Int8Builder, Int16Builder, Int32Builder, Int64Builder, LargeBinaryBuilder,
        LargeStringBuilder, Time64NanosecondBuilder, TimestampMicrosecondBuilder, UInt8Builder,
        UInt16Builder, UInt32Builder, UInt64Builder,
    },
};
use arrow_schema::{ArrowError, DataType as ArrowType, Field, Schema as ArrowSchema, TimeUnit};
use polars::prelude::DataType;
use taktline_core::{Error, Result, type_name};

use super::{
    QueryColumn, Value,
    value::{date_text, parse_date, parse_time, parse_timestamp, time_text, timestamp_text},
};

/// A batch is closed when its text and bytes reach this, however few rows they are in.
const BATCH_BYTES: usize = 64 << 20;

/// The columns of a batch that is being filled.
pub(super) struct Batch {
    schema: Arc<ArrowSchema>,
    columns: Vec<ColumnBuilder>,
    rows: usize,
    bytes: usize,
    limit: usize,
}

impl Batch {
    /// An empty one that is full after `limit` rows.
    ///
    /// # Errors
    /// A type that no column from a database has.
    pub(super) fn new(columns: &[QueryColumn], limit: usize) -> Result<Self> {
        let builders = columns
            .iter()
            .map(|column| ColumnBuilder::new(&column.dtype))
            .collect::<Result<Vec<_>>>()?;
        let fields: Vec<Field> = columns
            .iter()
            .zip(&builders)
            .map(|(column, builder)| Field::new(&column.name, builder.arrow_type(), true))
            .collect();
        Ok(Self {
            schema: Arc::new(ArrowSchema::new(fields)),
            columns: builders,
            rows: 0,
            bytes: 0,
            limit,
        })
    }

    pub(super) fn schema(&self) -> &ArrowSchema {
        &self.schema
    }

    /// Adds the next value of the row to the column of that index.
    ///
    /// # Errors
    /// Why the value does not fit.
    pub(super) fn push(&mut self, index: usize, value: Value<'_>) -> Result<(), String> {
        self.bytes += match &value {
            Value::Text(text) | Value::Decimal(text) => text.len(),
            Value::Bytes(bytes) => bytes.len(),
            _ => 0,
        };
        self.columns[index].push(value)
    }

    /// Ends the row; whether the batch is full.
    pub(super) fn end_row(&mut self) -> bool {
        self.rows += 1;
        self.rows >= self.limit || self.bytes >= BATCH_BYTES
    }

    /// The rows so far, out of here; none where there are none.
    pub(super) fn take(&mut self) -> Result<Option<RecordBatch>> {
        if self.rows == 0 {
            return Ok(None);
        }
        let columns: Vec<ArrayRef> = self.columns.iter_mut().map(ColumnBuilder::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .map_err(|error| unwritten(&error))?;
        (self.rows, self.bytes) = (0, 0);
        Ok(Some(batch))
    }
}

pub(super) fn unwritten(error: &ArrowError) -> Error {
    Error::data(format!("fetched rows cannot be kept: {error}"))
}

/// A column that is being filled.
enum ColumnBuilder {
    Bool(BooleanBuilder),
    I8(Int8Builder),
    I16(Int16Builder),
    I32(Int32Builder),
    I64(Int64Builder),
    U8(UInt8Builder),
    U16(UInt16Builder),
    U32(UInt32Builder),
    U64(UInt64Builder),
    F32(Float32Builder),
    F64(Float64Builder),
    Text(LargeStringBuilder),
    Bytes(LargeBinaryBuilder),
    Date(Date32Builder),
    Time(Time64NanosecondBuilder),
    Timestamp(TimestampMicrosecondBuilder, Option<Arc<str>>),
    Duration(DurationMicrosecondBuilder),
}

/// The same for the builder of every type.
macro_rules! each {
    ($column:expr, $builder:ident => $work:expr) => {
        match $column {
            ColumnBuilder::Bool($builder) => $work,
            ColumnBuilder::I8($builder) => $work,
            ColumnBuilder::I16($builder) => $work,
            ColumnBuilder::I32($builder) => $work,
            ColumnBuilder::I64($builder) => $work,
            ColumnBuilder::U8($builder) => $work,
            ColumnBuilder::U16($builder) => $work,
            ColumnBuilder::U32($builder) => $work,
            ColumnBuilder::U64($builder) => $work,
            ColumnBuilder::F32($builder) => $work,
            ColumnBuilder::F64($builder) => $work,
            ColumnBuilder::Text($builder) => $work,
            ColumnBuilder::Bytes($builder) => $work,
            ColumnBuilder::Date($builder) => $work,
            ColumnBuilder::Time($builder) => $work,
            ColumnBuilder::Timestamp($builder, _) => $work,
            ColumnBuilder::Duration($builder) => $work,
        }
    };
}

impl ColumnBuilder {
    fn new(dtype: &DataType) -> Result<Self> {
        Ok(match dtype {
            DataType::Boolean => Self::Bool(BooleanBuilder::new()),
            DataType::Int8 => Self::I8(Int8Builder::new()),
            DataType::Int16 => Self::I16(Int16Builder::new()),
            DataType::Int32 => Self::I32(Int32Builder::new()),
            DataType::Int64 => Self::I64(Int64Builder::new()),
            DataType::UInt8 => Self::U8(UInt8Builder::new()),
            DataType::UInt16 => Self::U16(UInt16Builder::new()),
            DataType::UInt32 => Self::U32(UInt32Builder::new()),
            DataType::UInt64 => Self::U64(UInt64Builder::new()),
            DataType::Float32 => Self::F32(Float32Builder::new()),
            DataType::Float64 => Self::F64(Float64Builder::new()),
            DataType::String => Self::Text(LargeStringBuilder::new()),
            DataType::Binary => Self::Bytes(LargeBinaryBuilder::new()),
            DataType::Date => Self::Date(Date32Builder::new()),
            DataType::Time => Self::Time(Time64NanosecondBuilder::new()),
            DataType::Datetime(_, zone) => {
                let zone: Option<Arc<str>> = zone.as_ref().map(|zone| zone.as_str().into());
                Self::Timestamp(
                    TimestampMicrosecondBuilder::new().with_timezone_opt(zone.clone()),
                    zone,
                )
            }
            DataType::Duration(_) => Self::Duration(DurationMicrosecondBuilder::new()),
            other => {
                return Err(Error::data(format!(
                    "a database has no columns of type {}",
                    type_name(other)
                )));
            }
        })
    }

    fn arrow_type(&self) -> ArrowType {
        match self {
            Self::Bool(_) => ArrowType::Boolean,
            Self::I8(_) => ArrowType::Int8,
            Self::I16(_) => ArrowType::Int16,
            Self::I32(_) => ArrowType::Int32,
            Self::I64(_) => ArrowType::Int64,
            Self::U8(_) => ArrowType::UInt8,
            Self::U16(_) => ArrowType::UInt16,
            Self::U32(_) => ArrowType::UInt32,
            Self::U64(_) => ArrowType::UInt64,
            Self::F32(_) => ArrowType::Float32,
            Self::F64(_) => ArrowType::Float64,
            Self::Text(_) => ArrowType::LargeUtf8,
            Self::Bytes(_) => ArrowType::LargeBinary,
            Self::Date(_) => ArrowType::Date32,
            Self::Time(_) => ArrowType::Time64(TimeUnit::Nanosecond),
            Self::Timestamp(_, zone) => ArrowType::Timestamp(TimeUnit::Microsecond, zone.clone()),
            Self::Duration(_) => ArrowType::Duration(TimeUnit::Microsecond),
        }
    }

    fn push(&mut self, value: Value<'_>) -> Result<(), String> {
        if value == Value::Null {
            each!(self, builder => builder.append_null());
            return Ok(());
        }
        match self {
            Self::Bool(builder) => builder.append_value(truth(&value)?),
            Self::I8(builder) => builder.append_value(whole(&value, "i8")?),
            Self::I16(builder) => builder.append_value(whole(&value, "i16")?),
            Self::I32(builder) => builder.append_value(whole(&value, "i32")?),
            Self::I64(builder) => builder.append_value(whole(&value, "i64")?),
            Self::U8(builder) => builder.append_value(whole(&value, "u8")?),
            Self::U16(builder) => builder.append_value(whole(&value, "u16")?),
            Self::U32(builder) => builder.append_value(whole(&value, "u32")?),
            Self::U64(builder) => builder.append_value(whole(&value, "u64")?),
            Self::F32(builder) => builder.append_value(real(&value)? as f32),
            Self::F64(builder) => builder.append_value(real(&value)?),
            Self::Text(builder) => match value {
                Value::Text(text) => builder.append_value(text),
                other => builder.append_value(text(&other)?),
            },
            Self::Bytes(builder) => match value {
                Value::Bytes(bytes) => builder.append_value(bytes),
                other => return Err(unfit(&other, "bytes")),
            },
            Self::Date(builder) => builder.append_value(day(&value)?),
            Self::Time(builder) => builder.append_value(time_of_day(&value)? * 1000),
            Self::Timestamp(builder, _) => builder.append_value(instant(&value)?),
            Self::Duration(builder) => match value {
                Value::Duration(microseconds) => builder.append_value(microseconds),
                other => return Err(unfit(&other, "a duration")),
            },
        }
        Ok(())
    }

    fn finish(&mut self) -> ArrayRef {
        each!(self, builder => ArrayBuilder::finish(builder))
    }
}

fn unfit(value: &Value<'_>, wanted: &str) -> String {
    format!("holds {value}, which is not {wanted}")
}

fn truth(value: &Value<'_>) -> Result<bool, String> {
    match value {
        Value::Bool(truth) => Ok(*truth),
        Value::Int(0) | Value::UInt(0) => Ok(false),
        Value::Int(1) | Value::UInt(1) => Ok(true),
        other => Err(unfit(other, "true or false")),
    }
}

fn whole<T: TryFrom<i128>>(value: &Value<'_>, name: &str) -> Result<T, String> {
    /// Below this every whole number is a float of its own.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let number: i128 = match value {
        Value::Int(number) => (*number).into(),
        Value::UInt(number) => (*number).into(),
        Value::Bool(truth) => (*truth).into(),
        Value::Float(number) if number.fract() == 0.0 && number.abs() < EXACT => *number as i128,
        Value::Decimal(digits) => {
            let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
            if fraction.bytes().any(|digit| digit != b'0') {
                return Err(unfit(value, "a whole number"));
            }
            whole.parse().map_err(|_| unfit(value, "a whole number"))?
        }
        other => return Err(unfit(other, "a whole number")),
    };
    T::try_from(number).map_err(|_| format!("holds {value}, which is out of the range of {name}"))
}

fn real(value: &Value<'_>) -> Result<f64, String> {
    match value {
        Value::Float(number) => Ok(*number),
        Value::Int(number) => Ok(*number as f64),
        Value::UInt(number) => Ok(*number as f64),
        Value::Decimal(digits) => digits.parse().map_err(|_| unfit(value, "a number")),
        other => Err(unfit(other, "a number")),
    }
}

fn text(value: &Value<'_>) -> Result<String, String> {
    let written = match value {
        Value::Text(text) | Value::Decimal(text) => Some(text.to_string()),
        Value::Int(number) => Some(number.to_string()),
        Value::UInt(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Date(days) => date_text(*days),
        Value::Time(at) => time_text(*at),
        Value::Timestamp(at) => timestamp_text(*at),
        Value::Null | Value::Bytes(_) | Value::Duration(_) => None,
    };
    written.ok_or_else(|| unfit(value, "text"))
}

fn day(value: &Value<'_>) -> Result<i32, String> {
    match value {
        Value::Date(days) => Ok(*days),
        Value::Text(text) => parse_date(text).ok_or_else(|| unfit(value, "a date (`2024-01-31`)")),
        other => Err(unfit(other, "a date")),
    }
}

fn time_of_day(value: &Value<'_>) -> Result<i64, String> {
    match value {
        Value::Time(at) => Ok(*at),
        Value::Text(text) => {
            parse_time(text).ok_or_else(|| unfit(value, "a time of day (`12:00:00`)"))
        }
        other => Err(unfit(other, "a time of day")),
    }
}

fn instant(value: &Value<'_>) -> Result<i64, String> {
    match value {
        Value::Timestamp(at) => Ok(*at),
        Value::Date(days) => Ok(i64::from(*days) * 86_400_000_000),
        Value::Text(text) => {
            parse_timestamp(text).ok_or_else(|| unfit(value, "a datetime (`2024-01-31 12:00:00`)"))
        }
        other => Err(unfit(other, "a datetime")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(dtype: DataType, value: Value<'_>) -> Result<ArrayRef, String> {
        let mut builder = ColumnBuilder::new(&dtype).expect("a type of databases");
        builder.push(value)?;
        Ok(builder.finish())
    }

    #[test]
    fn values_keep_what_they_are() {
        let array = push(DataType::UInt64, Value::UInt(u64::MAX)).expect("fits");
        assert_eq!(array.to_data().buffers()[0].as_slice(), [0xff; 8]);
        let array = push(DataType::Float64, Value::Decimal("0.1".into())).expect("fits");
        assert_eq!(
            array.to_data().buffers()[0].as_slice(),
            0.1_f64.to_le_bytes()
        );
        let array = push(DataType::Int64, Value::Decimal("-12.00".into())).expect("fits");
        assert_eq!(
            array.to_data().buffers()[0].as_slice(),
            (-12_i64).to_le_bytes()
        );
        assert!(
            push(DataType::String, Value::Null)
                .expect("fits")
                .is_null(0)
        );
    }

    #[test]
    fn a_value_that_does_not_fit_says_why() {
        for (dtype, value, expected) in [
            (
                DataType::Int8,
                Value::Int(128),
                "holds the whole number `128`, which is out of the range of i8",
            ),
            (
                DataType::UInt64,
                Value::Int(-1),
                "holds the whole number `-1`, which is out of the range of u64",
            ),
            (
                DataType::Int64,
                Value::Float(0.5),
                "holds the number `0.5`, which is not a whole number",
            ),
            (
                DataType::Int64,
                Value::Decimal("1.5".into()),
                "holds the number `1.5`, which is not a whole number",
            ),
            (
                DataType::Float64,
                Value::Text("n/a".into()),
                "holds the text `n/a`, which is not a number",
            ),
            (
                DataType::Boolean,
                Value::Int(2),
                "holds the whole number `2`, which is not true or false",
            ),
            (
                DataType::Date,
                Value::Text("31.1.2024".into()),
                "holds the text `31.1.2024`, which is not a date (`2024-01-31`)",
            ),
            (
                DataType::String,
                Value::Bytes(vec![1, 2].into()),
                "holds 2 bytes, which is not text",
            ),
        ] {
            assert_eq!(push(dtype, value).expect_err(expected), expected);
        }
    }
}
