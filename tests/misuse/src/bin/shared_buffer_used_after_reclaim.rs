//! Fails with E0382: a buffer is shared and the CPU's alone at once.

use std::sync::Arc;

use iommufd::{Access, DmaBuffer, Ioas, Result, SharedBuffer};

fn case(ioas: &Ioas, shared: Arc<SharedBuffer>) -> Result<DmaBuffer> {
    ioas.map(&shared, Access::Write)?.unmap()?;
    let buffer = DmaBuffer::reclaim(shared)?;
    #[cfg(feature = "misuse")]
    ioas.map(&shared, Access::Write)?.unmap()?;
    Ok(buffer)
}

fn main() {
    let _checked = case;
}
