//! Fails with E0277: a guest's SMMUv3 command is given to the relay of a VT-d.

use iommufd::vtd::relay::{GuestMemory, Host, Relay};
use smmuv3_types::CommandWords;

fn _case<H: Host>(relay: &mut Relay<H>, memory: &impl GuestMemory, command: CommandWords) {
    #[cfg(feature = "misuse")]
    let _taken = relay.take(command, memory);
    let _words = (relay, memory, command);
}

fn main() {
    // Checked for every host: there is nothing to run.
}
