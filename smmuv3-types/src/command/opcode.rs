//! The opcodes of commands.

use hardware_records::numbered;

numbered! {
    /// The kind of a command (4.1.1), bits 7:0 of its first word.
    ///
    /// Other numbers are reserved or IMPLEMENTATION DEFINED.
    pub enum Opcode;

    /// Fetch the configuration of a stream ahead (4.2.1).
    PrefetchConfig = 0x01, "CMD_PREFETCH_CONFIG";
    /// Fetch translations ahead (4.2.2).
    PrefetchAddr = 0x02, "CMD_PREFETCH_ADDR";
    /// Forget an STE (4.3.1).
    CfgiSte = 0x03, "CMD_CFGI_STE";
    /// Forget the STEs of a range of streams (4.3.2), or of all: `CMD_CFGI_ALL` (4.3.6).
    CfgiSteRange = 0x04, "CMD_CFGI_STE_RANGE";
    /// Forget a CD (4.3.3).
    CfgiCd = 0x05, "CMD_CFGI_CD";
    /// Forget the CDs of a stream (4.3.4).
    CfgiCdAll = 0x06, "CMD_CFGI_CD_ALL";
    /// Forget the PARTID map of a virtual machine (4.3.5).
    CfgiVmsPidm = 0x07, "CMD_CFGI_VMS_PIDM";
    /// Forget the stage-1 translations of a VMID (4.4.2.1).
    TlbiNhAll = 0x10, "CMD_TLBI_NH_ALL";
    /// Forget the stage-1 translations of an ASID (4.4.2.2).
    TlbiNhAsid = 0x11, "CMD_TLBI_NH_ASID";
    /// Forget the stage-1 translations of an address and ASID (4.4.2.4).
    TlbiNhVa = 0x12, "CMD_TLBI_NH_VA";
    /// Forget the stage-1 translations of an address, of all ASIDs (4.4.2.3).
    TlbiNhVaa = 0x13, "CMD_TLBI_NH_VAA";
    /// Forget all translations of EL3 (4.4.2.5). For the Secure queue only.
    TlbiEl3All = 0x18, "CMD_TLBI_EL3_ALL";
    /// Forget the translations of EL3 of an address (4.4.2.6). For the Secure queue only.
    TlbiEl3Va = 0x1a, "CMD_TLBI_EL3_VA";
    /// Forget all translations of EL2 (4.4.2.7).
    TlbiEl2All = 0x20, "CMD_TLBI_EL2_ALL";
    /// Forget the translations of EL2 of an ASID (4.4.2.10).
    TlbiEl2Asid = 0x21, "CMD_TLBI_EL2_ASID";
    /// Forget the translations of EL2 of an address and ASID (4.4.2.8).
    TlbiEl2Va = 0x22, "CMD_TLBI_EL2_VA";
    /// Forget the translations of EL2 of an address, of all ASIDs (4.4.2.9).
    TlbiEl2Vaa = 0x23, "CMD_TLBI_EL2_VAA";
    /// Forget the translations of both stages of a VMID (4.4.3.2).
    TlbiS12Vmall = 0x28, "CMD_TLBI_S12_VMALL";
    /// Forget the stage-2 translations of an address (4.4.3.1).
    TlbiS2Ipa = 0x2a, "CMD_TLBI_S2_IPA";
    /// Forget all Non-secure translations that are not of EL2 (4.4.4.1).
    TlbiNsnhAll = 0x30, "CMD_TLBI_NSNH_ALL";
    /// Have a device forget translations (4.5.1).
    AtcInv = 0x40, "CMD_ATC_INV";
    /// Answer a page request group (4.5.2).
    PriResp = 0x41, "CMD_PRI_RESP";
    /// Resume a stalled transaction (4.7.1).
    Resume = 0x44, "CMD_RESUME";
    /// Terminate the stalled transactions of a stream (4.7.2).
    StallTerm = 0x45, "CMD_STALL_TERM";
    /// Wait for the commands before it (4.7.3).
    Sync = 0x46, "CMD_SYNC";
    /// As [`TlbiEl2All`](Self::TlbiEl2All) of Secure EL2 (4.4.2.11). For the Secure queue only.
    TlbiSEl2All = 0x50, "CMD_TLBI_S_EL2_ALL";
    /// As [`TlbiEl2Asid`](Self::TlbiEl2Asid) of Secure EL2 (4.4.2.14). For the Secure queue only.
    TlbiSEl2Asid = 0x51, "CMD_TLBI_S_EL2_ASID";
    /// As [`TlbiEl2Va`](Self::TlbiEl2Va) of Secure EL2 (4.4.2.12). For the Secure queue only.
    TlbiSEl2Va = 0x52, "CMD_TLBI_S_EL2_VA";
    /// As [`TlbiEl2Vaa`](Self::TlbiEl2Vaa) of Secure EL2 (4.4.2.13). For the Secure queue only.
    TlbiSEl2Vaa = 0x53, "CMD_TLBI_S_EL2_VAA";
    /// Forget the Secure translations of both stages of a VMID (4.4.3.4). For the Secure queue
    /// only.
    TlbiSS12Vmall = 0x58, "CMD_TLBI_S_S12_VMALL";
    /// Forget the Secure stage-2 translations of an address (4.4.3.3). For the Secure queue only.
    TlbiSS2Ipa = 0x5a, "CMD_TLBI_S_S2_IPA";
    /// Forget all Secure translations that are not of EL2 (4.4.4.2). For the Secure queue only.
    TlbiSnhAll = 0x60, "CMD_TLBI_SNH_ALL";
    /// Forget all of the device permission tables (4.6.1). Needs `SMMU_IDR3.DPT`.
    DptiAll = 0x70, "CMD_DPTI_ALL";
    /// Forget what the device permission tables say of an address (4.6.2). Needs `SMMU_IDR3.DPT`.
    DptiPa = 0x73, "CMD_DPTI_PA";
}

impl Opcode {
    /// Whether only the Secure command queue takes it (4.4). On the Non-secure queue, which is
    /// what this crate is about, it raises `CERROR_ILL`.
    #[must_use]
    pub const fn is_secure(self) -> bool {
        matches!(
            self,
            Self::TlbiEl3All
                | Self::TlbiEl3Va
                | Self::TlbiSEl2All
                | Self::TlbiSEl2Asid
                | Self::TlbiSEl2Va
                | Self::TlbiSEl2Vaa
                | Self::TlbiSS12Vmall
                | Self::TlbiSS2Ipa
                | Self::TlbiSnhAll
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hardware_records::testing::assert_listed;

    #[test]
    fn every_number_is_of_one_opcode_or_of_none() {
        let mut known = 0;
        for number in 0..=u8::MAX {
            if let Some(opcode) = Opcode::from_number(number) {
                assert_eq!(opcode.number(), number);
                known += 1;
            }
        }
        assert_eq!(known, Opcode::ALL.len());
        // So many of table 4.1.1 are neither reserved nor IMPLEMENTATION DEFINED.
        assert_eq!(known, 34);
    }

    #[test]
    fn names_are_the_architectures() {
        for opcode in Opcode::ALL {
            assert!(opcode.name().starts_with("CMD_"), "{opcode:?}");
        }
        assert_eq!(Opcode::TlbiSnhAll.name(), "CMD_TLBI_SNH_ALL");
    }

    #[test]
    fn the_table_of_what_is_covered_has_a_row_for_every_one() {
        for kind in Opcode::ALL {
            assert_listed(include_str!("../coverage.md"), kind.number(), kind.name());
        }
    }
}
