//! NVIDIA's Tegra241 CMDQ-V: command queues of the guest's own beside its SMMUv3.

// UNSAFETY: vouches for what the kernel takes these structures for.
#![expect(unsafe_code, reason = "implements an unsafe trait")]

use iommufd_sys::iommufd as sys;
use smmuv3_types::{EventRecord, Invalidation, StreamId};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{Smmuv3, Smmuv3Demands, StaleAsids};
use crate::device::Device;
use crate::error::Result;
use crate::format::{Event, HasHwQueues, PageLocation, Reports, ShowsPage, ViommuKind};

/// A virtual SMMUv3 with a virtual interface (`VINTF`) of a Tegra241 CMDQ-V: the guest has command
/// queues of its own, which the hardware reads without the VMM.
///
/// It is of SMMUv3's family: it takes the same nested tables and invalidations and reports the same
/// [`EventRecord`]s, in a queue of their own. Besides it has
/// - a [page](crate::Viommu::map_page) with the registers of its queues, for the guest;
/// - [`HwQueue`](crate::HwQueue)s: as many as
///   [`log2_vcmdqs`](crate::Tegra241CmdqvInfo::log2_vcmdqs) says, each of a power of two of bytes,
///   from 32 up to what `SMMU_IDR1.CMDQS` allows, in physically contiguous memory that is aligned to
///   its length;
/// - [`VcmdqErrors`], of queues that have stopped.
///
/// A guest may put only `TLBI_NH_ASID`, `TLBI_NH_VA` and `ATC_INV` into its own queues (it must read
/// `VINTF_CONFIG.HYP_OWN` as 0); all else goes through the emulated queue. As many devices can be
/// behind it as [`log2_vsids`](crate::Tegra241CmdqvInfo::log2_vsids) says.
///
/// ```no_run
/// # fn example(
/// #     parent: &iommufd::NestParent,
/// #     device: &iommufd::Device,
/// #     queue: iommufd::IovaRange,
/// # ) -> iommufd::Result<()> {
/// use iommufd::smmuv3::{EventRecord, Tegra241Cmdqv, VcmdqErrors, VintfPage};
/// use iommufd::{HwQueue, VEventQueue, Viommu};
///
/// let (smmu, events) = Viommu::<Tegra241Cmdqv>::with_data_and_events::<EventRecord>(
///     parent,
///     device,
///     VintfPage::default(),
///     512,
/// )?;
/// let errors = VEventQueue::<VcmdqErrors>::new(&smmu, 16)?;
/// let registers = smmu.map_page()?;
/// let first = HwQueue::first(&smmu, queue)?;
/// # Ok(())
/// # }
/// ```
///
/// Since Linux 6.17, on Grace and newer.
#[derive(Debug, Clone, Copy)]
pub enum Tegra241Cmdqv {}

/// Where the registers of the guest's queues can be mapped: the kernel's answer to
/// [`Viommu::with_data`](crate::Viommu::with_data), which is given an empty one.
#[doc(alias = "iommu_viommu_tegra241_cmdqv")]
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct VintfPage {
    offset: u64,
    len: u64,
}

// The kernel's layout.
const _: () = assert!(size_of::<VintfPage>() == size_of::<sys::iommu_viommu_tegra241_cmdqv>());

// SAFETY: the kernel takes nothing in the data and writes two numbers back.
unsafe impl ViommuKind for Tegra241Cmdqv {
    type Format = Smmuv3;
    const TYPE: u32 = sys::IOMMU_VIOMMU_TYPE_TEGRA241_CMDQV;
    type Data = VintfPage;
    type VirtualId = StreamId;
    type Stale = StaleAsids;
    type Demands = Smmuv3Demands;

    fn stale(stale: &StaleAsids, demands: &Smmuv3Demands) -> Vec<Invalidation> {
        Smmuv3::stale(stale, demands)
    }

    fn demands(device: &Device) -> Result<Smmuv3Demands> {
        Smmuv3::demands(device)
    }
}

impl ShowsPage for Tegra241Cmdqv {
    fn page(answer: &VintfPage) -> PageLocation {
        PageLocation {
            offset: answer.offset,
            len: answer.len,
        }
    }
}

impl HasHwQueues for Tegra241Cmdqv {
    const QUEUE_TYPE: u32 = sys::IOMMU_HW_QUEUE_TYPE_TEGRA241_CMDQV;
}

impl Reports<EventRecord> for Tegra241Cmdqv {}
impl Reports<VcmdqErrors> for Tegra241Cmdqv {}

/// Which of a guest's own command queues have an error: the `LVCMDQ_ERR_MAP` registers.
///
/// What the error is the guest finds in the page that it was given.
#[doc(alias = "iommu_vevent_tegra241_cmdqv")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct VcmdqErrors {
    map: [u64; 2],
}

impl VcmdqErrors {
    /// Both registers, for the guest: a bit for each queue, from 0 on.
    #[must_use]
    pub fn map(&self) -> [u64; 2] {
        self.map
    }

    /// The numbers of the queues, ascending.
    pub fn queues(&self) -> impl Iterator<Item = u32> + use<> {
        let map = u128::from(self.map[0]) | u128::from(self.map[1]) << 64;
        (0..u128::BITS).filter(move |queue| map >> queue & 1 == 1)
    }
}

impl Event for VcmdqErrors {
    const QUEUE_TYPE: u32 = sys::IOMMU_VEVENTQ_TYPE_TEGRA241_CMDQV;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_with_errors_are_told_by_number() {
        let errors = VcmdqErrors {
            map: [1 << 63 | 1, 2],
        };
        assert_eq!(errors.queues().collect::<Vec<_>>(), [0, 63, 65]);
        assert_eq!(errors.map(), [1 << 63 | 1, 2]);
    }
}
