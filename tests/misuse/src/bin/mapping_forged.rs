//! Fails with E0624: a guard of addresses that its holder has never mapped.

use std::sync::Arc;

use iommufd::{Access, Ioas, Mapping, Result, SharedBuffer};

fn case(ioas: &Ioas, shared: &Arc<SharedBuffer>) -> Result<Mapping> {
    #[cfg(feature = "misuse")]
    let _forge = Mapping::new;
    ioas.map(shared, Access::Read)
}

fn main() {
    let _checked = case;
}
