//! Invalidations of a guest's SMMUv3, where the machine has one.

use iommufd::smmuv3::{Invalidation, Smmuv3, StreamId};
use iommufd::{Ioas, Iommufd, NestParent, VDevice, Viommu};
use iommufd_sys::iommufd as sys;
use smmuv3_types::{Asid, InputAddress};
use tests::edu;

use super::invalidations::Taker;
use crate::raw::Raw;

/// Of one page each, as a guest's driver unmaps pages.
pub(crate) fn invalidations() {
    let iommufd = Iommufd::open().unwrap();
    let device = edu::bind(edu::lone(), &iommufd);
    let ioas = Ioas::new(&iommufd).unwrap();
    let parent = NestParent::new(&ioas, device.iommu()).unwrap();
    let smmu: Viommu<Smmuv3> = Viommu::new(&parent, device.iommu()).unwrap();
    let _vdevice = VDevice::new(&smmu, device.iommu(), StreamId::new(0x42)).unwrap();
    let limits = smmu.demands().limits();
    let command = |n: u64| {
        let address = InputAddress::new(n << 12);
        Invalidation::tlbi_nh_va(Asid::new(1), address, true, None, limits).unwrap()
    };
    let taker = Taker {
        what: "SMMUv3",
        raw: Raw::of(&iommufd, &smmu),
        kind: sys::IOMMU_VIOMMU_INVALIDATE_DATA_ARM_SMMUV3,
        commands: (0..4096).map(command).collect(),
    };
    taker.compare(|commands| smmu.invalidate(commands).unwrap());
}
