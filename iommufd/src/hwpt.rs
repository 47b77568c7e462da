//! Hardware page tables.

use std::fmt;
use std::sync::Arc;

use iommufd_sys::ioctl::SizedArg;
use iommufd_sys::ioctl::iommufd as nr;
use iommufd_sys::iommufd as sys;

use crate::context::Iommufd;
use crate::device::Device;
use crate::error::{Refused, Result};
use crate::funnel;
use crate::ioas::Ioas;
use crate::object::{Object, last_handle};

/// A page table that translates an address space for the IOMMU of one device, and of all others
/// behind a compatible one.
///
/// Attaching a device to an [`Ioas`] makes such a table behind the scenes. Making it by hand lets
/// several devices share one on purpose, and is where options will be asked for.
///
/// Cloning gives another handle. The table holds its address space; an attachment holds the table.
/// Dropping the last handle destroys it, which can wait up to a minute for ioctls of others that
/// are under way; [`try_destroy`](Self::try_destroy) does the same, and tells.
///
/// # System calls
/// `IOMMU_HWPT_ALLOC` and `IOMMU_DESTROY`.
///
/// Since Linux 6.6.
#[derive(Clone)]
#[doc(alias = "IOMMU_HWPT_ALLOC")]
pub struct HwPt {
    pub(crate) inner: Arc<HwPtInner>,
}

impl HwPt {
    /// A table for `ioas` in the format of the IOMMU behind `device`, filled with all that is
    /// mapped: so this pins memory.
    ///
    /// # Errors
    /// [`Error::ForeignContext`]; [`Error::Unsupported`] before Linux 6.6; `ENOENT`: the device is
    /// a mediated one, with no IOMMU behind it; `EADDRINUSE`: something is mapped where the IOMMU
    /// cannot translate; `EFAULT`: mapped memory cannot be pinned; [`Error::LockedMemory`]
    /// (`ENOMEM`); [`Error::Forked`].
    ///
    /// [`Error::ForeignContext`]: crate::Error::ForeignContext
    /// [`Error::Unsupported`]: crate::Error::Unsupported
    /// [`Error::LockedMemory`]: crate::Error::LockedMemory
    /// [`Error::Forked`]: crate::Error::Forked
    pub fn new(ioas: &Ioas, device: &Device) -> Result<Self> {
        ioas.iommufd().must_be(device.iommufd(), "device")?;
        let mut arg = sys::iommu_hwpt_alloc::sized();
        arg.dev_id = device.id();
        arg.pt_id = ioas.inner.id();
        let context = ioas.inner.context();
        context
            .checked(&nr::HWPT_ALLOC, &mut context.notices(), |fd| {
                funnel::hwpt_alloc(fd, &mut arg)
            })
            .map_err(|error| ioas.inner.pin_error(error))?;
        let inner = HwPtInner {
            object: Object::new(ioas.iommufd(), arg.out_hwpt_id, "page table"),
            ioas: ioas.clone(),
        };
        ioas.inner.layout_changed();
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// The address space it translates.
    #[must_use]
    pub fn ioas(&self) -> &Ioas {
        &self.inner.ioas
    }

    /// The context it lives in.
    #[must_use]
    pub fn iommufd(&self) -> &Iommufd {
        self.inner.object.iommufd()
    }

    /// Destroys the table.
    ///
    /// # Errors
    /// [`Error::InUse`], with the handle and without asking the kernel, if other handles or an
    /// attachment hold it; the kernel's refusal: `EBUSY`; [`Error::Forked`].
    ///
    /// [`Error::InUse`]: crate::Error::InUse
    /// [`Error::Forked`]: crate::Error::Forked
    pub fn try_destroy(self) -> Result<(), Refused<Self>> {
        let mut inner = last_handle(self.inner, "page table")
            .map_err(|refused| refused.map(|inner| Self { inner }))?;
        inner.object.destroy().map_err(|error| {
            let inner = Arc::new(inner);
            Refused::new(Self { inner }, error)
        })
    }
}

impl fmt::Debug for HwPt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HwPt")
            .field("id", &self.inner.object.id())
            .field("ioas", &self.inner.ioas)
            .finish()
    }
}

pub(crate) struct HwPtInner {
    // The order matters: the kernel must destroy the table before the address space under it.
    object: Object,
    ioas: Ioas,
}

impl HwPtInner {
    pub(crate) fn id(&self) -> u32 {
        self.object.id()
    }
}

impl Drop for HwPtInner {
    fn drop(&mut self) {
        self.object.destroy_in_drop();
        self.ioas.inner.layout_changed();
    }
}
