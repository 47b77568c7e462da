//! What the SMMU reports of its queues outside of them.

use bitflags::bitflags;

use crate::BadCommand;

/// Why the command queue stopped: `SMMU_CMDQ_CONS.ERR` (7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CommandError {
    /// `CERROR_NONE`, 0: it did not.
    None,
    /// `CERROR_ILL`, 1: the command is illegal.
    Illegal,
    /// `CERROR_ABT`, 2: the command could not be read.
    Abort,
    /// `CERROR_ATC_INV_SYNC`, 3: a device did not answer an `ATC_INV` before this `SYNC`.
    AtcInvSync,
}

impl CommandError {
    /// The one of this code.
    ///
    /// # Errors
    /// The code is reserved: the code.
    pub const fn from_code(code: u8) -> Result<Self, u8> {
        match code {
            0 => Ok(Self::None),
            1 => Ok(Self::Illegal),
            2 => Ok(Self::Abort),
            3 => Ok(Self::AtcInvSync),
            reserved => Err(reserved),
        }
    }

    /// Its code.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Illegal => 1,
            Self::Abort => 2,
            Self::AtcInvSync => 3,
        }
    }
}

impl From<BadCommand> for CommandError {
    /// Whatever the reason: `CERROR_ILL`.
    fn from(_: BadCommand) -> Self {
        Self::Illegal
    }
}

bitflags! {
    /// The global errors: the fields of `SMMU_GERROR` and `SMMU_GERRORN` (7.5).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct GlobalErrors: u32 {
        /// `CMDQ_ERR`, bit 0: the command queue stopped; `SMMU_CMDQ_CONS.ERR` says why.
        const CMDQ_ERR = 1 << 0;
        /// `EVENTQ_ABT_ERR`, bit 2: the event queue could not be written.
        const EVENTQ_ABT_ERR = 1 << 2;
        /// `PRIQ_ABT_ERR`, bit 3: the PRI queue could not be written.
        const PRIQ_ABT_ERR = 1 << 3;
        /// `MSI_CMDQ_ABT_ERR`, bit 4: the MSI of a `SYNC` could not be written.
        const MSI_CMDQ_ABT_ERR = 1 << 4;
        /// `MSI_EVENTQ_ABT_ERR`, bit 5: the MSI of the event queue could not be written.
        const MSI_EVENTQ_ABT_ERR = 1 << 5;
        /// `MSI_PRIQ_ABT_ERR`, bit 6: the MSI of the PRI queue could not be written.
        const MSI_PRIQ_ABT_ERR = 1 << 6;
        /// `MSI_GERROR_ABT_ERR`, bit 7: the MSI of a global error could not be written.
        const MSI_GERROR_ABT_ERR = 1 << 7;
        /// `SFM_ERR`, bit 8: the SMMU is in Service failure mode.
        const SFM_ERR = 1 << 8;
        /// `CMDQP_ERR`, bit 9: an enhanced command queue stopped. Needs `SMMU_IDR1.ECMDQ`.
        const CMDQP_ERR = 1 << 9;
        /// `DPT_ERR`, bit 10: a device permission table could not be read. Needs `SMMU_IDR3.DPT`.
        const DPT_ERR = 1 << 10;
    }
}

impl GlobalErrors {
    /// Whether the SMMU raises the interrupt of global errors when these become active: not for
    /// `MSI_GERROR_ABT_ERR` alone, as that interrupt is what failed (7.5.1).
    #[must_use]
    pub const fn interrupt(self) -> bool {
        !self.difference(Self::MSI_GERROR_ABT_ERR).is_empty()
    }
}

/// `SMMU_GERROR` and `SMMU_GERRORN`: an error is active while its bits in the two differ (7.5).
///
/// ```
/// use smmuv3_types::{GlobalErrorRegisters, GlobalErrors};
///
/// let mut registers = GlobalErrorRegisters::default();
/// assert_eq!(registers.raise(GlobalErrors::CMDQ_ERR), GlobalErrors::CMDQ_ERR);
/// // It is active already: nothing happens.
/// assert_eq!(registers.raise(GlobalErrors::CMDQ_ERR), GlobalErrors::empty());
/// // Software acknowledges it, by writing to GERRORN what it read from GERROR.
/// registers.write_gerrorn(registers.gerror());
/// assert!(registers.active().is_empty());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct GlobalErrorRegisters {
    gerror: GlobalErrors,
    gerrorn: GlobalErrors,
}

impl GlobalErrorRegisters {
    /// The ones with these bits. Those that are RES0 are dropped.
    #[must_use]
    pub const fn from_bits(gerror: u32, gerrorn: u32) -> Self {
        Self {
            gerror: GlobalErrors::from_bits_truncate(gerror),
            gerrorn: GlobalErrors::from_bits_truncate(gerrorn),
        }
    }

    /// The bits of `SMMU_GERROR`.
    #[must_use]
    pub const fn gerror(&self) -> u32 {
        self.gerror.bits()
    }

    /// The bits of `SMMU_GERRORN`.
    #[must_use]
    pub const fn gerrorn(&self) -> u32 {
        self.gerrorn.bits()
    }

    /// The errors that are active. No commands are consumed while `CMDQ_ERR` is one of them.
    #[must_use]
    pub const fn active(&self) -> GlobalErrors {
        self.gerror.symmetric_difference(self.gerrorn)
    }

    /// The errors become active: their bits in `SMMU_GERROR` are turned over, but not those of
    /// errors that are active already. Gives the ones that were not.
    pub const fn raise(&mut self, errors: GlobalErrors) -> GlobalErrors {
        let new = errors.difference(self.active());
        self.gerror = self.gerror.symmetric_difference(new);
        new
    }

    /// Software writes `SMMU_GERRORN`. Gives the errors that are active no more.
    ///
    /// An error that software makes active so, which it must not, is active, as an SMMU may have
    /// it. Bits that are RES0 are dropped.
    pub const fn write_gerrorn(&mut self, bits: u32) -> GlobalErrors {
        let before = self.active();
        self.gerrorn = GlobalErrors::from_bits_truncate(bits);
        before.difference(self.active())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn toggles_for_all_values_of_both_registers() {
        let one = GlobalErrors::EVENTQ_ABT_ERR;
        for gerror in 0..1 << 11 {
            for gerrorn in 0..1 << 11 {
                let mut registers = GlobalErrorRegisters::from_bits(gerror, gerrorn);
                let active = (gerror ^ gerrorn) & !2;
                assert_eq!(registers.active().bits(), active);
                let raised = registers.raise(one);
                assert_eq!(raised.is_empty(), active & 4 != 0);
                assert_eq!(registers.active().bits(), active | 4);
                assert_eq!(registers.gerrorn(), gerrorn & !2);
                let ended = registers.write_gerrorn(registers.gerror());
                assert_eq!(ended.bits(), active | 4);
                assert!(registers.active().is_empty());
            }
        }
    }

    #[test]
    fn bits_that_are_res0_are_dropped() {
        let registers = GlobalErrorRegisters::from_bits(u32::MAX, 0);
        assert_eq!(registers.gerror(), 0x7fd);
        let mut registers = GlobalErrorRegisters::default();
        assert!(registers.write_gerrorn(u32::MAX).is_empty());
        assert_eq!(registers.gerrorn(), 0x7fd);
    }

    #[test]
    fn the_interrupt_that_failed_is_not_raised_again() {
        assert!(!GlobalErrors::MSI_GERROR_ABT_ERR.interrupt());
        assert!(!GlobalErrors::empty().interrupt());
        assert!(GlobalErrors::all().interrupt());
    }
}
