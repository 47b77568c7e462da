//! Fails with E0382: a mapping of a BAR is made again that was unmapped.

use iommufd::{Access, Ioas};
use vfio::{BarDmaBuf, Result};

fn case(buffer: &BarDmaBuf, ioas: &Ioas) -> Result<()> {
    let mut mapping = buffer.map(ioas, Access::ReadWrite)?;
    mapping.map_again()?;
    mapping.unmap()?;
    #[cfg(feature = "misuse")]
    mapping.map_again()?;
    Ok(())
}

fn main() {
    let _checked = case;
}
