//! What reads of a fault queue bring, and which answers are taken.
#![no_main]

use fuzz::reads::pieces;
use iommufd::fuzzing::page_requests;
use libfuzzer_sys::fuzz_target;

/// A quarter of a record: some reads end within one.
const UNIT: usize = 10;

fuzz_target!(|input: &[u8]| {
    let Some((keeps, rest)) = input.split_first() else {
        return;
    };
    page_requests(&pieces(rest, UNIT), usize::from(keeps % 8));
});
