//! Fails with E0596: two threads read one queue, and each finds holes in what it reads.

use std::thread;

use iommufd::format::Event;
use iommufd::{Result, VEvent, VEventQueue};

fn _case<E: Event>(mut queue: VEventQueue<E>) -> Result<Vec<VEvent<E>>> {
    let waits = thread::scope(|scope| {
        let shared = &queue;
        #[cfg(feature = "misuse")]
        scope.spawn(|| drop(shared.read()));
        scope.spawn(|| shared.wait(None)).join()
    });
    drop(waits);
    queue.read()
}

fn main() {
    // Checked for every format: there is nothing to run.
}
