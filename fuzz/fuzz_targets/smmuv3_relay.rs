//! A guest with an SMMUv3, its command queue and its tables: the tests of the relay in `iommufd/tests`, by the choices of the fuzzer.
#![no_main]

#[allow(dead_code, reason = "a test's, of which not all is used")]
#[path = "../../iommufd/tests/relay/guest.rs"]
mod guest;
#[allow(dead_code, reason = "as above")]
#[path = "../../iommufd/tests/relay/model.rs"]
mod model;
#[allow(dead_code, reason = "as above")]
#[path = "../../iommufd/tests/relay/properties.rs"]
mod properties;
#[allow(dead_code, reason = "as above")]
#[path = "../../iommufd/tests/relay/world.rs"]
mod world;

mod random {
    pub(crate) use fuzz::choices::Random;
}

use fuzz::choices;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((which, choices)) = input.split_first() else {
        return;
    };
    choices::begin(choices);
    match which % 4 {
        0 => properties::a_guest_writes_anything(choices::is_over),
        1 => properties::a_guest_is_obeyed(u64::from(*which), false, choices::is_over),
        _ => properties::a_guest_is_obeyed(u64::from(*which), true, choices::is_over),
    }
});
