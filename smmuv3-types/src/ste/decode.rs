//! What an entry comes to.

use super::{NestedSte, Ste};
use crate::{
    AtsMode, CdTableFormat, Features, Ipa, Reserved, Stage1, StallModel, StreamConfig,
    SubstreamBits, Vmid,
};

/// What a valid entry makes of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SteConfig {
    /// Transactions are aborted, silently.
    Abort,
    /// Transactions go through untranslated. One with a substream is aborted, and
    /// `C_BAD_SUBSTREAMID` recorded.
    Bypass,
    /// Stage 1 translates.
    Stage1(Stage1),
    /// Stage 2 translates.
    Stage2(Stage2),
    /// Both stages translate.
    Nested(Stage1, Stage2),
}

/// Stage 2 of a stream: where its table is and whose it is. How it is walked is in the fields of
/// [`Ste`], which are not checked: see [`Ste::decode`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stage2 {
    /// The tag in the TLBs: `STE.S2VMID`.
    pub vmid: Vmid,
    /// The table: `STE.S2TTB`, as it was written, neither aligned nor checked.
    pub table: Ipa,
}

/// Why an entry is not valid. Whatever comes on the stream is aborted, and `C_BAD_STE` recorded
/// (5.2, 7.3.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum BadSte {
    /// `STE.V` is 0.
    #[error("the entry is not valid: STE.V is 0")]
    Invalid,
    /// Stage 1 translates, and there is none: `SMMU_IDR0.S1P` is 0.
    #[error("STE.Config asks for stage 1, which is not there")]
    NoStage1,
    /// Stage 2 translates, and there is none: `SMMU_IDR0.S2P` is 0.
    #[error("STE.Config asks for stage 2, which is not there")]
    NoStage2,
    /// The translation regime is reserved, or in [`Ste::reduce`] one of EL2.
    #[error(transparent)]
    StreamWorld(Reserved),
    /// ATS is split between the stages, and cannot be: the configuration is not of both stages,
    /// stage 2 stalls, or `SMMU_IDR0.NS1ATS` is 1.
    #[error("STE.EATS asks for split-stage ATS, which cannot be")]
    SplitStageAts,
    /// ATS is on, and stage 2 stalls.
    #[error("STE.EATS asks for ATS while STE.S2S makes stage 2 stall")]
    AtsWithStall,
    /// Stalls are forbidden where that is not for the entry to say: `SMMU_IDR0.STALL_MODEL` is
    /// not 0.
    #[error("STE.S1STALLD is set where the stall model is {0:?}")]
    StallDisabled(StallModel),
    /// There are more substreams than `SMMU_IDR1.SSIDSIZE` allows.
    #[error("STE.S1CDMax is {wanted}, above SMMU_IDR1.SSIDSIZE of {}", most.get())]
    TooManySubstreams {
        /// What `STE.S1CDMax` says.
        wanted: u8,
        /// What there can be.
        most: SubstreamBits,
    },
    /// The table of context descriptors has two levels: `SMMU_IDR0.CD2L` is 0.
    #[error("STE.S1Fmt asks for two levels of context descriptors, which are not there")]
    NoTwoLevelTable,
    /// The context descriptors are beyond `SMMU_IDR5.OAS`.
    #[error("STE.S1ContextPtr {0} is beyond the output address size")]
    ContextPointer(Ipa),
    /// `STE.S2VMID` has more than 8 bits: `SMMU_IDR0.VMID16` is 0.
    #[error("STE.S2VMID {0} has more than 8 bits")]
    Vmid(Vmid),
    /// A field of stage 2 asks for what is not there. It is named.
    #[error("{0} of stage 2 is not one that the SMMU has")]
    Stage2(&'static str),
}

/// What a guest's entry comes to for the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub enum Reduced {
    /// A nested table of this entry does what the guest's entry says. It is never invalid.
    Install(NestedSte),
    /// Transactions are to be aborted ([`NestedSte::abort`], or [`NestedSte::invalid`], which the
    /// kernel treats the same), and for each the guest is owed `C_BAD_STE`. The hardware gives no
    /// event of it: the VMM makes it.
    AbortWithBadSte(BadSte),
}

impl Reduced {
    /// The entry to give the kernel in either case.
    pub const fn nested(self) -> NestedSte {
        match self {
            Self::Install(nested) => nested,
            Self::AbortWithBadSte(_) => NestedSte::invalid(),
        }
    }
}

