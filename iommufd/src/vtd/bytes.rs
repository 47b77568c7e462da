//! Tests: what the kernel is given, byte by byte, and what it is not asked, where there is no hardware
//! to try it on.

mod once;
mod relay;

use std::num::NonZeroU64;

use iommufd_sys::iommufd as sys;
use rustix::io::Errno;
use vtd_types::{
    Capabilities, Descriptor, DescriptorFeatures, Features, HostAddressWidth, InputAddress,
    NotNested, PasidEntry,
};

use super::*;
use crate::error::Error;
use crate::funnel::script::machine::{Driver, Info, Machine, bound, words};
use crate::{
    Access, DmaBuffer, FaultQueue, GroupId, GroupIdentity, HwPt, Ioas, Iova, NestParent,
    NestedHwPt, Pasid, PasidSlot, Target,
};

const SMTS: u64 = 1 << 43;
const NEST: u64 = 1 << 26;
const SRS: u64 = 1 << 31;
const EAFS: u64 = 1 << 34;
const FS5LP: u64 = 1 << 60;
const ERRATUM: u32 = sys::IOMMU_HW_INFO_VTD_ERRATA_772415_SPR17;

/// What a unit with these registers tells.
fn info(flags: u32, cap: u64, ecap: u64) -> Info {
    let registers = [u64::from(flags), cap, ecap];
    Info {
        kind: sys::IOMMU_HW_INFO_TYPE_INTEL_VTD,
        data: registers
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect(),
        pasid_bits: 20,
        ..Info::default()
    }
}

/// A server with all that a table can ask for.
fn server() -> Machine {
    Machine::new(info(ERRATUM, FS5LP, SMTS | NEST | SRS | EAFS))
}

fn parent(machine: &Machine) -> NestParent {
    let parent = NestParent::builder(&machine.ioas, &machine.device).pasid(true);
    let parent = parent.allocate().unwrap();
    assert_eq!(machine.names(), ["GET_HW_INFO", "HWPT_ALLOC"]);
    parent
}

/// A guest's entry, on a unit that offers all that there is: with its first stage at this address, and
/// these bits of the third word.
fn entry(bits: u64) -> NestedPasidEntry {
    let written = PasidEntry::from_words([0x41, 3, bits, 0, 0, 0, 0, 0]);
    NestedPasidEntry::from_entry(&written, &offered()).unwrap()
}

fn offered() -> Features {
    let all = Capabilities::from_bits(FS5LP, 1 << 47 | SMTS | SRS | EAFS);
    Features::new(all, HostAddressWidth::MAX).unwrap()
}

fn invalidation(address: u64, pages: u64, leaf: bool) -> Invalidation {
    let pages = NonZeroU64::new(pages).unwrap();
    Invalidation::pages(InputAddress::new(address), pages, leaf).unwrap()
}

fn lacks<T>(result: Result<T>) -> &'static str {
    match result {
        Err(Error::LacksCapability { capability }) => capability,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it was taken"),
    }
}

#[test]
fn a_guests_entry_reaches_the_kernel_as_it_is() {
    let machine = server();
    let parent = parent(&machine);
    // SRE, FSPM 1, WPE, EAFE.
    for (bits, flags, width) in [
        (0x1_2345_6000, 0, 48),
        (0x1_2345_6004, 0, 57),
        (0x1_2345_6001, 1, 48),
        (0x1_2345_6080, 2, 48),
        (0x1_2345_6011, 5, 48),
        (0x1_2345_6095, 7, 57),
        // Write protection of a supervisor that there is not.
        (0x1_2345_6010, 0, 48),
    ] {
        let config = entry(bits);
        let nested = NestedHwPt::<Vtd>::builder(&parent, &machine.device, &config);
        let nested = nested.pasid(true).allocate().unwrap();
        assert_eq!(*nested.config(), config);
        let (name, head, data) = machine.question();
        assert_eq!(name, "HWPT_ALLOC");
        // flags, device, what it is nested in, the id to come, reserved, the data's type and length.
        assert_eq!(head[..7], [8, 7, 102, 0, 0, 1, 24]);
        let [flags_at, table, rest]: [u64; 3] = words(&data).try_into().unwrap();
        assert_eq!((flags_at, table, rest), (flags, 0x1_2345_6000, width));
        drop(nested);
        assert_eq!(machine.names(), ["DESTROY"]);
    }
}

