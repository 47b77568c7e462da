//! Fails with E0382: a device that a relay puts on the guest's tables is used by its owner of before.

use iommufd::Device;
use iommufd::smmuv3::relay::{GuestMemory, Kernel, Port, Relay, RelayedDevice};

fn _case(relay: &mut Relay<Kernel>, device: Device, memory: &impl GuestMemory) -> Option<Port> {
    let device = RelayedDevice::new(device);
    let port = relay.plug(device, None, memory).ok();
    #[cfg(feature = "misuse")]
    let _detached = device.into_device();
    port
}

fn main() {
    // Checked for every memory: there is nothing to run.
}
