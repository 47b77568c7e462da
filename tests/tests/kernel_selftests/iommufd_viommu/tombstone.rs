//! What is left of a virtual device whose device is gone.

use rustix::io::Errno;
use tests::ids;
use tests::mock::{self, MockDevice};
use tests::raw::{self, nested};

use super::Fixture;

pub(super) fn vdevice_tombstone(fixture: Fixture) {
    let fd = &fixture.iommufd;
    let devices = mock::devices();
    let Some(guest) = &fixture.guest else {
        // A device that has none leaves none: its ids are used again.
        let before = raw::objects(fd);
        let device = MockDevice::new(fd).unwrap();
        device.pull_out().unwrap();
        drop(device);
        assert_eq!(raw::objects(fd), before);
        assert_eq!(mock::devices(), devices);
        return;
    };
    let vdevice = guest.vdevice(7);
    let (id, dev) = (ids::of(&vdevice), guest.device.id());
    guest.device.pull_out().unwrap();
    assert_eq!(
        mock::devices(),
        devices - 1,
        "it is gone, and does not wait for anybody"
    );
    assert_eq!(raw::destroy(fd, id), Err(Errno::NOENT));
    assert_eq!(raw::destroy(fd, dev), Err(Errno::NOENT));
    // The device's id is free for others, the virtual device's is nobody's any more.
    let others: Vec<_> = (0..20).map(|_| raw::ioas_alloc(fd).unwrap()).collect();
    assert!(others.contains(&dev) && !others.contains(&id));
    for other in others {
        raw::destroy(fd, other).unwrap();
    }
    // Its number is free.
    let other = MockDevice::new(fd).unwrap();
    let again = nested::vdevice_alloc(fd, guest.id(), other.id(), 7).unwrap();
    raw::destroy(fd, again).unwrap();
    vdevice.try_destroy().unwrap();
    assert_eq!(fixture.iommufd.leaks(), iommufd::Leaks::default());
}
