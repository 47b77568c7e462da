//! Mapped registers of other devices: dma-bufs.

use iommufd::{
    Access, Attachment, DirtyBitmap, DirtyTracking, FileRange, HwPt, Ioas, Iova, IovaRange, Mapping,
};
use rustix::io::Errno;
use tests::at::{PAGE, page};
use tests::dirty::{granule, trackable};
use tests::memory::Living;
use tests::mock::{self, MockAccess, MockDevice, MockDmabuf, set_dirty};
use tests::{ids, refused};

use super::Fixture;

const LEN: u64 = PAGE as u64;

pub(super) fn dmabuf_simple(mut fixture: Fixture) {
    let dmabuf = MockDmabuf::new(&fixture.iommufd, 4 * PAGE as u32).unwrap();
    let of = |first: u64, end: u64| FileRange::new(&dmabuf, first..end);
    let ioas = fixture.ioas.clone();
    // All of it, its middle, and, where devices bear it, the second half of its last page.
    let whole = ioas
        .map_file_at(page(0), of(0, 4 * LEN), Access::ReadWrite)
        .unwrap();
    let middle = ioas
        .map_file_at(page(8), of(LEN, 3 * LEN), Access::ReadWrite)
        .unwrap();
    let last = 4 * LEN - mock::PAGE..4 * LEN;
    let half_at = page(16).checked_add(mock::PAGE).unwrap();
    let half = FileRange::new(&dmabuf, last);
    let half = ioas.map_file_at(half_at, half, Access::ReadWrite).unwrap();
    let somewhere = ioas.map_file(of(0, 4 * LEN), Access::ReadWrite).unwrap();
    assert!(ioas.iova_ranges().unwrap().contains(somewhere.range()));
    somewhere.unmap().unwrap();

    // A device that comes later finds it as well, and nothing where it is not.
    let probe = Probe::new(&ioas);
    probe.assert_reaches(&whole);
    probe.assert_reaches(&middle);
    probe.assert_reaches(&half);
    assert_eq!(probe.reaches(page(4), 2), 0);
    // So does one that is there when it is mapped.
    let later = ioas
        .map_file_at(page(32), of(0, 4 * LEN), Access::ReadWrite)
        .unwrap();
    probe.assert_reaches(&later);
    later.unmap().unwrap();
    assert_eq!(probe.reaches(page(32), 8), 0);

    // More than there is, and what wraps around.
    for (first, end) in [
        (0, 5 * LEN),
        (0, 4 * LEN + 1),
        (4 * LEN, 5 * LEN),
        (3 * LEN, 5 * LEN),
    ] {
        refused(
            ioas.map_file_at(page(64), of(first, end), Access::Read),
            Errno::INVAL,
        );
    }
    refused(
        ioas.map_file(of(u64::MAX - LEN, u64::MAX), Access::Read),
        Errno::INVAL,
    );
    refused(
        ioas.map_file_at(page(3), of(0, LEN), Access::Read),
        Errno::EXIST,
    );

    // It is no memory: the CPU does not get at it through the address space.
    let access = MockAccess::new(&ioas).unwrap();
    assert_eq!(access.read(page(0), &mut [0; 8]), Err(Errno::INVAL));
    assert_eq!(access.write(page(0), &[0; 8]), Err(Errno::INVAL));
    drop((access, half));
    let pinning = MockAccess::pinning(&ioas).unwrap();
    assert_eq!(pinning.pin(page(0), LEN).err(), Some(Errno::INVAL));
    drop(pinning);

    // Devices go and come, and the file can be closed.
    drop(dmabuf);
    fixture.domains.remove_all();
    probe.assert_reaches(&whole);
    fixture.domains.add();
    probe.assert_reaches(&whole);
    middle.unmap().unwrap();
    assert_eq!(probe.reaches(page(8), 4), 0);
    probe.assert_reaches(&whole);
    whole.unmap().unwrap();
    assert_eq!(probe.reaches(page(0), 8), 0);
}

