//! What an estimator or model learned: data, never code.

use std::collections::BTreeMap;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{Error, Result};

/// The numbers of a tensor.
#[derive(Debug, Clone, PartialEq)]
pub enum TensorData {
    /// 32-bit floats.
    F32(Vec<f32>),
    /// 64-bit floats.
    F64(Vec<f64>),
    /// 64-bit integers.
    I64(Vec<i64>),
    /// Bytes: a file that is kept as it is.
    U8(Vec<u8>),
}

/// A tensor: its shape and its numbers, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its numbers.
    pub data: TensorData,
}

/// Fitted state: numbers and vocabularies as JSON, large arrays as tensors by name.
///
/// Its bytes are one safetensors file whose metadata holds the JSON; the same state always gives the same bytes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct State {
    /// The version of the kind that wrote it.
    pub version: u32,
    /// Numbers, names, vocabularies.
    pub data: serde_json::Value,
    /// Large arrays by name.
    pub tensors: BTreeMap<String, Tensor>,
}

/// What a round of a training came to: figures by name.
pub type Round = BTreeMap<String, f64>;

/// What a fitted state tells of its training, where its kind keeps that.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Training {
    /// What each round came to, under `history`: `loss`, `validation_loss` and whatever else the kind measures.
    pub history: Vec<Round>,
    /// The share of each feature in what was learned, greatest first, under `importance`.
    pub importance: Vec<(String, f64)>,
}

#[derive(Serialize, Deserialize)]
struct Header {
    version: u32,
    data: serde_json::Value,
}

const HEADER_KEY: &str = "taktline";

impl State {
    /// State that is all JSON.
    ///
    /// # Errors
    /// It holds a number that is not finite, which JSON cannot say.
    pub fn from_data<T: Serialize + DeserializeOwned>(version: u32, data: &T) -> Result<Self> {
        let data = serde_json::to_value(data).map_err(|error| Error::State(error.to_string()))?;
        // Such a number is written as null, and cannot be read again.
        if T::deserialize(&data).is_err() {
            return Err(Error::data(
                "what was learned is no finite number: some values are too large to compute with (beyond about 1e150, which has no square); \
                 leave such rows out above (`clean.filter`), or limit the values (`clean.clip_outliers`)",
            ));
        }
        Ok(Self {
            version,
            data,
            tensors: BTreeMap::new(),
        })
    }

    /// With a tensor.
    pub fn with_tensor(
        mut self,
        name: impl Into<String>,
        shape: Vec<usize>,
        data: TensorData,
    ) -> Self {
        self.tensors.insert(name.into(), Tensor { shape, data });
        self
    }

    /// The JSON part, typed; refuses another version than `version`.
    pub fn data<T: DeserializeOwned>(&self, version: u32) -> Result<T> {
        if self.version != version {
            return Err(Error::State(format!(
                "written by version {} of its kind; this takt reads version {version}",
                self.version
            )));
        }
        serde_json::from_value(self.data.clone()).map_err(|error| Error::State(error.to_string()))
    }

    /// What the state tells of its training.
    pub fn training(&self) -> Training {
        let list = |name: &str| {
            let all = self.data.get(name).and_then(|all| all.as_array());
            all.into_iter().flatten()
        };
        let figures = |round: &serde_json::Value| -> Round {
            let figures = round.as_object().into_iter().flatten();
            figures
                .filter_map(|(name, value)| Some((name.clone(), value.as_f64()?)))
                .collect()
        };
        let share = |pair: &serde_json::Value| {
            let name = pair.get(0)?.as_str()?;
            Some((name.to_owned(), pair.get(1)?.as_f64()?))
        };
        Training {
            history: list("history").map(figures).collect(),
            importance: list("importance").filter_map(share).collect(),
        }
    }

    /// The tensor of that name.
    pub fn tensor(&self, name: &str) -> Result<&Tensor> {
        self.tensors
            .get(name)
            .ok_or_else(|| Error::State(format!("has no tensor `{name}`")))
    }

