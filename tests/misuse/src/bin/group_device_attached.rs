//! Fails with E0599: a device of a container is attached to an address space.

use iommufd::Ioas;
use vfio::{Container, GroupDevice};

fn case(device: &GroupDevice, ioas: &Ioas) -> vfio::Result<Container> {
    #[cfg(feature = "misuse")]
    device.attach(ioas)?;
    let _ = device;
    Container::compat(ioas)
}

fn main() {
    let _checked = case;
}
