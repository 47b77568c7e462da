//! A buffer that the CPU and a device share.

use iommufd::{Access, DmaBuffer, DmaMemory, Ioas, Iommufd};

use crate::mock::{self, MockAccess, MockDevice};

/// Asserts that a device finds in the buffer what the CPU writes, that the CPU finds what a device writes, and that the
/// pages are pinned as long as they are mapped.
pub fn goes_both_ways(buffer: DmaBuffer) {
    let iommufd = Iommufd::open().unwrap();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let _attachment = device.attach(&ioas).unwrap();
    let len = buffer.len();
    let shared = buffer.share();
    let mapping = ioas.map(&shared, Access::ReadWrite).unwrap();
    device.check_map(mapping.iova(), shared.bytes()).unwrap();

    let access = MockAccess::new(&ioas).unwrap();
    let last = mapping.iova().checked_add(len as u64 - 8).unwrap();
    shared.write(len - 8, 0x0123_4567_89ab_cdef_u64).unwrap();
    let mut seen = [0; 8];
    access.read(last, &mut seen).unwrap();
    assert_eq!(u64::from_le_bytes(seen), 0x0123_4567_89ab_cdef);
    access.write(last, &[7; 8]).unwrap();
    assert_eq!(shared.read::<u8>(len - 1).unwrap(), 7);

    mock::check_pins(&iommufd, shared.bytes(), 1).unwrap();
    mapping.unmap().unwrap();
    mock::check_pins(&iommufd, shared.bytes(), 0).unwrap();
    let buffer = DmaBuffer::reclaim(shared).unwrap();
    assert_eq!(buffer[len - 8..], [7; 8]);
    assert_eq!(buffer[..8], [0; 8]);
}
