//! Fails with E0616: a guest is signalled for a SYNC that nobody has completed.

use iommufd::smmuv3::relay::{Flushed, PendingSync};

fn case(sync: PendingSync, flushed: &Flushed) {
    #[cfg(feature = "misuse")]
    let _signal = sync.signal;
    let _signal = sync.complete(flushed);
}

fn main() {
    let _checked = case;
}
