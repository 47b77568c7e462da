//! What of an error is the kernel's.

use rustix::io::Errno;

use super::Error;

/// The kernel's refusal of one system call.
///
/// `cause` says what the errno means *for this call*: the same `EINVAL` has a different cause
/// in every ioctl.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{operation}: {errno}: {cause}")]
#[non_exhaustive]
pub struct KernelError {
    /// The ioctl or system call, by its C name.
    pub operation: &'static str,
    /// What the kernel answered.
    pub errno: Errno,
    /// What that answer means for this operation.
    pub cause: &'static str,
}

impl KernelError {
    /// A refusal of `operation`, with the cause that its documentation names for `errno`.
    ///
    /// For drivers that implement [`DeviceDriver`](crate::driver::DeviceDriver).
    #[must_use]
    pub fn new(operation: &'static str, errno: Errno, cause: &'static str) -> Self {
        Self {
            operation,
            errno,
            cause,
        }
    }
}

impl Error {
    /// The errno that the kernel answered, if it was the kernel that refused.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Kernel(error)
            | Self::PartlyUnmapped { reason: error, .. }
            | Self::StillPinned { reason: error, .. }
            | Self::InvalidationRefused { reason: error, .. }
            | Self::NotRead { reason: error, .. } => Some(error.errno),
            Self::TranslationLost(lost) => Some(lost.refused.errno),
            Self::LockedMemory { .. } => Some(Errno::NOMEM),
            Self::StaleTranslations { cause } => cause.errno(),
            Self::CannotMove { .. } => Some(Errno::INVAL),
            _ => None,
        }
    }
}
