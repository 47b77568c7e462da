//! What all handles of bound devices do alike.

use std::sync::Arc;

use crate::device::BoundDevice;
use crate::error::Error;
use crate::holders::Holders;

/// What holds the device besides this handle.
pub(super) fn holders(handle: &Arc<BoundDevice>) -> Holders {
    Holders {
        devices: Arc::strong_count(handle).saturating_sub(1),
        ..handle.holders()
    }
}

/// Closes the device if nothing else holds it.
///
/// # Errors
/// The handle, with the reason.
pub(super) fn try_close(handle: Arc<BoundDevice>) -> Result<(), (Arc<BoundDevice>, Error)> {
    if let Err(error) = handle.iommu.iommufd().check_process() {
        return Err((handle, error.into()));
    }
    let device = Arc::try_unwrap(handle).map_err(|handle| {
        let holders = holders(&handle);
        (handle, Error::StillHeld(holders))
    })?;
    // This was the only handle: nobody can make what would hold the device any more.
    let holders = device.holders();
    if !holders.is_empty() {
        return Err((Arc::new(device), Error::StillHeld(holders)));
    }
    let BoundDevice {
        iommu,
        bound,
        behind,
        address,
    } = device;
    match iommu.try_close() {
        // The last reference: closes the file.
        Ok(()) => {
            drop(bound);
            Ok(())
        }
        Err(refused) => {
            let (iommu, error) = refused.into_parts();
            let error = match error {
                iommufd::Error::InUse { holders, .. } => Error::StillHeld(Holders {
                    iommu_handles: holders,
                    ..Holders::default()
                }),
                error => error.into(),
            };
            let device = BoundDevice {
                iommu,
                bound,
                behind,
                address,
            };
            Err((Arc::new(device), error))
        }
    }
}

/// Makes a type a handle of a bound device, which it has in its field `device`.
macro_rules! handle {
    ($handle:ident) => {
        impl $handle {
            pub(crate) fn new(device: BoundDevice) -> Self {
                Self {
                    device: Arc::new(device),
                }
            }

            /// What holds the device besides this handle: all of it must go before it can be closed.
            #[must_use]
            pub fn holders(&self) -> Holders {
                handle::holders(&self.device)
            }

            /// Closes the device: on return the kernel has detached, unbound and released it, as far
            /// as this process is concerned.
            ///
            /// Detaches nothing by itself. The kernel keeps a device open as long as anybody has its
            /// file: a duplicate in another process (a child of a fork, too), or KVM.
            ///
            /// # Errors
            /// The device, with [`Error::StillHeld`] that names what holds it: its attachment, mapped
            /// registers, interrupts, open regions, other handles. [`iommufd::Error::LeadsGroup`]:
            /// others of its IOMMU group are attached by way of it. [`iommufd::Error::Forked`].
            pub fn try_close(self) -> Result<(), Refused<Self>> {
                handle::try_close(self.device)
                    .map_err(|(device, error)| Refused::new(Self { device }, error))
            }
        }

        /// What a device does whatever stands between it and memory.
        impl Deref for $handle {
            type Target = BoundDevice;

            fn deref(&self) -> &BoundDevice {
                &self.device
            }
        }

        impl fmt::Debug for $handle {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.device.debug(stringify!($handle), f)
            }
        }
    };
}
pub(super) use handle;
