//! Fails with E0277: a device is let into a buffer that the CPU holds slices of.

use std::sync::Arc;

use iommufd::{Access, DmaBuffer, Ioas, Mapping, Result};

fn case(ioas: &Ioas, buffer: DmaBuffer) -> Result<Arc<Mapping>> {
    #[cfg(feature = "misuse")]
    let mapping = ioas.map(Arc::new(buffer), Access::ReadWrite)?;
    #[cfg(not(feature = "misuse"))]
    let mapping = ioas.map(buffer.share(), Access::ReadWrite)?;
    Ok(Arc::new(mapping))
}

fn main() {
    let _checked = case;
}
