//! Page tables: shared, refused, destroyed.

use iommufd::{Access, Error, GroupIdentity, HwPt, Ioas, Iommufd};
use rustix::io::Errno;
use tests::at::{PAGE, page};
use tests::faults::{Points, sweep};
use tests::memory::Living;
use tests::mock::{MockDevice, check_map};
use tests::observe::Recorder;
use tests::{ids, raw};

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_page_table_is_filled_with_what_is_mapped_and_follows_it() {
    let iommufd = Iommufd::open().unwrap();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let living = Living::new();
    let before = living.memory(PAGE);
    let _before = ioas.map_at(page(0), &before, Access::ReadWrite).unwrap();
    let hwpt = HwPt::new(&ioas, &device).unwrap();
    let after = living.memory(PAGE);
    let mapping = ioas.map_at(page(1), &after, Access::ReadWrite).unwrap();
    let bytes = |memory: &tests::memory::Memory| iommufd::DmaMemory::bytes(memory);
    let id = ids::of(&hwpt);
    check_map(&iommufd, id, page(0).get(), bytes(&before)).unwrap();
    check_map(&iommufd, id, page(1).get(), bytes(&after)).unwrap();
    mapping.unmap().unwrap();
    let gone = check_map(&iommufd, id, page(1).get(), bytes(&after));
    assert_eq!(gone, Err(Errno::INVAL));
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn two_devices_share_a_page_table_and_part_in_either_order() {
    for first_to_go in [0, 1] {
        let (iommufd, recorder) = Recorder::context();
        let devices = [
            MockDevice::new(&iommufd).unwrap(),
            MockDevice::new(&iommufd).unwrap(),
        ];
        let ioas = Ioas::new(&iommufd).unwrap();
        let hwpt = HwPt::new(&ioas, &devices[0]).unwrap();
        let mut attachments: Vec<_> = devices
            .iter()
            .map(|device| device.attach(&hwpt).unwrap())
            .collect();
        assert_eq!(devices[0].page_table(), ids::of(&hwpt));
        assert_eq!(devices[1].page_table(), ids::of(&hwpt));
        attachments.remove(first_to_go).detach().unwrap();
        assert_ne!(devices[first_to_go].page_table(), ids::of(&hwpt));

        // Busy only in the SDK's books: the kernel is never asked in vain.
        recorder.clear();
        let refusal = hwpt.try_destroy().unwrap_err();
        assert!(matches!(
            refusal.error(),
            Error::InUse {
                object: "page table",
                holders: 1,
                ..
            }
        ));
        assert_eq!(recorder.count(), 0);
        attachments.remove(0).detach().unwrap();
        refusal.into_value().try_destroy().unwrap();
        ioas.try_destroy().unwrap();
        assert!(recorder.answers().iter().all(|(_, answer)| answer.is_ok()));
    }
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_page_table_that_the_kernel_keeps_is_given_back() {
    let (iommufd, recorder) = Recorder::context();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let living = Living::new();
    let mapping = ioas
        .map_at(page(0), living.memory(PAGE), Access::ReadWrite)
        .unwrap();
    let hwpt = HwPt::new(&ioas, &device).unwrap();
    let before = ids::of(&hwpt);
    // A stranger with the same file makes something of it.
    let stranger = tests::mock::occupy(&iommufd, before).unwrap();
    let refusal = hwpt.try_destroy().unwrap_err();
    assert_eq!(refusal.error().errno(), Some(Errno::BUSY));
    let hwpt = refusal.into_value();
    assert_eq!(ids::of(&hwpt), before);

    // Dropped, it stays, and with it all that it translates.
    recorder.clear();
    drop(hwpt);
    assert_eq!(recorder.refusals(), [("page table", Some(Errno::BUSY))]);
    mapping.unmap().unwrap();
    let refusal = ioas.try_destroy().unwrap_err();
    assert_eq!(refusal.error().errno(), Some(Errno::BUSY));
    assert_eq!(iommufd.leaks().objects, 1);

    raw::destroy(&iommufd, stranger).unwrap();
    raw::destroy(&iommufd, before).unwrap();
    refusal.into_value().try_destroy().unwrap();
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn memory_under_a_page_table_that_stays_is_kept_for_good() {
    let iommufd = Iommufd::open().unwrap();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let living = Living::new();
    let mapping = ioas
        .map_at(page(0), living.memory(PAGE), Access::ReadWrite)
        .unwrap();
    let hwpt = HwPt::new(&ioas, &device).unwrap();
    let queue = tests::mock::MockQueue::new(&device, &ioas, &mapping).unwrap();
    let stranger = tests::mock::occupy(&iommufd, ids::of(&hwpt)).unwrap();
    drop(mapping);
    drop(queue);
    let id = ids::of(&hwpt);
    drop(hwpt);
    drop(ioas);
    let leaks = iommufd.leaks();
    assert_eq!((leaks.objects, leaks.mappings, leaks.memories), (2, 1, 1));
    assert_eq!(living.count(), 1);
    raw::destroy(&iommufd, stranger).unwrap();
    raw::destroy(&iommufd, id).unwrap();
}

/// Peers keep the objects that earlier steps have made when a later step fails: the address space under a leaked table
/// can then not be destroyed.
#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn p04_a_step_that_fails_leaves_nothing_of_the_steps_before_it() {
    let iommufd = Iommufd::open().unwrap();
    let device = MockDevice::new(&iommufd).unwrap();
    let before = raw::objects(&iommufd);
    let ioas = Ioas::new(&iommufd).unwrap();
    let nowhere = std::sync::Arc::new(tests::memory::Nowhere);
    let mapping = ioas.map_at(page(0), &nowhere, Access::Read).unwrap();
    tests::refused(HwPt::new(&ioas, &device), Errno::FAULT);
    tests::refused(device.attach(&ioas), Errno::FAULT);
    mapping.unmap().unwrap();
    ioas.try_destroy().unwrap();
    assert_eq!(raw::objects(&iommufd), before);
}

/// A peer reads any `EINVAL` of an allocation as hardware that does not fit.
#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn p30_a_refused_page_table_is_not_taken_for_hardware_that_lacks_it() {
    let iommufd = Iommufd::open().unwrap();
    let device = MockDevice::in_group(&iommufd, GroupIdentity::Unknown).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let mut answers = Vec::new();
    sweep(Points::Iommufd, |nth| {
        // The kernel gets over some failures by itself.
        if let Err(error) = nth.armed(|| HwPt::new(&ioas, &device)) {
            assert!(nth.failed());
            assert!(matches!(error, Error::Kernel(_)), "{error}");
            answers.extend(error.errno());
        }
    });
    assert!(answers.contains(&Errno::INVAL), "{answers:?}");
    assert!(answers.contains(&Errno::NOENT), "{answers:?}");
    HwPt::new(&ioas, &device).unwrap();
}
