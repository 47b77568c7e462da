//! What the driver of a device needs, and nobody else: the `vfio` crate, or a test's stand-in.
//!
//! A driver binds a device to a context by means of its own, implements [`DeviceDriver`] for it, and
//! makes a [`Device`](crate::Device) of it by [`Device::from_bound`](crate::Device::from_bound). It
//! tells the context's observer of the ioctls that it makes: by [`Notices`] while a lock is held,
//! else by [`Iommufd::observe`](crate::Iommufd::observe).

// UNSAFETY: declares an unsafe function; nothing is called.
#![expect(unsafe_code, reason = "the door for what is not asked")]

use std::os::fd::OwnedFd;

use crate::context::Iommufd;
pub use crate::context::Notices;
pub use crate::device::{DeviceDriver, Kept, PageTableId};
pub use crate::dirty::DeviceDirty;
pub use crate::funnel::reach_of_bitmap;

/// A context of `fd`, which is not asked whether it is an iommufd: for a driver's unit tests, where
/// no kernel answers.
///
/// # Safety
/// The file is an iommufd, or one that refuses every ioctl, as `/dev/null`.
#[doc(hidden)]
#[must_use]
pub unsafe fn unasked(fd: OwnedFd) -> Iommufd {
    Iommufd::unasked(fd)
}
