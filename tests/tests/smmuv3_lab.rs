//! The lab's SMMUv3, as the driver of a real kind of IOMMU has it: what it says of itself, lets user space nest, and
//! refuses.

use examples::edu::Edu;
use iommufd::{
    Access, AmdInfo, DmaBuffer, FaultQueue, HwInfoType, HwPt, Ioas, Iommufd, Leaks, NestParent,
    Smmuv3Info, VendorInfo, VtdInfo,
};
use iommufd_sys::iommufd as sys;
use rustix::io::Errno;
use tests::edu::{attached, attaches_to_tables, bind, device, igb, lone, taking_page_requests};
use tests::hw_info::not_offered;
use tests::igb::Igb;
use tests::{ids, raw, refused};
use vfio::{Error, Interrupts, IrqKind, MsiKind};

/// Without the lab's correction of the firmware's tables the kernel makes no virtual IOMMU.
#[test]
#[ignore = "needs the lab's SMMUv3: cargo lab test"]
fn the_kernel_makes_a_virtual_smmu_on_tables_that_others_nest_in() {
    let iommufd = Iommufd::open().unwrap();
    let device = bind(lone(), &iommufd);
    let ioas = Ioas::new(&iommufd).unwrap();
    let parent = NestParent::new(&ioas, device.iommu()).unwrap();
    let plain = HwPt::new(&ioas, device.iommu()).unwrap();
    let before = raw::objects(&iommufd);
    let viommu_on = |table| {
        let (kind, device) = (sys::IOMMU_VIOMMU_TYPE_ARM_SMMUV3, ids::of(device.iommu()));
        raw::viommu_alloc(&iommufd, kind, device, table)
    };
    let viommu = viommu_on(ids::of(&parent)).unwrap();
    raw::destroy(&iommufd, viommu).unwrap();
    assert_eq!(viommu_on(ids::of(&plain)), Err(Errno::INVAL));
    assert_eq!(raw::objects(&iommufd), before);
}

/// VT-d has an erratum for it.
#[test]
#[ignore = "needs the lab's SMMUv3: cargo lab test"]
fn under_tables_that_others_nest_in_memory_can_be_read_only() {
    let iommufd = Iommufd::open().unwrap();
    let device = bind(lone(), &iommufd);
    let ioas = Ioas::new(&iommufd).unwrap();
    let memory = DmaBuffer::new(0x1_0000).unwrap().share();
    let before = ioas.map(&memory, Access::Read).unwrap();
    let parent = NestParent::new(&ioas, device.iommu()).unwrap();
    let after = ioas.map(&memory, Access::Read).unwrap();
    before.unmap().unwrap();
    after.unmap().unwrap();
    parent.try_destroy().unwrap();
    assert_eq!(iommufd.leaks(), Leaks::default());
}

#[test]
#[ignore = "needs the lab's SMMUv3: cargo lab test"]
fn an_smmuv3_is_described_to_whoever_asks_for_it() {
    let device = device(lone());
    let device = device.iommu();
    let info = device.hw_info().unwrap();
    assert_eq!(info.kind, Some(HwInfoType::SMMUV3));
    let smmu: Smmuv3Info = device.vendor_info().unwrap();
    assert_eq!(info.vendor, VendorInfo::Smmuv3(smmu));
    assert_eq!(device.hw_info_of(HwInfoType::SMMUV3).unwrap(), info);
    // It translates in two stages: IDR0, bits 0 (S2P) and 1 (S1P).
    assert_eq!(smmu.idr0() & 0b11, 0b11, "{smmu}");
    // The registers as the bytes have them: behind the flags and what is reserved.
    let register = |at: usize| u32::from_le_bytes(info.data[at..at + 4].try_into().unwrap());
    let described = [
        smmu.idr0(),
        smmu.idr1(),
        smmu.idr2(),
        smmu.idr3(),
        smmu.idr4(),
        smmu.idr5(),
        smmu.iidr(),
        smmu.aidr(),
    ];
    assert_eq!(described, [8, 12, 16, 20, 24, 28, 32, 36].map(register));
    not_offered(device.vendor_info::<VtdInfo>(), HwInfoType::VTD);
    not_offered(device.vendor_info::<AmdInfo>(), HwInfoType::AMD);
}

