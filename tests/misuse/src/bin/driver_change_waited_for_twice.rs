//! Fails with E0382: what became of a change is told once; who still waits has it back.

use std::time::Duration;

use vfio::{Pending, Result, Waited};

fn case(change: Pending<()>) -> Result<Waited<()>> {
    let waited = change.wait(Duration::ZERO)?;
    #[cfg(feature = "misuse")]
    return change.wait(Duration::from_secs(1));
    #[cfg(not(feature = "misuse"))]
    match waited {
        Waited::StillWaiting(change) => change.wait(Duration::from_secs(1)),
        done @ Waited::Done(()) => Ok(done),
    }
}

fn main() {
    let _checked = case;
}
