//! Fails with E0599: a second handle of a queue that is to be destroyed in its turn.

use iommufd::HwQueue;
use iommufd::format::HasHwQueues;

fn _case<V: HasHwQueues>(queue: HwQueue<V>) -> HwQueue<V> {
    #[cfg(feature = "misuse")]
    let _second = queue.clone();
    queue
}

fn main() {
    // Checked for every format: there is nothing to run.
}
