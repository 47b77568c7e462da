//! Fails with E0599: a device is used that is not bound.

use iommufd::Iommufd;
use vfio::{Cdev, Result};

fn case(cdev: Cdev, iommufd: &Iommufd) -> Result<()> {
    #[cfg(feature = "misuse")]
    return cdev.reset();
    #[cfg(not(feature = "misuse"))]
    cdev.bind(iommufd)?.reset()
}

fn main() {
    let _checked = case;
}
