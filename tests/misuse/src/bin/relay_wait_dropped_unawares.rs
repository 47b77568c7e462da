//! Fails with `unused_must_use`: a guest's descriptor is taken, and nobody looks whether it is a wait.

#![deny(unused_must_use)]

use iommufd::vtd::relay::{GuestMemory, Host, Relay, Taken};

fn _case<H: Host>(relay: &mut Relay<H>, memory: &impl GuestMemory) {
    #[cfg(feature = "misuse")]
    {
        relay
            .take([0x25, 0, 0, 0], memory)
            .ok()
            .unwrap_or(Taken::Descriptor);
    }
    if let Ok(Taken::Wait(_waits)) = relay.take([0x25, 0, 0, 0], memory) {}
}

fn main() {
    // Checked for every host: there is nothing to run.
}
