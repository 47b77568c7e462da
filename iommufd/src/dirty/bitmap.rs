//! Which pages devices have written.

use std::fmt;

use super::bits;
use super::granule::Granule;
use crate::address::{Iova, IovaRange};
use crate::error::{Error, Result};

/// Which parts of a range devices have written: one bit for each [`Granule`].
///
/// Bit `i` stands for the granule that begins at the range's first address plus `i` granules. It is
/// bit `i % 64` of word `i / 64`: KVM's `KVM_GET_DIRTY_LOG` has it so, and two bitmaps of the same
/// memory can be combined word by word. Where the range does not end with a granule, the last bit
/// stands for what is left.
///
/// The words are its own, or the caller's (`DirtyBitmap<&mut [u64]>`, see
/// [`over`](DirtyBitmap::over)). Reading sets bits in it and leaves those that are set; only
/// [`clear`](Self::clear) clears them. So one bitmap can gather from several page tables, and over
/// several rounds.
///
/// ```
/// use iommufd::{DirtyBitmap, Granule, Iova, IovaRange};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let ram = IovaRange::with_len(Iova::new(0x10_0000), 1 << 30).ok_or("no such range")?;
/// let mut words = vec![0_u64; DirtyBitmap::words_needed(ram, Granule::KIB_4).ok_or("too many")?];
/// words[0] = 0b0110;
/// let bitmap = DirtyBitmap::over(ram, Granule::KIB_4, &mut words)?;
/// let dirty: Vec<_> = bitmap.runs().map(|run| run.to_string()).collect();
/// assert_eq!(dirty, ["0x101000..=0x102fff"]);
/// # Ok(())
/// # }
/// ```
///
/// # Invariants
/// `words` are at least as many as `shape` has bits for.
#[derive(Clone)]
pub struct DirtyBitmap<B = Vec<u64>> {
    shape: Shape,
    words: B,
}

impl DirtyBitmap {
    /// A clean bitmap with words of its own.
    ///
    /// # Errors
    /// [`Error::BitmapTooLarge`]: there is no memory for so many bits.
    pub fn new(range: IovaRange, granule: Granule) -> Result<Self> {
        let too_large = || Error::BitmapTooLarge { range, granule };
        let shape = Shape::new(range, granule).ok_or_else(too_large)?;
        let mut words = Vec::new();
        words
            .try_reserve_exact(shape.words())
            .map_err(|_| too_large())?;
        words.resize(shape.words(), 0);
        Ok(Self { shape, words })
    }

    /// The words, to be used otherwise.
    #[must_use]
    pub fn into_words(self) -> Vec<u64> {
        self.words
    }

    /// How many words a bitmap of `range` takes; `None` if that is more than a machine can have.
    #[must_use]
    pub fn words_needed(range: IovaRange, granule: Granule) -> Option<usize> {
        Shape::new(range, granule).map(Shape::words)
    }
}

impl<'w> DirtyBitmap<&'w mut [u64]> {
    /// A bitmap in the caller's `words`, of which it uses the first
    /// [`words_needed`](DirtyBitmap::words_needed). Bits that are set in them count as dirty.
    ///
    /// # Errors
    /// [`Error::BitmapTooSmall`]: there are too few words; [`Error::BitmapTooLarge`]: no machine
    /// has as many as it takes.
    pub fn over(range: IovaRange, granule: Granule, words: &'w mut [u64]) -> Result<Self> {
        let shape = Shape::new(range, granule).ok_or(Error::BitmapTooLarge { range, granule })?;
        let needed = shape.words();
        let given = words.len();
        let words = words
            .get_mut(..needed)
            .ok_or(Error::BitmapTooSmall { needed, given })?;
        Ok(Self { shape, words })
    }
}

impl<B> DirtyBitmap<B> {
    /// The range it covers.
    #[must_use]
    pub fn range(&self) -> IovaRange {
        self.shape.range
    }

    /// What a bit stands for.
    #[must_use]
    pub fn granule(&self) -> Granule {
        self.shape.granule
    }

