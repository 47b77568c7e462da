//! Groups and containers: the older way to devices, and to their memory.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a helper of a test fails the test"
)]

use std::any::Any;
use std::fs;
use std::os::unix::fs::symlink;

use examples::edu::{BUFFER_LEN, Edu};
use iommufd::{Access, DmaBuffer, GroupId, Ioas, Iommufd, Iova, IovaRange, Leaks, Mapped};
use rustix::io::Errno;
use tests::at::{PAGE, mapped, page, pages};
use tests::edu::{INTERRUPTS, assert_free, bind, cdev, igb, lone, pair, reaches};
use tests::fork::{become_nobody, in_child};
use tests::groups::{KINDS, Rig, compat, device_files, group, own};
use tests::memory::{Living, Nowhere, forget};
use tests::observe::Recorder;
use tests::orders::orders;
use vfio::{Container, DeviceFlags, Error, IrqKind, Readiness, RegionIndex, VfToken, VfioGroup};

/// The errno of the kernel's refusal.
#[track_caller]
fn errno<T: std::fmt::Debug>(result: Result<T, impl Into<Error>>) -> Errno {
    let error: Error = result.unwrap_err().into();
    error.errno().unwrap_or_else(|| panic!("{error}"))
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn memory_goes_to_the_device_and_back_and_not_after_the_unmap() {
    for kind in KINDS {
        let rig = Rig::within(kind());
        let memory = DmaBuffer::new(2 * BUFFER_LEN).unwrap().share();
        for at in [None, Some(Iova::new(0x1_2345_6000))] {
            let mapping = match at {
                Some(at) => rig.container.map_at(at, &memory, Access::ReadWrite),
                None => rig.container.map(&memory, Access::ReadWrite),
            };
            let mapping = mapping.unwrap();
            let iova = mapping.iova();
            assert_eq!(at.unwrap_or(iova), iova);
            assert_eq!(mapping.len(), 2 * BUFFER_LEN as u64);
            rig.copies_through(&memory, iova);
            assert!(reaches(&rig.edu, iova, &memory));
            mapping.unmap().unwrap();
            assert!(!reaches(&rig.edu, iova, &memory));
        }
        assert!(DmaBuffer::reclaim(memory).is_ok(), "nobody holds it");
        // What is mapped to be read is not written.
        assert!(!rig.writes_to(page(16), Access::Read));
        assert!(rig.writes_to(page(16), Access::ReadWrite));
    }
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn a_container_holds_memory_until_the_kernel_has_let_go_of_it() {
    for kind in KINDS {
        let (container, _) = kind();
        let _group = group(lone()).join(&container).unwrap();
        let living = Living::new();
        let map = |at| {
            let memory = living.memory(PAGE);
            container.map_at(page(at), memory, Access::Read).unwrap()
        };
        forget(map(1));
        let guard = map(2);
        let last = map(4);
        assert_eq!(
            (living.count(), container.mapped()),
            (3, mapped(3, 3 * PAGE as u64))
        );
        drop(last);
        assert_eq!(living.count(), 2);
        let half = IovaRange::with_len(page(1), PAGE as u64 / 2).unwrap();
        assert!(matches!(
            container.unmap_range(half).unwrap_err(),
            Error::Iommufd(iommufd::Error::PartlyCovered { .. })
        ));
        assert!(matches!(
            container.unmap_range(pages(8, 1)).unwrap_err(),
            Error::Iommufd(iommufd::Error::NothingMapped { .. })
        ));
        assert_eq!(container.unmap_range(pages(1, 1)).unwrap(), PAGE as u64);
        assert_eq!(living.count(), 1);
        assert_eq!(container.unmap_all().unwrap(), PAGE as u64);
        assert_eq!((living.count(), container.mapped()), (0, Mapped::default()));
        // The place is free, and the stale guard takes nothing of who has it now.
        let successor = map(2);
        guard.unmap().unwrap();
        assert_eq!(living.count(), 1);
        successor.unmap().unwrap();
        assert_eq!((living.count(), container.leaks()), (0, Leaks::default()));
    }
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn what_cannot_be_mapped_is_refused_and_held_by_nobody() {
    for kind in KINDS {
        let (container, _) = kind();
        let member = group(lone()).join(&container).unwrap();
        let _device = member.pci_device(lone()).unwrap();
        let living = Living::new();
        let map = |at, access| container.map_at(at, living.memory(PAGE), access);
        let taken = map(page(1), Access::Read).unwrap();
        assert_eq!(errno(map(page(1), Access::Read)), Errno::EXIST);
        assert_eq!(errno(map(Iova::new(1), Access::Read)), Errno::INVAL);
        assert_eq!(errno(map(INTERRUPTS, Access::Read)), Errno::INVAL);
        let last_page = Iova::new(u64::MAX - 0xfff);
        let beyond = container.map_at(last_page, living.memory(2 * PAGE), Access::Read);
        assert_eq!(errno(beyond), Errno::OVERFLOW);
        let nowhere = container.map_at(page(5), std::sync::Arc::new(Nowhere), Access::Read);
        assert_eq!(errno(nowhere), Errno::FAULT);
        assert_eq!((living.count(), container.mapped().mappings), (1, 1));
        taken.unmap().unwrap();
        assert_eq!(container.leaks(), Leaks::default());
    }
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn a_container_says_what_can_be_mapped_in_it() {
    let (container, _) = own();
    // Without a group it has no IOMMU, and nothing can be mapped.
    assert_eq!(errno(container.info()), Errno::INVAL);
    let living = Living::new();
    let early = container.map_at(page(1), living.memory(PAGE), Access::Read);
    assert_eq!((errno(early), living.count()), (Errno::INVAL, 0));
    assert_eq!(errno(container.track_dirty()), Errno::INVAL);

    let member = group(lone()).join(&container).unwrap();
    let info = container.info().unwrap();
    assert_eq!(info.smallest_page().bytes(), PAGE as u64);
    assert_eq!(info.mappings_left, Some(65_535));
    assert!(info.contains(pages(16, 16)));
    let window = IovaRange::with_len(INTERRUPTS, PAGE as u64).unwrap();
    assert!(!info.contains(window));
    // An SMMU enforces it for no device, and a VT-d where it can (ECAP.SC).
    container.enforces_coherency().unwrap();
    let dirty = info.dirty.unwrap();
    assert_eq!((dirty.page_sizes, dirty.max_bitmap_size), (4096, 1 << 28));
    let _mapping = container.map(living.memory(PAGE), Access::Read).unwrap();
    assert_eq!(container.info().unwrap().mappings_left, Some(65_534));
    drop(member);

    let (container, _) = compat();
    let member = group(lone()).join(&container).unwrap();
    let ioas = container.ioas().unwrap();
    let before = ioas.iova_ranges().unwrap();
    let device = member.pci_device(lone()).unwrap();
    assert!(!before.is_current(), "a device has been attached");
    let ranges = ioas.iova_ranges().unwrap();
    let info = container.info().unwrap();
    assert_eq!(info.iova_ranges, ranges.iter().collect::<Vec<_>>());
    assert!(!info.contains(window));
    assert_eq!((info.mappings_left, info.dirty), (Some(u32::MAX), None));
    drop(device);
    assert!(!ranges.is_current(), "and detached");
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn with_the_last_group_all_mappings_go() {
    let (container, recorder) = own();
    let living = Living::new();
    let map = || {
        let memory = living.memory(PAGE);
        container.map_at(page(1), memory, Access::Read).unwrap()
    };
    let first = group(lone()).join(&container).unwrap();
    let stale = map();
    let second = group(pair()[0]).join(&container).unwrap();
    let first = first.leave().unwrap();
    assert_eq!(living.count(), 1, "one group is left");
    drop(second);
    assert_eq!((living.count(), container.mapped()), (0, Mapped::default()));
    // The container begins anew, and what is stale takes nothing of what comes after.
    let first = first.join(&container).unwrap();
    let successor = map();
    recorder.clear();
    stale.unmap().unwrap();
    assert_eq!(recorder.count(), 0);
    assert_eq!(living.count(), 1);
    assert_eq!(container.info().unwrap().mappings_left, Some(65_534));
    drop(first);
    assert_eq!(living.count(), 0);
    recorder.clear();
    successor.unmap().unwrap();
    assert_eq!(recorder.count(), 0);

    // An address space stays when its groups leave.
    let (container, _) = compat();
    let member = group(lone()).join(&container).unwrap();
    let memory = living.memory(PAGE);
    let mapping = container.map_at(page(1), memory, Access::Read).unwrap();
    drop(member);
    assert_eq!(living.count(), 1);
    mapping.unmap().unwrap();
    assert_eq!(living.count(), 0);
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn groups_of_one_container_see_the_same_memory() {
    for kind in KINDS {
        let rig = Rig::within(kind());
        let memory = DmaBuffer::new(PAGE).unwrap().share();
        let mapping = rig.container.map(&memory, Access::ReadWrite).unwrap();
        let at = mapping.iova();
        // Two devices of one group.
        drop(cdev(pair()[1]));
        let member = group(pair()[0]).join(&rig.container).unwrap();
        let [one, two] = pair().map(|address| member.pci_device(address).unwrap());
        for device in [&one, &two] {
            let edu = Edu::new(device).unwrap();
            assert!(reaches(&edu, at, &memory));
        }
        drop((one, two));
        drop(member);
        assert!(reaches(&rig.edu, at, &memory));
        mapping.unmap().unwrap();
        assert!(!reaches(&rig.edu, at, &memory));
    }
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn everything_is_dropped_in_any_order() {
    let living = Living::new();
    for kind in KINDS {
        orders::<5>(|order| {
            let (container, recorder) = kind();
            let member = group(lone()).join(&container).unwrap();
            let device = member.pci_device(lone()).unwrap();
            let bar = device.map_bar(RegionIndex::BAR0).unwrap();
            let mapping = container.map(living.memory(PAGE), Access::Read).unwrap();
            let mut things: [Option<Box<dyn Any>>; 5] = [
                Some(Box::new(container)),
                Some(Box::new(member)),
                Some(Box::new(device)),
                Some(Box::new(bar)),
                Some(Box::new(mapping)),
            ];
            for place in order {
                drop(things[*place].take());
            }
            assert_eq!(recorder.refusals(), [], "{order:?}");
            assert_eq!(living.count(), 0, "{order:?}");
        });
        assert_free(lone());
    }
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn a_group_and_a_character_device_exclude_each_other() {
    let (iommufd, address) = (Iommufd::open().unwrap(), lone());
    let open = group(address);
    assert!(open.is_viable().unwrap());
    assert_eq!(errno(VfioGroup::open_pci(address)), Errno::BUSY);
    let refused = cdev(address).bind(&iommufd).unwrap_err();
    assert_eq!(refused.error().errno(), Some(Errno::BUSY), "{refused}");
    let cdev = refused.into_cdev().unwrap();
    drop(open);
    let device = cdev.bind(&iommufd).unwrap();
    let error = VfioGroup::open_pci(address).unwrap_err();
    assert_eq!(error.errno(), Some(Errno::BUSY));
    assert!(
        error.to_string().contains("by its character device"),
        "{error}"
    );
    device.try_close().unwrap();
    let number = Readiness::of(address).unwrap().group().unwrap();
    drop(VfioGroup::open(number).unwrap());
    assert_eq!(errno(VfioGroup::open(GroupId::new(99_999))), Errno::NOENT);
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn a_group_that_is_given_is_taken_if_nobody_has_put_it_anywhere() {
    let number = Readiness::of(lone()).unwrap().group().unwrap();
    drop(group(lone()));
    let open = || {
        let node = format!("/dev/vfio/{number}");
        fs::File::options().read(true).write(true).open(node)
    };
    let file = open().unwrap();
    let twin = file.try_clone().unwrap();
    let given = VfioGroup::from_fd(file.into()).unwrap();
    let (container, _) = own();
    let member = given.join(&container).unwrap();
    let refused = VfioGroup::from_fd(twin.into()).unwrap_err();
    assert!(matches!(refused.error(), Error::GroupInContainer));
    drop(refused);
    let given = member.leave().unwrap();
    assert!(given.is_viable().unwrap());
    // Neither a container nor a device is a group.
    for path in ["/dev/vfio/vfio", "/dev/iommu", "/dev/null"] {
        let other = fs::File::options().read(true).write(true).open(path);
        let refused = VfioGroup::from_fd(other.unwrap().into()).unwrap_err();
        assert!(matches!(refused.error(), Error::NotGroup), "{path}");
    }
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn a_group_that_cannot_join_comes_back_as_it_was() {
    let (container, _) = compat();
    let iommufd = container.ioas().unwrap().iommufd().clone();
    let other = Ioas::new(&iommufd).unwrap();
    iommufd.set_compat_ioas(&other).unwrap();
    let refused = group(lone()).join(&container).unwrap_err();
    assert!(matches!(refused.error(), Error::NotCompat), "{refused}");
    let back = refused.into_value();
    assert!(back.is_viable().unwrap());
    let member = back.join(&own().0).unwrap();
    // By a duplicate it is in two.
    let twin = member.leave().unwrap();
    iommufd.set_compat_ioas(container.ioas().unwrap()).unwrap();
    let member = twin.join(&container).unwrap();
    iommufd.clear_compat_ioas().unwrap();
    assert!(matches!(
        member.pci_device(lone()).unwrap_err(),
        Error::NotCompat
    ));
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn a_device_is_open_once_and_by_its_own_name() {
    for kind in KINDS {
        let (container, recorder) = kind();
        let member = group(lone()).join(&container).unwrap();
        let device = member.pci_device(lone()).unwrap();
        assert_eq!(device.address(), Some(lone()));
        recorder.clear();
        let name = lone().to_string();
        for again in [member.pci_device(lone()), member.device(&name)] {
            assert!(matches!(again.unwrap_err(), Error::DeviceOpen { .. }));
        }
        for wrong in ["", "a b", "0000:00:04.0 vf_token="] {
            let error = member.device(wrong).unwrap_err();
            assert!(matches!(error, Error::NoDeviceName { .. }));
        }
        assert_eq!(recorder.count(), 0);
        assert_eq!(errno(member.pci_device(igb())), Errno::NODEV);
        // What has no token is given none.
        drop(device);
        let token = member.pci_device_with_token(lone(), VfToken::new([7; 16]));
        assert_eq!(errno(token), Errno::INVAL);
        let device = member.device(&name).unwrap();
        assert_eq!(device.address(), None);

        let bar = device.map_bar(RegionIndex::BAR0).unwrap();
        let refused = device.try_close().unwrap_err();
        assert!(
            matches!(refused.error(), Error::StillHeld(holders) if holders.mappings == 1),
            "{refused}"
        );
        let device = refused.into_value();
        drop(bar);
        let refused = member.leave().unwrap_err();
        assert!(matches!(
            refused.error(),
            Error::GroupHeld { holders: 1, .. }
        ));
        device.try_close().unwrap();
        refused.into_value().leave().unwrap();
    }
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn a_group_that_cannot_leave_is_counted_and_memory_stays() {
    let living = Living::new();
    let (container, recorder) = own();
    let member = group(lone()).join(&container).unwrap();
    let device = member.pci_device(lone()).unwrap();
    let mapping = container.map(living.memory(PAGE), Access::Read).unwrap();
    let twins = device_files();
    assert_eq!(twins.len(), 1);
    device.try_close().unwrap();
    let refused = member.leave().unwrap_err();
    assert_eq!(refused.error().errno(), Some(Errno::BUSY), "{refused}");
    drop(refused);
    assert_eq!(recorder.refusals(), [("group", Some(Errno::BUSY))]);
    assert_eq!(container.leaks().objects, 1);
    assert_eq!(living.count(), 1);
    mapping.unmap().unwrap();
    assert_eq!(living.count(), 0);
    // The device that others have open still reaches this.
    forget(container.map(living.memory(PAGE), Access::Read).unwrap());
    drop(container);
    assert_eq!(living.count(), 1);
    drop(twins);
    assert_free(lone());
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn a_container_is_full_when_the_kernel_says_so() {
    const LIMIT: &str = "/sys/module/vfio_iommu_type1/parameters/dma_entry_limit";
    let before = fs::read_to_string(LIMIT).unwrap();
    fs::write(LIMIT, "2").unwrap();
    let (container, _) = own();
    let member = group(lone()).join(&container).unwrap();
    fs::write(LIMIT, before.trim()).unwrap();
    let living = Living::new();
    let map = || container.map(living.memory(PAGE), Access::Read);
    let (_one, two) = (map().unwrap(), map().unwrap());
    let error = map().unwrap_err();
    assert_eq!(error.errno(), Some(Errno::NOSPC));
    assert!(error.to_string().contains("dma_entry_limit"), "{error}");
    assert_eq!(living.count(), 2);
    drop(two);
    drop(map().unwrap());
    drop(member);
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn memory_that_may_not_be_locked_is_refused_with_the_limit() {
    for kind in KINDS {
        in_child(|| {
            let (container, _) = kind();
            let member = group(lone()).join(&container).unwrap();
            let device = member.pci_device(lone()).unwrap();
            become_nobody(4 * PAGE as u64);
            let living = Living::new();
            let map = |count| container.map(living.memory(count * PAGE), Access::Read);
            let error = map(8).unwrap_err();
            let Error::Iommufd(iommufd::Error::LockedMemory { limit, .. }) = &error else {
                panic!("{error}")
            };
            assert_eq!(*limit, iommufd::MemlockLimit::Bytes(4 * PAGE as u64));
            assert_eq!(living.count(), 0);
            drop(map(2).unwrap());
            drop((device, member));
        });
    }
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn a_child_of_a_fork_gets_errors_and_leaves_the_group_alone() {
    for kind in KINDS {
        let (container, recorder) = kind();
        let member = group(lone()).join(&container).unwrap();
        let device = member.pci_device(lone()).unwrap();
        let memory = DmaBuffer::new(2 * BUFFER_LEN).unwrap().share();
        let mapping = container.map(&memory, Access::ReadWrite).unwrap();
        recorder.clear();
        let mut all = Some((container, member, device, mapping));
        in_child(|| {
            let forked = |error: Error| {
                assert!(
                    matches!(error, Error::Iommufd(iommufd::Error::Forked)),
                    "{error}"
                );
            };
            let (container, member, device, mapping) = all.take().unwrap();
            forked(container.info().unwrap_err());
            forked(container.map(&memory, Access::Read).unwrap_err());
            forked(container.unmap_all().unwrap_err());
            assert_eq!(container.mapped(), Mapped::default());
            forked(member.pci_device(pair()[0]).unwrap_err());
            forked(device.info().unwrap_err());
            forked(mapping.unmap().unwrap_err().into());
            forked(device.try_close().unwrap_err().into());
            forked(member.leave().unwrap_err().into());
            assert_eq!(recorder.count(), 0);
        });
        let (container, member, device, mapping) = all.unwrap();
        let edu = Edu::new(&device).unwrap();
        assert!(reaches(&edu, mapping.iova(), &memory));
        drop((edu, device, mapping, container));
        member.leave().unwrap();
    }
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn the_observer_sees_every_ioctl_of_a_container() {
    let (container, recorder) = own();
    let seen = || {
        let calls = recorder.calls();
        recorder.clear();
        calls
    };
    let member = group(lone()).join(&container).unwrap();
    assert_eq!(seen(), ["VFIO_GROUP_SET_CONTAINER", "VFIO_SET_IOMMU"]);
    let device = member.pci_device(lone()).unwrap();
    assert_eq!(seen(), ["VFIO_GROUP_GET_DEVICE_FD"]);
    let living = Living::new();
    let mapping = container.map_at(page(1), living.memory(PAGE), Access::Read);
    mapping.unwrap().unmap().unwrap();
    assert_eq!(seen(), ["VFIO_IOMMU_MAP_DMA", "VFIO_IOMMU_UNMAP_DMA"]);
    container.unmap_all().unwrap();
    assert_eq!(seen(), [""; 0], "nothing is mapped");
    device.info().unwrap();
    assert_eq!(seen(), ["VFIO_DEVICE_GET_INFO"; 1]);
    container.info().unwrap();
    assert_eq!(seen(), ["VFIO_IOMMU_GET_INFO"; 2]);
    container.enforces_coherency().unwrap();
    assert_eq!(seen(), ["VFIO_CHECK_EXTENSION"]);
    drop((device, member));
    assert_eq!(seen(), ["VFIO_GROUP_UNSET_CONTAINER"]);

    let (container, recorder) = compat();
    let member = group(lone()).join(&container).unwrap();
    drop(member.pci_device(lone()).unwrap());
    drop(member);
    assert_eq!(
        recorder.calls(),
        [
            "IOMMU_VFIO_IOAS",
            "VFIO_GROUP_SET_CONTAINER",
            "IOMMU_VFIO_IOAS",
            "VFIO_GROUP_GET_DEVICE_FD",
            "VFIO_GROUP_UNSET_CONTAINER",
        ]
    );
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn interrupts_resets_and_configuration_are_those_of_a_character_device() {
    for kind in KINDS {
        let (container, _) = kind();
        let member = group(igb()).join(&container).unwrap();
        let igb = member.pci_device(igb()).unwrap();
        let info = igb.info().unwrap();
        assert!(info.flags.contains(DeviceFlags::PCI | DeviceFlags::RESET));
        assert_eq!(igb.config().unwrap().ids().unwrap().vendor, 0x8086);
        let count = igb.irq_info(IrqKind::MsiX).unwrap().count;
        let msix = igb.msix(count).unwrap();
        assert_eq!(msix.len() as u32, count);
        assert!(matches!(igb.msi(1), Err(Error::InterruptsEnabled { .. })));
        assert_eq!(igb.holders().interrupts, Some(IrqKind::MsiX));
        msix.disable().unwrap();
        igb.reset().unwrap();
        igb.try_close().unwrap();
        member.leave().unwrap();

        let rig = Rig::within(kind());
        rig.edu.interrupt().unwrap();
    }
    assert_free(igb());
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn a_driver_is_indifferent_to_how_its_device_was_opened() {
    fn identify(device: &vfio::OpenDevice) -> String {
        device.config().unwrap().ids().unwrap().to_string()
    }
    let device = bind(lone(), &Iommufd::open().unwrap());
    let by_cdev = identify(&device);
    device.try_close().unwrap();
    for kind in KINDS {
        let (container, _) = kind();
        let member = group(lone()).join(&container).unwrap();
        let device = member.pci_device(lone()).unwrap();
        assert_eq!(identify(&device), by_cdev);
    }
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn an_address_space_that_groups_use_is_not_destroyed() {
    let (iommufd, _) = Recorder::context();
    let ioas = Ioas::new(&iommufd).unwrap();
    let container = Container::compat(&ioas).unwrap();
    let member = group(lone()).join(&container).unwrap();
    let device = member.pci_device(lone()).unwrap();
    drop((container, member));
    let ioas = ioas.try_destroy().unwrap_err();
    assert!(matches!(ioas.error(), iommufd::Error::InUse { .. }));
    drop(device);
    ioas.into_value().try_destroy().unwrap();
    assert_eq!(iommufd.leaks(), Leaks::default());
}

/// `/dev/iommu` in place of the container's node, as on a kernel that has iommufd for that; until it is dropped.
struct InPlace;

const NODE: &str = "/dev/vfio/vfio";
const ASIDE: &str = "/dev/vfio/aside";

impl InPlace {
    fn new() -> Self {
        fs::rename(NODE, ASIDE).unwrap();
        symlink("/dev/iommu", NODE).unwrap();
        Self
    }
}

impl Drop for InPlace {
    fn drop(&mut self) {
        fs::rename(ASIDE, NODE).unwrap();
    }
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn where_iommufd_plays_the_container_memory_is_held_when_the_last_group_leaves() {
    let in_place = InPlace::new();
    let (container, recorder) = own();
    drop(in_place);
    let living = Living::new();
    let mapping = {
        let _member = group(lone()).join(&container).unwrap();
        container.map_at(page(1), living.memory(PAGE), Access::ReadWrite)
    };
    let mapping = mapping.unwrap();
    // The kernel still has it, and whoever joins next reaches it.
    assert_eq!((living.count(), container.mapped().mappings), (1, 1));
    assert!(container.ioas().is_some());
    let memory = DmaBuffer::new(2 * BUFFER_LEN).unwrap().share();
    let rig = Rig::within((container, recorder));
    let kept = rig.container.map(&memory, Access::ReadWrite).unwrap();
    rig.copies_through(&memory, kept.iova());
    mapping.unmap().unwrap();
    assert_eq!(living.count(), 0);
    assert_eq!(rig.container.leaks(), Leaks::default());
}
