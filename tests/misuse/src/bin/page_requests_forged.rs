//! Fails with E0423: page requests that no device has made.

use iommufd::{FaultQueue, PageRequestGroup, Result};

fn case(queue: &FaultQueue) -> Result<Vec<PageRequestGroup>> {
    #[cfg(feature = "misuse")]
    return Ok(vec![PageRequestGroup(1)]);
    #[cfg(not(feature = "misuse"))]
    queue.read()
}

fn main() {
    let _checked = case;
}
