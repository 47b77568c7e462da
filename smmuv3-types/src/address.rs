//! Addresses, each in the space it belongs to.

use hardware_records::address;

address! {
    /// An address as a device puts it on the bus, before any translation: a virtual address of the
    /// guest's where stage 1 translates.
    pub struct InputAddress;
}

address! {
    /// An intermediate physical address: what stage 1 makes of an input address, and what a guest
    /// takes for a physical one. Every pointer in a guest's tables is one.
    ///
    /// # Invariants
    /// It has 52 bits, the most that the architecture has for one (3.4).
    pub struct Ipa, 52 bits;
}
