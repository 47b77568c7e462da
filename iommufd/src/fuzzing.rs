//! Doors to what takes bytes of a kernel's apart, for the fuzzers in `fuzz/`. They are there with `--cfg fuzzing` only,
//! and are no part of the interface.

use iommufd_sys::iommufd as sys;
use zerocopy::FromBytes;

use crate::format::Event;
use crate::{HwInfo, Result, VEvent, fault_queue, hw_info, vevent};

/// The events in what reads of a queue have brought.
pub fn vevents<E: Event>(reads: &[&[u8]]) -> Vec<VEvent<E>> {
    vevent::parse_reads(reads)
}

/// How many groups of page requests there are in what reads of a queue have brought. All but the latest `keeps` are
/// answered.
pub fn page_requests(reads: &[&[u8]], keeps: usize) -> usize {
    fault_queue::deliver_reads(reads, keeps)
}

/// What an answer says of the hardware: the argument as the kernel leaves it, and the data after it.
///
/// # Errors
/// As for a question.
pub fn hw_info(answer: &[u8]) -> Result<Option<HwInfo>> {
    match sys::iommu_hw_info::read_from_prefix(answer) {
        Ok((arg, data)) => hw_info::answered(arg, data).map(Some),
        Err(_) => Ok(None),
    }
}
