//! A kernel object: an id that is destroyed once, by whoever owns it.

use std::sync::Arc;

use rustix::io::Errno;

use crate::context::Iommufd;
use crate::error::{Error, Refused, Result};

/// What only this handle holds any more, or the handle back with how many others there are.
pub(crate) fn last_handle<T>(handle: Arc<T>, object: &'static str) -> Result<T, Refused<Arc<T>>> {
    Arc::try_unwrap(handle).map_err(|handle| {
        let holders = Arc::strong_count(&handle).saturating_sub(1);
        Refused::new(handle, Error::InUse { object, holders })
    })
}

/// Destroys, by `destroy`, what only this handle holds any more; else, or after a refusal, the
/// handle back.
pub(crate) fn destroy_last<T>(
    handle: Arc<T>,
    object: &'static str,
    destroy: impl FnOnce(&mut T) -> Result<()>,
) -> Result<(), Refused<Arc<T>>> {
    let mut inner = last_handle(handle, object)?;
    destroy(&mut inner).map_err(|error| Refused::new(Arc::new(inner), error))
}

/// Makes handles equal if they are of the same object, which is what their `Arc` in the field is.
macro_rules! equal_by {
    ($field:ident: $handle:ident $(<$kind:ident: $bound:ident>)?) => {
        /// Handles are equal if they are of the same object.
        impl $(<$kind: $bound>)? PartialEq for $handle $(<$kind>)? {
            fn eq(&self, other: &Self) -> bool {
                std::sync::Arc::ptr_eq(&self.$field, &other.$field)
            }
        }

        impl $(<$kind: $bound>)? Eq for $handle $(<$kind>)? {}
    };
}
pub(crate) use equal_by;

/// An object of the kernel's, by its id.
///
/// Ids are handed out again as soon as they are free, so an id is never copied out of here but
/// for the length of a call.
///
/// # Invariants
/// While `life` is `Alive`, `id` names an object of this context that only this value destroys.
#[derive(Debug)]
pub(crate) struct Object {
    iommufd: Iommufd,
    id: u32,
    kind: &'static str,
    life: Life,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Alive,
    /// The kernel has confirmed the destroy.
    Gone,
    /// The kernel has refused it in a drop: the object stays until the context is closed.
    GivenUp,
}

impl Object {
    /// Takes over `id`, which an ioctl has just handed out for a new object.
    pub(crate) fn new(iommufd: &Iommufd, id: u32, kind: &'static str) -> Self {
        // INVARIANT: the kernel has handed out the id just now, and told nobody else.
        Self {
            iommufd: iommufd.clone(),
            id,
            kind,
            life: Life::Alive,
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// What it is called in errors.
    pub(crate) fn kind(&self) -> &'static str {
        self.kind
    }

    pub(crate) fn iommufd(&self) -> &Iommufd {
        &self.iommufd
    }

    /// Destroys the object; after a refusal it is as it was.
    pub(crate) fn destroy(&mut self) -> Result<()> {
        self.iommufd.context().destroy(self.id)?;
        self.life = Life::Gone;
        Ok(())
    }

    /// Destroys the object, which the kernel may have destroyed by itself: an id like that is never
    /// given out again, so `ENOENT` can be believed, when it is answered twice (a fault injected
    /// into the kernel answers it once).
    pub(crate) fn destroy_unless_gone(&mut self) -> Result<()> {
        match self.destroy() {
            Err(error) if error.errno() == Some(Errno::NOENT) => {}
            answer => return answer,
        }
        match self.destroy() {
            Err(error) if error.errno() == Some(Errno::NOENT) => {
                self.life = Life::Gone;
                Ok(())
            }
            answer => answer,
        }
    }

    /// As [`destroy_in_drop`](Self::destroy_in_drop), of an object that may be gone by itself.
    pub(crate) fn destroy_unless_gone_in_drop(&mut self) -> bool {
        if self.life == Life::Alive {
            match self.destroy_unless_gone() {
                Ok(()) => {}
                Err(Error::Forked) => self.life = Life::GivenUp,
                Err(error) => {
                    self.life = Life::GivenUp;
                    self.iommufd.context().object_stays(self.kind, &error);
                }
            }
        }
        self.life == Life::Gone
    }

    /// Destroys the object in a drop, at most once, and says whether it is gone. A refusal is
    /// counted and reported.
    pub(crate) fn destroy_in_drop(&mut self) -> bool {
        if self.life == Life::Alive {
            self.life = if self.iommufd.context().destroy_in_drop(self.id, self.kind) {
                Life::Gone
            } else {
                Life::GivenUp
            };
        }
        self.life == Life::Gone
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        self.destroy_in_drop();
    }
}
