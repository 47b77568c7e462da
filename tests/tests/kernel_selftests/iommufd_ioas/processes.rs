//! Memory of another process.

use iommufd::{Access, DmaBuffer};
use rustix::io::Errno;
use tests::accounted::Accounted;
use tests::at::{PAGE, page};
use tests::fork::{beside, in_child};
use tests::memory::Living;
use tests::mock::MockAccess;
use tests::raw::map::{FIXED, map};
use tests::{raw, refused};

use super::Fixture;

const LEN: usize = 4 * PAGE;

pub(super) fn fork_gone(mut fixture: Fixture) {
    let (fd, id) = (fixture.iommufd.clone(), fixture.id());
    in_child(|| {
        let mut buffer = DmaBuffer::new(LEN).unwrap();
        buffer.fill(0x5a);
        map(&fd, id, FIXED, &buffer.share(), page(0).get()).unwrap();
    });
    // The process is gone, and so is its memory, but for what was pinned.
    let access = MockAccess::new(&fixture.ioas).unwrap();
    let mut seen = vec![0; LEN];
    if fixture.domains.is_empty() {
        assert_eq!(access.read(page(0), &mut seen), Err(Errno::FAULT));
        let pinning = MockAccess::pinning(&fixture.ioas).unwrap();
        assert_eq!(pinning.pin(page(0), LEN as u64).err(), Some(Errno::FAULT));
        drop(pinning);
        let device = tests::mock::MockDevice::new(&fd).unwrap();
        refused(device.attach(&fixture.ioas), Errno::FAULT);
        refused(iommufd::HwPt::new(&fixture.ioas, &device), Errno::FAULT);
    } else {
        // Further devices find what the first one has.
        fixture.domains.add();
        fixture.domains.remove_first();
        access.read(page(0), &mut seen).unwrap();
        assert!(seen.iter().all(|&byte| byte == 0x5a));
        access.write(page(1), b"changed").unwrap();
        access.read_slowly(page(0), &mut seen).unwrap();
        assert_eq!(seen[PAGE..PAGE + 8], *b"changed\x5a");
        // With the last one it is gone for good.
        fixture.domains.remove_all();
        assert_eq!(access.read(page(0), &mut seen), Err(Errno::FAULT));
    }
    // It is a mapping all the same.
    let taken = fixture
        .ioas
        .map_at(page(3), Living::new().memory(PAGE), Access::Read);
    refused(taken, Errno::EXIST);
    assert_eq!(
        raw::unmap(&fd, id, page(0).get(), LEN as u64),
        Ok(LEN as u64)
    );
    fixture.domains.add();
}

pub(super) fn fork_present(mut fixture: Fixture) {
    let (fd, id) = (fixture.iommufd.clone(), fixture.id());
    let pinned_at_once = if fixture.domains.is_empty() {
        0
    } else {
        LEN as u64
    };
    let access = MockAccess::new(&fixture.ioas).unwrap();
    let pinning = MockAccess::pinning(&fixture.ioas).unwrap();
    let mut seen = vec![0; LEN];
    let mut pin = None;
    beside(
        |link| {
            let mut buffer = DmaBuffer::new(LEN).unwrap();
            buffer.fill(0x5a);
            let shared = buffer.share();
            map(&fd, id, FIXED, &shared, page(0).get()).unwrap();
            link.meet();
            // The parent attaches, reads and writes.
            link.meet();
            let mut seen = [0; 8];
            shared.read_bytes(PAGE, &mut seen).unwrap();
            assert_eq!(seen, *b"changed\x5a");
            shared.write_bytes(2 * PAGE, b"here too").unwrap();
            link.meet();
        },
        |link, child| {
            let of_child = || Accounted::of(&child.to_string()).pinned;
            link.meet();
            assert_eq!(of_child(), pinned_at_once);
            fixture.domains.add();
            assert_eq!(of_child(), LEN as u64, "the pages are the child's");
            pin = Some(pinning.pin(page(0), LEN as u64).unwrap());
            assert_eq!(of_child(), LEN as u64);
            for slowly in [false, true] {
                let read = if slowly {
                    access.read_slowly(page(0), &mut seen)
                } else {
                    access.read(page(0), &mut seen)
                };
                assert_eq!(read, Ok(()));
                assert!(seen.iter().all(|&byte| byte == 0x5a));
            }
            access.write(page(1), b"changed").unwrap();
            link.meet();
            link.meet();
        },
    );
    // The child is gone. Its pages are there as long as somebody has them pinned.
    access.read(page(2), &mut seen[..8]).unwrap();
    assert_eq!(seen[..8], *b"here too");
    fixture.domains.add();
    fixture.domains.remove_all();
    access.read(page(2), &mut seen[..8]).unwrap();
    assert_eq!(seen[..8], *b"here too", "the access has them pinned");
    fixture.domains.add();
    fixture.domains.remove_all();
    pinning.unpin(pin.take().unwrap()).unwrap();
    assert_eq!(access.read(page(2), &mut seen[..8]), Err(Errno::FAULT));
    assert_eq!(
        raw::unmap(&fd, id, page(0).get(), LEN as u64),
        Ok(LEN as u64)
    );
}
