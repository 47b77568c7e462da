//! Observers, and the drops of memory, may use the SDK themselves: no lock of it is held while they run.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use iommufd::{Access, DropRefusal, Error, HwPt, Ioas, Iommufd, Mapped, Observer};
use parking_lot::Mutex;
use tests::at::{PAGE, mapped, page, pages, range};
use tests::faults::{Points, sweep};
use tests::memory::Living;
use tests::mock::{MockDevice, MockQueue};
use tests::observe::Recorder;
use tests::within::within;

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn an_observer_can_empty_the_address_space_that_it_is_told_of() {
    within(20, || {
        let (iommufd, recorder) = Recorder::context();
        let ioas = Ioas::new(&iommufd).unwrap();
        let living = Living::new();
        let emptied = Arc::new(AtomicUsize::new(0));
        recorder.hook({
            let (ioas, emptied) = (ioas.clone(), Arc::clone(&emptied));
            move |event| {
                if event.ioctl.name == "IOMMU_IOAS_MAP" {
                    ioas.unmap_all().unwrap();
                    emptied.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
        let mapping = ioas.map(living.memory(PAGE), Access::Read).unwrap();
        assert_eq!(emptied.load(Ordering::SeqCst), 1);
        assert_eq!(living.count(), 0, "the guard came emptied");
        mapping.unmap().unwrap();
        assert_eq!(ioas.mapped(), Mapped::default());
    });
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn an_observer_can_map_and_unmap_while_something_is_unmapped() {
    within(20, || {
        let (iommufd, recorder) = Recorder::context();
        let ioas = Ioas::new(&iommufd).unwrap();
        let living = Living::new();
        let mapped = Arc::new(Mutex::new(Vec::new()));
        recorder.hook({
            let (ioas, living, mapped) = (ioas.clone(), living.clone(), Arc::clone(&mapped));
            move |event| {
                let enough = mapped.lock().len() == 3;
                if event.ioctl.name == "IOMMU_IOAS_UNMAP" && !enough {
                    let mapping = ioas.map_at(page(9), living.memory(PAGE), Access::Read);
                    mapped.lock().push(mapping.is_ok());
                }
            }
        });
        let guards: Vec<_> = (0..3)
            .map(|n| {
                ioas.map_at(page(n), living.memory(PAGE), Access::Read)
                    .unwrap()
            })
            .collect();
        let mut guards = guards.into_iter();
        guards.next().unwrap().unmap().unwrap();
        ioas.unmap_range(pages(1, 1)).unwrap();
        ioas.unmap_all().unwrap();
        assert_eq!(*mapped.lock(), [true; 3]);
        assert_eq!(living.count(), 0, "the observer's guards are gone as well");
        drop(guards);
        recorder.unhook();
    });
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn an_observer_can_look_at_the_group_whose_device_moves() {
    within(20, || {
        let (iommufd, recorder) = Recorder::context();
        let device = MockDevice::new(&iommufd).unwrap();
        let (here, there) = (Ioas::new(&iommufd).unwrap(), Ioas::new(&iommufd).unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        recorder.hook({
            let (device, seen) = (device.clone(), Arc::clone(&seen));
            move |event| {
                if event.ioctl.name == "IOMMU_TEST_CMD" {
                    seen.lock().push(device.group().attached());
                }
            }
        });
        let mut attachment = device.attach(&here).unwrap();
        attachment.replace(&there).unwrap();
        device.group().replace(&here).unwrap();
        attachment.detach().unwrap();
        recorder.unhook();
        assert_eq!(*seen.lock(), [1, 1, 1, 0]);
    });
}

/// The last handle of an address space goes with the attach that is refused.
#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn an_observer_can_look_at_the_group_when_a_refused_target_is_destroyed() {
    within(20, || {
        let (iommufd, recorder) = Recorder::context();
        let device = MockDevice::new(&iommufd).unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        recorder.hook({
            let (device, seen) = (device.clone(), Arc::clone(&seen));
            move |event| {
                seen.lock()
                    .push((event.ioctl.name, device.group().attached()));
            }
        });
        let target = Ioas::new(&iommufd).unwrap();
        target.allow_iovas(&[range(0x1000, 0x1fff)]).unwrap();
        seen.lock().clear();
        device.attach(target).unwrap_err();
        recorder.unhook();
        let mut seen = seen.lock().clone();
        seen.sort_unstable();
        assert_eq!(seen, [("IOMMU_DESTROY", 0), ("IOMMU_TEST_CMD", 0)]);
    });
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn the_last_page_table_can_go_with_its_attachment() {
    within(20, || {
        let (iommufd, recorder) = Recorder::context();
        let device = MockDevice::new(&iommufd).unwrap();
        let ioas = Ioas::new(&iommufd).unwrap();
        let hwpt = HwPt::new(&ioas, &device).unwrap();
        let attachment = device.attach(hwpt).unwrap();
        drop(ioas);
        let seen = Arc::new(Mutex::new(Vec::new()));
        recorder.hook({
            let (device, seen) = (device.clone(), Arc::clone(&seen));
            move |event| {
                seen.lock()
                    .push((event.ioctl.name, device.group().attached()));
            }
        });
        drop(attachment);
        recorder.unhook();
        assert_eq!(
            *seen.lock(),
            [
                ("IOMMU_TEST_CMD", 0),
                ("IOMMU_DESTROY", 0),
                ("IOMMU_DESTROY", 0)
            ],
            "in the order in which it happened"
        );
    });
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn memory_that_is_let_go_of_can_use_the_address_space() {
    within(20, || {
        let iommufd = Iommufd::open().unwrap();
        let ioas = Ioas::new(&iommufd).unwrap();
        let living = Living::new();
        let farewells = Arc::new(AtomicUsize::new(0));
        let memory = || {
            let (ioas, farewells) = (ioas.clone(), Arc::clone(&farewells));
            let inner = living.clone();
            living.with_farewell(PAGE, move |_| {
                let mapping = ioas.map_at(page(50), inner.memory(PAGE), Access::Read);
                ioas.unmap_all().unwrap();
                drop(mapping.unwrap());
                farewells.fetch_add(1, Ordering::SeqCst);
            })
        };
        let by_drop = ioas.map_at(page(0), memory(), Access::Read).unwrap();
        drop(by_drop);
        assert_eq!(farewells.load(Ordering::SeqCst), 1);
        let by_range = ioas.map_at(page(0), memory(), Access::Read).unwrap();
        ioas.unmap_range(pages(0, 1)).unwrap();
        drop(by_range);
        let by_all = ioas.map_at(page(0), memory(), Access::Read).unwrap();
        ioas.unmap_all().unwrap();
        drop(by_all);
        let refused = ioas.map_at(page(0), memory(), Access::Read).unwrap();
        ioas.map_at(page(0), memory(), Access::Read).unwrap_err();
        assert_eq!(farewells.load(Ordering::SeqCst), 5);
        drop(refused);
        assert_eq!(living.count(), 0);
    });
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn memory_that_goes_with_its_address_space_can_use_the_context() {
    within(20, || {
        let iommufd = Iommufd::open().unwrap();
        let device = MockDevice::new(&iommufd).unwrap();
        let living = Living::new();
        let ioas = Ioas::new(&iommufd).unwrap();
        let memory = living.with_farewell(PAGE, {
            let (iommufd, device) = (iommufd.clone(), device.clone());
            move |_| {
                let other = Ioas::new(&iommufd).unwrap();
                device.attach(other).unwrap().detach().unwrap();
            }
        });
        let mapping = ioas.map_at(page(0), memory, Access::ReadWrite).unwrap();
        // A refused drop leaves the memory to the address space.
        let queue = MockQueue::new(&device, &ioas, &mapping).unwrap();
        drop(mapping);
        drop(queue);
        assert_eq!(living.count(), 1);
        drop(ioas);
        assert_eq!(living.count(), 0);
    });
}

/// Uses the SDK where it is told of a refusal.
struct Retries(Mutex<Option<Ioas>>, AtomicUsize);

impl Observer for Retries {
    fn refused_drop(&self, refusal: &DropRefusal<'_>) {
        assert_eq!(refusal.object, "mapping");
        if let Some(ioas) = &*self.0.lock() {
            assert_eq!(ioas.mapped(), mapped(1, PAGE as u64));
            assert!(ioas.unmap_all().is_err());
        }
        self.1.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn an_observer_can_try_again_what_a_drop_was_refused() {
    within(20, || {
        let retries = Arc::new(Retries(Mutex::new(None), AtomicUsize::new(0)));
        let observer = Arc::clone(&retries);
        let iommufd = Iommufd::builder().observer(observer).open().unwrap();
        let device = MockDevice::new(&iommufd).unwrap();
        let ioas = Ioas::new(&iommufd).unwrap();
        let memory = Living::new().memory(PAGE);
        let mapping = ioas.map_at(page(0), &memory, Access::ReadWrite).unwrap();
        let queue = MockQueue::new(&device, &ioas, &mapping).unwrap();
        *retries.0.lock() = Some(ioas.clone());
        drop(mapping);
        assert_eq!(retries.1.load(Ordering::SeqCst), 1);
        drop(queue);
        *retries.0.lock() = None;
        ioas.unmap_all().unwrap();
    });
}

/// To say what an attach was short of, the SDK asks the kernel one thing more.
#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn an_observer_can_look_at_the_group_whose_device_could_not_be_attached() {
    within(60, || {
        let (iommufd, recorder) = Recorder::context();
        let device = MockDevice::new(&iommufd).unwrap();
        let ioas = Ioas::new(&iommufd).unwrap();
        let living = Living::new();
        let _mapping = ioas
            .map_at(page(0), living.memory(PAGE), Access::Read)
            .unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        recorder.hook({
            let (group, asked) = (device.group().clone(), Arc::clone(&asked));
            move |event| {
                assert!(group.attached() <= 1);
                if event.ioctl.name == "IOMMU_OPTION" {
                    asked.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
        let hwpt = HwPt::new(&ioas, &device).unwrap();
        sweep(Points::Everywhere, |nth| {
            let attached = nth.armed(|| device.attach(&ioas));
            let short = matches!(attached, Err(Error::LockedMemory { .. }));
            let counted = asked.swap(0, Ordering::SeqCst);
            assert_eq!(counted, usize::from(short), "{attached:?}");
        });
        let mut parked = device.attach(&hwpt).unwrap();
        let mut short = 0;
        sweep(Points::Everywhere, |nth| {
            let moved = nth.armed(|| parked.replace(&ioas));
            short += usize::from(matches!(moved, Err(Error::LockedMemory { .. })));
        });
        assert!(short > 0);
        recorder.unhook();
    });
}
