//! The kernel has mapped or unmapped, and cannot write that where the SDK would read it: it answers `EFAULT`, as it does
//! when it has done nothing. Memory is let go of only when it is out of the kernel's reach.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::sync::Arc;

use iommufd::{Access, DmaMemory, Error, Ioas, Iommufd, Leaks, Mapped, Mapping};
use rustix::io::Errno;
use tests::at::{PAGE, page, pages};
use tests::lost_answer::until_lost;
use tests::memory::{Living, Nowhere};
use tests::mock::{MockDevice, check_pins};
use tests::observe::Recorder;
use tests::{ids, raw, refused};

/// So much that the kernel takes a while to map it.
const LARGE: usize = 64 << 20;

const NOT_SAID: Result<(), Errno> = Err(Errno::FAULT);

struct Space {
    ioas: Ioas,
    living: Living,
    recorder: Arc<Recorder>,
    iommufd: Iommufd,
    device: MockDevice,
}

impl Space {
    fn new() -> Self {
        let (iommufd, recorder) = Recorder::context();
        Self {
            ioas: Ioas::new(&iommufd).unwrap(),
            living: Living::new(),
            recorder,
            device: MockDevice::new(&iommufd).unwrap(),
            iommufd,
        }
    }

    /// Makes mappings at an address until the answer to `ioctl` is lost. What was mapped then is unmapped.
    fn lose_and_undo(&self, ioctl: &'static str, make: impl Fn() -> Result<Mapping, Error> + Sync) {
        until_lost(|moment| {
            self.recorder.clear();
            match moment.during(&make) {
                Ok(mapping) => {
                    mapping.unmap().unwrap();
                    false
                }
                Err(error) => {
                    assert_eq!(error.errno(), Some(Errno::FAULT));
                    let undone = ("IOMMU_IOAS_UNMAP", Ok(()));
                    assert_eq!(self.recorder.answers(), [(ioctl, NOT_SAID), undone]);
                    true
                }
            }
        });
    }

