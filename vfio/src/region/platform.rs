//! The regions of a platform device, as `vfio-platform` has them: of a device that is played by bytes,
//! and by a file of memory.

use std::ffi::c_int;
use std::os::fd::OwnedFd;

use iommufd_sys::ioctl::vfio as nr;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

use super::*;
use crate::info::DeviceFlags;
use crate::ioctl::script::{Asked, answering, device_of};

/// Where in the device's file a region begins: as the kernel has it.
const SHIFT: u32 = 24;

/// Flags and size of each.
const REGIONS: [(u32, u64); 9] = [
    // Whole pages: read, written, mapped.
    (7, 0x1000),
    // A part of a page: not mapped.
    (3, 0x200),
    // Read-only.
    (5, 0x1000),
    // Ports, which the kernel does not offer.
    (0, 8),
    (7, 0x2000),
    (7, 0x1000),
    // What is the ROM of a PCI function.
    (7, 0x1000),
    // What is its configuration space.
    (7, 0x1000),
    // And its VGA ranges.
    (3, 0x40),
];

fn answer(mut ask: Asked<'_>) -> Result<c_int, Errno> {
    if ask.ioctl == nr::DEVICE_GET_INFO.describe() {
        ask.set(4, &(1_u32 << 2).to_ne_bytes());
        ask.set(8, &9_u32.to_ne_bytes());
        return Ok(0);
    }
    assert_eq!(ask.ioctl, nr::DEVICE_GET_REGION_INFO.describe());
    let index = ask.u32(8);
    let (flags, size) = REGIONS.get(index as usize).ok_or(Errno::INVAL)?;
    ask.set(4, &flags.to_ne_bytes());
    ask.set(16, &size.to_ne_bytes());
    ask.set(24, &(u64::from(index) << SHIFT).to_ne_bytes());
    Ok(0)
}

fn file() -> OwnedFd {
    let file = memfd_create("platform", MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&file, 16 << SHIFT).unwrap();
    file
}

#[test]
fn its_regions_are_told_one_by_one() {
    let _kernel = answering(answer);
    let device = device_of(file());
    assert_eq!(device.info().unwrap().flags, DeviceFlags::PLATFORM);
    let regions = device.regions().unwrap();
    let told: Vec<_> = regions
        .iter()
        .map(|region| (region.flags.bits(), region.size))
        .collect();
    assert_eq!(told, REGIONS);
    assert!(regions.iter().all(|region| region.kind.is_none()));
    assert!(matches!(
        device.region_info(RegionIndex::new(9)),
        Err(Error::NoRegion { .. })
    ));
}

#[test]
fn what_is_made_of_whole_pages_is_mapped_and_all_is_read_and_written() {
    let _kernel = answering(answer);
    let device = device_of(file());
    for (index, (flags, size)) in (0..).zip(REGIONS) {
        let index = RegionIndex::new(index);
        let mapped = device.map_bar(index);
        if flags != 7 {
            assert!(matches!(mapped, Err(Error::NotMappable { index: at }) if at == index));
            continue;
        }
        let (mapped, region) = (mapped.unwrap(), device.region(index).unwrap());
        let last = size - 4;
        mapped.write(last, 0x1234_5678 + index.get()).unwrap();
        let read: u32 = region.read(last).unwrap();
        assert_eq!(read, 0x1234_5678 + index.get());
        region.write(last, 5_u32).unwrap();
        assert_eq!(mapped.read::<u32>(last).unwrap(), 5);
        assert!(matches!(
            mapped.read::<u32>(size),
            Err(Error::OutOfBounds { .. })
        ));
    }
    let small = device.region(RegionIndex::new(1)).unwrap();
    small.write(0x1fc, 7_u32).unwrap();
    assert_eq!(small.read::<u16>(0x1fc).unwrap(), 7);
    assert!(matches!(
        small.read::<u32>(0x200),
        Err(Error::OutOfBounds { .. })
    ));
}

#[test]
fn nothing_of_it_is_taken_for_what_a_pci_function_has_there() {
    let _kernel = answering(answer);
    let device = device_of(file());
    assert!(matches!(
        device.config(),
        Err(Error::NoRegion { index }) if index == RegionIndex::CONFIG
    ));
    assert_eq!(device.read_rom().unwrap(), None);
    assert_eq!(device.find_region(RegionKind::IGD_OPREGION).unwrap(), None);
    // In configuration space this would switch memory decoding off.
    let seventh = device.region(RegionIndex::new(7)).unwrap();
    let registers = device.map_bar(RegionIndex::new(0)).unwrap();
    seventh.write(4, 0_u16).unwrap();
    seventh.write_bytes(0, &[0; 64]).unwrap();
    registers.write(0, 1_u32).unwrap();
}
