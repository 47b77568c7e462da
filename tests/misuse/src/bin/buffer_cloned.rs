//! Fails with E0599: two owners of one buffer, one of which shares it.

use std::sync::Arc;

use iommufd::{DmaBuffer, SharedBuffer};

fn case(buffer: DmaBuffer) -> (Arc<SharedBuffer>, Arc<SharedBuffer>) {
    #[cfg(feature = "misuse")]
    let second = buffer.clone().share();
    let shared = buffer.share();
    #[cfg(not(feature = "misuse"))]
    let second = Arc::clone(&shared);
    (shared, second)
}

fn main() {
    let _checked = case;
}
