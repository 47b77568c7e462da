//! Fails with E0119: a format whose tables are nested in a parent, and through a virtual IOMMU as well.

#![expect(unsafe_code, reason = "answers for the format")]

use iommufd::format::{Format, InParent, InViommu};

#[derive(Debug)]
struct Stage1;

// SAFETY: only type-checked, never given to the kernel.
unsafe impl Format for Stage1 {
    type NestsOn = InViommu;
    type Config = [u64; 2];
    const CONFIG_TYPE: u32 = 2;
    type Invalidation = [u64; 2];
    const INVALIDATION_TYPE: u32 = 1;
    const COUNT_IS_EXACT: bool = false;
}

#[cfg(feature = "misuse")]
unsafe impl Format for Stage1 {
    type NestsOn = InParent;
    type Config = [u64; 2];
    const CONFIG_TYPE: u32 = 2;
    type Invalidation = [u64; 2];
    const INVALIDATION_TYPE: u32 = 1;
    const COUNT_IS_EXACT: bool = false;
}

fn case() -> (Stage1, Option<InParent>) {
    (Stage1, None)
}

fn main() {
    let _checked = case;
}
