//! Fails with E0382: the CPU reads a buffer as plain bytes after a device may write it.

use iommufd::{DmaBuffer, Result};

fn case(buffer: DmaBuffer) -> Result<u8> {
    let shared = buffer.share();
    #[cfg(feature = "misuse")]
    return Ok(buffer[0]);
    shared.read(0)
}

fn main() {
    let _checked = case;
}
