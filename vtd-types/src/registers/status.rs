//! `FSTS_REG`, and the registers that mask an interrupt.

use crate::record::record;

record! {
    /// What went wrong, at offset 0x34.
    pub struct Fsts(u32), "FSTS_REG", "11.4.7.1";

    /// A fault was lost for lack of a fault recording register.
    flag pfo, with_pfo: "PFO", 0 [0];
    /// There is a fault in a fault recording register. Not cleared by writing 1, but with the `F` of
    /// every record.
    flag ppf, with_ppf: "PPF", 0 [1];
    /// A fault was lost for lack of room in the fault log.
    flag afo, with_afo: "AFO", 0 [2];
    /// There is a fault in the fault log.
    flag apf, with_apf: "APF", 0 [3];
    /// The invalidation queue stopped at a descriptor that is invalid.
    flag iqe, with_iqe: "IQE", 0 [4];
    /// A device answered an invalidation of its TLB with an error.
    flag ice, with_ice: "ICE", 0 [5];
    /// A device did not answer an invalidation of its TLB in time.
    flag ite, with_ite: "ITE", 0 [6];
    /// The first fault recording register that has a fault, if `PPF` is set.
    num(u8) fri, with_fri: "FRI", 0 [15:8];
}

impl Fsts {
    /// The flags that are cleared by writing 1.
    const CLEARED_BY_ONE: u32 = 0x7d;

    /// What it is after software wrote `written`: flags that are 1 there are cleared, save `PPF`.
    #[must_use]
    pub const fn after_write(self, written: u32) -> Self {
        Self::from_bits(self.bits() & !(written & Self::CLEARED_BY_ONE))
    }
}

record! {
    /// Whether an interrupt of the remapping unit is masked: `FECTL_REG` at offset 0x38 of faults
    /// (11.4.7.2), `IECTL_REG` at 0xa0 of the invalidation queue (11.4.9.5), `PECTL_REG` at 0xe0 of
    /// page requests (11.4.11.5). All three have the same fields.
    pub struct EventControl(u32), "FECTL_REG", "11.4.7.2";

    /// The interrupt is to be sent, and waits for its mask to be cleared.
    flag ip, with_ip: "IP", 0 [30];
    /// The interrupt is masked.
    flag im, with_im: "IM", 0 [31];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_cleared_by_writing_one_and_nothing_else_is() {
        for bit in 0..32 {
            let all = Fsts::from_bits(u32::MAX).after_write(1 << bit);
            let cleared = matches!(bit, 0 | 2..=6);
            assert_eq!(all.bits() == u32::MAX, !cleared, "{bit}");
            assert_eq!(all.bits() | 1 << bit, u32::MAX);
        }
        let status = Fsts::default().with_iqe(true).with_ppf(true).with_fri(3);
        assert_eq!(status.after_write(u32::MAX).bits(), 0x0302);
    }
}
