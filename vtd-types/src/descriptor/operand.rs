//! What descriptors take besides numbers.

use hardware_records::{bits, encoding};

use crate::{Gpa, InputAddress, InterruptIndex, SourceId};

encoding! {
    total
    /// Which functions of a device are meant: `FM` of `cc_inv_dsc`, bits 49:48 of the first word
    /// (6.5.2.1). The bits of a requester that are not looked at.
    pub enum FunctionMask {
        /// One function.
        None = 0b00,
        /// Bit 2 is not looked at: two functions.
        Bit2 = 0b01,
        /// Bits 2:1 are not looked at: four functions.
        Bits2To1 = 0b10;
        /// Bits 2:0 are not looked at: all eight functions.
        All = 0b11,
    }
}

impl FunctionMask {
    /// Whether `other` is one of the functions that are meant by `source` with this mask.
    #[must_use]
    pub const fn matches(self, source: SourceId, other: SourceId) -> bool {
        let ignored = match self {
            Self::None => 0,
            Self::Bit2 => 0b100,
            Self::Bits2To1 => 0b110,
            Self::All => 0b111,
        };
        (source.get() ^ other.get()) & !ignored == 0
    }
}

/// How many of something are meant, as a logarithm that a field can have larger than there are of it.
macro_rules! logarithm {
    ($(#[$attribute:meta])* $name:ident, at most $most:literal: $(#[$doc:meta])* of $what:literal) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u8);

        impl $name {
            $(#[$doc])*
            pub const ALL: Self = Self($most);

            #[doc = concat!("`2^mask` ", $what, ", or `None` if `mask` is more than ", $most, ".")]
            #[must_use]
            pub const fn new(mask: u8) -> Option<Self> {
                if mask <= Self::ALL.0 {
                    Some(Self(mask))
                } else {
                    None
                }
            }

            /// That of a field. What is more than all is all.
            pub(super) const fn capped(mask: u8) -> Self {
                match Self::new(mask) {
                    Some(mask) => mask,
                    None => Self::ALL,
                }
            }

            /// The logarithm.
            #[must_use]
            pub const fn get(self) -> u8 {
                self.0
            }
        }
    };
}

logarithm! {
    /// How many pages are meant: the logarithm, `AM` of `iotlb_inv_dsc` and `p_iotlb_inv_dsc`, bits
    /// 5:0 of the second word (6.5.2.3, 6.5.2.4).
    ///
    /// # Invariants
    /// It is at most 52. A larger one, which the field can hold, means no more.
    AddressMask, at most 52:
    /// All 2^64 bytes.
    of "pages"
}

impl AddressMask {
    /// One page of 4 KiB.
    pub const PAGE: Self = Self(0);

    /// How many pages: at most 2^52.
    #[must_use]
    pub const fn pages(self) -> u64 {
        bits::power(self.0 as u32)
    }
}

/// The first of the `2^pages_log2` pages around `address`.
const fn first_page(address: InputAddress, pages_log2: u8) -> InputAddress {
    let low = bits::low(pages_log2 as u32 + 12);
    InputAddress::new(address.get() & !low)
}

/// The pages whose translations are forgotten: an aligned range (6.5.2.3, 6.5.2.4).
///
/// # Invariants
/// The address is aligned to the range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PageSelection {
    address: InputAddress,
    mask: AddressMask,
    leaf: bool,
}

impl PageSelection {
    /// The `2^mask` pages around `address`, whose low bits do not count. `leaf`: what a walk read of
    /// tables may be kept.
    ///
    /// ```
    /// use vtd_types::{AddressMask, InputAddress, PageSelection};
    ///
    /// let mask = AddressMask::new(3).expect("of 6 bits");
    /// let pages = PageSelection::new(InputAddress::new(0x1234_5678), mask, true);
    /// assert_eq!(pages.address(), InputAddress::new(0x1234_0000));
    /// assert_eq!(pages.mask().pages(), 8);
    /// ```
    #[must_use]
    pub const fn new(address: InputAddress, mask: AddressMask, leaf: bool) -> Self {
        Self {
            address: first_page(address, mask.0),
            mask,
            leaf,
        }
    }

    /// The first address: `ADDR`, bits 63:12 of the second word, without the bits that the mask
    /// takes.
    #[must_use]
    pub const fn address(&self) -> InputAddress {
        self.address
    }

    /// How many pages: `AM`, bits 5:0 of the second word.
    #[must_use]
    pub const fn mask(&self) -> AddressMask {
        self.mask
    }

    /// `IH`, bit 6 of the second word: software has changed no entry that points to a table, so
    /// that what a walk read of tables may be kept.
    #[must_use]
    pub const fn leaf(&self) -> bool {
        self.leaf
    }
}

/// The range that a device is to forget: `ADDR` and `S` of `dev_tlb_inv_dsc` and
/// `p_dev_tlb_inv_dsc` (6.5.2.5, 6.5.2.6), as PCI Express's ATS encodes it.
///
/// # Invariants
/// It has at most 2^52 pages, and the address is aligned to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeviceTlbRange {
    address: InputAddress,
    pages_log2: u8,
}

