//! Devices without an IOMMU: opened by unsafe functions, and by no others.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]
#![expect(unsafe_code, reason = "there is no IOMMU")]
#![expect(clippy::panic, reason = "a helper of a test fails the test")]

use std::fs::File;
use std::os::fd::OwnedFd;
use std::time::Duration;

use iommufd::{Access, Error as IommuError, Ioas, Iommufd, Leaks};
use rustix::io::Errno;
use tests::at::PAGE;
use tests::bare::{BareEdu, address, node, physical};
use tests::edu::{assert_free, cdev, lone};
use tests::memory::Living;
use tests::mtty::Mtty;
use tests::observe::Recorder;
use vfio::{Cdev, Error, NoIommuDevice, Readiness, Refused, RegionIndex, Result};

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

/// Raises the engine's interrupt, for the reason that is written.
const RAISE: u64 = 0x60;
/// Takes the reason back.
const ACKNOWLEDGE: u64 = 0x64;

/// No IOMMU translates them. The lab's PC, whose IOMMU remaps interrupts, takes none that come past it: which the kernel
/// says by an `ENOTSUPP` of its own.
#[test]
#[ignore = "needs the lab's device without an IOMMU: cargo lab test"]
fn its_interrupts_take_no_attachment_but_a_machine_that_has_them() {
    let iommufd = Iommufd::open().unwrap();
    let edu = BareEdu::bind(&iommufd);
    let device = edu.device();
    let enabled = device.msi(1);
    if cfg!(target_arch = "x86_64") {
        tests::refused(enabled.map_err(only_kernels), Errno::from_raw_os_error(524));
    } else {
        let interrupts = enabled.unwrap();
        let registers = device.map_bar(RegionIndex::BAR0).unwrap();
        registers.write(RAISE, 1_u32).unwrap();
        let vector = interrupts.vector(0).unwrap();
        let fired = vector.wait(Duration::from_secs(60)).unwrap();
        assert!(fired.is_some());
        registers.write(ACKNOWLEDGE, 1_u32).unwrap();
        interrupts.disable().unwrap();
    }
    device.config().unwrap().disable_bus_master().unwrap();
}

fn only_kernels(error: Error) -> IommuError {
    match error {
        Error::Iommufd(error) => error,
        other => panic!("{other}"),
    }
}
