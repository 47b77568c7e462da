//! Fails with E0599: KVM is told of a device that is bound, when the kernel does not look any more.

use std::sync::Arc;

use iommufd::Iommufd;
use vfio::{Cdev, Device, KvmVfio, Result};

fn case(cdev: Cdev, iommufd: &Iommufd, kvm: Arc<dyn KvmVfio>) -> Result<Device> {
    #[cfg(feature = "misuse")]
    return Ok(cdev.bind(iommufd)?.with_kvm(kvm)?);
    #[cfg(not(feature = "misuse"))]
    Ok(cdev.with_kvm(kvm)?.bind(iommufd)?)
}

fn main() {
    let _checked = case;
}
