//! Fails with `unused_must_use`: a guest's command is taken, and nobody looks whether it is a SYNC that waits.

#![deny(unused_must_use)]

use iommufd::smmuv3::relay::{GuestMemory, Host, Relay, Taken};

fn _case<H: Host>(relay: &mut Relay<H>, memory: &impl GuestMemory) {
    #[cfg(feature = "misuse")]
    {
        relay.take([0x46, 0], memory).ok().unwrap_or(Taken::Command);
    }
    if let Ok(Taken::Sync(_waits)) = relay.take([0x46, 0], memory) {}
}

fn main() {
    // Checked for every host: there is nothing to run.
}
