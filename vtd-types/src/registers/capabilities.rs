//! Both capability registers together.

use crate::{Cap, Ecap};

/// The registers by which a remapping unit says what it can do (11.4.2, 11.4.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Capabilities {
    /// `CAP_REG`, at offset 0x8.
    pub cap: Cap,
    /// `ECAP_REG`, at offset 0x10.
    pub ecap: Ecap,
}

impl Capabilities {
    /// The registers with these bits: `CAP_REG` and `ECAP_REG`.
    #[must_use]
    pub const fn from_bits(cap: u64, ecap: u64) -> Self {
        Self {
            cap: Cap::from_bits(cap),
            ecap: Ecap::from_bits(ecap),
        }
    }
}
