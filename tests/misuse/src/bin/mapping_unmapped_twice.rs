//! Fails with E0382: a mapping is unmapped again; by then its address can be another mapping's.

use iommufd::{Mapping, Result};

fn case(mapping: Mapping) -> Result<()> {
    mapping.unmap()?;
    #[cfg(feature = "misuse")]
    mapping.unmap()?;
    Ok(())
}

fn main() {
    let _checked = case;
}
