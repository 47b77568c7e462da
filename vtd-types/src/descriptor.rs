//! Descriptors: what software puts into the invalidation queue (6.5.2, 7.6).

mod decode;
mod encode;
mod error;
mod features;
mod fields;
mod kind;
mod operand;
mod scope;
#[cfg(test)]
mod tests;
mod words;

pub use error::BadDescriptor;
pub use features::DescriptorFeatures;
pub use kind::DescriptorKind;
pub use operand::{
    AddressMask, DeviceTlbRange, FunctionMask, IndexMask, InterruptRange, PageSelection,
    StatusWrite,
};
pub use scope::{ContextCacheScope, IotlbScope, PasidCacheScope};
pub use words::DescriptorWords;

use crate::{DomainId, PageRequestGroup, PageResponse, Pasid, SourceId};

/// A descriptor of the invalidation queue, as what it means (6.5.2).
///
/// [`decode`](Self::decode) makes one of what a guest wrote; [`encode`](Self::encode) writes one.
/// Of a field that means nothing, as its condition is not met, nothing is kept: two descriptors
/// that mean the same are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Descriptor {
    /// `cc_inv_dsc` (6.5.2.1): forget context entries.
    ContextCache(ContextCacheScope),
    /// `pc_inv_dsc` (6.5.2.2): forget PASID table and directory entries. In scalable mode.
    PasidCache(PasidCacheScope),
    /// `iotlb_inv_dsc` (6.5.2.3): forget translations.
    Iotlb {
        /// Which.
        scope: IotlbScope,
        /// `DR`, bit 7 of the first word: wait for reads that are under way.
        drain_reads: bool,
        /// `DW`, bit 6 of the first word: wait for writes that are under way.
        drain_writes: bool,
    },
    /// `p_iotlb_inv_dsc` (6.5.2.4): forget translations of a PASID, of the first stage or of both.
    /// In scalable mode.
    PasidIotlb {
        /// `DID`, bits 31:16 of the first word.
        domain: DomainId,
        /// `PASID`, bits 51:32 of the first word.
        pasid: Pasid,
        /// Those of these pages, with `G`, bits 5:4 of the first word, `0b11`. All that are not
        /// global with `0b10`.
        pages: Option<PageSelection>,
    },
    /// `dev_tlb_inv_dsc` (6.5.2.5): have a device forget translations without a PASID.
    DeviceTlb {
        /// `SID`, bits 47:32 of the first word: the device.
        source: SourceId,
        /// `PFSID`, bits 63:52 and 15:12 of the first word: its physical function. Where there is
        /// `ECAP_REG.DIT`.
        physical_function: SourceId,
        /// `MIP`, bits 20:16 of the first word: how many invalidations the device can have under
        /// way, of which 0 is 32.
        max_pending: u8,
        /// `ADDR` and `S`, bits 63:12 and 0 of the second word.
        range: DeviceTlbRange,
    },
    /// `p_dev_tlb_inv_dsc` (6.5.2.6): have a device forget translations with a PASID. In scalable
    /// mode.
    PasidDeviceTlb {
        /// `SID`, bits 31:16 of the first word: the device.
        source: SourceId,
        /// `PFSID`, bits 63:52 and 15:12 of the first word: its physical function. Where there is
        /// `ECAP_REG.DIT`.
        physical_function: SourceId,
        /// `MIP`, bits 8:4 of the first word: how many invalidations the device can have under
        /// way, of which 0 is 32.
        max_pending: u8,
        /// `PASID`, bits 51:32 of the first word, unless `G`, bit 0 of the second word, is 1: then
        /// those of all PASIDs.
        pasid: Option<Pasid>,
        /// `ADDR` and `S`, bits 63:12 and 11 of the second word.
        range: DeviceTlbRange,
    },
    /// `iec_inv_dsc` (6.5.2.7): forget entries of the interrupt remapping table. These, with `G`,
    /// bit 4 of the first word, 1, or all.
    InterruptEntryCache(Option<InterruptRange>),
    /// `inv_wait_dsc` (6.5.2.8): complete when all descriptors before it are.
    Wait {
        /// `IF`, bit 4 of the first word: set `ICS_REG.IWC`, and send an interrupt.
        interrupt: bool,
        /// Write this to memory, with `SW`, bit 5 of the first word, 1.
        status: Option<StatusWrite>,
        /// `FN`, bit 6 of the first word: begin none that comes after before it is complete.
        fence: bool,
        /// `PD`, bit 7 of the first word: wait for page requests and their answers also. Where
        /// there is `ECAP_REG.PDS`.
        drain_page_requests: bool,
    },
    /// `page_grp_resp_dsc` (7.6): answer a page request group. In scalable mode.
    ///
    /// Bit 2 of the second word was `LPIG` up to revision 3 of the document. Linux set it up to
    /// 6.17, and hardware ignores it: so does this.
    PageGroupResponse {
        /// `RID`, bits 31:16 of the first word: the device.
        source: SourceId,
        /// `PASID`, bits 51:32 of the first word, if `PP`, bit 4, is 1.
        pasid: Option<Pasid>,
        /// `PRGI`, bits 11:3 of the second word.
        group: PageRequestGroup,
        /// `RC`, bits 15:12 of the first word.
        response: PageResponse,
    },
}

impl Descriptor {
    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> DescriptorKind {
        match self {
            Self::ContextCache(_) => DescriptorKind::ContextCache,
            Self::PasidCache(_) => DescriptorKind::PasidCache,
            Self::Iotlb { .. } => DescriptorKind::Iotlb,
            Self::PasidIotlb { .. } => DescriptorKind::PasidIotlb,
            Self::DeviceTlb { .. } => DescriptorKind::DeviceTlb,
            Self::PasidDeviceTlb { .. } => DescriptorKind::PasidDeviceTlb,
            Self::InterruptEntryCache(_) => DescriptorKind::InterruptEntryCache,
            Self::Wait { .. } => DescriptorKind::Wait,
            Self::PageGroupResponse { .. } => DescriptorKind::PageGroupResponse,
        }
    }
}
