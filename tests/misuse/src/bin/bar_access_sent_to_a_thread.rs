//! Fails with E0277: an access that is held is given to another thread, where a reset would wait for it for ever.

use vfio::{BarMapping, Result};

fn case(bar: &BarMapping) -> Result<()> {
    let access = bar.access()?;
    #[cfg(feature = "misuse")]
    std::thread::scope(|scope| drop(scope.spawn(move || access.read::<u32>(0))));
    #[cfg(not(feature = "misuse"))]
    drop(access);
    Ok(())
}

fn main() {
    let _checked = case;
}
