//! What the guest's tables say of an address space.

use vtd_types::{
    BadPasidEntry, Context, ContextTranslation, DomainId, FaultReason, FaultRecord, Features,
    NestedPasidEntry, NoPasidEntry, NotNested, Pasid, PasidDirectory, PasidDirectoryEntry,
    PasidEntry, SourceId,
};

use super::context::{fault, read};
use super::{GuestMemory, Place};

/// What the guest's tables say of an address space, as it was when it was last looked at: what a
/// hardware unit would have in its PASID cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Configuration {
    /// Nothing was read: nothing is translated, or the device has no number.
    Unread,
    /// A valid entry.
    Entry {
        /// The entry. One of legacy mode is not here: it is the device's context entry.
        entry: PasidEntry,
        /// What tags its translations.
        domain: DomainId,
        /// What it does, if there is anything that does it.
        place: Result<Place, NotNested>,
    },
    /// There is none, or a bad one: the guest is told of this fault.
    Bad(Option<FaultRecord>),
}

/// What the PASID directory says of 64 PASIDs.
pub(super) enum Table {
    /// There are entries, which are here.
    At(Box<[u8; Table::BYTES]>, FaultsDisabled),
    /// There are none.
    None(Option<FaultReason>),
}

/// Whether the faults of requests are not to be recorded, as an entry above says.
#[derive(Debug, Clone, Copy)]
pub(super) struct FaultsDisabled(bool);

impl Table {
    /// How many bytes the entries of 64 PASIDs have.
    const BYTES: usize = 64 * PasidEntry::BYTES;

    /// Reads the entries of 64 PASIDs, the first of which is `first`: at most two reads.
    pub(super) fn read(
        first: Pasid,
        directory: &PasidDirectory,
        memory: &(impl GuestMemory + ?Sized),
    ) -> Self {
        let Ok(lookup) = directory.locate(Some(first)) else {
            return Self::None(None);
        };
        let told = |reason: FaultReason, disabled: bool| (!disabled).then_some(reason);
        let Some(bytes) = read(memory, lookup.address()) else {
            return Self::None(told(FaultReason::Spd1, directory.faults_disabled));
        };
        let entry = PasidDirectoryEntry::from_bytes(&bytes);
        let disabled = directory.faults_disabled || entry.fpd();
        let address = match lookup.resolve(entry) {
            Ok(address) => address,
            Err(NoPasidEntry::NotPresent) => return Self::None(None),
            Err(bad) => return Self::None(told(bad.reason(), disabled)),
        };
        let mut table = Box::new([0; Self::BYTES]);
        match memory.read(address, &mut table[..]) {
            Ok(()) => Self::At(table, FaultsDisabled(disabled)),
            Err(_) => Self::None(told(FaultReason::Spt1, disabled)),
        }
    }

    /// Whether there is an entry for a PASID that is present.
    pub(super) fn has(&self, pasid: Pasid) -> bool {
        self.entry(pasid).is_some_and(|entry| entry.p())
    }

    /// The entry of a PASID.
    fn entry(&self, pasid: Pasid) -> Option<PasidEntry> {
        match self {
            Self::None(_) => None,
            Self::At(bytes, _) => {
                let (entries, _) = bytes.as_chunks();
                let index = (pasid.get() & 0x3f) as usize;
                entries.get(index).map(PasidEntry::from_bytes)
            }
        }
    }

    /// What it says of a PASID.
    pub(super) fn configuration(
        &self,
        pasid: Pasid,
        source: SourceId,
        features: &Features,
    ) -> Configuration {
        match self {
            Self::None(reason) => {
                Configuration::Bad(reason.map(|reason| fault(source, Some(pasid), reason)))
            }
            Self::At(_, disabled) => {
                let entry = self.entry(pasid).unwrap_or_default();
                Configuration::of(&entry, source, Some(pasid), *disabled, features)
            }
        }
    }
}

impl Configuration {
    /// Reads the entry for requests with `pasid`, or for those with none: at most two reads.
    pub(super) fn read(
        source: SourceId,
        pasid: Option<Pasid>,
        directory: &PasidDirectory,
        features: &Features,
        memory: &(impl GuestMemory + ?Sized),
    ) -> Self {
        let told = |reason: FaultReason, disabled: bool| {
            Self::Bad((!disabled).then(|| fault(source, pasid, reason)))
        };
        let disabled = directory.faults_disabled;
        let lookup = match directory.locate(pasid) {
            Ok(lookup) => lookup,
            Err(bad) => return told(bad.reason(), disabled),
        };
        let Some(bytes) = read(memory, lookup.address()) else {
            return told(FaultReason::Spd1, disabled);
        };
        let entry = PasidDirectoryEntry::from_bytes(&bytes);
        let disabled = disabled || entry.fpd();
        let address = match lookup.resolve(entry) {
            Ok(address) => address,
            Err(NoPasidEntry::NotPresent) => return Self::Bad(None),
            Err(bad) => return told(bad.reason(), disabled),
        };
        let Some(bytes) = read(memory, address) else {
            return told(FaultReason::Spt1, disabled);
        };
        let entry = PasidEntry::from_bytes(&bytes);
        Self::of(&entry, source, pasid, FaultsDisabled(disabled), features)
    }

    /// What an entry comes to.
    pub(super) fn of(
        entry: &PasidEntry,
        source: SourceId,
        pasid: Option<Pasid>,
        disabled: FaultsDisabled,
        features: &Features,
    ) -> Self {
        let place = match NestedPasidEntry::from_entry(entry, features) {
            Ok(nested) => Ok(Place::Translated(nested)),
            Err(NotNested::PassThrough) => Ok(Place::Bypass),
            // Nobody has asked for anything: a unit would tell nothing either.
            Err(NotNested::Bad(BadPasidEntry::NotPresent)) => return Self::Bad(None),
            Err(NotNested::Bad(_)) if disabled.0 || entry.fpd() => return Self::Bad(None),
            Err(NotNested::Bad(bad)) => {
                return Self::Bad(Some(fault(source, pasid, bad.reason())));
            }
            Err(why) => Err(why),
        };
        Self::Entry {
            entry: *entry,
            domain: entry.did(),
            place,
        }
    }

    /// The entry that was saved, if it is one that a relay saves.
    pub(super) fn saved(entry: &PasidEntry, source: SourceId, features: &Features) -> Option<Self> {
        let configuration = Self::of(entry, source, None, FaultsDisabled(true), features);
        matches!(configuration, Self::Entry { .. }).then_some(configuration)
    }

    /// What a context entry of legacy mode says of requests without a PASID.
    pub(super) fn legacy(context: &Context) -> Self {
        Self::Entry {
            entry: PasidEntry::default(),
            domain: context.domain,
            place: match context.translation {
                ContextTranslation::PassThrough => Ok(Place::Bypass),
                ContextTranslation::SecondStage { stage, .. } => Err(NotNested::SecondStage(stage)),
            },
        }
    }

    /// What becomes of the requests.
    pub(super) fn place(&self) -> Place {
        match self {
            Self::Unread | Self::Bad(_) | Self::Entry { place: Err(_), .. } => Place::Blocked,
            Self::Entry {
                place: Ok(place), ..
            } => *place,
        }
    }

    /// What tags the translations.
    pub(super) fn domain(&self) -> Option<DomainId> {
        match self {
            Self::Unread | Self::Bad(_) => None,
            Self::Entry { domain, .. } => Some(*domain),
        }
    }
}
