//! Where the libtorch library is, and the library once it is open.

use std::{
    env,
    path::{Path, PathBuf},
    sync::{Mutex, OnceLock},
};

use taktline_core::Error;

use crate::bridge::Library;

/// Names the library's file, where it is not beside takt.
const VARIABLE: &str = "TAKT_TORCH_RUNTIME";

/// Why torch stages cannot run, in a build that left them out on purpose.
pub const BUILT_WITHOUT: &str = "this takt was built without torch (`--no-default-features`)";

/// What to do about it.
pub const HOW_TO_GET: &str = "run `scripts/setup.sh` once to get libtorch, then build takt with its default features: `cargo build --release`";

fn file_name() -> String {
    libloading::library_filename("taktline_torch_runtime")
        .to_string_lossy()
        .into_owned()
}

/// Where cargo puts it (first, because a copy beside takt may be older than takt), beside takt, or where a package would.
fn places(executable: &Path) -> Vec<PathBuf> {
    let Some(directory) = executable.parent() else {
        return Vec::new();
    };
    ["deps", "", "../deps", "../lib"]
        .iter()
        .map(|place| directory.join(place).join(file_name()))
        .collect()
}

fn locate() -> Result<PathBuf, String> {
    if let Some(named) = env::var_os(VARIABLE).filter(|value| !value.is_empty()) {
        let path = PathBuf::from(named);
        return match path.is_file() {
            true => Ok(path),
            false => Err(format!(
                "`{VARIABLE}` names `{}`, which is not a file",
                path.display()
            )),
        };
    }
    let executable = env::current_exe()
        .and_then(std::fs::canonicalize)
        .map_err(|error| error.to_string())?;
    places(&executable)
        .into_iter()
        .find(|path| path.is_file())
        .ok_or_else(|| {
            let directory = executable.parent().unwrap_or(&executable).display();
            format!(
                "the libtorch library `{}` is not beside takt in `{directory}`",
                file_name()
            )
        })
}

/// Why torch stages cannot run here, or `None` when they can. Looks for the library's file; does not load it.
pub fn missing() -> Option<String> {
    locate().err()
}

/// The library, opened at the first call.
pub(crate) fn library() -> Result<&'static Library, Error> {
    static LIBRARY: OnceLock<Library> = OnceLock::new();
    static OPENING: Mutex<()> = Mutex::new(());
    if let Some(library) = LIBRARY.get() {
        return Ok(library);
    }
    let _one_at_a_time = OPENING.lock();
    if let Some(library) = LIBRARY.get() {
        return Ok(library);
    }
    let unavailable = |message| Error::Unavailable {
        message,
        help: HOW_TO_GET.to_owned(),
    };
    let library = locate()
        .and_then(|path| Library::open(&path))
        .map_err(unavailable)?;
    Ok(LIBRARY.get_or_init(|| library))
}

/// How many threads libtorch may use: one a core, for polars rests while a network learns or answers.
pub(crate) fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_beside_takt() {
        let found = places(Path::new("/opt/takt/bin/takt"));
        assert_eq!(found.len(), 4);
        assert_eq!(found[1], Path::new("/opt/takt/bin").join(file_name()));
        assert_eq!(
            found[3],
            Path::new("/opt/takt/bin/../lib").join(file_name())
        );
    }
}
