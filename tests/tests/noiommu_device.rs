//! Devices without an IOMMU: opened by unsafe functions, and by no others.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]
#![expect(unsafe_code, reason = "there is no IOMMU")]

use std::fs::File;
use std::os::fd::OwnedFd;

use iommufd::{Access, Error as IommuError, Ioas, Iommufd, Leaks};
use rustix::io::Errno;
use tests::at::PAGE;
use tests::bare::{BareEdu, address, node, physical};
use tests::edu::{assert_free, cdev, lone};
use tests::memory::Living;
use tests::mtty::Mtty;
use tests::observe::Recorder;
use vfio::{Cdev, Error, NoIommuDevice, Readiness, Refused, Result};

/// Opens a device that does nothing here.
fn open(path: impl AsRef<std::path::Path>, iommufd: &Iommufd) -> Result<NoIommuDevice> {
    // SAFETY: an `edu`, if it is one without an IOMMU; its bus mastering stays off.
    unsafe { NoIommuDevice::open(path, iommufd) }
}

fn adopt(file: OwnedFd, iommufd: &Iommufd) -> Result<NoIommuDevice, Refused<Option<OwnedFd>>> {
    // SAFETY: as in `open`.
    unsafe { NoIommuDevice::from_fd(file, iommufd) }
}

fn file(path: impl AsRef<std::path::Path>) -> OwnedFd {
    let file = File::options().read(true).write(true).open(path);
    file.unwrap().into()
}

#[test]
#[ignore = "needs the lab's device without an IOMMU: cargo lab test"]
fn a_device_without_an_iommu_is_attached_moved_and_closed() {
    let node = node();
    for way in 0..3 {
        let iommufd = Iommufd::open().unwrap();
        let device = match way {
            0 => open(&node, &iommufd).unwrap(),
            // SAFETY: as in `open`.
            1 => unsafe { NoIommuDevice::open_pci(address(), &iommufd) }.unwrap(),
            _ => adopt(file(&node), &iommufd).unwrap(),
        };
        assert_eq!(device.address(), Some(address()));
        let (ioas, other) = (Ioas::new(&iommufd).unwrap(), Ioas::new(&iommufd).unwrap());
        let mut attachment = device.attach(&ioas).unwrap();
        let mapping = ioas.map(Living::new().memory(PAGE), Access::Read).unwrap();
        assert_eq!(physical(&ioas, mapping.range()).unwrap().len(), PAGE as u64);
        attachment.replace(&other).unwrap();
        tests::refused(physical(&ioas, mapping.range()), Errno::OPNOTSUPP);
        assert!(device.holders().attached);
        attachment.detach().unwrap();
        device.try_close().unwrap();
        drop(mapping);
        assert_eq!(iommufd.leaks(), Leaks::default());
    }
}

#[test]
#[ignore = "needs the lab's device without an IOMMU: cargo lab test"]
fn what_is_safe_does_not_open_it() {
    let node = node();
    let iommufd = Iommufd::open().unwrap();
    assert!(matches!(Cdev::open(&node), Err(Error::NoIommu)));
    assert!(matches!(
        Cdev::open_pci(address()),
        Err(Error::NotReady { .. })
    ));
    let refused = Cdev::from_fd(file(&node)).unwrap_err();
    assert!(matches!(refused.error(), Error::NoIommu), "{refused}");
    // Not by another name, either.
    let link = std::env::temp_dir().join("vfio0");
    std::os::unix::fs::symlink(&node, &link).unwrap();
    let refused = Cdev::open(&link);
    std::fs::remove_file(&link).unwrap();
    assert!(matches!(refused, Err(Error::NoIommu)));
    open(&node, &iommufd).unwrap().try_close().unwrap();
}

#[test]
#[ignore = "needs the lab's device without an IOMMU: cargo lab test"]
fn what_has_an_iommu_or_is_emulated_is_refused() {
    drop(cdev(lone()));
    let (iommufd, recorder) = Recorder::context();
    let lone_node = Readiness::of(lone()).unwrap().cdev().unwrap().to_owned();
    let mtty = Mtty::new();
    for node in [lone_node.clone(), mtty.node()] {
        let refused = open(&node, &iommufd).unwrap_err();
        assert!(matches!(refused, Error::HasIommu), "{refused}");
        let refused = adopt(file(&node), &iommufd).unwrap_err();
        assert!(matches!(refused.error(), Error::HasIommu), "{refused}");
        assert!(refused.into_value().is_some());
    }
    // SAFETY: as in `open`.
    let refused = unsafe { NoIommuDevice::open_pci(lone(), &iommufd) }.unwrap_err();
    assert!(matches!(refused, Error::HasIommu), "{refused}");
    assert_eq!(recorder.calls(), [] as [&str; 0]);
    assert_free(lone());
}

#[test]
#[ignore = "needs the lab's device without an IOMMU: cargo lab test"]
fn a_refused_bind_gives_the_file_back() {
    let node = node();
    let (iommufd, other) = (Iommufd::open().unwrap(), Iommufd::open().unwrap());
    let device = open(&node, &iommufd).unwrap();
    let refused = adopt(file(&node), &other).unwrap_err();
    assert_eq!(refused.error().errno(), Some(Errno::INVAL), "{refused}");
    let file = refused.into_value().unwrap();
    device.try_close().unwrap();
    adopt(file, &other).unwrap().try_close().unwrap();
}

#[test]
#[ignore = "needs the lab's device without an IOMMU: cargo lab test"]
fn it_is_held_by_what_is_made_of_it() {
    let iommufd = Iommufd::open().unwrap();
    let edu = BareEdu::bind(&iommufd);
    let device = edu.device().clone();
    let Error::StillHeld(holders) = device.try_close().unwrap_err().into_error() else {
        panic!("it is held")
    };
    assert_eq!((holders.devices, holders.mappings), (1, 1));
    let stranger = Ioas::new(&Iommufd::open().unwrap()).unwrap();
    let refused = edu.device().attach(&stranger).unwrap_err();
    assert!(
        matches!(refused, IommuError::ForeignContext { .. }),
        "{refused}"
    );
    edu.device().config().unwrap().disable_bus_master().unwrap();
}
