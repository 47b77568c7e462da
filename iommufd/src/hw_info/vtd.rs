//! Intel VT-d: the two capability registers, as far as a user of address spaces wants to know.

use std::fmt;

/// The capability registers of an Intel VT-d unit (VT-d specification 11.4.2 and 11.4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VtdInfo {
    capability: u64,
    extended: u64,
}

impl VtdInfo {
    pub(super) fn new(capability: u64, extended: u64) -> Self {
        Self {
            capability,
            extended,
        }
    }

    /// `CAP_REG`, raw.
    #[must_use]
    pub fn capability(&self) -> u64 {
        self.capability
    }

    /// `ECAP_REG`, raw.
    #[must_use]
    pub fn extended_capability(&self) -> u64 {
        self.extended
    }

    /// How many bits an address has that the unit can translate: `CAP_REG.MGAW` (21:16) plus one.
    #[must_use]
    pub fn address_bits(&self) -> u8 {
        ((self.capability >> 16) & 0x3f) as u8 + 1
    }

    /// Whether second-stage tables can have 2 MiB pages: `CAP_REG.SSLPS` (bit 34).
    #[must_use]
    pub fn second_stage_2m(&self) -> bool {
        self.capability & (1 << 34) != 0
    }

    /// Whether second-stage tables can have 1 GiB pages: `CAP_REG.SSLPS` (bit 35).
    #[must_use]
    pub fn second_stage_1g(&self) -> bool {
        self.capability & (1 << 35) != 0
    }

    /// Whether the unit can nest a guest's first stage in a second: `ECAP_REG.NEST` (bit 26).
    #[must_use]
    pub fn nested_translation(&self) -> bool {
        self.extended & (1 << 26) != 0
    }

    /// Whether it has scalable mode: `ECAP_REG.SMTS` (bit 43).
    #[must_use]
    pub fn scalable_mode(&self) -> bool {
        self.extended & (1 << 43) != 0
    }

    /// Whether it serves device TLBs: `ECAP_REG.DT` (bit 2).
    #[must_use]
    pub fn device_tlb(&self) -> bool {
        self.extended & (1 << 2) != 0
    }
}

impl fmt::Display for VtdInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Intel VT-d, {} address bits, pages of 4 KiB",
            self.address_bits()
        )?;
        let features = [
            (self.second_stage_2m(), ", 2 MiB"),
            (self.second_stage_1g(), ", 1 GiB"),
            (self.scalable_mode(), "; scalable mode"),
            (self.nested_translation(), "; nested translation"),
            (self.device_tlb(), "; device TLBs"),
        ];
        for (_, name) in features.iter().filter(|(has, _)| *has) {
            f.write_str(name)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_where_the_specification_has_them() {
        let none = VtdInfo::new(0, 0);
        assert_eq!(none.address_bits(), 1);
        assert_eq!(
            none.to_string(),
            "Intel VT-d, 1 address bits, pages of 4 KiB"
        );
        let vtd = VtdInfo::new(47 << 16 | 1 << 34, 1 << 26 | 1 << 43);
        assert_eq!(vtd.address_bits(), 48);
        assert!(vtd.second_stage_2m() && !vtd.second_stage_1g());
        assert!(vtd.nested_translation() && vtd.scalable_mode() && !vtd.device_tlb());
        assert_eq!(VtdInfo::new(u64::MAX, u64::MAX).address_bits(), 64);
    }
}
