//! The usable addresses, asked for with too little room.

// UNSAFETY: tells the kernel the address of a buffer.
#![expect(unsafe_code, reason = "issues the ioctl")]

use std::os::fd::AsFd;

use iommufd_sys::ioctl::{SizedArg, iommufd as nr};
use iommufd_sys::iommufd as sys;
use rustix::io::Errno;
use zerocopy::FromZeros;

/// What the kernel answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Whether it had something to say against it.
    pub result: Result<(), Errno>,
    /// First and last address of the ranges that it wrote, and of as many zeroes as it left room.
    pub ranges: Vec<(u64, u64)>,
    /// How many ranges there are.
    pub count: u32,
    /// What addresses must be multiples of.
    pub alignment: u64,
}

/// Asks for the ranges of the address space `ioas`, with room for `room`.
pub fn iova_ranges(fd: &impl AsFd, ioas: u32, room: u32, reserved: u32) -> Answer {
    let mut ranges = vec![sys::iommu_iova_range::new_zeroed(); room as usize];
    let mut arg = sys::iommu_ioas_iova_ranges::sized();
    arg.ioas_id = ioas;
    arg.num_iovas = room;
    arg.__reserved = reserved;
    arg.allowed_iovas = ranges.as_mut_ptr().expose_provenance() as u64;
    // SAFETY: the kernel writes at most `num_iovas` ranges to `allowed_iovas`: the vector has as many.
    let result = unsafe { super::issue(fd.as_fd(), &nr::IOAS_IOVA_RANGES, &mut arg) };
    Answer {
        result,
        ranges: ranges
            .iter()
            .map(|range| (range.start, range.last))
            .collect(),
        count: arg.num_iovas,
        alignment: arg.out_iova_alignment,
    }
}
