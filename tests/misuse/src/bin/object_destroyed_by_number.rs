//! Fails with E0624: an object is destroyed by its number, whosever it is by now. (P18)

use iommufd::{Ioas, Iommufd, Result};

fn case(iommufd: &Iommufd) -> Result<()> {
    let ioas = Ioas::new(iommufd)?;
    #[cfg(feature = "misuse")]
    iommufd.context().destroy(1)?;
    ioas.try_destroy()?;
    Ok(())
}

fn main() {
    let _checked = case;
}
