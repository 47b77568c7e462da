//! What the relay's host asks of the kernel.

use std::sync::Arc;

use smmuv3_types::NestedConfig;

use super::*;
use crate::funnel::script::machine::{Driver, bound};
use crate::smmuv3::relay::{Host, Kernel, Place, RelayedDevice};
use crate::{FaultQueue, GroupId, GroupIdentity};

/// What the SMMU's `STALL_MODEL` can be.
const BOTH: u32 = 0b00;
const TERMINATE_ONLY: u32 = 0b01;
const STALL_ONLY: u32 = 0b10;
/// `IOMMU_HW_CAP_PCI_ATS_NOT_SUPPORTED`.
const NO_ATS: u32 = 1 << 3;
const STREAM: StreamId = StreamId::new(8);

fn idr0(stall_model: u32) -> u32 {
    IDR[0] & !(3 << 24) | stall_model << 24
}

/// A guest's entry, with full ATS (29:28).
fn entry() -> NestedSte {
    NestedSte::from_words([0x4000_000b, 0x1000_00fe]).unwrap()
}

/// The second word of what the kernel was given last.
fn installed(machine: &Machine) -> u64 {
    let (_, data) = machine.last("HWPT_ALLOC");
    let [first, second] = words(&data)[..] else {
        panic!("{data:?}");
    };
    assert_eq!(first, 0x4000_000b);
    second
}

/// How many tables were allocated on the parent.
fn tables(machine: &Machine) -> usize {
    let log = machine.log.borrow();
    log.iter().filter(|entry| entry.0 == "HWPT_ALLOC").count()
}

/// A virtual SMMU on `parent`, and a device that is known as [`STREAM`] behind it.
fn behind(parent: &NestParent, device: RelayedDevice) -> (Kernel, RelayedDevice, Viommu<Smmuv3>) {
    let viommu = Viommu::<Smmuv3>::new(parent, device.device()).unwrap();
    let mut kernel = Kernel::new(&viommu);
    let mut device = device;
    kernel.enter(&mut device).unwrap();
    kernel.name(&mut device, Some(STREAM)).unwrap();
    (kernel, device, viommu)
}

#[test]
fn a_guests_descriptor_cannot_have_a_device_stall_that_nobody_listens_to() {
    const S1STALLD: u64 = 1 << 27;
    for (model, without, with_queue) in [
        (BOTH, S1STALLD, 0),
        // There it would be an error.
        (TERMINATE_ONLY, 0, 0),
        (STALL_ONLY, 0, 0),
    ] {
        let (machine, parent) = machine_that_says(idr0(model), 0);
        let device = machine.device.clone();
        let place = Place::Translated(entry());
        let (mut kernel, mut one, viommu) = behind(&parent, RelayedDevice::new(device.clone()));
        kernel.put(&mut one, &place).unwrap();
        assert_eq!(installed(&machine), 0xfe | without, "{model}");
        let by_hand = viommu.demands().without_stalls(&entry());
        assert_eq!(by_hand.words()[1], 0x1000_00fe | without, "{model}");
        drop((kernel, one));

        let queue = FaultQueue::new(device.iommufd()).unwrap();
        let other = RelayedDevice::new(device).with_fault_queue(queue);
        let (mut kernel, mut other, _) = behind(&parent, other);
        kernel.put(&mut other, &place).unwrap();
        assert_eq!(installed(&machine), 0xfe | with_queue, "{model}");
    }
}

#[test]
fn entries_without_stage_1_have_nothing_to_take_out() {
    let (machine, parent) = machine_that_says(idr0(BOTH), 0);
    let device = machine.device.clone();
    let viommu = Viommu::<Smmuv3>::new(&parent, &device).unwrap();
    for entry in [
        NestedSte::invalid(),
        NestedSte::abort(),
        NestedSte::bypass(),
    ] {
        assert!(!matches!(entry.config(), NestedConfig::Translate(_)));
        assert_eq!(viommu.demands().without_stalls(&entry), entry);
    }
}

#[test]
fn ats_is_on_only_for_a_device_that_has_it() {
    let place = Place::Translated(entry());
    let (machine, parent) = machine();
    let device = machine.device.clone();
    let (mut kernel, mut without, _) = behind(&parent, RelayedDevice::new(device.clone()));
    assert!(!kernel.has_ats(&without));
    kernel.put(&mut without, &place).unwrap();
    assert_eq!(installed(&machine), 0xfe);
    drop((kernel, without));
    let with = RelayedDevice::new(device).with_ats().unwrap();
    let (mut kernel, mut with, _) = behind(&parent, with);
    assert!(kernel.has_ats(&with));
    kernel.put(&mut with, &place).unwrap();
    assert_eq!(installed(&machine), 0x1000_00fe);
}

