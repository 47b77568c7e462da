//! Fails with E0277: the context is closed while objects in it live.

use std::os::fd::{AsFd, OwnedFd};

use iommufd::Iommufd;

fn case(iommufd: &Iommufd) -> std::io::Result<OwnedFd> {
    #[cfg(feature = "misuse")]
    return Ok(OwnedFd::from(iommufd.clone()));
    #[cfg(not(feature = "misuse"))]
    iommufd.as_fd().try_clone_to_owned()
}

fn main() {
    let _checked = case;
}
