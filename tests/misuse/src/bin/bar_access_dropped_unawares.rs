//! Fails with `unused_must_use`: an access that is to be held is given back at once.

#![deny(unused_must_use)]

use vfio::{BarMapping, Result};

fn case(bar: &BarMapping) -> Result<()> {
    #[cfg(feature = "misuse")]
    bar.access()?;
    #[cfg(not(feature = "misuse"))]
    drop(bar.access()?);
    Ok(())
}

fn main() {
    let _checked = case;
}
