//! Mediated devices, behind which there is no IOMMU: the kernel's sample `mtty`.

use std::fs::File;
use std::time::Duration;

use iommufd::{Access, Error as IommuError, Ioas, Iommufd, Leaks};
use rustix::io::Errno;
use tests::at::PAGE;
use tests::edu::{assert_free, cdev, lone};
use tests::memory::Living;
use tests::mtty::Mtty;
use tests::observe::Recorder;
use vfio::{AnyDevice, DeviceFlags, Error, IrqKind, RegionIndex};

#[test]
#[ignore = "needs the kernel's sample mtty: cargo lab test"]
fn a_mediated_device_is_attached_to_an_address_space() {
    let mtty = Mtty::new();
    let iommufd = Iommufd::open().unwrap();
    let device = mtty.cdev().bind_mediated(&iommufd).unwrap();
    let (ioas, other) = (Ioas::new(&iommufd).unwrap(), Ioas::new(&iommufd).unwrap());
    let mut attachment = device.attach(&ioas).unwrap();
    let refused = device.attach(&other).unwrap_err();
    assert!(matches!(refused, IommuError::AlreadyAttached), "{refused}");
    // It pins nothing of its own accord, and reserves no addresses.
    let mapping = ioas.map(Living::new().memory(PAGE), Access::ReadWrite);
    mapping.unwrap().unmap().unwrap();
    assert_eq!(attachment.ioas().as_ref(), Some(&ioas));
    attachment.replace(&other).unwrap();
    assert_eq!(attachment.ioas().as_ref(), Some(&other));
    ioas.try_destroy().unwrap();
    attachment.detach().unwrap();
    device.try_close().unwrap();
    assert_eq!(iommufd.leaks(), Leaks::default());
}

#[test]
#[ignore = "needs the kernel's sample mtty: cargo lab test"]
fn an_address_space_of_another_context_is_refused() {
    let mtty = Mtty::new();
    let (iommufd, recorder) = Recorder::context();
    let device = mtty.cdev().bind_mediated(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let mut attachment = device.attach(&ioas).unwrap();
    let stranger = Ioas::new(&Iommufd::open().unwrap()).unwrap();
    recorder.clear();
    let refused = attachment.replace(&stranger).unwrap_err();
    assert!(
        matches!(refused, IommuError::ForeignContext { .. }),
        "{refused}"
    );
    attachment.detach().unwrap();
    let refused = device.attach(&stranger).unwrap_err();
    assert!(
        matches!(refused, IommuError::ForeignContext { .. }),
        "{refused}"
    );
    assert_eq!(recorder.calls(), ["VFIO_DEVICE_DETACH_IOMMUFD_PT"]);
}

#[test]
#[ignore = "needs the kernel's sample mtty: cargo lab test"]
fn a_mediated_device_is_bound_as_one_and_as_nothing_else() {
    let mtty = Mtty::new();
    let (iommufd, recorder) = Recorder::context();
    // Nothing is asked of the kernel: it is given back as it was.
    let refused = mtty.cdev().bind(&iommufd).unwrap_err();
    assert!(matches!(refused.error(), Error::Mediated), "{refused}");
    let unbound = refused.into_cdev().unwrap();
    let refused = cdev(lone()).bind_mediated(&iommufd).unwrap_err();
    assert!(matches!(refused.error(), Error::NotMediated), "{refused}");
    assert!(refused.into_cdev().is_some());
    assert_eq!(recorder.calls(), [] as [&str; 0]);
    unbound
        .bind_mediated(&iommufd)
        .unwrap()
        .try_close()
        .unwrap();
    assert_free(lone());
}

#[test]
#[ignore = "needs the kernel's sample mtty: cargo lab test"]
fn whoever_does_not_know_finds_out_by_the_bind() {
    let mtty = Mtty::new();
    let iommufd = Iommufd::open().unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    for (cdev, mediated) in [(mtty.cdev(), true), (cdev(lone()), false)] {
        let device = cdev.bind_any(&iommufd).unwrap();
        assert_eq!(device.as_device().is_none(), mediated);
        let clone = device.clone();
        // What both can do needs no telling apart.
        let mut attachment = device.attach(&ioas).unwrap();
        let other = Ioas::new(&iommufd).unwrap();
        attachment.replace(&other).unwrap();
        assert!(device.info().unwrap().flags.contains(DeviceFlags::PCI));
        attachment.detach().unwrap();
        drop(clone);
        match device {
            AnyDevice::Mediated(device) => device.try_close().unwrap(),
            AnyDevice::Device(device) => device.try_close().unwrap(),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(iommufd.leaks(), Leaks::default());
}

/// Where the mtty's ports have their line status register, of which 0x60 says that nothing waits to
/// be sent.
const LINE_STATUS: u64 = 5;

#[test]
#[ignore = "needs the kernel's sample mtty: cargo lab test"]
fn what_is_the_devices_own_works_as_with_any_other() {
    let mtty = Mtty::new();
    let iommufd = Iommufd::open().unwrap();
    let device = mtty.cdev().bind_mediated(&iommufd).unwrap();
    assert!(device.info().unwrap().regions >= 9);
    let config = device.config().unwrap();
    assert_eq!(config.read::<u16>(0).unwrap(), 0x4348, "its vendor");
    let ports = device.region(RegionIndex::BAR0).unwrap();
    assert_eq!(ports.read::<u8>(LINE_STATUS).unwrap() & 0x60, 0x60);
    let refused = device.map_bar(RegionIndex::BAR0).unwrap_err();
    assert!(matches!(refused, Error::NotMappable { .. }), "{refused}");
    // Nothing translates them: they need no attachment on any machine.
    assert_eq!(device.irq_info(IrqKind::Msi).unwrap().count, 1);
    let interrupts = device.msi(1).unwrap();
    let vector = interrupts.vector(0).unwrap();
    assert_eq!(vector.wait(Duration::from_millis(1)).unwrap(), None);

    let Error::StillHeld(holders) = device.try_close().unwrap_err().into_error() else {
        panic!("it is held")
    };
    assert_eq!(
        (holders.regions, holders.interrupts),
        (2, Some(IrqKind::Msi))
    );
    drop((config, ports));
    interrupts.disable().unwrap();
    // The refusal took the handle, and the last that was made of it is gone: it can be bound again.
    mtty.cdev().bind_mediated(&iommufd).unwrap();
}

/// What is left of it is the kernel's answer to who asks for what takes an IOMMU by other means.
#[test]
#[ignore = "needs the kernel's sample mtty: cargo lab test"]
fn the_kernel_knows_no_device_by_a_mediated_ones_id() {
    let mtty = Mtty::new();
    let iommufd = Iommufd::open().unwrap();
    let file = File::options().read(true).write(true).open(mtty.node());
    let file = file.unwrap();
    let id = tests::raw::vfio_bind(&file, &iommufd).unwrap();
    let ioas = tests::raw::ioas_alloc(&iommufd).unwrap();
    assert_eq!(
        tests::raw::hwpt_alloc(&iommufd, 0, id, ioas),
        Err(Errno::NOENT)
    );
}
