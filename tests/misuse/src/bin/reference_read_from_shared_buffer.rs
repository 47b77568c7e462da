//! Fails with E0277: a reference out of memory that a device writes.

use iommufd::{Result, SharedBuffer};

fn case(shared: &SharedBuffer) -> Result<u64> {
    #[cfg(feature = "misuse")]
    return shared.read::<&u64>(0).copied();
    #[cfg(not(feature = "misuse"))]
    shared.read::<u64>(0)
}

fn main() {
    let _checked = case;
}
