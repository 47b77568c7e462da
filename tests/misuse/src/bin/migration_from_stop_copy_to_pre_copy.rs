//! Fails with E0277: what is copied when it is stopped goes back to being copied while it runs.

use vfio::migration::{Migration, PreCopy, StopCopy, TransitionFailed};

fn case(saving: Migration<StopCopy>, early: Migration<PreCopy>) -> Result<(), TransitionFailed> {
    drop(early.enter::<StopCopy>()?);
    #[cfg(feature = "misuse")]
    drop(saving.enter::<PreCopy>()?);
    #[cfg(not(feature = "misuse"))]
    drop(saving);
    Ok(())
}

fn main() {
    let _checked = case;
}
