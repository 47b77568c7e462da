//! Descriptors in translation tables.

use hardware_records::{Field, bits, record};

use crate::{AddressSize, Granule, Ipa, Level, Shareability};

record! {
    /// A descriptor that points to a table of the next level (D8.3.1).
    ///
    /// Where the table is depends on the granule: [`Self::table`].
    pub struct TableDescriptor([u64; 1]), "TTD", "Arm DDI 0487, D8.3.1";

    /// Whether there is anything.
    flag valid, with_valid: "Valid", 0 [0];
    /// Whether it is of this kind, where the level has blocks also.
    flag is_table, with_is_table: "Type", 0 [1];
    /// Whether what is below cannot be executed by the privileged.
    flag pxn_table, with_pxn_table: "PXNTable", 0 [59];
    /// Whether what is below cannot be executed by the unprivileged.
    flag uxn_table, with_uxn_table: "UXNTable", 0 [60];
    /// Whether what is below cannot be accessed by the unprivileged.
    flag ap_table_privileged, with_ap_table_privileged: "APTable[0]", 0 [61];
    /// Whether what is below cannot be written.
    flag ap_table_read_only, with_ap_table_read_only: "APTable[1]", 0 [62];
    /// Whether what is below is non-secure. Of a Secure stream.
    flag ns_table, with_ns_table: "NSTable", 0 [63];
}

record! {
    /// A descriptor of a block or a page: where addresses go, and what they may be used for
    /// (D8.3.1).
    ///
    /// Where they go depends on the granule and the level: [`Self::output`].
    pub struct LeafDescriptor([u64; 1]), "TTD", "Arm DDI 0487, D8.3.1";

    /// Whether there is anything.
    flag valid, with_valid: "Valid", 0 [0];
    /// Whether it is a page: 1 on level 3, 0 for a block.
    flag is_page, with_is_page: "Type", 0 [1];
    /// Which of the memory attributes it has.
    num(u8) attr_indx, with_attr_indx: "AttrIndx", 0 [4:2];
    /// Whether the output is non-secure. Of a Secure stream.
    flag ns, with_ns: "NS", 0 [5];
    /// Whether the unprivileged may access it: `AP[1]`.
    flag unprivileged, with_unprivileged: "AP[1]", 0 [6];
    /// Whether it is read only: `AP[2]`.
    flag read_only, with_read_only: "AP[2]", 0 [7];
    /// Who shares the memory.
    coded(Shareability) sh, with_sh: "SH", 0 [9:8];
    /// Whether it was accessed.
    flag af, with_af: "AF", 0 [10];
    /// Whether it is for one ASID only.
    flag ng, with_ng: "nG", 0 [11];
    /// Whether a block is about to become a table, or was one. Level 1 of `SMMU_IDR3.BBML`.
    flag nt, with_nt: "nT", 0 [16];
    /// Whether it becomes writable by being written, with hardware that does that.
    flag dbm, with_dbm: "DBM", 0 [51];
    /// Whether it is one of several neighbours that go to neighbours: a hint.
    flag contiguous, with_contiguous: "Contiguous", 0 [52];
    /// Whether the privileged cannot execute it.
    flag pxn, with_pxn: "PXN", 0 [53];
    /// Whether the unprivileged cannot execute it.
    flag uxn, with_uxn: "UXN", 0 [54];
    /// Software's own.
    num(u8) software, with_software: "SW", 0 [58:55];
    /// Page-based hardware attributes, where `CD.HWUxxx` has them used.
    num(u8) pbha, with_pbha: "PBHA", 0 [62:59];
}

/// What a descriptor is, on its level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Entry {
    /// There is nothing: it is not valid, or of a kind that its level does not have.
    Invalid,
    /// It points to a table.
    Table(TableDescriptor),
    /// It is a block or a page.
    Leaf(LeafDescriptor),
}

/// There is no such descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum BadDescriptor {
    /// The granule has no blocks on this level, or no tables on the last.
    #[error("{granule:?} tables have no such descriptor on {level:?}")]
    Level {
        /// The granule.
        granule: Granule,
        /// The level.
        level: Level,
    },
    /// The address is not a multiple of what is mapped, or of the table's size.
    #[error("{address} is not aligned to {alignment:#x} bytes")]
    Misaligned {
        /// The address.
        address: Ipa,
        /// Of how many bytes it must be a multiple.
        alignment: u64,
    },
    /// The address has more bits than a descriptor of this granule.
    #[error("{address} has more bits than a descriptor of {granule:?}")]
    Beyond {
        /// The address.
        address: Ipa,
        /// The granule.
        granule: Granule,
    },
}

/// Bits 47:12 of an address, where they are in all descriptors.
const ADDRESS: u64 = 0x0000_ffff_ffff_f000;
/// Bits 51:48 of an address, in a descriptor of the 64 KiB granule.
const HIGH: Field = Field::new(15, 12);

