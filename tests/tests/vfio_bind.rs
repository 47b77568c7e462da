//! Binding VFIO devices, what holds them, and how they are given back.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use examples::edu::{BUFFER_LEN, Edu};
use iommufd::{Access, DmaBuffer, GroupIdentity, Ioas, Iommufd, Leaks};
use rustix::io::Errno;
use tests::edu::{assert_free, bind, cdev, lone, pair};
use tests::fork::in_child;
use tests::observe::Recorder;
use tests::raw::{self, Place};
use vfio::{Cdev, Device, Error, IrqKind, Readiness, RegionIndex};

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn p14_a_bind_that_is_refused_gives_the_device_back() {
    let iommufd = Iommufd::open().unwrap();
    let first = bind(lone(), &iommufd);
    let failed = cdev(lone()).bind(&iommufd).unwrap_err();
    assert_eq!(failed.error().errno(), Some(Errno::INVAL), "{failed}");
    assert!(
        failed.to_string().contains("VFIO_DEVICE_BIND_IOMMUFD"),
        "{failed}"
    );
    let second = failed.into_cdev().unwrap();
    first.try_close().unwrap();
    second.bind(&iommufd).unwrap();
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn a_file_that_is_bound_is_not_adopted() {
    let address = lone();
    drop(cdev(address));
    let node = Readiness::of(address).unwrap().cdev().unwrap().to_owned();
    let file = File::options().read(true).write(true).open(node).unwrap();
    let twin = OwnedFd::from(file.try_clone().unwrap());
    let cdev = Cdev::from_fd(OwnedFd::from(file)).unwrap();
    assert_eq!(cdev.address(), Some(address));
    assert!(matches!(cdev.group(), GroupIdentity::Group(_)));
    // What sysfs says stands.
    let known = cdev.group();
    let cdev = cdev.with_group(GroupIdentity::Alone);
    assert_eq!(cdev.group(), known);
    let device = cdev.bind(&Iommufd::open().unwrap()).unwrap();
    let refused = Cdev::from_fd(twin).unwrap_err();
    assert!(matches!(refused.error(), Error::AlreadyBound), "{refused}");
    drop(device);

    let iommufd = Iommufd::open().unwrap();
    let node = Readiness::of(address).unwrap().cdev().unwrap().to_owned();
    let file = File::options().read(true).write(true).open(node).unwrap();
    let refused = Iommufd::from_fd(OwnedFd::from(file));
    let error = refused.unwrap_err();
    assert!(matches!(error.error(), iommufd::Error::NotIommufd));
    let other = iommufd.as_fd().try_clone_to_owned().unwrap();
    assert!(matches!(
        Cdev::from_fd(other).unwrap_err().error(),
        Error::NotVfio
    ));
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn a_group_goes_to_one_context_and_one_address_space() {
    let (one, two) = (pair()[0], pair()[1]);
    let iommufd = Iommufd::open().unwrap();
    let first = bind(one, &iommufd);
    let stranger = cdev(two).bind(&Iommufd::open().unwrap()).unwrap_err();
    assert_eq!(stranger.error().errno(), Some(Errno::PERM), "{stranger}");
    let second = stranger.into_cdev().unwrap().bind(&iommufd).unwrap();
    assert_eq!(
        first.iommu().group().identity(),
        second.iommu().group().identity()
    );

    let ioas = Ioas::new(&iommufd).unwrap();
    let other = Ioas::new(&iommufd).unwrap();
    let attached = first.attach(&ioas).unwrap();
    let refused = second.attach(&other).unwrap_err();
    assert!(
        matches!(refused, iommufd::Error::GroupAttachedElsewhere { .. }),
        "{refused}"
    );
    drop(attached);
    let attached = second.attach(&other).unwrap();
    assert!(second.holders().attached && !first.holders().attached);
    drop(attached);
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn a_mapping_and_an_attachment_outlive_the_handles() {
    let iommufd = Iommufd::open().unwrap();
    let device = bind(lone(), &iommufd);
    let ioas = Ioas::new(&iommufd).unwrap();
    let attachment = device.attach(&ioas).unwrap();
    let registers = device.map_bar(RegionIndex::BAR0).unwrap();
    drop((device, ioas, iommufd));
    assert_eq!(registers.read::<u32>(0).unwrap() & 0xffff, 0xed);
    drop(attachment);
    assert_eq!(registers.read::<u32>(0).unwrap() & 0xffff, 0xed);
    drop(registers);
    // Released: it can be bound again.
    assert_free(lone());
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn closing_says_what_holds_the_device() {
    let (iommufd, recorder) = Recorder::context();
    let device = bind(lone(), &iommufd);
    let ioas = Ioas::new(&iommufd).unwrap();
    let attachment = device.attach(&ioas).unwrap();
    let registers = device.map_bar(RegionIndex::BAR0).unwrap();
    let config = device.config().unwrap();
    let interrupts = device.msi(1).unwrap();
    let clone = device.clone();
    let iommu = device.iommu().clone();

    let refused = device.try_close().unwrap_err();
    let Error::StillHeld(holders) = refused.error() else {
        panic!("{refused}")
    };
    assert_eq!(
        (holders.devices, holders.mappings, holders.regions),
        (1, 1, 1)
    );
    assert!(holders.attached);
    assert_eq!(holders.interrupts, Some(IrqKind::Msi));
    assert_eq!(
        refused.to_string(),
        "the device stays open, as it is held by its attachment, its MSI interrupts, 1 mapped \
         region, 1 open region and 1 other handle"
    );

    drop(clone);
    let refused = refused.into_value().try_close().unwrap_err();
    attachment.detach().unwrap();
    drop((registers, config));
    interrupts.disable().unwrap();
    let refused = refused.into_value().try_close().unwrap_err();
    let Error::StillHeld(holders) = refused.error() else {
        panic!("{refused}")
    };
    assert_eq!(holders.iommu_handles, 1, "{holders:?}");
    drop(iommu);
    recorder.clear();
    refused.into_value().try_close().unwrap();
    assert_eq!(recorder.calls(), [] as [&str; 0]);
    assert_free(lone());
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn a_child_of_a_fork_gets_errors_and_leaves_the_device_alone() {
    let iommufd = Iommufd::open().unwrap();
    let device = bind(lone(), &iommufd);
    let ioas = Ioas::new(&iommufd).unwrap();
    let attachment = device.attach(&ioas).unwrap();
    let registers = device.map_bar(RegionIndex::BAR0).unwrap();
    let config = device.config().unwrap();
    let edu = Edu::new(&device).unwrap();
    let mut held = Some((attachment, registers, config, edu));
    in_child(|| {
        let forked = |error: Error| {
            assert!(
                matches!(error, Error::Iommufd(iommufd::Error::Forked)),
                "{error}"
            );
        };
        let (attachment, registers, config, edu) = held.take().unwrap();
        forked(device.info().unwrap_err());
        forked(device.reset().unwrap_err());
        forked(device.msi(1).unwrap_err());
        forked(registers.read::<u32>(0).unwrap_err());
        forked(registers.write(4, 0_u32).unwrap_err());
        forked(config.read::<u32>(0).unwrap_err());
        forked(edu.interrupts().vector(0).unwrap().take().unwrap_err());
        forked(device.clone().try_close().unwrap_err().into());
        drop((attachment, registers, config, edu));
    });
    // What the child dropped is all there.
    let (attachment, _registers, config, edu) = held.unwrap();
    let mut buffer = DmaBuffer::new(2 * BUFFER_LEN).unwrap();
    buffer[..BUFFER_LEN].fill(0xa5);
    let shared = buffer.share();
    let mapping = ioas.map(&shared, Access::ReadWrite).unwrap();
    edu.fetch(mapping.iova(), BUFFER_LEN).unwrap();
    edu.store(
        mapping.iova().checked_add(BUFFER_LEN as u64).unwrap(),
        BUFFER_LEN,
    )
    .unwrap();
    mapping.unmap().unwrap();
    assert!(
        DmaBuffer::reclaim(shared)
            .unwrap()
            .iter()
            .all(|&byte| byte == 0xa5)
    );
    config.disable_bus_master().unwrap();
    attachment.detach().unwrap();
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn the_observer_sees_every_ioctl_of_the_device() {
    let (iommufd, recorder) = Recorder::context();
    let device = bind(lone(), &iommufd);
    assert_eq!(
        recorder.calls(),
        ["VFIO_DEVICE_BIND_IOMMUFD", "IOMMU_GET_HW_INFO"]
    );
    recorder.clear();
    let ioas = Ioas::new(&iommufd).unwrap();
    let attachment = device.attach(&ioas).unwrap();
    drop(device.msi(1).unwrap());
    attachment.detach().unwrap();
    device.reset().unwrap_err();
    assert_eq!(
        recorder.answers(),
        [
            ("IOMMU_IOAS_ALLOC", Ok(())),
            ("VFIO_DEVICE_ATTACH_IOMMUFD_PT", Ok(())),
            ("VFIO_DEVICE_GET_INFO", Ok(())),
            ("VFIO_DEVICE_GET_IRQ_INFO", Ok(())),
            ("VFIO_DEVICE_SET_IRQS", Ok(())),
            ("VFIO_DEVICE_SET_IRQS", Ok(())),
            ("VFIO_DEVICE_DETACH_IOMMUFD_PT", Ok(())),
            ("VFIO_DEVICE_RESET", Err(Errno::INVAL)),
        ]
    );
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn objects_of_a_device_are_dropped_in_any_order() {
    for order in 0..24 {
        let iommufd = Iommufd::open().unwrap();
        let device = bind(lone(), &iommufd);
        let ioas = Ioas::new(&iommufd).unwrap();
        let attachment = device.attach(&ioas).unwrap();
        let bar = device.map_bar(RegionIndex::BAR0).unwrap();
        let mut things: Vec<Box<dyn std::any::Any>> = vec![
            Box::new(device),
            Box::new(ioas),
            Box::new(attachment),
            Box::new(bar),
        ];
        let mut code = order;
        while !things.is_empty() {
            drop(things.swap_remove(code % things.len()));
            code /= things.len() + 1;
        }
        assert_eq!(iommufd.leaks(), Leaks::default());
        assert_free(lone());
    }
}

/// A device that the kernel has still attached, as it would not detach it when its attachment was dropped.
fn stuck(iommufd: &Iommufd) -> Device {
    let cdev = cdev(lone());
    let place = Place::of(&cdev);
    let device = cdev.bind(iommufd).unwrap();
    let file = place.as_fd().try_clone_to_owned().unwrap();
    let attachment = device.attach(Ioas::new(iommufd).unwrap()).unwrap();
    raw::put_in_place(&place, &File::open("/dev/null").unwrap());
    drop(attachment);
    raw::put_in_place(&place, &file);
    device
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn what_a_device_is_stuck_to_goes_when_its_file_is_closed_by_whomever() {
    let ways: [fn(Device); 5] = [
        drop,
        |device| device.try_close().unwrap(),
        |device| {
            let iommu = device.iommu().clone();
            drop(device);
            iommu.try_close().unwrap();
        },
        |device| {
            let region = device.region(RegionIndex::CONFIG).unwrap();
            drop(device);
            drop(region);
        },
        |device| {
            let registers = device.map_bar(RegionIndex::BAR0).unwrap();
            drop(device);
            drop(registers);
        },
    ];
    for (number, close) in ways.into_iter().enumerate() {
        let iommufd = Iommufd::open().unwrap();
        close(stuck(&iommufd));
        let leaks = iommufd.leaks();
        assert_eq!(
            (leaks.objects, leaks.memories),
            (1, 0),
            "the detach alone: {number}"
        );
        assert_eq!(raw::objects(&iommufd), 0, "{number}");
        assert_free(lone());
    }
}
