//! What addresses must be multiples of, and what changes that.

use std::ops::Range;

use iommufd::{Access, DmaSlice, HwPt, Ioas, Iova, Mapping};
use iommufd_sys::iommufd as sys;
use rustix::io::Errno;
use tests::at::{PAGE, page};
use tests::memory::Living;
use tests::mock::{MockAccess, MockDevice};
use tests::{mock, raw, refused};

use super::Fixture;
use crate::domains::Domains;

const SET: u32 = sys::IOMMU_OPTION_OP_SET;
const GET: u32 = sys::IOMMU_OPTION_OP_GET;
const HALF: usize = mock::PAGE as usize;

pub(super) fn ioas_option_huge_pages(fixture: Fixture) {
    let usual = if fixture.domains.is_empty() {
        1
    } else {
        mock::PAGE
    };
    assert_eq!(fixture.huge_pages(GET, 77), Ok(1));
    assert_eq!(fixture.alignment(), usual);
    assert_eq!(fixture.huge_pages(SET, 2), Err(Errno::INVAL));
    assert_eq!(fixture.huge_pages(2, 0), Err(Errno::OPNOTSUPP));

    // Without them everything is mapped by whole pages.
    assert_eq!(fixture.huge_pages(SET, 0), Ok(0));
    assert_eq!(fixture.huge_pages(GET, 77), Ok(0));
    assert_eq!(fixture.alignment(), PAGE as u64);
    let memory = Living::new().memory(2 * PAGE);
    let half = DmaSlice::new(&memory, ..HALF).unwrap();
    let mapped = fixture.ioas.map_at(page(0), half, Access::Read);
    refused(mapped, Errno::INVAL);
    let whole = fixture.ioas.map_at(page(0), &memory, Access::Read).unwrap();
    fixture.domains.assert_map(page(0), &*memory);
    // It is so already, which is no change.
    assert_eq!(fixture.huge_pages(SET, 0), Ok(0));
    // They can come back at any time, and not be taken away under mappings in a page table.
    assert_eq!(fixture.huge_pages(SET, 1), Ok(1));
    assert_eq!(fixture.alignment(), usual);
    if fixture.domains.is_empty() {
        assert_eq!(fixture.huge_pages(SET, 0), Ok(0));
        assert_eq!(fixture.huge_pages(SET, 1), Ok(1));
    } else {
        assert_eq!(fixture.huge_pages(SET, 0), Err(Errno::INVAL));
    }
    assert_eq!(fixture.huge_pages(GET, 77), Ok(1));
    fixture.domains.assert_map(page(0), &*memory);
    whole.unmap().unwrap();
    assert_eq!(fixture.huge_pages(SET, 0), Ok(0));
    assert!(!fixture.ioas.huge_pages().unwrap());

    // The SDK knows it as an option of an address space to be.
    for huge_pages in [true, false] {
        let builder = Ioas::builder(&fixture.iommufd).huge_pages(huge_pages);
        let ioas = builder.allocate().unwrap();
        assert_eq!(ioas.huge_pages().unwrap(), huge_pages);
        let domains = Domains::new(&ioas, fixture.domains.len());
        let expected = if huge_pages { usual } else { PAGE as u64 };
        assert_eq!(ioas.iova_ranges().unwrap().alignment(), expected);
        let mapping = ioas.map_at(page(0), &memory, Access::Read).unwrap();
        domains.assert_map(page(0), &*memory);
        mapping.unmap().unwrap();
    }
}

pub(super) fn ioas_align_change(mut fixture: Fixture) {
    let with_devices = !fixture.domains.is_empty();
    // Whole pages are what an access asks for that pins, and an address space without huge pages. Halves of pages are not
    // in the way of the mock's devices.
    for place in Place::unaligned(HALF) {
        let mapping = place.map(&fixture);
        let access = MockAccess::pinning(&fixture.ioas);
        assert_eq!(access.err(), Some(Errno::ADDRINUSE), "{place:?}");
        let expected = if with_devices {
            Errno::INVAL
        } else {
            Errno::ADDRINUSE
        };
        assert_eq!(fixture.huge_pages(SET, 0), Err(expected), "{place:?}");
        assert_eq!(fixture.huge_pages(GET, 77), Ok(1));
        fixture.domains.add();
        fixture.domains.remove_last();
        mapping.unmap().unwrap();
    }
    let access = MockAccess::pinning(&fixture.ioas).unwrap();
    assert_eq!(fixture.alignment(), PAGE as u64);
    for place in Place::unaligned(HALF) {
        refused(place.try_map(&fixture), Errno::INVAL);
    }
    drop(access);
    let usual = if with_devices { mock::PAGE } else { 1 };
    assert_eq!(fixture.alignment(), usual);
    for place in Place::unaligned(HALF) {
        place.map(&fixture).unmap().unwrap();
    }

    // Without a device a byte will do, which is in the way of the first device.
    if with_devices {
        fixture.domains.remove_all();
    }
    assert_eq!(fixture.alignment(), 1);
    for place in Place::unaligned(1) {
        let mapping = place.map(&fixture);
        let device = MockDevice::new(&fixture.iommufd).unwrap();
        refused(device.attach(&fixture.ioas), Errno::ADDRINUSE);
        refused(HwPt::new(&fixture.ioas, &device), Errno::ADDRINUSE);
        assert_eq!(fixture.alignment(), 1, "{place:?}");
        mapping.unmap().unwrap();
        let attachment = device.attach(&fixture.ioas).unwrap();
        assert_eq!(fixture.alignment(), mock::PAGE);
        attachment.detach().unwrap();
    }
}

/// A place for a mapping that is not on whole pages.
#[derive(Debug)]
struct Place {
    iova: Iova,
    in_memory: Range<usize>,
}

impl Place {
    /// Those in which one thing is a multiple of `unit` and of no more: the address, the memory, or the length.
    fn unaligned(unit: usize) -> [Self; 3] {
        let off = page(7).checked_add(unit as u64).unwrap();
        let place = |iova, in_memory| Self { iova, in_memory };
        [
            place(off, 0..PAGE),
            place(page(7), unit..unit + PAGE),
            place(page(7), 0..PAGE + unit),
        ]
    }

    fn try_map(&self, fixture: &Fixture) -> iommufd::Result<Mapping> {
        let memory = Living::new().memory(2 * PAGE);
        let slice = DmaSlice::new(&memory, self.in_memory.clone()).unwrap();
        fixture.ioas.map_at(self.iova, slice, Access::Read)
    }

    fn map(&self, fixture: &Fixture) -> Mapping {
        self.try_map(fixture).unwrap()
    }
}

impl Fixture {
    /// Asks for, or sets, whether the address space uses huge pages.
    fn huge_pages(&self, op: u32, value: u64) -> Result<u64, Errno> {
        let id = sys::IOMMU_OPTION_HUGE_PAGES;
        raw::option(&self.iommufd, id, op, self.id(), value)
    }

    fn alignment(&self) -> u64 {
        self.ioas.iova_ranges().unwrap().alignment()
    }
}