/// The address in a descriptor whose low `bits` bits are 0. `wide`: with bits 51:48.
const fn address_of(descriptor: u64, granule: Granule, bits: u32, wide: bool) -> Ipa {
    let low = descriptor & ADDRESS & !bits::low(bits);
    match granule {
        Granule::Kib64 if wide => Ipa::masked(low | HIGH.get(descriptor) << 48),
        _ => Ipa::masked(low),
    }
}

/// An address as a descriptor has it.
const fn encoded(address: Ipa, granule: Granule, bits: u32) -> Result<u64, BadDescriptor> {
    let alignment = bits::power(bits);
    if !address.is_aligned_to(alignment) {
        return Err(BadDescriptor::Misaligned { address, alignment });
    }
    if !granule.output_size().holds(address) {
        return Err(BadDescriptor::Beyond { address, granule });
    }
    // With the other granules there are none: it fits into 48 bits.
    let high = HIGH.put(0, address.get() >> 48);
    Ok(address.get() & ADDRESS | high)
}

impl TableDescriptor {
    /// A descriptor on this level that points to `table`, with nothing forbidden below.
    ///
    /// # Errors
    /// The level is the last. The table is not aligned to a full table, or beyond the addresses of
    /// the granule.
    pub const fn new(granule: Granule, level: Level, table: Ipa) -> Result<Self, BadDescriptor> {
        if level.next().is_none() {
            return Err(BadDescriptor::Level { granule, level });
        }
        match encoded(table, granule, granule.page_bits()) {
            Ok(bits) => Ok(Self::from_words([bits])
                .with_valid(true)
                .with_is_table(true)),
            Err(bad) => Err(bad),
        }
    }

    /// Where the table is. `wide`: the SMMU has output addresses of 52 bits.
    #[must_use]
    pub const fn table(&self, granule: Granule, wide: bool) -> Ipa {
        address_of(self.words()[0], granule, granule.page_bits(), wide)
    }
}

impl LeafDescriptor {
    /// A page, on level 3, or a block that goes to `output`, not accessed yet (`AF` is 0) and
    /// otherwise with attributes of 0: attribute 0, for the privileged to read, write and execute,
    /// global.
    ///
    /// ```
    /// use smmuv3_types::{Granule, Ipa, LeafDescriptor, Level, Shareability};
    ///
    /// let output = Ipa::new(0x4020_0000).expect("of 52 bits");
    /// let block = LeafDescriptor::new(Granule::Kib4, Level::Level2, output)?
    ///     .with_attr_indx(1)
    ///     .with_sh(Shareability::Inner)
    ///     .with_unprivileged(true)
    ///     .with_af(true);
    /// assert_eq!(block.to_bytes(), 0x4020_0745_u64.to_le_bytes());
    /// # Ok::<(), smmuv3_types::BadDescriptor>(())
    /// ```
    ///
    /// # Errors
    /// The granule has no block on this level; 4 TiB of the 64 KiB granule count as one, though
    /// they are only with output addresses of 52 bits. The output is not aligned to what is
    /// mapped, or beyond the addresses of the granule.
    pub const fn new(granule: Granule, level: Level, output: Ipa) -> Result<Self, BadDescriptor> {
        let is_page = level.next().is_none();
        if !is_page && !granule.has_block(level, true) {
            return Err(BadDescriptor::Level { granule, level });
        }
        match encoded(output, granule, granule.span_bits(level)) {
            Ok(bits) => Ok(Self::from_words([bits])
                .with_valid(true)
                .with_is_page(is_page)),
            Err(bad) => Err(bad),
        }
    }

    /// Where the first address that it maps goes. `wide`: the SMMU has output addresses of 52
    /// bits.
    #[must_use]
    pub const fn output(&self, granule: Granule, level: Level, wide: bool) -> Ipa {
        address_of(self.words()[0], granule, granule.span_bits(level), wide)
    }
}

impl Entry {
    /// What a descriptor of these bits is, on this level. `output`: the output size of the SMMU,
    /// on which depends whether there are blocks of 4 TiB.
    #[must_use]
    pub const fn decode(bits: u64, granule: Granule, level: Level, output: AddressSize) -> Self {
        let wide = matches!(output, AddressSize::Bits52);
        match (bits & 0b11, level) {
            (0b11, Level::Level3) => Self::Leaf(LeafDescriptor::from_words([bits])),
            (0b11, _) => Self::Table(TableDescriptor::from_words([bits])),
            (0b01, _) if granule.has_block(level, wide) => {
                Self::Leaf(LeafDescriptor::from_words([bits]))
            }
            _ => Self::Invalid,
        }
    }
}
