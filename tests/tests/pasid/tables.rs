//! Which page tables a PASID can be attached to, beside which, and moved between.

use iommufd::{Error, Leaks, Pasid, Target};
use rustix::io::Errno;
use tests::ids;
use tests::mock::{MockDevice, abi};
use tests::pasids::{Table, pasid};
use tests::within::within;

use super::Rig;

fn not_for_pasids(error: &Error) -> bool {
    matches!(error, Error::NotForPasids { .. })
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_pasid_is_attached_moved_and_detached() {
    let rig = Rig::new();
    let device = &rig.device;
    let (own, first, second) = (rig.table(), rig.table(), rig.table());
    let attachment = device.attach(&own).unwrap();
    let mut of_pasid = device.attach_pasid(pasid(100), &first).unwrap();
    assert_eq!(of_pasid.pasid(), pasid(100));
    assert_eq!(of_pasid.device(), &**device);
    device.check_pasid(pasid(100), ids::of(&first)).unwrap();
    of_pasid.replace(&second).unwrap();
    device.check_pasid(pasid(100), ids::of(&second)).unwrap();
    let Some(Target::HwPt(now)) = of_pasid.target().map(Target::from) else {
        panic!("{of_pasid:?}");
    };
    assert_eq!(ids::of(&now), ids::of(&second));
    drop(now);
    first.try_destroy().expect("nothing holds it any more");
    let second = second.try_destroy().unwrap_err().into_value();
    of_pasid.detach().unwrap();
    device.check_pasid(pasid(100), 0).unwrap();
    second.try_destroy().unwrap();
    attachment.detach().unwrap();
    assert_eq!(rig.iommufd.leaks(), Leaks::default());
}

/// The kernel refuses the same, and it refuses nothing else.
#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_pasid_goes_with_its_table_and_with_that_of_the_device() {
    let rig = Rig::new();
    let device = &rig.device;
    let tables = [rig.tables(false), rig.tables(true)].concat();
    let (mut taken, mut refused) = (0, 0);
    for own in std::iter::once(None).chain(tables.iter().map(Some)) {
        let attachment = own.map(|own| device.attach(own).unwrap());
        for table in &tables {
            rig.recorder.clear();
            match device.attach_pasid(pasid(7), table) {
                Ok(of_pasid) => {
                    assert!(table.for_pasids && own.is_none_or(|own| own.for_pasids));
                    device.check_pasid(pasid(7), table.id()).unwrap();
                    of_pasid.detach().unwrap();
                    taken += 1;
                }
                Err(error) => {
                    assert!(not_for_pasids(&error), "{error}");
                    assert!(!rig.recorder.calls().contains(&"IOMMU_TEST_CMD"));
                    let answer = device.stranger_attaches(7, table.id());
                    assert_eq!(answer, Err(Errno::INVAL), "{own:?}, {table:?}");
                    refused += 1;
                }
            }
            device.check_pasid(pasid(7), 0).unwrap();
        }
        drop(attachment);
    }
    // Three kinds beside nothing, and beside each of three.
    assert_eq!((taken, refused), (3 * 4, 7 * 6 - 3 * 4));

    let ioas = device.attach(&rig.ioas).unwrap();
    for table in &tables {
        let error = device.attach_pasid(pasid(7), table).unwrap_err();
        assert!(not_for_pasids(&error), "{error}");
    }
    ioas.detach().unwrap();
    let answer = device.stranger_attaches(7, ids::of(&rig.ioas));
    assert_eq!(answer, Err(Errno::INVAL), "an address space");
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn beside_its_pasids_a_device_moves_only_to_what_is_for_them() {
    let rig = Rig::new();
    let device = &rig.device;
    let tables = [rig.tables(false), rig.tables(true)].concat();
    let of_pasid = device.attach_pasid(pasid(7), rig.table()).unwrap();
    let there = device.page_table();
    let refuse = |target: Target, id: u32| {
        rig.recorder.clear();
        let error = device.attach(target).unwrap_err();
        assert!(not_for_pasids(&error), "{error}");
        assert_eq!(rig.recorder.count(), 0);
        assert_eq!(device.stranger_moves(id), Err(Errno::INVAL));
        assert_eq!(device.page_table(), there);
    };
    let (fit, unfit): (Vec<&Table>, Vec<&Table>) =
        tables.iter().partition(|table| table.for_pasids);
    for table in &unfit {
        refuse((*table).into(), table.id());
    }
    refuse((&rig.ioas).into(), ids::of(&rig.ioas));

    for own in &fit {
        let mut attachment = device.attach(*own).unwrap();
        for unfit in unfit.iter().map(|table| Target::from(*table)) {
            rig.recorder.clear();
            let refused = attachment.replace(unfit).unwrap_err();
            assert!(not_for_pasids(&refused));
            assert_eq!(rig.recorder.count(), 0);
        }
        let refused = attachment.replace(&rig.ioas).unwrap_err();
        assert!(not_for_pasids(&refused));
        for other in &fit {
            attachment.replace(*other).unwrap();
            assert_eq!(device.page_table(), other.id());
        }
        // The device goes, its PASIDs stay; then the other way round.
        attachment.detach().unwrap();
        assert!(of_pasid.target().is_some());
    }
    of_pasid.detach().unwrap();
    device.attach(&rig.ioas).unwrap().detach().unwrap();
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_pasid_moves_between_tables_of_all_kinds() {
    let rig = Rig::new();
    let device = &rig.device;
    let tables = rig.tables(true);
    for from in &tables {
        for to in &tables {
            let mut of_pasid = device.attach_pasid(pasid(9), from).unwrap();
            rig.recorder.clear();
            of_pasid.replace(to).unwrap();
            assert_eq!(rig.recorder.calls(), ["IOMMU_TEST_CMD"], "one atomic step");
            device.check_pasid(pasid(9), to.id()).unwrap();
            of_pasid.replace(from).unwrap();
            device.check_pasid(pasid(9), from.id()).unwrap();
            for unfit in &rig.tables(false) {
                let refused = of_pasid.device().attach_pasid(pasid(10), unfit);
                assert!(not_for_pasids(&refused.unwrap_err()));
            }
            of_pasid.detach().unwrap();
        }
    }
    let mut of_pasid = device.attach_pasid(pasid(9), &tables[0]).unwrap();
    for unfit in &rig.tables(false) {
        rig.recorder.clear();
        let refused = of_pasid.replace(unfit).unwrap_err();
        assert!(not_for_pasids(&refused));
        assert!(!rig.recorder.calls().contains(&"IOMMU_TEST_CMD"));
        let answer = device.stranger_replaces(9, unfit.id());
        assert_eq!(answer, Err(Errno::INVAL));
        device.check_pasid(pasid(9), tables[0].id()).unwrap();
    }
    of_pasid.detach().unwrap();
    assert_eq!(rig.iommufd.leaks(), Leaks::default());
}

/// To this PASID the hardware says no, the second time that it is set up.
#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_move_that_the_hardware_refuses_leaves_the_pasid_where_it_was() {
    within(60, || {
        let rig = Rig::new();
        let device = rig.device.clone();
        // Who observes may look at the group: no lock is held when he hears of something.
        let observed = device.clone();
        rig.recorder.hook(move |_| {
            std::hint::black_box(observed.group().attached());
        });
        let fails_once = pasid(abi::PASID_FAILS_ONCE);
        let (here, there) = (rig.table(), rig.table());
        let attachment = device.attach(&here).unwrap();
        for _ in 0..3 {
            let mut of_pasid = device.attach_pasid(fails_once, &here).unwrap();
            let refused = of_pasid.replace(&there).unwrap_err();
            // The table is filled already: it is not for want of memory to be locked.
            assert!(matches!(refused, Error::Kernel(_)));
            assert_eq!(refused.errno(), Some(Errno::NOMEM));
            device.check_pasid(fails_once, ids::of(&here)).unwrap();
            let Some(Target::HwPt(target)) = of_pasid.target().map(Target::from) else {
                panic!("{of_pasid:?}");
            };
            assert_eq!(ids::of(&target), ids::of(&here));
            of_pasid.replace(&there).unwrap();
            device.check_pasid(fails_once, ids::of(&there)).unwrap();
            of_pasid.detach().unwrap();
        }
        rig.recorder.unhook();
        attachment.detach().unwrap();
        drop(device);
    });
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_device_has_many_pasids() {
    let rig = Rig::new();
    let device = &rig.device;
    let tables = [rig.table(), rig.table()];
    let numbers = (1..=200).chain([0xf_fffe, 0xf_ffff]);
    let attached = |number: u32| &tables[number as usize % 2];
    let mut attachments: Vec<_> = numbers
        .clone()
        .map(|number| {
            device
                .attach_pasid(pasid(number), attached(number))
                .unwrap()
        })
        .collect();
    for number in numbers.clone() {
        let expected = ids::of(attached(number));
        device.check_pasid(pasid(number), expected).unwrap();
        let again = device.attach_pasid(pasid(number), attached(number + 1));
        assert!(matches!(again, Err(Error::AlreadyAttached)));
    }
    // They are no attachments of the device itself.
    assert!(!device.is_attached());
    assert_eq!(device.group().attached(), 0);
    attachments.retain(|attachment| attachment.pasid().get() % 3 == 0);
    for number in numbers {
        let expected = match number % 3 {
            0 => ids::of(attached(number)),
            _ => 0,
        };
        device.check_pasid(pasid(number), expected).unwrap();
    }
    drop(attachments);
    for table in tables {
        table.try_destroy().unwrap();
    }
    assert_eq!(rig.iommufd.leaks(), Leaks::default());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_pasid_is_attached_once() {
    let rig = Rig::new();
    let (first, second) = (rig.table(), rig.table());
    let of_pasid = rig.device.attach_pasid(pasid(3), &first).unwrap();
    for table in [&first, &second] {
        rig.recorder.clear();
        let again = rig.device.attach_pasid(pasid(3), table);
        assert!(matches!(again, Err(Error::AlreadyAttached)));
        assert_eq!(rig.recorder.count(), 0);
        let answer = rig.device.stranger_attaches(3, ids::of(table));
        assert_eq!(answer, Err(Errno::BUSY));
    }
    of_pasid.detach().unwrap();
    let again = rig.device.attach_pasid(pasid(3), &second).unwrap();
    again.detach().unwrap();
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_device_without_pasids_has_none_to_attach() {
    let rig = Rig::new();
    let without = MockDevice::new(&rig.iommufd).unwrap();
    let own = without.attach(rig.table()).unwrap();
    let table = rig.table();
    rig.recorder.clear();
    for number in [1, abi::PASID_FAILS_ONCE, 0xf_ffff] {
        let refused = without.attach_pasid(pasid(number), &table).unwrap_err();
        assert!(
            matches!(refused, Error::NoSuchPasid { pasid, bits: 0, .. } if pasid.get() == number),
            "{refused}"
        );
    }
    assert_eq!(rig.recorder.calls(), ["IOMMU_GET_HW_INFO"], "asked once");
    own.detach().unwrap();
    table.try_destroy().expect("nothing holds it");

    assert_eq!(Pasid::new(0), None);
    assert_eq!(Pasid::new(1 << Pasid::BITS), None);
}
