//! When it is recorded what devices write, and when not.

use iommufd::{DirtyBitmap, Granule, HwPt, NestParent, NestedHwPt};
use iommufd_sys::iommufd as sys;
use rustix::io::Errno;
use tests::dirty::Space;
use tests::mock::nesting::{CONFIG, OnParent};
use tests::mock::{self, MockDevice, MockOptions, abi};
use tests::pasids::{pasid, table};
use tests::raw::dirty::{Request, set_tracking, track_dirty};
use tests::{ids, raw, refused};

use super::Fixture;
use super::record::{NONE, edges, patterns};

const ENABLE: u32 = sys::IOMMU_HWPT_DIRTY_TRACKING_ENABLE;

pub(super) fn set_dirty_tracking(fixture: Fixture) {
    let Space { hwpt, iommufd, .. } = &fixture.space;
    let id = ids::of(hwpt);
    only_tables_with_the_option(&fixture);
    for flags in [2, ENABLE | 2, 1 << 31, !0] {
        assert_eq!(set_tracking(iommufd, id, flags), Err(Errno::OPNOTSUPP));
    }
    assert!(!is_recorded(&fixture, hwpt), "not from the beginning");

    for written in patterns(fixture.count()) {
        let tracking = hwpt.track_dirty().unwrap();
        assert!(is_recorded(&fixture, hwpt));
        assert_eq!(fixture.look(&tracking), NONE, "to ask is not to write");
        fixture.write(&written);
        assert_eq!(fixture.look(&tracking), written);
        // Once more past the SDK, of which there is one guard: it begins anew.
        track_dirty(iommufd, id).unwrap();
        assert_eq!(fixture.look(&tracking), NONE);
        // What was written stays dirty when it ends, and does not when it begins again.
        fixture.write(&written);
        for _ in 0..2 {
            set_tracking(iommufd, id, 0).unwrap();
            assert!(!is_recorded(&fixture, hwpt));
            assert_eq!(fixture.look(&tracking), written);
        }
        tracking.stop().unwrap();
        let tracking = hwpt.track_dirty().unwrap();
        assert_eq!(fixture.take(&tracking), NONE);
        tracking.stop().unwrap();
        assert!(!is_recorded(&fixture, hwpt));
    }
    // It is the table's, and goes on when no device is attached.
    let tracking = hwpt.track_dirty().unwrap();
    fixture.write(&edges(fixture.count()));
    fixture.attachment.detach().unwrap();
    let mut bitmap = DirtyBitmap::new(fixture.mapping.range(), Granule::KIB_4).unwrap();
    tracking.read(&mut bitmap).unwrap();
    assert_eq!(bitmap.is_dirty(fixture.mapping.iova()), Some(true));
    tracking.stop().unwrap();
    fixture.space.hwpt.try_destroy().unwrap();
}

/// Whether the mock records what is written through `table`: else it refuses to write. It writes to nothing here.
fn is_recorded(fixture: &Fixture, table: &HwPt) -> bool {
    let range = (fixture.mapping.iova().get(), mock::PAGE);
    let (fd, id) = (&fixture.space.iommufd, ids::of(table));
    let written = mock::set_dirty(fd, id, range, mock::PAGE, &[0]);
    if written == Err(Errno::INVAL) {
        return false;
    }
    assert_eq!(written, Ok(0));
    true
}

/// Asserts that what is not made for it is not tracked, and cannot be asked.
fn only_tables_with_the_option(fixture: &Fixture) {
    let Space {
        ioas,
        iommufd,
        device,
        ..
    } = &fixture.space;
    let answers = |id| {
        let mut request = Request::of(id, fixture.mapping.range(), mock::PAGE);
        request.length = mock::PAGE;
        [
            set_tracking(iommufd, id, ENABLE),
            set_tracking(iommufd, id, 0),
            request.bits_at(iommufd, 0, 0).map(drop),
            request.keeping().bits_at(iommufd, 0, 0).map(drop),
        ]
    };
    let without = [Err(Errno::OPNOTSUPP); 4];
    let plain = HwPt::new(ioas, device).unwrap();
    let parent = NestParent::new(ioas, device).unwrap();
    assert_eq!(answers(ids::of(&plain)), without);
    assert_eq!(answers(ids::of(&parent)), without);
    // Nor is the table that the kernel makes by itself.
    let other = MockDevice::new(iommufd).unwrap();
    let attachment = other.attach(ioas).unwrap();
    assert_eq!(answers(other.page_table()), without);
    attachment.detach().unwrap();

    // What is nested has no record of its own, even if its parent has.
    let able = NestParent::builder(ioas, device).dirty_tracking(true);
    let able = able.allocate().unwrap();
    let nested = NestedHwPt::<OnParent>::new(&able, device, &CONFIG).unwrap();
    let no_tables = [
        ids::of(&nested),
        ids::of(ioas),
        device.id(),
        device.stdev(),
        0,
        9999,
    ];
    for id in no_tables {
        assert_eq!(answers(id), [Err(Errno::NOENT); 4], "{id}");
    }
    assert_eq!(answers(ids::of(&able)), [Ok(()); 4]);
    able.track_dirty().unwrap().stop().unwrap();
}

