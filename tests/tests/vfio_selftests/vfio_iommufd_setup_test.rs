//! Program `vfio_iommufd_setup_test`: a character device before, while and after it is bound.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use iommufd::{Ioas, Iommufd};
use rustix::io::Errno;
use tests::edu::{assert_free, cdev, lone};
use tests::{ids, raw};
use vfio::{Cdev, DeviceFlags};

fn twin(cdev: &Cdev) -> OwnedFd {
    cdev.as_fd().try_clone_to_owned().unwrap()
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn bind() {
    let device = cdev(lone()).bind(&Iommufd::open().unwrap()).unwrap();
    let info = device.info().unwrap();
    assert!(info.flags.contains(DeviceFlags::PCI), "{info:?}");
    device.try_close().unwrap();
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn get_info_without_bind_fails() {
    let cdev = cdev(lone());
    let twin = twin(&cdev);
    assert_eq!(raw::vfio_get_info(&twin), Err(Errno::INVAL));
    let device = cdev.bind(&Iommufd::open().unwrap()).unwrap();
    assert!(raw::vfio_get_info(&twin).unwrap() & DeviceFlags::PCI.bits() != 0);
    drop(twin);
    device.try_close().unwrap();
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn bind_bad_iommufd_fails() {
    let cdev = cdev(lone());
    for negative in [-2, -1, i32::MIN] {
        assert_eq!(raw::vfio_bind_number(&cdev, negative), Err(Errno::INVAL));
    }
    assert_eq!(raw::vfio_bind_number(&cdev, i32::MAX), Err(Errno::BADF));
    let other = File::open("/dev/null").unwrap();
    assert_eq!(raw::vfio_bind(&cdev, &other), Err(Errno::BADFD));
    // It is as it was.
    let device = cdev.bind(&Iommufd::open().unwrap()).unwrap();
    device.try_close().unwrap();
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn repeated_bind_fails() {
    let iommufd = Iommufd::open().unwrap();
    let cdev = cdev(lone());
    let twin = twin(&cdev);
    let device = cdev.bind(&iommufd).unwrap();
    for context in [&iommufd, &Iommufd::open().unwrap()] {
        assert_eq!(raw::vfio_bind(&twin, context), Err(Errno::INVAL));
    }
    drop(Cdev::from_fd(twin).unwrap_err());
    assert!(device.info().is_ok());
    device.try_close().unwrap();
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn attach_detatch_pt() {
    let iommufd = Iommufd::open().unwrap();
    let device = cdev(lone()).bind(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    for _ in 0..2 {
        device.attach(&ioas).unwrap().detach().unwrap();
    }
    ioas.try_destroy().unwrap();
    device.try_close().unwrap();
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn attach_invalid_pt_fails() {
    let iommufd = Iommufd::open().unwrap();
    let cdev = cdev(lone());
    let twin = twin(&cdev);
    let device = cdev.bind(&iommufd).unwrap();
    let gone = Ioas::new(&iommufd).unwrap();
    let id = ids::of(&gone);
    gone.try_destroy().unwrap();
    for nothing in [u32::MAX, id] {
        assert_eq!(raw::vfio_attach(&twin, nothing), Err(Errno::NOENT));
    }
    // No table, but the device itself.
    let itself = ids::of(device.iommu());
    assert_eq!(raw::vfio_attach(&twin, itself), Err(Errno::INVAL));
    drop((twin, device));
    assert_free(lone());
}
