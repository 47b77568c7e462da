//! Fails with E0133: a copy of the buffer's file outlives the proof that no device reaches it.

#![expect(unsafe_code, reason = "answers for what becomes of the file")]

use iommufd::{DmaMemory, SharedBuffer};

fn case(shared: &SharedBuffer) -> bool {
    #[cfg(feature = "misuse")]
    return shared.file().is_some();
    // SAFETY: the file is not used.
    #[cfg(not(feature = "misuse"))]
    unsafe { shared.file() }.is_some()
}

fn main() {
    let _checked = case;
}
