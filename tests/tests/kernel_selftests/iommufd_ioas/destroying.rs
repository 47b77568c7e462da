//! How address spaces go.

use std::os::fd::AsFd;
use std::ptr::NonNull;

use iommufd::{Access, Error};
use memmap2::MmapRaw;
use rustix::io::Errno;
use tests::accounted::pinned;
use tests::at::{PAGE, page};
use tests::memory::Living;
use tests::raw::map::{FIXED, map_file};
use tests::{file, mock, raw};

use super::Fixture;

pub(super) fn ioas_auto_destroy(fixture: Fixture) {
    let devices = mock::devices();
    // The SDK destroys what it has made, in whatever order it is let go of.
    let witness = raw::witness(&fixture.iommufd);
    let Fixture {
        domains,
        ioas,
        iommufd,
        limit,
    } = fixture;
    let count = domains.len();
    drop((iommufd, ioas, limit));
    assert!(raw::objects(&witness) > 0);
    drop(domains);
    assert_eq!(raw::objects(&witness), 0);
    assert_eq!(mock::devices(), devices - count);

    // The kernel does when the file is closed.
    let ioas = raw::ioas_alloc(&witness).unwrap();
    for _ in 0..count {
        mock::occupy(&witness, ioas).unwrap();
    }
    assert_eq!(mock::devices(), devices);
    drop(witness);
    assert_eq!(mock::devices(), devices - count);
}

pub(super) fn ioas_destroy(fixture: Fixture) {
    let id = fixture.id();
    let Fixture {
        mut domains,
        ioas,
        iommufd,
        ..
    } = fixture;
    if !domains.is_empty() {
        assert_eq!(raw::destroy(&iommufd, id), Err(Errno::BUSY));
    }
    // The SDK does not even ask.
    let refused = ioas.try_destroy().unwrap_err();
    assert!(matches!(refused.error(), Error::InUse { .. }));
    let ioas = refused.into_value();
    domains.remove_all();
    drop(domains);
    ioas.try_destroy().unwrap();
    assert_eq!(raw::destroy(&iommufd, id), Err(Errno::NOENT));
}

pub(super) fn ioas_area_destroy(fixture: Fixture) {
    // What the SDK has mapped holds its address space.
    let memory = Living::new().memory(PAGE);
    let mapping = fixture.ioas.map(&memory, Access::ReadWrite).unwrap();
    let ioas = fixture.ioas.clone();
    assert!(matches!(
        ioas.try_destroy().unwrap_err().error(),
        Error::InUse { .. }
    ));
    mapping.unmap().unwrap();

    // In the kernel it does not: devices do.
    let fd = &fixture.iommufd;
    let ioas = raw::ioas_alloc(fd).unwrap();
    let count = fixture.domains.len();
    let devices: Vec<_> = (0..count)
        .map(|_| mock::occupy(fd, ioas).unwrap())
        .collect();
    let areas = Areas::new(fd, ioas);
    if count > 0 {
        assert_eq!(mock::check_pins(fd, areas.bytes(), Areas::TIMES), Ok(()));
        assert_eq!(raw::destroy(fd, ioas), Err(Errno::BUSY));
        assert_eq!(mock::check_pins(fd, areas.bytes(), Areas::TIMES), Ok(()));
    }
    for device in devices {
        raw::destroy(fd, device).unwrap();
    }
    assert_eq!(mock::check_pins(fd, areas.bytes(), 0), Ok(()));
    raw::destroy(fd, ioas).unwrap();
    assert_eq!(raw::destroy(fd, ioas), Err(Errno::NOENT));
}

pub(super) fn ioas_area_auto_destroy(fixture: Fixture) {
    let (before, devices) = (pinned(), mock::devices());
    let stranger = raw::open();
    let ioas = raw::ioas_alloc(&stranger).unwrap();
    let count = fixture.domains.len();
    for _ in 0..count {
        mock::occupy(&stranger, ioas).unwrap();
    }
    let areas = Areas::new(&stranger, ioas);
    let expected = if count > 0 { Areas::TIMES } else { 0 };
    let fd = &fixture.iommufd;
    assert_eq!(mock::check_pins(fd, areas.bytes(), expected), Ok(()));
    assert_eq!(pinned() - before, u64::from(expected) * Areas::LEN as u64);
    drop(stranger);
    assert_eq!(mock::check_pins(fd, areas.bytes(), 0), Ok(()));
    assert_eq!((pinned(), mock::devices()), (before, devices));
}

/// A file that is mapped several times.
struct Areas {
    map: MmapRaw,
}

impl Areas {
    const TIMES: u32 = 10;
    const LEN: usize = 3 * PAGE;

    fn new(fd: &impl AsFd, ioas: u32) -> Self {
        let file = file::memfd(Self::LEN);
        for n in 0..u64::from(Self::TIMES) {
            let iova = page(16 * n).get();
            let whole = 0..Self::LEN as u64;
            assert_eq!(map_file(fd, ioas, FIXED, &file, whole, iova), Ok(iova));
        }
        Self {
            map: MmapRaw::map_raw(&file).unwrap(),
        }
    }

    /// The same pages, as the process sees them.
    fn bytes(&self) -> NonNull<[u8]> {
        let base = NonNull::new(self.map.as_mut_ptr()).unwrap();
        NonNull::slice_from_raw_parts(base, self.map.len())
    }
}