impl Ste {
    /// What the entry comes to on an SMMU with these features: 5.2.2 for the Non-secure stream
    /// table, of SMMUv3.1 or later. Only fields that mean something are looked at; reserved
    /// encodings of the rest behave as 5.2 says.
    ///
    /// Of stage 1 all is checked. A `S1ContextPtr` beyond the output size is an error, as SMMUv3.1
    /// has it (3.4.3); its bits below the alignment of its table are taken for 0.
    ///
    /// # Stage 2
    /// A guest on iommufd has none, and this crate does not walk its tables. An entry that has
    /// stage 2 translate is checked only for what the SMMU cannot do at all: `S2VMID` (also of an
    /// entry of stage 1 only, where there is stage 2), `S2S`, `S2AA64`, `S2FWB`, `S2HA`, `S2HD`,
    /// `S2TG`, `S2ENDI`.
    ///
    /// What else of it is ILLEGAL is **not** found: a `S2TTB` that is out of range; `S2T0SZ`,
    /// `S2SL0`, `S2SL0_2`, `S2DS` and `S2PS` that do not go together; `S2PIE`, `S2POE` and `S2POI`;
    /// `VMSPtr`. So an entry of stage 2 that comes out here can still be one that an SMMU records
    /// `C_BAD_STE` for. All that is given of it is [`Stage2`], with `S2TTB` as it was written.
    ///
    /// # Errors
    /// Why transactions are aborted with `C_BAD_STE`.
    pub fn decode(&self, features: &Features) -> Result<SteConfig, BadSte> {
        if !self.v() {
            return Err(BadSte::Invalid);
        }
        // Reserved configurations behave as abort.
        let config = self.config().unwrap_or(StreamConfig::Abort);
        if config == StreamConfig::Abort {
            return Ok(SteConfig::Abort);
        }
        let idr0 = features.registers().idr0;
        if config.has_stage1() && !idr0.s1p() {
            return Err(BadSte::NoStage1);
        }
        if config.has_stage2() && !idr0.s2p() {
            return Err(BadSte::NoStage2);
        }
        let full_ats = self.check_ats(config, features)?;
        let strw_counts = config == StreamConfig::Stage1 && idr0.hyp();
        if strw_counts && self.strw() & 1 == 1 {
            return Err(self.bad_stream_world());
        }
        if config == StreamConfig::Bypass {
            return Ok(SteConfig::Bypass);
        }
        if idr0.s2p()
            && !(strw_counts && self.strw() != 0)
            && !idr0.vmid16()
            && self.s2_vmid().get() > 0xff
        {
            return Err(BadSte::Vmid(self.s2_vmid()));
        }
        Ok(match config {
            StreamConfig::Stage2 => SteConfig::Stage2(self.check_stage2(features)?),
            StreamConfig::Nested => SteConfig::Nested(
                self.check_stage1(features, full_ats)?,
                self.check_stage2(features)?,
            ),
            _ => SteConfig::Stage1(self.check_stage1(features, full_ats)?),
        })
    }

    fn bad_stream_world(&self) -> BadSte {
        BadSte::StreamWorld(Reserved::new("STE.STRW", self.strw().into()))
    }

    /// Whether ATS is full, in effect.
    fn check_ats(&self, config: StreamConfig, features: &Features) -> Result<bool, BadSte> {
        let registers = features.registers();
        if !registers.idr0.ats() || config == StreamConfig::Bypass {
            return Ok(false);
        }
        let stalls = config.has_stage2() && self.s2_s();
        match self.eats() {
            AtsMode::Off => Ok(false),
            AtsMode::Full if stalls => Err(BadSte::AtsWithStall),
            AtsMode::Full => Ok(true),
            AtsMode::SplitStage => {
                if config != StreamConfig::Nested || self.s2_s() || registers.idr0.ns1ats() {
                    return Err(BadSte::SplitStageAts);
                }
                Ok(false)
            }
            // Reserved without a device permission table, and behaves as off.
            AtsMode::FullChecked => Ok(false),
        }
    }

