//! Where the kernel's bits go first, and what is kept from one read to the next.

use memmap2::{MmapMut, MmapOptions};
use rustix::io::Errno;
use zerocopy::FromBytes;

use super::runs::Snapshot;
use crate::cause;
use crate::error::{KernelError, Result};
use crate::funnel;

/// What a read needs besides the bitmap: reads that follow one another allocate nothing.
#[derive(Default)]
pub(super) struct Scratch {
    pub(super) snapshot: Snapshot,
    pub(super) pages: Pages,
}

/// Whole pages for the kernel to set bits in.
///
/// The kernel's bits do not go into the user's bitmap at once. It pins pages, and sets bits for
/// whole entries of the page table: an entry that reaches beyond what was asked for would be
/// written beyond the bitmap, into whatever is in the same page or the next. That all of an entry
/// lies in what is asked for is [`runs`](super::runs)' concern, and a matter of no bit being lost;
/// that nothing but these pages is written is not to depend on it.
///
/// # Invariants
/// All zeroes, but between the kernel's writing and [`View::take`](super::bitmap::View::take).
#[derive(Default)]
pub(super) struct Pages {
    map: Option<MmapMut>,
}

impl Pages {
    /// The least that is allocated: bits for 2 GiB of small pages.
    const LEAST: usize = 64 << 10;

    /// Zeroes that the kernel can write `bits` bits to the beginning of.
    pub(super) fn for_bits(&mut self, bits: u64) -> Result<&mut [u64]> {
        let needed = funnel::reach_of_bitmap(bits).ok_or_else(|| refused(Errno::NOMEM))?;
        let map = match self.map.take() {
            Some(map) if map.len() >= needed => map,
            _ => Self::allocate(needed.max(Self::LEAST))?,
        };
        let bytes = self.map.insert(map);
        // A mapping begins and ends with a page.
        let words = <[u64]>::mut_from_bytes(bytes).map_err(|_| refused(Errno::INVAL))?;
        words
            .get_mut(..needed / size_of::<u64>())
            .ok_or_else(|| refused(Errno::INVAL).into())
    }

    /// With memory behind it from the beginning: a page that the kernel cannot have when it needs
    /// it costs the bits that it has cleared, and it does not say so.
    fn allocate(len: usize) -> Result<MmapMut, KernelError> {
        MmapOptions::new()
            .len(len)
            .populate()
            .map_anon()
            .map_err(|error| refused(Errno::from_io_error(&error).unwrap_or(Errno::NOMEM)))
    }
}

fn refused(errno: Errno) -> KernelError {
    KernelError::new("mmap for dirty bits", errno, cause::of_memory(errno))
}
