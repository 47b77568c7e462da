//! Fails with E0599: data are read of a device that is not being saved.

use vfio::migration::{Migration, PreCopied, PreCopy, Running};

fn case(
    early: &mut Migration<PreCopy>,
    running: &mut Migration<Running>,
) -> std::io::Result<PreCopied> {
    #[cfg(feature = "misuse")]
    running.read(&mut [0; 8])?;
    let _runs = running.flags();
    early.read(&mut [0; 8])
}

fn main() {
    let _checked = case;
}
