//! What an SMMU has, as far as commands depend on it.

use core::fmt;

/// What the ID registers of an SMMU say about the commands that it takes: a part of
/// [`Features`](crate::Features), put together once so that decoding a command is quick.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct CommandFeatures {
    /// One bit for each of the flags below, so that whether a command is implemented is a single
    /// test.
    bits: u16,
    substream_bits: u8,
}

impl CommandFeatures {
    /// An SMMU of stage 1 only and nothing else: the least that a guest can be given on iommufd.
    pub(crate) const STAGE_1: Self = Self {
        bits: Self::S1P,
        substream_bits: 0,
    };

    pub(super) const S1P: u16 = 1 << 0;
    pub(super) const S2P: u16 = 1 << 1;
    pub(super) const HYP: u16 = 1 << 2;
    pub(super) const ATS: u16 = 1 << 3;
    pub(super) const PRI: u16 = 1 << 4;
    pub(super) const STALL: u16 = 1 << 5;
    pub(super) const MPAM: u16 = 1 << 6;
    const ASID16: u16 = 1 << 7;
    const VMID16: u16 = 1 << 8;
    const MSI: u16 = 1 << 9;
    const SEV: u16 = 1 << 10;
    const TERM_MODEL: u16 = 1 << 11;
    const RIL: u16 = 1 << 12;
    const DS: u16 = 1 << 13;
    /// What no SMMU has.
    pub(super) const NEVER: u16 = 1 << 15;

    /// Whether it has all of these bits.
    pub(super) const fn has(&self, bits: u16) -> bool {
        bits & !self.bits == 0
    }
}

macro_rules! flags {
    ($($bit:ident $get:ident, $with:ident: $field:literal, $doc:literal;)*) => {
        impl CommandFeatures {
            $(
                #[doc = concat!("`", $field, "`: ", $doc)]
                #[must_use]
                pub(crate) const fn $get(&self) -> bool {
                    self.has(Self::$bit)
                }

                #[doc = concat!("With [`Self::", stringify!($get), "`] changed.")]
                #[must_use]
                pub(crate) const fn $with(mut self, value: bool) -> Self {
                    self.bits = if value {
                        self.bits | Self::$bit
                    } else {
                        self.bits & !Self::$bit
                    };
                    self
                }
            )*
        }

        impl fmt::Debug for CommandFeatures {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct("CommandFeatures")
                    $(.field(stringify!($get), &self.$get()))*
                    .field("substream_bits", &self.substream_bits)
                    .finish()
            }
        }
    };
}

flags! {
    S1P stage1, with_stage1: "SMMU_IDR0.S1P", "it has stage 1. Without, `CFGI_CD*` and `TLBI_NH_*` are illegal.";
    S2P stage2, with_stage2: "SMMU_IDR0.S2P", "it has stage 2. Without, `TLBI_S2_IPA` and `TLBI_S12_VMALL` are illegal, and no command has a VMID.";
    HYP hyp, with_hyp: "SMMU_IDR0.Hyp", "it has EL2 contexts. Without, `TLBI_EL2_*` are illegal.";
    ATS ats, with_ats: "SMMU_IDR0.ATS", "it has ATS. Without, `ATC_INV` is illegal.";
    ASID16 asid16, with_asid16: "SMMU_IDR0.ASID16", "an ASID has 16 bits. Without, it has 8, and the upper 8 of the field are ignored.";
    MSI msi, with_msi: "SMMU_IDR0.MSI", "it sends MSIs. Without, those of a `SYNC` are ignored.";
    SEV sev, with_sev: "SMMU_IDR0.SEV", "it sends events to the CPUs. Without, a `SYNC` that asks for one signals nothing.";
    PRI pri, with_pri: "SMMU_IDR0.PRI", "it has PRI. Without, `PRI_RESP` is illegal.";
    VMID16 vmid16, with_vmid16: "SMMU_IDR0.VMID16", "a VMID has 16 bits. Without, it has 8, and the upper 8 of the field are ignored.";
    STALL stall, with_stall: "SMMU_IDR0.STALL_MODEL != 0b01", "it stalls transactions. Without, `RESUME` and `STALL_TERM` are illegal.";
    TERM_MODEL term_model, with_term_model: "SMMU_IDR0.TERM_MODEL", "a terminated transaction always aborts. Then `RESUME.Ab` is ignored.";
    MPAM mpam, with_mpam: "SMMU_IDR3.MPAM", "it has MPAM. Without, `CFGI_VMS_PIDM` is illegal.";
    RIL ril, with_ril: "SMMU_IDR3.RIL", "`TLBI_*` by address take ranges and level hints. Without, those fields are ignored.";
    DS ds, with_ds: "SMMU_IDR5.DS", "it has 52-bit addresses in tables of 4 and 16 KiB: ranges have a scale of 6 bits, and level 1 of 16 KiB can be a hint.";
}

impl CommandFeatures {
    /// `SMMU_IDR1.SSIDSIZE`: how many bits a substream has. With 0 there are none: `SSV` counts
    /// as 0 and the substream of `CFGI_CD` as 0.
    #[must_use]
    pub(crate) const fn substream_bits(&self) -> u8 {
        self.substream_bits
    }

    /// With [`Self::substream_bits`] changed.
    #[must_use]
    pub(crate) const fn with_substream_bits(mut self, bits: u8) -> Self {
        self.substream_bits = bits;
        self
    }
}
