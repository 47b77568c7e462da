//! The lab's VT-d, as the driver of a real kind of IOMMU has it: what it says of itself, and what it refuses. It neither
//! nests nor records.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use examples::edu::Edu;
use iommufd::vtd::{NestedPasidEntry, Vtd};
use iommufd::{
    Access, AmdInfo, DmaBuffer, Error, HwInfoType, HwPt, Ioas, Iommufd, Leaks, NestParent,
    NestedHwPt, Smmuv3Info, VendorInfo, VtdFlags, VtdInfo, amd,
};
use rustix::io::Errno;
use tests::at::page;
use tests::edu::{attaches_to_tables, bind, device, lone, reaches};
use tests::hw_info::not_offered;
use tests::mock::MockDevice;
use tests::observe::Recorder;
use tests::{raw, refused};
use vtd_types::{
    CannotOffer, Capabilities, Features, FirstStage, FirstStageLevels, Gpa, HostAddressWidth,
};

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
    assert!(vtd.cap().input_bits() >= 39, "{vtd}");
    // The registers as the bytes have them: behind the flags and what is reserved.
    let register = |at: usize| u64::from_le_bytes(info.data[at..at + 8].try_into().unwrap());
    assert_eq!(vtd.cap().bits(), register(8));
    assert_eq!(vtd.ecap().bits(), register(16));
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
    assert!(!vtd.ecap().nest() && !vtd.host().nests());
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

/// A first stage of four levels, which asks for nothing that a unit that nests can lack.
fn plain() -> NestedPasidEntry {
    let none = Features::new(Capabilities::default(), HostAddressWidth::MAX).unwrap();
    let table = Gpa::new(0x1000).unwrap();
    let stage = FirstStage::new(table, FirstStageLevels::Four, &none);
    NestedPasidEntry::new(&stage).unwrap()
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn a_guests_table_is_refused_with_the_name_of_what_the_unit_lacks() {
    let (iommufd, recorder) = Recorder::context();
    let device = bind(lone(), &iommufd);
    let VendorInfo::Vtd(vtd) = device.iommu().hw_info().unwrap().vendor else {
        panic!("the lab has a VT-d");
    };
    let missing = match vtd.ecap().smts() {
        false => "ECAP_REG.SMTS",
        true => "ECAP_REG.NEST",
    };
    // The lab's VT-d makes no parent, so it is that of another IOMMU.
    let mock = MockDevice::new(&iommufd).unwrap();
    let parent = NestParent::new(&Ioas::new(&iommufd).unwrap(), &mock).unwrap();
    let objects = raw::objects(&iommufd);
    for _ in 0..2 {
        recorder.clear();
        let refused = NestedHwPt::<Vtd>::new(&parent, device.iommu(), &plain()).unwrap_err();
        let Error::LacksCapability { capability, .. } = refused else {
            panic!("{refused}");
        };
        assert_eq!(capability, missing);
        assert!(!recorder.calls().contains(&"IOMMU_HWPT_ALLOC"));
    }
    assert!(vtd.fits(&plain()).is_err());
    let offer = vtd.host().offer(vtd.capabilities());
    assert_eq!(offer, Err(CannotOffer::Nothing(missing)));
    let refused = amd::probe_nesting(&parent, device.iommu()).unwrap_err();
    let Error::HwInfoNotOffered { kind, .. } = refused else {
        panic!("{refused}");
    };
    assert_eq!(kind, HwInfoType::AMD);
    assert_eq!(raw::objects(&iommufd), objects);
}

/// Linux says of every VT-d that it has the erratum, whether it nests or not.
#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn over_memory_that_is_mapped_to_be_read_only_a_parent_is_refused_before_the_kernel_is_asked() {
    let (iommufd, recorder) = Recorder::context();
    let device = bind(lone(), &iommufd);
    let iommu = device.iommu();
    let vtd: VtdInfo = iommu.vendor_info().unwrap();
    assert!(vtd.flags().contains(VtdFlags::NO_READ_ONLY_IN_NEST_PARENT));
    let ioas = Ioas::new(&iommufd).unwrap();
    let memory = DmaBuffer::new(4096).unwrap().share();
    let map = |access| ioas.map_at(page(1), &memory, access);
    let mapping = map(Access::Read).unwrap();
    recorder.clear();
    let refusal = NestParent::new(&ioas, iommu).unwrap_err();
    assert!(
        matches!(refusal, Error::ReadOnlyMapping { mapping: at, .. } if at == mapping.range()),
        "{refusal}"
    );
    assert_eq!(recorder.calls(), ["IOMMU_GET_HW_INFO"]);
    // Tables that nothing is nested in take it.
    HwPt::new(&ioas, iommu).unwrap().try_destroy().unwrap();
    mapping.unmap().unwrap();
    // Then it is the kernel's turn; and what it refuses keeps nothing out.
    let writable = map(Access::ReadWrite).unwrap();
    refused(NestParent::new(&ioas, iommu), Errno::OPNOTSUPP);
    writable.unmap().unwrap();
    map(Access::Read).unwrap().unmap().unwrap();
    assert_eq!(iommufd.leaks(), Leaks::default());
}

/// What a relay blocks a device with: a table over an address space in which nothing is mapped; or, if that cannot be had,
/// nothing. Interrupts do not go through tables here: the engine says by one that it is done, wherever it is.
#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn what_blocks_a_device_lets_nothing_through_but_its_interrupts() {
    let iommufd = Iommufd::open().unwrap();
    let device = bind(lone(), &iommufd);
    let iommu = device.iommu();
    let ioas = Ioas::new(&iommufd).unwrap();
    let memory = DmaBuffer::new(4096).unwrap().share();
    let mapping = ioas.map_at(page(1), &memory, Access::ReadWrite).unwrap();
    let open = HwPt::builder(&ioas, iommu).pasid(true).allocate().unwrap();
    let nothing = Ioas::new(&iommufd).unwrap();
    let empty = HwPt::builder(&nothing, iommu).pasid(true);
    let empty = empty.allocate().unwrap();
    // They can be set up there, too.
    let mut attachment = device.attach(&empty).unwrap();
    let edu = Edu::new(&device).unwrap();
    for _ in 0..3 {
        assert!(!reaches(&edu, mapping.iova(), &memory));
        attachment.replace(&open).unwrap();
        assert!(reaches(&edu, mapping.iova(), &memory));
        attachment.replace(&empty).unwrap();
        assert!(!reaches(&edu, mapping.iova(), &memory));
        attachment.detach().unwrap();
        assert!(!reaches(&edu, mapping.iova(), &memory));
        attachment = device.attach(&open).unwrap();
        assert!(reaches(&edu, mapping.iova(), &memory));
        attachment.replace(&empty).unwrap();
    }
    attachment.detach().unwrap();
    mapping.unmap().unwrap();
    assert_eq!(iommufd.leaks(), Leaks::default());
}
