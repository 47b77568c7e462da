//! Hardware page tables.

use std::fmt;
use std::sync::Arc;

use crate::context::Iommufd;
use crate::device::Device;
use crate::error::{Refused, Result};
use crate::fault_queue::FaultQueue;
use crate::ioas::Ioas;
use crate::object::equal_by;
use crate::paging::{Options, PagingTable};

/// A page table that translates an address space for the IOMMU of one device, and of all others
/// behind a compatible one.
///
/// Attaching a device to an [`Ioas`] makes such a table behind the scenes. Making it by hand lets
/// several devices share one on purpose, and is where options are asked for:
///
/// ```no_run
/// # fn example(ioas: &iommufd::Ioas, device: &iommufd::Device) -> iommufd::Result<()> {
/// use iommufd::HwPt;
///
/// let hwpt = HwPt::builder(ioas, device).dirty_tracking(true).allocate()?;
/// let attachment = device.attach(&hwpt)?;
/// # Ok(())
/// # }
/// ```
///
/// Cloning gives another handle. The table holds its address space; an attachment holds the table.
/// Dropping the last handle destroys it; [`try_destroy`](Self::try_destroy) does the same, and
/// tells. The kernel refuses at once (`EBUSY`) while an ioctl of somebody else is using it.
///
/// # System calls
/// `IOMMU_HWPT_ALLOC` and `IOMMU_DESTROY`.
///
/// Since Linux 6.6.
#[derive(Clone)]
#[doc(alias = "IOMMU_HWPT_ALLOC")]
pub struct HwPt {
    pub(crate) table: Arc<PagingTable>,
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
        Self::builder(ioas, device).allocate()
    }

    /// A table with options, which are fixed once it is allocated.
    pub fn builder<'a>(ioas: &'a Ioas, device: &'a Device) -> HwPtBuilder<'a> {
        HwPtBuilder {
            ioas,
            device,
            options: Options::empty(),
            fault_queue: None,
        }
    }

    /// The address space it translates.
    #[must_use]
    pub fn ioas(&self) -> &Ioas {
        self.table.ioas()
    }

    /// The context it lives in.
    #[must_use]
    pub fn iommufd(&self) -> &Iommufd {
        self.table.iommufd()
    }

    /// Where the page requests of its devices go, if it was allocated with a queue.
    #[must_use]
    pub fn fault_queue(&self) -> Option<&FaultQueue> {
        self.table.fault_queue()
    }

    /// Destroys the table.
    ///
    /// # Errors
    /// [`Error::InUse`], with the handle and without asking the kernel, if other handles, an
    /// attachment or a dirty tracking hold it; the kernel's refusal: `EBUSY`; [`Error::Forked`].
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

equal_by!(table: HwPt);

impl fmt::Debug for HwPt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.table.describe("HwPt", f)
    }
}

/// The options of a page table to be: see [`HwPt::builder`].
#[derive(Debug, Clone)]
#[must_use = "nothing is allocated before `allocate`"]
pub struct HwPtBuilder<'a> {
    ioas: &'a Ioas,
    device: &'a Device,
    options: Options,
    fault_queue: Option<&'a FaultQueue>,
}

impl<'a> HwPtBuilder<'a> {
    /// Whether the table can record what devices write: see [`HwPt::track_dirty`]. Off unless asked
    /// for.
    ///
    /// Every device that is attached to it must then be able to
    /// ([`Capabilities::DIRTY_TRACKING`](crate::Capabilities::DIRTY_TRACKING)).
    ///
    /// Since Linux 6.7.
    #[doc(alias = "IOMMU_HWPT_ALLOC_DIRTY_TRACKING")]
    pub fn dirty_tracking(mut self, wanted: bool) -> Self {
        self.options = self.options.with(Options::DIRTY_TRACKING, wanted);
        self
    }

    /// Whether the table can be attached to a PASID, and to a device that has tables attached to
    /// its PASIDs. Off unless asked for.
    ///
    /// Since Linux 6.15.
    #[doc(alias = "IOMMU_HWPT_ALLOC_PASID")]
    pub fn pasid(mut self, wanted: bool) -> Self {
        self.options = self.options.with(Options::PASID, wanted);
        self
    }

    /// Lets devices ask for what is not mapped, and delivers what they ask for to `queue`. Without
    /// one the IOMMU refuses such an access at once.
    ///
    /// Attaching a device then takes page requests of it: on VT-d it fails with `ENODEV` if the
    /// device has none; it fails with `EINVAL` for a virtual function of a device that has them.
    ///
    /// Since Linux 6.13; before, only [nested tables](crate::NestedHwPtBuilder::fault_queue) can.
    #[doc(alias = "IOMMU_HWPT_FAULT_ID_VALID")]
    pub fn fault_queue(mut self, queue: &'a FaultQueue) -> Self {
        self.fault_queue = Some(queue);
        self
    }

    /// Allocates it.
    ///
    /// # Errors
    /// As for [`HwPt::new`]; `EOPNOTSUPP`: the IOMMU does not have an option;
    /// [`Error::Unsupported`](crate::Error::Unsupported): this kernel does not;
    /// [`Error::ForeignContext`](crate::Error::ForeignContext), of the fault queue, too.
    pub fn allocate(self) -> Result<HwPt> {
        let kind = "page table";
        let (options, queue) = (self.options, self.fault_queue);
        PagingTable::new(kind, self.ioas, self.device, options, queue).map(|table| HwPt { table })
    }
}