    fn check_stage1(&self, features: &Features, full_ats: bool) -> Result<Stage1, BadSte> {
        let stall_model = features.stall_model();
        if self.s1_stalld() && stall_model != StallModel::Both {
            return Err(BadSte::StallDisabled(stall_model));
        }
        let most = features.substream_bits();
        // Without substreams S1CDMax is ignored, and without more than one descriptor S1Fmt and
        // S1DSS are.
        let mut effective = *self;
        if most == SubstreamBits::NONE {
            effective = effective.with_s1_cd_max(0);
        }
        if effective.s1_cd_max() > most.get() {
            return Err(BadSte::TooManySubstreams {
                wanted: self.s1_cd_max(),
                most,
            });
        }
        if effective.s1_cd_max() == 0 {
            effective = effective
                .with_s1_fmt(CdTableFormat::Linear)
                .with_s1_dss(crate::DefaultSubstream::Terminate);
        } else if !features.registers().idr0.cd2l()
            && self
                .s1_fmt()
                .is_ok_and(|format| format != CdTableFormat::Linear)
        {
            return Err(BadSte::NoTwoLevelTable);
        }
        if !features.output_size().holds(self.s1_context_ptr()) {
            return Err(BadSte::ContextPointer(self.s1_context_ptr()));
        }
        Ok(effective.stage1().with_full_ats(full_ats))
    }

    fn check_stage2(&self, features: &Features) -> Result<Stage2, BadSte> {
        let idr0 = features.registers().idr0;
        let idr5 = features.registers().idr5;
        let stalls_as_it_must = match features.stall_model() {
            StallModel::Both => true,
            StallModel::TerminateOnly => !self.s2_s(),
            StallModel::StallOnly => self.s2_s(),
        };
        if !stalls_as_it_must {
            return Err(BadSte::Stage2("STE.S2S"));
        }
        if self.s2_aa64() && !idr0.ttf_aarch64() || !self.s2_aa64() && !idr0.ttf_aarch32() {
            return Err(BadSte::Stage2("STE.S2AA64"));
        }
        if !self.s2_aa64() && features.registers().idr3.fwb() && self.s2_fwb() {
            return Err(BadSte::Stage2("STE.S2FWB"));
        }
        let updates = features.table_update();
        if (self.s2_ha() || self.s2_hd())
            && (!self.s2_aa64() || updates == crate::TableUpdate::None)
        {
            return Err(BadSte::Stage2("STE.S2HA"));
        }
        if self.s2_hd() && updates == crate::TableUpdate::AccessFlag {
            return Err(BadSte::Stage2("STE.S2HD"));
        }
        let granule_is_there = match self.s2_tg() {
            0 => idr5.gran4k(),
            1 => idr5.gran64k(),
            2 => idr5.gran16k(),
            _ => false,
        };
        if self.s2_aa64() && !granule_is_there {
            return Err(BadSte::Stage2("STE.S2TG"));
        }
        let endianness_is_there = match features.endianness() {
            crate::TableEndianness::Mixed => true,
            crate::TableEndianness::Little => !self.s2_endi(),
            crate::TableEndianness::Big => self.s2_endi(),
        };
        if !endianness_is_there {
            return Err(BadSte::Stage2("STE.S2ENDI"));
        }
        Ok(Stage2 {
            vmid: self.s2_vmid(),
            table: self.s2_ttb(),
        })
    }

    /// A guest's entry, reduced to what the kernel takes of it: what [`Self::decode`] finds that
    /// it comes to, where stage 1 is all that `features` offer the guest.
    ///
    /// Where the features do offer stage 2 or EL2, an entry that uses it is taken for a bad one:
    /// nothing can run it.
    ///
    /// Where the guest was told that there are no stalls and the hardware has them, a guest could
    /// still ask for them in a context descriptor, which the hardware reads. A VMM forbids it with
    /// [`Stage1::with_stall_disabled`], on hardware that has both models.
    ///
    /// What a guest writes besides is dropped: `CONT` (a hint), `STRW` without EL2, `MEV`, the
    /// replaced attributes, MPAM, fields of stage 2.
    pub fn reduce(&self, features: &Features) -> Reduced {
        Reduced::Install(match self.decode(features) {
            Ok(SteConfig::Abort) => NestedSte::abort(),
            Ok(SteConfig::Bypass) => NestedSte::bypass(),
            Ok(SteConfig::Stage1(_)) if features.registers().idr0.hyp() && self.strw() != 0 => {
                return Reduced::AbortWithBadSte(self.bad_stream_world());
            }
            Ok(SteConfig::Stage1(stage1)) => NestedSte::translate(stage1),
            Ok(SteConfig::Stage2(_) | SteConfig::Nested(..)) => {
                return Reduced::AbortWithBadSte(BadSte::NoStage2);
            }
            Err(bad) => return Reduced::AbortWithBadSte(bad),
        })
    }
}
