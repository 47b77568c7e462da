//! Fails with E0499: a relay takes a command between coming to rest and the export of its state.

use iommufd::smmuv3::relay::{Host, NotFlushed, Relay, State};

fn _case<H: Host>(relay: &mut Relay<H>) -> Result<State, NotFlushed> {
    let quiesced = relay.quiesce()?;
    #[cfg(feature = "misuse")]
    let _done = relay.flush()?;
    Ok(quiesced.export())
}

fn main() {
    // Checked for every host: there is nothing to run.
}
