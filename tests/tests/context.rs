//! Contexts: opened, taken over, mixed up, closed.

use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use iommufd::{Access, Error, HwPt, Ioas, Iommufd};
use rustix::io::Errno;
use tests::at::PAGE;
use tests::memory::Living;
use tests::mock::MockDevice;
use tests::observe::Recorder;
use tests::refused;
use tests::yes::YesFile;

#[test]
fn a_file_that_is_no_iommufd_is_refused() {
    for path in ["/dev/null", "/proc/self/exe", "/dev/zero"] {
        let file = OwnedFd::from(File::open(path).unwrap());
        let refused = Iommufd::from_fd(file).unwrap_err();
        assert!(
            matches!(refused.error(), Error::NotIommufd),
            "{path}: {refused}"
        );
        rustix::io::fcntl_getfd(refused.into_value()).unwrap();
    }
    let error = Iommufd::builder()
        .open_at(Path::new("/dev/null"))
        .unwrap_err();
    assert!(matches!(error, Error::NotIommufd), "{error}");
}

#[test]
#[ignore = "needs to mount a file system: cargo lab test"]
fn a_file_that_answers_every_ioctl_and_fills_in_nothing_is_refused() {
    let file = YesFile::mount();
    let opened = Iommufd::builder().open_at(file.path());
    let error = opened.unwrap_err();
    assert!(matches!(error, Error::NotIommufd), "{error}");
}

#[test]
fn a_node_that_is_not_there_is_named_in_the_error() {
    let nowhere = Path::new("/dev/iommu-that-is-not-there");
    refused(Iommufd::builder().open_at(nowhere), Errno::NOENT);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_file_that_was_handed_over_is_a_context() {
    let fd = OwnedFd::from(
        File::options()
            .read(true)
            .write(true)
            .open("/dev/iommu")
            .unwrap(),
    );
    let iommufd = Iommufd::from_fd(fd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let device = MockDevice::new(&iommufd).unwrap();
    device.attach(&ioas).unwrap().detach().unwrap();
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn objects_of_two_contexts_are_refused_before_any_ioctl() {
    let (ours, our_calls) = Recorder::context();
    let (theirs, their_calls) = Recorder::context();
    let our_device = MockDevice::new(&ours).unwrap();
    let their_device = MockDevice::new(&theirs).unwrap();
    let our_ioas = Ioas::new(&ours).unwrap();
    let their_ioas = Ioas::new(&theirs).unwrap();
    let their_table = HwPt::new(&their_ioas, &their_device).unwrap();
    let mut attachment = our_device.attach(&our_ioas).unwrap();
    // The ids are the same: the kernel would find an object for each.
    assert_eq!(tests::ids::of(&our_ioas), tests::ids::of(&their_ioas));
    assert_eq!(our_device.id(), their_device.id());
    our_calls.clear();
    their_calls.clear();

    let foreign = |error: &Error| matches!(error, Error::ForeignContext { .. });
    assert!(foreign(&our_device.attach(&their_ioas).unwrap_err()));
    assert!(foreign(&our_device.attach(&their_table).unwrap_err()));
    assert!(foreign(&HwPt::new(&their_ioas, &our_device).unwrap_err()));
    assert!(foreign(&HwPt::new(&our_ioas, &their_device).unwrap_err()));
    assert!(foreign(
        &our_device.group().replace(&their_table).unwrap_err()
    ));
    assert!(foreign(&attachment.replace(&their_ioas).unwrap_err()));
    assert!(foreign(&attachment.replace(&their_table).unwrap_err()));
    assert_eq!(our_calls.count(), 0);
    assert_eq!(their_calls.count(), 0);
    assert!(attachment.target().is_some());
    attachment.detach().unwrap();
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn two_handles_of_one_open_file_are_two_contexts_to_the_sdk() {
    let iommufd = Iommufd::open().unwrap();
    let again = Iommufd::from_fd(iommufd.as_fd().try_clone_to_owned().unwrap()).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let device = MockDevice::new(&again).unwrap();
    let error = device.attach(&ioas).unwrap_err();
    assert!(matches!(error, Error::ForeignContext { .. }));
}

/// A peer destroys nothing, and leaks files on errors.
#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn p24_everything_is_destroyed_and_every_file_is_closed() {
    let files = || fs::read_dir("/proc/self/fd").unwrap().count();
    let before = files();
    let (iommufd, recorder) = Recorder::context();
    let living = Living::new();
    {
        let device = MockDevice::new(&iommufd).unwrap();
        let ioas = Ioas::new(&iommufd).unwrap();
        let table = HwPt::new(&ioas, &device).unwrap();
        let attachment = device.attach(&table).unwrap();
        let mapping = ioas
            .map_at(tests::at::page(0), living.memory(PAGE), Access::Read)
            .unwrap();
        recorder.clear();
        drop((mapping, attachment, table, ioas));
    }
    assert_eq!(
        recorder.calls(),
        [
            "IOMMU_IOAS_UNMAP",
            "IOMMU_TEST_CMD",
            "IOMMU_DESTROY",
            "IOMMU_DESTROY"
        ]
    );
    assert!(recorder.answers().iter().all(|(_, answer)| answer.is_ok()));
    assert_eq!(living.count(), 0);
    assert_eq!(tests::raw::objects(&iommufd), 0);
    let null = OwnedFd::from(File::open("/dev/null").unwrap());
    Iommufd::from_fd(null).unwrap_err();
    drop(iommufd);
    assert_eq!(files(), before);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn the_context_is_open_as_long_as_anything_of_it() {
    let iommufd = Iommufd::open().unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    drop(iommufd);
    let living = Living::new();
    let mapping = ioas.map(living.memory(PAGE), Access::Read).unwrap();
    drop(ioas);
    mapping.unmap().unwrap();
    assert_eq!(living.count(), 0);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn errors_name_the_ioctl_the_errno_and_the_cause() {
    let iommufd = Iommufd::open().unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let memory = Living::new().memory(PAGE);
    let iova = iommufd::Iova::new(0x1000);
    let _mapping = ioas.map_at(iova, &memory, Access::Read).unwrap();
    let error = ioas.map_at(iova, &memory, Access::Read).unwrap_err();
    let Error::Kernel(error) = error else {
        panic!("{error}");
    };
    assert_eq!(error.operation, "IOMMU_IOAS_MAP");
    assert_eq!(error.errno, Errno::EXIST);
    assert!(error.cause.contains("overlaps"), "{error}");
}
