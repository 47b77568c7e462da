//! Buffers of every kind, as a device sees them.

use iommufd::{Access, DmaBuffer, DmaMemory, HugePage, Ioas, Iommufd};
use rustix::io::Errno;
use tests::at::PAGE;
use tests::both_ways::goes_both_ways;
use tests::mock::{self, MockDevice};
use tests::refused;

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn ordinary_memory_goes_both_ways() {
    goes_both_ways(DmaBuffer::new(5 * PAGE).unwrap());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn memory_in_a_file_goes_both_ways() {
    goes_both_ways(DmaBuffer::memfd(5 * PAGE).unwrap());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn huge_pages_go_both_ways() {
    let buffer = DmaBuffer::huge(1, HugePage::Size2M).unwrap();
    assert_eq!(buffer.len(), 2 << 20);
    goes_both_ways(buffer);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn huge_pages_in_a_file_go_both_ways() {
    goes_both_ways(DmaBuffer::memfd_huge(4 << 20, HugePage::Size2M).unwrap());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn large_memory_goes_both_ways_in_small_batches() {
    let iommufd = Iommufd::open().unwrap();
    let _limit = mock::BatchLimit::new(&iommufd, 16).unwrap();
    goes_both_ways(DmaBuffer::new(64 * PAGE).unwrap());
    goes_both_ways(DmaBuffer::memfd(64 * PAGE).unwrap());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn huge_pages_that_nobody_reserved_are_refused() {
    refused(DmaBuffer::huge(1 << 40, HugePage::Size2M), Errno::NOMEM);
    refused(
        DmaBuffer::memfd_huge(1 << 40, HugePage::Size2M),
        Errno::NOMEM,
    );
    assert!(DmaBuffer::huge(1 << 30, HugePage::Size1G).is_err());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_buffer_is_pinned_only_while_a_page_table_needs_it() {
    let iommufd = Iommufd::open().unwrap();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let mut buffer = DmaBuffer::new(4 * PAGE).unwrap();
    buffer.fill(1);
    let shared = buffer.share();
    let start = tests::at::page(0);
    let _mapping = ioas.map_at(start, &shared, Access::ReadWrite).unwrap();
    mock::check_pins(&iommufd, shared.bytes(), 0).unwrap();
    let attachment = device.attach(&ioas).unwrap();
    mock::check_pins(&iommufd, shared.bytes(), 1).unwrap();
    let again = tests::at::page(100);
    let second = ioas.map_at(again, &shared, Access::Read).unwrap();
    mock::check_pins(&iommufd, shared.bytes(), 2).unwrap();
    second.unmap().unwrap();
    attachment.detach().unwrap();
    mock::check_pins(&iommufd, shared.bytes(), 0).unwrap();
}