#[test]
fn ranges_and_everything_are_invalidated_in_one_call_in_their_order() {
    let machine = server();
    let parent = parent(&machine);
    let nested = NestedHwPt::<Vtd>::new(&parent, &machine.device, &entry(0x1000)).unwrap();
    machine.names();
    nested.invalidate(&[]).unwrap();
    assert_eq!(machine.names(), [""; 0]);

    let first = invalidation(0x7000, 3, false);
    let last = invalidation(0xffff_ffff_ffff_f000, 1, true);
    nested
        .invalidate(&[first, Invalidation::ALL, last])
        .unwrap();
    let (name, head, data) = machine.question();
    assert_eq!(name, "HWPT_INVALIDATE");
    // The table, the address, the type, the length of each, their number, reserved.
    assert_eq!(head[0], 103);
    assert_eq!(head[3..], [0, 24, 3, 0]);
    assert_eq!(
        words(&data),
        [0x7000, 3, 0, 0, u64::MAX, 0, 0xffff_ffff_ffff_f000, 1, 1]
    );

    // A guest's descriptors: p_iotlb_inv_dsc of all, and of eight pages.
    for (descriptor, expected) in [
        ([0x0000_0005_0007_0026, 0, 0, 0], [0, u64::MAX, 0]),
        (
            [0x0000_0005_0007_0036, 0x1234_5043, 0, 0],
            [0x1234_0000, 8, 1],
        ),
    ] {
        let descriptor = Descriptor::decode(descriptor, &DescriptorFeatures::SCALABLE).unwrap();
        let invalidation = Invalidation::from_descriptor(&descriptor).unwrap();
        nested.invalidate(&[invalidation]).unwrap();
        assert_eq!(words(&machine.question().2), expected);
    }
}

#[test]
fn of_several_invalidations_exactly_those_before_a_refused_one_are_done() {
    let machine = server();
    let parent = parent(&machine);
    let nested = NestedHwPt::<Vtd>::new(&parent, &machine.device, &entry(0x1000)).unwrap();
    for at in 0..3 {
        machine
            .refuse
            .set(Some(("HWPT_INVALIDATE", Errno::INVAL, at)));
        let refused = nested.invalidate(&[Invalidation::ALL; 3]).unwrap_err();
        let Error::InvalidationRefused {
            done,
            refused,
            reason,
        } = refused
        else {
            panic!("{refused}");
        };
        assert_eq!((done, refused), (at as usize, at as usize));
        assert_eq!(reason.errno, Errno::INVAL);
    }
    machine.refuse.set(None);
}

#[test]
fn what_the_hardware_has_not_is_named_and_the_kernel_is_not_asked() {
    const ALL: u64 = SMTS | NEST | SRS | EAFS;
    for (cap, ecap, bits, missing) in [
        (FS5LP, ALL & !SMTS, 0x1000, "ECAP_REG.SMTS"),
        (FS5LP, ALL & !NEST, 0x1000, "ECAP_REG.NEST"),
        (0, ALL, 0x1004, "CAP_REG.FS5LP"),
        (FS5LP, ALL & !SRS, 0x1001, "ECAP_REG.SRS"),
        (FS5LP, ALL & !EAFS, 0x1080, "ECAP_REG.EAFS"),
    ] {
        let machine = Machine::new(info(ERRATUM, cap, ecap));
        let parent = parent(&machine);
        let config = entry(bits);
        let new = || NestedHwPt::<Vtd>::new(&parent, &machine.device, &config);
        assert_eq!(lacks(new()), missing);
        assert_eq!(lacks(new()), missing);
        assert_eq!(machine.names(), [""; 0]);
    }
}

/// A table can be attached to a device behind another unit.
#[test]
fn a_device_behind_a_lesser_unit_does_not_come_to_the_table_and_is_not_stopped() {
    let machine = server();
    let parent = parent(&machine);
    let config = entry(0x1004);
    let nested = NestedHwPt::<Vtd>::builder(&parent, &machine.device, &config);
    let nested = nested.pasid(true).allocate().unwrap();
    let driver = std::sync::Arc::<Driver>::default();
    let lesser = bound(&machine.iommufd, 8, GroupIdentity::Alone, &driver);
    // From now on it is a unit without five levels that is asked.
    let mut attachment = machine.device.attach(&nested).unwrap();
    attachment.replace(&parent).unwrap();
    attachment.replace(&nested).unwrap();
    *machine.info.borrow_mut() = info(ERRATUM, 0, SMTS | NEST);
    assert_eq!(lacks(lesser.attach(&nested)), "CAP_REG.FS5LP");
    let one = Pasid::new(1).unwrap();
    assert_eq!(lacks(lesser.attach_pasid(one, &nested)), "CAP_REG.FS5LP");
    assert_eq!(*driver.moves.lock(), []);
    let mut attachment = lesser.attach(&parent).unwrap();
    let mut of_pasid = lesser.attach_pasid(one, &parent).unwrap();
    assert_eq!(lacks(attachment.replace(&nested)), "CAP_REG.FS5LP");
    assert_eq!(lacks(of_pasid.replace(&nested)), "CAP_REG.FS5LP");
    assert_eq!(*driver.moves.lock(), [(0, Some(102)), (1, Some(102))]);
}

