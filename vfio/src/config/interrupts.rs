//! The capabilities by which a function has interrupts that are written, MSI and MSI-X.

use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::config::{CapabilityId, ConfigSpace};
use crate::error::Result;
use crate::query::malformed;
use crate::region::{Area, RegionIndex};

/// The MSI capability (PCI Express Base, "MSI Capability Structures").
///
/// The kernel drives it: interrupts are enabled by [`OpenDevice::msi`](crate::OpenDevice::msi).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Msi {
    /// Where it begins, in bytes.
    pub offset: u64,
    /// Whether it is enabled.
    pub enabled: bool,
    /// How many vectors the function asks for: 1 to 32.
    pub vectors: u8,
    /// Whether it writes to addresses of 64 bits.
    pub is_64_bit: bool,
    /// Whether vectors can be masked one by one.
    pub maskable: bool,
}

/// A part of a BAR, as the MSI-X capability tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct BarArea {
    /// The BAR.
    pub region: RegionIndex,
    /// The part, which may not lie within: the function says it.
    pub area: Area,
}

/// The MSI-X capability (PCI Express Base, "MSI-X Capability and Table Structure").
///
/// The kernel drives it: interrupts are enabled by [`OpenDevice::msix`](crate::OpenDevice::msix), and the
/// table is read as ones, and not written, by system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct MsiX {
    /// Where it begins, in bytes.
    pub offset: u64,
    /// Whether it is enabled.
    pub enabled: bool,
    /// Whether all vectors are masked.
    pub masked: bool,
    /// How many vectors the function has: 1 to 2048.
    pub vectors: u16,
    /// Where its table is.
    pub table: BarArea,
    /// Where its pending bits are.
    pub pending: BarArea,
}

#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct RawMsi {
    head: u16,
    control: u16,
}

#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct RawMsiX {
    head: u16,
    control: u16,
    table: u32,
    pending: u32,
}

/// The length of an entry of the table, in bytes.
const ENTRY: u64 = 16;
/// Of a place in a BAR: which BAR. The rest is the offset, a multiple of 8.
const BAR: u32 = 0b111;

fn msi(offset: u64, raw: &RawMsi) -> Result<Msi> {
    let exponent = raw.control >> 1 & 7;
    if exponent > 5 {
        return Err(malformed("the MSI capability", "more than 32 vectors"));
    }
    Ok(Msi {
        offset,
        enabled: raw.control & 1 != 0,
        vectors: 1 << exponent,
        is_64_bit: raw.control & 1 << 7 != 0,
        maskable: raw.control & 1 << 8 != 0,
    })
}

fn msix(offset: u64, raw: &RawMsiX) -> Result<MsiX> {
    let vectors = (raw.control & 0x7ff).saturating_add(1);
    let place = |place: u32, size| {
        let bar = place & BAR;
        if bar > RegionIndex::BAR5.get() {
            return Err(malformed("the MSI-X capability", "it names no BAR"));
        }
        let offset = u64::from(place & !BAR);
        Ok(BarArea {
            region: RegionIndex::new(bar),
            area: Area { offset, size },
        })
    };
    Ok(MsiX {
        offset,
        enabled: raw.control & 1 << 15 != 0,
        masked: raw.control & 1 << 14 != 0,
        vectors,
        table: place(raw.table, u64::from(vectors).saturating_mul(ENTRY))?,
        // A bit for each, in words of 64.
        pending: place(
            raw.pending,
            u64::from(vectors.div_ceil(64)).saturating_mul(8),
        )?,
    })
}

impl ConfigSpace {
    /// The MSI capability, if there is one.
    ///
    /// # Errors
    /// As for [`capabilities`](Self::capabilities).
    pub fn msi(&self) -> Result<Option<Msi>> {
        self.capability(CapabilityId::MSI, |offset, raw| msi(offset, &raw))
    }

    /// The MSI-X capability, if there is one.
    ///
    /// # Errors
    /// As for [`capabilities`](Self::capabilities).
    pub fn msix(&self) -> Result<Option<MsiX>> {
        self.capability(CapabilityId::MSI_X, |offset, raw| msix(offset, &raw))
    }
}

/// Whether these bytes are one.
#[cfg(fuzzing)]
pub(super) fn parsed_msi(offset: u64, bytes: &[u8]) -> bool {
    RawMsi::read_from_prefix(bytes).is_ok_and(|(raw, _)| msi(offset, &raw).is_ok())
}

/// Whether these bytes are one.
#[cfg(fuzzing)]
pub(super) fn parsed_msix(offset: u64, bytes: &[u8]) -> bool {
    RawMsiX::read_from_prefix(bytes).is_ok_and(|(raw, _)| msix(offset, &raw).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn msi_is_read_bit_by_bit() {
        let raw = |control| RawMsi { head: 5, control };
        let found = msi(0x50, &raw(0x0187)).unwrap();
        assert_eq!((found.vectors, found.enabled), (8, true));
        assert!(found.is_64_bit && found.maskable);
        // Every value of the register is understood, or refused as reserved.
        for control in 0..=u16::MAX {
            match msi(0, &raw(control)) {
                Ok(found) => assert!(found.vectors.is_power_of_two() && found.vectors <= 32),
                Err(_) => assert!(control & 0b1110 >= 0b1100),
            }
        }
    }

    #[test]
    fn msix_says_where_its_table_is() {
        let raw = |control, table, pending| RawMsiX {
            head: 0x11,
            control,
            table,
            pending,
        };
        let found = msix(0x70, &raw(0x8009, 0x3, 0x2003)).unwrap();
        assert_eq!(
            (found.vectors, found.enabled, found.masked),
            (10, true, false)
        );
        let place = |offset, size| BarArea {
            region: RegionIndex::BAR3,
            area: Area { offset, size },
        };
        assert_eq!(found.table, place(0, 160));
        assert_eq!(found.pending, place(0x2000, 8));
        let most = msix(0, &raw(u16::MAX, !7, !7 | 5)).unwrap();
        assert_eq!(most.vectors, 2048);
        assert_eq!(
            (most.table.area.size, most.pending.area.size),
            (0x8000, 256)
        );
        assert!(msix(0, &raw(0, 6, 0)).is_err());
        assert!(msix(0, &raw(0, 0, 7)).is_err());
    }
}
