//! Fails with E0451: the token of a flush is made up.

use iommufd::smmuv3::relay::{Flushed, PendingSync};

fn case(sync: PendingSync, flushed: Flushed) {
    #[cfg(feature = "misuse")]
    let flushed = Flushed {
        taken: u64::MAX,
        ..flushed
    };
    let _signal = sync.complete(&flushed);
}

fn main() {
    let _checked = case;
}
