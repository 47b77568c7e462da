//! Fails with E0382: a device is bound again, to another context.

use iommufd::Iommufd;
use vfio::{Cdev, Device, Result};

fn case(cdev: Cdev, iommufd: &Iommufd) -> Result<Device> {
    let device = cdev.bind(iommufd)?;
    #[cfg(feature = "misuse")]
    cdev.bind(iommufd)?;
    Ok(device)
}

fn main() {
    let _checked = case;
}