impl DeviceTlbRange {
    /// Everything: 2^64 bytes.
    pub const ALL: Self = Self {
        address: InputAddress::new(0),
        pages_log2: 52,
    };

    /// The `2^pages_log2` pages around `address`, whose low bits do not count. `None` if
    /// `pages_log2` is more than 52.
    #[must_use]
    pub const fn new(address: InputAddress, pages_log2: u8) -> Option<Self> {
        if pages_log2 > Self::ALL.pages_log2 {
            return None;
        }
        Some(Self {
            address: first_page(address, pages_log2),
            pages_log2,
        })
    }

    /// The range of an address and `S`. `None` if both are all ones.
    pub(super) const fn from_bits(address: u64, size: bool) -> Option<Self> {
        let page = address >> 12;
        // The lowest bit that is 0 says how many: bit 12 is 2 pages.
        let pages_log2 = if size { page.trailing_ones() + 1 } else { 0 };
        if pages_log2 > 52 {
            return None;
        }
        Self::new(InputAddress::new(address), pages_log2 as u8)
    }

    /// The bits of `ADDR`, in their place, and `S`.
    pub(super) const fn to_bits(self) -> (u64, bool) {
        if self.pages_log2 == 0 {
            return (self.address.get(), false);
        }
        // Ones below the bit that says how many, which is 0.
        let ones = bits::low(self.pages_log2 as u32 + 11) & !0xfff;
        (self.address.get() | ones, true)
    }

    /// The first address.
    #[must_use]
    pub const fn address(&self) -> InputAddress {
        self.address
    }

    /// The logarithm of how many pages of 4 KiB.
    #[must_use]
    pub const fn pages_log2(&self) -> u8 {
        self.pages_log2
    }
}

logarithm! {
    /// How many interrupt entries are meant: the logarithm, `IM` of `iec_inv_dsc`, bits 31:27 of the
    /// first word (6.5.2.7).
    ///
    /// # Invariants
    /// It is at most 16: all there are. A larger one, which the field can hold, means no more.
    IndexMask, at most 16:
    /// All entries.
    of "entries"
}

/// The interrupt entries that are forgotten: an aligned range (6.5.2.7).
///
/// # Invariants
/// The index is aligned to the range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InterruptRange {
    index: InterruptIndex,
    mask: IndexMask,
}

impl InterruptRange {
    /// The `2^mask` entries around `index`, whose low bits do not count.
    #[must_use]
    pub const fn new(index: InterruptIndex, mask: IndexMask) -> Self {
        let low = bits::low(mask.0 as u32) as u16;
        Self {
            index: InterruptIndex::new(index.get() & !low),
            mask,
        }
    }

    /// The first: `IIDX`, bits 47:32 of the first word, without the bits that the mask takes.
    #[must_use]
    pub const fn index(&self) -> InterruptIndex {
        self.index
    }

    /// How many: `IM`, bits 31:27 of the first word.
    #[must_use]
    pub const fn mask(&self) -> IndexMask {
        self.mask
    }

    /// Whether an entry is in it.
    #[must_use]
    pub const fn contains(&self, index: InterruptIndex) -> bool {
        index.get() & !(bits::low(self.mask.0 as u32) as u16) == self.index.get()
    }
}

/// What a wait writes when it is complete: 32 bits (6.5.2.8).
///
/// # Invariants
/// The address is a multiple of 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StatusWrite {
    address: Gpa,
    data: u32,
}

impl StatusWrite {
    /// The write of `data` to `address`, or `None` if that is not a multiple of 4.
    #[must_use]
    pub const fn new(address: Gpa, data: u32) -> Option<Self> {
        if address.is_aligned_to(4) {
            Some(Self { address, data })
        } else {
            None
        }
    }

    pub(super) const fn aligned_down(address: Gpa, data: u32) -> Self {
        Self {
            address: Gpa::masked(address.get() & !3),
            data,
        }
    }

    /// Where: bits 63:2 of the second word. A guest-physical address, of a guest's.
    #[must_use]
    pub const fn address(&self) -> Gpa {
        self.address
    }

    /// What: bits 63:32 of the first word.
    #[must_use]
    pub const fn data(&self) -> u32 {
        self.data
    }
}
