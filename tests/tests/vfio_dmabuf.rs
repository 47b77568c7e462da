//! BARs as dma-bufs: other devices reach them, until they are taken away.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::os::fd::AsFd;

use iommufd::{Access, DmaBuffer, FileRange, Iova};
use rustix::io::Errno;
use tests::edu::{Rig, assert_free, device, igb, pair};
use tests::fork::in_child;
use tests::refused;
use vfio::pci::{Command, PowerState};
use vfio::{BarDmaMapping, BarMapping, Device, Error, RegionIndex, Revocation};

/// A register of an `igb` that keeps what is written: the low half of a receive address.
const ADDRESS: u64 = 0x5400;
/// The page of it in the BAR.
const PAGE: std::ops::Range<u64> = 0x5000..0x6000;
/// Where the BAR is mapped, above 4 GiB.
const HIGH: Iova = Iova::new(0x2_0000_0000);

/// An engine, and a card whose BAR it is to reach.
struct Peers {
    rig: Rig,
    card: Device,
    registers: BarMapping,
}

impl Peers {
    fn new() -> Self {
        let rig = Rig::new();
        let card = device(igb());
        let registers = card.map_bar(RegionIndex::BAR0).unwrap();
        Self {
            rig,
            card,
            registers,
        }
    }

    /// Has the engine write 4 bytes to the card's register, of which the page is mapped there.
    /// Returns whether they arrived.
    fn reach(&self, mapping: &BarDmaMapping, value: u32) -> bool {
        self.registers.write(ADDRESS, !value).unwrap();
        self.rig.load(&value.to_le_bytes());
        let register = mapping.iova().checked_add(ADDRESS - PAGE.start).unwrap();
        self.rig.edu.store(register, 4).unwrap();
        self.registers.read::<u32>(ADDRESS).unwrap() == value
    }
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn a_device_writes_and_reads_the_registers_of_another() {
    let peers = Peers::new();
    let buffer = peers.card.export_bar(RegionIndex::BAR0, PAGE).unwrap();
    assert_eq!(
        (buffer.region(), buffer.size()),
        (RegionIndex::BAR0, 0x1000)
    );
    let mapping = buffer
        .map_at(&peers.rig.ioas, HIGH, Access::ReadWrite)
        .unwrap();
    assert_eq!(mapping.range().len(), Some(0x1000));
    assert!(!mapping.is_revoked());
    for value in [0x1234_5678, 0x0badcafe] {
        assert!(peers.reach(&mapping, value));
    }
    // And the other way.
    peers.registers.write(ADDRESS, 0x5566_7788_u32).unwrap();
    let register = HIGH.checked_add(ADDRESS - PAGE.start).unwrap();
    peers.rig.edu.fetch(register, 4).unwrap();
    assert_eq!(peers.rig.contents()[..4], 0x5566_7788_u32.to_le_bytes());

    in_child(|| {
        assert!(mapping.is_revoked());
        let here = buffer.map(&peers.rig.ioas, Access::Read).map(drop);
        assert!(matches!(here, Err(Error::Iommufd(iommufd::Error::Forked))));
    });
    assert!(!mapping.is_revoked());

    // It holds the card open, and is named.
    let Peers {
        rig,
        card,
        registers,
    } = peers;
    drop(registers);
    let refused = card.try_close().unwrap_err();
    let Error::StillHeld(holders) = refused.error() else {
        panic!("{refused}")
    };
    assert_eq!(holders.dma_bufs, 1);
    assert_eq!(holders.to_string(), "1 exported BAR");
    let card = refused.into_value();
    drop(buffer);
    let card = card.try_close().unwrap_err().into_value();
    mapping.unmap().unwrap();
    card.try_close().unwrap();
    let memory = DmaBuffer::new(4096).unwrap().share();
    assert!(!rig.reaches(HIGH, &memory));
    drop(rig);
    assert_free(igb());
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn what_takes_registers_away_revokes_the_mapping_and_it_can_be_made_again() {
    let peers = Peers::new();
    let config = peers.card.config().unwrap();
    let buffer = peers.card.export_bar(RegionIndex::BAR0, PAGE).unwrap();
    let mut mapping = buffer.map(&peers.rig.ioas, Access::ReadWrite).unwrap();
    let iova = mapping.iova();
    let ways: [&dyn Fn(); 3] = [
        &|| peers.card.reset().unwrap(),
        &|| {
            config.disable_memory_decode().unwrap();
            config.enable_memory_decode().unwrap();
        },
        &|| {
            config.set_power_state(PowerState::D3).unwrap();
            config.set_power_state(PowerState::D0).unwrap();
        },
    ];
    for (way, revoke) in ways.iter().enumerate() {
        let value = 0x1000_0001 + way as u32;
        assert!(peers.reach(&mapping, value), "{way}");
        revoke();
        assert!(mapping.is_revoked(), "{way}");
        assert!(!peers.reach(&mapping, value), "{way}");
        mapping.map_again().unwrap();
        assert!(!mapping.is_revoked());
        assert_eq!(mapping.iova(), iova);
    }
    assert!(peers.reach(&mapping, 7));

    // While they are away nothing is mapped, and the mapping that there was is left.
    config.disable_memory_decode().unwrap();
    assert!(!config.command().unwrap().contains(Command::MEMORY));
    assert!(mapping.is_revoked());
    let cause = |answer: vfio::Result<()>| match answer.unwrap_err() {
        Error::Revoked { cause, .. } => cause,
        error => panic!("{error}"),
    };
    assert_eq!(cause(mapping.map_again()), Revocation::MemoryDecode);
    let another = buffer.map(&peers.rig.ioas, Access::Read).map(drop);
    assert_eq!(cause(another), Revocation::MemoryDecode);
    // One exported now is revoked from its start, and not for good.
    let late = peers.card.export_bar(RegionIndex::BAR0, PAGE).unwrap();
    let file = FileRange::new(&late, 0..late.size());
    refused(peers.rig.ioas.map_file(file, Access::Read), Errno::NODEV);
    config.enable_memory_decode().unwrap();
    let late = late.map(&peers.rig.ioas, Access::ReadWrite).unwrap();
    assert!(peers.reach(&late, 9));
    mapping.unmap().unwrap();
    late.unmap().unwrap();
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn a_reset_that_cannot_be_revokes_nothing() {
    let rig = Rig::new();
    let edu = device(pair()[0]);
    let buffer = edu.export_bar(RegionIndex::BAR0, 0..0x1000).unwrap();
    let mapping = buffer.map(&rig.ioas, Access::ReadWrite).unwrap();
    assert_eq!(edu.reset().unwrap_err().errno(), Some(Errno::INVAL));
    assert!(!mapping.is_revoked());
    // The liveness register answers with the inverse.
    rig.load(&[1, 2, 3, 4]);
    let liveness = mapping.iova().checked_add(4).unwrap();
    rig.edu.store(liveness, 4).unwrap();
    let registers = edu.map_bar(RegionIndex::BAR0).unwrap();
    assert_eq!(registers.read::<u32>(4).unwrap(), !0x0403_0201);
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn what_cannot_be_exported_is_refused_with_its_reason() {
    let card = device(igb());
    let size = card.region_info(RegionIndex::BAR0).unwrap().size;
    for part in [0..size + 1, size..size + 4096, u64::MAX - 1..u64::MAX] {
        let refused = card.export_bar(RegionIndex::BAR0, part).unwrap_err();
        assert!(matches!(refused, Error::OutOfBounds { .. }), "{refused}");
    }
    let errno = |answer: vfio::Result<vfio::BarDmaBuf>| answer.unwrap_err().errno();
    for part in [0..0x800, 0x800..0x1000, 0x1000..0x1000] {
        let answer = card.export_bar(RegionIndex::BAR0, part);
        assert_eq!(errno(answer), Some(Errno::INVAL));
    }
    let none = card.export_bar_parts(RegionIndex::BAR0, &[]);
    assert_eq!(errno(none), Some(Errno::INVAL));
    let config = card.export_bar(RegionIndex::CONFIG, 0..0x1000);
    assert_eq!(errno(config), Some(Errno::NODEV));
    let absent = card.export_bar(RegionIndex::BAR5, 0..0x1000);
    assert!(matches!(absent, Err(Error::NoRegion { .. })), "{absent:?}");

    // Of several parts it is for others than iommufd.
    let rig = Rig::new();
    let parts = [0..0x1000, 0x5000..0x7000];
    let several = card.export_bar_parts(RegionIndex::BAR0, &parts).unwrap();
    assert_eq!(several.size(), 0x3000);
    assert!(several.as_fd().try_clone_to_owned().is_ok());
    let answer = several.map(&rig.ioas, Access::ReadWrite).unwrap_err();
    assert_eq!(answer.errno(), Some(Errno::OPNOTSUPP), "{answer}");
    drop(several);
    card.try_close().unwrap();
}
