//! The part of a stream table entry that a guest may choose.

use core::fmt;

use zerocopy::little_endian::U64;
use zerocopy::{Immutable, IntoBytes, KnownLayout};

use super::Ste;
use crate::{
    AtsMode, CdTable, CdTableFormat, ContextPointer, DefaultSubstream, Shareability, Stage1,
    StreamConfig, SubstreamBits,
};

/// The part of a stream table entry that iommufd takes for a nested table: the two little-endian
/// words of `struct iommu_hwpt_arm_smmuv3`.
///
/// It cannot be made from bytes, so it cannot hold what the kernel refuses.
///
/// # Invariants
/// The kernel takes it: no bit of another field is set, `Config` is abort, bypass or stage 1 only,
/// `EATS` is off or full. Invalid is all zero. `S1CDMax` is at most 20.
#[doc(alias = "iommu_hwpt_arm_smmuv3")]
#[derive(Clone, Copy, PartialEq, Eq, Hash, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct NestedSte {
    words: [U64; 2],
}

/// What a [`NestedSte`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NestedConfig {
    /// The entry is not valid. The kernel installs an abort; that a guest's transaction would
    /// record `C_BAD_STE` is for the VMM to tell the guest.
    Invalid,
    /// Transactions are aborted, silently.
    Abort,
    /// Transactions bypass stage 1: their addresses are taken for those of the guest's memory.
    Bypass,
    /// Stage 1 translates.
    Translate(Stage1),
}

/// What the kernel, or the architecture, refuses of a nested entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum RefusedSte {
    /// Bits are set that a guest does not choose.
    #[error("word {word} of the entry has bits {bits:#x}, which are not the guest's")]
    Bits {
        /// Which word, from 0.
        word: u8,
        /// Those bits.
        bits: u64,
    },
    /// The configuration is not one of abort, bypass and stage 1 only.
    #[error("STE.Config is {0:#05b}: not abort, bypass or stage 1 only")]
    Config(u8),
    /// ATS is neither off nor full.
    #[error("STE.EATS is {0:#04b}: neither off nor full ATS")]
    Ats(u8),
    /// More substreams than any SMMU has.
    #[error("STE.S1CDMax is {0}: there are at most 20 bits of substreams")]
    Substreams(u8),
}

impl NestedSte {
    /// The bits of word 0 that a guest may choose: `V`, `Config`, `S1Fmt`, `S1ContextPtr`,
    /// `S1CDMax`.
    pub const ALLOWED_0: u64 = 0xf80f_ffff_ffff_ffff;
    /// The bits of word 1 that a guest may choose: `S1DSS`, `S1CIR`, `S1COR`, `S1CSH`,
    /// `S1STALLD`, `EATS`.
    pub const ALLOWED_1: u64 = 0x3800_00ff;

    /// An entry that is not valid. The kernel aborts what the device does, and no event tells of
    /// it; the guest is owed `C_BAD_STE`.
    #[must_use]
    pub const fn invalid() -> Self {
        Self::of(&Ste::from_words([0; 8]))
    }

    /// An entry by which transactions are aborted, silently.
    #[must_use]
    pub const fn abort() -> Self {
        Self::of(&Ste::valid(StreamConfig::Abort))
    }

    /// An entry by which transactions bypass stage 1.
    #[must_use]
    pub const fn bypass() -> Self {
        Self::of(&Ste::valid(StreamConfig::Bypass))
    }

    /// An entry by which stage 1 translates.
    #[must_use]
    pub const fn translate(stage1: Stage1) -> Self {
        let table = stage1.table();
        Self::of(
            &Ste::valid(StreamConfig::Stage1)
                .with_s1_fmt(table.format())
                .with_s1_context_ptr(table.pointer().address())
                .with_s1_cd_max(table.substreams().get())
                .with_s1_dss(stage1.default_substream())
                .with_s1_cir(stage1.inner())
                .with_s1_cor(stage1.outer())
                .with_s1_csh(stage1.shareability())
                .with_s1_stalld(stage1.is_stall_disabled())
                .with_eats(if stage1.has_full_ats() {
                    AtsMode::Full
                } else {
                    AtsMode::Off
                }),
        )
    }

