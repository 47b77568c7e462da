//! With feature `bindgen`, generates the bindings from installed headers; without it, does nothing.

use std::error::Error;

#[cfg(feature = "bindgen")]
#[path = "build/generate.rs"]
mod generate;
#[cfg(feature = "bindgen")]
#[path = "build/rewrite.rs"]
mod rewrite;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "bindgen")]
    generate::all()?;
    Ok(())
}
