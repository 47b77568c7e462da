//! Devices as a guest knows them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

use iommufd::{Error, GroupId, GroupIdentity, Iommufd, Leaks, NestedHwPt, Target, VDevice, Viommu};
use rustix::io::Errno;
use tests::fork::in_child;
use tests::guest::{Guest, NUMBER};
use tests::mock::nesting::{
    CONFIG, DeviceInvalidation, MockViommu, OnParent, TableInvalidation, VirtualNumber,
};
use tests::mock::{MockDevice, abi, check_dev_cache, trigger_vevent};
use tests::within::within;
use tests::{ids, raw, refused};

const ONE: GroupIdentity = GroupIdentity::Group(GroupId::new(1));

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_device_is_known_by_its_number_as_long_as_it_has_it() {
    let guest = Guest::new();
    let Guest {
        iommufd, device, ..
    } = &guest;
    assert!(!guest.is_known(NUMBER));
    let vdevice = guest.vdevice();
    check_dev_cache(iommufd, device.id(), 0, abi::DEV_CACHE_DEFAULT).unwrap();
    assert!(guest.is_known(NUMBER) && !guest.is_known(NUMBER + 1));
    check_dev_cache(iommufd, device.id(), 0, 0).unwrap();
    vdevice.try_destroy().unwrap();
    assert!(!guest.is_known(NUMBER));
    // Another number, and every number.
    let vdevice = guest.knows(device, NUMBER + 1);
    assert!(guest.is_known(NUMBER + 1) && !guest.is_known(NUMBER));
    drop(vdevice);
    for number in [0, 1, u64::from(u32::MAX), u64::MAX] {
        VDevice::new(&guest.viommu, device, VirtualNumber(number)).unwrap();
    }
    assert_eq!(iommufd.leaks(), Leaks::default());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_second_virtual_device_is_refused_before_the_ioctl() {
    let guest = Guest::new();
    let Guest {
        viommu, recorder, ..
    } = &guest;
    let other = Viommu::<MockViommu>::new(&guest.parent, &guest.device).unwrap();
    let vdevice = guest.vdevice();
    let same = vdevice.clone();
    recorder.clear();
    for viommu in [viommu, &other] {
        let error = VDevice::new(viommu, &guest.device, VirtualNumber(1)).unwrap_err();
        assert!(matches!(error, Error::HasVDevice), "{error}");
    }
    drop(vdevice);
    assert_eq!(recorder.count(), 0, "one handle is left");
    same.try_destroy().unwrap();
    VDevice::new(&other, &guest.device, VirtualNumber(1)).unwrap();
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_number_that_is_taken_is_not_given_twice_and_costs_the_device_nothing() {
    let guest = Guest::new();
    let other = MockDevice::new(&guest.iommufd).unwrap();
    let vdevice = guest.vdevice();
    let taken = VirtualNumber(NUMBER.into());
    refused(VDevice::new(&guest.viommu, &other, taken), Errno::EXIST);
    // It has not got a virtual device by that.
    let second = guest.knows(&other, 1);
    second.try_destroy().unwrap();
    vdevice.try_destroy().unwrap();
    VDevice::new(&guest.viommu, &other, taken).unwrap();
    // Behind another virtual IOMMU the number means another device.
    let elsewhere = Viommu::<MockViommu>::new(&guest.parent, &other).unwrap();
    let _here = guest.vdevice();
    let _there = VDevice::new(&elsewhere, &other, taken).unwrap();
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn of_many_threads_that_claim_a_device_one_gets_it() {
    within(60, || {
        const THREADS: usize = 4;
        let guest = Guest::new();
        for _ in 0..200 {
            let (won, start) = (AtomicUsize::new(0), Barrier::new(THREADS));
            let end = Barrier::new(THREADS);
            thread::scope(|scope| {
                for number in 0..THREADS as u64 {
                    let (guest, won, start, end) = (&guest, &won, &start, &end);
                    scope.spawn(move || {
                        start.wait();
                        let number = VirtualNumber(number);
                        let vdevice = VDevice::new(&guest.viommu, &guest.device, number);
                        won.fetch_add(usize::from(vdevice.is_ok()), Ordering::Relaxed);
                        // It is held until all have tried.
                        end.wait();
                    });
                }
            });
            assert_eq!(won.load(Ordering::Relaxed), 1);
        }
        assert_eq!(guest.iommufd.leaks(), Leaks::default());
    });
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_device_is_not_attached_by_way_of_the_wrong_virtual_device() {
    let guest = Guest::new();
    let Guest {
        device, recorder, ..
    } = &guest;
    let other_device = MockDevice::new(&guest.iommufd).unwrap();
    let elsewhere = Viommu::<MockViommu>::new(&guest.parent, device).unwrap();
    let table = guest.table();
    let table_elsewhere = NestedHwPt::new(&elsewhere, device, &CONFIG).unwrap();
    let (vdevice, other) = (guest.vdevice(), guest.knows(&other_device, 1));
    let mut attachment = device.attach(vdevice.through(&table, ())).unwrap();
    recorder.clear();
    let of_another = |error: &Error, of: &str| {
        assert!(
            matches!(error, Error::ForeignVDevice { what, .. } if *what == of),
            "{error}"
        );
    };
    let wrong = [
        (other.through(&table, ()), "device"),
        (other.through(&table_elsewhere, ()), "device"),
        (vdevice.through(&table_elsewhere, ()), "virtual IOMMU"),
    ];
    for (target, what) in wrong {
        of_another(&attachment.replace(target.clone()).unwrap_err(), what);
        of_another(&device.group().replace(target).unwrap_err(), what);
    }
    let strange = vdevice.through(&table, ());
    of_another(&other_device.attach(strange).unwrap_err(), "device");
    let strange = other.through(&table_elsewhere, ());
    of_another(&other_device.attach(strange).unwrap_err(), "virtual IOMMU");
    assert_eq!(recorder.count(), 0, "the kernel was not asked");
    assert_eq!(device.page_table(), ids::of(&table));
    assert!(!other_device.is_attached());
    // What was refused is not held.
    table_elsewhere.try_destroy().unwrap();
    elsewhere.try_destroy().unwrap();
    other.try_destroy().unwrap();
    attachment.detach().unwrap();
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn an_attachment_keeps_the_number_known() {
    let guest = Guest::new();
    let device = &guest.device;
    let mut attachment = guest.attachment();
    assert!(guest.is_known(NUMBER));
    // Moved within the same virtual IOMMU it keeps it, too, though nobody else does.
    let Some(target @ Target::Nested(_)) = attachment.target() else {
        panic!("it is attached to a nested table");
    };
    attachment.replace(target).unwrap();
    assert!(guest.is_known(NUMBER));
    assert!(matches!(
        VDevice::new(&guest.viommu, device, VirtualNumber(1)),
        Err(Error::HasVDevice)
    ));
    attachment.replace(&guest.parent).unwrap();
    assert!(!guest.is_known(NUMBER));
    let _again = guest.vdevice();
    attachment.detach().unwrap();
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_virtual_device_goes_with_its_device_and_is_not_missed() {
    let guest = Guest::new();
    let Guest {
        device,
        recorder,
        iommufd,
        ..
    } = &guest;
    let vdevice = guest.vdevice();
    let tombstone = ids::of(&vdevice);
    let attachment = device.attach(vdevice.through(&guest.table(), ())).unwrap();
    device.pull_out().unwrap();
    assert!(!guest.is_known(NUMBER));
    attachment.detach().unwrap();
    recorder.clear();
    vdevice.try_destroy().unwrap();
    assert!(recorder.count() > 0, "the kernel was asked");
    // It cannot have another: to the kernel it is none any more.
    refused(
        VDevice::new(&guest.viommu, device, VirtualNumber(1)),
        Errno::NOENT,
    );
    // Nobody else gets its id.
    let ids: Vec<_> = (0..50).map(|_| raw::ioas_alloc(iommufd).unwrap()).collect();
    assert!(!ids.contains(&tombstone));
    for id in ids {
        raw::destroy(iommufd, id).unwrap();
    }
    assert_eq!(recorder.refusals(), []);
    assert_eq!(iommufd.leaks(), Leaks::default());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_virtual_device_that_went_with_its_device_can_be_dropped() {
    let guest = Guest::new();
    let (iommufd, recorder) = (guest.iommufd.clone(), Arc::clone(&guest.recorder));
    let attachment = guest.attachment();
    guest.device.pull_out().unwrap();
    drop(attachment);
    drop(guest);
    assert_eq!(recorder.refusals(), []);
    assert_eq!(iommufd.leaks(), Leaks::default());
    // The tombstone is one.
    assert_eq!(raw::objects(&iommufd), 1);
}

/// A virtual device holds the device, and what is attached holds the virtual device: if the kernel would not detach, the
/// device must be released all the same when its handles go.
#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_device_that_stays_attached_by_its_number_is_released_with_its_last_handle() {
    for moved_meanwhile in [false, true] {
        for vdevice_goes_first in [false, true] {
            let guest = Guest::new();
            let (iommufd, recorder) = (guest.iommufd.clone(), Arc::clone(&guest.recorder));
            let vdevice = guest.vdevice();
            let through = vdevice.through(&guest.table(), ());
            let attachment = guest.device.attach(through.clone()).unwrap();
            guest.device.refuse_detach(true);
            recorder.clear();
            drop(attachment);
            assert_eq!(recorder.refusals(), [("attachment", Some(Errno::BUSY))]);
            assert!(!guest.device.is_attached());
            assert_eq!(guest.device.group().attached(), 1, "it counts as attached");
            assert!(guest.is_known(NUMBER), "the handle keeps it");
            if moved_meanwhile {
                guest.device.group().replace(&guest.parent).unwrap();
                guest.device.group().replace(through.clone()).unwrap();
            }
            drop(through);
            if vdevice_goes_first {
                drop(vdevice);
                assert!(!guest.is_known(NUMBER));
                drop(guest);
            } else {
                drop(guest);
                drop(vdevice);
            }
            assert_eq!(raw::objects(&iommufd), 0, "everything is gone");
            assert_eq!(recorder.refusals().len(), 1);
            assert_eq!(iommufd.leaks().objects, 1, "as was told");
        }
    }
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_device_that_stays_attached_by_its_number_is_attached_again() {
    let guest = Guest::new();
    let Guest {
        device, iommufd, ..
    } = &guest;
    let (vdevice, table) = (guest.vdevice(), guest.table());
    device.refuse_detach(true);
    drop(device.attach(vdevice.through(&table, ())).unwrap());
    // It cannot be attached before it can be detached.
    refused(device.attach(vdevice.through(&table, ())), Errno::BUSY);
    device.refuse_detach(false);
    let attachment = device.attach(vdevice.through(&table, ())).unwrap();
    let vdevice = vdevice.try_destroy().unwrap_err().into_value();
    drop(vdevice);
    assert!(guest.is_known(NUMBER), "held as by any attachment");
    attachment.detach().unwrap();
    assert!(!guest.is_known(NUMBER));
    table.try_destroy().unwrap();
    assert_eq!(iommufd.leaks().objects, 1, "as was told");
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn siblings_are_attached_to_the_same_table_each_by_its_own_number() {
    let guest = Guest::new();
    let Guest {
        iommufd, recorder, ..
    } = &guest;
    let [one, two] = [(); 2].map(|()| MockDevice::in_group(iommufd, ONE).unwrap());
    let (first, second) = (guest.knows(&one, 1), guest.knows(&two, 2));
    let (table, another) = (guest.table(), guest.table());
    let mut of_one = one.attach(first.through(&table, ())).unwrap();
    recorder.clear();
    let error = two.attach(second.through(&another, ())).unwrap_err();
    assert!(matches!(error, Error::GroupAttachedElsewhere { .. }));
    let error = two.attach(first.through(&table, ())).unwrap_err();
    assert!(matches!(
        error,
        Error::ForeignVDevice { what: "device", .. }
    ));
    assert_eq!(recorder.count(), 0);
    let of_two = two.attach(second.through(&table, ())).unwrap();

    // A target by one number is no target for two devices.
    recorder.clear();
    for target in [first.through(&another, ()), second.through(&another, ())] {
        let error = one.group().replace(target).unwrap_err();
        assert!(matches!(
            error,
            Error::ForeignVDevice { what: "device", .. }
        ));
    }
    let refusal = of_one.replace(first.through(&another, ())).unwrap_err();
    assert!(matches!(refusal, Error::GroupShared { .. }));
    assert_eq!(recorder.count(), 0);
    drop((first, second));
    assert!(guest.is_known(1) && guest.is_known(2));
    one.group().replace(&guest.parent).unwrap();
    assert!(!guest.is_known(1) && !guest.is_known(2));
    drop((of_one, of_two));
    assert_eq!(iommufd.leaks(), Leaks::default());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn events_of_a_device_come_under_its_number_while_it_is_attached_by_it() {
    let guest = Guest::new();
    let Guest {
        iommufd, device, ..
    } = &guest;
    let trigger = || trigger_vevent(iommufd, device.id());
    let vdevice = guest.vdevice();
    assert_eq!(trigger(), Err(Errno::NOENT), "it is attached to nothing");
    let mut attachment = device.attach(vdevice.through(&guest.table(), ())).unwrap();
    // There is no queue, and so the host's log has it.
    assert_eq!(trigger(), Err(Errno::OPNOTSUPP));
    attachment.replace(&guest.ioas).unwrap();
    assert_eq!(trigger(), Err(Errno::NOENT));
    attachment.detach().unwrap();
    vdevice.try_destroy().unwrap();
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn in_a_child_of_a_fork_nothing_of_the_parents_is_touched() {
    let guest = Guest::new();
    let nested = NestedHwPt::<OnParent>::new(&guest.parent, &guest.device, &CONFIG).unwrap();
    let (vdevice, table) = (guest.vdevice(), guest.table());
    let attachment = guest.device.attach(vdevice.through(&table, ())).unwrap();
    let spare = MockDevice::new(&guest.iommufd).unwrap();
    let alone = guest.knows(&spare, 1);
    guest.recorder.clear();
    let mut everything = Some((guest, nested, vdevice, table, attachment, spare, alone));
    in_child(|| {
        let (guest, nested, vdevice, table, mut attachment, spare, alone) =
            everything.take().unwrap();
        let Guest {
            viommu,
            parent,
            device,
            iommufd,
            recorder,
            ..
        } = guest;
        let forked = |error: &Error| assert!(matches!(error, Error::Forked), "{error}");
        forked(&Viommu::<MockViommu>::new(&parent, &device).unwrap_err());
        forked(&NestedHwPt::<OnParent>::new(&parent, &device, &CONFIG).unwrap_err());
        forked(&NestedHwPt::new(&viommu, &device, &CONFIG).unwrap_err());
        forked(&VDevice::new(&viommu, &device, VirtualNumber(3)).unwrap_err());
        forked(&viommu.invalidate(&[]).unwrap_err());
        let all = DeviceInvalidation::of_all(NUMBER);
        forked(&viommu.invalidate(&[all]).unwrap_err());
        forked(&nested.invalidate(&[]).unwrap_err());
        let one = TableInvalidation::of(0);
        forked(&nested.invalidate(&[one]).unwrap_err());
        forked(&spare.attach(alone.through(&table, ())).unwrap_err());
        forked(&attachment.replace(vdevice.through(&table, ())).unwrap_err());
        let refusal = alone.try_destroy().unwrap_err();
        forked(refusal.error());
        drop(refusal);
        let refusal = nested.try_destroy().unwrap_err();
        forked(refusal.error());
        drop((refusal, vdevice, table, viommu, parent, device));
        assert_eq!(recorder.count(), 0);
        assert_eq!(recorder.refusals(), []);
        assert_eq!(iommufd.leaks(), Leaks::default());
    });
    let (guest, nested, vdevice, table, attachment, spare, alone) = everything.unwrap();
    assert!(guest.is_known(NUMBER) && guest.is_known(1));
    let of_spare = spare.attach(alone.through(&table, ())).unwrap();
    of_spare.detach().unwrap();
    alone.try_destroy().unwrap();
    nested.try_destroy().unwrap();
    attachment.detach().unwrap();
    vdevice.try_destroy().unwrap();
    table.try_destroy().unwrap();
    assert_eq!(guest.iommufd.leaks(), Leaks::default());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_device_with_a_virtual_one_is_not_closed() {
    let iommufd = Iommufd::open().unwrap();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = iommufd::Ioas::new(&iommufd).unwrap();
    let parent = iommufd::NestParent::new(&ioas, &device).unwrap();
    let viommu = Viommu::<MockViommu>::new(&parent, &device).unwrap();
    let vdevice = VDevice::new(&viommu, &device, VirtualNumber(1)).unwrap();
    let refusal = device.into_device().try_close().unwrap_err();
    assert!(matches!(
        refusal.error(),
        Error::InUse {
            object: "device",
            holders: 1,
            ..
        }
    ));
    vdevice.try_destroy().unwrap();
    refusal.into_value().try_close().unwrap();
}
