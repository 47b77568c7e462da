//! Page requests behind relays, as the kernel has them.

use crate::device::Device;
use crate::error::{Error, Result};
use crate::fault_queue::{PageRequestGroup, PageResponse};

/// Whether `requests` are from `device`.
pub(crate) fn is_of(device: &Device, requests: &PageRequestGroup) -> bool {
    requests.device_key() == Some(device.key())
}

/// Answers them. That they do not wait any more is no error.
pub(crate) fn answer(requests: PageRequestGroup, response: PageResponse) -> Result<()> {
    match requests.respond(response) {
        Ok(()) => Ok(()),
        Err(refused) => match refused.into_error() {
            Error::RequestGone => Ok(()),
            error => Err(error),
        },
    }
}