    /// The entry of these words, if the kernel takes it. An entry that is not valid becomes all
    /// zero, which is what the kernel makes of it.
    ///
    /// # Errors
    /// What is refused of it. An entry as a guest wrote it holds more than the kernel takes:
    /// [`Ste::reduce`] makes one of it.
    pub const fn from_words(words: [u64; 2]) -> Result<Self, RefusedSte> {
        let ste = Ste::from_words([words[0], words[1], 0, 0, 0, 0, 0, 0]);
        if !ste.v() {
            return Ok(Self::invalid());
        }
        let refused = words[0] & !Self::ALLOWED_0;
        if refused != 0 {
            return Err(RefusedSte::Bits {
                word: 0,
                bits: refused,
            });
        }
        let refused = words[1] & !Self::ALLOWED_1;
        if refused != 0 {
            return Err(RefusedSte::Bits {
                word: 1,
                bits: refused,
            });
        }
        match ste.config() {
            Ok(StreamConfig::Abort | StreamConfig::Bypass | StreamConfig::Stage1) => {}
            Ok(other) => return Err(RefusedSte::Config(other.bits())),
            Err(reserved) => return Err(RefusedSte::Config(reserved.value() as u8)),
        }
        match ste.eats() {
            AtsMode::Off | AtsMode::Full => {}
            other => return Err(RefusedSte::Ats(other.bits())),
        }
        if ste.s1_cd_max() > SubstreamBits::MAX.get() {
            return Err(RefusedSte::Substreams(ste.s1_cd_max()));
        }
        Ok(Self::of(&ste))
    }

    const fn of(ste: &Ste) -> Self {
        let words = ste.words();
        Self {
            words: [U64::new(words[0]), U64::new(words[1])],
        }
    }

    /// Its words, as numbers.
    #[must_use]
    pub const fn words(&self) -> [u64; 2] {
        [self.words[0].get(), self.words[1].get()]
    }

    /// The whole entry: this part, and zeros.
    #[must_use]
    pub const fn ste(&self) -> Ste {
        let [word0, word1] = self.words();
        Ste::from_words([word0, word1, 0, 0, 0, 0, 0, 0])
    }

    /// What it says. Reserved encodings are taken for what they behave as.
    #[must_use]
    pub fn config(&self) -> NestedConfig {
        let ste = self.ste();
        if !ste.v() {
            return NestedConfig::Invalid;
        }
        match ste.config() {
            Ok(StreamConfig::Bypass) => NestedConfig::Bypass,
            Ok(StreamConfig::Stage1) => NestedConfig::Translate(ste.stage1()),
            // No other can be there.
            _ => NestedConfig::Abort,
        }
    }
}

impl Ste {
    /// The fields of stage 1, reserved encodings taken for what they behave as.
    pub(super) fn stage1(&self) -> Stage1 {
        let pointer =
            ContextPointer::aligned_down(self.s1_context_ptr(), ContextPointer::ALIGNMENT);
        let format = self.s1_fmt().unwrap_or(CdTableFormat::Linear);
        let substreams = SubstreamBits::new(self.s1_cd_max()).unwrap_or(SubstreamBits::MAX);
        Stage1::new(CdTable::aligned_down(pointer, format, substreams))
            .with_default_substream(self.s1_dss().unwrap_or(DefaultSubstream::Terminate))
            .with_cacheability(self.s1_cir(), self.s1_cor())
            .with_shareability(self.s1_csh().unwrap_or(Shareability::NonShareable))
            .with_stall_disabled(self.s1_stalld())
            .with_full_ats(matches!(self.eats(), AtsMode::Full))
    }
}

impl fmt::Debug for NestedSte {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NestedSte").field(&self.config()).finish()
    }
}
