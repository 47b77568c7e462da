//! Fails with E0277: a device is let into a buffer that is only lent.

use iommufd::{Access, DmaBuffer, Ioas, Mapping, Result};

fn case(ioas: &Ioas, mut buffer: DmaBuffer) -> Result<Mapping> {
    buffer[0] = 1;
    #[cfg(feature = "misuse")]
    return ioas.map(&mut buffer, Access::ReadWrite);
    #[cfg(not(feature = "misuse"))]
    ioas.map(buffer.share(), Access::ReadWrite)
}

fn main() {
    let _checked = case;
}