/// The devices of a group go together.
#[test]
fn a_group_with_a_device_behind_a_lesser_unit_does_not_come_to_the_table_and_is_not_stopped() {
    let machine = server();
    let parent = parent(&machine);
    let config = entry(0x1004);
    let nested = NestedHwPt::<Vtd>::builder(&parent, &machine.device, &config);
    let nested = nested.pasid(true).allocate().unwrap();
    let driver = std::sync::Arc::<Driver>::default();
    let group = GroupIdentity::Group(GroupId::new(3));
    let [good, lesser] = [8, 9].map(|id| bound(&machine.iommufd, id, group, &driver));
    let other = NestedHwPt::<Vtd>::builder(&parent, &good, &config);
    let other = other.pasid(true).allocate().unwrap();
    // From now on it is a unit without five levels that is asked.
    *machine.info.borrow_mut() = info(ERRATUM, 0, SMTS | NEST);
    let one = Pasid::new(1).unwrap();
    let attachments = [&good, &lesser].map(|device| device.attach(&parent).unwrap());
    let of_pasids = [&good, &lesser].map(|device| device.attach_pasid(one, &parent).unwrap());
    driver.moves.lock().clear();
    for table in [&nested, &other] {
        assert_eq!(lacks(good.group().replace(table)), "CAP_REG.FS5LP");
        let refused = good.group().replace_pasid(one, table);
        assert_eq!(lacks(refused), "CAP_REG.FS5LP");
    }
    assert_eq!(*driver.moves.lock(), []);
    // Without that device the others go.
    drop((attachments, of_pasids));
    let _attachment = good.attach(&parent).unwrap();
    let _of_pasid = good.attach_pasid(one, &parent).unwrap();
    driver.moves.lock().clear();
    good.group().replace(&nested).unwrap();
    good.group().replace_pasid(one, &nested).unwrap();
    assert_eq!(driver.moves.lock().len(), 2);
}

/// The entries of a guest's PASID table, as it writes, changes and clears them.
#[test]
fn a_guests_pasid_follows_what_the_guest_writes() {
    let machine = server();
    let parent = parent(&machine);
    let device = &machine.device;
    let attachment = device.attach(&parent).unwrap();
    let mut slot = PasidSlot::new(device, Pasid::new(5).unwrap());
    assert_eq!(slot.target(), None);
    let mut write = |words: [u64; 3]| {
        let [zero, one, two] = words;
        let written = PasidEntry::from_words([zero, one, two, 0, 0, 0, 0, 0]);
        match NestedPasidEntry::from_entry(&written, &offered()) {
            Ok(config) => {
                let nested = NestedHwPt::<Vtd>::builder(&parent, device, &config);
                slot.set(nested.pasid(true).allocate().unwrap()).unwrap();
            }
            Err(NotNested::PassThrough) => slot.set(&parent).unwrap(),
            Err(NotNested::Bad(_)) => slot.clear().unwrap(),
            Err(other) => panic!("{other}"),
        }
    };
    write([0; 3]);
    write([0x41, 3, 0x1000]);
    write([0x41, 3, 0x2000]);
    write([0; 3]);
    write([0; 3]);
    write([0x41, 4, 0x2004]);
    drop(slot);
    assert_eq!(
        *machine.driver.moves.lock(),
        [
            (0, Some(102)),
            (5, Some(103)),
            (5, Some(104)),
            (5, None),
            (5, Some(105)),
            (5, None),
        ]
    );
    // Each table goes when the PASID has left it, and not before.
    let names = machine.names();
    assert_eq!(
        names,
        [
            "HWPT_ALLOC",
            "HWPT_ALLOC",
            "DESTROY",
            "DESTROY",
            "HWPT_ALLOC",
            "DESTROY"
        ]
    );
    drop(attachment);
}

#[test]
fn a_slot_that_cannot_be_set_or_cleared_is_as_it_was() {
    let machine = server();
    let parent = parent(&machine);
    let device = &machine.device;
    let plain = HwPt::new(&machine.ioas, device).unwrap();
    let mut slot = PasidSlot::new(device, Pasid::new(5).unwrap());
    let refused = slot.set(&plain).unwrap_err();
    assert!(matches!(refused, Error::NotForPasids { .. }));
    assert!(slot.attachment().is_none());
    slot.set(&parent).unwrap();
    let refused = slot.set(&plain).unwrap_err();
    assert!(matches!(refused, Error::NotForPasids { .. }));
    let there = || Some(Target::from(&parent));
    assert_eq!(slot.target().map(Target::from), there());
    *machine.driver.stuck.lock() = true;
    assert_eq!(slot.clear().unwrap_err().errno(), Some(Errno::NOMEM));
    assert_eq!(slot.target().map(Target::from), there());
    *machine.driver.stuck.lock() = false;
    slot.clear().unwrap();
    slot.clear().unwrap();
    assert_eq!(slot.target(), None);
}

