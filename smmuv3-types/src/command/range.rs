//! The range and the level hint of an invalidation by address.

use hardware_records::Field;

use crate::{Granule, Level};

const NUM: Field = Field::new(16, 12);
const SCALE: Field = Field::new(25, 20);
const SCALE_WITHOUT_DS: Field = Field::new(24, 20);
const TTL: Field = Field::new(9, 8);
const TG: Field = Field::new(11, 10);

/// `TG`, bits 11:10 of the second word (4.4.1.1). 0 is no range.
const fn tg(granule: Granule) -> u64 {
    match granule {
        Granule::Kib4 => 0b01,
        Granule::Kib16 => 0b10,
        Granule::Kib64 => 0b11,
    }
}

/// `TTL`, bits 9:8 of the second word (4.4.1.1). 0 is no hint, so there is none for level 0.
const fn ttl(level: Level) -> u64 {
    level.number() as u64
}

/// How many granules an invalidation is about, of which granule, and at which level (4.4.1.1).
///
/// A command has one only where there is `SMMU_IDR3.RIL`. It starts at the command's address.
///
/// # Invariants
/// It is none of the encodings that are reserved: more than one granule, or a level. The level is
/// not 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TlbiRange {
    granule: Granule,
    level: Option<Level>,
    num: u8,
    scale: u8,
}

impl TlbiRange {
    /// The largest `NUM`.
    pub const MAX_NUM: u8 = 31;
    /// The largest `SCALE`, where there is `SMMU_IDR5.DS`. The field can hold more, which count
    /// as this.
    pub const MAX_SCALE: u8 = 39;
    /// The largest `SCALE` without `SMMU_IDR5.DS`.
    pub const MAX_SCALE_WITHOUT_DS: u8 = 31;

    /// One granule at the address, of which the level is known: a hint rather than a range. `None`
    /// if the level is 0: there is no hint for it.
    #[must_use]
    pub const fn one(granule: Granule, level: Level) -> Option<Self> {
        Self::new(granule, Some(level), 0, 0)
    }

    /// `(num + 1) << scale` granules, with entries of this level or of any. `None` if one of the
    /// numbers is too large; if the range is one granule with no level, which is reserved; or if
    /// the level is 0: there is no hint for it.
    ///
    /// ```
    /// use smmuv3_types::{Granule, Level, TlbiRange};
    ///
    /// let range = TlbiRange::new(Granule::Kib4, None, 2, 9).unwrap();
    /// assert_eq!(range.granules(), 3 * 512);
    /// assert_eq!(range.bytes(), 6 << 20);
    /// assert_eq!(TlbiRange::new(Granule::Kib4, None, 0, 0), None);
    /// assert_eq!(TlbiRange::new(Granule::Kib4, Some(Level::Level0), 2, 9), None);
    /// ```
    #[must_use]
    pub const fn new(granule: Granule, level: Option<Level>, num: u8, scale: u8) -> Option<Self> {
        if num > Self::MAX_NUM || scale > Self::MAX_SCALE {
            return None;
        }
        if num == 0 && scale == 0 && level.is_none() || matches!(level, Some(Level::Level0)) {
            return None;
        }
        Some(Self {
            granule,
            level,
            num,
            scale,
        })
    }

    /// The granule of the tables: `TG`.
    #[must_use]
    pub const fn granule(&self) -> Granule {
        self.granule
    }

    /// The level of the entries: `TTL`, bits 9:8 of the second word. Only blocks and pages of this
    /// level need be forgotten; with `None`, of any. Never level 0; level 1 with
    /// [`Granule::Kib16`] only where there is `SMMU_IDR5.DS`.
    #[must_use]
    pub const fn level(&self) -> Option<Level> {
        self.level
    }

    /// `NUM`, bits 16:12 of the first word: one less than the number of steps.
    #[must_use]
    pub const fn num(&self) -> u8 {
        self.num
    }

    /// `SCALE`, bits 25:20 of the first word: the logarithm of the granules in a step.
    #[must_use]
    pub const fn scale(&self) -> u8 {
        self.scale
    }

