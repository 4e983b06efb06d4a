//! Weights that a network starts from: tensors of a safetensors file that are named as its own.

use std::fs;

use taktline_core::{
    CheckContext, Error, FitContext, Problem, ProgressEvent, Result, TensorData, counted, path,
    read_tensors,
};

use crate::{layers::parameters, protocol::Network};

/// Reports a file that is not there, or holds no weights.
pub(crate) fn check(file: Option<&str>, cx: &mut CheckContext<'_>) {
    let Some(file) = file else { return };
    let whole = cx.resolve(file);
    let (code, message) = match fs::read(&whole) {
        Err(_) if !whole.is_file() => ("missing-file", format!("there is no file `{file}`")),
        Err(error) => (
            "unreadable-file",
            format!("`{file}` cannot be read: {error}"),
        ),
        Ok(bytes) => match read_tensors(&bytes) {
            Ok(_) => return,
            Err(_) => (
                "unreadable-file",
                format!("`{file}` is no safetensors file"),
            ),
        },
    };
    cx.report(
        Problem::error(code, path!["initial_weights"], message)
            .help("name a safetensors file, such as a network's state in `states/` of a bundle"),
    );
}

/// The tensors of the file that the network has too.
///
/// # Errors
/// A file that is no safetensors file, has none of the network's tensors, or one of another shape.
pub(crate) fn read(
    file: Option<&str>,
    network: &Network,
    cx: &FitContext<'_>,
) -> Result<Vec<(String, Vec<f32>)>> {
    let Some(file) = file else {
        return Ok(Vec::new());
    };
    let bytes = fs::read(cx.resolve(file))
        .map_err(|error| Error::data(format!("`{file}` cannot be read: {error}")))?;
    let given = read_tensors(&bytes).map_err(|error| Error::data(format!("`{file}`: {error}")))?;
    let wanted = parameters(&network.input, &network.layers);
    let mut found = Vec::new();
    for parameter in &wanted {
        let Some(tensor) = given.get(&parameter.name) else {
            continue;
        };
        let (TensorData::F32(numbers), true) = (&tensor.data, tensor.shape == parameter.shape)
        else {
            return Err(Error::data(format!(
                "`{}` has shape {:?} in `{file}`, but {:?} of f32 in the network; give that layer the same settings as there",
                parameter.name, tensor.shape, parameter.shape
            )));
        };
        found.push((parameter.name.clone(), numbers.clone()));
    }
    if found.is_empty() {
        let names: Vec<&str> = given.keys().take(5).map(String::as_str).collect();
        return Err(Error::data(format!(
            "`{file}` has none of the network's tensors ({}, …); it has {}",
            wanted.first().map_or("", |parameter| &parameter.name),
            names.join(", ")
        )));
    }
    cx.progress.event(ProgressEvent::Message(format!(
        "{} of {} start from `{file}`",
        found.len(),
        counted(wanted.len(), "tensor")
    )));
    Ok(found)
}
