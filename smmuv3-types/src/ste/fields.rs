//! What the fields of an entry can hold.

use hardware_records::encoding;

encoding! {
    /// What is done with a stream: `STE.Config` (5.2). `0b001` to `0b011` are reserved and behave
    /// as [`Abort`](Self::Abort).
    pub enum StreamConfig {
        /// Transactions are aborted, and no event is recorded.
        Abort = 0b000,
        /// Neither stage translates.
        Bypass = 0b100,
        /// Stage 1 translates.
        Stage1 = 0b101,
        /// Stage 2 translates.
        Stage2 = 0b110,
        /// Both translate.
        Nested = 0b111,
    }
}

impl StreamConfig {
    /// Whether stage 1 translates.
    #[must_use]
    pub const fn has_stage1(self) -> bool {
        matches!(self, Self::Stage1 | Self::Nested)
    }

    /// Whether stage 2 translates.
    #[must_use]
    pub const fn has_stage2(self) -> bool {
        matches!(self, Self::Stage2 | Self::Nested)
    }
}

encoding! {
    total
    /// What a device may do by PCI Express's ATS: `STE.EATS` (5.2).
    pub enum AtsMode {
        /// Translation requests are answered with Unsupported Request.
        Off = 0b00,
        /// Translation requests are answered with the address after all stages.
        Full = 0b01,
        /// Translation requests are answered with the address after stage 1.
        SplitStage = 0b10;
        /// As full, with checks by the device permission table. Behaves as off where
        /// `SMMU_IDR3.DPT` is 0.
        FullChecked = 0b11,
    }
}

encoding! {
    total
    /// A shareability, or that of the transaction: `STE.SHCFG` (5.2), `SMMU_GBPA.SHCFG` (6.3.14).
    pub enum ShareabilityOverride {
        /// Not shareable.
        NonShareable = 0b00,
        /// That of the transaction.
        Incoming = 0b01,
        /// Outer shareable.
        Outer = 0b10;
        /// Inner shareable.
        Inner = 0b11,
    }
}

encoding! {
    /// An attribute of a transaction that is one of two things, replaced or not: privileged or
    /// not (`PRIVCFG`), instruction or data (`INSTCFG`), non-secure or not (`NSCFG`), of an STE
    /// (5.2) or of `SMMU_GBPA` (6.3.14). `0b01` is reserved and behaves as
    /// [`Incoming`](Self::Incoming).
    pub enum IncomingOverride {
        /// That of the transaction.
        Incoming = 0b00,
        /// Unprivileged, data, secure.
        Clear = 0b10,
        /// Privileged, instruction, non-secure.
        Set = 0b11,
    }
}

/// Hints for caches: `STE.ALLOCCFG` (5.2), `SMMU_GBPA.ALLOCCFG` (6.3.14).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AllocationHints {
    /// Those of the transaction: `0b0xxx`.
    Incoming,
    /// These in their place: `0b1RWT`.
    Override {
        /// Allocate on reads.
        read: bool,
        /// Allocate on writes.
        write: bool,
        /// What is allocated is needed for a short time.
        transient: bool,
    },
}

impl AllocationHints {
    pub(crate) const fn decode_total(bits: u64) -> Self {
        if bits & 0b1000 == 0 {
            return Self::Incoming;
        }
        Self::Override {
            read: bits & 0b100 != 0,
            write: bits & 0b010 != 0,
            transient: bits & 0b001 != 0,
        }
    }

    /// The encoding.
    #[must_use]
    pub const fn bits(self) -> u8 {
        match self {
            Self::Incoming => 0,
            Self::Override {
                read,
                write,
                transient,
            } => 0b1000 | (read as u8) << 2 | (write as u8) << 1 | transient as u8,
        }
    }
}