    /// How many granules it has.
    #[must_use]
    pub const fn granules(&self) -> u64 {
        // At most 32 << 39.
        (self.num as u64)
            .wrapping_add(1)
            .wrapping_shl(self.scale as u32)
    }

    /// How many bytes it has.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        // At most 1 << 44 granules of 1 << 16 bytes.
        self.granules().wrapping_mul(self.granule.bytes())
    }

    /// What the words of a command say, where there is `SMMU_IDR3.RIL`.
    ///
    /// # Errors
    /// The encoding is reserved.
    #[inline]
    pub(crate) const fn decode(words: [u64; 2], ds: bool) -> Result<Option<Self>, Reserved> {
        let [first, second] = words;
        let granule = match TG.get(second) {
            0b01 => Granule::Kib4,
            0b10 => Granule::Kib16,
            0b11 => Granule::Kib64,
            // All else is RES0 then.
            _ => return Ok(None),
        };
        let level = match TTL.get(second) {
            // Without DS, tables of 16 KiB have no blocks of level 1: it counts as no hint.
            0b01 if !ds && matches!(granule, Granule::Kib16) => None,
            0b01 => Some(Level::Level1),
            0b10 => Some(Level::Level2),
            0b11 => Some(Level::Level3),
            _ => None,
        };
        let scale = if ds { SCALE } else { SCALE_WITHOUT_DS }.get(first) as u8;
        let scale = if scale > Self::MAX_SCALE {
            Self::MAX_SCALE
        } else {
            scale
        };
        match Self::new(granule, level, NUM.get(first) as u8, scale) {
            Some(range) => Ok(Some(range)),
            None => Err(Reserved),
        }
    }

    /// Its bits in the words of a command.
    pub(crate) const fn encode(range: Option<Self>) -> [u64; 2] {
        let Some(range) = range else { return [0, 0] };
        let first = SCALE.put(NUM.put(0, range.num as u64), range.scale as u64);
        let level = match range.level {
            Some(level) => ttl(level),
            None => 0,
        };
        [first, TG.put(TTL.put(0, level), tg(range.granule))]
    }

    /// The bits of a range or a hint in the words of a command.
    pub(crate) const MASKS: [u64; 2] = [NUM.mask() | SCALE.mask(), TTL.mask() | TG.mask()];

    /// Bits of which a range or a hint has one if it [takes](Self::takes_ds) `SMMU_IDR5.DS`, and
    /// some others have, too: those of 64 KiB.
    pub(crate) const MASKS_OF_DS: [u64; 2] = [
        SCALE.mask() & !SCALE_WITHOUT_DS.mask(),
        TG.put(0, tg(Granule::Kib16)),
    ];

    /// Whether a command has any bit of a range or a hint.
    pub(crate) const fn is_in([first, second]: [u64; 2]) -> bool {
        first & Self::MASKS[0] != 0 || second & Self::MASKS[1] != 0
    }

    /// Whether the range or the hint of a command is one that there is only with `SMMU_IDR5.DS`: a
    /// larger scale, or level 1 of 16 KiB.
    pub(crate) const fn takes_ds([first, second]: [u64; 2]) -> bool {
        let large = SCALE.get(first) > SCALE_WITHOUT_DS.max();
        let level1 = TTL.get(second) == ttl(Level::Level1);
        large || level1 && TG.get(second) == tg(Granule::Kib16)
    }

    /// The words of a command with this range in the place of theirs.
    pub(crate) const fn replace([first, second]: [u64; 2], range: Option<Self>) -> [u64; 2] {
        let [in_first, in_second] = Self::encode(range);
        [
            first & !(NUM.mask() | SCALE.mask()) | in_first,
            second & !(TTL.mask() | TG.mask()) | in_second,
        ]
    }

    /// The range without its level, or `None` if nothing is left of it.
    pub(crate) const fn without_level(self) -> Option<Self> {
        Self::new(self.granule, None, self.num, self.scale)
    }
}

/// The encoding of a range is reserved.
pub(crate) struct Reserved;
