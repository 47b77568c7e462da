//! Fails with E0277: a device is let into memory behind a live `&mut [u8]`. (P2)

use iommufd::{Access, DmaBuffer, Ioas, Mapping, Result};

fn case(ioas: &Ioas, bytes: &mut [u8]) -> Result<Mapping> {
    let mut buffer = DmaBuffer::new(bytes.len())?;
    buffer[..bytes.len()].copy_from_slice(bytes);
    #[cfg(feature = "misuse")]
    return ioas.map(bytes, Access::ReadWrite);
    #[cfg(not(feature = "misuse"))]
    ioas.map(buffer.share(), Access::ReadWrite)
}

fn main() {
    let _checked = case;
}
