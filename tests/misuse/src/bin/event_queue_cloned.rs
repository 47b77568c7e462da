//! Fails with E0599: two readers of one queue, each of which finds holes in what it reads.

use iommufd::VEventQueue;
use iommufd::format::Event;

fn _case<E: Event>(queue: VEventQueue<E>) -> VEventQueue<E> {
    #[cfg(feature = "misuse")]
    let _second = queue.clone();
    queue
}

fn main() {
    // Checked for every format: there is nothing to run.
}
