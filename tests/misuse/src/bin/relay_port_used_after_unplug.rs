//! Fails with E0382: a device is unplugged from a guest's SMMU again.

use iommufd::smmuv3::relay::{Host, Port, Relay};

fn _case<H: Host>(relay: &mut Relay<H>, port: Port) {
    let _device = relay.unplug(port);
    #[cfg(feature = "misuse")]
    let _again = relay.unplug(port);
}

fn main() {
    // Checked for every host: there is nothing to run.
}
