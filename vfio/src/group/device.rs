//! A device of a group that is in a container.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use crate::device::OpenDevice;
use crate::error::{Error, Refused, Result};
use crate::holders::Holders;

/// A VFIO device that was opened by way of its group: it reaches what is mapped in the group's
/// container.
///
/// What can be done with it, [`OpenDevice`] has.
///
/// Cloning gives another handle. What is made of it (regions, mappings of registers, interrupts)
/// holds it open, and with it the group and the container; when the last is gone, its file is closed.
/// [`try_close`](Self::try_close) says when, and what is in the way.
///
/// Since Linux 3.10.
#[derive(Clone)]
pub struct GroupDevice {
    inner: Arc<OpenDevice>,
}

impl GroupDevice {
    pub(super) fn new(open: OpenDevice) -> Self {
        Self {
            inner: Arc::new(open),
        }
    }

    /// What holds the device besides this handle: all of it must go before it can be closed.
    #[must_use]
    pub fn holders(&self) -> Holders {
        Holders {
            devices: Arc::strong_count(&self.inner).saturating_sub(1),
            ..self.inner.holders_within()
        }
    }

    /// Closes the device: on return the kernel has released it, as far as this process is concerned.
    ///
    /// # Errors
    /// The device, with [`Error::StillHeld`] that names what holds it: mapped registers, interrupts,
    /// open regions, other handles. [`iommufd::Error::Forked`].
    pub fn try_close(self) -> Result<(), Refused<Self>> {
        if let Err(error) = self.bound().watch().check_process() {
            return Err(Refused::new(self, error));
        }
        let open = Arc::try_unwrap(self.inner).map_err(|inner| {
            let device = Self { inner };
            let holders = device.holders();
            Refused::new(device, Error::StillHeld(holders.into()))
        })?;
        // This was the only handle: nobody can make what would hold the device any more.
        let within = || open.holders_within();
        let holders = match open.bound().seat() {
            Some(seat) => seat.retire(within),
            None => within(),
        };
        if holders.is_empty() {
            // The last reference: closes the file.
            drop(open);
            Ok(())
        } else {
            Err(Refused::new(
                Self::new(open),
                Error::StillHeld(holders.into()),
            ))
        }
    }
}

/// What can be done with a device, whichever way it was opened.
impl Deref for GroupDevice {
    type Target = OpenDevice;

    fn deref(&self) -> &OpenDevice {
        &self.inner
    }
}

impl fmt::Debug for GroupDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GroupDevice").field(&*self.inner).finish()
    }
}
