//! The configuration space of a PCI function.

mod express;
mod extended;
mod header;
mod interrupts;
mod power;
mod vendor;

use zerocopy::{FromBytes, IntoBytes};

pub use self::express::{ExpressKind, PciExpress};
pub use self::extended::{Ats, PageRequests, PasidCapability, SrIov};
pub use self::header::{Bar, ClassCode, Command, Header, HeaderLayout, InterruptPin, Status};
pub use self::interrupts::{BarArea, Msi, MsiX};
pub use self::power::{PowerManagement, PowerState};
pub use self::vendor::VendorCapability;
#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;
use crate::ids::PciIds;
use crate::query::malformed;
use crate::region::Region;
use iommufd::volatile::Word;

/// The status register (PCI Express Base, "Status Register").
pub(crate) const STATUS: u64 = 0x06;
/// Of the status register: there is a list of capabilities.
pub(crate) const CAPABILITIES_LIST: u16 = 1 << 4;
/// The header type register; the low 7 bits are the layout.
const HEADER_TYPE: u64 = 0x0e;
/// The layout of a `CardBus` bridge, the only one with its pointer elsewhere.
const CARDBUS: u8 = 2;
/// Where the first capability is, and where a `CardBus` bridge says it.
pub(crate) const CAPABILITIES_POINTER: u64 = 0x34;
const CARDBUS_POINTER: u64 = 0x14;
/// The first capability comes after the header, which has 64 bytes.
const HEADER_END: u8 = 0x40;
/// Where the extended capabilities begin, and what ends each chain: all there is.
const EXTENDED: u16 = 0x100;
const EXTENDED_END: u64 = 0x1000;

/// What kind of capability it is (PCI Code and ID Assignment, "Capability IDs").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CapabilityId(pub u8);

impl CapabilityId {
    /// Power management.
    pub const POWER_MANAGEMENT: Self = Self(0x01);
    /// Message signalled interrupts.
    pub const MSI: Self = Self(0x05);
    /// Specific to the vendor; virtio's are these.
    pub const VENDOR: Self = Self(0x09);
    /// PCI Express.
    pub const PCI_EXPRESS: Self = Self(0x10);
    /// Message signalled interrupts, with a table in a BAR.
    pub const MSI_X: Self = Self(0x11);
    /// Advanced features: resets of functions without PCI Express.
    pub const ADVANCED_FEATURES: Self = Self(0x13);
}

/// What kind of extended capability it is (PCI Code and ID Assignment, "Extended Capability IDs").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExtendedCapabilityId(pub u16);

impl ExtendedCapabilityId {
    /// Advanced error reporting.
    pub const ADVANCED_ERROR_REPORTING: Self = Self(0x0001);
    /// Access control services, which decide what shares an IOMMU group.
    pub const ACS: Self = Self(0x000d);
    /// Address translation services: the device caches translations.
    pub const ATS: Self = Self(0x000f);
    /// Single root I/O virtualization.
    pub const SRIOV: Self = Self(0x0010);
    /// Page requests.
    pub const PRI: Self = Self(0x0013);
    /// Process address space identifiers.
    pub const PASID: Self = Self(0x001b);
}

/// A capability and where it is (PCI Express Base, "PCI-Compatible Configuration Registers").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capability {
    /// Its kind.
    pub id: CapabilityId,
    /// Where it begins, in bytes.
    pub offset: u64,
}

/// An extended capability and where it is (PCI Express Base, "PCI Express Extended Capabilities").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExtendedCapability {
    /// Its kind.
    pub id: ExtendedCapabilityId,
    /// The version of its layout.
    pub version: u8,
    /// Where it begins, in bytes.
    pub offset: u64,
}

/// The configuration space of a PCI function: 256 bytes, or 4096 of PCI Express.
///
/// The kernel emulates some of it: what would break the machine cannot be written. It holds the
/// device open.
#[derive(Debug, Clone)]
pub struct ConfigSpace {
    region: Region,
}

impl ConfigSpace {
    pub(crate) fn new(region: Region) -> Self {
        Self { region }
    }

