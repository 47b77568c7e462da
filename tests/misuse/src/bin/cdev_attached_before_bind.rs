//! Fails with E0599: a device is attached that is not bound.

use iommufd::{Attachment, Ioas};
use vfio::{Cdev, Result};

fn case(cdev: Cdev, ioas: &Ioas) -> Result<Option<Attachment>> {
    #[cfg(feature = "misuse")]
    return Ok(cdev.attach(ioas).ok());
    #[cfg(not(feature = "misuse"))]
    Ok(cdev.bind(ioas.iommufd())?.attach(ioas).ok())
}

fn main() {
    let _checked = case;
}
