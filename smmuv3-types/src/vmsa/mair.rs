//! Memory attributes that descriptors point to.

/// The eight memory attributes of a context descriptor, `CD.MAIR1` and `CD.MAIR0`, as
/// `MAIR_EL1` has them (5.4).
///
/// ```
/// use smmuv3_types::{DeviceMemory, Mair, MemoryType};
///
/// let mair = Mair::default().with(0, Mair::WRITE_BACK).with(1, Mair::DEVICE_NGNRE);
/// assert_eq!(mair.get(), 0x04ff);
/// assert_eq!(mair.memory_type(1), MemoryType::Device(DeviceMemory::NGnRE));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Mair(u64);

/// What kind of memory is behind a page (5.4, `CD.MAIR0`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MemoryType {
    /// Device memory.
    Device(DeviceMemory),
    /// Normal memory.
    Normal {
        /// How the outer caches keep it.
        outer: NormalCache,
        /// How the inner caches keep it.
        inner: NormalCache,
    },
}

/// What is forbidden of accesses to device memory: to be gathered (G), reordered (R), acknowledged
/// early (E).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeviceMemory {
    /// All three.
    NGnRnE,
    /// To be gathered and reordered.
    NGnRE,
    /// To be gathered.
    NGRE,
    /// None of them.
    GRE,
}

/// How caches keep normal memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NormalCache {
    /// They do not.
    NonCacheable,
    /// Write-through.
    WriteThrough {
        /// It is needed for a short time.
        transient: bool,
        /// Reads allocate.
        read_allocate: bool,
        /// Writes allocate.
        write_allocate: bool,
    },
    /// Write-back.
    WriteBack {
        /// It is needed for a short time.
        transient: bool,
        /// Reads allocate.
        read_allocate: bool,
        /// Writes allocate.
        write_allocate: bool,
    },
}

impl NormalCache {
    /// What four bits say, of which 0 is reserved for the inner caches: it behaves as
    /// write-through, transient, with both allocations.
    const fn decode(bits: u8) -> Self {
        let read_allocate = bits & 0b10 != 0;
        let write_allocate = bits & 0b01 != 0;
        match bits >> 2 & 3 {
            0 if bits & 3 == 0 => Self::WriteThrough {
                transient: true,
                read_allocate: true,
                write_allocate: true,
            },
            0 => Self::WriteThrough {
                transient: true,
                read_allocate,
                write_allocate,
            },
            1 if bits & 3 == 0 => Self::NonCacheable,
            1 => Self::WriteBack {
                transient: true,
                read_allocate,
                write_allocate,
            },
            2 => Self::WriteThrough {
                transient: false,
                read_allocate,
                write_allocate,
            },
            _ => Self::WriteBack {
                transient: false,
                read_allocate,
                write_allocate,
            },
        }
    }
}

impl Mair {
    /// Normal memory, write-back, with both allocations, for inner and outer caches.
    pub const WRITE_BACK: u8 = 0xff;
    /// Normal memory that is not cacheable.
    pub const NON_CACHEABLE: u8 = 0x44;
    /// Device memory, nGnRnE.
    pub const DEVICE_NGNRNE: u8 = 0x00;
    /// Device memory, nGnRE.
    pub const DEVICE_NGNRE: u8 = 0x04;

    /// These eight attributes, the first in the lowest byte.
    #[must_use]
    pub const fn new(attributes: u64) -> Self {
        Self(attributes)
    }

    /// The eight attributes.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// With the attribute of this index changed. Of the index the low 3 bits count, as `AttrIndx`
    /// has no more.
    #[must_use]
    pub const fn with(self, index: u8, attribute: u8) -> Self {
        let shift = (index as u32 & 7) * 8;
        Self(self.0 & !(0xff << shift) | (attribute as u64) << shift)
    }

    /// The attribute of this index, as it is encoded. Of the index the low 3 bits count.
    #[must_use]
    pub const fn attribute(self, index: u8) -> u8 {
        (self.0 >> ((index as u32 & 7) * 8)) as u8
    }

    /// What the attribute of this index says. Reserved encodings are taken for what an SMMU makes
    /// of them.
    #[must_use]
    pub const fn memory_type(self, index: u8) -> MemoryType {
        let attribute = self.attribute(index);
        if attribute >> 4 == 0 {
            return MemoryType::Device(match attribute >> 2 & 3 {
                0 => DeviceMemory::NGnRnE,
                1 => DeviceMemory::NGnRE,
                2 => DeviceMemory::NGRE,
                _ => DeviceMemory::GRE,
            });
        }
        MemoryType::Normal {
            outer: NormalCache::decode(attribute >> 4),
            inner: NormalCache::decode(attribute & 0xf),
        }
    }
}
