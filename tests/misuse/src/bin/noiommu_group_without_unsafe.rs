//! Fails with E0133: a group whose devices nothing confines, without anybody's answering for them.

#![expect(unsafe_code, reason = "answers for the DMA")]

use vfio::{Result, VfioGroup};

fn case() -> Result<VfioGroup> {
    #[cfg(feature = "misuse")]
    return VfioGroup::open_noiommu("/dev/vfio/noiommu-0");
    // SAFETY: only type-checked, never run.
    #[cfg(not(feature = "misuse"))]
    unsafe {
        VfioGroup::open_noiommu("/dev/vfio/noiommu-0")
    }
}

fn main() {
    let _checked = case;
}
