//! An SMMUv3 that translates in one stage: a device works behind it as behind any other, and nothing nests.

use examples::edu::BUFFER_LEN;
use iommufd::{Access, DmaBuffer, NestParent, VendorInfo};
use rustix::io::Errno;
use tests::edu::Rig;
use tests::{raw, refused};

#[test]
#[ignore = "needs the lab's SMMUv3 without nesting: cargo lab test"]
fn tables_to_nest_in_are_refused() {
    let rig = Rig::new();
    let before = raw::objects(&rig.iommufd);
    let parent = NestParent::new(&rig.ioas, rig.device.iommu());
    refused(parent, Errno::OPNOTSUPP);
    assert_eq!(raw::objects(&rig.iommufd), before);
}

#[test]
#[ignore = "needs the lab's SMMUv3 without nesting: cargo lab test"]
fn it_says_that_it_has_no_second_stage() {
    let rig = Rig::new();
    let VendorInfo::Smmuv3(smmu) = rig.device.iommu().hw_info().unwrap().vendor else {
        panic!("the machine has an SMMUv3");
    };
    // IDR0, bits 0 (S2P) and 1 (S1P).
    assert_eq!(smmu.idr0() & 0b11, 0b10, "{smmu}");
}

#[test]
#[ignore = "needs the lab's SMMUv3 without nesting: cargo lab test"]
fn a_device_reaches_what_is_mapped_for_it() {
    let rig = Rig::new();
    let memory = DmaBuffer::new(2 * BUFFER_LEN).unwrap().share();
    let mapping = rig.ioas.map(&memory, Access::ReadWrite).unwrap();
    rig.copies_through(&memory, mapping.iova());
    let iova = mapping.iova();
    mapping.unmap().unwrap();
    assert!(!rig.reaches(iova, &memory));
}
