//! Fails with `unused_must_use`: a group of page requests is not kept, so its device is refused on the spot.

#![deny(unused_must_use)]

use iommufd::{FaultQueue, PageRequestGroup, Result};

fn case(queue: &FaultQueue, next: fn() -> PageRequestGroup) -> Result<PageRequestGroup> {
    queue.wait(None)?;
    #[cfg(feature = "misuse")]
    next();
    let group = next();
    Ok(group)
}

fn main() {
    let _checked = case;
}
