//! A mediated device beside one of the mock driver's.

use std::fs::File;
use std::os::fd::OwnedFd;

use iommufd::{GroupIdentity, Ioas, Iommufd};
use tests::mock::MockDevice;
use tests::mtty::Mtty;
use vfio::Cdev;

#[test]
#[ignore = "needs the kernel's sample mtty: cargo lab test"]
fn a_mediated_device_shares_a_group_with_nobody() {
    let mtty = Mtty::new();
    let iommufd = Iommufd::open().unwrap();
    let file = File::options().read(true).write(true).open(mtty.node());
    let cdev = Cdev::from_fd(OwnedFd::from(file.unwrap())).unwrap();
    assert!(matches!(cdev.group(), GroupIdentity::Group(_)));
    let device = cdev.bind_mediated(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let mut attachment = device.attach(&ioas).unwrap();
    // A device of which nothing is known may be anybody's sibling, but not a mediated one's.
    let stranger = MockDevice::new(&iommufd).unwrap();
    let _held = stranger.attach(&ioas).unwrap();
    attachment.replace(&Ioas::new(&iommufd).unwrap()).unwrap();
    attachment.detach().unwrap();
    device.try_close().unwrap();
}
