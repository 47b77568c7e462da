//! PASIDs that are handed out, where no guest chooses them.

use std::collections::HashSet;

use iommufd::{AllocatedPasid, Error, HwPt, Leaks};
use rustix::io::Errno;
use tests::fork::in_child;
use tests::ids;
use tests::mock::MockDevice;
use tests::orders::{Droppable, drop_in, orders};
use tests::pasids::pasid;
use tests::within::within;

use super::Rig;

fn allocate(device: &MockDevice) -> AllocatedPasid {
    device.pasids().allocate().unwrap()
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_pasid_that_is_handed_out_is_attached_moved_and_given_back() {
    let rig = Rig::new();
    let device = &rig.device;
    let (first, second) = (rig.table(), rig.table());
    rig.recorder.clear();
    let allocated = allocate(device);
    let other = allocate(&device.clone());
    assert_eq!(rig.recorder.calls(), ["IOMMU_GET_HW_INFO"], "once");
    assert_eq!([allocated.pasid(), other.pasid()], [pasid(1), pasid(2)]);
    let mut of_pasid = allocated.attach(&first).unwrap();
    assert_eq!(of_pasid.pasid(), pasid(1));
    device.check_pasid(pasid(1), ids::of(&first)).unwrap();
    of_pasid.replace(&second).unwrap();
    device.check_pasid(pasid(1), ids::of(&second)).unwrap();
    rig.recorder.clear();
    let refused = device.attach_pasid(pasid(2), &first).unwrap_err();
    assert!(matches!(refused, Error::PasidTaken { .. }), "{refused}");
    assert_eq!(rig.recorder.count(), 0);
    of_pasid.detach().unwrap();
    device.check_pasid(pasid(1), 0).unwrap();
    // It is anybody's again.
    drop(other);
    for number in [1, 2] {
        let chosen = device.attach_pasid(pasid(number), &first).unwrap();
        chosen.detach().unwrap();
    }
    assert_eq!(rig.iommufd.leaks(), Leaks::default());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn the_kernel_takes_each_that_is_handed_out_and_none_twice() {
    let rig = Rig::new();
    let device = &rig.device;
    let table = rig.table();
    let chosen = device.attach_pasid(pasid(100), &table).unwrap();
    let attachments: Vec<_> = (0..200)
        .map(|_| allocate(device).attach(&table).unwrap())
        .collect();
    let numbers: HashSet<_> = attachments
        .iter()
        .map(|of_pasid| of_pasid.pasid())
        .collect();
    assert_eq!(numbers.len(), attachments.len());
    assert!(!numbers.contains(&pasid(100)));
    for &number in &numbers {
        device.check_pasid(number, ids::of(&table)).unwrap();
    }
    drop((attachments, chosen));
    for number in numbers {
        device.check_pasid(number, 0).unwrap();
    }
    table.try_destroy().expect("nothing holds it");
    assert_eq!(rig.iommufd.leaks(), Leaks::default());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn many_threads_have_no_pasid_in_common() {
    let rig = Rig::new();
    let table = rig.table();
    let work = |device: MockDevice, table: HwPt| {
        move || {
            let mut numbers = Vec::new();
            for round in 0..60 {
                let allocated = allocate(&device);
                let number = allocated.pasid();
                device.check_pasid(number, 0).expect("nobody has it");
                let of_pasid = allocated.attach(&table).unwrap();
                device.check_pasid(number, ids::of(&table)).unwrap();
                if round % 3 == 0 {
                    numbers.push(of_pasid);
                }
            }
            numbers
        }
    };
    let threads: Vec<_> = (0..4)
        .map(|_| std::thread::spawn(work(rig.device.clone(), table.clone())))
        .collect();
    let kept: Vec<_> = threads
        .into_iter()
        .flat_map(|thread| thread.join().unwrap())
        .collect();
    let numbers: HashSet<_> = kept.iter().map(|of_pasid| of_pasid.pasid()).collect();
    assert_eq!(numbers.len(), 4 * 20);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_pasid_that_the_kernel_keeps_attached_is_given_to_nobody() {
    let rig = Rig::new();
    let device = &rig.device;
    let table = rig.table();
    device.refuse_detach(true);
    let refused = allocate(device)
        .attach(&table)
        .unwrap()
        .detach()
        .unwrap_err();
    assert_eq!(refused.error().errno(), Some(Errno::BUSY));
    drop(refused);
    device.check_pasid(pasid(1), ids::of(&table)).unwrap();
    for _ in 0..10 {
        assert_ne!(allocate(device).pasid(), pasid(1));
    }
    device.refuse_detach(false);
    let again = device.attach_pasid(pasid(1), &table).unwrap();
    again.detach().unwrap();
    device.check_pasid(pasid(1), 0).unwrap();
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_device_its_table_and_what_was_handed_out_can_be_dropped_in_every_order() {
    orders::<5>(|order| {
        let rig = Rig::new();
        let table = rig.table();
        let pasids = rig.device.pasids();
        let of_pasid = allocate(&rig.device).attach(&table).unwrap();
        let allocated = allocate(&rig.device);
        let Rig {
            device,
            ioas,
            iommufd,
            recorder,
        } = rig;
        drop(ioas);
        let graph: [Droppable; 5] = [
            Some(Box::new(device.into_device())),
            Some(Box::new(table)),
            Some(Box::new(pasids)),
            Some(Box::new(of_pasid)),
            Some(Box::new(allocated)),
        ];
        drop_in(order, graph, &recorder);
        assert_eq!(iommufd.leaks(), Leaks::default());
    });
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_child_of_a_fork_hands_out_nothing_and_gives_nothing_back() {
    let rig = Rig::new();
    let device = &rig.device;
    let table = rig.table();
    let mut allocated = Some(allocate(device));
    let mut of_pasid = Some(allocate(device).attach(&table).unwrap());
    in_child(|| {
        let refused = device.pasids().allocate().unwrap_err();
        assert!(matches!(refused, Error::Forked), "{refused}");
        let refused = allocated.take().unwrap().attach(&table).unwrap_err();
        assert!(matches!(refused.error(), Error::Forked));
        drop((refused.into_value(), of_pasid.take()));
    });
    device.check_pasid(pasid(2), ids::of(&table)).unwrap();
    assert_eq!(allocate(device).pasid(), pasid(3));
    drop((allocated, of_pasid));
    assert_eq!(rig.iommufd.leaks(), Leaks::default());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_device_without_pasids_has_none_to_hand_out() {
    let rig = Rig::new();
    let without = MockDevice::new(&rig.iommufd).unwrap();
    let refused = without.pasids().allocate().unwrap_err();
    assert!(
        matches!(refused, Error::NoPasidLeft { bits: 0, .. }),
        "{refused}"
    );
}

/// Whoever observes may use what he observes.
#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn an_observer_finds_no_lock_held() {
    within(60, || {
        let rig = Rig::new();
        let device = rig.device.clone();
        let table = rig.table();
        let allocated = allocate(&device);
        let observed = device.clone();
        rig.recorder.hook(move |_| drop(allocate(&observed)));
        let mut of_pasid = allocated.attach(&table).unwrap();
        of_pasid.replace(&table).unwrap();
        of_pasid.detach().unwrap();
        rig.recorder.unhook();
        drop(device);
    });
}
