//! What every page table over an address space has: its options, and how it is allocated and destroyed.

mod writable;

use std::fmt;
use std::sync::Arc;

use bitflags::bitflags;
use iommufd_sys::ioctl::SizedArg;
use iommufd_sys::ioctl::iommufd as nr;
use iommufd_sys::iommufd as sys;

use crate::context::Iommufd;
use crate::device::Device;
use crate::error::{Refused, Result};
use crate::fault_queue::FaultQueue;
use crate::funnel;
use crate::ioas::Ioas;
use crate::object::{Object, destroy_last};
use crate::refused_option;
use writable::WritableOnly;

bitflags! {
    /// What a table was allocated for: fixed for its life.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) struct Options: u32 {
        /// Other tables can be nested in it.
        const NEST_PARENT = sys::IOMMU_HWPT_ALLOC_NEST_PARENT;
        /// It can record what devices write.
        const DIRTY_TRACKING = sys::IOMMU_HWPT_ALLOC_DIRTY_TRACKING;
        /// It can be attached to a PASID, or beside one.
        const PASID = sys::IOMMU_HWPT_ALLOC_PASID;
    }
}

impl Options {
    /// With `option` if it is wanted, else without.
    #[must_use]
    pub(crate) fn with(self, option: Self, wanted: bool) -> Self {
        if wanted { self | option } else { self - option }
    }
}

/// A page table that the kernel fills with what is mapped in an address space.
///
/// # Invariants
/// `object` is a table over `ioas` that nobody else destroys, allocated with `options`; its page
/// requests go to `fault_queue`.
pub(crate) struct PagingTable {
    // The order matters: the kernel must destroy the table before the address space under it, and
    // before the queue; and when it is gone, the address space takes again what it did not.
    object: Object,
    _writable_only: Option<WritableOnly>,
    ioas: Ioas,
    fault_queue: Option<FaultQueue>,
    options: Options,
}

impl PagingTable {
    /// A table, called `kind` in errors.
    pub(crate) fn new(
        kind: &'static str,
        ioas: &Ioas,
        device: &Device,
        options: Options,
        fault_queue: Option<&FaultQueue>,
    ) -> Result<Arc<Self>> {
        ioas.iommufd().must_be(device.iommufd(), "device")?;
        let writable_only = WritableOnly::of(ioas, device, options)?;
        let mut arg = sys::iommu_hwpt_alloc::sized();
        arg.flags = options.bits();
        arg.dev_id = device.id();
        arg.pt_id = ioas.inner.id();
        FaultQueue::serve(fault_queue, ioas.iommufd(), &mut arg)?;
        let context = ioas.inner.context();
        context
            .checked(&nr::HWPT_ALLOC, &mut context.notices(), |fd| {
                funnel::hwpt_alloc(fd, &mut arg)
            })
            .map_err(|error| {
                let error = ioas.inner.pin_error(error);
                refused_option::meaning(error, context, options, fault_queue.is_some())
            })?;
        let table = Self {
            object: Object::new(ioas.iommufd(), arg.out_hwpt_id, kind),
            _writable_only: writable_only,
            ioas: ioas.clone(),
            fault_queue: fault_queue.cloned(),
            options,
        };
        ioas.inner.layout_changed();
        Ok(Arc::new(table))
    }

    /// Destroys the table of the last handle.
    pub(crate) fn try_destroy(self: Arc<Self>) -> Result<(), Refused<Arc<Self>>> {
        let kind = self.object.kind();
        destroy_last(self, kind, |table| table.object.destroy())
    }

    pub(crate) fn id(&self) -> u32 {
        self.object.id()
    }

    pub(crate) fn iommufd(&self) -> &Iommufd {
        self.object.iommufd()
    }

    pub(crate) fn ioas(&self) -> &Ioas {
        &self.ioas
    }

    pub(crate) fn fault_queue(&self) -> Option<&FaultQueue> {
        self.fault_queue.as_ref()
    }

    pub(crate) fn options(&self) -> Options {
        self.options
    }

    /// For the `Debug` of the handle called `name`.
    pub(crate) fn describe(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(name)
            .field("id", &self.id())
            .field("ioas", &self.ioas)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Drop for PagingTable {
    fn drop(&mut self) {
        self.object.destroy_in_drop();
        self.ioas.inner.layout_changed();
    }
}
