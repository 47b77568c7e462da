//! Fails with `unused_must_use`: an access that is to be held is given back at once.

use vfio::{BarMapping, Result};

#[deny(unused_must_use)]
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
