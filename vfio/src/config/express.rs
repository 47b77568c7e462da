//! The PCI Express capability.

use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::config::{CapabilityId, ConfigSpace};
use crate::error::Result;
use crate::query::malformed;

/// What a function is to PCI Express (PCI Express Base, "PCI Express Capabilities Register").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ExpressKind {
    /// A device.
    Endpoint,
    /// A device that may use I/O ports.
    LegacyEndpoint,
    /// A device that is part of the root complex.
    IntegratedEndpoint,
    /// Another: a port, a bridge, an event collector.
    Other(u8),
}

/// The PCI Express capability (PCI Express Base, "PCI Express Capability Structure").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PciExpress {
    /// Where it begins, in bytes.
    pub offset: u64,
    /// The version of its layout.
    pub version: u8,
    /// What the function is.
    pub kind: ExpressKind,
    /// Whether the function can be reset by itself, a "function level reset".
    pub function_level_reset: bool,
    /// The longest payload that the function can take, in bytes.
    pub max_payload_supported: u16,
    /// The longest payload that is set, in bytes. The kernel keeps to its own, whatever is set.
    pub max_payload: u16,
    /// The longest read that the function asks for, in bytes.
    pub max_read_request: u16,
}

#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct Raw {
    head: u16,
    capabilities: u16,
    device: u32,
    control: u16,
    status: u16,
}

fn parse(offset: u64, raw: &Raw) -> Result<PciExpress> {
    // Of the eight values the last two are reserved.
    let bytes = |exponent| match exponent {
        0..=5 => Ok(128 << exponent),
        _ => Err(malformed(
            "the PCI Express capability",
            "a payload longer than 4096 bytes",
        )),
    };
    let [low, _] = raw.capabilities.to_le_bytes();
    Ok(PciExpress {
        offset,
        version: low & 0xf,
        kind: match low >> 4 {
            0 => ExpressKind::Endpoint,
            1 => ExpressKind::LegacyEndpoint,
            9 => ExpressKind::IntegratedEndpoint,
            other => ExpressKind::Other(other),
        },
        function_level_reset: raw.device & 1 << 28 != 0,
        max_payload_supported: bytes(raw.device & 7)?,
        max_payload: bytes(u32::from(raw.control >> 5 & 7))?,
        max_read_request: bytes(u32::from(raw.control >> 12 & 7))?,
    })
}

impl ConfigSpace {
    /// The PCI Express capability, if there is one.
    ///
    /// # Errors
    /// As for [`capabilities`](Self::capabilities).
    pub fn pci_express(&self) -> Result<Option<PciExpress>> {
        self.capability(CapabilityId::PCI_EXPRESS, |offset, raw| parse(offset, &raw))
    }
}

/// Whether these bytes are one.
#[cfg(fuzzing)]
pub(super) fn parsed(offset: u64, bytes: &[u8]) -> bool {
    Raw::read_from_prefix(bytes).is_ok_and(|(raw, _)| parse(offset, &raw).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn fields_are_where_they_are() {
        let raw = Raw {
            head: 0x10,
            capabilities: 0x0092,
            device: 1 << 28 | 2,
            control: 0x2020,
            status: 0,
        };
        let found = parse(0xa0, &raw).unwrap();
        assert_eq!(found.version, 2);
        assert_eq!(found.kind, ExpressKind::IntegratedEndpoint);
        assert!(found.function_level_reset);
        let lengths = (
            found.max_payload_supported,
            found.max_payload,
            found.max_read_request,
        );
        assert_eq!(lengths, (512, 256, 512));
    }

    #[test]
    fn whatever_a_function_answers_has_lengths_that_exist() {
        let mut random = Random::new(2);
        for _ in 0..20_000 {
            let bytes: Vec<u8> = (0..12).map(|_| random.next().to_le_bytes()[2]).collect();
            if let Ok(found) = parse(0, &Raw::read_from_bytes(&bytes).unwrap()) {
                for length in [
                    found.max_payload_supported,
                    found.max_payload,
                    found.max_read_request,
                ] {
                    assert!(length.is_power_of_two() && (128..=4096).contains(&length));
                }
            }
        }
    }
}
