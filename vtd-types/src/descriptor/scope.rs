//! What descriptors have forgotten.

use super::{FunctionMask, PageSelection};
use crate::{DomainId, Pasid, SourceId};

/// Which context entries are forgotten: `G` of `cc_inv_dsc`, bits 5:4 of the first word (6.5.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ContextCacheScope {
    /// All, `0b01`.
    Global,
    /// Those of a domain, `0b10`. In scalable mode, where they have none, all.
    Domain(DomainId),
    /// Those of some functions of a device, `0b11`.
    Device {
        /// `DID`, bits 31:16 of the first word. In scalable mode it is ignored.
        domain: DomainId,
        /// `SID`, bits 47:32 of the first word.
        source: SourceId,
        /// `FM`, bits 49:48 of the first word.
        functions: FunctionMask,
    },
}

/// Which PASID table entries are forgotten: `G` of `pc_inv_dsc`, bits 5:4 of the first word
/// (6.5.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PasidCacheScope {
    /// Those of a domain, `0b00`.
    Domain(DomainId),
    /// That of a PASID and domain, `0b01`.
    Pasid {
        /// `DID`, bits 31:16 of the first word.
        domain: DomainId,
        /// `PASID`, bits 51:32 of the first word.
        pasid: Pasid,
    },
    /// All, `0b11`.
    Global,
}

/// Which translations are forgotten: `G` of `iotlb_inv_dsc`, bits 5:4 of the first word (6.5.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IotlbScope {
    /// All, `0b01`.
    Global,
    /// Those of a domain, `0b10`.
    Domain(DomainId),
    /// Those of pages of a domain's second stage, `0b11`.
    Pages {
        /// `DID`, bits 31:16 of the first word.
        domain: DomainId,
        /// Which.
        pages: PageSelection,
    },
}
