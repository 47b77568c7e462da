//! The limit of locked memory, for a process that has no way around it.

use iommufd::{Access, Accounting, DmaBuffer, Error, HwPt, Ioas, MemlockLimit};
use rustix::io::Errno;
use tests::at::{PAGE, mapped, page};
use tests::fork::with_locked_memory;
use tests::refused;

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_map_over_the_limit_names_the_limit_and_whose_it_is() {
    with_locked_memory(4, |iommufd, device| {
        let ioas = Ioas::new(iommufd).unwrap();
        let _attachment = device.attach(&ioas).unwrap();
        let small = DmaBuffer::new(3 * PAGE).unwrap().share();
        let mapping = ioas.map(&small, Access::ReadWrite).unwrap();
        let large = DmaBuffer::new(2 * PAGE).unwrap().share();
        let error = ioas.map(&large, Access::ReadWrite).unwrap_err();
        assert_eq!(error.errno(), Some(Errno::NOMEM));
        match error {
            Error::LockedMemory {
                operation,
                needed,
                limit,
                accounting,
                ..
            } => {
                assert_eq!(operation, "IOMMU_IOAS_MAP");
                assert_eq!(needed, 2 * PAGE as u64);
                assert_eq!(limit, MemlockLimit::Bytes(4 * PAGE as u64));
                assert_eq!(accounting, Accounting::PerUser);
            }
            other => panic!("{other}"),
        }
        assert_eq!(ioas.mapped(), mapped(1, 3 * PAGE as u64));
        DmaBuffer::reclaim(large).unwrap();
        // What is unmapped can be locked again.
        mapping.unmap().unwrap();
        let large = DmaBuffer::new(4 * PAGE).unwrap().share();
        drop(ioas.map(&large, Access::ReadWrite).unwrap());
    });
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_map_by_file_over_the_limit_says_so_too() {
    with_locked_memory(1, |iommufd, device| {
        let ioas = Ioas::new(iommufd).unwrap();
        let _attachment = device.attach(&ioas).unwrap();
        let shared = DmaBuffer::memfd(2 * PAGE).unwrap().share();
        let error = ioas.map(&shared, Access::ReadWrite).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("IOMMU_IOAS_MAP_FILE"), "{text}");
        assert!(text.contains("4096 bytes"), "{text}");
        DmaBuffer::reclaim(shared).unwrap();
    });
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn an_attach_over_the_limit_is_refused_and_leaves_nothing_locked() {
    with_locked_memory(2, |iommufd, device| {
        let ioas = Ioas::new(iommufd).unwrap();
        let shared = DmaBuffer::new(3 * PAGE).unwrap().share();
        // With nothing attached nothing is locked yet.
        let mapping = ioas.map_at(page(0), &shared, Access::ReadWrite).unwrap();
        refused(device.attach(&ioas), Errno::NOMEM);
        refused(HwPt::new(&ioas, device), Errno::NOMEM);
        mapping.unmap().unwrap();
        let _attachment = device.attach(&ioas).unwrap();
        let two = DmaBuffer::new(2 * PAGE).unwrap().share();
        let _mapping = ioas.map(&two, Access::ReadWrite).unwrap();
    });
}
