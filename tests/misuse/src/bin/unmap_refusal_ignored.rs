//! Fails with `unused_must_use`: nobody looks whether the kernel has unmapped.

#![deny(unused_must_use)]

use iommufd::{Mapping, Refused};

fn case(mapping: Mapping, second: Mapping) -> Result<(), Refused<Mapping>> {
    #[cfg(feature = "misuse")]
    second.unmap();
    #[cfg(not(feature = "misuse"))]
    second.unmap()?;
    mapping.unmap()
}

fn main() {
    let _checked = case;
}
