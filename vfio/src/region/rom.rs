//! The expansion ROM of a PCI function.

use std::ops::Range;

use crate::device::OpenDevice;
use crate::error::{Error, Result};
use crate::info::DeviceFlags;
use crate::query::malformed;
use crate::region::RegionIndex;

/// No base address register of a ROM has more bits (PCI Express Base, "Expansion ROM Base Address
/// Register").
const LONGEST: u64 = 16 << 20;

/// The code of an image (PCI Firmware, "PCI Expansion ROM Header Format").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RomCode {
    /// For a PC's BIOS.
    Bios,
    /// For Open Firmware.
    OpenFirmware,
    /// For UEFI.
    Uefi,
    /// For something else.
    Other(u8),
}

/// An image in a ROM.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RomImage {
    /// What its code is for.
    pub code: RomCode,
    /// Where it is in the ROM, in bytes.
    pub range: Range<usize>,
}

/// The contents of an expansion ROM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpansionRom {
    bytes: Vec<u8>,
}

impl ExpansionRom {
    /// All of it, to the end of its register: behind the last image there are ones.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The images, in their order.
    ///
    /// # Errors
    /// [`Error::Malformed`], if one is not all there, or lacks its signature.
    pub fn images(&self) -> Result<Vec<RomImage>> {
        images(&self.bytes)
    }
}

/// Unit of an image's length, in bytes.
const UNIT: usize = 512;

fn images(rom: &[u8]) -> Result<Vec<RomImage>> {
    let broken = |reason| malformed("the expansion ROM", reason);
    let mut found = Vec::new();
    let mut start: usize = 0;
    loop {
        let image = rom.get(start..).unwrap_or_default();
        let word = |at: usize| Some(u16::from_le_bytes(*image.get(at..)?.first_chunk()?));
        if word(0) != Some(0xaa55) {
            return Err(broken("an image has no signature"));
        }
        let data = word(0x18).map(usize::from);
        let data = data.and_then(|data| image.get(data..)?.first_chunk::<0x18>());
        let data = data.ok_or(broken("an image is cut short"))?;
        let &[b'P', b'C', b'I', b'R', ..] = data else {
            return Err(broken("an image has no data structure"));
        };
        let len = usize::from(u16::from_le_bytes([data[0x10], data[0x11]]));
        let len = len
            .checked_mul(UNIT)
            .filter(|&len| len != 0 && len <= image.len());
        let len = len.ok_or(broken("an image is longer than the ROM, or has no length"))?;
        let end = start.saturating_add(len);
        found.push(RomImage {
            code: match data[0x14] {
                0 => RomCode::Bios,
                1 => RomCode::OpenFirmware,
                3 => RomCode::Uefi,
                other => RomCode::Other(other),
            },
            range: start..end,
        });
        // The last says that it is.
        if data[0x15] & 1 << 7 != 0 {
            return Ok(found);
        }
        start = end;
    }
}

impl OpenDevice {
    /// Reads the expansion ROM of a PCI function; `None` if it has none that can be read.
    ///
    /// The kernel switches the ROM's own decoding on for it, and reads words of 32 bits. The
    /// function's memory decoding has to be on.
    ///
    /// # Errors
    /// `EIO`: memory decoding is off. [`Error::Malformed`]: longer than a ROM can be. Else as for
    /// [`region_info`](Self::region_info).
    pub fn read_rom(&self) -> Result<Option<ExpansionRom>> {
        // Of another device the region of this number is something else.
        if !self.info()?.flags.contains(DeviceFlags::PCI) {
            return Ok(None);
        }
        let rom = match self.region(RegionIndex::ROM) {
            Err(Error::NoRegion { .. }) => return Ok(None),
            rom => rom?,
        };
        let len = usize::try_from(rom.size()).ok();
        let len = len.filter(|_| rom.size() <= LONGEST);
        let len = len.ok_or(malformed("the expansion ROM", "longer than one can be"))?;
        let mut bytes = vec![0; len];
        rom.read_bytes(0, &mut bytes)?;
        Ok(Some(ExpansionRom { bytes }))
    }
}

/// The images in a ROM of these bytes.
#[cfg(fuzzing)]
pub(crate) fn images_in(rom: &[u8]) -> Option<Vec<RomImage>> {
    images(rom).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    /// An image of so many units.
    fn image(units: u8, code: u8, last: bool) -> Vec<u8> {
        let mut image = vec![0; usize::from(units) * UNIT];
        image[..2].copy_from_slice(&[0x55, 0xaa]);
        image[0x18] = 0x1c;
        image[0x1c..0x20].copy_from_slice(b"PCIR");
        image[0x1c + 0x10] = units;
        image[0x1c + 0x14] = code;
        image[0x1c + 0x15] = u8::from(last) << 7;
        image
    }

    #[test]
    fn images_follow_each_other_to_the_last() {
        let bytes = [image(1, 0, false), image(3, 3, true), vec![0xff; 700]].concat();
        let rom = ExpansionRom { bytes };
        let found = rom.images().unwrap();
        let places: Vec<_> = found
            .iter()
            .map(|image| (image.code, image.range.clone()))
            .collect();
        assert_eq!(
            places,
            [(RomCode::Bios, 0..512), (RomCode::Uefi, 512..2048)]
        );
        assert_eq!(rom.bytes().len(), 2748);
    }

    #[test]
    fn what_is_no_image_is_refused() {
        assert!(images(&[]).is_err());
        assert!(images(&[0xff; 4096]).is_err());
        assert!(images(&image(1, 0, false)).is_err());
        assert!(images(&image(2, 0, true)[..1000]).is_err());
        let mut none = image(1, 0, true);
        none[0x1c + 0x10] = 0;
        assert!(images(&none).is_err());
        let mut far = image(1, 0, true);
        far[0x18] = 0xf0;
        far[0x19] = 0x01;
        assert!(images(&far).is_err());
    }

    #[test]
    fn whatever_a_rom_holds_its_images_are_within_it() {
        let mut random = Random::new(5);
        for _ in 0..5000 {
            let mut rom = [image(1, 0, false), image(1, 1, false), image(2, 3, true)].concat();
            for _ in 0..random.below(6) {
                let place = random.below(0x34) + 512 * random.below(3);
                rom[place as usize] = random.next().to_le_bytes()[3];
            }
            rom.truncate(random.below(2049) as usize);
            for image in images(&rom).unwrap_or_default() {
                assert!(image.range.end <= rom.len() && image.range.start < image.range.end);
            }
        }
    }
}
