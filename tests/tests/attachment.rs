//! Attach, replace, detach.

use iommufd::{Access, Error, HwPt, Ioas, Iommufd, Target};
use rustix::io::Errno;
use tests::at::{PAGE, page, range};
use tests::memory::Living;
use tests::mock::MockDevice;
use tests::observe::Recorder;
use tests::{ids, refused};

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_device_finds_what_is_mapped_before_and_after_the_attach() {
    let iommufd = Iommufd::open().unwrap();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let living = Living::new();
    let (one, two) = (living.memory(PAGE), living.memory(PAGE));
    let _one = ioas.map_at(page(0), &one, Access::Read).unwrap();
    let attachment = device.attach(&ioas).unwrap();
    let _two = ioas.map_at(page(1), &two, Access::Read).unwrap();
    let bytes = |memory: &tests::memory::Memory| iommufd::DmaMemory::bytes(memory);
    device.check_map(page(0), bytes(&one)).unwrap();
    device.check_map(page(1), bytes(&two)).unwrap();
    attachment.detach().unwrap();
    let parked = device.check_map(page(0), bytes(&one));
    assert_eq!(parked, Err(Errno::INVAL));
    assert_eq!(device.group().attached(), 0);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn replace_moves_the_device_and_lets_the_old_target_go() {
    let (iommufd, recorder) = Recorder::context();
    let device = MockDevice::new(&iommufd).unwrap();
    let (from, to) = (Ioas::new(&iommufd).unwrap(), Ioas::new(&iommufd).unwrap());
    let memory = Living::new().memory(PAGE);
    let _mapping = to.map_at(page(0), &memory, Access::Read).unwrap();
    let mut attachment = device.attach(&from).unwrap();
    recorder.clear();
    attachment.replace(&to).unwrap();
    assert_eq!(recorder.calls(), ["IOMMU_TEST_CMD"], "one atomic step");
    device
        .check_map(page(0), iommufd::DmaMemory::bytes(&*memory))
        .unwrap();
    assert_eq!(attachment.target(), Some(Target::from(&to)));
    let Some(Target::Ioas(now)) = attachment.target() else {
        panic!("{attachment:?}");
    };
    assert_eq!(ids::of(&now), ids::of(&to));
    drop(now);
    from.try_destroy().unwrap();

    let table = HwPt::new(&to, &device).unwrap();
    attachment.replace(&table).unwrap();
    assert_eq!(device.page_table(), ids::of(&table));
    assert!(matches!(attachment.target(), Some(Target::HwPt(_))));
    attachment.detach().unwrap();
    table.try_destroy().unwrap();
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_refused_replace_leaves_the_attachment_where_it_was() {
    let iommufd = Iommufd::open().unwrap();
    let device = MockDevice::new(&iommufd).unwrap();
    let (here, there) = (Ioas::new(&iommufd).unwrap(), Ioas::new(&iommufd).unwrap());
    let living = Living::new();
    let memory = living.memory(PAGE);
    let _here = here.map_at(page(0), &memory, Access::Read).unwrap();
    // Where the device's IOMMU cannot translate: mapped, then allowed.
    let below = iommufd::Iova::new(0x1000);
    let in_the_way = there
        .map_at(below, living.memory(PAGE), Access::Read)
        .unwrap();
    let mut attachment = device.attach(&here).unwrap();
    let table = device.page_table();

    let refusal = attachment.replace(&there).unwrap_err();
    assert_eq!(refusal.errno(), Some(Errno::ADDRINUSE));
    in_the_way.unmap().unwrap();
    there.allow_iovas(&[range(0x1000, 0x1fff)]).unwrap();
    let refusal = attachment.replace(&there).unwrap_err();
    assert_eq!(refusal.errno(), Some(Errno::ADDRINUSE));

    assert_eq!(device.page_table(), table);
    device
        .check_map(page(0), iommufd::DmaMemory::bytes(&*memory))
        .unwrap();
    let target = attachment.target().unwrap();
    assert_eq!(ids::of(target.ioas()), ids::of(&here));
    drop(target);

    there.allow_iovas(&[]).unwrap();
    attachment.replace(&there).unwrap();
    assert_ne!(device.page_table(), table);
    attachment.detach().unwrap();
    there.try_destroy().unwrap();
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn replace_by_the_same_target_is_no_change() {
    let iommufd = Iommufd::open().unwrap();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let mut attachment = device.attach(&ioas).unwrap();
    let table = device.page_table();
    attachment.replace(&ioas).unwrap();
    assert_eq!(device.page_table(), table);
    attachment.detach().unwrap();
    ioas.try_destroy().unwrap();
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_device_is_attached_once_and_the_kernel_is_not_asked_twice() {
    let (iommufd, recorder) = Recorder::context();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let attachment = device.attach(&ioas).unwrap();
    recorder.clear();
    for target in [ioas.clone(), Ioas::new(&iommufd).unwrap()] {
        let error = device.attach(target).unwrap_err();
        assert!(matches!(error, Error::AlreadyAttached), "{error}");
    }
    assert!(!recorder.calls().contains(&"IOMMU_TEST_CMD"));
    attachment.detach().unwrap();
    device.attach(&ioas).unwrap().detach().unwrap();
}

/// Peers leave the device bound, or the first steps done, when an attach fails half way.
#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn p14_a_refused_attach_leaves_the_device_free() {
    let iommufd = Iommufd::open().unwrap();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    ioas.allow_iovas(&[range(0x1000, 0x1fff)]).unwrap();
    refused(device.attach(&ioas), Errno::ADDRINUSE);
    assert_eq!(device.group().attached(), 0);
    ioas.try_destroy().expect("nothing holds it");
    let other = Ioas::new(&iommufd).unwrap();
    device.attach(&other).unwrap().detach().unwrap();
    device.into_device().try_close().unwrap();
}

/// Peers unwrap in `Drop`.
#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn p15_a_refused_detach_in_a_drop_is_counted_and_keeps_the_target() {
    let (iommufd, recorder) = Recorder::context();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let living = Living::new();
    let mapping = ioas
        .map_at(page(0), living.memory(PAGE), Access::Read)
        .unwrap();
    let attachment = device.attach(&ioas).unwrap();
    device.refuse_detach(true);
    let refusal = attachment.detach().unwrap_err();
    assert_eq!(refusal.error().errno(), Some(Errno::BUSY));
    let attachment = refusal.into_value();
    assert!(attachment.target().is_some(), "it is as it was");

    drop(attachment);
    assert_eq!(iommufd.leaks().objects, 1);
    assert_eq!(recorder.refusals(), [("attachment", Some(Errno::BUSY))]);
    assert_eq!(device.group().attached(), 1);
    recorder.clear();
    let id = ids::of(&ioas);
    drop(ioas);
    tests::memory::forget(mapping);
    assert_eq!(recorder.count(), 0, "the attached device holds it");
    assert_eq!(living.count(), 1);
    assert_eq!(tests::raw::destroy(&iommufd, id), Err(Errno::BUSY));
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_device_is_closed_when_nothing_holds_it_and_given_back_otherwise() {
    let (iommufd, recorder) = Recorder::context();
    let ioas = Ioas::new(&iommufd).unwrap();
    let device = MockDevice::new(&iommufd).unwrap().into_device();
    let clone = device.clone();
    let refusal = device.try_close().unwrap_err();
    assert!(matches!(
        refusal.error(),
        Error::InUse {
            object: "device",
            holders: 1,
            ..
        }
    ));
    drop(clone);
    let device = refusal.into_value();
    let attachment = device.attach(&ioas).unwrap();
    let device = device.try_close().unwrap_err().into_value();
    recorder.clear();
    attachment.detach().unwrap();
    device.try_close().unwrap();
    assert_eq!(recorder.calls(), ["IOMMU_TEST_CMD"], "the detach");
    ioas.try_destroy().unwrap();
}

/// A peer leaks a reference when something fails after the attach.
#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn p27_an_attachment_that_failed_later_holds_nothing() {
    let iommufd = Iommufd::open().unwrap();
    let device = MockDevice::new(&iommufd).unwrap();
    let (here, there) = (Ioas::new(&iommufd).unwrap(), Ioas::new(&iommufd).unwrap());
    there.allow_iovas(&[range(0x1000, 0x1fff)]).unwrap();
    let attempt = || -> iommufd::Result<()> {
        let mut attachment = device.attach(&here)?;
        attachment.replace(&there)
    };
    refused(attempt(), Errno::ADDRINUSE);
    assert_eq!(device.group().attached(), 0, "the early return detached it");
    here.try_destroy().unwrap();
    there.try_destroy().unwrap();
    device.into_device().try_close().unwrap();
}
