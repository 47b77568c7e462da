//! Fails with E0308: a slice of memory that a device writes.

use iommufd::{Result, SharedBuffer};

fn case(shared: &SharedBuffer) -> Result<[u8; 16]> {
    let mut header = [0; 16];
    #[cfg(feature = "misuse")]
    header.copy_from_slice(shared);
    #[cfg(not(feature = "misuse"))]
    shared.read_bytes(0, &mut header)?;
    Ok(header)
}

fn main() {
    let _checked = case;
}
