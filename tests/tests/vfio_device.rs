//! What a VFIO device says of itself, its registers and its configuration space.

use iommufd::GroupIdentity;
use rustix::io::Errno;
use tests::edu::{cdev, device, igb, lone, pair};
use vfio::{
    Blocker, CapabilityId, Cdev, DeviceFlags, Error, ExtendedCapabilityId, IrqKind, MsiIsolation,
    PciAddress, Readiness, RegionFlags, RegionIndex,
};

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn readiness_tells_what_to_do_and_when_it_is_done() {
    let address = pair()[1];
    let unbind = format!("/sys/bus/pci/devices/{address}/driver/unbind");
    // An earlier test may have bound it.
    std::fs::write(unbind, address.to_string()).ok();
    let before = Readiness::of(address).unwrap();
    assert!(
        matches!(before.blockers(), [Blocker::NoDriver { .. }]),
        "{before}"
    );
    let error = Cdev::open_pci(address).unwrap_err();
    assert!(matches!(error, Error::NotReady { .. }));
    assert!(error.to_string().contains("driver_override"), "{error}");

    drop(cdev(address));
    let after = Readiness::of(address).unwrap();
    assert!(after.is_ready(), "{after}");
    assert_eq!(after.driver(), Some("vfio-pci"));
    assert_eq!(after.ids().unwrap().to_string(), "1234:11e8");
    assert_eq!(after.siblings().len(), 1, "{after}");
    assert_eq!(after.msi_isolation(), MsiIsolation::Remapped);

    let nowhere = PciAddress::new(0, 0xfe, 0, 0).unwrap();
    assert!(matches!(
        Readiness::of(nowhere),
        Err(Error::NoSuchDevice { .. })
    ));
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn p11_a_region_is_under_its_own_index_whichever_are_missing() {
    let device = device(lone());
    assert_eq!(device.address(), Some(lone()));
    assert!(matches!(
        device.iommu().group().identity(),
        GroupIdentity::Group(_)
    ));
    let info = device.info().unwrap();
    assert!(info.flags.contains(DeviceFlags::PCI));
    assert!(!info.flags.contains(DeviceFlags::RESET));
    assert!(info.regions >= 9 && info.interrupts >= 5);

    let bar = device.region_info(RegionIndex::BAR0).unwrap();
    assert_eq!(bar.size, 1 << 20);
    assert!(
        bar.flags
            .contains(RegionFlags::READ | RegionFlags::WRITE | RegionFlags::MMAP)
    );
    for index in [
        RegionIndex::BAR1,
        RegionIndex::VGA,
        RegionIndex::new(9),
        RegionIndex::new(!0),
    ] {
        let absent = device.region_info(index);
        assert!(matches!(absent, Err(Error::NoRegion { .. })), "{absent:?}");
    }
    let indexes: Vec<_> = device
        .regions()
        .unwrap()
        .iter()
        .map(|region| region.index)
        .collect();
    assert_eq!(indexes, [RegionIndex::BAR0, RegionIndex::CONFIG]);

    assert_eq!(device.irq_info(IrqKind::Msi).unwrap().count, 1);
    assert_eq!(device.irq_info(IrqKind::MsiX).unwrap().count, 0);
    device.try_close().unwrap();
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn configuration_space_is_read_written_and_walked() {
    let edu = device(lone());
    let config = edu.config().unwrap();
    assert_eq!(config.ids().unwrap().to_string(), "1234:11e8");
    assert_eq!(config.read::<u32>(0).unwrap(), 0x11e8_1234);
    config.enable_bus_master().unwrap();
    assert_eq!(config.read::<u16>(4).unwrap() & 4, 4);
    config.disable_bus_master().unwrap();
    assert_eq!(config.read::<u16>(4).unwrap() & 4, 0);
    assert!(config.find(CapabilityId::MSI).unwrap().is_some());
    assert_eq!(config.find(CapabilityId::MSI_X).unwrap(), None);
    assert_eq!(config.extended_capabilities().unwrap(), []);
    assert!(matches!(
        config.read::<u32>(config.size()),
        Err(Error::OutOfBounds { .. })
    ));
    assert!(matches!(
        config.read::<u32>(u64::MAX - 3),
        Err(Error::OutOfBounds { .. })
    ));
    assert!(matches!(
        config.write(2, 0_u32),
        Err(Error::Misaligned { .. })
    ));

    let igb = device(igb());
    let config = igb.config().unwrap();
    assert_eq!(config.size(), 4096);
    assert!(config.find(CapabilityId::MSI_X).unwrap().is_some());
    assert!(config.find(CapabilityId::PCI_EXPRESS).unwrap().is_some());
    assert!(
        config
            .find_extended(ExtendedCapabilityId::SRIOV)
            .unwrap()
            .is_some()
    );
    assert_eq!(
        config.find_extended(ExtendedCapabilityId::PASID).unwrap(),
        None
    );
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn registers_are_the_same_mapped_and_by_system_call() {
    let device = device(lone());
    let mapped = device.map_bar(RegionIndex::BAR0).unwrap();
    let region = device.region(RegionIndex::BAR0).unwrap();
    assert_eq!(
        mapped.read::<u32>(0).unwrap(),
        region.read::<u32>(0).unwrap()
    );
    mapped.write(4, 0xdead_beef_u32).unwrap();
    assert_eq!(region.read::<u32>(4).unwrap(), !0xdead_beef);
    region.write(4, 1_u32).unwrap();
    assert_eq!(mapped.read::<u32>(4).unwrap(), !1);
    mapped.write(0x80, 0x1234_5678_9abc_def0_u64).unwrap();
    assert_eq!(region.read::<u64>(0x80).unwrap(), 0x1234_5678_9abc_def0);
    let mut bytes = [0; 8];
    region.read_bytes(0x80, &mut bytes).unwrap();
    assert_eq!(u64::from_le_bytes(bytes), 0x1234_5678_9abc_def0);

    let size = mapped.size();
    assert!(matches!(
        mapped.read::<u32>(size),
        Err(Error::OutOfBounds { .. })
    ));
    assert!(matches!(
        mapped.read::<u64>(size - 4),
        Err(Error::Misaligned { .. })
    ));
    assert!(matches!(
        mapped.write(u64::MAX, 0_u8),
        Err(Error::OutOfBounds { .. })
    ));
    assert!(matches!(
        region.read::<u32>(size),
        Err(Error::OutOfBounds { .. })
    ));
    assert!(matches!(
        region.read_bytes(size - 1, &mut [0; 2]),
        Err(Error::OutOfBounds { .. })
    ));
    assert!(matches!(
        device.map_bar(RegionIndex::CONFIG),
        Err(Error::NotMappable { .. })
    ));

    // Switched off, the device does not answer.
    let config = device.config().unwrap();
    let command: u16 = config.read(4).unwrap();
    config.write(4, command & !2).unwrap();
    assert_eq!(region.read::<u32>(0).unwrap_err().errno(), Some(Errno::IO));
    config.write(4, command).unwrap();
    region.read::<u32>(0).unwrap();
}
