//! Fails with E0382: memory is mapped in an address space that was destroyed.

use std::sync::Arc;

use iommufd::{Access, Ioas, Result, SharedBuffer};

fn case(ioas: Ioas, shared: &Arc<SharedBuffer>) -> Result<()> {
    ioas.map(shared, Access::Read)?.unmap()?;
    ioas.try_destroy()?;
    #[cfg(feature = "misuse")]
    ioas.map(shared, Access::Read)?.unmap()?;
    Ok(())
}

fn main() {
    let _checked = case;
}