    /// The length in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.region.size()
    }

    /// Reads the register at byte `offset`.
    ///
    /// # Errors
    /// As for [`Region::read`].
    pub fn read<W: Word>(&self, offset: u64) -> Result<W> {
        self.region.read(offset)
    }

    /// Writes the register at byte `offset`.
    ///
    /// # Errors
    /// As for [`Region::write`].
    pub fn write<W: Word>(&self, offset: u64, value: W) -> Result<()> {
        self.region.write(offset, value)
    }

    /// Reads `out.len()` bytes from byte `offset` on.
    ///
    /// # Errors
    /// As for [`Region::read_bytes`].
    pub fn read_bytes(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        self.region.read_bytes(offset, out)
    }

    /// Writes `bytes` from byte `offset` on.
    ///
    /// # Errors
    /// As for [`Region::write_bytes`].
    pub fn write_bytes(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.region.write_bytes(offset, bytes)
    }

    /// Vendor and device identifier.
    ///
    /// # Errors
    /// As for [`Region::read`].
    pub fn ids(&self) -> Result<PciIds> {
        Ok(PciIds {
            vendor: self.read(0)?,
            device: self.read(2)?,
        })
    }

    /// Lets the function make memory requests: DMA, and interrupts by MSI and MSI-X.
    ///
    /// The kernel clears this when the device is opened and closed; a reset may clear it.
    ///
    /// # Errors
    /// As for [`Region::read`]; [`Error::NotTaken`] if the function does not let it be set;
    /// [`Error::Malformed`] if it does not answer.
    pub fn enable_bus_master(&self) -> Result<()> {
        self.set_command(Command::BUS_MASTER, true, "bus mastering")
    }

    /// Keeps the function from making memory requests.
    ///
    /// # Errors
    /// As for [`enable_bus_master`](Self::enable_bus_master).
    pub fn disable_bus_master(&self) -> Result<()> {
        self.set_command(Command::BUS_MASTER, false, "bus mastering")
    }

    /// The capabilities, in the order of their list; none if there is no list.
    ///
    /// # Errors
    /// [`Error::Malformed`] if the list leaves its place or goes round in circles; as for
    /// [`Region::read`].
    pub fn capabilities(&self) -> Result<Vec<Capability>> {
        capabilities(&self.region)
    }

    /// The extended capabilities, in the order of their list; none if the function has only 256
    /// bytes of configuration space.
    ///
    /// # Errors
    /// As for [`capabilities`](Self::capabilities).
    pub fn extended_capabilities(&self) -> Result<Vec<ExtendedCapability>> {
        if self.size() < EXTENDED_END {
            return Ok(Vec::new());
        }
        walk_extended(|offset| self.read(offset))
    }

    /// Where the first capability of that kind is, if there is one.
    ///
    /// # Errors
    /// As for [`capabilities`](Self::capabilities).
    pub fn find(&self, id: CapabilityId) -> Result<Option<u64>> {
        let all = self.capabilities()?;
        Ok(all
            .iter()
            .find(|capability| capability.id == id)
            .map(|capability| capability.offset))
    }

    /// Where the first extended capability of that kind is, if there is one.
    ///
    /// # Errors
    /// As for [`capabilities`](Self::capabilities).
    pub fn find_extended(&self, id: ExtendedCapabilityId) -> Result<Option<u64>> {
        let all = self.extended_capabilities()?;
        Ok(all
            .iter()
            .find(|capability| capability.id == id)
            .map(|capability| capability.offset))
    }
}

impl ConfigSpace {
    /// The struct at byte `offset`.
    fn read_struct<T: FromBytes + IntoBytes>(&self, offset: u64) -> Result<T> {
        let mut value = T::new_zeroed();
        self.read_bytes(offset, value.as_mut_bytes())?;
        Ok(value)
    }

    /// The first capability of that kind, as `parse` makes it of its struct.
    fn capability<R: FromBytes + IntoBytes, T>(
        &self,
        id: CapabilityId,
        parse: impl FnOnce(u64, R) -> Result<T>,
    ) -> Result<Option<T>> {
        match self.find(id)? {
            Some(offset) => Ok(Some(parse(offset, self.read_struct(offset)?)?)),
            None => Ok(None),
        }
    }

