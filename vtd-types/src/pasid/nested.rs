//! The part of a PASID table entry that a guest may choose.

use core::fmt;

use zerocopy::little_endian::{U32, U64};
use zerocopy::{Immutable, IntoBytes, KnownLayout};

use super::{BadPasidEntry, FirstStageLevels, PasidConfig, PasidEntry};
use crate::{Features, FirstStage, Gpa, SecondStage};

/// The part of a PASID table entry that iommufd takes for a nested table: `struct
/// iommu_hwpt_vtd_s1`, as the bytes that the kernel reads.
///
/// The kernel looks at almost nothing of it when the table is made: a flag or a width that the
/// hardware has not is refused only when a device is attached (EINVAL), and an unknown flag never.
/// This type is made from what the specification lets a guest write, and holds nothing that is
/// refused or passed over.
///
/// # Invariants
/// Only `SRE`, `EAFE` and `WPE` can be set of the flags, and `WPE` not without `SRE`, without which
/// it has no meaning and the kernel drops it. The table is of 52 bits and aligned to 4 KiB. The
/// width is 48 or 57. What is reserved is 0.
#[doc(alias = "iommu_hwpt_vtd_s1")]
#[derive(Clone, Copy, PartialEq, Eq, Hash, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct NestedPasidEntry {
    flags: U64,
    pgtbl_addr: U64,
    addr_width: U32,
    reserved: U32,
}

