//! Fails with E0308: a device that the kernel emulates is taken for one behind an IOMMU.

use iommufd::Iommufd;
use vfio::{BindError, Cdev, Device};

fn case(cdev: Cdev, iommufd: &Iommufd) -> Result<Device, BindError> {
    #[cfg(feature = "misuse")]
    return cdev.bind_mediated(iommufd);
    #[cfg(not(feature = "misuse"))]
    cdev.bind(iommufd)
}

fn main() {
    let _checked = case;
}