    /// The first extended capability of that kind, as `parse` makes it of its struct.
    fn extended<R: FromBytes + IntoBytes, T>(
        &self,
        id: ExtendedCapabilityId,
        parse: impl FnOnce(u64, R) -> Result<T>,
    ) -> Result<Option<T>> {
        match self.find_extended(id)? {
            Some(offset) => Ok(Some(parse(offset, self.read_struct(offset)?)?)),
            None => Ok(None),
        }
    }
}

/// The capabilities in the configuration space that `region` is.
fn capabilities(region: &Region) -> Result<Vec<Capability>> {
    if region.read::<u16>(STATUS)? & CAPABILITIES_LIST == 0 {
        return Ok(Vec::new());
    }
    let layout = region.read::<u8>(HEADER_TYPE)? & 0x7f;
    let pointer = if layout == CARDBUS {
        CARDBUS_POINTER
    } else {
        CAPABILITIES_POINTER
    };
    walk(region.read(pointer)?, |offset| region.read(offset))
}

/// Follows the list of capabilities from `first`; `read` gives identifier (low byte) and pointer.
fn walk(first: u8, read: impl Fn(u64) -> Result<u16>) -> Result<Vec<Capability>> {
    let broken = |reason| malformed("the list of capabilities", reason);
    let mut found = Vec::new();
    let mut seen = [false; 1 << 8];
    // The low two bits of every pointer are reserved.
    let mut next = first & !3;
    while next != 0 {
        if next < HEADER_END {
            return Err(broken("it points into the header"));
        }
        if std::mem::replace(&mut seen[usize::from(next)], true) {
            return Err(broken("it is a cycle"));
        }
        let offset = u64::from(next);
        let [id, pointer] = read(offset)?.to_le_bytes();
        // What a function answers that is no longer there.
        if id == u8::MAX {
            return Err(broken("it leads to nothing"));
        }
        found.push(Capability {
            id: CapabilityId(id),
            offset,
        });
        next = pointer & !3;
    }
    Ok(found)
}

/// Follows the list of extended capabilities; `read` gives a header: identifier in bits `[15:0]`,
/// version in `[19:16]`, pointer in `[31:20]`.
fn walk_extended(read: impl Fn(u64) -> Result<u32>) -> Result<Vec<ExtendedCapability>> {
    let broken = |reason| malformed("the list of extended capabilities", reason);
    let mut found = Vec::new();
    let mut seen = [false; 1 << 12];
    let mut next = EXTENDED;
    while next != 0 {
        if next < EXTENDED {
            return Err(broken("it points before its start"));
        }
        if std::mem::replace(&mut seen[usize::from(next)], true) {
            return Err(broken("it is a cycle"));
        }
        let offset = u64::from(next);
        let header = read(offset)?;
        // All zeroes is an empty list; all ones is a function that is not, or no longer, there.
        if header == 0 || header == u32::MAX {
            break;
        }
        let [low, high, version_and_pointer, pointer] = header.to_le_bytes();
        let id = ExtendedCapabilityId(u16::from_le_bytes([low, high]));
        // The null capability only holds a place in the list.
        if id.0 != 0 {
            found.push(ExtendedCapability {
                id,
                version: version_and_pointer & 0xf,
                offset,
            });
        }
        next = (u16::from(pointer) << 4 | u16::from(version_and_pointer >> 4)) & !3;
    }
    Ok(found)
}

