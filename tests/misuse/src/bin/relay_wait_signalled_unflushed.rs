//! Fails with E0616: the status of a guest's wait is written that nobody has completed.

use iommufd::vtd::relay::{Flushed, PendingWait};

fn case(wait: PendingWait, flushed: &Flushed) {
    #[cfg(feature = "misuse")]
    let _signal = wait.signal;
    let _signal = wait.complete(flushed);
}

fn main() {
    let _checked = case;
}
