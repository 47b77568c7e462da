//! Devices that a refused move has left without a page table.

use super::KernelError;
use crate::devices::DeviceKey;

/// Devices that could not be moved, and then not be put back either: see
/// [`Error::TranslationLost`](super::Error::TranslationLost).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{refused}; and {} of the devices could not be attached again to what they were attached to, so their DMA is refused: \
     {reason}",
    devices.len()
)]
#[non_exhaustive]
pub struct TranslationLost {
    /// The devices whose DMA is refused.
    pub devices: Vec<DeviceKey>,
    /// Why they were not moved.
    pub refused: KernelError,
    /// Why the first of them could not be attached again.
    pub reason: KernelError,
}