    /// What the kernel has mapped still, of which it has nothing then.
    fn left_in_the_kernel(&self) -> u64 {
        raw::unmap(&self.iommufd, ids::of(&self.ioas), 0, u64::MAX).unwrap()
    }
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn what_was_mapped_at_an_address_without_an_answer_is_unmapped() {
    let space = Space::new();
    let _attachment = space.device.attach(&space.ioas).unwrap();
    let memory = space.living.memory(LARGE);
    space.lose_and_undo("IOMMU_IOAS_MAP", || {
        space.ioas.map_at(page(0), &memory, Access::ReadWrite)
    });
    check_pins(&space.iommufd, memory.bytes(), 0).unwrap();
    drop(memory);
    assert_eq!(space.living.count(), 0);
    assert_eq!(space.left_in_the_kernel(), 0);
    assert_eq!(space.ioas.mapped(), Mapped::default());
    assert_eq!(space.iommufd.leaks(), Leaks::default());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn what_was_copied_to_an_address_without_an_answer_is_unmapped() {
    let space = Space::new();
    let _attachment = space.device.attach(&space.ioas).unwrap();
    let other = Ioas::new(&space.iommufd).unwrap();
    let memory = space.living.memory(LARGE);
    let source = other.map_at(page(0), &memory, Access::ReadWrite).unwrap();
    space.lose_and_undo("IOMMU_IOAS_COPY", || {
        space.ioas.copy_at(page(0), &source, Access::ReadWrite)
    });
    source.unmap().unwrap();
    drop(memory);
    assert_eq!(space.living.count(), 0);
    assert_eq!(space.left_in_the_kernel(), 0);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn what_was_mapped_at_an_unknown_address_stays_until_all_is_unmapped() {
    let space = Space::new();
    let _attachment = space.device.attach(&space.ioas).unwrap();
    let memory = space.living.memory(LARGE);
    until_lost(|moment| {
        let map = || space.ioas.map(&memory, Access::ReadWrite);
        match moment.during(map) {
            Ok(mapping) => {
                mapping.unmap().unwrap();
                false
            }
            Err(error) => {
                assert_eq!(error.errno(), Some(Errno::FAULT));
                true
            }
        }
    });
    check_pins(&space.iommufd, memory.bytes(), 1).unwrap();
    drop(memory);
    assert_eq!(space.living.count(), 1, "the device reaches it");
    assert_eq!(space.iommufd.leaks().mappings, 1);
    assert_eq!(space.recorder.refusals(), [("mapping", Some(Errno::FAULT))]);
    assert_eq!(space.ioas.unmap_all().unwrap(), LARGE as u64);
    assert_eq!(space.living.count(), 0);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn what_was_unmapped_without_an_answer_is_let_go_of() {
    let space = Space::new();
    let _attachment = space.device.attach(&space.ioas).unwrap();
    let memory = space.living.memory(LARGE);
    until_lost(|moment| {
        let mapping = space.ioas.map_at(page(0), &memory, Access::ReadWrite);
        let mapping = mapping.unwrap();
        space.recorder.clear();
        moment.during(|| mapping.unmap()).unwrap();
        let answers = space.recorder.answers();
        assert_eq!(space.ioas.mapped(), Mapped::default());
        let lost = answers.first() == Some(&("IOMMU_IOAS_UNMAP", NOT_SAID));
        // It was asked for again, and then whether something else could be mapped there.
        let unmap = "IOMMU_IOAS_UNMAP";
        let first = [(unmap, NOT_SAID), (unmap, Err(Errno::NOENT))];
        let free = [("IOMMU_IOAS_MAP", Err(Errno::FAULT)); 2];
        assert!(!lost || answers == [first, free].concat());
        lost
    });
    drop(memory);
    assert_eq!(space.living.count(), 0);
    assert_eq!(space.iommufd.leaks(), Leaks::default());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn an_unmap_of_all_without_an_answer_lets_go_of_all() {
    let space = Space::new();
    let _attachment = space.device.attach(&space.ioas).unwrap();
    let memory = space.living.memory(LARGE);
    until_lost(|moment| {
        let mapping = space.ioas.map_at(page(0), &memory, Access::ReadWrite);
        let mapping = mapping.unwrap();
        space.recorder.clear();
        let bytes = moment.during(|| space.ioas.unmap_all()).unwrap();
        assert_eq!(bytes, LARGE as u64);
        drop(mapping);
        space.recorder.answers().first() == Some(&("IOMMU_IOAS_UNMAP", NOT_SAID))
    });
    drop(memory);
    assert_eq!(space.living.count(), 0);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn what_could_not_be_pinned_takes_nothing_of_what_is_mapped() {
    let space = Space::new();
    let _attachment = space.device.attach(&space.ioas).unwrap();
    let memory = space.living.memory(PAGE);
    let before = space.ioas.map_at(page(0), &memory, Access::Read).unwrap();
    let after = space.ioas.map_at(page(2), &memory, Access::Read).unwrap();
    let nowhere = Arc::new(Nowhere);
    refused(
        space.ioas.map_at(page(1), &nowhere, Access::Read),
        Errno::FAULT,
    );
    assert_eq!(Arc::strong_count(&nowhere), 1);
    assert_eq!(space.iommufd.leaks(), Leaks::default());
    // The kernel says the same when it has mapped it somewhere.
    refused(space.ioas.map(&nowhere, Access::Read), Errno::FAULT);
    assert_eq!(Arc::strong_count(&nowhere), 2);
    assert_eq!(space.iommufd.leaks().mappings, 1);
    assert_eq!(space.ioas.mapped(), tests::at::mapped(2, 2 * PAGE as u64));
    let copy = space.ioas.copy_at(page(5), &before, Access::Read).unwrap();
    assert_eq!(Arc::strong_count(&nowhere), 3, "with the copy");
    copy.unmap().unwrap();
    for mapping in [&before, &after] {
        space
            .device
            .check_map(mapping.iova(), memory.bytes())
            .unwrap();
    }
    space.ioas.unmap_range(pages(0, 9)).unwrap();
    assert_eq!(Arc::strong_count(&nowhere), 2);
    assert_eq!(space.ioas.unmap_all().unwrap(), 0);
    assert_eq!(Arc::strong_count(&nowhere), 1);
}
