//! Mapping by file.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::ops::Range;
use std::os::fd::AsRawFd as _;

use iommufd::{
    Access, DmaBuffer, DmaMemory, DmaSlice, Error, FileRange, HugePage, Ioas, Iommufd, Mapped,
};
use rustix::fs::{SealFlags, fcntl_add_seals};
use rustix::io::Errno;
use tests::at::{PAGE, mapped, page};
use tests::mock::{MockAccess, MockDevice, MockDmabuf};
use tests::observe::Recorder;
use tests::{file, refused};

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_buffer_in_a_file_is_mapped_by_file() {
    let (iommufd, recorder) = Recorder::context();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let _attachment = device.attach(&ioas).unwrap();
    let shared = DmaBuffer::memfd(4 * PAGE).unwrap().share();
    recorder.clear();
    let whole = ioas.map(&shared, Access::ReadWrite).unwrap();
    let last = DmaSlice::new(&shared, 3 * PAGE..).unwrap();
    let part = ioas.map(last, Access::ReadWrite).unwrap();
    assert_eq!(recorder.calls(), ["IOMMU_IOAS_MAP_FILE"; 2]);
    device.check_map(whole.iova(), shared.bytes()).unwrap();

    // The CPU and the device see the same pages, and the part begins where it should.
    shared.write(3 * PAGE, 0x1122_3344_u32).unwrap();
    let access = MockAccess::new(&ioas).unwrap();
    let mut seen = [0; 4];
    access.read(part.iova(), &mut seen).unwrap();
    assert_eq!(u32::from_le_bytes(seen), 0x1122_3344);
    drop((access, whole, part));
    DmaBuffer::reclaim(shared).unwrap();
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_buffer_of_huge_pages_in_a_file_is_mapped_by_file() {
    let (iommufd, recorder) = Recorder::context();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let _attachment = device.attach(&ioas).unwrap();
    let shared = DmaBuffer::memfd_huge(3 << 20, HugePage::Size2M)
        .unwrap()
        .share();
    assert_eq!(shared.len(), 4 << 20);
    recorder.clear();
    let mapping = ioas.map(&shared, Access::ReadWrite).unwrap();
    assert_eq!(recorder.calls(), ["IOMMU_IOAS_MAP_FILE"]);
    assert!(
        mapping.iova().get().is_multiple_of(2 << 20),
        "so that the IOMMU can use huge pages as well: {mapping:?}"
    );
    device.check_map(mapping.iova(), shared.bytes()).unwrap();
    drop(mapping);
    DmaBuffer::reclaim(shared).unwrap();
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_file_of_somebody_elses_is_mapped_and_kept_by_the_kernel() {
    let iommufd = Iommufd::open().unwrap();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let _attachment = device.attach(&ioas).unwrap();
    let mut file = file::memfd(4 * PAGE);
    file.write_all(&[1; PAGE]).unwrap();
    file.write_all(&[2; PAGE]).unwrap();
    let range = FileRange::new(&file, PAGE as u64..3 * PAGE as u64);
    let mapping = ioas.map_file_at(page(0), range, Access::ReadWrite).unwrap();
    assert_eq!(ioas.mapped(), mapped(1, 2 * PAGE as u64));
    let access = MockAccess::new(&ioas).unwrap();
    access.write(page(1), &[3; PAGE]).unwrap();
    let mut third = [0; PAGE];
    file.read_exact(&mut third).unwrap();
    assert_eq!(third, [3; PAGE]);

    drop(file);
    let mut seen = [0; 2 * PAGE];
    access.read(page(0), &mut seen).unwrap();
    assert_eq!(seen[..PAGE], [2; PAGE]);
    assert_eq!(seen[PAGE..], [3; PAGE]);
    drop(access);
    mapping.unmap().unwrap();
    let anywhere = file::memfd(PAGE);
    let range = FileRange::new(&anywhere, 0..PAGE as u64);
    let mapping = ioas.map_file(range, Access::Read).unwrap();
    assert!(ioas.iova_ranges().unwrap().contains(mapping.range()));
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_range_past_the_end_of_the_file_is_found_out_when_pages_are_pinned() {
    let iommufd = Iommufd::open().unwrap();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let file = file::memfd(2 * PAGE);
    let beyond = FileRange::new(&file, PAGE as u64..3 * PAGE as u64);
    let lazily = ioas.map_file_at(page(0), beyond, Access::Read).unwrap();
    refused(device.attach(&ioas), Errno::INVAL);
    drop(lazily);
    let _attachment = device.attach(&ioas).unwrap();
    refused(
        ioas.map_file_at(page(0), beyond, Access::Read),
        Errno::INVAL,
    );
    let inside = FileRange::new(&file, PAGE as u64..2 * PAGE as u64);
    ioas.map_file_at(page(0), inside, Access::Read)
        .unwrap()
        .unmap()
        .unwrap();
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_file_of_another_kind_is_refused() {
    let iommufd = Iommufd::open().unwrap();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let _attachment = device.attach(&ioas).unwrap();
    for path in ["/dev/null", "/proc/version"] {
        let file = File::open(path).unwrap();
        let range = FileRange::new(&file, 0..PAGE as u64);
        refused(ioas.map_file(range, Access::Read), Errno::INVAL);
    }
    assert_eq!(ioas.mapped(), Mapped::default());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn addresses_of_a_file_mapping_are_refused_as_those_of_any_other() {
    let iommufd = Iommufd::open().unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let file = file::memfd(PAGE);
    let page_of = FileRange::new(&file, 0..PAGE as u64);
    let _there = ioas.map_file_at(page(0), page_of, Access::Read).unwrap();
    refused(
        ioas.map_file_at(page(0), page_of, Access::Read),
        Errno::EXIST,
    );
    for len in [u64::MAX, u64::MAX / 2] {
        let endless = FileRange::new(&file, 0..len);
        refused(ioas.map_file(endless, Access::Read), Errno::OVERFLOW);
    }
    let reversed = Range {
        start: 8192,
        end: 0,
    };
    for nothing in [0..0, reversed] {
        let nothing = FileRange::new(&file, nothing);
        let error = ioas.map_file(nothing, Access::Read).unwrap_err();
        assert!(matches!(error, Error::Empty { .. }));
    }
    ioas.allow_iovas(&[tests::at::pages(0, 1)]).unwrap();
    refused(ioas.map_file(page_of, Access::Read), Errno::NOSPC);

    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let _attachment = device.attach(&ioas).unwrap();
    let odd = FileRange::new(&file, 1..1 + PAGE as u64 / 2);
    refused(ioas.map_file_at(page(0), odd, Access::Read), Errno::INVAL);
}

/// Peers read any error of a probe as "not supported", and one of them remembers it for ever.
#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn p06_a_refused_mapping_by_file_is_not_taken_for_a_kernel_without_it() {
    let (iommufd, recorder) = Recorder::context();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let _attachment = device.attach(&ioas).unwrap();
    let shared = DmaBuffer::memfd(PAGE).unwrap().share();
    recorder.clear();
    let below = iommufd::Iova::new(0x1000);
    refused(ioas.map_at(below, &shared, Access::Read), Errno::INVAL);
    let _mapping = ioas.map_at(page(0), &shared, Access::Read).unwrap();
    assert_eq!(
        recorder.answers(),
        [
            ("IOMMU_IOAS_MAP_FILE", Err(Errno::INVAL)),
            ("IOMMU_IOAS_MAP_FILE", Ok(())),
        ]
    );
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_dma_buf_is_mapped_unless_it_is_revoked() {
    let iommufd = Iommufd::open().unwrap();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let _attachment = device.attach(&ioas).unwrap();
    let dmabuf = MockDmabuf::new(&iommufd, 4 * PAGE as u32).unwrap();
    let whole = FileRange::new(&dmabuf, 0..4 * PAGE as u64);
    let mapping = ioas.map_file_at(page(0), whole, Access::ReadWrite).unwrap();
    // The kernel unmaps it by itself, and the place stays taken.
    dmabuf.revoke(true).unwrap();
    let again = ioas.map_file_at(page(0), whole, Access::ReadWrite);
    assert!(again.is_err());
    mapping.unmap().unwrap();
    refused(
        ioas.map_file_at(page(0), whole, Access::ReadWrite),
        Errno::NODEV,
    );
    dmabuf.revoke(false).unwrap();
    let mapping = ioas.map_file_at(page(0), whole, Access::ReadWrite).unwrap();
    drop(dmabuf);
    mapping.unmap().unwrap();
    assert_eq!(iommufd.leaks(), iommufd::Leaks::default());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_dma_buf_that_is_too_short_or_of_another_driver_is_refused() {
    let iommufd = Iommufd::open().unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let short = MockDmabuf::new(&iommufd, PAGE as u32).unwrap();
    let beyond = FileRange::new(&short, 0..2 * PAGE as u64);
    refused(ioas.map_file(beyond, Access::Read), Errno::INVAL);
    let foreign = file::foreign_dmabuf(PAGE as u64);
    let whole = FileRange::new(&foreign, 0..PAGE as u64);
    refused(ioas.map_file(whole, Access::Read), Errno::OPNOTSUPP);
    assert_eq!(ioas.mapped(), Mapped::default());
}

/// Mapping a file is safe because writing to one is. So a device must not be let write what the process could not: a
/// slice of a file that is sealed against writing is sound, and rests on nobody's promise.
#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_device_writes_no_file_that_the_process_could_not_write() {
    let iommufd = Iommufd::open().unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let access = MockAccess::new(&ioas).unwrap();
    let (mut kept, mut other) = (file::memfd(PAGE), file::memfd(PAGE));
    kept.write_all(b"kept").unwrap();
    other.write_all(b"kept").unwrap();
    fcntl_add_seals(&kept, SealFlags::WRITE).unwrap();
    let read_only = File::open(format!("/proc/self/fd/{}", other.as_raw_fd())).unwrap();
    let mut written = Vec::new();
    for (what, file) in [("sealed", &kept), ("opened for reading", &read_only)] {
        let range = FileRange::new(file, 0..PAGE as u64);
        drop(ioas.map_file(range, Access::Read).unwrap());
        if let Ok(mapping) = ioas.map_file(range, Access::ReadWrite)
            && access.write(mapping.iova(), b"lost").is_ok()
        {
            written.push(what);
        }
    }
    assert!(
        written.is_empty(),
        "a device has written what is {written:?}"
    );
    for file in [&kept, &other] {
        let mut found = [0; 4];
        rustix::io::pread(file, &mut found, 0).unwrap();
        assert_eq!(&found, b"kept");
    }
}
