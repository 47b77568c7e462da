//! Fails with `unused_must_use`: the guard is not kept, so the memory is unmapped on the spot.

#![deny(unused_must_use)]

use std::sync::Arc;

use iommufd::{Access, Ioas, Mapping, Result, SharedBuffer};

fn case(ioas: &Ioas, shared: &Arc<SharedBuffer>) -> Result<Mapping> {
    #[cfg(feature = "misuse")]
    ioas.map(shared, Access::Read)?;
    let mapping = ioas.map(shared, Access::Read)?;
    Ok(mapping)
}

fn main() {
    let _checked = case;
}