pub(super) fn pasid_set_dirty_tracking(fixture: Fixture) {
    let Space { ioas, iommufd, .. } = &fixture.space;
    let device = MockDevice::with_pasids(iommufd).unwrap();
    let builder = |device| {
        let builder = HwPt::builder(ioas, device);
        builder.pasid(true).dirty_tracking(true)
    };
    let [one, two] = [(); 2].map(|()| builder(&device).allocate().unwrap());
    let own = table(ioas, &device);
    let mut of_device = device.attach(&own).unwrap();
    let [these, .., those] = patterns(fixture.count());

    // A table begins to be tracked when a PASID is attached to it already, or is tracked when one comes.
    let mut first = device.attach_pasid(pasid(1), &one).unwrap();
    let tracking = one.track_dirty().unwrap();
    let second = device.attach_pasid(pasid(2), &one).unwrap();
    for number in [1, 2] {
        device.check_pasid(pasid(number), ids::of(&one)).unwrap();
    }
    fixture.write_through(&one, &these);
    assert_eq!(fixture.take(&tracking), these);
    assert_eq!(fixture.take(&tracking), NONE);
    // Also if a stranger with the same file does it.
    for (flags, recorded) in [(0, false), (ENABLE, true)] {
        set_tracking(iommufd, ids::of(&one), flags).unwrap();
        assert_eq!(is_recorded(&fixture, &one), recorded);
        device.check_pasid(pasid(1), ids::of(&one)).unwrap();
    }

    // A PASID moves from one to the other, and each keeps its own record.
    fixture.write_through(&one, &these);
    let tracking_two = two.track_dirty().unwrap();
    first.replace(&two).unwrap();
    device.check_pasid(pasid(1), ids::of(&two)).unwrap();
    fixture.write_through(&two, &those);
    assert_eq!(fixture.look(&tracking), these);
    assert_eq!(fixture.look(&tracking_two), those);
    // So it does when the PASIDs are gone, and when the device itself comes to it.
    first.detach().unwrap();
    second.detach().unwrap();
    of_device.replace(&two).unwrap();
    assert_eq!(fixture.take(&tracking), these);
    assert_eq!(fixture.take(&tracking_two), those);
    let both = device.attach_pasid(pasid(1), &two).unwrap();
    tracking_two.stop().unwrap();
    assert!(!is_recorded(&fixture, &two) && is_recorded(&fixture, &one));
    device.check_pasid(pasid(1), ids::of(&two)).unwrap();
    assert_eq!(raw::destroy(iommufd, ids::of(&two)), Err(Errno::BUSY));
    both.detach().unwrap();
    of_device.detach().unwrap();
    tracking.stop().unwrap();

    // A table for PASIDs that is not made for it, and a device that cannot.
    for flags in [ENABLE, 0] {
        let refused = set_tracking(iommufd, ids::of(&own), flags);
        assert_eq!(refused, Err(Errno::OPNOTSUPP));
    }
    let options = MockOptions {
        flags: abi::DEVICE_PASID | abi::DEVICE_NO_DIRTY,
        ..MockOptions::default()
    };
    let without = MockDevice::with(iommufd, options).unwrap();
    refused(builder(&without).allocate(), Errno::OPNOTSUPP);
    refused(without.attach(&two).map(drop), Errno::INVAL);
    for table in [one, two] {
        table.try_destroy().unwrap();
    }
}
