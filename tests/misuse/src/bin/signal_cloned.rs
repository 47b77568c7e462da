//! Fails with E0599: a second guard of what the kernel tells of a device.

use std::sync::Arc;

use vfio::Signal;

fn case(signal: Signal) -> (Arc<Signal>, Arc<Signal>) {
    #[cfg(feature = "misuse")]
    let second = Arc::new(signal.clone());
    let signal = Arc::new(signal);
    #[cfg(not(feature = "misuse"))]
    let second = Arc::clone(&signal);
    (signal, second)
}

fn main() {
    let _checked = case;
}
