//! Fails with E0382: a guest's SYNC is completed again, which would signal it twice.

use iommufd::smmuv3::relay::{Flushed, PendingSync};

fn case(sync: PendingSync, flushed: &Flushed) {
    let _signal = sync.complete(flushed);
    #[cfg(feature = "misuse")]
    let _again = sync.complete(flushed);
}

fn main() {
    let _checked = case;
}
