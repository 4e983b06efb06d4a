//! The C interface between `takt` and its libtorch library, and the only place with `unsafe` code.
//!
//! ```text
//! taktline_torch_abi()                                    → text that must equal ABI
//! taktline_torch_train(request, arrays, listener)         → reply: `Trained`, tensors
//! taktline_torch_load(request, arrays, &model)            → reply: {}; `model` is a handle
//! taktline_torch_predict(model, arrays)                   → reply: {}, `outputs` and others
//! taktline_torch_unload(model)
//! taktline_torch_free(reply)
//! ```
//!
//! Requests, replies and events are JSON of the types in [`protocol`](crate::protocol). Arrays are lent as pointers to where
//! their numbers lie (a frame's own memory: nothing is copied) for as long as the call lasts; a reply's arrays belong to the
//! library until `taktline_torch_free`. Both sides are built from the same sources by the same compiler, and the version text
//! is compared before anything else is called. Panics stop at the boundary and come back as errors.

#![expect(
    unsafe_code,
    reason = "a C interface is raw pointers; every block says why it is sound"
)]

use std::{borrow::Cow, ffi::c_void, slice};

use serde::{Deserialize, Serialize};

use crate::protocol::{Array, Arrays, Numbers};

#[cfg(feature = "libtorch")]
pub mod exports;
#[cfg(not(feature = "libtorch"))]
mod library;

#[cfg(feature = "libtorch")]
pub(crate) use exports::{keep_freed_memory, return_freed_memory, tensor_over};
#[cfg(not(feature = "libtorch"))]
pub(crate) use library::{Library, Model};

/// What both sides must say: the version, and the number of this interface.
pub const ABI: &str = concat!("taktline-torch ", env!("CARGO_PKG_VERSION"), " interface 3");

/// Bytes that are lent.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct RawText {
    pointer: *const u8,
    length: usize,
}

/// Numbers that are lent.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct RawArray {
    /// 0: f32, 1: f64, 2: i64, 3: u8.
    item: u32,
    pointer: *const c_void,
    length: usize,
}

/// A list of lent arrays; their names and shapes are in the JSON, in the same order.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct RawArrays {
    pointer: *const RawArray,
    length: usize,
}

/// The listener of a training.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct RawListener {
    context: *const c_void,
    is_cancelled: extern "C" fn(context: *const c_void) -> bool,
    event: extern "C" fn(context: *const c_void, event: RawText),
    /// Whether the checkpoint was kept.
    checkpoint: extern "C" fn(context: *const c_void, standing: RawText, arrays: RawArrays) -> bool,
}

/// The answer to a call.
#[repr(C)]
#[derive(Debug)]
pub struct RawReply {
    /// 0: done, 1: interrupted, 2: failed (the text is the error).
    status: u32,
    text: RawText,
    arrays: RawArrays,
    /// What `taktline_torch_free` gives back.
    owner: *mut c_void,
}

const DONE: u32 = 0;
const INTERRUPTED: u32 = 1;
#[cfg(feature = "libtorch")]
const FAILED: u32 = 2;

/// JSON with what the raw arrays beside it are.
#[derive(Serialize, Deserialize)]
struct Envelope<T> {
    body: T,
    arrays: Vec<Label>,
}

#[derive(Serialize, Deserialize)]
struct Label {
    name: String,
    shape: Vec<usize>,
}

impl RawText {
    fn lend(text: &str) -> Self {
        Self {
            pointer: text.as_ptr(),
            length: text.len(),
        }
    }

    /// # Safety
    /// The other side lends these bytes for at least `'a`.
    unsafe fn borrow<'a>(self) -> Cow<'a, str> {
        // SAFETY: `lend` made it from a live `&str`, whose pointer is never null.
        String::from_utf8_lossy(unsafe { slice::from_raw_parts(self.pointer, self.length) })
    }
}

impl RawArray {
    fn lend(numbers: &Numbers<'_>) -> Self {
        match numbers {
            Numbers::F32(numbers) => Self {
                item: 0,
                pointer: numbers.as_ptr().cast(),
                length: numbers.len(),
            },
            Numbers::F64(numbers) => Self {
                item: 1,
                pointer: numbers.as_ptr().cast(),
                length: numbers.len(),
            },
            Numbers::I64(numbers) => Self {
                item: 2,
                pointer: numbers.as_ptr().cast(),
                length: numbers.len(),
            },
            Numbers::U8(numbers) => Self {
                item: 3,
                pointer: numbers.as_ptr().cast(),
                length: numbers.len(),
            },
        }
    }

