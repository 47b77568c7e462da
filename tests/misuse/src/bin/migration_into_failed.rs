//! Fails with E0277: a device is asked to fail.

use vfio::migration::{Migration, Running, Stop, TransitionFailed};

fn case(running: Migration<Running>) -> Result<(), TransitionFailed> {
    #[cfg(feature = "misuse")]
    drop(running.enter::<vfio::migration::Failed>()?);
    #[cfg(not(feature = "misuse"))]
    drop(running.enter::<Stop>()?);
    Ok(())
}

fn main() {
    let _checked = case;
}
