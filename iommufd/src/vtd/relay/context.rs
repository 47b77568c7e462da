//! What the guest's root and context tables say of a device.

use vtd_types::{
    AddressType, BadContextEntry, BadRootEntry, BadRootTable, BadScalableContextEntry, Context,
    ContextEntry, Fault, FaultReason, FaultRecord, Features, Gpa, InputAddress, Pasid,
    PasidDirectory, RequestFault, RequestKind, RootEntry, RootLookup, RootTable, Rtaddr,
    ScalableContextEntry, ScalableRootEntry, SourceId,
};

use super::{GuestMemory, Unreadable};

/// The context entry of a device, as it was when it was last looked at: what a hardware unit would
/// have in its context cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DeviceContext {
    /// Nothing was read, or there is none that is valid.
    None,
    /// One of legacy mode, which is valid.
    Legacy(ContextEntry, Context),
    /// One of scalable mode, which is valid.
    Scalable(ScalableContextEntry, PasidDirectory),
}

/// Why there is no entry: with the fault that the guest is told, if a unit would tell it.
pub(super) type NoEntry = Option<FaultRecord>;

impl DeviceContext {
    /// Reads the context entry of `source`: at most two reads.
    pub(super) fn read(
        source: SourceId,
        register: Rtaddr,
        features: &Features,
        memory: &(impl GuestMemory + ?Sized),
    ) -> Result<Self, NoEntry> {
        let told = |reason| Some(fault(source, None, reason));
        let table = RootTable::from_register(register, features)
            .map_err(|bad: BadRootTable| bad.reason().and_then(told))?;
        match table.locate(source) {
            RootLookup::Legacy(lookup) => {
                let bytes = read(memory, lookup.address()).ok_or(told(FaultReason::Lrt1))?;
                let address =
                    lookup
                        .resolve(RootEntry::from_bytes(&bytes))
                        .map_err(|bad| match bad {
                            BadRootEntry::NotPresent => None,
                            BadRootEntry::Reserved { .. } => told(bad.legacy_reason()),
                        })?;
                let bytes = read(memory, address).ok_or(told(FaultReason::Lct1))?;
                Self::legacy(ContextEntry::from_bytes(&bytes), source, features)
            }
            RootLookup::Scalable(lookup) => {
                let bytes = read(memory, lookup.address()).ok_or(told(FaultReason::Srt1))?;
                let address = lookup
                    .resolve(ScalableRootEntry::from_bytes(&bytes))
                    .map_err(|bad| match bad {
                        BadRootEntry::NotPresent => None,
                        BadRootEntry::Reserved { .. } => told(bad.scalable_reason()),
                    })?;
                let bytes = read(memory, address).ok_or(told(FaultReason::Sct1))?;
                Self::scalable(ScalableContextEntry::from_bytes(&bytes), source, features)
            }
        }
    }

    /// What an entry of legacy mode comes to.
    pub(super) fn legacy(
        entry: ContextEntry,
        source: SourceId,
        features: &Features,
    ) -> Result<Self, NoEntry> {
        match entry.decode(features) {
            Ok(context) => Ok(Self::Legacy(entry, context)),
            Err(BadContextEntry::NotPresent) => Err(None),
            Err(_) if entry.fpd() => Err(None),
            Err(bad) => Err(Some(fault(source, None, bad.reason()))),
        }
    }

    /// What an entry of scalable mode comes to.
    pub(super) fn scalable(
        entry: ScalableContextEntry,
        source: SourceId,
        features: &Features,
    ) -> Result<Self, NoEntry> {
        match entry.decode(features) {
            Ok(directory) => Ok(Self::Scalable(entry, directory)),
            Err(BadScalableContextEntry::NotPresent) => Err(None),
            Err(_) if entry.fpd() => Err(None),
            Err(bad) => Err(Some(fault(source, None, bad.reason()))),
        }
    }

    /// Where the PASID directory is, if there is one.
    pub(super) fn directory(&self) -> Option<&PasidDirectory> {
        match self {
            Self::None | Self::Legacy(..) => None,
            Self::Scalable(_, directory) => Some(directory),
        }
    }
}

/// The fault that tells of a table. Nobody has seen the request: the record says that it read
/// address 0.
pub(super) fn fault(source: SourceId, pasid: Option<Pasid>, reason: FaultReason) -> FaultRecord {
    Fault::Request(RequestFault {
        reason,
        source,
        pasid,
        address: InputAddress::new(0),
        address_type: AddressType::Untranslated,
        kind: RequestKind::Read,
        execute: false,
        privileged: false,
    })
    .encode()
}

/// So many bytes of the guest's memory, if there are any.
pub(super) fn read<const N: usize>(
    memory: &(impl GuestMemory + ?Sized),
    address: Gpa,
) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    match memory.read(address, &mut bytes) {
        Ok(()) => Some(bytes),
        Err(Unreadable) => None,
    }
}
