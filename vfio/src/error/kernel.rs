//! What of an error is the kernel's, and what becomes an error by itself.

use std::io;
use std::path::PathBuf;

use iommufd::KernelError;
use rustix::io::Errno;

use super::{Error, Refused};
use crate::binding::{RebindError, SysfsRefusal};

impl Error {
    /// The errno that the kernel answered, if it was the kernel that refused.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Iommufd(error) => error.errno(),
            Self::Open { error, .. }
            | Self::VfTokenNeeded { error }
            | Self::VfTokenWrong { error } => Some(error.errno),
            Self::Kvm { error, .. } => error.raw_os_error().map(Errno::from_raw_os_error),
            Self::Rebind(error) => Some(error.refused.error.errno),
            Self::SysfsWrite(refusal) => Some(refusal.error.errno),
            _ => None,
        }
    }

    pub(crate) fn sysfs(path: PathBuf, error: io::Error) -> Self {
        Self::Sysfs { path, error }
    }
}

impl From<KernelError> for Error {
    fn from(error: KernelError) -> Self {
        Self::Iommufd(error.into())
    }
}

impl From<RebindError> for Error {
    fn from(error: RebindError) -> Self {
        Self::Rebind(Box::new(error))
    }
}

impl From<SysfsRefusal> for Error {
    fn from(refusal: SysfsRefusal) -> Self {
        Self::SysfsWrite(Box::new(refusal))
    }
}

/// `?` in a function that returns [`Error`] drops the value, as any early return would.
impl<T> From<Refused<T>> for Error {
    fn from(refused: Refused<T>) -> Self {
        refused.into_error()
    }
}
