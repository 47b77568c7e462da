//! What s390 says of a PCI function.

use iommufd::Iova;
use iommufd_sys::vfio as sys;
use zerocopy::FromBytes;

use crate::capability::{BrokenChain, Capability};

/// What s390 says of a PCI function; nothing elsewhere. Since Linux 5.11.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Zpci {
    /// The function.
    pub function: Option<ZpciFunction>,
    /// What the functions of its group have in common.
    pub group: Option<ZpciGroup>,
    /// A string that identifies the device, in EBCDIC.
    pub utility: Option<Vec<u8>>,
    /// The path to the function within the machine.
    pub path: Option<Vec<u8>>,
}

/// A PCI function of s390.
#[doc(alias = "VFIO_DEVICE_INFO_CAP_ZPCI_BASE")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ZpciFunction {
    /// The first address for DMA.
    pub first: Iova,
    /// The last address for DMA.
    pub last: Iova,
    /// The physical channel.
    pub channel: u16,
    /// The number of the virtual function.
    pub virtual_function: u16,
    /// The length of a measurement block in bytes.
    pub measurement_len: u16,
    /// The type of the function.
    pub kind: u8,
    /// The group of the function.
    pub group: u8,
    /// The function's handle. Since Linux 6.0.
    pub handle: Option<u32>,
    /// The length of an error event of the function in bytes. Since Linux 7.3.
    pub error_len: Option<u32>,
}

/// A group of PCI functions of s390.
#[doc(alias = "VFIO_DEVICE_INFO_CAP_ZPCI_GROUP")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ZpciGroup {
    /// The bits that an address for DMA can have.
    pub dma_mask: u64,
    /// Where interrupts are written to.
    pub msi: Iova,
    /// Whether a program may have translations flushed.
    pub refresh: bool,
    /// How often a measurement block is written, in milliseconds.
    pub measurement_interval: u16,
    /// How many vectors a function can have.
    pub most_vectors: u16,
    /// The longest block that can be stored, in bytes.
    pub longest_store: u16,
    /// The version of PCI.
    pub version: u8,
    /// The longest block that the machine stores for a guest, in bytes. Since Linux 6.0.
    pub longest_interpreted_store: Option<u16>,
}

/// Of a group's flags (`linux/vfio_zdev.h`).
const REFRESH: u64 = 1;

/// The layouts of `linux/vfio_zdev.h`, in the pieces that each version has added.
#[derive(Debug, Clone, Copy, FromBytes)]
#[repr(C)]
struct Function {
    header: sys::vfio_info_cap_header,
    start: u64,
    end: u64,
    channel: u16,
    virtual_function: u16,
    measurement_len: u16,
    kind: u8,
    group: u8,
}

#[derive(Debug, Clone, Copy, FromBytes)]
#[repr(C)]
struct Group {
    header: sys::vfio_info_cap_header,
    dma_mask: u64,
    msi: u64,
    flags: u64,
    measurement_interval: u16,
    most_vectors: u16,
    longest_store: u16,
    version: u8,
    /// Of the second version's.
    reserved: u8,
}

#[derive(Debug, Clone, Copy, FromBytes)]
#[repr(C)]
struct Counted {
    header: sys::vfio_info_cap_header,
    len: u32,
}

impl Zpci {
    /// Takes what `capability` says, if it is one of s390's.
    pub(super) fn take(&mut self, capability: &Capability<'_>) -> Result<(), BrokenChain> {
        let bytes = || {
            let counted: Counted = capability.read()?;
            capability.array::<Counted, u8>(counted.len)
        };
        match u32::from(capability.id) {
            sys::VFIO_DEVICE_INFO_CAP_ZPCI_BASE => self.function = Some(function(capability)?),
            sys::VFIO_DEVICE_INFO_CAP_ZPCI_GROUP => self.group = Some(group(capability)?),
            sys::VFIO_DEVICE_INFO_CAP_ZPCI_UTIL => self.utility = Some(bytes()?),
            sys::VFIO_DEVICE_INFO_CAP_ZPCI_PFIP => self.path = Some(bytes()?),
            _ => {}
        }
        Ok(())
    }
}

/// What follows a `T` in a capability, from version `since` on.
fn added<T: FromBytes, A: FromBytes>(
    capability: &Capability<'_>,
    version: u16,
    since: u16,
) -> Result<Option<Vec<A>>, BrokenChain> {
    let count = u32::from(since.saturating_sub(1));
    match version >= since {
        true => capability.array::<T, A>(count).map(Some),
        false => Ok(None),
    }
}

