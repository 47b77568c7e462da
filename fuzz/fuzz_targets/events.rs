//! What reads of an event queue bring, of each vendor's length of an event; and SMMUv3's events themselves.
#![no_main]

use fuzz::reads::pieces;
use iommufd::VEvent;
use iommufd::fuzzing::vevents;
use iommufd::smmuv3::EventRecord;
use libfuzzer_sys::fuzz_target;
use tests::mock::nesting::MockEvent;

fuzz_target!(|input: &[u8]| {
    let Some((which, rest)) = input.split_first() else {
        return;
    };
    // Lengths that are not those of whole events, too.
    let unit = usize::from(which >> 1 & 3) * 4 + 4;
    let reads = pieces(rest, unit);
    if which & 1 == 0 {
        drop(vevents::<MockEvent>(&reads));
        return;
    }
    for event in vevents::<EventRecord>(&reads) {
        let VEvent::Event(record) = event else {
            continue;
        };
        if let Ok(event) = record.decode() {
            // What it was written as is what it is read as.
            assert_eq!(event.encode().decode(), Ok(event));
        }
    }
});
