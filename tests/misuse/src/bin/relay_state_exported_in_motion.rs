//! Fails with E0499: a guest's VT-d takes a descriptor between coming to rest and the export of its state.

use iommufd::vtd::relay::{GuestMemory, Host, NotFlushed, Relay, State};

fn _case<H: Host>(relay: &mut Relay<H>, memory: &impl GuestMemory) -> Result<State, NotFlushed> {
    let quiesced = relay.quiesce(memory)?;
    #[cfg(feature = "misuse")]
    let _taken = relay.take([0x25, 0, 0, 0], memory);
    Ok(quiesced.export())
}

fn main() {
    // Checked for every host: there is nothing to run.
}
