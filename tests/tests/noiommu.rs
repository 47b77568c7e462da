//! Physical addresses: for a device with no IOMMU, and for nobody else.

use iommufd::{
    Access, DmaBuffer, DmaMemory, Error, HugePage, Ioas, Iommufd, Iova, IovaRange, PhysicalRange,
};
use rustix::io::Errno;
use tests::at::{PAGE, page, pages};
use tests::bare::{BareEdu, physical};
use tests::faults::{Points, sweep};
use tests::fork::{in_child, with_locked_memory};
use tests::memory::Living;
use tests::mock::MockDevice;
use tests::observe::Recorder;
use tests::{ids, raw, refused};

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn behind_an_iommu_there_is_none_to_be_had() {
    let (iommufd, recorder) = Recorder::context();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let mapping = ioas
        .map_at(page(0), Living::new().memory(PAGE), Access::Read)
        .unwrap();
    for attached in [false, true] {
        let _attachment = attached.then(|| device.attach(&ioas).unwrap());
        recorder.clear();
        refused(physical(&ioas, mapping.range()), Errno::OPNOTSUPP);
        // Asked what is impossible this kernel knows that it is: so it has the ioctl.
        assert_eq!(
            recorder.answers(),
            [
                ("IOMMU_IOAS_NOIOMMU_GET_PA", Err(Errno::OPNOTSUPP)),
                ("IOMMU_IOAS_NOIOMMU_GET_PA", Err(Errno::INVAL)),
            ]
        );
    }
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn where_nothing_is_mapped_nothing_is_found() {
    let iommufd = Iommufd::open().unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    refused(physical(&ioas, pages(0, 1)), Errno::NOENT);
    let mapping = ioas
        .map_at(page(1), Living::new().memory(PAGE), Access::Read)
        .unwrap();
    // What counts is the start.
    refused(physical(&ioas, pages(0, 2)), Errno::NOENT);
    refused(physical(&ioas, IovaRange::ALL), Errno::NOENT);
    let last = Iova::new(u64::MAX);
    let very_last = IovaRange::new(last, last).unwrap();
    refused(physical(&ioas, very_last), Errno::OVERFLOW);
    drop(mapping);
    raw::destroy(&iommufd, ids::of(&ioas)).unwrap();
    refused(physical(&ioas, pages(1, 1)), Errno::NOENT);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn without_the_privilege_no_address_is_told() {
    with_locked_memory(4, |iommufd, _| {
        let ioas = Ioas::new(iommufd).unwrap();
        let error = physical(&ioas, pages(0, 1)).unwrap_err();
        assert!(error.to_string().contains("CAP_SYS_RAWIO"), "{error}");
        refused(Err::<PhysicalRange, _>(error), Errno::PERM);
    });
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn in_a_child_no_address_is_told() {
    let (iommufd, recorder) = Recorder::context();
    let ioas = Ioas::new(&iommufd).unwrap();
    recorder.clear();
    in_child(|| {
        let error = physical(&ioas, pages(0, 1)).unwrap_err();
        assert!(matches!(error, Error::Forked));
        assert_eq!(recorder.count(), 0);
    });
}

#[test]
#[ignore = "needs the lab's device without an IOMMU: cargo lab test"]
fn a_device_with_no_iommu_finds_memory_where_it_is_physically() {
    let iommufd = Iommufd::open().unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let edu = BareEdu::bind(&iommufd);
    let attachment = edu.device().attach(&ioas).unwrap();
    let (from, to) = (
        tests::edu::memory_with(&tests::edu::pattern(3)),
        DmaBuffer::new(PAGE),
    );
    let to = to.unwrap().share();
    let source = ioas.map(&from, Access::Read).unwrap();
    let target = ioas.map(&to, Access::ReadWrite).unwrap();
    edu.fetch(&ioas, &source, PAGE as u64);
    edu.store(&ioas, &target, PAGE as u64);
    assert_eq!(tests::edu::contents(&to), tests::edu::pattern(3));
    source.unmap().unwrap();
    target.unmap().unwrap();
    attachment.detach().unwrap();
}

#[test]
#[ignore = "needs the lab's device without an IOMMU: cargo lab test"]
fn an_answer_is_the_contiguous_run_and_no_longer_than_was_asked_for() {
    let iommufd = Iommufd::open().unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let edu = BareEdu::bind(&iommufd);
    let _attachment = edu.device().attach(&ioas).unwrap();
    let huge = DmaBuffer::memfd_huge(2 << 20, HugePage::Size2M)
        .unwrap()
        .share();
    let start = Iova::new(0x4000_0000);
    let mapping = ioas.map_at(start, &huge, Access::ReadWrite).unwrap();
    let ask = |offset: u64, len: u64| {
        let start = start.checked_add(offset).unwrap();
        physical(&ioas, IovaRange::with_len(start, len).unwrap()).unwrap()
    };
    let whole = ask(0, 2 << 20);
    assert_eq!(whole.len(), 2 << 20);
    assert!(!whole.is_empty());
    assert!(whole.start().get().is_multiple_of(2 << 20), "{whole:?}");
    for (offset, len) in [
        (0, 1),
        (0, 4096),
        (4096, 8192),
        (5, 4096),
        (4095, 2),
        (0x1800, 0x1000),
    ] {
        let part = ask(offset, len);
        assert_eq!(part.start().get(), whole.start().get() + offset);
        assert_eq!(part.len(), len);
    }
    // Past the end of the mapping it ends with it, wherever the next one is.
    assert_eq!(ask((2 << 20) - 4096, 1 << 30).len(), 4096);
    assert_eq!(ask((2 << 20) - 1, u64::MAX - (1 << 40)).len(), 1);
    drop(mapping);

    // Pages in some order, where the runs are shorter. They add up, and no two overlap.
    let scattered = Living::new().memory(64 * PAGE);
    let mapping = ioas.map(&scattered, Access::Read).unwrap();
    let (mut runs, mut next) = (Vec::new(), Some(mapping.range()));
    while let Some(rest) = next {
        let run = physical(&ioas, rest).unwrap();
        runs.push((run.start(), run.len()));
        next = rest
            .start()
            .checked_add(run.len())
            .and_then(|start| IovaRange::new(start, rest.last()));
    }
    assert_eq!(runs.iter().map(|(_, len)| len).sum::<u64>(), mapping.len());
    runs.sort_unstable();
    for pair in runs.windows(2) {
        assert!(pair[0].0.get() + pair[0].1 <= pair[1].0.get(), "{pair:?}");
    }
}

#[test]
#[ignore = "needs the lab's device without an IOMMU: cargo lab test"]
fn what_is_mapped_is_pinned_for_the_device_and_no_longer() {
    let iommufd = Iommufd::open().unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let edu = BareEdu::bind(&iommufd);
    let memory = Living::new().memory(PAGE);
    let mapping = ioas.map(&memory, Access::ReadWrite).unwrap();
    refused(physical(&ioas, mapping.range()), Errno::OPNOTSUPP);
    let pins = |count| tests::mock::check_pins(&iommufd, memory.bytes(), count);
    let attachment = edu.device().attach(&ioas).unwrap();
    pins(1).unwrap();
    let here = physical(&ioas, mapping.range()).unwrap();
    assert_eq!(physical(&ioas, mapping.range()).unwrap(), here);
    let copy = ioas.copy(&mapping, Access::Read).unwrap();
    assert_eq!(physical(&ioas, copy.range()).unwrap(), here);
    attachment.detach().unwrap();
    pins(0).unwrap();
    refused(physical(&ioas, mapping.range()), Errno::OPNOTSUPP);
}

#[test]
#[ignore = "needs the lab's device without an IOMMU: cargo lab test"]
fn what_counts_is_the_first_device_that_was_attached() {
    let iommufd = Iommufd::open().unwrap();
    let bare = BareEdu::bind(&iommufd);
    let translated = tests::edu::bind(tests::edu::lone(), &iommufd);
    let memory = Living::new().memory(PAGE);
    for bare_first in [true, false] {
        let ioas = Ioas::new(&iommufd).unwrap();
        let mapping = ioas.map_at(page(0), &memory, Access::Read).unwrap();
        let attach_bare = || bare.device().attach(&ioas).unwrap();
        let early = bare_first.then(attach_bare);
        let _attachment = translated.attach(&ioas).unwrap();
        let _bare = early.unwrap_or_else(attach_bare);
        let answer = physical(&ioas, mapping.range());
        match bare_first {
            true => assert_eq!(answer.unwrap().len(), PAGE as u64),
            false => refused(answer, Errno::OPNOTSUPP),
        }
    }
}

#[test]
#[ignore = "needs the lab's device without an IOMMU: cargo lab test"]
fn whatever_fails_the_answer_is_right_or_there_is_none() {
    let iommufd = Iommufd::open().unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let edu = BareEdu::bind(&iommufd);
    let _attachment = edu.device().attach(&ioas).unwrap();
    let mapping = ioas.map(Living::new().memory(PAGE), Access::Read).unwrap();
    let right = physical(&ioas, mapping.range()).unwrap();
    let mut errors = 0;
    sweep(Points::Everywhere, |nth| {
        match nth.armed(|| physical(&ioas, mapping.range())) {
            Ok(answer) => assert_eq!(answer, right),
            Err(error) => {
                assert!(nth.failed() && error.errno().is_some(), "{error}");
                errors += 1;
            }
        }
    });
    assert!(errors > 0);
}
