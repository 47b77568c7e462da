//! What the arguments of calls stand for: addresses of devices, parts of memory, and the like.

use std::ops::Range;

use iommufd::{Access, Iova, IovaRange, Pasid};
use tests::mock::{self, APERTURE};

use super::call::Pages;

/// The kernel's smallest page.
pub(super) const PAGE: u64 = 4096;

pub(super) fn access(writable: bool) -> Access {
    match writable {
        true => Access::ReadWrite,
        false => Access::Read,
    }
}

/// Where it begins among the device's addresses. Some are not aligned to anything.
pub(super) fn start(at: Pages) -> Iova {
    let shift = match at.shift {
        0..0xc0 => 0,
        0xc0..0xf0 => mock::PAGE,
        odd => u64::from(odd),
    };
    Iova::new(APERTURE.0 + u64::from(at.first % 32) * PAGE + shift)
}

pub(super) fn range(at: Pages) -> Option<IovaRange> {
    IovaRange::with_len(
        start(at),
        u64::from(at.count % 16) * PAGE + u64::from(at.shift == 0xff),
    )
}

/// Which bytes of something.
pub(super) fn bytes(at: Pages) -> Range<u64> {
    let start = u64::from(at.first % 16) * PAGE + if at.shift == 0xfe { mock::PAGE } else { 0 };
    start..start + u64::from(at.count % 16) * PAGE + u64::from(at.shift == 0xfd)
}

pub(super) fn pasid_of(number: u8) -> Option<Pasid> {
    Pasid::new(u32::from(number % 4))
}
