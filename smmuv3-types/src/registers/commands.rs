//! What the identification registers decide about commands.

use super::Vouched;
use crate::command::CommandFeatures;
use crate::{IdRegisters, InvalidationLimits, StallModel, SubstreamBits};

/// What they say about the commands that the SMMU takes.
pub(super) const fn features(
    registers: &IdRegisters,
    stall_model: StallModel,
    substream_bits: SubstreamBits,
) -> CommandFeatures {
    let idr0 = registers.idr0;
    CommandFeatures::STAGE_1
        .with_stage1(idr0.s1p())
        .with_stage2(idr0.s2p())
        .with_hyp(idr0.hyp())
        .with_ats(idr0.ats())
        .with_asid16(idr0.asid16())
        .with_msi(idr0.msi())
        .with_sev(idr0.sev())
        .with_pri(idr0.pri())
        .with_vmid16(idr0.vmid16())
        .with_stall(!matches!(stall_model, StallModel::TerminateOnly))
        .with_term_model(idr0.term_model())
        .with_mpam(registers.idr3.mpam())
        .with_ril(registers.idr3.ril())
        .with_ds(registers.idr5.ds())
        .with_substream_bits(substream_bits.get())
}

impl Vouched {
    /// Which invalidations the host's hardware has. Of ATS the kernel does not say: it is off here, and
    /// [`InvalidationLimits::with_ats`] turns it on for who knows better.
    #[must_use]
    pub const fn invalidation_limits(&self) -> InvalidationLimits {
        InvalidationLimits::NONE
            .with_ril(self.ril())
            .with_ds(self.ds())
            .with_asid16(self.asid16())
            .with_substreams(self.ssidsize() > SubstreamBits::NONE.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Features, Idr0, Idr1, Idr3, Idr5};

    #[test]
    fn commands_follow_the_registers() {
        // What an SMMUv3 of QEMU 10 has: SMMU_IDR0, IDR1, IDR3, IDR5.
        let registers = IdRegisters {
            idr0: Idr0::from_bits(0x0d44_101b),
            idr1: Idr1::from_bits(0x0273_0010),
            idr3: Idr3::from_bits(0x0000_1414),
            idr5: Idr5::from_bits(0x0000_0074),
            ..IdRegisters::default()
        };
        let features = Features::new(registers).unwrap();
        let commands = features.commands();
        assert!(commands.stage1() && commands.stage2() && commands.asid16() && commands.ril());
        assert!(!commands.ats() && !commands.ds() && !commands.hyp() && !commands.pri());
        assert_eq!(commands.substream_bits(), 0);
    }

    #[test]
    fn each_field_decides_what_it_should_and_nothing_else() {
        let least = IdRegisters {
            idr0: Idr0::default().with_stall_model(StallModel::TerminateOnly),
            ..IdRegisters::default()
        };
        let none = CommandFeatures::STAGE_1.with_stage1(false);
        let check = |change: fn(&mut IdRegisters), expected: CommandFeatures| {
            let mut registers = least;
            change(&mut registers);
            assert_eq!(*Features::new(registers).unwrap().commands(), expected);
        };
        check(|_| {}, none);
        check(|r| r.idr0 = r.idr0.with_s1p(true), none.with_stage1(true));
        check(|r| r.idr0 = r.idr0.with_s2p(true), none.with_stage2(true));
        check(|r| r.idr0 = r.idr0.with_hyp(true), none.with_hyp(true));
        check(|r| r.idr0 = r.idr0.with_ats(true), none.with_ats(true));
        check(
            |r| r.idr0 = r.idr0.with_asid16(true),
            none.with_asid16(true),
        );
        check(|r| r.idr0 = r.idr0.with_msi(true), none.with_msi(true));
        check(|r| r.idr0 = r.idr0.with_sev(true), none.with_sev(true));
        check(|r| r.idr0 = r.idr0.with_pri(true), none.with_pri(true));
        check(
            |r| r.idr0 = r.idr0.with_vmid16(true),
            none.with_vmid16(true),
        );
        for model in [StallModel::Both, StallModel::StallOnly] {
            let mut registers = least;
            registers.idr0 = registers.idr0.with_stall_model(model);
            let features = Features::new(registers).unwrap();
            assert_eq!(*features.commands(), none.with_stall(true));
        }
        check(
            |r| r.idr0 = r.idr0.with_term_model(true),
            none.with_term_model(true),
        );
        check(|r| r.idr3 = r.idr3.with_mpam(true), none.with_mpam(true));
        check(|r| r.idr3 = r.idr3.with_ril(true), none.with_ril(true));
        check(|r| r.idr5 = r.idr5.with_ds(true), none.with_ds(true));
        check(
            |r| r.idr1 = r.idr1.with_ssidsize(9),
            none.with_substream_bits(9),
        );
    }

    #[test]
    fn limits_follow_what_is_vouched_for() {
        let idr = [0x0d44_141b, 0x0273_0150, 0, 0x1414, 0, 0xf4];
        let limits = Vouched::new(idr).invalidation_limits();
        let expected = InvalidationLimits::NONE
            .with_ril(true)
            .with_ds(true)
            .with_asid16(true)
            .with_substreams(true);
        assert_eq!(limits, expected);
        assert_eq!(
            Vouched::new([0; 6]).invalidation_limits(),
            InvalidationLimits::NONE
        );
    }
}