#[test]
fn ats_that_the_kernel_denies_is_refused() {
    let (machine, _parent) = machine_that_says(IDR[0], NO_ATS);
    let device = machine.device.clone();
    let refused = RelayedDevice::<Smmuv3>::new(device).with_ats().unwrap_err();
    assert!(matches!(refused.error(), Error::AtsNotSupported));
    assert!(!refused.into_value().device().is_attached());
}

#[test]
fn a_device_is_attached_wherever_it_is_and_to_block_it_takes_no_new_table() {
    let (machine, parent) = machine();
    let device = machine.device.clone();
    let moves = Arc::<Driver>::default();
    let one = bound(device.iommufd(), 8, GroupIdentity::Alone, &moves);
    let (mut kernel, mut one, _) = behind(&parent, RelayedDevice::new(one));
    assert_eq!(tables(&machine), 1);
    let abort = moves.tables()[0];
    assert!(abort.is_some());
    kernel.put(&mut one, &Place::Bypass).unwrap();
    kernel.put(&mut one, &Place::Blocked).unwrap();
    kernel.put(&mut one, &Place::Translated(entry())).unwrap();
    kernel.put(&mut one, &Place::Blocked).unwrap();
    assert_eq!(
        tables(&machine),
        2,
        "one that aborts, and one that translates"
    );
    // Without a number; and another device has the same table.
    kernel.name(&mut one, None).unwrap();
    let mut other = RelayedDevice::new(device);
    kernel.enter(&mut other).unwrap();
    assert_eq!(tables(&machine), 2);
    kernel.leave(&mut one).unwrap();
    assert!(!one.device().is_attached());
    let done = moves.tables();
    let [first, bypass, second, translated, third, None] = done[..] else {
        panic!("{done:?}");
    };
    assert_eq!([first, second, third], [abort; 3]);
    assert!(bypass.is_some() && translated.is_some() && bypass != translated);
}

#[test]
fn a_device_that_cannot_be_moved_to_what_blocks_is_detached() {
    let (machine, parent) = machine();
    let device = machine.device.clone();
    let moves = Arc::<Driver>::default();
    let one = bound(device.iommufd(), 8, GroupIdentity::Alone, &moves);
    let (mut kernel, mut one, _) = behind(&parent, RelayedDevice::new(one));
    kernel.put(&mut one, &Place::Translated(entry())).unwrap();
    let abort = moves.tables()[0].unwrap();
    *moves.refused.lock() = Some(abort);
    kernel.put(&mut one, &Place::Blocked).unwrap();
    assert!(!one.device().is_attached());
    // It goes on from there.
    kernel.name(&mut one, None).unwrap();
    kernel.put(&mut one, &Place::Bypass).unwrap();
    assert!(one.device().is_attached());
    *moves.refused.lock() = None;
    kernel.put(&mut one, &Place::Blocked).unwrap();
    assert_eq!(moves.tables().last(), Some(&Some(abort)));
}

#[test]
fn a_device_that_is_not_alone_or_is_attached_does_not_come() {
    let (machine, parent) = machine();
    let device = machine.device.clone();
    let viommu = Viommu::<Smmuv3>::new(&parent, &device).unwrap();
    let mut kernel = Kernel::new(&viommu);
    let iommufd = device.iommufd();
    let group = |number| GroupIdentity::Group(GroupId::new(number));
    let bind = |id, group| RelayedDevice::new(bound(iommufd, id, group, &Arc::default()));
    let mut one = bind(8, group(1));
    let mut alone = bind(9, group(2));
    {
        let _sibling = bind(10, group(1));
        let refused = kernel.enter(&mut one);
        assert!(
            matches!(refused, Err(Error::NotAlone { siblings: 1 })),
            "{refused:?}"
        );
        assert!(!one.device().is_attached());
        kernel.enter(&mut alone).unwrap();
        kernel.leave(&mut alone).unwrap();
    }
    {
        let _stranger = bind(11, GroupIdentity::Unknown);
        for device in [&mut one, &mut alone] {
            let refused = kernel.enter(device);
            assert!(matches!(refused, Err(Error::NotAlone { siblings: 1 })));
        }
        // Of a group that nobody else is of.
        kernel
            .enter(&mut RelayedDevice::new(device.clone()))
            .unwrap();
    }
    kernel.enter(&mut one).unwrap();

    let _attachment = alone.device().attach(&parent).unwrap();
    let refused = kernel.enter(&mut alone);
    assert!(
        matches!(refused, Err(Error::AlreadyAttached)),
        "{refused:?}"
    );
}
