//! The chains of capabilities in the kernel's answers, and those of a device: its configuration space and its ROM.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vfio::fuzzing;

fuzz_target!(|input: &[u8]| {
    let Some((which, answer)) = input.split_first() else {
        return;
    };
    match which % 5 {
        0 => drop(fuzzing::region_info(answer).map(|info| info.mappable())),
        1 => drop(fuzzing::device_info(answer)),
        2 => drop(fuzzing::container_info(answer)),
        3 => drop(fuzzing::config_space(answer)),
        _ => {
            for image in fuzzing::rom_images(answer).unwrap_or_default() {
                assert!(
                    answer
                        .get(image.range)
                        .is_some_and(|image| !image.is_empty())
                );
            }
        }
    }
});
