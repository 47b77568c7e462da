//! Two devices in one IOMMU group, which have one page table between them.

use examples::edu::{BUFFER_LEN, Edu};
use iommufd::{Access, DmaBuffer, Error, GroupIdentity, HwPt, Ioas, Iommufd, Iova, Target};
use rustix::io::Errno;
use tests::edu::{INTERRUPTS, Unheard, bind, cdev, pair, reaches};
use tests::observe::Recorder;
use vfio::Device;

const PLACE: Iova = Iova::new(0x10_0000);

struct Pair {
    iommufd: Iommufd,
    first: Device,
    second: Device,
    recorder: std::sync::Arc<Recorder>,
}

fn bound() -> Pair {
    let (iommufd, recorder) = Recorder::context();
    let [first, second] = pair();
    Pair {
        first: bind(first, &iommufd),
        second: bind(second, &iommufd),
        iommufd,
        recorder,
    }
}

fn attach_calls(recorder: &Recorder) -> usize {
    let calls = recorder.calls();
    calls
        .iter()
        .filter(|name| name.contains("ATTACH_IOMMUFD_PT"))
        .count()
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn sysfs_tells_that_they_share_a_group() {
    let Pair { first, second, .. } = bound();
    let identity = first.iommu().group().identity();
    assert!(matches!(identity, GroupIdentity::Group(_)));
    assert_eq!(identity, second.iommu().group().identity());
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn both_reach_what_either_is_attached_to() {
    let Pair {
        iommufd,
        first,
        second,
        ..
    } = bound();
    let ioas = Ioas::new(&iommufd).unwrap();
    let _one = first.attach(&ioas).unwrap();
    let _two = second.attach(&ioas).unwrap();
    let memory = DmaBuffer::new(BUFFER_LEN).unwrap().share();
    let mapping = ioas.map(&memory, Access::ReadWrite).unwrap();
    for device in [&first, &second] {
        assert!(reaches(&Edu::new(device).unwrap(), mapping.iova(), &memory));
    }
}

/// The kernel attaches the group with the first device, and detaches it with the last.
#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn a_device_that_is_not_attached_reaches_what_its_sibling_is_attached_to() {
    let Pair {
        iommufd,
        first,
        second,
        ..
    } = bound();
    let ioas = Ioas::new(&iommufd).unwrap();
    let memory = DmaBuffer::new(BUFFER_LEN).unwrap().share();
    let mapping = ioas.map(&memory, Access::ReadWrite).unwrap();
    let edu = Unheard::new(&first);
    let reaches = || edu.reaches(mapping.iova(), &memory);
    assert!(!reaches(), "none of them is attached");
    let two = second.attach(&ioas).unwrap();
    assert!(!first.iommu().is_attached());
    assert!(reaches());
    let one = first.attach(&ioas).unwrap();
    one.detach().unwrap();
    assert!(reaches());
    two.detach().unwrap();
    assert!(!reaches());
}

/// The kernel remembers by which device it attached the group, and looks at it after its end (in Linux 7.3).
#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn the_device_by_which_a_group_was_attached_is_open_as_long_as_the_kernel_refers_to_it() {
    let Pair {
        iommufd,
        first,
        second,
        ..
    } = bound();
    let (here, there) = (Ioas::new(&iommufd).unwrap(), Ioas::new(&iommufd).unwrap());
    let one = first.attach(&here).unwrap();
    let mut two = second.attach(&here).unwrap();
    one.detach().unwrap();
    let refused = first.try_close().unwrap_err();
    assert!(
        matches!(
            refused.error(),
            vfio::Error::Iommufd(Error::LeadsGroup { members: 1, .. })
        ),
        "{refused}"
    );
    // A move is by the one that is attached: it refers to that from then on.
    two.replace(&there).unwrap();
    refused.into_value().try_close().unwrap();

    // What is dropped stays open until then.
    let [first, _] = pair();
    let device = bind(first, &iommufd);
    two.detach().unwrap();
    let one = device.attach(&here).unwrap();
    let two = second.attach(&here).unwrap();
    drop((one, device));
    let busy = cdev(first).bind(&iommufd).unwrap_err();
    assert_eq!(busy.error().errno(), Some(Errno::INVAL));
    two.detach().unwrap();
    busy.into_cdev().unwrap().bind(&iommufd).unwrap();
    assert_eq!(iommufd.leaks(), iommufd::Leaks::default());
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn a_sibling_is_not_attached_elsewhere() {
    let Pair {
        iommufd,
        first,
        second,
        recorder,
    } = bound();
    let (here, there) = (Ioas::new(&iommufd).unwrap(), Ioas::new(&iommufd).unwrap());
    let _one = first.attach(&here).unwrap();
    let before = attach_calls(&recorder);
    let refused = second.attach(&there);
    assert!(matches!(refused, Err(Error::GroupAttachedElsewhere { .. })));
    assert_eq!(attach_calls(&recorder), before, "the kernel was not asked");
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn one_is_not_moved_behind_the_back_of_the_other_but_both_are_together() {
    let Pair {
        iommufd,
        first,
        second,
        recorder,
    } = bound();
    let (old, new) = (Ioas::new(&iommufd).unwrap(), Ioas::new(&iommufd).unwrap());
    let mut one = first.attach(&old).unwrap();
    let mut two = second.attach(&old).unwrap();
    let memory = DmaBuffer::new(BUFFER_LEN).unwrap().share();
    let moved_to = new.map_at(PLACE, &memory, Access::ReadWrite).unwrap();

    let before = attach_calls(&recorder);
    let refused = one.replace(&new).unwrap_err();
    assert!(matches!(refused, Error::GroupShared { members: 2, .. }));
    assert_eq!(attach_calls(&recorder), before, "the kernel was not asked");

    let engines = [&first, &second].map(|device| Edu::new(device).unwrap());
    assert!(engines.iter().all(|edu| !reaches(edu, PLACE, &memory)));
    first.iommu().group().replace(&new).unwrap();
    assert!(engines.iter().all(|edu| reaches(edu, PLACE, &memory)));
    for attachment in [&one, &two] {
        assert!(matches!(attachment.target(), Some(Target::Ioas(_))));
    }
    // Nothing holds the old address space any more, the new one is held by both.
    old.try_destroy().unwrap();
    one.detach().unwrap();
    assert!(reaches(&engines[1], PLACE, &memory));
    two.replace(Ioas::new(&iommufd).unwrap()).unwrap();
    assert!(!reaches(&engines[1], PLACE, &memory));
    two.detach().unwrap();
    moved_to.unmap().unwrap();
    new.try_destroy().unwrap();
    assert_eq!(iommufd.leaks(), iommufd::Leaks::default());
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn a_group_replace_that_the_kernel_refuses_leaves_both_where_they_were() {
    let Pair {
        iommufd,
        first,
        second,
        ..
    } = bound();
    let old = Ioas::new(&iommufd).unwrap();
    let one = first.attach(&old).unwrap();
    let two = second.attach(&old).unwrap();
    let new = Ioas::new(&iommufd).unwrap();
    let memory = DmaBuffer::new(BUFFER_LEN).unwrap().share();
    let _in_the_way = new.map_at(INTERRUPTS, &memory, Access::ReadWrite).unwrap();
    tests::refused(first.iommu().group().replace(&new), Errno::ADDRINUSE);

    let seen = DmaBuffer::new(BUFFER_LEN).unwrap().share();
    let mapping = old.map(&seen, Access::ReadWrite).unwrap();
    for device in [&first, &second] {
        assert!(reaches(&Edu::new(device).unwrap(), mapping.iova(), &seen));
    }
    drop((one, two));
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn a_group_is_not_split_between_two_contexts() {
    let [first, second] = pair();
    let (here, there) = (Iommufd::open().unwrap(), Iommufd::open().unwrap());
    let device = bind(first, &here);
    let failed = cdev(second).bind(&there).unwrap_err();
    assert_eq!(failed.error().errno(), Some(Errno::PERM));
    // The device that was not bound came back, and goes with its sibling.
    let sibling = failed.into_cdev().unwrap().bind(&here).unwrap();
    let ioas = Ioas::new(&there).unwrap();
    assert!(matches!(
        device.attach(&ioas),
        Err(Error::ForeignContext { .. })
    ));
    let refused = HwPt::new(&ioas, sibling.iommu());
    assert!(matches!(refused, Err(Error::ForeignContext { .. })));
}