#[test]
fn under_a_parent_with_the_erratum_nothing_is_mapped_to_be_read_only() {
    let machine = server();
    let ioas = &machine.ioas;
    let memory = DmaBuffer::new(8192).unwrap().share();
    let (read, both) = (Access::Read, Access::ReadWrite);
    let first = parent(&machine);
    let second = NestParent::new(ioas, &machine.device).unwrap();
    let writable = ioas.map_at(Iova::new(0x1000), &memory, both).unwrap();
    machine.names();
    // By any handle, at any address, by any way.
    let refused = |ioas: &Ioas| {
        let at = Iova::new(0x9000);
        for result in [
            ioas.map(&memory, read),
            ioas.map_at(at, &memory, read),
            ioas.copy(&writable, read),
            ioas.copy_at(at, &writable, read),
        ] {
            assert!(matches!(result, Err(Error::ReadOnlyRefused)), "{result:?}");
        }
    };
    refused(ioas);
    refused(first.ioas());
    drop(first);
    refused(&ioas.clone());
    assert_eq!(machine.names(), ["DESTROY"], "nothing was mapped");
    let write = ioas
        .map_at(Iova::new(0x9000), &memory, Access::Write)
        .unwrap();
    write.unmap().unwrap();
    // Another address space is not concerned; with the last parent it is over.
    let other = Ioas::new(&machine.iommufd).unwrap();
    other.copy(&writable, read).unwrap().unmap().unwrap();
    second.try_destroy().unwrap();
    let again = ioas.map_at(Iova::new(0x9000), &memory, read).unwrap();
    again.unmap().unwrap();
}

#[test]
fn over_memory_that_is_mapped_to_be_read_only_there_is_no_parent_with_the_erratum() {
    let machine = server();
    let (ioas, device) = (&machine.ioas, &machine.device);
    let memory = DmaBuffer::new(4096).unwrap().share();
    let read_only = ioas
        .map_at(Iova::new(0x3000), &memory, Access::Read)
        .unwrap();
    let lower = ioas
        .copy_at(Iova::new(0x2000), &read_only, Access::Read)
        .unwrap();
    machine.names();
    for expected in [lower.range(), read_only.range()] {
        let refused = NestParent::new(ioas, device).unwrap_err();
        let Error::ReadOnlyMapping { mapping } = refused else {
            panic!("{refused}");
        };
        assert_eq!(mapping, expected);
        if expected == lower.range() {
            ioas.unmap_range(expected).unwrap();
        }
    }
    assert_eq!(machine.names(), ["GET_HW_INFO", "IOAS_UNMAP"], "asked once");
    // Tables that nothing is nested in take it.
    drop(HwPt::new(ioas, device).unwrap());
    read_only.unmap().unwrap();
    // What the kernel refuses keeps nobody out.
    machine
        .refuse
        .set(Some(("HWPT_ALLOC", Errno::OPNOTSUPP, 0)));
    let refused = NestParent::new(ioas, device).unwrap_err();
    assert_eq!(refused.errno(), Some(Errno::OPNOTSUPP));
    machine.refuse.set(None);
    let read_only = ioas
        .map_at(Iova::new(0x3000), &memory, Access::Read)
        .unwrap();
    read_only.unmap().unwrap();
    drop(NestParent::new(ioas, device).unwrap());
}

#[test]
fn where_there_is_no_such_erratum_a_parent_takes_what_there_is() {
    let without = info(0, FS5LP, SMTS | NEST);
    let mut smmu = info(ERRATUM, FS5LP, SMTS | NEST);
    smmu.kind = sys::IOMMU_HW_INFO_TYPE_ARM_SMMUV3;
    smmu.data.resize(40, 0xff);
    for info in [without, smmu, Info::default()] {
        let machine = Machine::new(info);
        let memory = DmaBuffer::new(4096).unwrap().share();
        let map = |iova| machine.ioas.map_at(Iova::new(iova), &memory, Access::Read);
        let before = map(0x1000).unwrap();
        let parent = NestParent::new(&machine.ioas, &machine.device).unwrap();
        let after = map(0x9000).unwrap();
        drop((before, after, parent));
    }
}
