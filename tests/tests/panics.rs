//! Code of the user's that panics, or calls back, in the middle of what the SDK does: nothing is let go of too early.

#![expect(clippy::panic, reason = "what it is about")]

use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::sync::Arc;

use iommufd::{
    Access, DropRefusal, GroupIdentity, HwPt, Ioas, IoctlEvent, Iommufd, Leaks, Observer,
};
use parking_lot::Mutex;
use rustix::io::Errno;
use tests::at::{PAGE, page};
use tests::memory::{Asked, Living};
use tests::mock::{MockDevice, MockQueue};
use tests::observe::Recorder;
use tests::within::within;
use tests::{ids, raw};

/// Panics at everything that it is told.
struct Nervous;

impl Observer for Nervous {
    fn ioctl(&self, event: &IoctlEvent) {
        panic!("{} was made", event.ioctl.name);
    }

    fn refused_drop(&self, refusal: &DropRefusal<'_>) {
        panic!("the {} stays", refusal.object);
    }
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn memory_that_the_kernel_keeps_stays_though_the_observer_panics() {
    let iommufd = Iommufd::builder()
        .observer(Arc::new(Nervous))
        .open()
        .unwrap();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let living = Living::new();
    let mapping = ioas
        .map_at(page(0), living.memory(PAGE), Access::ReadWrite)
        .unwrap();
    let hwpt = HwPt::new(&ioas, &device).unwrap();
    let queue = MockQueue::new(&device, &ioas, &mapping).unwrap();
    let id = ids::of(&hwpt);
    let stranger = tests::mock::occupy(&iommufd, id).unwrap();
    drop(mapping);
    drop(queue);
    drop(hwpt);
    drop(ioas);
    assert_eq!(living.count(), 1);
    let leaks = iommufd.leaks();
    assert_eq!((leaks.objects, leaks.mappings, leaks.memories), (2, 1, 1));
    raw::destroy(&iommufd, stranger).unwrap();
    raw::destroy(&iommufd, id).unwrap();
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn an_id_is_destroyed_once_though_the_observer_panics() {
    let (iommufd, recorder) = Recorder::context();
    recorder.hook(|event| assert_ne!(event.ioctl.name, "IOMMU_DESTROY"));
    let ioas = Ioas::new(&iommufd).unwrap();
    let id = ids::of(&ioas);
    ioas.try_destroy().unwrap();
    drop(Ioas::new(&iommufd).unwrap());
    let successor = Ioas::new(&iommufd).unwrap();
    assert_eq!(ids::of(&successor), id, "the kernel gives the id again");
    let destroyed = recorder
        .calls()
        .iter()
        .filter(|&&name| name == "IOMMU_DESTROY")
        .count();
    assert_eq!(destroyed, 2);
    successor.iova_ranges().unwrap();
}

/// What panics once more when the panic that carries it is over.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("the payload was dropped");
    }
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn an_id_that_is_another_objects_by_now_is_left_alone_though_the_payload_of_a_panic_panics() {
    let (iommufd, recorder) = Recorder::context();
    let successor = Arc::new(Mutex::new(None));
    let arm = || {
        let (place, iommufd) = (Arc::clone(&successor), iommufd.clone());
        recorder.hook(move |event| {
            if event.ioctl.name == "IOMMU_DESTROY" && place.lock().is_none() {
                let ioas = Ioas::new(&iommufd).unwrap();
                *place.lock() = Some(ioas);
                panic_any(Bomb);
            }
        });
    };
    for drops in [true, false] {
        let ioas = Ioas::new(&iommufd).unwrap();
        let id = ids::of(&ioas);
        arm();
        if drops {
            drop(ioas);
        } else {
            ioas.try_destroy().unwrap();
        }
        recorder.unhook();
        let taken = successor.lock().take().unwrap();
        assert_eq!(ids::of(&taken), id, "the kernel gives the id again");
        taken.iova_ranges().unwrap();
        taken.try_destroy().unwrap();
    }
    assert_eq!(iommufd.leaks(), Leaks::default());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn nothing_is_left_half_done_though_the_payload_of_every_panic_panics() {
    let (iommufd, recorder) = Recorder::context();
    let device = MockDevice::new(&iommufd).unwrap();
    let before = raw::objects(&iommufd);
    recorder.hook(|_| panic_any(Bomb));
    let ioas = Ioas::new(&iommufd).unwrap();
    let living = Living::new();
    let memory = living.memory(PAGE);
    let mapping = ioas.map_at(page(0), &memory, Access::Read).unwrap();
    let refused = ioas.map_at(page(0), memory, Access::Read).unwrap_err();
    assert_eq!(refused.errno(), Some(Errno::EXIST));
    let hwpt = HwPt::new(&ioas, &device).unwrap();
    let mut attachment = device.attach(&ioas).unwrap();
    attachment.replace(&hwpt).unwrap();
    device.refuse_detach(true);
    let attachment = attachment.detach().unwrap_err().into_value();
    device.refuse_detach(false);
    attachment.detach().unwrap();
    assert_eq!(device.group().attached(), 0);
    hwpt.try_destroy().unwrap();
    mapping.unmap().unwrap();
    assert_eq!(living.count(), 0);
    drop(ioas);
    recorder.unhook();
    assert_eq!(raw::objects(&iommufd), before);
    assert_eq!(iommufd.leaks(), Leaks::default());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn memory_that_uses_the_address_space_when_it_is_mapped_is_no_deadlock() {
    within(20, || {
        let iommufd = Iommufd::open().unwrap();
        let ioas = Ioas::new(&iommufd).unwrap();
        let living = Living::new();
        let user = ioas.clone();
        let asked = Asked(living.memory(PAGE), move || {
            user.unmap_all().unwrap();
        });
        let mapping = ioas.map(Arc::new(asked), Access::Read).unwrap();
        mapping.unmap().unwrap();

        let afraid = Arc::new(Asked(living.memory(PAGE), || panic!("asked where it is")));
        let attempt = catch_unwind(AssertUnwindSafe(|| ioas.map(&afraid, Access::Read)));
        assert!(attempt.is_err());
        drop((attempt, afraid));
        assert_eq!(living.count(), 0);
        ioas.unmap_all().unwrap();
        ioas.map(living.memory(PAGE), Access::Read)
            .unwrap()
            .unmap()
            .unwrap();
    });
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_refused_detach_ends_with_the_device() {
    for identity in [GroupIdentity::Unknown, GroupIdentity::Alone] {
        let iommufd = Iommufd::open().unwrap();
        let device = MockDevice::in_group(&iommufd, identity).unwrap();
        let ioas = Ioas::new(&iommufd).unwrap();
        let attachment = device.attach(&ioas).unwrap();
        device.refuse_detach(true);
        assert_eq!(
            attachment
                .detach()
                .map_err(|refused| refused.error().errno()),
            Err(Some(Errno::BUSY))
        );
        assert!(!device.is_attached(), "its attachment is gone");
        assert_eq!(device.group().attached(), 1, "the kernel has it attached");
        let device = device.into_device();
        drop(ioas);
        device.try_close().unwrap();
        assert_eq!(raw::objects(&iommufd), 0, "{identity:?}");
        assert_eq!(iommufd.leaks().objects, 1, "the detach alone");
    }
}