    /// Refuses a mapping that the bitmap has no bits for, or not for all of it.
    #[cfg(feature = "vm-memory")]
    pub(crate) fn must_cover(&self, mapping: IovaRange) -> Result<()> {
        self.shape.must_cover(mapping)
    }
}

impl<B: AsRef<[u64]>> DirtyBitmap<B> {
    /// The words. In the last one, bits beyond the range mean nothing.
    #[must_use]
    pub fn words(&self) -> &[u64] {
        self.words.as_ref()
    }

    /// Whether the granule in which `iova` lies is dirty; `None` if the bitmap does not cover it.
    #[must_use]
    pub fn is_dirty(&self, iova: Iova) -> Option<bool> {
        let offset = self.shape.offset(iova)?;
        let bit = self.shape.granule.index(offset);
        Some(bits::is_set(self.words(), bit))
    }

    /// How many granules are dirty.
    #[must_use]
    pub fn count(&self) -> u64 {
        bits::count(self.words(), self.shape.bits)
    }

    /// What is dirty, by address: adjacent granules are one run. The last run is cut off at the
    /// end of the range.
    ///
    /// What is clean is skipped, and what is dirty throughout as well, at the speed at which memory
    /// can be read.
    pub fn runs(&self) -> DirtyRuns<'_> {
        DirtyRuns {
            runs: bits::Runs::new(self.words(), self.shape.bits),
            shape: self.shape,
        }
    }
}

impl<B: AsMut<[u64]>> DirtyBitmap<B> {
    /// The words, to set and clear bits by other means, such as what KVM has found dirty. In the last
    /// one, bits beyond the range mean nothing.
    ///
    /// ```
    /// # use iommufd::{DirtyBitmap, Granule, Iova, IovaRange};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let ram = IovaRange::with_len(Iova::new(0), 1 << 20).ok_or("no such range")?;
    /// # let written_by_the_cpus = [0b11, 0, 0, 0];
    /// let mut bitmap = DirtyBitmap::new(ram, Granule::KIB_4)?;
    /// for (word, written) in bitmap.words_mut().iter_mut().zip(written_by_the_cpus) {
    ///     *word |= written;
    /// }
    /// assert_eq!(bitmap.count(), 2);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn words_mut(&mut self) -> &mut [u64] {
        self.words.as_mut()
    }

    /// Makes all of it clean.
    pub fn clear(&mut self) {
        bits::clear(self.words.as_mut(), self.shape.bits);
    }

    /// Makes dirty what it covers of `range`, as where nothing tells what was written.
    ///
    /// ```
    /// # use iommufd::{DirtyBitmap, Granule, Iova, IovaRange};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let ram = IovaRange::with_len(Iova::new(0), 1 << 20).ok_or("no such range")?;
    /// let mut bitmap = DirtyBitmap::new(ram, Granule::KIB_4)?;
    /// bitmap.mark_dirty(IovaRange::with_len(Iova::new(0x1800), 0x1000).ok_or("no such range")?);
    /// assert_eq!(bitmap.count(), 2);
    /// # Ok(())
    /// # }
    /// ```
    pub fn mark_dirty(&mut self, range: IovaRange) {
        self.view().mark(range);
    }

    /// The bitmap, to be written.
    pub(crate) fn view(&mut self) -> View<'_> {
        View {
            shape: self.shape,
            words: self.words.as_mut(),
        }
    }
}

impl<B: AsRef<[u64]>> fmt::Debug for DirtyBitmap<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DirtyBitmap")
            .field("range", &self.range())
            .field("granule", &self.granule())
            .field("dirty", &self.count())
            .finish_non_exhaustive()
    }
}

/// The dirty runs of a bitmap: see [`DirtyBitmap::runs`].
#[derive(Debug, Clone)]
#[must_use = "an iterator does nothing unless it is asked"]
pub struct DirtyRuns<'w> {
    runs: bits::Runs<'w>,
    shape: Shape,
}

