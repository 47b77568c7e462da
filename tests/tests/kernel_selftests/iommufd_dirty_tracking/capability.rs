//! Devices whose IOMMU does not record what they write.

use iommufd::{Capabilities, HwPt, NestParent, Target};
use iommufd_sys::iommufd as sys;
use rustix::io::Errno;
use tests::accounted::pinned;
use tests::dirty::{Space, device_without, trackable};
use tests::mock::{self, MockDevice, abi};
use tests::raw::hw_info::hw_info;
use tests::{ids, raw, refused};

use super::Fixture;
use super::record::edges;

pub(super) fn enforce_dirty(fixture: Fixture) {
    let Space {
        hwpt,
        ioas,
        iommufd,
        ..
    } = &fixture.space;
    let tracking = hwpt.track_dirty().unwrap();
    let written = edges(fixture.count());
    fixture.write(&written);
    let device = device_without(iommufd);
    let before = (raw::objects(iommufd), mock::devices(), pinned());

    // No such table is made for it, ...
    refused(trackable(ioas, &device), Errno::OPNOTSUPP);
    let parent = NestParent::builder(ioas, &device).dirty_tracking(true);
    refused(parent.allocate(), Errno::OPNOTSUPP);
    let others = [
        0,
        sys::IOMMU_HWPT_ALLOC_NEST_PARENT,
        sys::IOMMU_HWPT_ALLOC_PASID,
    ];
    for other in others {
        let flags = sys::IOMMU_HWPT_ALLOC_DIRTY_TRACKING | other;
        let made = raw::hwpt_alloc(iommufd, flags, device.id(), ids::of(ioas));
        assert_eq!(made, Err(Errno::OPNOTSUPP), "{flags:#x}");
    }
    // ... and to one that there is it is not attached, not moved, and not made there in the first place.
    let place = device.page_table();
    refused(device.attach(hwpt).map(drop), Errno::INVAL);
    assert_eq!((device.page_table(), device.group().attached()), (place, 0));
    assert_eq!(device.stranger_moves(ids::of(hwpt)), Err(Errno::INVAL));
    let born = mock::mock_domain(iommufd, ids::of(hwpt), abi::DEVICE_NO_DIRTY);
    assert_eq!(born.err(), Some(Errno::INVAL));
    let after = (raw::objects(iommufd), mock::devices(), pinned());
    assert_eq!(after, before, "nothing is left of it");

    // To what records nothing it is attached, also in the same address space, and stays there.
    let plain = HwPt::new(ioas, &device).unwrap();
    for target in [Target::from(ioas), Target::from(&plain)] {
        let mut attachment = device.attach(target).unwrap();
        assert_eq!(finds(&fixture, &device), Ok(()));
        let place = device.page_table();
        refused(attachment.replace(hwpt), Errno::INVAL);
        assert_eq!(device.page_table(), place);
        assert_eq!(finds(&fixture, &device), Ok(()));
        attachment.detach().unwrap();
    }
    // Another device is, meanwhile.
    let able = MockDevice::new(iommufd).unwrap();
    let attachment = able.attach(hwpt).unwrap();
    assert_eq!(finds(&fixture, &able), Ok(()));
    attachment.detach().unwrap();
    assert_eq!(fixture.take(&tracking), written, "nobody has touched it");
}

/// Whether the device finds the memory.
fn finds(fixture: &Fixture, device: &MockDevice) -> Result<(), Errno> {
    device.check_map(fixture.mapping.iova(), fixture.bytes())
}

pub(super) fn device_dirty_capability(fixture: Fixture) {
    let Space {
        hwpt,
        ioas,
        iommufd,
        device,
        ..
    } = &fixture.space;
    // With or without PASIDs, which the SDK and the kernel itself say.
    let says = |device: &MockDevice| {
        let capabilities = device.hw_info().unwrap().capabilities;
        let answer = hw_info(iommufd, device.id(), 0, 0, &mut []).unwrap();
        assert_eq!(answer.capabilities, capabilities.bits());
        // Whatever else it is asked for.
        let (flags, kind) = (
            sys::IOMMU_HW_INFO_FLAG_INPUT_TYPE,
            abi::HW_INFO_TYPE_SELFTEST,
        );
        let again = hw_info(iommufd, device.id(), flags, kind, &mut [0; 8]).unwrap();
        assert_eq!(again.capabilities, answer.capabilities);
        capabilities.contains(Capabilities::DIRTY_TRACKING)
    };
    assert!(says(device), "attached to a table that is not tracked");
    let tracking = hwpt.track_dirty().unwrap();
    assert!(says(device), "attached to a table that is");
    let with_pasids = MockDevice::with_pasids(iommufd).unwrap();
    assert!(says(&with_pasids));
    let without = device_without(iommufd);
    assert!(!says(&without));
    let attachment = without.attach(ioas).unwrap();
    assert!(!says(&without));
    attachment.detach().unwrap();
    // It says what is so.
    for device in [device, &with_pasids, &without] {
        assert_eq!(trackable(ioas, device).is_ok(), says(device));
    }
    tracking.stop().unwrap();
}
