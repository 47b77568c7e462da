//! Fails with E0277: a type that not every bit pattern is a value of.

use iommufd::{Result, SharedBuffer};

fn case(shared: &SharedBuffer) -> Result<bool> {
    #[cfg(feature = "misuse")]
    return shared.load_acquire::<bool>(0);
    #[cfg(not(feature = "misuse"))]
    Ok(shared.load_acquire::<u8>(0)? != 0)
}

fn main() {
    let _checked = case;
}
