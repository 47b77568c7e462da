//! Where the fields of descriptors are.

use crate::field::Field;
use crate::{DescriptorKind, DomainId, Pasid, SourceId};

/// The low bits of the type, first word.
pub(super) const TYPE_LOW: Field = Field::new(3, 0);
/// The high bits of the type, first word.
pub(super) const TYPE_HIGH: Field = Field::new(11, 9);
/// `G` of all but those of devices and interrupts, first word.
pub(super) const GRANULARITY: Field = Field::new(5, 4);
/// `DID`, first word.
pub(super) const DOMAIN: Field = Field::new(31, 16);
/// `PASID`, first word.
pub(super) const PASID: Field = Field::new(51, 32);
/// An address of a page, second word.
pub(super) const ADDRESS: Field = Field::new(63, 12);
/// `AM` of `iotlb_inv_dsc` and `p_iotlb_inv_dsc`, second word.
pub(super) const MASK: Field = Field::new(5, 0);
/// `IH` of `iotlb_inv_dsc` and `p_iotlb_inv_dsc`, second word.
pub(super) const HINT: Field = Field::bit(6);

/// `SID` of `cc_inv_dsc` and `dev_tlb_inv_dsc`, first word.
pub(super) const HIGH_SOURCE: Field = Field::new(47, 32);
/// `SID` of `p_dev_tlb_inv_dsc`, `RID` of `page_grp_resp_dsc`, first word.
pub(super) const LOW_SOURCE: Field = Field::new(31, 16);
/// `FM` of `cc_inv_dsc`, first word.
pub(super) const FUNCTION_MASK: Field = Field::new(49, 48);

/// `DW` of `iotlb_inv_dsc`, first word.
pub(super) const DRAIN_WRITES: Field = Field::bit(6);
/// `DR` of `iotlb_inv_dsc`, first word.
pub(super) const DRAIN_READS: Field = Field::bit(7);

/// `PFSID`, bits 3:0, first word.
pub(super) const PF_LOW: Field = Field::new(15, 12);
/// `PFSID`, bits 15:4, first word.
pub(super) const PF_HIGH: Field = Field::new(63, 52);
/// `MIP` of `dev_tlb_inv_dsc`, first word.
pub(super) const MIP: Field = Field::new(20, 16);
/// `MIP` of `p_dev_tlb_inv_dsc`, first word.
pub(super) const PASID_MIP: Field = Field::new(8, 4);
/// `S` of `dev_tlb_inv_dsc`, second word.
pub(super) const SIZE: Field = Field::bit(0);
/// `S` of `p_dev_tlb_inv_dsc`, second word.
pub(super) const PASID_SIZE: Field = Field::bit(11);
/// `G` of `p_dev_tlb_inv_dsc`, second word.
pub(super) const ALL_PASIDS: Field = Field::bit(0);

/// `G` of `iec_inv_dsc`, first word.
pub(super) const SELECTIVE: Field = Field::bit(4);
/// `IM` of `iec_inv_dsc`, first word.
pub(super) const INDEX_MASK: Field = Field::new(31, 27);
/// `IIDX` of `iec_inv_dsc`, first word.
pub(super) const INDEX: Field = Field::new(47, 32);

/// `IF` of `inv_wait_dsc`, first word.
pub(super) const INTERRUPT: Field = Field::bit(4);
/// `SW` of `inv_wait_dsc`, first word.
pub(super) const STATUS_WRITE: Field = Field::bit(5);
/// `FN` of `inv_wait_dsc`, first word.
pub(super) const FENCE: Field = Field::bit(6);
/// `PD` of `inv_wait_dsc`, first word.
pub(super) const DRAIN_PAGE_REQUESTS: Field = Field::bit(7);
/// Status data of `inv_wait_dsc`, first word.
pub(super) const STATUS_DATA: Field = Field::new(63, 32);
/// Status address of `inv_wait_dsc`, second word.
pub(super) const STATUS_ADDRESS: Field = Field::new(63, 2);

