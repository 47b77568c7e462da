//! Fails with E0277: a device is let into a Rust allocation.

use std::sync::Arc;

use iommufd::{Access, DmaBuffer, Ioas, Mapping, Result};

fn case(ioas: &Ioas, bytes: Arc<Vec<u8>>) -> Result<Mapping> {
    let mut buffer = DmaBuffer::new(bytes.len())?;
    buffer[..bytes.len()].copy_from_slice(&bytes);
    #[cfg(feature = "misuse")]
    return ioas.map(bytes, Access::Read);
    #[cfg(not(feature = "misuse"))]
    ioas.map(buffer.share(), Access::Read)
}

fn main() {
    let _checked = case;
}
