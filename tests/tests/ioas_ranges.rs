//! Which addresses there are: ranges, alignment, the allow list.

use iommufd::{Access, HwPt, Ioas, Iommufd, Iova, IovaRange};
use rustix::io::Errno;
use tests::at::{PAGE, range};
use tests::memory::Living;
use tests::mock::{self, APERTURE, MockDevice};
use tests::observe::Recorder;
use tests::{ids, refused};

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn without_a_device_there_is_every_address() {
    let iommufd = Iommufd::open().unwrap();
    let ranges = Ioas::new(&iommufd).unwrap().iova_ranges().unwrap();
    assert_eq!(ranges.iter().collect::<Vec<_>>(), [IovaRange::ALL]);
    assert_eq!(ranges.alignment(), 1);
    assert!(ranges.is_current());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn attach_and_detach_change_the_addresses_and_say_so() {
    let iommufd = Iommufd::open().unwrap();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let before = ioas.iova_ranges().unwrap();
    let attachment = device.attach(&ioas).unwrap();
    assert!(!before.is_current());

    let attached = ioas.iova_ranges().unwrap();
    assert!(attached.is_current());
    let aperture = range(APERTURE.0, APERTURE.1);
    assert_eq!(attached.iter().collect::<Vec<_>>(), [aperture]);
    assert_eq!(attached.alignment(), mock::PAGE);
    assert!(attached.contains(aperture));
    assert!(!attached.contains(range(APERTURE.0 - 1, APERTURE.1)));
    let other = Ioas::new(&iommufd).unwrap();
    let others = other.iova_ranges().unwrap();

    attachment.detach().unwrap();
    assert!(!attached.is_current());
    assert!(others.is_current(), "of another address space");
    let after = ioas.iova_ranges().unwrap();
    assert_eq!(after.iter().collect::<Vec<_>>(), [IovaRange::ALL]);
    assert_eq!(after.alignment(), 1);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn replace_changes_the_addresses_on_both_sides() {
    let iommufd = Iommufd::open().unwrap();
    let device = MockDevice::new(&iommufd).unwrap();
    let (from, to) = (Ioas::new(&iommufd).unwrap(), Ioas::new(&iommufd).unwrap());
    let mut attachment = device.attach(&from).unwrap();
    let (ranges_from, ranges_to) = (from.iova_ranges().unwrap(), to.iova_ranges().unwrap());
    attachment.replace(&to).unwrap();
    assert!(!ranges_from.is_current());
    assert!(!ranges_to.is_current());
    assert_eq!(from.iova_ranges().unwrap().alignment(), 1);
    assert_eq!(to.iova_ranges().unwrap().alignment(), mock::PAGE);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_page_table_changes_the_addresses_when_it_comes_and_when_it_goes() {
    let iommufd = Iommufd::open().unwrap();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let before = ioas.iova_ranges().unwrap();
    let hwpt = HwPt::new(&ioas, &device).unwrap();
    assert!(!before.is_current());
    let with = ioas.iova_ranges().unwrap();
    assert_eq!(with.alignment(), mock::PAGE);
    drop(hwpt);
    assert!(!with.is_current());
    assert_eq!(ioas.iova_ranges().unwrap().alignment(), 1);

    let hwpt = HwPt::new(&ioas, &device).unwrap();
    let with = ioas.iova_ranges().unwrap();
    hwpt.try_destroy().unwrap();
    assert!(!with.is_current());
}

/// A peer reports a stale errno when only the size of the answer differs.
#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn p26_more_ranges_than_there_was_room_for_are_asked_for_again() {
    let (iommufd, recorder) = Recorder::context();
    let ioas = Ioas::new(&iommufd).unwrap();
    for hole in 0..40 {
        let start = 0x1_0000 * (hole + 1);
        mock::add_reserved(&iommufd, ids::of(&ioas), start, 0x1000).unwrap();
    }
    recorder.clear();
    let ranges = ioas.iova_ranges().unwrap();
    assert_eq!(
        recorder.answers(),
        [
            ("IOMMU_IOAS_IOVA_RANGES", Err(Errno::MSGSIZE)),
            ("IOMMU_IOAS_IOVA_RANGES", Ok(())),
        ]
    );
    let expected = (0..=40).map(|n| {
        let start = if n == 0 { 0 } else { 0x1_0000 * n + 0x1000 };
        let last = if n == 40 {
            u64::MAX
        } else {
            0x1_0000 * (n + 1) - 1
        };
        range(start, last)
    });
    assert!(ranges.iter().eq(expected), "{ranges:?}");
    assert!(ranges.is_current());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn with_every_address_reserved_there_is_no_range() {
    let iommufd = Iommufd::open().unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    mock::add_reserved(&iommufd, ids::of(&ioas), 0, u64::MAX).unwrap();
    mock::add_reserved(&iommufd, ids::of(&ioas), u64::MAX, 1).unwrap();
    let ranges = ioas.iova_ranges().unwrap();
    assert_eq!(ranges.iter().len(), 0);
    refused(
        ioas.map(Living::new().memory(PAGE), Access::Read),
        Errno::NOSPC,
    );
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn the_kernel_chooses_only_what_is_allowed() {
    let iommufd = Iommufd::open().unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let living = Living::new();
    let allowed = [
        range(0x4000_0000, 0x4000_1fff),
        range(0x5000_0000, 0x5000_0fff),
    ];
    ioas.allow_iovas(&allowed).unwrap();
    let mapped: Vec<_> = (0..3)
        .map(|_| ioas.map(living.memory(PAGE), Access::Read).unwrap())
        .collect();
    for mapping in &mapped {
        let inside = allowed
            .iter()
            .filter(|range| range.contains(mapping.range()));
        assert_eq!(inside.count(), 1, "{mapping:?}");
    }
    refused(ioas.map(living.memory(PAGE), Access::Read), Errno::NOSPC);
    // A fixed one is not kept to the list.
    let elsewhere = ioas.map_at(Iova::new(0x10_0000), living.memory(PAGE), Access::Read);
    drop(elsewhere.unwrap());

    ioas.allow_iovas(&[]).unwrap();
    let anywhere = ioas.map(living.memory(PAGE), Access::Read).unwrap();
    assert!(!allowed.iter().any(|range| range.contains(anywhere.range())));
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_list_that_makes_no_sense_is_refused_and_the_old_one_stays() {
    let iommufd = Iommufd::open().unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let page = range(0x4000_0000, 0x4000_0fff);
    ioas.allow_iovas(&[page]).unwrap();
    let twice = [range(0x1000, 0x2fff), range(0x2000, 0x3fff)];
    refused(ioas.allow_iovas(&twice), Errno::INVAL);
    let byte = [range(0x1000, 0x1000)];
    refused(ioas.allow_iovas(&byte), Errno::INVAL);
    let mapping = ioas.map(Living::new().memory(PAGE), Access::Read).unwrap();
    assert_eq!(mapping.range(), page);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn what_is_allowed_cannot_be_reserved_and_what_is_reserved_cannot_be_allowed() {
    let iommufd = Iommufd::open().unwrap();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let below = [range(0x1000, 0xffff)];
    ioas.allow_iovas(&below).unwrap();
    refused(device.attach(&ioas), Errno::ADDRINUSE);
    refused(HwPt::new(&ioas, &device), Errno::ADDRINUSE);

    ioas.allow_iovas(&[]).unwrap();
    let _attachment = device.attach(&ioas).unwrap();
    refused(ioas.allow_iovas(&below), Errno::ADDRINUSE);
    ioas.allow_iovas(&[range(APERTURE.0, APERTURE.1)]).unwrap();
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn what_is_mapped_cannot_be_reserved_nor_aligned_otherwise() {
    let iommufd = Iommufd::open().unwrap();
    let device = MockDevice::new(&iommufd).unwrap();
    let living = Living::new();
    // Outside of what the device's IOMMU translates; and aligned to less than it can.
    for iova in [0x1000, APERTURE.1 - 0xfff + 0x1000, APERTURE.0 + 0x100] {
        let ioas = Ioas::new(&iommufd).unwrap();
        let mapping = ioas
            .map_at(Iova::new(iova), living.memory(PAGE), Access::Read)
            .unwrap();
        refused(device.attach(&ioas), Errno::ADDRINUSE);
        refused(HwPt::new(&ioas, &device), Errno::ADDRINUSE);
        mapping.unmap().unwrap();
        drop(device.attach(&ioas).unwrap());
    }
}
