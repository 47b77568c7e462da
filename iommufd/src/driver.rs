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

use crate::ioas::Ioas;

pub use crate::device::{DeviceDriver, Kept, PageTableId};
pub use crate::space::{Emptied, Space, SpaceDriver, SpaceMapping};
pub use crate::watch::{Notices, Watch};

/// Says that a device was attached to `ioas`, or detached, by other means than an
/// [`Attachment`](crate::Attachment): its usable addresses may have changed.
pub fn layout_changed(ioas: &Ioas) {
    ioas.inner.layout_changed();
}
