//! Fails with E0614: a reference into memory that a device writes.

use std::sync::Arc;

use iommufd::{Result, SharedBuffer};

fn case(shared: &Arc<SharedBuffer>) -> Result<Vec<u8>> {
    let mut bytes = vec![0; shared.len()];
    #[cfg(feature = "misuse")]
    bytes.copy_from_slice(&***shared);
    #[cfg(not(feature = "misuse"))]
    shared.read_bytes(0, &mut bytes)?;
    Ok(bytes)
}

fn main() {
    let _checked = case;
}
