//! Addresses, said shortly.

use iommufd::{Iova, IovaRange, Mapped};

use crate::mock::APERTURE;

/// The bytes in a page.
pub const PAGE: usize = 4096;

/// Page number `n` of those that the mock's IOMMU translates.
#[must_use]
pub fn page(n: u64) -> Iova {
    Iova::new(APERTURE.0 + n * 4096)
}

/// `count` pages from number `first` on.
#[must_use]
pub fn pages(first: u64, count: u64) -> IovaRange {
    IovaRange::with_len(page(first), count * 4096).unwrap()
}

/// From `start` to `last`, which belongs to it.
#[must_use]
pub fn range(start: u64, last: u64) -> IovaRange {
    IovaRange::new(Iova::new(start), Iova::new(last)).unwrap()
}

/// So many mappings, of so many bytes in all.
#[must_use]
pub fn mapped(mappings: usize, bytes: u64) -> Mapped {
    Mapped { mappings, bytes }
}
