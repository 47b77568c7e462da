//! Options that precede everything else: how pinned memory counts, and the size of pages.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use iommufd::{Access, Accounting, DmaBuffer, Error, HwPt, Ioas, Iommufd, IommufdBuilder, Mapping};
use rustix::io::Errno;
use tests::accounted::{locked, pinned};
use tests::at::{PAGE, page};
use tests::faults::{Points, nothing_is_left, sweep};
use tests::fork::{in_child, with_locked_memory};
use tests::memory::Living;
use tests::mock::MockDevice;
use tests::observe::Recorder;
use tests::{ids, raw, refused};

/// `/dev/iommu`, open and unused.
fn opened() -> OwnedFd {
    let mut options = File::options();
    options.read(true).write(true);
    options.open("/dev/iommu").unwrap().into()
}

fn per_process() -> IommufdBuilder {
    Iommufd::builder().account_per_process()
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn memory_counts_for_the_user_unless_it_shall_count_for_the_process() {
    let accounting = |builder: IommufdBuilder| builder.open().unwrap().accounting().unwrap();
    let builder = Iommufd::builder;
    assert_eq!(accounting(builder()), Accounting::PerUser);
    assert_eq!(
        accounting(builder().account_per_user()),
        Accounting::PerUser
    );
    assert_eq!(accounting(per_process()), Accounting::PerProcess);
    // What was said last.
    let both = per_process().account_per_user();
    assert_eq!(accounting(both), Accounting::PerUser);
}

/// Pins so many pages in a context of which `fd` is a file, as long as `work` runs.
fn pinning(fd: OwnedFd, count: usize, work: impl FnOnce(iommufd::Result<&Mapping>)) {
    let iommufd = Iommufd::from_fd(fd).unwrap();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let _attachment = device.attach(&ioas).unwrap();
    let shared = DmaBuffer::new(count * PAGE).unwrap().share();
    match ioas.map(&shared, Access::ReadWrite) {
        Ok(mapping) => work(Ok(&mapping)),
        Err(error) => work(Err(error)),
    }
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn what_is_pinned_is_locked_if_it_counts_for_the_process() {
    const ALL: u64 = 4 * PAGE as u64;
    for (builder, locks) in [(Iommufd::builder(), 0), (per_process(), ALL)] {
        let mut fd = Some(raw::witness(&builder.open().unwrap()));
        // What root pins does not count at all.
        with_locked_memory(4, |_, _| {
            let before = (pinned(), locked());
            pinning(fd.take().unwrap(), 4, |mapping| {
                mapping.unwrap();
                assert_eq!((pinned(), locked()), (before.0 + ALL, before.1 + locks));
            });
            assert_eq!((pinned(), locked()), before);
        });
    }
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn what_one_process_pins_leaves_another_less_if_it_counts_for_the_user() {
    let modes: [(fn() -> IommufdBuilder, bool); 2] =
        [(Iommufd::builder, true), (per_process, false)];
    for (builder, less) in modes {
        let mut files = Some([(); 2].map(|()| raw::witness(&builder().open().unwrap())));
        with_locked_memory(4, |_, _| {
            let [ours, theirs] = files.take().unwrap();
            let mut theirs = Some(theirs);
            pinning(ours, 3, |mapping| {
                mapping.unwrap();
                in_child(|| {
                    pinning(theirs.take().unwrap(), 3, |mapping| match mapping {
                        Ok(_) => assert!(!less),
                        Err(Error::LockedMemory { accounting, .. }) => {
                            assert!(less);
                            assert_eq!(accounting, Accounting::PerUser);
                        }
                        Err(error) => panic!("{error}"),
                    });
                });
            });
        });
    }
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn without_the_privilege_the_file_comes_back() {
    let mut files = Some((opened(), per_process().open().unwrap()));
    with_locked_memory(4, |_, _| {
        let (fd, changed) = files.take().unwrap();
        let refusal = per_process().from_fd(fd).unwrap_err();
        assert_eq!(refusal.error().errno(), Some(Errno::PERM));
        assert!(
            refusal.to_string().contains("CAP_SYS_RESOURCE"),
            "{refusal}"
        );
        // As it is it may stay.
        let iommufd = Iommufd::builder()
            .account_per_user()
            .from_fd(refusal.into_value())
            .unwrap();
        assert_eq!(iommufd.accounting().unwrap(), Accounting::PerUser);
        let again = changed.as_fd().try_clone_to_owned().unwrap();
        let iommufd = per_process().from_fd(again).unwrap();
        assert_eq!(iommufd.accounting().unwrap(), Accounting::PerProcess);
    });
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn in_a_context_with_objects_it_is_too_late_and_the_file_comes_back() {
    let fd = opened();
    let object = raw::ioas_alloc(&fd).unwrap();
    let refusal = per_process().from_fd(fd).unwrap_err();
    assert_eq!(refusal.error().errno(), Some(Errno::BUSY));
    assert!(refusal.to_string().contains("precede"), "{refusal}");
    let fd = refusal.into_value();
    raw::destroy(&fd, object).unwrap();
    let iommufd = per_process().from_fd(fd).unwrap();
    assert_eq!(iommufd.accounting().unwrap(), Accounting::PerProcess);
    let ioas = Ioas::new(&iommufd).unwrap();
    // Another handle of the file, that asks for what is so already.
    let again = iommufd.as_fd().try_clone_to_owned().unwrap();
    per_process().from_fd(again).unwrap();
    ioas.try_destroy().unwrap();
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn an_option_changes_nothing_of_what_is_no_iommufd() {
    let null = OwnedFd::from(File::open("/dev/null").unwrap());
    let refusal = per_process().from_fd(null).unwrap_err();
    assert!(matches!(refusal.error(), Error::NotIommufd));
    let refused = per_process().open_at(Path::new("/dev/null"));
    assert!(matches!(refused.unwrap_err(), Error::NotIommufd));
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn huge_pages_are_on_unless_it_is_said_otherwise() {
    let (iommufd, recorder) = Recorder::context();
    let with = Ioas::new(&iommufd).unwrap();
    let asked_for = Ioas::builder(&iommufd).huge_pages(true).allocate().unwrap();
    assert_eq!(recorder.calls(), ["IOMMU_IOAS_ALLOC"; 2]);
    recorder.clear();
    let without = Ioas::builder(&iommufd)
        .huge_pages(false)
        .allocate()
        .unwrap();
    assert_eq!(recorder.calls(), ["IOMMU_IOAS_ALLOC", "IOMMU_OPTION"]);
    assert!(with.huge_pages().unwrap());
    assert!(asked_for.huge_pages().unwrap());
    assert!(!without.huge_pages().unwrap());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn without_huge_pages_everything_is_aligned_to_the_cpus_page() {
    let iommufd = Iommufd::open().unwrap();
    let device = MockDevice::new(&iommufd).unwrap();
    let with = Ioas::new(&iommufd).unwrap();
    let without = Ioas::builder(&iommufd)
        .huge_pages(false)
        .allocate()
        .unwrap();
    let alignment = |ioas: &Ioas| ioas.iova_ranges().unwrap().alignment();
    assert_eq!(alignment(&with), 1);
    assert_eq!(alignment(&without), PAGE as u64);
    let _tables = [&with, &without].map(|ioas| HwPt::new(ioas, &device).unwrap());
    assert_eq!(alignment(&with), tests::mock::PAGE);
    assert_eq!(alignment(&without), PAGE as u64);
    // What the mock's IOMMU could map.
    let half = iommufd::Iova::new(page(0).get() + tests::mock::PAGE);
    let memory = Living::new().memory(PAGE);
    drop(with.map_at(half, &memory, Access::Read).unwrap());
    refused(without.map_at(half, &memory, Access::Read), Errno::INVAL);

    let attachment = device.attach(&without).unwrap();
    let large = DmaBuffer::memfd_huge(2 << 20, iommufd::HugePage::Size2M)
        .unwrap()
        .share();
    let mapping = without.map(&large, Access::ReadWrite).unwrap();
    device
        .check_map(mapping.iova(), iommufd::DmaMemory::bytes(&*large))
        .unwrap();
    mapping.unmap().unwrap();
    attachment.detach().unwrap();
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn an_address_space_that_a_stranger_destroyed_has_no_options() {
    let iommufd = Iommufd::open().unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    raw::destroy(&iommufd, ids::of(&ioas)).unwrap();
    refused(ioas.huge_pages(), Errno::NOENT);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn in_a_child_no_option_is_set_or_read() {
    let (iommufd, recorder) = Recorder::context();
    let ioas = Ioas::new(&iommufd).unwrap();
    recorder.clear();
    in_child(|| {
        let forked = |error| matches!(error, Error::Forked);
        assert!(forked(iommufd.accounting().unwrap_err()));
        assert!(forked(ioas.huge_pages().unwrap_err()));
        let builder = Ioas::builder(&iommufd).huge_pages(false);
        assert!(forked(builder.allocate().unwrap_err()));
        assert_eq!(recorder.count(), 0);
    });
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn an_address_space_whose_option_cannot_be_set_is_not_left() {
    nothing_is_left(|nth, iommufd, _, _| {
        let ioas = nth.armed(|| Ioas::builder(iommufd).huge_pages(false).allocate())?;
        assert!(!ioas.huge_pages()?);
        Ok(())
    });
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_context_that_cannot_be_opened_as_it_shall_is_closed() {
    let files = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = files();
    let mut errors = 0;
    sweep(Points::Everywhere, |nth| {
        match nth.armed(|| per_process().open()) {
            Ok(iommufd) => assert_eq!(iommufd.accounting().unwrap(), Accounting::PerProcess),
            Err(error) => {
                assert!(nth.failed() && error.errno().is_some(), "{error}");
                errors += 1;
            }
        }
        // The sweep's own file is one more.
        assert_eq!(files(), before + 1);
    });
    assert!(errors > 0);
}
