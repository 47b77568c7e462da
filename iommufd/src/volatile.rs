//! Memory that a device may read and write at any time.
//!
//! Rust's memory model knows two kinds of memory: allocations, whose contents nobody else may
//! change behind a reference, and memory "outside of any Rust allocation", which `read_volatile`
//! and `write_volatile` may access as the hardware defines it. What a device can reach belongs to
//! the second kind for as long as it can: no reference to it exists, and every access in this
//! file is one volatile machine access of its own width.

// UNSAFETY: reads and writes through raw addresses.
#![expect(unsafe_code, reason = "volatile access by address")]

use std::fmt;
use std::ptr::NonNull;

use crate::barrier;
use crate::error::{Error, Result};

/// Orders all that this thread did before, before all that it does after, as seen by a coherent
/// device; a write before a later read as well, which the accesses of a [`VolatileRegion`] by
/// themselves do not (as when a doorbell in memory is written, and then read whether the device
/// still looks at it).
pub fn full_barrier() {
    barrier::full();
}

mod sealed {
    use zerocopy::{FromBytes, Immutable, IntoBytes};

    #[expect(unnameable_types, reason = "so that nobody else implements `Word`")]
    pub trait Sealed: FromBytes + IntoBytes + Immutable {}
}

/// An integer that the hardware reads and writes in one piece: `u8`, `u16`, `u32` or `u64`.
///
/// Devices are little-endian, mostly, as is every machine this crate builds for.
pub trait Word: Copy + Default + fmt::Debug + Send + Sync + sealed::Sealed + 'static {}

macro_rules! words {
    ($($word:ty)*) => {$(
        impl sealed::Sealed for $word {}
        impl Word for $word {}
    )*};
}
words!(u8 u16 u32 u64);

/// Memory shared with hardware, accessed in checked, volatile words.
///
/// # Invariants
/// `base` is aligned for a `u64`, and the `len` bytes from it are mapped, outside of any Rust
/// allocation, as long as the value lives.
pub struct VolatileRegion {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: the region is an address and a length. Any thread may make the accesses: the memory is
// outside of any Rust allocation, so concurrent accesses are the hardware's to order.
unsafe impl Send for VolatileRegion {}
// SAFETY: as for `Send`; no method hands out a reference into the memory.
unsafe impl Sync for VolatileRegion {}

impl VolatileRegion {
    /// The `len` bytes at `base`.
    ///
    /// # Safety
    /// - `base` is aligned to 8 bytes.
    /// - The bytes stay mapped, readable and writable, as long as the value lives. (Where a device
    ///   can make an access trap, such as a BAR that is switched off, the process is killed by
    ///   the signal: that is not undefined behaviour.)
    /// - They belong to no Rust allocation, and are covered by no reference, in that time.
    /// - Any value may be written to any of them at any time, and nothing is undefined by it: it
    ///   is plain data, that no allocator, kernel ring or other code relies on.
    #[must_use]
    pub unsafe fn new(base: NonNull<u8>, len: usize) -> Self {
        // INVARIANT: all three are the caller's promise.
        Self { base, len }
    }

    /// The length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is nothing to access.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn bytes(&self) -> NonNull<[u8]> {
        NonNull::slice_from_raw_parts(self.base, self.len)
    }

    /// Reads the word at `offset`.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`], or [`Error::Misaligned`] if the width does not divide the offset.
    pub fn read<W: Word>(&self, offset: usize) -> Result<W> {
        let word = self.word::<W>(offset)?;
        // SAFETY: `word` is aligned and within the region, which the invariant says is readable
        // and outside of any allocation; any bits are a valid integer.
        Ok(unsafe { word.read_volatile() })
    }

