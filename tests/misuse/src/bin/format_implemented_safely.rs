//! Fails with E0200: a format that does not answer for what the kernel does with it.

#![expect(unsafe_code, reason = "answers for the format")]

use iommufd::format::{Format, InViommu};

#[derive(Debug)]
struct Stage1;

macro_rules! contents {
    () => {
        type NestsOn = InViommu;
        type Config = [u64; 2];
        const CONFIG_TYPE: u32 = 2;
        type Invalidation = [u64; 2];
        const INVALIDATION_TYPE: u32 = 1;
        const COUNT_IS_EXACT: bool = false;
    };
}

#[cfg(feature = "misuse")]
impl Format for Stage1 {
    contents!();
}

// SAFETY: these are the words of an SMMUv3's stream table entry, and of a command.
#[cfg(not(feature = "misuse"))]
unsafe impl Format for Stage1 {
    contents!();
}

fn case() -> Stage1 {
    Stage1
}

fn main() {
    let _checked = case;
}
