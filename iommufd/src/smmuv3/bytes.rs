//! Tests: what the kernel is given, byte by byte, where there is no hardware to try it on.

mod once;
mod relay;

use iommufd_sys::iommufd as sys;
use smmuv3_types::{Asid, InvalidationLimits};

use super::*;
use crate::error::Error;
use crate::funnel::script::machine::{Info, Machine, words};
use crate::{HwQueue, NestParent, NestedHwPt, VDevice, VEventQueue, Viommu};

/// What the registers of the host's SMMU say: ASIDs of 16 bits, range invalidation; and the erratum.
const IDR: [u32; 6] = [0x0d44_101b, 0x0273_0010, 0, 0x1414, 0, 0x74];
/// Where the registers of the guest's queues are, and how long they are.
const PAGE: u64 = 0x1_0000;

/// The device 7 on an SMMU of a Tegra241, with a parent of tables.
fn machine() -> (Machine, NestParent) {
    machine_that_says(IDR[0], 0)
}

/// The same on a machine that says this of itself.
fn machine_that_says(idr0: u32, capabilities: u32) -> (Machine, NestParent) {
    let registers = [[1, 0, idr0].as_slice(), &IDR[1..], &[0, 0]].concat();
    let machine = Machine::new(Info {
        kind: sys::IOMMU_HW_INFO_TYPE_ARM_SMMUV3,
        data: registers
            .iter()
            .flat_map(|word: &u32| word.to_le_bytes())
            .collect(),
        capabilities,
        viommu: [PAGE, PAGE].map(u64::to_le_bytes).concat(),
        ..Info::default()
    });
    let parent = NestParent::new(&machine.ioas, &machine.device).unwrap();
    machine.log.take();
    (machine, parent)
}

#[test]
fn a_tegra241_is_asked_for_with_its_structures() {
    let (machine, parent) = machine();
    let device = &machine.device;
    let (viommu, _events) = Viommu::<Tegra241Cmdqv>::with_data_and_events::<EventRecord>(
        &parent,
        device,
        VintfPage::default(),
        512,
    )
    .unwrap();
    // flags, type, device, parent, the id to come, the length of the data, reserved, its address.
    let (words, data) = machine.last("VIOMMU_ALLOC");
    assert_eq!(words[..7], [0, 2, 7, 102, 0, 16, 0]);
    assert_eq!(data, [0; 16]);
    // flags, virtual IOMMU, type, depth.
    assert_eq!(machine.last("VEVENTQ_ALLOC").0[..4], [0, 103, 1, 512]);
    let _errors = VEventQueue::<VcmdqErrors>::new(&viommu, 16).unwrap();
    assert_eq!(machine.last("VEVENTQ_ALLOC").0[..4], [0, 103, 2, 16]);

    assert_eq!(viommu.map_page().unwrap().len(), 0x1_0000);

    let range = |start: u64| IovaRange::new(Iova::new(start), Iova::new(start + 0xfff)).unwrap();
    let first = HwQueue::first(&viommu, range(0x4000_0000)).unwrap();
    // flags, virtual IOMMU, type, index, the id to come, the address, the length.
    let (words, _) = machine.last("HW_QUEUE_ALLOC");
    assert_eq!(words, [0, 103, 1, 0, 0, 0x4000_0000, 0, 0x1000, 0]);
    let _second = HwQueue::after(&first, range(0x4000_1000)).unwrap();
    let (words, _) = machine.last("HW_QUEUE_ALLOC");
    assert_eq!(words, [0, 103, 1, 1, 0, 0x4000_1000, 0, 0x1000, 0]);
}

#[test]
fn a_virtual_smmu_is_asked_for_without_data() {
    let (machine, parent) = machine();
    let device = &machine.device;
    let viommu = Viommu::<Smmuv3>::new(&parent, device).unwrap();
    let (words, data) = machine.last("VIOMMU_ALLOC");
    assert_eq!(words, [0, 1, 7, 102, 0, 0, 0, 0, 0]);
    assert_eq!(data, []);
    let limits = InvalidationLimits::NONE.with_ril(true).with_asid16(true);
    assert_eq!(*viommu.demands().limits(), limits);
}

#[test]
fn a_guests_entry_and_number_reach_the_kernel_as_they_are() {
    let (machine, parent) = machine();
    let device = &machine.device;
    let viommu = Viommu::<Tegra241Cmdqv>::with_data(&parent, device, VintfPage::default()).unwrap();
    let entry = NestedSte::from_words([0x0000_0000_4000_000b, 0x0800_00fe]).unwrap();
    let nested = NestedHwPt::new(&viommu, device, &entry).unwrap();
    // flags, device, what it is nested in, the id to come, reserved, the type of the data, its length.
    let (head, data) = machine.last("HWPT_ALLOC");
    assert_eq!(head[..7], [0, 7, 103, 0, 0, 2, 16]);
    assert_eq!(words(&data), entry.words());
    let vdevice = VDevice::new(&viommu, device, StreamId::new(0x42)).unwrap();
    // The virtual IOMMU, the device, the id to come, the guest's number.
    assert_eq!(machine.last("VDEVICE_ALLOC").0, [103, 7, 0, 0x42, 0]);

    // The device comes to the table, and then what it must not find there is invalidated; twice, as
    // the hardware has the erratum.
    machine.log.take();
    let stale = StaleAsids::Invalidate(vec![Asid::new(3), Asid::new(0x1234)]);
    let attachment = vdevice.attach(&nested, stale).unwrap();
    let (head, data) = machine.last("HWPT_INVALIDATE");
    // The virtual IOMMU, the address, the type, the length of each, their number, reserved.
    assert_eq!(head[0], 103);
    assert_eq!(head[3..], [1, 16, 2, 0]);
    assert_eq!(
        words(&data),
        [0x0003_0000_0000_0011, 0, 0x1234_0000_0000_0011, 0]
    );
    assert_eq!(machine.log.borrow().len(), 2);
    drop(attachment);
    drop(
        vdevice
            .attach(&nested, StaleAsids::GuestInvalidates)
            .unwrap(),
    );
    assert_eq!(machine.log.borrow().len(), 2, "nothing is invalidated");
}

#[test]
fn what_the_hosts_smmu_has_not_is_not_asked_of_it() {
    let (machine, parent) = machine();
    let device = &machine.device;
    let viommu = Viommu::<Smmuv3>::new(&parent, device).unwrap();
    machine.log.take();
    let all = InvalidationLimits::NONE.with_ats(true);
    let span = smmuv3_types::AtcSpan::ALL;
    let address = smmuv3_types::InputAddress::default();
    let atc = Invalidation::atc_inv(StreamId::new(1), None, address, span, &all).unwrap();
    let refused = viommu.invalidate(&[Invalidation::tlbi_nh_all(), atc]);
    assert!(matches!(
        refused,
        Err(Error::InvalidationNotThere { index: 1, .. })
    ));
    assert!(machine.log.borrow().is_empty());
}
