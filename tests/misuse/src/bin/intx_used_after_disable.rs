//! Fails with E0382: an interrupt pin is unmasked that was disabled.

use vfio::{Intx, Result};

fn case(line: Intx) -> Result<()> {
    line.unmask()?;
    line.disable()?;
    #[cfg(feature = "misuse")]
    line.unmask()?;
    Ok(())
}

fn main() {
    let _checked = case;
}
