//! A write to sysfs.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use iommufd::KernelError;
use rustix::io::Errno;

/// A write to a file of sysfs that was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot write {wrote:?} to {}: {error}", .path.display())]
#[non_exhaustive]
pub struct SysfsRefusal {
    /// The file.
    pub path: PathBuf,
    /// What was to be written.
    pub wrote: String,
    /// The kernel's answer, and what it means for this file.
    #[source]
    pub error: KernelError,
}

/// What an errno means for a file.
pub(super) type Cause = fn(Errno) -> &'static str;

/// Writes `text` to the file at `path`, which must exist.
pub(super) fn write(path: &Path, text: &str, cause: Cause) -> Result<(), SysfsRefusal> {
    let refusal = |operation: &'static str, error: &io::Error| {
        // What comes from the kernel has a number; what does not is a write that moved nothing.
        let errno = Errno::from_io_error(error).unwrap_or(Errno::IO);
        SysfsRefusal {
            path: path.to_owned(),
            wrote: text.to_owned(),
            error: KernelError::new(operation, errno, cause(errno)),
        }
    };
    let file = File::options().write(true).open(path);
    let mut file = file.map_err(|error| refusal("open", &error))?;
    file.write_all(text.as_bytes())
        .map_err(|error| refusal("write", &error))
}
