//! What a virtual IOMMU is told, and the page that it shows.

use iommufd::format::{PageLocation, ShowsPage};
use iommufd::{Error, Viommu};
use iommufd_sys::ioctl::SizedArg;
use iommufd_sys::iommufd as sys;
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};
use tests::ids;
use tests::mock::abi;
use tests::mock::nesting::{Loopback, MockViommuWithPage};
use tests::raw::{self, nested};

use super::Fixture;

/// What goes round.
const WORD: u32 = 0xcafe_f00d;
const PAGE: u64 = 4096;

const RW: ProtFlags = ProtFlags::READ.union(ProtFlags::WRITE);

pub(super) fn viommu_alloc_with_data(fixture: Fixture) {
    let fd = &fixture.iommufd;
    let map = |offset, len, prot, flags| {
        let location = PageLocation { offset, len };
        nested::map(fd, location, prot, flags).map(drop)
    };
    let nothing = |offset, len| {
        let answer = map(offset, len, RW, MapFlags::SHARED);
        assert_eq!(answer, Err(Errno::NXIO), "{offset:#x} {len:#x}");
    };
    let nowhere = || {
        for offset in [0, PAGE, 1 << 20, 1 << 40] {
            nothing(offset, PAGE);
            nothing(offset, 2 * PAGE);
        }
    };
    nowhere();
    let alloc = |dev, parent, data: &mut [u8]| {
        let mut arg = sys::iommu_viommu_alloc::sized();
        arg.type_ = abi::TYPE_SELFTEST;
        arg.dev_id = dev;
        arg.hwpt_id = parent;
        nested::viommu_alloc(fd, &mut arg, data)
    };
    let Some(guest) = &fixture.guest else {
        assert_eq!(alloc(0, 0, &mut [0; 24]), Err(Errno::NOENT));
        return;
    };
    let (device, parent) = (&guest.device, &guest.parent);
    // Of the data there must be as much as its first release had, and no more than it has.
    for wrong in [1, 4, 7, 25, 4096] {
        let answer = alloc(device.id(), ids::of(parent), &mut vec![0; wrong]);
        assert_eq!(answer, Err(Errno::INVAL), "{wrong}");
    }
    nowhere();

    let data = Loopback {
        in_data: WORD,
        ..Loopback::default()
    };
    let viommu = Viommu::<MockViommuWithPage>::with_data(parent, device, data).unwrap();
    let answer = *viommu.data();
    assert_eq!((answer.in_data, answer.out_data), (WORD, WORD));
    let PageLocation { offset, len } = MockViommuWithPage::page(&answer);
    assert_eq!(len, 2 * PAGE);
    // All of it, and shared, or nothing; and no code.
    map(offset, len, RW, MapFlags::SHARED).unwrap();
    map(offset, len, ProtFlags::READ, MapFlags::SHARED).unwrap();
    let answer = map(offset, len, RW, MapFlags::PRIVATE);
    assert_eq!(answer, Err(Errno::INVAL));
    let code = ProtFlags::READ | ProtFlags::EXEC;
    assert_eq!(map(offset, len, code, MapFlags::SHARED), Err(Errno::PERM));
    for (offset, len) in [
        (offset, PAGE),
        (offset + PAGE, PAGE),
        (offset + PAGE, 2 * PAGE),
        (offset, 3 * PAGE),
        (offset + 2 * PAGE, 2 * PAGE),
        (0, 2 * PAGE),
    ] {
        nothing(offset, len);
    }

    // It stays as long as it is mapped.
    let page = viommu.map_page().unwrap();
    assert_eq!(page.read::<u32>(0).unwrap(), WORD);
    assert_eq!(raw::destroy(fd, ids::of(&viommu)), Err(Errno::BUSY));
    let refusal = viommu.try_destroy().unwrap_err();
    assert!(matches!(refusal.error(), Error::InUse { .. }));
    drop(page);
    refusal.into_value().try_destroy().unwrap();
    nothing(offset, len);
    nowhere();
}
