//! Doors to what takes bytes of a kernel's or a device's apart, for the fuzzers in `fuzz/`. They are there with
//! `--cfg fuzzing` only, and are no part of the interface.

use crate::container::ContainerInfo;
use crate::info::DeviceInfo;
use crate::region::{RegionInfo, RomImage};
use crate::{config, container, info, region};

/// A kernel's answer about a region, with the chain of its capabilities.
#[must_use]
pub fn region_info(answer: &[u8]) -> Option<RegionInfo> {
    region::answered(answer)
}

/// A kernel's answer about a device, with the chain of its capabilities.
#[must_use]
pub fn device_info(answer: &[u8]) -> Option<DeviceInfo> {
    info::answered(answer)
}

/// A kernel's answer about a container, with the chain of its capabilities.
#[must_use]
pub fn container_info(answer: &[u8]) -> Option<ContainerInfo> {
    container::answered(answer)
}

/// A device's configuration space: how many of its structures could be read.
#[must_use]
pub fn config_space(space: &[u8]) -> usize {
    config::read_all(space)
}

/// A device's expansion ROM.
#[must_use]
pub fn rom_images(rom: &[u8]) -> Option<Vec<RomImage>> {
    region::images_in(rom)
}
