//! Fails with E0382: a guest's wait is completed again, which would write its status twice.

use iommufd::vtd::relay::{Flushed, PendingWait};

fn case(wait: PendingWait, flushed: &Flushed) {
    let _signal = wait.complete(flushed);
    #[cfg(feature = "misuse")]
    let _again = wait.complete(flushed);
}

fn main() {
    let _checked = case;
}