    /// # Safety
    /// The other side lends these numbers for at least `'a`.
    unsafe fn borrow<'a>(self) -> Result<Numbers<'a>, String> {
        // SAFETY: `lend` made pointer and length from a live slice of just this item type.
        unsafe {
            match self.item {
                0 => Ok(Numbers::F32(Cow::Borrowed(slice::from_raw_parts(
                    self.pointer.cast(),
                    self.length,
                )))),
                1 => Ok(Numbers::F64(Cow::Borrowed(slice::from_raw_parts(
                    self.pointer.cast(),
                    self.length,
                )))),
                2 => Ok(Numbers::I64(Cow::Borrowed(slice::from_raw_parts(
                    self.pointer.cast(),
                    self.length,
                )))),
                3 => Ok(Numbers::U8(Cow::Borrowed(slice::from_raw_parts(
                    self.pointer.cast(),
                    self.length,
                )))),
                other => Err(format!(
                    "an array of the unknown item type {other} came over the bridge"
                )),
            }
        }
    }
}

/// A message ready to be lent: JSON text and raw arrays. What they point to must outlive it.
struct Message {
    text: String,
    arrays: Vec<RawArray>,
}

impl Message {
    fn new(body: &impl Serialize, arrays: &[Array<'_>]) -> Result<Self, String> {
        let labels = arrays
            .iter()
            .map(|array| Label {
                name: array.name.clone(),
                shape: array.shape.clone(),
            })
            .collect();
        let text = serde_json::to_string(&Envelope {
            body,
            arrays: labels,
        })
        .map_err(|error| error.to_string())?;
        Ok(Self {
            text,
            arrays: arrays
                .iter()
                .map(|array| RawArray::lend(&array.numbers))
                .collect(),
        })
    }

    fn text(&self) -> RawText {
        RawText::lend(&self.text)
    }

    fn arrays(&self) -> RawArrays {
        RawArrays {
            pointer: self.arrays.as_ptr(),
            length: self.arrays.len(),
        }
    }
}

/// # Safety
/// The other side lends text and arrays for at least `'a`.
unsafe fn open<'a, T: for<'de> Deserialize<'de>>(
    text: RawText,
    arrays: RawArrays,
) -> Result<(T, Arrays<'a>), String> {
    // SAFETY: both were made by a `Message` that lives as long as the call.
    let (text, raw) = unsafe {
        (
            text.borrow(),
            slice::from_raw_parts(arrays.pointer, arrays.length),
        )
    };
    let envelope: Envelope<T> = serde_json::from_str(&text)
        .map_err(|error| format!("a message over the bridge is not readable: {error}"))?;
    if envelope.arrays.len() != raw.len() {
        return Err(format!(
            "{} arrays announced over the bridge, {} came",
            envelope.arrays.len(),
            raw.len()
        ));
    }
    let arrays = envelope
        .arrays
        .into_iter()
        .zip(raw)
        .map(|(Label { name, shape }, raw)| {
            // SAFETY: as above.
            let numbers = unsafe { raw.borrow() }?;
            let wanted: usize = shape.iter().product();
            if wanted != numbers.len() {
                return Err(format!(
                    "`{name}` of shape {shape:?} came with {} numbers",
                    numbers.len()
                ));
            }
            Ok(Array {
                name,
                shape,
                numbers,
            })
        })
        .collect::<Result<_, String>>()?;
    Ok((envelope.body, Arrays(arrays)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_opens_to_what_went_in() {
        let arrays = [
            Array::f32("inputs", vec![2, 2], vec![1.0, 2.0, 3.0, 4.0]),
            Array::i64("labels", vec![0, 1]),
        ];
        let message = Message::new(&"hello", &arrays).expect("message");
        // SAFETY: `message` and `arrays` live until the end of the test.
        let (body, opened): (String, _) =
            unsafe { open(message.text(), message.arrays()) }.expect("opens");
        assert_eq!(body, "hello");
        assert_eq!(opened.0, arrays);
        let wrong = [Array::f32("inputs", vec![3], vec![1.0])];
        let message = Message::new(&"hello", &wrong).expect("message");
        // SAFETY: as above.
        let error =
            unsafe { open::<String>(message.text(), message.arrays()) }.expect_err("wrong shape");
        assert!(error.contains("[3]"), "{error}");
    }
}
