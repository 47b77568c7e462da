//! What the driver of a device needs, and nobody else: the `vfio` crate, or a test's stand-in.
//!
//! A driver binds a device to a context by means of its own, implements [`DeviceDriver`] for it, and
//! makes a [`Device`](crate::Device) of it by [`Device::from_bound`](crate::Device::from_bound). It
//! tells the context's observer of the ioctls that it makes: by [`Notices`] while a lock is held,
//! else by [`Iommufd::observe`](crate::Iommufd::observe).
//!
//! A driver whose devices are not in a context, but in a container of VFIO's older interface, has a
//! [`Watch`] of its own, implements [`SpaceDriver`] for the container, and lets a [`Space`] map
//! memory and hold it.

// UNSAFETY: declares an unsafe function; nothing is called.
#![expect(unsafe_code, reason = "the door for what is not asked")]

use std::os::fd::OwnedFd;

use crate::context::Iommufd;
pub use crate::device::{DeviceDriver, Kept, PageTableId};
use crate::devices::{DeviceKey, NamedDevice};
pub use crate::dirty::DeviceDirty;
use crate::error::Result;
pub use crate::funnel::reach_of_bitmap;
use crate::ioas::Ioas;
pub use crate::space::{Emptied, Space, SpaceDriver, SpaceMapping};
pub use crate::watch::{Notices, Watch};
#[cfg(feature = "tokio")]
pub use crate::watched::WatchedFile;

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

/// Which device of `iommufd` has the id `id` now, of those that were bound in this process.
///
/// By the time the answer is there the id may be another device's, but a key never is: who learns an
/// id from the kernel, and finds the same key for it before and after, knows which device was meant.
///
/// # Errors
/// [`Error::Forked`](crate::Error::Forked).
pub fn device_with_id(iommufd: &Iommufd, id: u32) -> Result<Option<DeviceKey>> {
    iommufd.check_process()?;
    let named = iommufd.context().devices.names().of(id);
    Ok(named.map(NamedDevice::key))
}

/// Says that a device was attached to `ioas`, or detached, by other means than an
/// [`Attachment`](crate::Attachment): its usable addresses may have changed.
pub fn layout_changed(ioas: &Ioas) {
    ioas.inner.layout_changed();
}