#[test]
#[ignore = "needs the lab's SMMUv3: cargo lab test"]
fn what_the_smmu_has_not_is_refused_and_nothing_else_is() {
    let iommufd = Iommufd::open().unwrap();
    let device = bind(lone(), &iommufd);
    let iommu = device.iommu();
    let ioas = Ioas::new(&iommufd).unwrap();
    let before = raw::objects(&iommufd);
    let recorded = HwPt::builder(&ioas, iommu).dirty_tracking(true);
    refused(recorded.allocate(), Errno::OPNOTSUPP);
    let recorded = NestParent::builder(&ioas, iommu).dirty_tracking(true);
    refused(recorded.allocate(), Errno::OPNOTSUPP);
    assert_eq!(raw::objects(&iommufd), before);

    attaches_to_tables(&device, &ioas);
    let parent = NestParent::new(&ioas, iommu).unwrap();
    device.attach(&parent).unwrap().detach().unwrap();
    parent.try_destroy().unwrap();
    assert_eq!(raw::objects(&iommufd), before);
    assert_eq!(iommufd.leaks(), Leaks::default());
}

/// Other drivers look at whether a device has page requests when it is attached.
#[test]
#[ignore = "needs the lab's SMMUv3: cargo lab test"]
fn a_device_without_page_requests_is_attached_to_a_table_that_takes_them() {
    let iommufd = Iommufd::open().unwrap();
    let device = bind(lone(), &iommufd);
    let ioas = Ioas::new(&iommufd).unwrap();
    let queue = FaultQueue::new(&iommufd).unwrap();
    let table = taking_page_requests(&device, &ioas, &queue);
    let mut attachment = device.attach(&table).unwrap();
    attachment.replace(&ioas).unwrap();
    attachment.replace(&table).unwrap();
    attachment.detach().unwrap();
    table.try_destroy().unwrap();
    queue.try_close().unwrap().try_destroy().unwrap();
    assert_eq!(iommufd.leaks(), Leaks::default());
}

/// The kernel would lose a vector by it, for good: what comes after shows that it was not asked.
#[test]
#[ignore = "needs the lab's SMMUv3: cargo lab test"]
fn a_device_that_is_not_attached_has_no_interrupts_and_then_it_has() {
    let unattached = device(lone());
    for _ in 0..3 {
        let refused = unattached.msi(1).unwrap_err();
        let kind = IrqKind::Msi;
        assert!(
            matches!(refused, Error::InterruptsUnattached { kind: said, .. } if said == kind),
            "{refused}"
        );
    }
    drop(unattached);
    let (device, attachment) = attached(lone());
    let edu = Edu::new(&device).unwrap();
    edu.interrupt().unwrap();
    attachment.detach().unwrap();
}

#[test]
#[ignore = "needs the lab's SMMUv3: cargo lab test"]
fn a_device_that_was_detached_has_no_more_vectors_and_loses_none() {
    let (device, attachment) = attached(igb());
    let mut vectors = Interrupts::reserve(&device, MsiKind::MsiX, 2).unwrap();
    assert!(vectors.grows());
    vectors.enable_vector(2).unwrap();
    attachment.detach().unwrap();
    // As often as it has vectors.
    for _ in 0..Igb::VECTORS {
        let refused = vectors.enable_vector(3).unwrap_err();
        assert!(
            matches!(refused, Error::InterruptsUnattached { kind, .. } if kind == IrqKind::MsiX),
            "{refused}"
        );
    }
    // Those that there are already are no matter.
    vectors.enable_vector(0).unwrap();
    vectors.enable_vector(2).unwrap();
    drop(vectors);
    let ioas = Ioas::new(device.iommu().iommufd()).unwrap();
    let _attachment = device.attach(&ioas).unwrap();
    device.msix(Igb::VECTORS).unwrap().disable().unwrap();
}
