//! Fails with E0599: a device has two migration states.

use vfio::migration::{Migration, Running, Stop, TransitionFailed};

fn case(running: Migration<Running>) -> Result<Migration<Stop>, TransitionFailed> {
    #[cfg(feature = "misuse")]
    let _other = running.clone();
    running.enter::<Stop>()
}

fn main() {
    let _checked = case;
}