impl Iterator for DirtyRuns<'_> {
    type Item = IovaRange;

    #[inline]
    fn next(&mut self) -> Option<IovaRange> {
        let (first, last) = self.runs.next()?;
        self.shape.addresses(first, last)
    }
}

/// What the bits stand for.
///
/// # Invariants
/// `bits` is what `granule` and `range` make it, and a slice can have that many.
#[derive(Debug, Clone, Copy)]
struct Shape {
    range: IovaRange,
    granule: Granule,
    bits: u64,
}

impl Shape {
    fn new(range: IovaRange, granule: Granule) -> Option<Self> {
        // The largest slice there is has `isize::MAX` bytes.
        const MOST: u64 = isize::MAX as u64;
        let bits = granule.count(range.last().get() - range.start().get())?;
        (bits / 8 < MOST).then_some(Self {
            range,
            granule,
            bits,
        })
    }

    fn words(self) -> usize {
        bits::words_for(self.bits)
    }

    fn must_cover(self, mapping: IovaRange) -> Result<()> {
        let bitmap = self.range;
        if bitmap.contains(mapping) {
            Ok(())
        } else {
            Err(Error::NotCovered { bitmap, mapping })
        }
    }

    /// How far `iova` is from the first address.
    fn offset(self, iova: Iova) -> Option<u64> {
        let byte = IovaRange::new(iova, iova)?;
        let start = self.range.start().get();
        self.range.contains(byte).then(|| iova.get() - start)
    }

    /// The addresses of the bits from `first` to `last`, both of which there are.
    #[inline]
    fn addresses(self, first: u64, last: u64) -> Option<IovaRange> {
        // The first byte of a granule that there is lies in the range.
        let base = self.range.start().get();
        let start = base + self.granule.offset(first);
        let last = match last + 1 {
            end if end == self.bits => self.range.last(),
            next => Iova::new(base + self.granule.offset(next) - 1),
        };
        IovaRange::new(Iova::new(start), last)
    }
}

/// A bitmap, whoever has the words.
///
/// # Invariants
/// As for [`DirtyBitmap`].
pub(crate) struct View<'w> {
    shape: Shape,
    words: &'w mut [u64],
}

impl View<'_> {
    pub(super) fn granule(&self) -> Granule {
        self.shape.granule
    }

    pub(crate) fn range(&self) -> IovaRange {
        self.shape.range
    }

    /// Refuses a mapping that the bitmap has no bits for, or not for all of it.
    pub(crate) fn must_cover(&self, mapping: IovaRange) -> Result<()> {
        self.shape.must_cover(mapping)
    }

    /// Sets the bits of what there is of `range`.
    fn mark(&mut self, range: IovaRange) {
        let Some(part) = range.common(self.shape.range) else {
            return;
        };
        let offset = |address| self.shape.offset(address);
        if let (Some(first), Some(last)) = (offset(part.start()), offset(part.last())) {
            let granule = self.shape.granule;
            bits::set(self.words, granule.index(first), granule.index(last));
        }
    }

    /// Sets the bits of what is dirty in `run`, which lies in the range. `found` has a bit for each
    /// `page` of it, and is all zeroes after.
    pub(crate) fn take(&mut self, run: IovaRange, page: Granule, found: &mut [u64]) {
        let granule = self.shape.granule;
        let span = run.last().get() - run.start().get();
        let (Some(offset), Some(pages), true) = (
            self.shape.offset(run.start()),
            page.count(span),
            self.range().contains(run),
        ) else {
            return;
        };
        if page == granule && offset.is_multiple_of(granule.bytes()) {
            bits::take(self.words, granule.index(offset), found, pages);
            return;
        }
        // Pages and granules do not match: a page can be in two granules, or many in one.
        for (first, last) in bits::Runs::new(found, pages) {
            let from = offset + first * page.bytes();
            let to = offset + last * page.bytes() + (page.bytes() - 1);
            bits::set(self.words, granule.index(from), granule.index(to));
        }
        found.fill(0);
    }
}

#[cfg(test)]
mod tests;
