//! Fails with E0624: the compatibility address space, which the kernel does not hold, is taken for a handle.

use iommufd::{Iommufd, Result};

fn case(iommufd: &Iommufd) -> Result<bool> {
    #[cfg(feature = "misuse")]
    iommufd.compat_ioas()?;
    iommufd.has_compat_ioas()
}

fn main() {
    let _checked = case;
}
