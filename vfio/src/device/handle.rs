//! What all handles of bound devices do alike.

use std::sync::Arc;

use super::Inner;
use crate::error::Error;
use crate::holders::Holders;

/// What holds the device besides this handle.
pub(super) fn holders(inner: &Arc<Inner>) -> Holders {
    Holders {
        devices: Arc::strong_count(inner).saturating_sub(1),
        ..inner.holders()
    }
}

/// Closes the device if nothing else holds it.
///
/// # Errors
/// The handle, with the reason.
pub(super) fn try_close(inner: Arc<Inner>) -> Result<(), (Arc<Inner>, Error)> {
    if let Err(error) = inner.iommu.iommufd().check_process() {
        return Err((inner, error.into()));
    }
    let inner = Arc::try_unwrap(inner).map_err(|inner| {
        let holders = holders(&inner);
        (inner, Error::StillHeld(holders.into()))
    })?;
    // This was the only handle: nobody can make what would hold the device any more.
    let holders = inner.holders();
    if !holders.is_empty() {
        return Err((Arc::new(inner), Error::StillHeld(holders.into())));
    }
    let Inner { iommu, open } = inner;
    match iommu.try_close() {
        // The last reference: closes the file.
        Ok(()) => {
            drop(open);
            Ok(())
        }
        Err(refused) => {
            let (iommu, error) = refused.into_parts();
            let error = match error {
                iommufd::Error::InUse { holders, .. } => Error::StillHeld(Box::new(Holders {
                    iommu_handles: holders,
                    ..Holders::default()
                })),
                error => error.into(),
            };
            Err((Arc::new(Inner { iommu, open }), error))
        }
    }
}

/// Makes a type a handle of a bound device, which it has in its field `inner`.
macro_rules! handle {
    ($handle:ident) => {
        impl $handle {
            pub(crate) fn new(inner: Inner) -> Self {
                Self {
                    inner: Arc::new(inner),
                }
            }

            /// What holds the device besides this handle: all of it must go before it can be closed.
            #[must_use]
            pub fn holders(&self) -> Holders {
                handle::holders(&self.inner)
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
                handle::try_close(self.inner)
                    .map_err(|(inner, error)| Refused::new(Self { inner }, error))
            }
        }

        /// What can be done with a device, whichever way it was opened.
        impl Deref for $handle {
            type Target = OpenDevice;

            fn deref(&self) -> &OpenDevice {
                &self.inner.open
            }
        }

        impl fmt::Debug for $handle {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut debug = f.debug_struct(stringify!($handle));
                if let Some(address) = self.address() {
                    debug.field("address", &address);
                }
                debug.field("iommu", &self.inner.iommu).finish()
            }
        }
    };
}
pub(super) use handle;
