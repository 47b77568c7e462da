//! Capabilities whose contents their vendor defines.

use crate::config::{CapabilityId, ConfigSpace};
use crate::error::Result;
use crate::query::malformed;

/// A capability specific to its vendor, as virtio's are (PCI Express Base, "Vendor-Specific
/// Capability").
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct VendorCapability {
    /// Where it begins, in bytes.
    pub offset: u64,
    /// All of it, from identifier, pointer and length on.
    pub bytes: Vec<u8>,
}

/// Identifier, pointer and length.
const HEAD: u8 = 3;
/// Where the capabilities end.
const END: u64 = 0x100;

/// The length of the capability at `offset` that says it has `len` bytes.
fn checked(offset: u64, len: u8) -> Result<usize> {
    let broken = |reason| Err(malformed("a vendor's capability", reason));
    if len < HEAD {
        return broken("it is shorter than its head");
    }
    if offset
        .checked_add(u64::from(len))
        .is_none_or(|end| end > END)
    {
        return broken("it passes the end of its space");
    }
    Ok(usize::from(len))
}

impl ConfigSpace {
    /// The capabilities specific to the vendor, in the order of their list.
    ///
    /// # Errors
    /// As for [`capabilities`](Self::capabilities).
    pub fn vendor_capabilities(&self) -> Result<Vec<VendorCapability>> {
        let mut found = self.capabilities()?;
        found.retain(|capability| capability.id == CapabilityId::VENDOR);
        let read = |offset: u64| {
            let len = checked(offset, self.read(offset.saturating_add(2))?)?;
            let mut bytes = vec![0; len];
            self.read_bytes(offset, &mut bytes)?;
            Ok(VendorCapability { offset, bytes })
        };
        found.iter().map(|found| read(found.offset)).collect()
    }
}

/// Whether these bytes are one.
#[cfg(fuzzing)]
pub(super) fn parsed(offset: u64, bytes: &[u8]) -> bool {
    bytes
        .get(2)
        .is_some_and(|len| checked(offset, *len).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_within_the_space_or_refused() {
        assert_eq!(checked(0xf0, 16).unwrap(), 16);
        assert_eq!(checked(0x40, 3).unwrap(), 3);
        for (offset, len) in [(0x40, 0), (0x40, 2), (0xf0, 17), (0x40, 0xff)] {
            assert!(checked(offset, len).is_err(), "{offset:#x} {len}");
        }
        assert!(checked(u64::MAX, 255).is_err());
    }
}
