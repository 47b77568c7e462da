//! Parts of memory.

use std::ops::Range;
use std::ptr::NonNull;

use iommufd::DmaMemory;

/// The bytes of `memory` in `range`, for the mock to look up.
pub(crate) fn part(memory: &impl DmaMemory, range: Range<usize>) -> NonNull<[u8]> {
    let bytes = memory.bytes();
    assert!(range.end <= bytes.len());
    let start = bytes.cast::<u8>().as_ptr().wrapping_add(range.start);
    NonNull::slice_from_raw_parts(NonNull::new(start).unwrap(), range.len())
}
