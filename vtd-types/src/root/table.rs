//! From the number of a requester to its context entry.

use crate::{
    FaultReason, Features, Gpa, HostAddressWidth, Reserved, RootEntry, Rtaddr, ScalableRootEntry,
    SourceId, TableMode,
};

/// The root table as the register describes it.
///
/// It reads no memory: [`Self::locate`] says what to read.
///
/// ```
/// use vtd_types::{
///     Capabilities, Features, Gpa, HostAddressWidth, RootLookup, RootTable, Rtaddr,
///     ScalableRootEntry, SourceId,
/// };
///
/// // Scalable mode: ECAP.SMTS, TTM 1.
/// let features = Features::new(Capabilities::from_bits(0, 1 << 43), HostAddressWidth::MAX)?;
/// let table = RootTable::from_register(Rtaddr::from_bits(0x4000_0400), &features)?;
/// // Bus 1, device 17, function 2.
/// let RootLookup::Scalable(lookup) = table.locate(SourceId::new(0x018a)) else {
///     panic!("scalable mode");
/// };
/// assert_eq!(lookup.address(), Gpa::new(0x4000_0010).expect("of 52 bits"));
/// // … read 16 bytes there …
/// let read = ScalableRootEntry::from_words([0, 0x5000_0001]);
/// let entry = lookup.resolve(read)?;
/// assert_eq!(entry, Gpa::new(0x5000_0140).expect("of 52 bits"));
/// // … read the 32 bytes of the context entry there.
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RootTable {
    base: Gpa,
    scalable: bool,
    width: HostAddressWidth,
}

/// There is no root table that says what becomes of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum BadRootTable {
    /// `RTADDR_REG.TTM` asks for all requests to be aborted. No fault is due.
    #[error("RTADDR_REG.TTM has all requests aborted")]
    Abort,
    /// `RTADDR_REG.TTM` is reserved.
    #[error(transparent)]
    Reserved(Reserved),
    /// `RTADDR_REG.TTM` asks for a mode that is not there: `ECAP_REG.SMTS` or `ECAP_REG.ADMS` is
    /// 0.
    #[error("RTADDR_REG.TTM asks for {0:?}, which is not there")]
    NoMode(TableMode),
    /// The table is beyond the host address width.
    #[error("RTADDR_REG.RTA {0} is beyond the host address width")]
    Address(Gpa),
}

impl BadRootTable {
    /// The fault that a request is blocked with. `None` where it is aborted silently.
    #[must_use]
    pub const fn reason(&self) -> Option<FaultReason> {
        match self {
            Self::Abort => None,
            Self::Reserved(_) | Self::NoMode(_) | Self::Address(_) => Some(FaultReason::Rta1),
        }
    }
}

/// A root entry says of no table of context entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum BadRootEntry {
    /// It is not present: `RE.P`, or `SMRE.LP` or `SMRE.UP` of the half that is looked at.
    #[error("the root entry is not present")]
    NotPresent,
    /// Bits are set that are reserved, in the word that is looked at.
    #[error("word {word} of the root entry has the reserved bits {bits:#x}")]
    Reserved {
        /// Which word, from 0.
        word: u8,
        /// Those bits.
        bits: u64,
    },
}

impl BadRootEntry {
    /// The fault that a request is blocked with, in legacy mode.
    #[must_use]
    pub const fn legacy_reason(&self) -> FaultReason {
        match self {
            Self::NotPresent => FaultReason::Lrt2,
            Self::Reserved { .. } => FaultReason::Lrt3,
        }
    }

    /// The fault that a request is blocked with, in scalable mode.
    #[must_use]
    pub const fn scalable_reason(&self) -> FaultReason {
        match self {
            Self::NotPresent => FaultReason::Srt2,
            Self::Reserved { .. } => FaultReason::Srt3,
        }
    }
}

/// The root entry to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub enum RootLookup {
    /// In legacy mode.
    Legacy(LegacyRootLookup),
    /// In scalable mode.
    Scalable(ScalableRootLookup),
}

/// A lookup that needs a [`RootEntry`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub struct LegacyRootLookup {
    source: SourceId,
    address: Gpa,
    width: HostAddressWidth,
}

