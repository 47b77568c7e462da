//! Fails with E0277: a guest's tables are configured with an address of this process.

#![expect(unsafe_code, reason = "answers for the format")]

use iommufd::format::{Format, InViommu};

#[derive(Debug)]
struct Stage1;

// SAFETY: only type-checked, never given to the kernel.
unsafe impl Format for Stage1 {
    type NestsOn = InViommu;
    #[cfg(feature = "misuse")]
    type Config = [*const u8; 2];
    #[cfg(not(feature = "misuse"))]
    type Config = [u64; 2];
    const CONFIG_TYPE: u32 = 2;
    type Invalidation = [u64; 2];
    const INVALIDATION_TYPE: u32 = 1;
    const COUNT_IS_EXACT: bool = false;
}

fn case() -> Stage1 {
    Stage1
}

fn main() {
    let _checked = case;
}
