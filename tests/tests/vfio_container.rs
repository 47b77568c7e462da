//! What is written to what is mapped in a container; mediated devices in one; and groups without an IOMMU.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;

use iommufd::{Access, DirtyBitmap, Granule, IovaRange, Leaks};
use rustix::io::Errno;
use tests::at::{PAGE, page, pages};
use tests::bare;
use tests::edu::lone;
use tests::groups::{KINDS, compat, group, own};
use tests::memory::{Living, forget};
use tests::mtty::Mtty;
use vfio::{Container, ContainerMapping, Error, VfioGroup};

fn map(container: &Container, living: &Living, at: u64, count: usize) -> ContainerMapping {
    let memory = living.memory(count * PAGE);
    let mapping = container.map_at(page(at), memory, Access::ReadWrite);
    mapping.unwrap()
}

fn bitmap(range: IovaRange) -> DirtyBitmap {
    DirtyBitmap::new(range, Granule::KIB_4).unwrap()
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn what_is_pinned_counts_as_written_at_every_read() {
    let living = Living::new();
    let (container, recorder) = own();
    let _member = group(lone()).join(&container).unwrap();
    let early = map(&container, &living, 1, 2);
    let tracking = container.track_dirty().unwrap();
    assert_eq!(tracking.page(), Granule::KIB_4);
    let again = container.track_dirty().unwrap_err();
    assert!(matches!(
        again,
        Error::Iommufd(iommufd::Error::AlreadyTracked)
    ));
    let late = map(&container, &living, 70, 65);
    let mut dirty = bitmap(pages(0, 200));
    for _ in 0..2 {
        dirty.clear();
        tracking.read_and_clear(&mut dirty).unwrap();
        let runs: Vec<_> = dirty.runs().collect();
        assert_eq!(runs, [pages(1, 2), pages(70, 65)]);
    }
    // A granule of the user's own.
    let mut coarse = DirtyBitmap::new(pages(0, 256), Granule::new(1 << 16).unwrap()).unwrap();
    tracking.read_and_clear(&mut coarse).unwrap();
    assert_eq!(coarse.words(), [0b1_1111_0001]);
    let refused = tracking.read_and_clear(&mut bitmap(pages(2, 9)));
    assert!(matches!(
        refused,
        Err(Error::Iommufd(iommufd::Error::NotCovered { .. }))
    ));

    // The last read, by itself and for a range.
    dirty.clear();
    recorder.clear();
    early.unmap_reading_dirty(&tracking, &mut dirty).unwrap();
    assert_eq!(recorder.calls(), ["VFIO_IOMMU_UNMAP_DMA"]);
    assert_eq!(dirty.runs().collect::<Vec<_>>(), [pages(1, 2)]);
    dirty.clear();
    let bytes = tracking.unmap_range(pages(0, 200), &mut dirty).unwrap();
    assert_eq!(bytes, 65 * PAGE as u64);
    assert_eq!(dirty.runs().collect::<Vec<_>>(), [pages(70, 65)]);
    assert_eq!(living.count(), 0);
    late.unmap().unwrap();
    tracking.stop().unwrap();
    container.track_dirty().unwrap().stop().unwrap();
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn a_record_ends_with_the_last_group_and_is_of_one_container() {
    let living = Living::new();
    let (container, _) = own();
    let member = group(lone()).join(&container).unwrap();
    let tracking = container.track_dirty().unwrap();
    let (other, _) = own();
    let mtty = Mtty::new();
    let elsewhere = mtty.group().join(&other).unwrap();
    let mapping = map(&other, &living, 1, 1);
    let refused = mapping.unmap_reading_dirty(&tracking, &mut bitmap(pages(0, 9)));
    let refused = refused.unwrap_err();
    assert!(matches!(
        refused.error(),
        Error::Iommufd(iommufd::Error::NotTracked)
    ));
    drop((refused, elsewhere, other));
    let group = member.leave().unwrap();
    tracking.stop().unwrap();
    let member = group.join(&container).unwrap();
    let tracking = container.track_dirty().unwrap();
    drop(member);
    drop(tracking);
    assert_eq!((living.count(), container.leaks()), (0, Leaks::default()));

    let (container, _) = compat();
    assert!(matches!(
        container.track_dirty().unwrap_err(),
        Error::Iommufd(iommufd::Error::NotTrackable)
    ));
}

#[test]
#[ignore = "needs the kernel's sample mediated device: cargo lab test"]
fn a_mediated_device_is_opened_by_its_group_and_dirties_nothing_that_it_does_not_touch() {
    let living = Living::new();
    let mtty = Mtty::new();
    for kind in KINDS {
        let (container, _) = kind();
        let member = mtty.group().join(&container).unwrap();
        let device = member.device(mtty.name()).unwrap();
        assert!(device.info().unwrap().regions >= 9);
        let mapping = map(&container, &living, 1, 4);
        if container.ioas().is_none() {
            assert_eq!(container.info().unwrap().iova_ranges, [IovaRange::ALL]);
            let tracking = container.track_dirty().unwrap();
            let mut dirty = bitmap(pages(0, 9));
            tracking.read_and_clear(&mut dirty).unwrap();
            assert_eq!(dirty.count(), 0);
            // An IOMMU pins it all.
            let engine = group(lone()).join(&container).unwrap();
            tracking.read_and_clear(&mut dirty).unwrap();
            assert_eq!(dirty.runs().collect::<Vec<_>>(), [pages(1, 4)]);
            drop(engine);
        }
        device.try_close().unwrap();
        mapping.unmap().unwrap();
        member.leave().unwrap();
    }
    assert_eq!(living.count(), 0);
}

#[test]
#[ignore = "needs the lab's device without an IOMMU: cargo lab test"]
fn a_group_without_an_iommu_enters_no_container_that_has_one() {
    // Who answers for it is refused by the kernel.
    let (container, _) = own();
    let member = group(lone()).join(&container).unwrap();
    let refused = bare::group().join(&container).unwrap_err();
    assert_eq!(refused.error().errno(), Some(Errno::PERM), "{refused}");
    drop((refused, member));

    // Who does not has it not, by whatever name it comes.
    let node = bare::group_node();
    let refused = VfioGroup::open_at(&node);
    assert!(matches!(refused, Err(Error::NoIommu)));
    let (container, _) = own();
    let member = bare::group().join(&container).unwrap();
    // It is open once: what is known is known of another file of it as well.
    let twin = member.as_fd().try_clone_to_owned().unwrap();
    assert!(matches!(
        VfioGroup::from_fd(twin).unwrap_err().error(),
        Error::GroupInContainer
    ));
    let bare_group = member.leave().unwrap();
    let given = bare_group.as_fd().try_clone_to_owned().unwrap();
    drop(bare_group);
    let refused = VfioGroup::from_fd(given).unwrap_err();
    assert!(matches!(refused.error(), Error::NoIommu), "{refused}");
    drop(refused);
    let link = std::env::temp_dir().join(format!("group-{}", std::process::id()));
    symlink(&node, &link).unwrap();
    let refused = VfioGroup::open_at(&link);
    fs::remove_file(&link).unwrap();
    assert!(matches!(refused, Err(Error::NoIommu)));
}

#[test]
#[ignore = "needs the lab's device without an IOMMU: cargo lab test"]
fn who_answers_for_a_group_without_an_iommu_gets_its_devices_and_no_mapping() {
    let (container, _) = compat();
    let refused = bare::group().join(&container).unwrap_err();
    assert!(matches!(refused.error(), Error::NoIommu));
    let bare_group = refused.into_value();
    let (container, _) = own();
    let member = bare_group.join(&container).unwrap();
    let device = member.pci_device(bare::address()).unwrap();
    let ids = device.config().unwrap().ids().unwrap();
    assert_eq!(ids.to_string(), "1234:11e8");
    let living = Living::new();
    let refused = container.map_at(page(1), living.memory(PAGE), Access::Read);
    assert_eq!(refused.unwrap_err().errno(), Some(Errno::NOTTY));
    assert_eq!(container.info().unwrap_err().errno(), Some(Errno::NOTTY));
    assert_eq!(living.count(), 0);
    // The two kinds do not mix.
    let refused = group(lone()).join(&container).unwrap_err();
    assert_eq!(refused.error().errno(), Some(Errno::PERM), "{refused}");
    device.try_close().unwrap();
    member.leave().unwrap();
    // When it has left, the container is any other's.
    let member = refused.into_value().join(&container).unwrap();
    forget(map(&container, &living, 1, 1));
    drop(member);
    assert_eq!(living.count(), 0);
}