/// What there is in a configuration space of these bytes. Beyond them there is what a function answers that is gone.
#[cfg(fuzzing)]
pub(crate) fn read_all(space: &[u8]) -> usize {
    let at = |offset: u64| {
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        space.get(offset..).unwrap_or_default()
    };
    let byte = |offset: u64| at(offset).first().copied().unwrap_or(u8::MAX);
    let word = |offset: u64| {
        Ok(u16::from_le_bytes([
            byte(offset),
            byte(offset.saturating_add(1)),
        ]))
    };
    let long = |offset: u64| {
        let bytes = [0, 1, 2, 3].map(|more| byte(offset.saturating_add(more)));
        Ok(u32::from_le_bytes(bytes))
    };
    let mut count = usize::from(header::parsed(at(0)));
    for found in walk(byte(CAPABILITIES_POINTER), word).unwrap_or_default() {
        let (offset, bytes) = (found.offset, at(found.offset));
        let parsed = match found.id {
            CapabilityId::MSI => interrupts::parsed_msi(offset, bytes),
            CapabilityId::MSI_X => interrupts::parsed_msix(offset, bytes),
            CapabilityId::PCI_EXPRESS => express::parsed(offset, bytes),
            CapabilityId::POWER_MANAGEMENT => power::parsed(offset, bytes),
            CapabilityId::VENDOR => vendor::parsed(offset, bytes),
            _ => false,
        };
        count = count.saturating_add(usize::from(parsed));
    }
    for found in walk_extended(long).unwrap_or_default() {
        let parsed = extended::parsed(found.id, found.offset, at(found.offset));
        count = count.saturating_add(usize::from(parsed));
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(first: u8, space: &[(u8, [u8; 2])]) -> Result<Vec<(u8, u64)>> {
        let found = walk(first, |offset| {
            let entry = space.iter().find(|(at, _)| u64::from(*at) == offset);
            Ok(u16::from_le_bytes(
                entry.map_or([0xff, 0xff], |(_, bytes)| *bytes),
            ))
        })?;
        Ok(found
            .iter()
            .map(|capability| (capability.id.0, capability.offset))
            .collect())
    }

    #[test]
    fn a_list_is_followed() {
        let found = list(0x43, &[(0x40, [5, 0xc2]), (0xc0, [0x11, 0])]).unwrap();
        assert_eq!(found, [(5, 0x40), (0x11, 0xc0)]);
        assert_eq!(list(0, &[]).unwrap(), []);
    }

    #[test]
    fn a_broken_list_ends() {
        assert!(list(0x40, &[(0x40, [5, 0x40])]).is_err());
        assert!(list(0x40, &[(0x40, [5, 0x50]), (0x50, [1, 0x40])]).is_err());
        assert!(list(0x34, &[]).is_err());
        assert!(list(0xfc, &[]).is_err());
        assert!(list(0x40, &[(0x40, [5, 0x04])]).is_err());
    }

    fn extended(space: &[(u16, u32)]) -> Result<Vec<(u16, u8, u64)>> {
        let found = walk_extended(|offset| {
            Ok(space
                .iter()
                .find(|(at, _)| u64::from(*at) == offset)
                .map_or(0, |entry| entry.1))
        })?;
        Ok(found
            .iter()
            .map(|found| (found.id.0, found.version, found.offset))
            .collect())
    }

    #[test]
    fn an_extended_list_is_followed() {
        let found = extended(&[
            (0x100, 0x1402_0001),
            (0x140, 0xffc1_000f),
            (0xffc, 0x0001_001b),
        ]);
        assert_eq!(
            found.unwrap(),
            [(1, 2, 0x100), (0xf, 1, 0x140), (0x1b, 1, 0xffc)]
        );
        assert_eq!(extended(&[]).unwrap(), []);
        assert_eq!(extended(&[(0x100, u32::MAX)]).unwrap(), []);
    }

    #[test]
    fn whatever_a_function_answers_the_lists_end() {
        let mut random = crate::random::Random::new(4);
        for _ in 0..2000 {
            let space: Vec<u8> = (0..4096).map(|_| random.next().to_le_bytes()[2]).collect();
            let first = random.next().to_le_bytes()[0];
            let word = |offset: u64| {
                let offset = offset as usize;
                Ok(u16::from_le_bytes([space[offset], space[offset + 1]]))
            };
            if let Ok(found) = walk(first, word) {
                assert!(found.len() < 64);
            }
            let double = |offset: u64| {
                let bytes = space[offset as usize..][..4].try_into();
                Ok(u32::from_le_bytes(bytes.unwrap()))
            };
            if let Ok(found) = walk_extended(double) {
                assert!(found.len() < 1024);
            }
        }
    }

    #[test]
    fn a_broken_extended_list_ends() {
        assert!(extended(&[(0x100, 0x1001_0001)]).is_err());
        assert!(extended(&[(0x100, 0x0401_0001)]).is_err());
        assert!(extended(&[(0x100, 0x2001_0001), (0x200, 0x1001_0002)]).is_err());
    }
}
