//! Fails with E0308: to make no virtual functions would remove those there are.

use std::num::NonZeroU16;

use vfio::{PciAddress, Pending, Result, Sriov};

fn case(card: Sriov, count: u16) -> Result<Option<Pending<Vec<PciAddress>>>> {
    #[cfg(feature = "misuse")]
    return card.enable(count).map(Some);
    #[cfg(not(feature = "misuse"))]
    NonZeroU16::new(count)
        .map(|count| card.enable(count))
        .transpose()
}

fn main() {
    let _checked = case;
}
