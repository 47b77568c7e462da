//! Runs bindgen on `linux/iommufd.h` and `linux/vfio.h` and writes `iommufd.rs` and `vfio.rs` to `OUT_DIR`.
//!
//! The output depends on the headers alone, so that `cargo lab codegen --check` can compare it with what is committed:
//! the search path of the compiler is replaced, and the Rust version generated for is the one of the manifest.

use std::env::{self, VarError};
use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::rewrite;

/// The directory that contains `linux/iommufd.h`.
const INCLUDE: &str = "IOMMUFD_SYS_INCLUDE";

/// The headers, each with its newest definition, which this crate's own tables name.
const HEADERS: [(&str, &str); 2] = [
    ("iommufd", "IOMMU_IOAS_NOIOMMU_GET_PA"),
    ("vfio", "VFIO_DEVICE_FEATURE_ZPCI_ERROR"),
];

pub(crate) fn all() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build");
    println!("cargo::rerun-if-env-changed={INCLUDE}");
    let include = match env::var(INCLUDE) {
        Err(VarError::NotPresent) => "/usr/include".to_owned(),
        other => other?,
    };
    let out = env::var("OUT_DIR")?;
    for (name, newest) in HEADERS {
        let header = format!("{include}/linux/{name}.h");
        println!("cargo::rerun-if-changed={header}");
        let text =
            fs::read_to_string(&header).map_err(|e| format!("{header}: {e}; set {INCLUDE}"))?;
        if !text.contains(newest) {
            return Err(
                format!("{header} is older than Linux 7.3: no {newest}; set {INCLUDE}").into(),
            );
        }
        let bindings = generate(&include, &header)?;
        fs::write(Path::new(&out).join(name).with_extension("rs"), bindings)?;
    }
    Ok(())
}

fn generate(include: &str, header: &str) -> Result<String, Box<dyn Error>> {
    // Debian keeps <asm/...> in a directory of the architecture, others beside <linux/...>.
    let asm = format!("{include}/{}-linux-gnu", env::var("CARGO_CFG_TARGET_ARCH")?);
    let bindings = bindgen::builder()
        .header(header)
        .clang_args(["-nostdinc", "-I", include, "-I", &asm])
        .allowlist_file(literal(header))
        .use_core()
        .rust_target(env::var("CARGO_PKG_RUST_VERSION")?.parse()?)
        .rust_edition(bindgen::RustEdition::Edition2024)
        // The interface is taken; the prose stays the kernel's.
        .generate_comments(false)
        .disable_header_comment()
        .generate_cstr(true)
        .default_enum_style(bindgen::EnumVariation::Consts)
        .prepend_enum_name(false)
        .translate_enum_integer_types(true)
        // Padding is a field, so that zeroing a struct zeroes every byte the kernel is sent.
        .explicit_padding(true)
        // src/layout.rs asserts the layout against numbers that do not come from bindgen.
        .layout_tests(false)
        .formatter(bindgen::Formatter::None)
        .generate()?;
    let source = rewrite::rewrite(&bindings.to_string())?;
    Ok(rustfmt(&source).unwrap_or_else(|e| {
        println!("cargo::warning=the bindings are not formatted: rustfmt: {e}");
        source
    }))
}

/// The regular expression that matches `path` alone.
fn literal(path: &str) -> String {
    let mut regex = String::new();
    for c in path.chars() {
        if c.is_ascii_punctuation() {
            regex.push('\\');
        }
        regex.push(c);
    }
    regex
}

/// Formats as the workspace does, whatever the directory the build script runs in.
fn rustfmt(source: &str) -> io::Result<String> {
    let mut child = Command::new("rustfmt")
        .args(["--edition", "2024", "--config", "style_edition=2024"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    // rustfmt reads to the end before it writes, so neither waits for the other.
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(source.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        return Err(io::Error::other(output.status.to_string()));
    }
    String::from_utf8(output.stdout).map_err(io::Error::other)
}
