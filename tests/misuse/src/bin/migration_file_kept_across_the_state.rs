//! Fails with E0505: the file of a device's data is waited for after its state was left.

use std::os::fd::{AsFd, BorrowedFd};

use vfio::migration::{Migration, Running, StopCopy, TransitionFailed};

fn wait_for(_file: BorrowedFd<'_>) {}

fn case(saving: Migration<StopCopy>) -> Result<(), TransitionFailed> {
    let file = saving.as_fd();
    #[cfg(feature = "misuse")]
    drop(saving.enter::<Running>()?);
    wait_for(file);
    #[cfg(not(feature = "misuse"))]
    drop(saving.enter::<Running>()?);
    Ok(())
}

fn main() {
    let _checked = case;
}
