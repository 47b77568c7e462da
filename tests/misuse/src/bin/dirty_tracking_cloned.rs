//! Fails with E0599: a second guard of one tracking, whose end would end the first.

use std::sync::Arc;

use iommufd::DirtyTracking;

fn case(tracking: DirtyTracking) -> (Arc<DirtyTracking>, Arc<DirtyTracking>) {
    #[cfg(feature = "misuse")]
    let second = Arc::new(tracking.clone());
    let tracking = Arc::new(tracking);
    #[cfg(not(feature = "misuse"))]
    let second = Arc::clone(&tracking);
    (tracking, second)
}

fn main() {
    let _checked = case;
}
