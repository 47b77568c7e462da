//! The regions of devices: found by index and by kind, whole or in parts.

use iommufd::Iommufd;
use tests::edu::{device, igb, lone};
use tests::mtty::Mtty;
use vfio::pci::Zpci;
use vfio::{Area, Error, RegionFlags, RegionIndex, RegionKind, Registers};

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn p11_each_region_has_its_own_index_and_each_bar_its_own_size() {
    let igb = device(igb());
    let header = igb.config().unwrap().header().unwrap();
    let regions = igb.regions().unwrap();
    for region in &regions {
        assert_eq!(&igb.region_info(region.index).unwrap(), region);
        assert_eq!(region.kind, None);
    }
    // The function has BARs behind ones that it has not; its regions are those, and no others.
    let bars: Vec<_> = header.bars().map(|(index, _)| index).collect();
    let among = |index: &RegionIndex| index.get() <= RegionIndex::BAR5.get();
    let found: Vec<_> = regions
        .iter()
        .map(|region| region.index)
        .filter(among)
        .collect();
    assert_eq!(found, bars);
    assert!(found.contains(&RegionIndex::BAR3));
    assert_eq!(igb.find_region(RegionKind::DISPLAY_EDID).unwrap(), None);
    assert_eq!(igb.info().unwrap().zpci, Zpci::default());
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn the_interrupt_table_is_not_reached_by_system_call() {
    let igb = device(igb());
    let table = igb.config().unwrap().msix().unwrap().unwrap().table;
    let region = igb.region(table.region).unwrap();
    assert!(region.info().msix_mappable);
    let (start, end) = (table.area.offset, table.area.offset + table.area.size);
    region.write(start, 0_u32).unwrap();
    assert_eq!(region.read::<u32>(start).unwrap(), !0);
    assert_eq!(region.read::<u64>(end - 8).unwrap(), !0);
    let block = region.block(start..end).unwrap();
    assert_eq!(block.size(), 160);
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn a_function_without_a_rom_has_none_to_read() {
    for function in [lone(), igb()] {
        let device = device(function);
        match device.region_info(RegionIndex::ROM) {
            Err(Error::NoRegion { .. }) => assert_eq!(device.read_rom().unwrap(), None),
            info => panic!("the lab has a ROM now: read it here: {info:?}"),
        }
    }
}

#[test]
#[ignore = "needs the kernel's sample mbochs: cargo lab test"]
fn a_region_of_a_drivers_own_is_found_by_its_kind() {
    let mbochs = Mtty::mbochs();
    let device = mbochs
        .cdev()
        .bind_mediated(&Iommufd::open().unwrap())
        .unwrap();
    let index = device
        .find_region(RegionKind::DISPLAY_EDID)
        .unwrap()
        .unwrap();
    assert!(index.get() > RegionIndex::VGA.get());
    let info = device.region_info(index).unwrap();
    assert_eq!(info.kind, Some(RegionKind::DISPLAY_EDID));
    let edid = device.region(index).unwrap();
    let (offset, most) = (edid.read::<u32>(0).unwrap(), edid.read::<u32>(4).unwrap());
    assert!(u64::from(offset) + u64::from(most) <= edid.size());
    assert!(offset >= 24 && most >= 128, "no room for an EDID");
    assert_eq!(device.find_region(RegionKind::IGD_OPREGION).unwrap(), None);
    drop(edid);
    device.try_close().unwrap();
}

#[test]
#[ignore = "needs the kernel's sample mbochs: cargo lab test"]
fn bytes_are_copied_into_and_out_of_mapped_memory() {
    let mbochs = Mtty::mbochs();
    let device = mbochs
        .cdev()
        .bind_mediated(&Iommufd::open().unwrap())
        .unwrap();
    let info = device.region_info(RegionIndex::BAR0).unwrap();
    assert!(info.flags.contains(RegionFlags::MMAP));
    assert_eq!(
        info.mappable()
            .iter()
            .map(|area: &Area| area.size)
            .sum::<u64>(),
        info.size
    );
    let memory = device.map_bar(RegionIndex::BAR0).unwrap();
    let pattern: Vec<u8> = (0..=250).collect();
    memory.write_bytes(0x1003, &pattern).unwrap();
    let mut copy = vec![0; pattern.len()];
    memory.read_bytes(0x1003, &mut copy).unwrap();
    assert_eq!(copy, pattern);
    assert_eq!(memory.read::<u8>(0x1004).unwrap(), 1);
    let access = memory.access().unwrap();
    access.write_bytes(info.size - 4, &[1, 2, 3, 4]).unwrap();
    let end = access.block(info.size - 8..info.size).unwrap();
    assert_eq!(end.read::<u64>(0).unwrap() >> 32, 0x0403_0201);
    let mut out = [0; 4];
    end.read_bytes(4, &mut out).unwrap();
    assert_eq!(out, [1, 2, 3, 4]);
    drop(access);
    for offset in [info.size - 3, info.size, u64::MAX] {
        let outside = memory.read_bytes(offset, &mut out);
        assert!(matches!(outside, Err(Error::OutOfBounds { .. })));
        let outside = memory.write_bytes(offset, &out);
        assert!(matches!(outside, Err(Error::OutOfBounds { .. })));
    }
    // A mediated device has a command register as well, and keeps its memory all the same.
    let config = device.config().unwrap();
    let command = config.read::<u16>(4).unwrap();
    config.write(4, command & !2).unwrap();
    assert_eq!(config.read::<u16>(4).unwrap(), command);
    assert_eq!(memory.read::<u8>(0x1004).unwrap(), 1);
    drop((memory, config));
    device.try_close().unwrap();
}
