//! Fails with E0277: a type that is no register.

use vfio::{ConfigSpace, Result};

fn case(config: &ConfigSpace) -> Result<f64> {
    #[cfg(feature = "misuse")]
    return Ok(config.read::<f32>(0)?.into());
    #[cfg(not(feature = "misuse"))]
    Ok(config.read::<u32>(0)?.into())
}

fn main() {
    let _checked = case;
}