/// `PP` of `page_grp_resp_dsc`, first word.
pub(super) const PASID_PRESENT: Field = Field::bit(4);
/// `RC` of `page_grp_resp_dsc`, first word.
pub(super) const RESPONSE: Field = Field::new(15, 12);
/// `LPIG` of `page_grp_resp_dsc` once, second word.
const OLD_LAST: Field = Field::bit(2);
/// `PRGI` of `page_grp_resp_dsc`, second word.
pub(super) const GROUP: Field = Field::new(11, 3);

const TYPE: u64 = TYPE_LOW.mask() | TYPE_HIGH.mask();

/// The bits of the first two words that a descriptor of this kind can have. All of the others are
/// reserved.
pub(super) const fn allowed(kind: DescriptorKind) -> [u64; 2] {
    let [first, second] = match kind {
        DescriptorKind::ContextCache => [
            GRANULARITY.mask() | DOMAIN.mask() | HIGH_SOURCE.mask() | FUNCTION_MASK.mask(),
            0,
        ],
        DescriptorKind::PasidCache => [GRANULARITY.mask() | DOMAIN.mask() | PASID.mask(), 0],
        DescriptorKind::Iotlb => [
            GRANULARITY.mask() | DRAIN_WRITES.mask() | DRAIN_READS.mask() | DOMAIN.mask(),
            MASK.mask() | HINT.mask() | ADDRESS.mask(),
        ],
        DescriptorKind::PasidIotlb => [
            GRANULARITY.mask() | DOMAIN.mask() | PASID.mask(),
            MASK.mask() | HINT.mask() | ADDRESS.mask(),
        ],
        DescriptorKind::DeviceTlb => [
            PF_LOW.mask() | PF_HIGH.mask() | MIP.mask() | HIGH_SOURCE.mask(),
            SIZE.mask() | ADDRESS.mask(),
        ],
        DescriptorKind::PasidDeviceTlb => [
            PF_LOW.mask() | PF_HIGH.mask() | PASID_MIP.mask() | LOW_SOURCE.mask() | PASID.mask(),
            ALL_PASIDS.mask() | PASID_SIZE.mask() | ADDRESS.mask(),
        ],
        DescriptorKind::InterruptEntryCache => {
            [SELECTIVE.mask() | INDEX_MASK.mask() | INDEX.mask(), 0]
        }
        DescriptorKind::Wait => [
            INTERRUPT.mask()
                | STATUS_WRITE.mask()
                | FENCE.mask()
                | DRAIN_PAGE_REQUESTS.mask()
                | STATUS_DATA.mask(),
            STATUS_ADDRESS.mask(),
        ],
        DescriptorKind::PageGroupResponse => [
            PASID_PRESENT.mask() | RESPONSE.mask() | LOW_SOURCE.mask() | PASID.mask(),
            OLD_LAST.mask() | GROUP.mask(),
        ],
    };
    [first | TYPE, second]
}

/// The number of the type that a first word has.
pub(super) const fn kind(word: u64) -> u8 {
    (TYPE_HIGH.get(word) << 4 | TYPE_LOW.get(word)) as u8
}

/// A first word of this kind, with nothing else.
pub(super) const fn first_word(kind: DescriptorKind) -> u64 {
    // No number has more than four bits.
    TYPE_LOW.put(0, kind.number() as u64)
}

/// The domain that a first word names.
pub(super) const fn domain(word: u64) -> DomainId {
    DomainId::new(DOMAIN.get(word) as u16)
}

/// The PASID that a first word names.
pub(super) const fn pasid(word: u64) -> Pasid {
    Pasid::masked(PASID.get(word))
}

/// The requester in this field of a first word.
pub(super) const fn source(word: u64, field: Field) -> SourceId {
    SourceId::new(field.get(word) as u16)
}

/// The physical function that a first word names.
pub(super) const fn physical_function(word: u64) -> SourceId {
    SourceId::new((PF_HIGH.get(word) << 4 | PF_LOW.get(word)) as u16)
}

/// `word` with the physical function in its place.
pub(super) const fn with_physical_function(word: u64, function: SourceId) -> u64 {
    let number = function.get() as u64;
    PF_HIGH.put(PF_LOW.put(word, number), number >> 4)
}
