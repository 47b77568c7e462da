//! Numbers, each of its own kind.

use hardware_records::id;

id! {
    /// A stream: what a device's transactions are known by, and the index into the stream table
    /// (3.2). Of how many bits `SMMU_IDR1.SIDSIZE` says.
    pub struct StreamId(u32);
}

id! {
    /// A substream of a stream: what PCI Express calls a PASID (3.2).
    pub struct SubstreamId(u32), 20 bits;
}

id! {
    /// An address space identifier: the tag of stage-1 translations in the TLBs (3.17). Only the
    /// low 8 bits count where `SMMU_IDR0.ASID16` is 0.
    pub struct Asid(u16);
}

id! {
    /// A virtual machine identifier: the tag of stage-2 translations in the TLBs (3.17).
    pub struct Vmid(u16);
}

id! {
    /// The tag of a stalled transaction, by which it is resumed (3.12.2).
    pub struct Stag(u16);
}

id! {
    /// The index of a page request group of PCI Express's PRI (8.1).
    pub struct PageRequestGroup(u16), 9 bits;
}

impl SubstreamId {
    /// The first.
    pub const ZERO: Self = Self(0);
}
