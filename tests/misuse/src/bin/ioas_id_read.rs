//! Fails with E0616: the kernel's id of an address space is copied out; ids are handed out again.

use iommufd::{Ioas, Result};

fn case(ioas: Ioas) -> Result<()> {
    #[cfg(feature = "misuse")]
    let _id = ioas.inner;
    ioas.try_destroy()?;
    Ok(())
}

fn main() {
    let _checked = case;
}
