//! Defects of peers that have no other place here. Those with one carry the defect's number in their name.

use iommufd::{Access, Ioas, Iommufd};
use tests::at::PAGE;
use tests::memory::Living;
use tests::mock::MockDevice;

/// Peers let the kernel write into what they said it would not.
#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn p03_what_the_kernel_writes_into_an_argument_is_what_the_caller_sees() {
    let iommufd = Iommufd::open().unwrap();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let _attachment = device.attach(&ioas).unwrap();
    let living = Living::new();
    for pages in 1..8 {
        let memory = living.memory(pages * PAGE);
        let mapping = ioas.map(&memory, Access::ReadWrite).unwrap();
        assert_ne!(mapping.iova().get(), 0, "the kernel has chosen an address");
        let bytes = iommufd::DmaMemory::bytes(&*memory);
        device.check_map(mapping.iova(), bytes).unwrap();
        let unmapped = ioas.unmap_range(mapping.range()).unwrap();
        assert_eq!(unmapped, (pages * PAGE) as u64, "as the kernel counted");
    }
}

/// A peer's iommufd can be used only with KVM's crates.
#[test]
fn p17_nothing_depends_on_kvm() {
    let lock = include_str!("../../Cargo.lock");
    let packages = lock.lines().filter(|line| line.starts_with("name = "));
    assert!(packages.clone().count() > 10, "it is the list of packages");
    assert_eq!(packages.filter(|name| name.contains("kvm")).count(), 0);
}
