//! Where the fields of commands are. Those that events have too are in `entry`.

use hardware_records::Field;

use crate::{InputAddress, Ipa};

/// `VMID` of the first word (4.4).
pub(crate) const VMID: Field = Field::new(47, 32);
/// `ASID` of the first word (4.4).
pub(crate) const ASID: Field = Field::new(63, 48);
/// `Leaf` of the second word (4.3, 4.4).
pub(crate) const LEAF: Field = Field::bit(0);
/// `Range` of `CFGI_STE_RANGE`, second word (4.3.2).
pub(crate) const STREAM_RANGE: Field = Field::new(4, 0);
/// An address as a device gives it, second word: bits 11:0 count as 0 (4.1.6).
pub(crate) const VA: Field = Field::new(63, 12);
/// An intermediate physical address, second word (4.1.6).
pub(crate) const IPA: Field = Field::new(51, 12);
/// `Size` of `PREFETCH_ADDR`, second word (4.2.2).
pub(crate) const PREFETCH_SIZE: Field = Field::new(4, 0);

/// `Global` of `ATC_INV`, first word (4.5.1).
pub(crate) const ATC_GLOBAL: Field = Field::bit(9);
/// `Size` of `ATC_INV`, second word (4.5.1).
pub(crate) const ATC_SIZE: Field = Field::new(5, 0);

/// `PRGIndex` of `PRI_RESP`, second word (4.5.2).
pub(crate) const PRG_INDEX: Field = Field::new(8, 0);
/// `Resp` of `PRI_RESP`, second word (4.5.2).
pub(crate) const PRI_RESP: Field = Field::new(13, 12);

/// `Ac` of `RESUME`, first word (4.7.1).
pub(crate) const RESUME_AC: Field = Field::bit(12);
/// `Ab` of `RESUME`, first word (4.7.1).
pub(crate) const RESUME_AB: Field = Field::bit(13);
/// `STAG` of `RESUME`, second word (4.7.1).
pub(crate) const STAG: Field = Field::new(15, 0);

/// `CS` of `SYNC`, first word (4.7.3).
pub(crate) const SYNC_CS: Field = Field::new(13, 12);
/// `MSH` of `SYNC`, first word (4.7.3).
pub(crate) const SYNC_MSH: Field = Field::new(23, 22);
/// `MSIAttr` of `SYNC`, first word (4.7.3).
pub(crate) const SYNC_MSI_ATTR: Field = Field::new(27, 24);
/// `MSIData` of `SYNC`, first word (4.7.3).
pub(crate) const SYNC_MSI_DATA: Field = Field::new(63, 32);
/// `MSIAddress` of `SYNC`, second word (4.7.3).
pub(crate) const SYNC_MSI_ADDRESS: Field = Field::new(51, 2);

/// The address in the second word.
pub(crate) const fn address(word: u64) -> InputAddress {
    InputAddress::new(word & VA.mask())
}

/// The bits of an address that a second word holds.
pub(crate) const fn address_bits(address: InputAddress) -> u64 {
    address.get() & VA.mask()
}

/// The intermediate physical address in the bits `field` of a word.
pub(crate) const fn ipa(word: u64, field: Field) -> Ipa {
    Ipa::masked(word & field.mask())
}
