//! Attach, replace, detach.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use iommufd::{Access, Error, GroupId, GroupIdentity, HwPt, Ioas, Iommufd, Leaks, Target};
use rustix::io::Errno;
use tests::at::{PAGE, page, range};
use tests::memory::Living;
use tests::mock::{MockDevice, MockOptions, abi};
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

/// A device, and a page table to which the kernel will not move it.
fn barred(iommufd: &Iommufd, identity: GroupIdentity) -> (MockDevice, HwPt) {
    let usual = MockDevice::new(iommufd).unwrap();
    let ioas = Ioas::new(iommufd).unwrap();
    let tracks = HwPt::builder(&ioas, &usual).dirty_tracking(true);
    let options = MockOptions {
        identity,
        flags: abi::DEVICE_NO_DIRTY,
    };
    let device = MockDevice::with(iommufd, options).unwrap();
    (device, tracks.allocate().unwrap())
}

/// What the IOMMU's driver may have stopped by then goes on: see `dma.rs`.
#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn after_a_refused_replace_the_device_is_detached_and_attached_again() {
    let (iommufd, recorder) = Recorder::context();
    let (device, table) = barred(&iommufd, GroupIdentity::Alone);
    let here = Ioas::new(&iommufd).unwrap();
    let mut attachment = device.attach(&here).unwrap();
    recorder.clear();
    refused(attachment.replace(&table), Errno::INVAL);
    assert_eq!(
        recorder.answers(),
        [
            ("IOMMU_TEST_CMD", Err(Errno::INVAL)),
            ("IOMMU_TEST_CMD", Ok(())),
            ("IOMMU_TEST_CMD", Ok(())),
        ]
    );
    assert_eq!(attachment.target(), Some(Target::from(&here)));
    attachment.detach().unwrap();
    here.try_destroy().unwrap();

    // Not where nothing can have been stopped.
    let there = Ioas::new(&iommufd).unwrap();
    let living = Living::new();
    let _in_the_way = there
        .map_at(
            iommufd::Iova::new(0x1000),
            living.memory(PAGE),
            Access::Read,
        )
        .unwrap();
    let mut attachment = device.attach(Ioas::new(&iommufd).unwrap()).unwrap();
    recorder.clear();
    refused(attachment.replace(&there), Errno::ADDRINUSE);
    assert_eq!(
        recorder.answers(),
        [("IOMMU_TEST_CMD", Err(Errno::ADDRINUSE))]
    );
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_device_that_cannot_be_put_back_is_told_and_attached_by_the_next_replace() {
    let iommufd = Iommufd::open().unwrap();
    for drops in [false, true] {
        let (device, table) = barred(&iommufd, GroupIdentity::Alone);
        let here = Ioas::new(&iommufd).unwrap();
        let living = Living::new();
        let memory = living.memory(PAGE);
        let mapping = here.map_at(page(0), &memory, Access::Read).unwrap();
        let mut attachment = device.attach(&here).unwrap();
        device.refuse_second_attach();
        match attachment.replace(&table).unwrap_err() {
            Error::TranslationLost(lost) => {
                assert_eq!(lost.devices, [device.key()]);
                let errnos = (lost.refused.errno, lost.reason.errno);
                assert_eq!(errnos, (Errno::INVAL, Errno::NOMEM));
            }
            other => panic!("{other}"),
        }
        assert_eq!(attachment.target(), None);
        assert_eq!(device.group().attached(), 0);
        assert!(device.is_attached(), "the attachment is there");
        assert!(matches!(device.attach(&here), Err(Error::AlreadyAttached)));
        refused(attachment.replace(&here), Errno::NOMEM);
        if drops {
            drop((attachment, mapping));
        } else {
            device.refuse_attach(false);
            attachment.replace(&here).unwrap();
            assert_eq!(attachment.target(), Some(Target::from(&here)));
            device
                .check_map(page(0), iommufd::DmaMemory::bytes(&*memory))
                .unwrap();
            mapping.unmap().unwrap();
            attachment.detach().unwrap();
        }
        assert!(!device.is_attached());
        here.try_destroy().unwrap();
        table.try_destroy().unwrap();
        device.into_device().try_close().unwrap();
    }
    assert_eq!(iommufd.leaks(), Leaks::default());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn of_a_group_only_those_are_lost_that_cannot_be_put_back() {
    let iommufd = Iommufd::open().unwrap();
    let identity = GroupIdentity::Group(GroupId::new(7));
    let (one, table) = barred(&iommufd, identity);
    let two = MockDevice::in_group(&iommufd, identity).unwrap();
    let (here, there) = (Ioas::new(&iommufd).unwrap(), Ioas::new(&iommufd).unwrap());
    let first = one.attach(&here).unwrap();
    let mut second = two.attach(&here).unwrap();
    two.refuse_attach(true);
    let error = one.group().replace(&table).unwrap_err();
    assert!(
        matches!(&error, Error::TranslationLost(lost) if lost.devices == [two.key()]),
        "{error}"
    );
    assert_eq!(first.target(), Some(Target::from(&here)));
    assert_eq!(second.target(), None);
    two.refuse_attach(false);
    // By itself it goes where its sibling is, and moves nobody.
    let error = second.replace(&there).unwrap_err();
    assert!(matches!(error, Error::GroupAttachedElsewhere { .. }));
    assert_eq!(first.target(), Some(Target::from(&here)));
    // Together they go anywhere.
    one.group().replace(&there).unwrap();
    for attachment in [&first, &second] {
        assert_eq!(attachment.target(), Some(Target::from(&there)));
    }
    first.detach().unwrap();
    second.detach().unwrap();
    here.try_destroy().unwrap();
    there.try_destroy().unwrap();
    assert_eq!(iommufd.leaks(), Leaks::default());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_device_that_cannot_even_be_detached_to_be_put_back_is_told() {
    let iommufd = Iommufd::open().unwrap();
    let (device, table) = barred(&iommufd, GroupIdentity::Alone);
    let here = Ioas::new(&iommufd).unwrap();
    let mut attachment = device.attach(&here).unwrap();
    device.refuse_detach(true);
    let error = attachment.replace(&table).unwrap_err();
    assert!(
        matches!(&error, Error::TranslationLost(lost)
            if lost.devices == [device.key()] && lost.reason.errno == Errno::BUSY),
        "{error}"
    );
    assert_eq!(error.errno(), Some(Errno::INVAL));
    assert_eq!(attachment.target(), Some(Target::from(&here)));
    device.refuse_detach(false);
    attachment.detach().unwrap();
    assert_eq!(iommufd.leaks(), Leaks::default());
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
