//! Fails with E0451: what a hot reset takes with it is not asked for.

use vfio::{Device, HotResetScope, Result};

fn case(device: &Device) -> Result<HotResetScope> {
    let scope = device.hot_reset_scope()?;
    #[cfg(feature = "misuse")]
    let scope = HotResetScope {
        functions: scope.functions().to_vec(),
    };
    Ok(scope)
}

fn main() {
    let _checked = case;
}
