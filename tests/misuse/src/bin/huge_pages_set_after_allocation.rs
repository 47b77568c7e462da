//! Fails with E0061: an address space that may be in use is told to do without huge pages.

use iommufd::{Ioas, Iommufd, Result};

fn case(iommufd: &Iommufd) -> Result<bool> {
    let ioas = Ioas::builder(iommufd).huge_pages(false).allocate()?;
    #[cfg(feature = "misuse")]
    ioas.huge_pages(true)?;
    ioas.huge_pages()
}

fn main() {
    let _checked = case;
}
