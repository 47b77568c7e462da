//! Fails with E0599: a container is asked what was written, and nobody has it recorded.

use iommufd::DirtyBitmap;
use vfio::{Container, Result};

fn case(container: &Container, bitmap: &mut DirtyBitmap) -> Result<()> {
    #[cfg(feature = "misuse")]
    container.read_and_clear(bitmap)?;
    container.track_dirty()?.read_and_clear(bitmap)
}

fn main() {
    let _checked = case;
}
