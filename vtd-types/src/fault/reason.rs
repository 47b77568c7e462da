//! The numbers of faults.

use crate::numbered::numbered;

numbered! {
    /// Why a request was blocked (7.1.3): the fault reason of a fault record, named by the
    /// document's condition.
    ///
    /// Conditions that share a number are one here: `LCT.4` is all of `LCT.4.x`. Linux reports none
    /// of them for the requests of a nested table: a VMM makes them for what it finds itself.
    pub enum FaultReason;

    /// The root entry is not present, in legacy mode.
    Lrt2 = 0x01, "LRT.2";
    /// The context entry is not present, in legacy mode.
    Lct2 = 0x02, "LCT.2";
    /// The context entry is programmed wrong, in legacy mode.
    Lct4 = 0x03, "LCT.4";
    /// The address is beyond what the second stage takes, in legacy mode.
    Lgn1 = 0x04, "LGN.1";
    /// A write to what cannot be written, in legacy mode.
    Lgn2 = 0x05, "LGN.2";
    /// A read of what cannot be read, in legacy mode.
    Lgn3 = 0x06, "LGN.3";
    /// An entry of the second stage could not be read, in legacy mode.
    Lss1 = 0x07, "LSS.1";
    /// The root entry could not be read, in legacy mode.
    Lrt1 = 0x08, "LRT.1";
    /// The context entry could not be read, in legacy mode.
    Lct1 = 0x09, "LCT.1";
    /// The root entry has reserved bits set, in legacy mode.
    Lrt3 = 0x0a, "LRT.3";
    /// The context entry has reserved bits set, in legacy mode.
    Lct3 = 0x0b, "LCT.3";
    /// An entry of the second stage has reserved bits set, in legacy mode.
    Lss2 = 0x0c, "LSS.2";
    /// A translation request or a translated request, where the context entry allows none.
    Lct5 = 0x0d, "LCT.5";
    /// The output is in the range of interrupts, in legacy mode.
    Lgn4 = 0x0e, "LGN.4";

    /// An interrupt request has reserved bits set.
    Ir20 = 0x20, "IR.20h";
    /// The index of an interrupt is beyond the table.
    Ir21 = 0x21, "IR.21h";
    /// The entry of an interrupt is not present.
    Ir22 = 0x22, "IR.22h";
    /// The entry of an interrupt could not be read.
    Ir23 = 0x23, "IR.23h";
    /// The entry of an interrupt has reserved bits set.
    Ir24 = 0x24, "IR.24h";
    /// An interrupt request of the compatibility format is blocked.
    Ir25 = 0x25, "IR.25h";
    /// An interrupt request is of another requester than its entry says.
    Ir26 = 0x26, "IR.26h";
    /// The posted interrupt descriptor could not be read or written.
    Ir27 = 0x27, "IR.27h";
    /// The posted interrupt descriptor has reserved bits set.
    Ir28 = 0x28, "IR.28h";
    /// An untranslated interrupt request that is not valid.
    Ir29 = 0x29, "IR.29h";

    /// `RTADDR_REG` is programmed wrong.
    Rta1 = 0x30, "RTA.1";
    /// A request with a PASID in legacy mode.
    Rta2 = 0x31, "RTA.2";
    /// A page request in legacy mode.
    Rta3 = 0x32, "RTA.3";
    /// A request that the mode of `RTADDR_REG` blocks.
    Rta4 = 0x33, "RTA.4";

    /// The root entry could not be read.
    Srt1 = 0x38, "SRT.1";
    /// The root entry is not present.
    Srt2 = 0x39, "SRT.2";
    /// The root entry has reserved bits set.
    Srt3 = 0x3a, "SRT.3";

    /// The context entry could not be read.
    Sct1 = 0x40, "SCT.1";
    /// The context entry is not present.
    Sct2 = 0x41, "SCT.2";
    /// The context entry has reserved bits set.
    Sct3 = 0x42, "SCT.3";
    /// The context entry is programmed wrong.
    Sct4 = 0x43, "SCT.4";
    /// A translation request or a translated request, and `SMCE.DTE` is 0.
    Sct5 = 0x44, "SCT.5";
    /// A request with a PASID, and `SMCE.PASIDE` is 0.
    Sct6 = 0x45, "SCT.6";
    /// The PASID is beyond the directory.
    Sct7 = 0x46, "SCT.7";
    /// A page request, and `SMCE.PRE` is 0.
    Sct8 = 0x47, "SCT.8";
    /// `SMCE.RID_PASID` is beyond the directory.
    Sct9 = 0x48, "SCT.9";

    /// The PASID directory entry could not be read.
    Spd1 = 0x50, "SPD.1";
    /// The PASID directory entry is not present.
    Spd2 = 0x51, "SPD.2";
    /// The PASID directory entry has reserved bits set.
    Spd3 = 0x52, "SPD.3";

    /// The PASID table entry could not be read.
    Spt1 = 0x58, "SPT.1";
    /// The PASID table entry is not present.
    Spt2 = 0x59, "SPT.2";
    /// The PASID table entry has reserved bits set.
    Spt3 = 0x5a, "SPT.3";
    /// The PASID table entry is programmed wrong.
    Spt4 = 0x5b, "SPT.4";
    /// A request to execute, and `PASIDTE.ERE` is 0.
    Spt5 = 0x5c, "SPT.5";
    /// A request of the supervisor, and `PASIDTE.SRE` is 0.
    Spt6 = 0x5d, "SPT.6";

    /// An entry of the first stage could not be read.
    Sfs1 = 0x70, "SFS.1";
    /// An entry of the first stage is not present.
    Sfs2 = 0x71, "SFS.2";
    /// An entry of the first stage has reserved bits set.
    Sfs3 = 0x72, "SFS.3";
    /// The first table of the first stage could not be read.
    Sfs4 = 0x73, "SFS.4";
    /// A table of the first stage is beyond what the second takes.
    Sfs5 = 0x74, "SFS.5";
    /// The second stage does not let the first table of the first stage be read.
    Sfs6 = 0x75, "SFS.6";
    /// The second stage does not let a table of the first stage be read.
    Sfs7 = 0x76, "SFS.7";
    /// The second stage does not let a table of the first stage be written.
    Sfs8 = 0x77, "SFS.8";
    /// An entry of the second stage could not be read.
    Sss1 = 0x78, "SSS.1";
    /// An entry of the second stage does not allow the access.
    Sss2 = 0x79, "SSS.2";
    /// An entry of the second stage has reserved bits set.
    Sss3 = 0x7a, "SSS.3";
    /// The first table of the second stage could not be read.
    Sss4 = 0x7b, "SSS.4";
    /// A flag of the second stage is to be set where accesses are not snooped.
    Sss5 = 0x7c, "SSS.5";
    /// A flag of the second stage could not be set.
    Sss6 = 0x7d, "SSS.6";

    /// The address is not canonical.
    Sgn1 = 0x80, "SGN.1";
    /// A page of the supervisor, for a request of the user.
    Sgn2 = 0x81, "SGN.2";
    /// A page that cannot be executed, for a request to execute.
    Sgn3 = 0x82, "SGN.3";
    /// The address is beyond what the second stage takes.
    Sgn4 = 0x83, "SGN.4";
    /// What the first stage puts out is beyond what the second takes.
    Sgn5 = 0x84, "SGN.5";
    /// A write to what cannot be written.
    Sgn6 = 0x85, "SGN.6";
    /// A read of what cannot be read.
    Sgn7 = 0x86, "SGN.7";
    /// The output is in the range of interrupts.
    Sgn8 = 0x87, "SGN.8";
    /// A fault of a request in general.
    Sgn9 = 0x88, "SGN.9";
    /// A fault of a request in general.
    Sgn10 = 0x89, "SGN.10";
    /// A flag of the first stage is to be set where accesses are not snooped.
    Sfs9 = 0x90, "SFS.9";
    /// A flag of the first stage could not be set.
    Sfs10 = 0x91, "SFS.10";
}

impl FaultReason {
    /// Whether it is of an interrupt request (7.1.3).
    #[must_use]
    pub const fn is_interrupt(self) -> bool {
        matches!(self.number(), 0x20..=0x2f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::assert_listed;

    #[test]
    fn every_number_is_of_one_reason_or_of_none() {
        let mut known = 0;
        for number in 0..=u8::MAX {
            if let Some(reason) = FaultReason::from_number(number) {
                assert_eq!(reason.number(), number);
                assert_eq!(reason.is_interrupt(), reason.name().starts_with("IR."));
                known += 1;
            }
        }
        assert_eq!(known, FaultReason::ALL.len());
        assert!(FaultReason::ALL.is_sorted_by_key(|reason| reason.number()));
    }

    #[test]
    fn the_table_of_what_is_covered_has_a_row_for_every_one() {
        for reason in FaultReason::ALL {
            assert_listed(reason.number(), reason.name());
        }
    }
}
