//! What the driver of a device needs, and nobody else: the `vfio` crate, or a test's stand-in.
//!
//! A driver binds a device to a context by means of its own, implements [`DeviceDriver`] for it, and
//! makes a [`Device`](crate::Device) of it by [`Device::from_bound`](crate::Device::from_bound). It
//! tells the context's observer of the ioctls that it makes: by [`Notices`] while a lock is held,
//! else by [`Iommufd::observe`](crate::Iommufd::observe).

pub use crate::context::Notices;
pub use crate::device::{DeviceDriver, Kept, PageTableId};
#[cfg(feature = "tokio")]
pub use crate::watched::WatchedFile;

use crate::context::Iommufd;
use crate::devices::{DeviceKey, NamedDevice};
use crate::error::Result;

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
