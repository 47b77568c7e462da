//! Attributes of memory that several structures share.

use hardware_records::encoding;

encoding! {
    total
    /// How the SMMU caches what it reads of a table: the inner or the outer region.
    ///
    /// Fields: `STE.S1CIR`, `STE.S1COR`, `STE.S2IR0`, `STE.S2OR0`, `CD.IRx`, `CD.ORx` (5.2, 5.4).
    pub enum Cacheability {
        /// Normal memory, not cacheable.
        NonCacheable = 0b00,
        /// Normal memory, write-back, read-allocate and, for translation tables, write-allocate.
        WriteBack = 0b01,
        /// Normal memory, write-through, read-allocate.
        WriteThrough = 0b10;
        /// Normal memory, write-back. Of a `STE.S1Cxx` no read-allocate, of a translation table
        /// no write-allocate.
        WriteBackLessAllocate = 0b11,
    }
}

encoding! {
    /// Who sees the same memory: `STE.S1CSH`, `STE.S2SH0`, `CD.SHx` (5.2, 5.4), the `SH` of a block
    /// or page, and `SYNC.MSH` of the write of an MSI (4.7.3).
    ///
    /// `0b01` is reserved. In the fields of an STE, a CD or a command it behaves as
    /// [`NonShareable`](Self::NonShareable).
    pub enum Shareability {
        /// Not shareable.
        NonShareable = 0b00,
        /// Outer shareable.
        Outer = 0b10,
        /// Inner shareable.
        Inner = 0b11,
    }
}