pub(super) fn dmabuf_revoke(mut fixture: Fixture) {
    let dmabuf = MockDmabuf::new(&fixture.iommufd, 4 * PAGE as u32).unwrap();
    let other = MockDmabuf::new(&fixture.iommufd, PAGE as u32).unwrap();
    let whole = FileRange::new(&dmabuf, 0..4 * LEN);
    let ioas = fixture.ioas.clone();
    let first = ioas.map_file_at(page(0), whole, Access::ReadWrite).unwrap();
    let beside = FileRange::new(&other, 0..LEN);
    let beside = ioas
        .map_file_at(page(4), beside, Access::ReadWrite)
        .unwrap();
    let probe = Probe::new(&ioas);
    probe.assert_reaches(&first);
    probe.assert_reaches(&beside);

    // The kernel takes it away from the devices, and from no one else.
    dmabuf.revoke(true).unwrap();
    assert_eq!(probe.reaches(first.iova(), 8), 0);
    probe.assert_reaches(&beside);
    refused(
        ioas.map_file_at(page(8), whole, Access::ReadWrite),
        Errno::NODEV,
    );
    // Its place stays taken.
    let memory = Living::new().memory(PAGE);
    refused(ioas.map_at(page(0), &memory, Access::Read), Errno::EXIST);
    // Devices come and go all the same.
    fixture.domains.add();
    let late = Probe::new(&ioas);
    assert_eq!(late.reaches(first.iova(), 8), 0);
    late.assert_reaches(&beside);
    fixture.domains.remove_all();
    drop(late);

    // Given back it can be mapped again, and does not come back by itself.
    dmabuf.revoke(false).unwrap();
    assert_eq!(probe.reaches(first.iova(), 8), 0);
    let second = ioas.map_file_at(page(8), whole, Access::ReadWrite).unwrap();
    probe.assert_reaches(&second);
    assert_eq!(probe.reaches(first.iova(), 8), 0);
    first.unmap().unwrap();
    let first = ioas.map_file_at(page(0), whole, Access::ReadWrite).unwrap();
    probe.assert_reaches(&first);

    // All of its mappings are revoked, and once more is no harm.
    for _ in 0..2 {
        dmabuf.revoke(true).unwrap();
        assert_eq!(probe.reaches(first.iova(), 8), 0);
        assert_eq!(probe.reaches(second.iova(), 8), 0);
    }
    probe.assert_reaches(&beside);
    first.unmap().unwrap();
    second.unmap().unwrap();
    beside.unmap().unwrap();
    assert_eq!(fixture.iommufd.leaks(), iommufd::Leaks::default());
}

/// A device whose page table records what is written, which shows what it leads to.
struct Probe {
    tracking: DirtyTracking,
    table: HwPt,
    _attachment: Attachment,
}

impl Probe {
    fn new(ioas: &Ioas) -> Self {
        let device = MockDevice::new(ioas.iommufd()).unwrap();
        let table = trackable(ioas, &device).unwrap();
        Self {
            tracking: table.track_dirty().unwrap(),
            _attachment: device.attach(&table).unwrap(),
            table,
        }
    }

    /// Which of the pages from `start` on the device can write, of `count` of the mock's pages: bit `n` is page `n`.
    fn reaches(&self, start: Iova, count: u64) -> u64 {
        let fd = self.table.iommufd();
        let range = IovaRange::with_len(start, count * mock::PAGE).unwrap();
        let whole = (start.get(), count * mock::PAGE);
        set_dirty(fd, ids::of(&self.table), whole, mock::PAGE, &[u64::MAX]).unwrap();
        let mut written = DirtyBitmap::new(range, granule(mock::PAGE)).unwrap();
        self.tracking.read_and_clear(&mut written).unwrap();
        written.words()[0]
    }

    #[track_caller]
    fn assert_reaches(&self, mapping: &Mapping) {
        let count = mapping.len() / mock::PAGE;
        let all = (1 << count) - 1;
        assert_eq!(self.reaches(mapping.iova(), count), all, "{mapping:?}");
    }
}
