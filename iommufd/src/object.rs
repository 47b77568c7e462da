//! A kernel object: an id that is destroyed once, by whoever owns it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use iommufd_sys::ioctl::iommufd as nr;
use rustix::io::Errno;

use crate::cause;
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
    /// The kernel has refused it in a drop, or has waited in vain: the object stays until the
    /// context is closed.
    GivenUp,
}

/// The id that the kernel gives to no object: whatever is asked of it is refused (`ENOENT`).
const NOBODY: u32 = 0;

/// From when on a refused destroy is one that the kernel has waited for. It waits for a minute,
/// and answers at once otherwise.
const WAITED: Duration = Duration::from_secs(59);

/// Whether a destroy that was answered so, after so long, has left the object without its id.
///
/// The kernel takes the id away before it waits for others who are using the object, and does not
/// put it back when it gives up: it stays without one until the context is closed. (If they end
/// meanwhile the destroy succeeds. Linux 7.3 sleeps out the minute all the same: nothing wakes it.)
fn is_stranded(answer: &Result<()>, after: Duration) -> bool {
    let errno = answer.as_ref().err().and_then(Error::errno);
    errno == Some(Errno::BUSY) && after >= WAITED
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

    #[inline]
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// What it is called in errors.
    pub(crate) fn kind(&self) -> &'static str {
        self.kind
    }

    #[inline]
    pub(crate) fn iommufd(&self) -> &Iommufd {
        &self.iommufd
    }

    /// Destroys the object; after a refusal it is as it was.
    ///
    /// But for a refusal after a minute: then the id is anybody's, so the object has none any more,
    /// and is given up.
    pub(crate) fn destroy(&mut self) -> Result<()> {
        if self.life == Life::GivenUp {
            return Err(cause::refusal(nr::DESTROY.describe(), Errno::BUSY));
        }
        let context = self.iommufd.context();
        // Delivered when it is known here what has become of the object: the observer may use the
        // SDK, and the id may be another object's by then.
        let mut notices = context.notices();
        let begin = Instant::now();
        let answer = context.destroy(self.id, &mut notices);
        if answer.is_ok() {
            self.life = Life::Gone;
        } else if is_stranded(&answer, begin.elapsed()) {
            self.id = NOBODY;
            self.life = Life::GivenUp;
        }
        drop(notices);
        if let (Err(error), Life::GivenUp) = (&answer, self.life) {
            context.object_stays(self.kind, error);
        }
        answer
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
        self.end(Self::destroy_unless_gone)
    }

    /// Destroys the object in a drop, at most once, and says whether it is gone. A refusal is
    /// counted and reported, never lost. In a child of a fork nothing is done: the object is the
    /// parent's.
    pub(crate) fn destroy_in_drop(&mut self) -> bool {
        self.end(Self::destroy)
    }

    fn end(&mut self, destroy: impl FnOnce(&mut Self) -> Result<()>) -> bool {
        if self.life == Life::Alive
            && let Err(error) = destroy(self)
            // Else it has been given up, and counted, just now.
            && self.life == Life::Alive
        {
            self.life = Life::GivenUp;
            if !matches!(error, Error::Forked) {
                self.iommufd.context().object_stays(self.kind, &error);
            }
        }
        self.life == Life::Gone
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        self.destroy_in_drop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destroy_that_the_kernel_has_waited_for_in_vain_leaves_no_id() {
        let minute = Duration::from_secs(60);
        let answer = |errno| Err(cause::refusal(nr::DESTROY.describe(), errno));
        assert!(is_stranded(&answer(Errno::BUSY), minute));
        assert!(!is_stranded(&answer(Errno::BUSY), minute / 2));
        assert!(!is_stranded(&answer(Errno::NOENT), minute));
        assert!(!is_stranded(&Ok(()), minute));
    }
}