/// A lookup that needs a [`ScalableRootEntry`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub struct ScalableRootLookup {
    source: SourceId,
    address: Gpa,
    width: HostAddressWidth,
}

impl RootTable {
    /// The table that the register describes (11.4.5).
    ///
    /// # Errors
    /// There is none: all requests are aborted, or blocked with a fault.
    pub const fn from_register(
        register: Rtaddr,
        features: &Features,
    ) -> Result<Self, BadRootTable> {
        let scalable = match register.ttm() {
            Ok(TableMode::Legacy) => false,
            Ok(TableMode::Scalable) if features.ecap().smts() => true,
            Ok(TableMode::Abort) if features.ecap().adms() => return Err(BadRootTable::Abort),
            Ok(mode) => return Err(BadRootTable::NoMode(mode)),
            Err(reserved) => return Err(BadRootTable::Reserved(reserved)),
        };
        let base = register.rta();
        let width = features.width();
        // Bits of the register above 51 are beyond any width.
        if register.bits() & width.beyond() != 0 {
            return Err(BadRootTable::Address(base));
        }
        Ok(Self {
            base,
            scalable,
            width,
        })
    }

    /// Where it is.
    #[must_use]
    pub const fn base(&self) -> Gpa {
        self.base
    }

    /// Whether it is of scalable mode.
    #[must_use]
    pub const fn is_scalable(&self) -> bool {
        self.scalable
    }

    /// The root entry of a requester's bus: 16 bytes (3.4.2, 3.4.3).
    ///
    /// A read that fails is [`FaultReason::Lrt1`] or [`FaultReason::Srt1`], which is for the
    /// caller to record.
    pub const fn locate(&self, source: SourceId) -> RootLookup {
        // The table is a page of 256 entries.
        let address = Gpa::masked(self.base.get() | (source.bus() as u64) << 4);
        let width = self.width;
        if self.scalable {
            RootLookup::Scalable(ScalableRootLookup {
                source,
                address,
                width,
            })
        } else {
            RootLookup::Legacy(LegacyRootLookup {
                source,
                address,
                width,
            })
        }
    }
}

/// Where a context entry is, if one word of a root entry says.
const fn context(
    words: [u64; 2],
    word: u8,
    offset: u64,
    width: HostAddressWidth,
) -> Result<Gpa, BadRootEntry> {
    let bits = words[(word & 1) as usize];
    if bits & 1 == 0 {
        return Err(BadRootEntry::NotPresent);
    }
    let reserved = bits & (0xffe | width.beyond());
    if reserved != 0 {
        return Err(BadRootEntry::Reserved {
            word,
            bits: reserved,
        });
    }
    Ok(Gpa::masked(bits & !0xfff | offset))
}

impl LegacyRootLookup {
    /// Where the 16 bytes of the [`RootEntry`] are.
    #[must_use]
    pub const fn address(&self) -> Gpa {
        self.address
    }

    /// Where the 16 bytes of the context entry are, with the root entry as it was read.
    ///
    /// A read there that fails is [`FaultReason::Lct1`], which is for the caller to record.
    ///
    /// # Errors
    /// The root entry has no table, or is malformed.
    pub const fn resolve(self, entry: RootEntry) -> Result<Gpa, BadRootEntry> {
        let words = entry.words();
        if entry.p() && words[1] != 0 {
            return Err(BadRootEntry::Reserved {
                word: 1,
                bits: words[1],
            });
        }
        context(words, 0, (self.source.devfn() as u64) << 4, self.width)
    }
}

impl ScalableRootLookup {
    /// Where the 16 bytes of the [`ScalableRootEntry`] are.
    #[must_use]
    pub const fn address(&self) -> Gpa {
        self.address
    }

    /// Where the 32 bytes of the context entry are, with the root entry as it was read.
    ///
    /// A read there that fails is [`FaultReason::Sct1`], which is for the caller to record.
    ///
    /// # Errors
    /// The root entry has no table for the device, or is malformed.
    pub const fn resolve(self, entry: ScalableRootEntry) -> Result<Gpa, BadRootEntry> {
        let devfn = self.source.devfn();
        let offset = ((devfn & 0x7f) as u64) << 5;
        context(entry.words(), devfn >> 7, offset, self.width)
    }
}
