//! Fails with E0599: a second guard of a device's interrupts.

use std::sync::Arc;

use vfio::Interrupts;

fn case(interrupts: Interrupts) -> (Arc<Interrupts>, Arc<Interrupts>) {
    #[cfg(feature = "misuse")]
    let second = Arc::new(interrupts.clone());
    let interrupts = Arc::new(interrupts);
    #[cfg(not(feature = "misuse"))]
    let second = Arc::clone(&interrupts);
    (interrupts, second)
}

fn main() {
    let _checked = case;
}
