//! Writes the place of libtorch into the shared library, so that no environment variable is needed to run.

use std::{env, path::Path};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // Said by torch-sys, which has looked it up.
    let Ok(directory) = env::var("DEP_TCH_LIBTORCH_LIB") else {
        return;
    };
    let directory = std::fs::canonicalize(&directory).unwrap_or_else(|_| directory.into());
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", directory.display());
    if has(&directory, "libtorch_cuda.so") {
        // Nothing calls it by name: without this the linker would leave it out, and the graphics card with it.
        println!("cargo:rustc-link-arg=-Wl,--no-as-needed,-ltorch_cuda,--as-needed");
    }
}

fn has(directory: &Path, library: &str) -> bool {
    directory.join(library).exists()
}
