//! PASIDs that follow what a guest writes into its PASID table: nested tables, on what stands in for VT-d.

use iommufd::{Error, Leaks, NestParent, NestedHwPt, PasidSlot, PasidTarget, Target};
use rustix::io::Errno;
use tests::ids;
use tests::mock::nesting::{OnParent, Stage1, TableInvalidation};
use tests::mock::{abi, check_iotlb};
use tests::pasids::pasid;

use super::Rig;

/// A guest's tables, each told from the others by what it has cached.
fn table(rig: &Rig, parent: &NestParent, iotlb: u32) -> NestedHwPt<OnParent> {
    let config = Stage1 { iotlb };
    let table = NestedHwPt::builder(parent, &rig.device, &config).pasid(true);
    let table = table.allocate().unwrap();
    assert_eq!(*table.config(), config);
    assert_eq!(*table.clone().config(), config);
    table
}

fn parent(rig: &Rig) -> NestParent {
    let parent = NestParent::builder(&rig.ioas, &rig.device).pasid(true);
    parent.allocate().unwrap()
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_pasid_follows_what_the_guest_writes_one_call_a_change() {
    let rig = Rig::new();
    let device = &rig.device;
    let parent = parent(&rig);
    let attachment = device.attach(&parent).unwrap();
    let (first, second) = (table(&rig, &parent, 1), table(&rig, &parent, 2));
    let mut slot = PasidSlot::new(device, pasid(5));
    let mut other = PasidSlot::new(device, pasid(6));
    other.set(&second).unwrap();
    let change = |slot: &mut PasidSlot, to: Option<PasidTarget>, id: u32, calls: &[&str]| {
        rig.recorder.clear();
        match &to {
            Some(target) => slot.set(target).unwrap(),
            None => slot.clear().unwrap(),
        }
        assert_eq!(rig.recorder.calls(), calls);
        device.check_pasid(pasid(5), id).unwrap();
        assert_eq!(slot.target(), to);
    };
    let [one, two] = [&first, &second].map(PasidTarget::from);
    let call = &["IOMMU_TEST_CMD"];
    change(&mut slot, None, 0, &[]);
    change(&mut slot, Some(one.clone()), ids::of(&first), call);
    change(&mut slot, Some(two), ids::of(&second), call);
    change(&mut slot, Some((&parent).into()), ids::of(&parent), call);
    change(&mut slot, None, 0, call);
    change(&mut slot, None, 0, &[]);
    change(&mut slot, Some(one), ids::of(&first), call);
    // Where a table is invalidated, no other is.
    first.invalidate(&[TableInvalidation::of(0)]).unwrap();
    check_iotlb(&rig.iommufd, ids::of(&first), 0, 0).unwrap();
    check_iotlb(&rig.iommufd, ids::of(&second), 0, 2).unwrap();
    drop(slot);
    device.check_pasid(pasid(5), 0).unwrap();
    device.check_pasid(pasid(6), ids::of(&second)).unwrap();
    first.try_destroy().expect("nothing holds it any more");
    drop((other, attachment));
    second.try_destroy().expect("nothing holds it any more");
    assert_eq!(rig.iommufd.leaks(), Leaks::default());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_pasid_that_the_kernel_does_not_move_or_detach_is_where_it_was() {
    let rig = Rig::new();
    let device = &rig.device;
    let parent = parent(&rig);
    let (here, there) = (table(&rig, &parent, 1), table(&rig, &parent, 2));
    let fails_once = pasid(abi::PASID_FAILS_ONCE);
    let mut slot = PasidSlot::new(device, fails_once);
    slot.set(&here).unwrap();
    let is_here = |slot: &PasidSlot| {
        device.check_pasid(fails_once, ids::of(&here)).unwrap();
        assert_eq!(slot.target().map(Target::from), Some(Target::from(&here)));
    };
    let refused = slot.set(&there).unwrap_err();
    assert_eq!(refused.errno(), Some(Errno::NOMEM));
    is_here(&slot);
    device.refuse_detach(true);
    let refused = slot.clear().unwrap_err();
    assert_eq!(refused.errno(), Some(Errno::BUSY));
    is_here(&slot);
    device.refuse_detach(false);
    slot.set(&there).unwrap();
    slot.clear().unwrap();
    device.check_pasid(fails_once, 0).unwrap();
    assert!(slot.attachment().is_none());
    assert_eq!(rig.iommufd.leaks(), Leaks::default());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_slot_claims_nothing_before_it_is_set() {
    let rig = Rig::new();
    let parent = parent(&rig);
    let table = table(&rig, &parent, 1);
    let mut slots = [(); 2].map(|()| PasidSlot::new(&rig.device, pasid(5)));
    slots[0].set(&table).unwrap();
    let refused = slots[1].set(&table).unwrap_err();
    assert!(matches!(refused, Error::AlreadyAttached), "{refused}");
    slots[0].clear().unwrap();
    slots[1].set(&table).unwrap();
    let allocated: Vec<_> = (0..6)
        .map(|_| rig.device.pasids().allocate().unwrap())
        .collect();
    assert!(allocated.iter().all(|given| given.pasid() != pasid(5)));
    let mut late = PasidSlot::new(&rig.device, allocated[0].pasid());
    let refused = late.set(&table).unwrap_err();
    assert!(matches!(refused, Error::PasidTaken { .. }), "{refused}");
}
