//! Fails with E0369: an address past the end of the address space comes round to its start.

use iommufd::{Iova, Mapping};

fn case(mapping: &Mapping, offset: u64) -> Option<Iova> {
    #[cfg(feature = "misuse")]
    return Some(mapping.iova() + offset);
    #[cfg(not(feature = "misuse"))]
    mapping.iova().checked_add(offset)
}

fn main() {
    let _checked = case;
}
