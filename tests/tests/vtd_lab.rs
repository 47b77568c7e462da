//! The lab's VT-d, as the driver of a real kind of IOMMU has it: what it says of itself, and what it refuses. It neither
//! nests nor records.

use iommufd::{
    AmdInfo, HwInfoType, HwPt, Ioas, Iommufd, Leaks, NestParent, Smmuv3Info, VendorInfo, VtdInfo,
};
use rustix::io::Errno;
use tests::edu::{attaches_to_tables, bind, device, lone};
use tests::hw_info::not_offered;
use tests::{raw, refused};

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn vt_d_is_described_to_whoever_asks_for_it() {
    let device = device(lone());
    let device = device.iommu();
    let info = device.hw_info().unwrap();
    assert_eq!(info.kind, Some(HwInfoType::VTD));
    let vtd: VtdInfo = device.vendor_info().unwrap();
    assert_eq!(info.vendor, VendorInfo::Vtd(vtd));
    assert_eq!(device.hw_info_of(HwInfoType::VTD).unwrap(), info);
    assert!(vtd.address_bits() >= 39, "{vtd}");
    // The registers as the bytes have them: behind the flags and what is reserved.
    let register = |at: usize| u64::from_le_bytes(info.data[at..at + 8].try_into().unwrap());
    assert_eq!(vtd.capability(), register(8));
    assert_eq!(vtd.extended_capability(), register(16));
    assert_eq!(u64::from(vtd.flags().bits()), register(0));
    not_offered(device.vendor_info::<Smmuv3Info>(), HwInfoType::SMMUV3);
    not_offered(device.vendor_info::<AmdInfo>(), HwInfoType::AMD);
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn what_the_iommu_has_not_is_refused_and_nothing_else_is() {
    let iommufd = Iommufd::open().unwrap();
    let device = bind(lone(), &iommufd);
    let iommu = device.iommu();
    let VendorInfo::Vtd(vtd) = iommu.hw_info().unwrap().vendor else {
        panic!("the lab has a VT-d");
    };
    assert!(!vtd.nested_translation());
    let ioas = Ioas::new(&iommufd).unwrap();
    let before = raw::objects(&iommufd);
    refused(NestParent::new(&ioas, iommu), Errno::OPNOTSUPP);
    let recorded = HwPt::builder(&ioas, iommu).dirty_tracking(true);
    refused(recorded.allocate(), Errno::OPNOTSUPP);
    assert_eq!(raw::objects(&iommufd), before);

    attaches_to_tables(&device, &ioas);
    assert_eq!(raw::objects(&iommufd), before);
    assert_eq!(iommufd.leaks(), Leaks::default());
}
