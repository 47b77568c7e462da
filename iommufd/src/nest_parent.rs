//! Page tables in which a guest's are nested.

use std::fmt;
use std::sync::Arc;

use crate::context::Iommufd;
use crate::device::Device;
use crate::error::{Refused, Result};
use crate::ioas::Ioas;
use crate::object::equal_by;
use crate::paging::{Options, PagingTable};

/// The second stage of a nested translation: an address space whose addresses are a guest's
/// physical ones (IPA, GPA), in a page table in which the tables of the guest are nested.
///
/// A device can be attached to it like to any [`HwPt`](crate::HwPt): then its DMA is by guest
/// physical address.
///
/// Cloning gives another handle. It holds its address space; virtual IOMMUs and nested tables hold
/// it. Dropping the last handle destroys it; [`try_destroy`](Self::try_destroy) does the same, and
/// tells. The kernel refuses at once (`EBUSY`) while an ioctl of somebody else is using it.
///
/// # System calls
/// `IOMMU_GET_HW_INFO`, once for a device, `IOMMU_HWPT_ALLOC` and `IOMMU_DESTROY`.
///
/// Since Linux 6.7.
#[derive(Clone)]
#[doc(alias = "IOMMU_HWPT_ALLOC_NEST_PARENT")]
pub struct NestParent {
    pub(crate) table: Arc<PagingTable>,
}

impl NestParent {
    /// A parent over `ioas` for the IOMMU behind `device`, filled with all that is mapped: so this
    /// pins memory.
    ///
    /// Erratum 772415, which Linux takes every VT-d unit to have: on Intel hardware nothing in
    /// `ioas` can be mapped to be read only by devices, as long as there is a parent over it. Who
    /// maps such memory then, by whatever handle, is refused
    /// ([`Error::ReadOnlyRefused`](crate::Error::ReadOnlyRefused)); the kernel would refuse it
    /// (`EINVAL`), and does so to others that have the same `/dev/iommu`. A guest's ROM is mapped to
    /// be written, too, or into no parent's address space.
    ///
    /// # Errors
    /// [`Error::ReadOnlyMapping`](crate::Error::ReadOnlyMapping), before the kernel is asked: there
    /// is such memory; `EOPNOTSUPP`: the IOMMU cannot nest; else as for
    /// [`HwPt::new`](crate::HwPt::new), and for [`Device::hw_info`].
    pub fn new(ioas: &Ioas, device: &Device) -> Result<Self> {
        Self::builder(ioas, device).allocate()
    }

    /// A parent with options, which are fixed once it is allocated.
    ///
    /// It cannot have a fault queue: page requests are for the nested tables.
    pub fn builder<'a>(ioas: &'a Ioas, device: &'a Device) -> NestParentBuilder<'a> {
        NestParentBuilder {
            ioas,
            device,
            options: Options::NEST_PARENT,
        }
    }

    /// The address space it translates: of guest physical addresses.
    #[must_use]
    pub fn ioas(&self) -> &Ioas {
        self.table.ioas()
    }

    /// The context it lives in.
    #[must_use]
    pub fn iommufd(&self) -> &Iommufd {
        self.table.iommufd()
    }

    /// Destroys the table.
    ///
    /// # Errors
    /// [`Error::InUse`], with the handle and without asking the kernel, if other handles, virtual
    /// IOMMUs, nested tables, an attachment or a dirty tracking hold it; the kernel's refusal:
    /// `EBUSY`; [`Error::Forked`].
    ///
    /// [`Error::InUse`]: crate::Error::InUse
    /// [`Error::Forked`]: crate::Error::Forked
    pub fn try_destroy(self) -> Result<(), Refused<Self>> {
        let table = self.table;
        table
            .try_destroy()
            .map_err(|refused| refused.map(|table| Self { table }))
    }
}

equal_by!(table: NestParent);

impl fmt::Debug for NestParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.table.describe("NestParent", f)
    }
}

/// The options of a nesting parent to be: see [`NestParent::builder`].
#[derive(Debug, Clone)]
#[must_use = "nothing is allocated before `allocate`"]
pub struct NestParentBuilder<'a> {
    ioas: &'a Ioas,
    device: &'a Device,
    options: Options,
}

impl NestParentBuilder<'_> {
    /// Whether the table can record what devices write: see [`NestParent::track_dirty`]. Off unless
    /// asked for; Arm's SMMU cannot, in a parent.
    ///
    /// Since Linux 6.7.
    #[doc(alias = "IOMMU_HWPT_ALLOC_DIRTY_TRACKING")]
    pub fn dirty_tracking(mut self, wanted: bool) -> Self {
        self.options = self.options.with(Options::DIRTY_TRACKING, wanted);
        self
    }

    /// Whether the table can be attached to a PASID, and to a device that has tables attached to
    /// its PASIDs. Off unless asked for; Arm's SMMU cannot, in a parent.
    ///
    /// Since Linux 6.15.
    #[doc(alias = "IOMMU_HWPT_ALLOC_PASID")]
    pub fn pasid(mut self, wanted: bool) -> Self {
        self.options = self.options.with(Options::PASID, wanted);
        self
    }

    /// Allocates it.
    ///
    /// # Errors
    /// As for [`NestParent::new`]; `EOPNOTSUPP`: the IOMMU does not have an option;
    /// [`Error::Unsupported`](crate::Error::Unsupported): this kernel does not.
    pub fn allocate(self) -> Result<NestParent> {
        let kind = "nesting parent";
        PagingTable::new(kind, self.ioas, self.device, self.options, None)
            .map(|table| NestParent { table })
    }
}
