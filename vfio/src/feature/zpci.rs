//! Errors of a PCI function that s390's firmware reports.

use std::fmt;

use rustix::io::Errno;

use super::{Feature, refusal};
use crate::device::OpenDevice;
use crate::error::Result;
use crate::ioctl::feature as funnel;

/// An error as the firmware has described it, in bytes that only s390 knows the meaning of.
#[derive(Clone, PartialEq, Eq)]
pub struct ZpciError {
    bytes: Vec<u8>,
}

impl ZpciError {
    /// The description, and zeroes after it.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for ZpciError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ZpciError").finish_non_exhaustive()
    }
}

impl OpenDevice {
    /// Takes the oldest error that s390's firmware has reported of the PCI function; `None` if there
    /// is none.
    ///
    /// This crate is for little-endian machines, and s390 is not: everywhere else the kernel has no
    /// such feature.
    ///
    /// Since Linux 7.3.
    ///
    /// # Errors
    /// [`FeatureError::NotThere`](crate::FeatureError::NotThere): not on s390. `ENODEV`: the device is
    /// going away. [`iommufd::Error::Forked`].
    #[doc(alias = "VFIO_DEVICE_FEATURE_ZPCI_ERROR")]
    pub fn zpci_error(&self) -> Result<Option<ZpciError>> {
        let mut room = Box::new([0; funnel::ZPCI_ERROR_ROOM]);
        let bound = self.bound();
        match funnel::zpci_error(bound.fd()?, bound.audience(), &mut room) {
            Ok(()) => Ok(Some(ZpciError {
                bytes: room.to_vec(),
            })),
            Err(Errno::NOMSG) => Ok(None),
            Err(errno) => Err(refusal(Feature::ZpciError, errno)),
        }
    }
}
