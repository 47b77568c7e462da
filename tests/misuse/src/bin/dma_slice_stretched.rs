//! Fails with E0451: a slice is made longer than the memory behind it.

use iommufd::{DmaSlice, Result};

fn case(slice: &DmaSlice) -> Result<DmaSlice> {
    #[cfg(feature = "misuse")]
    let slice = &DmaSlice {
        len: 1 << 30,
        ..slice.clone()
    };
    slice.slice(..4096)
}

fn main() {
    let _checked = case;
}