    /// As a safetensors file.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let header = serde_json::to_string(&Header {
            version: self.version,
            data: self.data.clone(),
        })
        .map_err(|error| Error::State(error.to_string()))?;
        let bytes: BTreeMap<&String, (Dtype, Vec<u8>)> = self
            .tensors
            .iter()
            .map(|(name, tensor)| (name, tensor.data.to_le_bytes()))
            .collect();
        let views = self
            .tensors
            .iter()
            .map(|(name, tensor)| {
                let (dtype, data) = &bytes[name];
                Ok((
                    name.as_str(),
                    TensorView::new(*dtype, tensor.shape.clone(), data)?,
                ))
            })
            .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
            .map_err(|error| Error::State(error.to_string()))?;
        let metadata = std::iter::once((HEADER_KEY.to_owned(), header)).collect();
        safetensors::serialize(views, Some(metadata))
            .map_err(|error| Error::State(error.to_string()))
    }

    /// From a safetensors file that [`State::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let bad = |error: &dyn std::fmt::Display| Error::State(format!("not readable: {error}"));
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| bad(&error))?;
        let header = metadata
            .metadata()
            .as_ref()
            .and_then(|metadata| metadata.get(HEADER_KEY))
            .ok_or_else(|| bad(&"no taktline header"))?;
        let header: Header = serde_json::from_str(header).map_err(|error| bad(&error))?;
        let tensors = read_tensors(bytes)?;
        Ok(Self {
            version: header.version,
            data: header.data,
            tensors,
        })
    }
}

/// The tensors of any safetensors file by name: another tool may have written it.
///
/// # Errors
/// What is no safetensors file, and numbers of other types than f32, f64, i64 and u8.
pub fn read_tensors(bytes: &[u8]) -> Result<BTreeMap<String, Tensor>> {
    let bad = |error: &dyn std::fmt::Display| Error::State(format!("not readable: {error}"));
    let file = SafeTensors::deserialize(bytes).map_err(|error| bad(&error))?;
    file.iter()
        .map(|(name, view)| {
            let data = TensorData::from_le_bytes(view.dtype(), view.data())
                .ok_or_else(|| bad(&format!("tensor `{name}` has type {:?}", view.dtype())))?;
            let shape = view.shape().to_vec();
            Ok((name.to_owned(), Tensor { shape, data }))
        })
        .collect()
}

impl TensorData {
    /// How many numbers.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::F64(values) => values.len(),
            Self::I64(values) => values.len(),
            Self::U8(values) => values.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn to_le_bytes(&self) -> (Dtype, Vec<u8>) {
        match self {
            Self::F32(values) => (
                Dtype::F32,
                values
                    .iter()
                    .flat_map(|value| value.to_le_bytes())
                    .collect(),
            ),
            Self::F64(values) => (
                Dtype::F64,
                values
                    .iter()
                    .flat_map(|value| value.to_le_bytes())
                    .collect(),
            ),
            Self::I64(values) => (
                Dtype::I64,
                values
                    .iter()
                    .flat_map(|value| value.to_le_bytes())
                    .collect(),
            ),
            Self::U8(values) => (Dtype::U8, values.clone()),
        }
    }

    fn from_le_bytes(dtype: Dtype, bytes: &[u8]) -> Option<Self> {
        fn chunks<const N: usize, T>(bytes: &[u8], read: fn([u8; N]) -> T) -> Vec<T> {
            bytes
                .as_chunks::<N>()
                .0
                .iter()
                .map(|chunk| read(*chunk))
                .collect()
        }
        match dtype {
            Dtype::F32 => Some(Self::F32(chunks(bytes, f32::from_le_bytes))),
            Dtype::F64 => Some(Self::F64(chunks(bytes, f64::from_le_bytes))),
            Dtype::I64 => Some(Self::I64(chunks(bytes, i64::from_le_bytes))),
            Dtype::U8 => Some(Self::U8(bytes.to_vec())),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_json_cannot_say_is_no_state() {
        for number in [f64::INFINITY, f64::NAN] {
            let error = State::from_data(1, &vec![1.0, number]).expect_err("no state");
            assert!(error.to_string().contains("too large"), "{error}");
        }
        assert!(State::from_data(1, &vec![Some(1.0), None]).is_ok());
    }

    fn state() -> State {
        State::from_data(3, &serde_json::json!({"mean": 0.1, "names": ["a", "b"]}))
            .expect("plain data")
            .with_tensor(
                "weights",
                vec![2, 2],
                TensorData::F32(vec![1.0, -2.5, f32::MIN_POSITIVE, 4.0]),
            )
            .with_tensor("counts", vec![3], TensorData::I64(vec![1, 2, i64::MAX]))
            .with_tensor("file", vec![4], TensorData::U8(b"PK\x03\x04".to_vec()))
    }

    #[test]
    fn comes_back_the_same_from_the_same_bytes() {
        let bytes = state().to_bytes().expect("bytes");
        assert_eq!(State::from_bytes(&bytes).expect("state"), state());
        assert_eq!(bytes, state().to_bytes().expect("bytes again"));
    }

    #[test]
    fn refuses_what_it_cannot_read() {
        assert!(State::from_bytes(b"not a file").is_err());
        assert!(state().data::<serde_json::Value>(2).is_err());
    }
}