fn function(capability: &Capability<'_>) -> Result<ZpciFunction, BrokenChain> {
    let raw: Function = capability.read()?;
    let version = raw.header.version;
    // Each version has added one number.
    let handle = added::<Function, u32>(capability, version, 2)?;
    let error_len = added::<Function, u32>(capability, version, 3)?;
    Ok(ZpciFunction {
        first: Iova::new(raw.start),
        last: Iova::new(raw.end),
        channel: raw.channel,
        virtual_function: raw.virtual_function,
        measurement_len: raw.measurement_len,
        kind: raw.kind,
        group: raw.group,
        handle: handle.and_then(|numbers| numbers.last().copied()),
        error_len: error_len.and_then(|numbers| numbers.last().copied()),
    })
}

fn group(capability: &Capability<'_>) -> Result<ZpciGroup, BrokenChain> {
    let raw: Group = capability.read()?;
    let longest = added::<Group, u16>(capability, raw.header.version, 2)?;
    Ok(ZpciGroup {
        dma_mask: raw.dma_mask,
        msi: Iova::new(raw.msi),
        refresh: raw.flags & REFRESH != 0,
        measurement_interval: raw.measurement_interval,
        most_vectors: raw.most_vectors,
        longest_store: raw.longest_store,
        version: raw.version,
        longest_interpreted_store: longest.and_then(|numbers| numbers.last().copied()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capability::chain;

    /// A chain of one capability: identifier, version, and what follows the header.
    fn taken(id: u16, version: u16, body: &[u8]) -> Result<Zpci, BrokenChain> {
        let mut answer = vec![0; 24];
        answer.extend(id.to_le_bytes());
        answer.extend(version.to_le_bytes());
        answer.extend([0; 4]);
        answer.extend(body);
        let mut zpci = Zpci::default();
        for capability in chain(&answer, 24, 24)? {
            zpci.take(&capability)?;
        }
        Ok(zpci)
    }

    #[test]
    fn a_function_says_what_its_version_has() {
        let body: Vec<u8> = (1..=32).collect();
        for (version, handle, error_len) in [
            (1, None, None),
            (2, Some(0x1c1b_1a19), None),
            (3, Some(0x1c1b_1a19), Some(0x201f_1e1d)),
            (9, Some(0x1c1b_1a19), Some(0x201f_1e1d)),
        ] {
            let found = taken(1, version, &body).unwrap().function.unwrap();
            assert_eq!(found.first, Iova::new(0x0807_0605_0403_0201));
            assert_eq!(
                (found.channel, found.kind, found.group),
                (0x1211, 0x17, 0x18)
            );
            assert_eq!((found.handle, found.error_len), (handle, error_len));
        }
        // A version that has more than there is room for.
        for (version, len) in [(1, 23), (2, 27), (3, 31)] {
            let cut = taken(1, version, &body[..len]);
            assert_eq!(cut.unwrap_err(), BrokenChain::Truncated);
        }
    }

    #[test]
    fn a_group_says_what_its_version_has() {
        let body: Vec<u8> = (1..=40).collect();
        let found = taken(2, 1, &body[..32]).unwrap().group.unwrap();
        assert_eq!(found.msi, Iova::new(0x100f_0e0d_0c0b_0a09));
        assert_eq!((found.most_vectors, found.version), (0x1c1b, 0x1f));
        assert!(found.refresh && found.longest_interpreted_store.is_none());
        let found = taken(2, 2, &body).unwrap().group.unwrap();
        assert_eq!(found.longest_interpreted_store, Some(0x2221));
        assert!(taken(2, 2, &body[..33]).is_err());
    }

    #[test]
    fn strings_are_as_long_as_they_say_and_no_longer_than_there_is() {
        let body = [3, 0, 0, 0, 0xc1, 0xc2, 0xc3, 0xc4];
        assert_eq!(
            taken(3, 1, &body).unwrap().utility.unwrap(),
            [0xc1, 0xc2, 0xc3]
        );
        assert_eq!(
            taken(4, 1, &body).unwrap().path.unwrap(),
            [0xc1, 0xc2, 0xc3]
        );
        assert!(taken(3, 1, &[5, 0, 0, 0, 1, 2, 3, 4]).is_err());
        assert!(taken(4, 1, &[0xff; 8]).is_err());
        assert_eq!(taken(99, 1, &body).unwrap(), Zpci::default());
    }
}