/// A guest's PASID table entry is nothing that a nested table does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum NotNested {
    /// It is not valid. Requests are to be blocked, and for each the guest is owed the fault of
    /// [`BadPasidEntry::reason`]. The kernel reports none: the VMM makes it, if it learns of it.
    #[error(transparent)]
    Bad(#[from] BadPasidEntry),
    /// Requests are to go through untranslated: the device is attached to the nesting parent.
    #[error("PASIDTE.PGTT is pass-through: the nesting parent does it")]
    PassThrough,
    /// The second stage translates. The VMM walks the table, and maps what it finds in a table of
    /// its own.
    #[error("PASIDTE.PGTT is of the second stage, which is the VMM's to emulate")]
    SecondStage(SecondStage),
    /// Both stages translate. Nothing can run it: the VMM must not offer `ECAP_REG.NEST`.
    #[error("PASIDTE.PGTT is nested: the hardware has no third stage")]
    Nested,
    /// The field asks for what the kernel takes no word for. The VMM must not offer what it needs:
    /// see [`HostCapabilities::offer`](crate::HostCapabilities::offer).
    #[error("{0} is set, which a nested table has no field for")]
    NotCarried(&'static str),
}

impl NestedPasidEntry {
    /// `IOMMU_VTD_S1_SRE`: requests of the supervisor are allowed.
    pub const SRE: u64 = 1 << 0;
    /// `IOMMU_VTD_S1_EAFE`: extended accessed flags are set.
    pub const EAFE: u64 = 1 << 1;
    /// `IOMMU_VTD_S1_WPE`: the supervisor cannot write what is read only.
    pub const WPE: u64 = 1 << 2;

    /// The first stage `stage`. The low 12 bits of its table are taken for 0, as hardware does.
    ///
    /// # Errors
    /// It asks for what a nested table has no field for: [`NotNested::NotCarried`].
    pub const fn new(stage: &FirstStage) -> Result<Self, NotNested> {
        if stage.execute {
            return Err(NotNested::NotCarried("PASIDTE.ERE"));
        }
        // Without requests to execute, NXE and SMEP have no meaning.
        let mut flags = 0;
        if stage.supervisor {
            flags |= Self::SRE;
            if stage.write_protect {
                flags |= Self::WPE;
            }
        }
        if stage.extended_accessed {
            flags |= Self::EAFE;
        }
        Ok(Self {
            flags: U64::new(flags),
            pgtbl_addr: U64::new(stage.table.get() & !0xfff),
            addr_width: U32::new(stage.levels.bits_of_address()),
            reserved: U32::new(0),
        })
    }

    /// What the kernel takes for a guest's entry, on a unit that offers the guest these features.
    ///
    /// `DID`, `FPD`, `PWSNP` and fields of the second stage are dropped: the kernel has its own.
    ///
    /// # Errors
    /// The entry is not one of the first stage alone, or asks for what cannot be said to the
    /// kernel. The error says what the VMM is to do.
    ///
    /// ```
    /// use vtd_types::{Capabilities, Features, HostAddressWidth, NestedPasidEntry, PasidEntry};
    ///
    /// // CAP: FS5LP. ECAP: FSTS, SMTS, EAFS, SRS.
    /// let capabilities = Capabilities::from_bits(1 << 60, 1 << 47 | 1 << 43 | 1 << 34 | 1 << 31);
    /// let features = Features::new(capabilities, HostAddressWidth::MAX)?;
    /// // PGTT 1; SRE, FSPM 1, WPE.
    /// let entry = PasidEntry::from_words([0x41, 5, 0x1234_5015, 0, 0, 0, 0, 0]);
    /// let nested = NestedPasidEntry::from_entry(&entry, &features)?;
    /// assert_eq!(nested.flags(), NestedPasidEntry::SRE | NestedPasidEntry::WPE);
    /// assert_eq!((nested.table().get(), nested.address_width()), (0x1234_5000, 57));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn from_entry(entry: &PasidEntry, features: &Features) -> Result<Self, NotNested> {
        let stage = match entry.decode(features)?.config {
            PasidConfig::FirstStage(stage) => stage,
            PasidConfig::SecondStage(stage) => return Err(NotNested::SecondStage(stage)),
            PasidConfig::Nested(..) => return Err(NotNested::Nested),
            PasidConfig::PassThrough => return Err(NotNested::PassThrough),
        };
        for (set, field) in [
            (entry.pgsnp(), "PASIDTE.PGSNP"),
            (entry.cd(), "PASIDTE.CD"),
            (entry.pwt(), "PASIDTE.PWT"),
            (entry.pcd(), "PASIDTE.PCD"),
            (entry.pat() != 0, "PASIDTE.PAT"),
        ] {
            if set {
                return Err(NotNested::NotCarried(field));
            }
        }
        Self::new(&stage)
    }

    /// The flags: [`Self::SRE`], [`Self::EAFE`] and [`Self::WPE`].
    #[must_use]
    pub const fn flags(&self) -> u64 {
        self.flags.get()
    }

    /// Where the first-stage table is, in the guest's memory: `pgtbl_addr`.
    #[must_use]
    pub const fn table(&self) -> Gpa {
        Gpa::masked(self.pgtbl_addr.get())
    }

    /// How many bits of an address the table takes, 48 or 57: `addr_width`.
    #[must_use]
    pub const fn address_width(&self) -> u32 {
        self.addr_width.get()
    }

    /// How many levels the table has.
    #[must_use]
    pub const fn levels(&self) -> FirstStageLevels {
        match self.address_width() {
            57 => FirstStageLevels::Five,
            _ => FirstStageLevels::Four,
        }
    }

    /// Whether requests of the supervisor are allowed.
    #[must_use]
    pub const fn supervisor(&self) -> bool {
        self.flags() & Self::SRE != 0
    }

    /// Whether extended accessed flags are set.
    #[must_use]
    pub const fn extended_accessed(&self) -> bool {
        self.flags() & Self::EAFE != 0
    }

    /// Whether the supervisor cannot write what is read only.
    #[must_use]
    pub const fn write_protect(&self) -> bool {
        self.flags() & Self::WPE != 0
    }
}

impl fmt::Debug for NestedPasidEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NestedPasidEntry")
            .field("table", &self.table())
            .field("levels", &self.levels())
            .field("supervisor", &self.supervisor())
            .field("write_protect", &self.write_protect())
            .field("extended_accessed", &self.extended_accessed())
            .finish()
    }
}
