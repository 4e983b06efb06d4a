//! Writes the place of libtorch into the shared library, so that no environment variable is needed to run.
fn main() {
    if let Ok(directory) = std::env::var("DEP_TCH_LIBTORCH_LIB") {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{directory}");
    }
}
