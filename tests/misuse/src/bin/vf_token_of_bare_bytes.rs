//! Fails with E0308: bytes of whatever order and meaning are given for a VF token.

use iommufd::Iommufd;
use vfio::{BindError, Cdev, Device, VfToken};

fn case(cdev: Cdev, iommufd: &Iommufd, bytes: [u8; 16]) -> Result<Device, BindError> {
    #[cfg(feature = "misuse")]
    return cdev.bind_with_token(iommufd, bytes);
    #[cfg(not(feature = "misuse"))]
    cdev.bind_with_token(iommufd, VfToken::new(bytes))
}

fn main() {
    let _checked = case;
}
