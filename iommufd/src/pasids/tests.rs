//! Tests of who has which PASID, over a played kernel.

use std::mem::ManuallyDrop;
use std::sync::Arc;

use rustix::io::Errno;

use super::*;
use crate::funnel::script::machine::{Driver, Info, Machine, bound};
use crate::{GroupId, GroupIdentity, HwPt, NestParent};

fn machine(pasid_bits: u8) -> Machine {
    Machine::new(Info {
        pasid_bits,
        ..Info::default()
    })
}

fn table(machine: &Machine) -> HwPt {
    let table = HwPt::builder(&machine.ioas, &machine.device).pasid(true);
    table.allocate().unwrap()
}

fn number(device: &Device) -> Result<u32> {
    let pasid = device.pasids().allocate()?;
    let number = pasid.pasid().get();
    // Nobody gives it back.
    forget(pasid);
    Ok(number)
}

fn forget<T>(value: T) {
    let _forgotten = ManuallyDrop::new(value);
}

fn pasid(number: u32) -> Pasid {
    Pasid::new(number).unwrap()
}

#[test]
fn handles_of_a_device_have_the_same_pasids_and_hand_out_each_once() {
    let machine = machine(2);
    let (one, other) = (machine.device.clone(), machine.device.clone());
    assert_eq!(one.pasids(), other.pasids());
    assert_eq!(number(&one).unwrap(), 1);
    assert_eq!(number(&other).unwrap(), 2);
    assert_eq!(number(&one).unwrap(), 3);
    let refused = number(&other).unwrap_err();
    assert!(
        matches!(refused, Error::NoPasidLeft { bits: 2 }),
        "{refused}"
    );
}

#[test]
fn a_device_without_pasids_has_none_to_hand_out() {
    let machine = machine(0);
    let refused = number(&machine.device).unwrap_err();
    assert!(
        matches!(refused, Error::NoPasidLeft { bits: 0 }),
        "{refused}"
    );
}

#[test]
fn a_pasid_is_given_back_when_it_is_dropped_and_when_it_is_detached() {
    let machine = machine(1);
    let table = table(&machine);
    let pasids = machine.device.pasids();
    for _ in 0..3 {
        let pasid = pasids.allocate().unwrap();
        assert!(pasids.allocate().is_err());
        drop(pasid);
        let attachment = pasids.allocate().unwrap().attach(&table).unwrap();
        assert!(pasids.allocate().is_err());
        attachment.detach().unwrap();
        drop(pasids.allocate().unwrap().attach(&table).unwrap());
    }
    let expected = [(1, Some(102)), (1, None)].repeat(6);
    assert_eq!(*machine.driver.moves.lock(), expected);
}

#[test]
fn a_forgotten_pasid_is_never_given_back() {
    let machine = machine(2);
    let table = table(&machine);
    let pasids = machine.device.pasids();
    forget(pasids.allocate().unwrap());
    forget(pasids.allocate().unwrap().attach(&table).unwrap());
    for _ in 0..3 {
        assert_eq!(pasids.allocate().unwrap().pasid(), pasid(3));
    }
}

#[test]
fn a_pasid_that_is_not_detached_is_not_given_back() {
    let machine = machine(1);
    let table = table(&machine);
    let device = &machine.device;
    let attachment = device.pasids().allocate().unwrap().attach(&table).unwrap();
    *machine.driver.stuck.lock() = true;
    let refused = attachment.detach().unwrap_err();
    assert_eq!(refused.error().errno(), Some(Errno::NOMEM));
    assert!(device.pasids().allocate().is_err(), "it is attached");
    drop(refused);
    assert!(device.pasids().allocate().is_err(), "it is attached still");
    // Who knows its number can have it detached, at last.
    let refused = device.attach_pasid(pasid(1), &table).unwrap_err();
    assert_eq!(refused.errno(), Some(Errno::NOMEM));
    *machine.driver.stuck.lock() = false;
    device
        .attach_pasid(pasid(1), &table)
        .unwrap()
        .detach()
        .unwrap();
    assert_eq!(device.pasids().allocate().unwrap().pasid(), pasid(1));
    let expected = [(1, Some(102)), (1, None)].repeat(2);
    assert_eq!(*machine.driver.moves.lock(), expected);
}

#[test]
fn numbers_that_are_chosen_and_numbers_that_are_handed_out_are_kept_apart() {
    let machine = machine(2);
    let table = table(&machine);
    let device = &machine.device;
    let chosen = device.attach_pasid(pasid(1), &table).unwrap();
    let allocated = device.pasids().allocate().unwrap();
    assert_eq!(allocated.pasid(), pasid(2));
    let taken = |number| device.attach_pasid(pasid(number), &table);
    assert!(matches!(taken(2), Err(Error::PasidTaken { pasid }) if pasid.get() == 2));
    let attachment = allocated.attach(&table).unwrap();
    assert!(matches!(taken(2), Err(Error::PasidTaken { .. })));
    assert!(matches!(taken(1), Err(Error::AlreadyAttached)));
    assert_eq!(number(device).unwrap(), 3);
    chosen.detach().unwrap();
    assert_eq!(number(device).unwrap(), 1);
    attachment.detach().unwrap();
    taken(2).unwrap().detach().unwrap();
    let moves = machine.driver.moves.lock().clone();
    assert_eq!(moves.len(), 6);
}

#[test]
fn a_pasid_that_cannot_be_attached_comes_back() {
    let machine = machine(2);
    let plain = HwPt::new(&machine.ioas, &machine.device).unwrap();
    let parent = NestParent::builder(&machine.ioas, &machine.device).pasid(true);
    let parent = parent.allocate().unwrap();
    let allocated = machine.device.pasids().allocate().unwrap();
    let refused = allocated.attach(&plain).unwrap_err();
    assert!(matches!(refused.error(), Error::NotForPasids { .. }));
    let allocated = refused.into_value();
    assert_eq!(number(&machine.device).unwrap(), 2, "it is its owner's");
    let attachment = allocated.attach(&parent).unwrap();
    assert_eq!(attachment.pasid(), pasid(1));
    assert_eq!(attachment.device(), &machine.device);
}

/// The kernel attaches a PASID of all devices of a group.
#[test]
fn devices_of_a_group_have_no_pasid_in_common_and_others_have() {
    let machine = machine(2);
    let device = |id, identity| {
        let driver = Arc::<Driver>::default();
        bound(&machine.iommufd, id, identity, &driver)
    };
    let group = |number| GroupIdentity::Group(GroupId::new(number));
    let (one, sibling) = (device(8, group(1)), device(9, group(1)));
    let (other, alone) = (device(10, group(2)), device(11, GroupIdentity::Alone));
    assert_ne!(one.pasids(), sibling.pasids());
    let first = one.pasids().allocate().unwrap();
    assert_eq!(number(&sibling).unwrap(), 2);
    assert_eq!(number(&other).unwrap(), 1);
    assert_eq!(number(&alone).unwrap(), 1);
    let table = table(&machine);
    let refused = sibling.attach_pasid(first.pasid(), &table).unwrap_err();
    assert!(matches!(refused, Error::PasidTaken { .. }), "{refused}");
    drop(first);
    let chosen = sibling.attach_pasid(pasid(1), &table).unwrap();
    assert_eq!(number(&one).unwrap(), 3);
    chosen.detach().unwrap();
}
