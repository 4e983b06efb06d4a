//! The types that a spec can name: what a source declares and what `clean.cast` makes.

use polars::prelude::{DataType, TimeUnit};
use schemars::JsonSchema;
use serde::Deserialize;

/// A type that a column can be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ColumnType {
    /// True or false.
    Bool,
    /// A whole number of 8 bits.
    I8,
    /// A whole number of 16 bits.
    I16,
    /// A whole number of 32 bits.
    I32,
    /// A whole number of 64 bits.
    I64,
    /// A whole number from 0, of 8 bits.
    U8,
    /// A whole number from 0, of 16 bits.
    U16,
    /// A whole number from 0, of 32 bits.
    U32,
    /// A whole number from 0, of 64 bits.
    U64,
    /// A real number of 32 bits.
    F32,
    /// A real number of 64 bits.
    F64,
    /// Text.
    Text,
    /// A day.
    Date,
    /// A day and time, to the microsecond, without a zone.
    Datetime,
}

impl ColumnType {
    /// As polars names it.
    pub(crate) fn data_type(self) -> DataType {
        match self {
            Self::Bool => DataType::Boolean,
            Self::I8 => DataType::Int8,
            Self::I16 => DataType::Int16,
            Self::I32 => DataType::Int32,
            Self::I64 => DataType::Int64,
            Self::U8 => DataType::UInt8,
            Self::U16 => DataType::UInt16,
            Self::U32 => DataType::UInt32,
            Self::U64 => DataType::UInt64,
            Self::F32 => DataType::Float32,
            Self::F64 => DataType::Float64,
            Self::Text => DataType::String,
            Self::Date => DataType::Date,
            Self::Datetime => DataType::Datetime(TimeUnit::Microseconds, None),
        }
    }
}
