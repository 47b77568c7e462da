//! Fails with E0308: an exclusive slice of memory that a device writes.

use iommufd::{Result, SharedBuffer};

fn case(shared: &mut SharedBuffer) -> Result<()> {
    #[cfg(feature = "misuse")]
    let bytes: &mut [u8] = shared;
    #[cfg(not(feature = "misuse"))]
    let bytes: &mut [u8] = &mut [0; 16];
    bytes.fill(1);
    shared.write_bytes(0, &[1; 16])
}

fn main() {
    let _checked = case;
}
