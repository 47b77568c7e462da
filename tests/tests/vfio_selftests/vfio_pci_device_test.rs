//! Program `vfio_pci_device_test`: configuration space, BARs, interrupts and resets of a PCI function.

use std::time::Duration;

use rustix::io::Errno;
use tests::edu::{attached, igb, lone};
use tests::igb::Igb;
use vfio::pci::Command;
use vfio::{
    DeviceFlags, Error, Interrupts, IrqKind, MsiKind, PciFunction, RegionFlags, RegionIndex,
};

/// Generous: nothing that is asserted takes long.
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
#[ignore = "needs the lab's network card: cargo lab test"]
fn config_space_read_write() {
    let (device, _attachment) = attached(igb());
    let config = device.config().unwrap();
    let ids = config.ids().unwrap();
    assert_eq!((ids.vendor, ids.device), (0x8086, 0x10c9));
    // As the kernel tells.
    let told = PciFunction::at(igb()).unwrap();
    assert_eq!(told.ids, Some(ids));
    assert_eq!(config.read::<u16>(0).unwrap(), 0x8086);
    // What is read only stays.
    config.write(0, 0_u16).unwrap();
    assert_eq!(config.ids().unwrap(), ids);
    // The command register is written, and read back.
    let masters = || config.command().unwrap().contains(Command::BUS_MASTER);
    let before = config.read::<u16>(4).unwrap();
    assert!(!masters(), "a device that has just been opened");
    for on in [true, false, true] {
        match on {
            true => config.enable_bus_master().unwrap(),
            false => config.disable_bus_master().unwrap(),
        }
        assert_eq!(masters(), on);
    }
    config.write(4, before).unwrap();
    assert_eq!(config.read::<u16>(4).unwrap(), before);
}

#[test]
#[ignore = "needs the lab's network card: cargo lab test"]
fn validate_bars() {
    for (address, mappable, by_call) in [(lone(), 1, 0), (igb(), 3, 1)] {
        let (device, _attachment) = attached(address);
        let (mut mapped, mut refused) = (0, 0);
        for index in (0..6).map(RegionIndex::new) {
            let info = match device.region_info(index) {
                Ok(info) => info,
                Err(Error::NoRegion { .. }) => continue,
                Err(error) => panic!("{error}"),
            };
            assert!(info.size.is_power_of_two(), "{info}");
            let both = RegionFlags::READ | RegionFlags::WRITE;
            assert!(info.flags.contains(both), "{info}");
            if !info.flags.contains(RegionFlags::MMAP) {
                let unmapped = device.map_bar(index);
                assert!(matches!(unmapped, Err(Error::NotMappable { .. })), "{info}");
                refused += 1;
                continue;
            }
            let bar = device.map_bar(index).unwrap();
            assert_eq!(bar.size(), info.size);
            let registers = device.region(index).unwrap().read::<u32>(0).unwrap();
            // Both ways lead to the same register; but the MSI-X table the kernel shows to nobody who asks it.
            let table = device.config().unwrap().msix().unwrap();
            let expected = match table.is_some_and(|msix| msix.table.region == index) {
                true => u32::MAX,
                false => bar.read(0).unwrap(),
            };
            assert_eq!(registers, expected, "{info}");
            mapped += 1;
        }
        assert!(mapped >= mappable, "{mapped} BARs of {address} were mapped");
        assert!(refused >= by_call, "{refused} BARs of {address} were not");
    }
}

#[test]
#[ignore = "needs the lab's network card: cargo lab test"]
fn reset() {
    let (device, _attachment) = attached(igb());
    assert!(device.info().unwrap().flags.contains(DeviceFlags::RESET));
    let igb = Igb::new(&device);
    assert!(igb.is_set_up());
    device.reset().unwrap();
    device.config().unwrap().enable_memory_decode().unwrap();
    assert!(!igb.is_set_up());

    let (device, _attachment) = attached(lone());
    assert!(!device.info().unwrap().flags.contains(DeviceFlags::RESET));
    assert_eq!(device.reset().unwrap_err().errno(), Some(Errno::INVAL));
}

per_variant! { Kind [msi, msix]: enable_trigger_disable }

/// By the kernel's names.
struct Kind(MsiKind);

impl Kind {
    fn msi() -> Self {
        Self(MsiKind::Msi)
    }

    fn msix() -> Self {
        Self(MsiKind::MsiX)
    }
}

fn enable_trigger_disable(Kind(kind): Kind) {
    let (device, _attachment) = attached(igb());
    let count = device.irq_info(IrqKind::from(kind)).unwrap().count;
    assert!(count > 0);
    for _ in 0..2 {
        let interrupts = Interrupts::enable(&device, kind, count).unwrap();
        for vector in interrupts.vectors() {
            interrupts.trigger(vector.number()).unwrap();
            assert_eq!(vector.wait(PATIENCE).unwrap(), Some(1));
            for other in interrupts.vectors() {
                assert_eq!(other.take().unwrap(), None, "{kind} {}", other.number());
            }
        }
        interrupts.trigger_all(0..count).unwrap();
        for vector in interrupts.vectors() {
            assert_eq!(vector.wait(PATIENCE).unwrap(), Some(1));
        }
        interrupts.disable().unwrap();
    }
}
