//! Fails with E0277: a device that has failed is made to run without a reset.

use vfio::migration::{Failed, Migration, Running, TransitionFailed};

fn case(failed: Migration<Failed>) -> Result<Migration<Running>, TransitionFailed> {
    #[cfg(feature = "misuse")]
    return failed.enter::<Running>();
    #[cfg(not(feature = "misuse"))]
    failed.reset()
}

fn main() {
    let _checked = case;
}