    /// Writes the word at `offset`.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub fn write<W: Word>(&self, offset: usize, value: W) -> Result<()> {
        let word = self.word::<W>(offset)?;
        // SAFETY: as in `read`; writing changes no memory of a Rust allocation.
        unsafe { word.write_volatile(value) };
        Ok(())
    }

    /// Reads the word at `offset`; what follows in this thread comes after it, as seen by a
    /// coherent device: read a "done" flag so, then the data it speaks of.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub fn load_acquire<W: Word>(&self, offset: usize) -> Result<W> {
        let value = self.read(offset)?;
        barrier::after_read();
        Ok(value)
    }

    /// Writes the word at `offset` after everything that came before in this thread: write the
    /// data, then so the flag that hands it over.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub fn store_release<W: Word>(&self, offset: usize, value: W) -> Result<()> {
        barrier::before_write();
        self.write(offset, value)
    }

    /// Copies `out.len()` bytes from `offset` on to `out`.
    ///
    /// The copy is not one piece: a device that writes meanwhile can be seen half done.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`].
    pub fn read_bytes(&self, offset: usize, out: &mut [u8]) -> Result<()> {
        self.check(offset, out.len())?;
        let (head, rest) = out.split_at_mut(unaligned_head(offset, out.len()));
        let (words, tail) = rest.as_chunks_mut::<8>();
        let mut at = offset;
        for byte in head {
            *byte = self.read(at)?;
            at += 1;
        }
        for word in words {
            *word = self.read::<u64>(at)?.to_ne_bytes();
            at += size_of::<u64>();
        }
        for byte in tail {
            *byte = self.read(at)?;
            at += 1;
        }
        Ok(())
    }

    /// Copies `bytes` to `offset` on.
    ///
    /// The copy is not one piece: a device that reads meanwhile can see it half done.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`].
    pub fn write_bytes(&self, offset: usize, bytes: &[u8]) -> Result<()> {
        self.check(offset, bytes.len())?;
        let (head, rest) = bytes.split_at(unaligned_head(offset, bytes.len()));
        let (words, tail) = rest.as_chunks::<8>();
        let mut at = offset;
        for byte in head {
            self.write(at, *byte)?;
            at += 1;
        }
        for word in words {
            self.write(at, u64::from_ne_bytes(*word))?;
            at += size_of::<u64>();
        }
        for byte in tail {
            self.write(at, *byte)?;
            at += 1;
        }
        Ok(())
    }

    fn check(&self, offset: usize, len: usize) -> Result<()> {
        match offset.checked_add(len) {
            Some(end) if end <= self.len => Ok(()),
            _ => Err(Error::OutOfBounds {
                offset,
                len,
                region: self.len,
            }),
        }
    }

    fn word<W: Word>(&self, offset: usize) -> Result<*mut W> {
        self.check(offset, size_of::<W>())?;
        if !offset.is_multiple_of(size_of::<W>()) {
            return Err(Error::Misaligned {
                offset,
                width: size_of::<W>(),
            });
        }
        Ok(self.base.as_ptr().wrapping_add(offset).cast())
    }
}

impl fmt::Debug for VolatileRegion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VolatileRegion")
            .field("base", &self.base)
            .field("len", &self.len)
            .finish()
    }
}

/// How many of `len` bytes lie before the first offset that is aligned for a `u64`.
fn unaligned_head(offset: usize, len: usize) -> usize {
    let past = offset % size_of::<u64>();
    if past == 0 {
        0
    } else {
        len.min(size_of::<u64>() - past)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words outside of Rust's allocations, as far as a test has them: a mapping of its own.
    struct Region {
        region: VolatileRegion,
        _map: memmap2::MmapRaw,
    }

    fn region() -> Region {
        let map = memmap2::MmapRaw::from(memmap2::MmapMut::map_anon(64).unwrap());
        let base = NonNull::new(map.as_mut_ptr()).unwrap();
        // SAFETY: the page-aligned mapping is kept beside the region and touched only through it.
        let region = unsafe { VolatileRegion::new(base, 64) };
        Region { region, _map: map }
    }

    #[test]
    fn a_word_is_read_as_it_was_written() {
        let mapped = region();
        let region = &mapped.region;
        region.write(8, 0x0102_0304_u32).unwrap();
        assert_eq!(region.read::<u32>(8).unwrap(), 0x0102_0304);
        assert_eq!(region.read::<u8>(8).unwrap(), 4);
        region.store_release(16, u64::MAX).unwrap();
        assert_eq!(region.load_acquire::<u64>(16).unwrap(), u64::MAX);
    }

    #[test]
    fn what_is_not_inside_is_refused() {
        let mapped = region();
        let region = &mapped.region;
        assert!(matches!(
            region.read::<u32>(62),
            Err(Error::OutOfBounds { .. })
        ));
        assert!(matches!(
            region.read::<u32>(64),
            Err(Error::OutOfBounds { .. })
        ));
        assert!(matches!(
            region.write(usize::MAX, 0_u8),
            Err(Error::OutOfBounds { .. })
        ));
        assert!(matches!(
            region.write(2, 0_u32),
            Err(Error::Misaligned { .. })
        ));
        assert!(region.read_bytes(60, &mut [0; 5]).is_err());
        assert!(region.write_bytes(usize::MAX, &[0]).is_err());
        assert!(region.read_bytes(64, &mut []).is_ok());
    }

    #[test]
    fn bytes_are_copied_whole_at_every_alignment() {
        let mapped = region();
        let region = &mapped.region;
        let pattern: Vec<u8> = (1..=40).collect();
        for offset in 0..16 {
            for len in 0..pattern.len() {
                region.write_bytes(0, &[0; 64]).unwrap();
                region.write_bytes(offset, &pattern[..len]).unwrap();
                let mut all = [0; 64];
                region.read_bytes(0, &mut all).unwrap();
                assert_eq!(all[offset..offset + len], pattern[..len]);
                assert!(all[..offset].iter().all(|&byte| byte == 0));
                assert!(all[offset + len..].iter().all(|&byte| byte == 0));
                let mut back = vec![0; len];
                region.read_bytes(offset, &mut back).unwrap();
                assert_eq!(back, pattern[..len]);
            }
        }
    }
}
