//! Fails with E0277: memory is given by a bare address: safe code could name any. (P1)

use iommufd::{Access, DmaBuffer, Ioas, Mapping, Result};

fn case(ioas: &Ioas, mut buffer: DmaBuffer) -> Result<Mapping> {
    let address = buffer.as_mut_ptr();
    assert!(!address.is_null());
    #[cfg(feature = "misuse")]
    return ioas.map(address, Access::ReadWrite);
    #[cfg(not(feature = "misuse"))]
    ioas.map(buffer.share(), Access::ReadWrite)
}

fn main() {
    let _checked = case;
}
