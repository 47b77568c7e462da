//! Fails with E0451: a range that goes on at address 0, which the kernel would not notice.

use std::num::NonZeroU64;

use iommufd::vtd::Invalidation;
use vtd_types::InputAddress;

fn case(address: InputAddress, pages: NonZeroU64) -> Invalidation {
    #[cfg(feature = "misuse")]
    return Invalidation {
        addr: address.get().into(),
        npages: pages.get().into(),
        flags: 0.into(),
        reserved: 0.into(),
    };
    #[cfg(not(feature = "misuse"))]
    Invalidation::pages(address, pages, false).unwrap_or(Invalidation::ALL)
}

fn main() {
    let _checked = case;
}
