//! Fails with E0603: an argument of the caller's own goes to the kernel, addresses and all.

#[cfg(feature = "misuse")]
use iommufd::funnel::plain;
use iommufd::{Access, Ioas, Mapping, Result, SharedBuffer};

fn case(ioas: &Ioas, shared: std::sync::Arc<SharedBuffer>) -> Result<Mapping> {
    ioas.map(shared, Access::Read)
}

fn main() {
    let _checked = case;
}
