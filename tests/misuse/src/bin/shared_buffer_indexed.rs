//! Fails with E0608: a plain read of memory that a device writes.

use iommufd::{Result, SharedBuffer};

fn case(shared: &SharedBuffer) -> Result<u8> {
    #[cfg(feature = "misuse")]
    return Ok(shared[0]);
    #[cfg(not(feature = "misuse"))]
    shared.read(0)
}

fn main() {
    let _checked = case;
}
