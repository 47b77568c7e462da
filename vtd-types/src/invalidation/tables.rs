//! Which tables a descriptor is about.

use crate::{
    ContextCacheScope, Descriptor, DomainId, FunctionMask, IotlbScope, Pasid, PasidCacheScope,
    SourceId,
};

/// Which of a guest's tables a descriptor is about: those whose PASID table entries have this
/// domain, and are of this PASID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TableScope {
    /// All.
    All,
    /// Those of a domain.
    Domain(DomainId),
    /// Those of a domain and a PASID.
    Pasid {
        /// The domain.
        domain: DomainId,
        /// The PASID.
        pasid: Pasid,
    },
    /// Those of some functions of a device.
    Device {
        /// One of them.
        source: SourceId,
        /// Which bits of it are not looked at.
        functions: FunctionMask,
    },
}

impl TableScope {
    /// Whether a table is one of these, that is of this domain and PASID, for a device.
    #[must_use]
    pub const fn contains(&self, source: SourceId, domain: DomainId, pasid: Pasid) -> bool {
        match *self {
            Self::All => true,
            Self::Domain(of) => of.get() == domain.get(),
            Self::Pasid {
                domain: of,
                pasid: number,
            } => of.get() == domain.get() && number.get() == pasid.get(),
            Self::Device {
                source: of,
                functions,
            } => functions.matches(of, source),
        }
    }
}

impl Descriptor {
    /// The tables that it is about. `None` for one that is about no table of the guest's: for
    /// device-TLBs, interrupts, waits and answers.
    ///
    /// Of a `cc_inv_dsc` of a domain these are all: in scalable mode a context entry has none.
    #[must_use]
    pub const fn tables(&self) -> Option<TableScope> {
        Some(match *self {
            Self::ContextCache(ContextCacheScope::Global | ContextCacheScope::Domain(_))
            | Self::PasidCache(PasidCacheScope::Global)
            | Self::Iotlb {
                scope: IotlbScope::Global,
                ..
            } => TableScope::All,
            Self::ContextCache(ContextCacheScope::Device {
                source, functions, ..
            }) => TableScope::Device { source, functions },
            Self::PasidCache(PasidCacheScope::Domain(domain))
            | Self::Iotlb {
                scope: IotlbScope::Domain(domain) | IotlbScope::Pages { domain, .. },
                ..
            } => TableScope::Domain(domain),
            Self::PasidCache(PasidCacheScope::Pasid { domain, pasid })
            | Self::PasidIotlb { domain, pasid, .. } => TableScope::Pasid { domain, pasid },
            Self::DeviceTlb { .. }
            | Self::PasidDeviceTlb { .. }
            | Self::InterruptEntryCache(_)
            | Self::Wait { .. }
            | Self::PageGroupResponse { .. } => return None,
        })
    }
}
