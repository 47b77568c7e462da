//! Fails with E0277: registers are mapped as if they were memory.

use std::sync::Arc;

use iommufd::{Access, Ioas, Mapping, SharedBuffer};
use vfio::BarMapping;

fn case(ioas: &Ioas, bar: BarMapping, shared: Arc<SharedBuffer>) -> iommufd::Result<Mapping> {
    assert!(bar.size() >= shared.len() as u64);
    #[cfg(feature = "misuse")]
    return ioas.map(Arc::new(bar), Access::ReadWrite);
    #[cfg(not(feature = "misuse"))]
    ioas.map(shared, Access::ReadWrite)
}

fn main() {
    let _checked = case;
}
