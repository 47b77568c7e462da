//! A queue object of the kernel's, with the file through which it is read.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use crate::context::Iommufd;
use crate::error::{Refused, Result};
use crate::event_file::EventFile;
use crate::object::Object;
use crate::viommu::ViommuInner;

/// A queue, which is destroyed when its file is closed: before, the kernel would not do it.
pub(crate) struct EventQueue {
    // The order matters: closed, then destroyed.
    file: EventFile,
    object: Object,
}

impl EventQueue {
    /// Takes over a queue that an ioctl has just made, called `kind` in errors.
    pub(crate) fn new(iommufd: &Iommufd, id: u32, file: OwnedFd, kind: &'static str) -> Self {
        Self {
            file: EventFile::new(file),
            object: Object::new(iommufd, id, kind),
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.object.id()
    }

    pub(crate) fn iommufd(&self) -> &Iommufd {
        self.object.iommufd()
    }

    /// The file, for who has made sure that this is the process that made the queue.
    pub(crate) fn file(&self) -> &EventFile {
        &self.file
    }

    /// Waits as [`EventFile::wait`] does, in the process that made the queue.
    pub(crate) fn wait(&self, timeout: Option<Duration>) -> Result<bool> {
        self.iommufd().check_process()?;
        self.file.wait(timeout)
    }

    /// Closes the file, and leaves the object.
    pub(crate) fn close(self) -> ClosedQueue {
        let Self { file, object } = self;
        drop(file);
        ClosedQueue {
            object,
            _viommu: None,
        }
    }
}

impl AsFd for EventQueue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// A queue whose file is closed: nothing can be read from it any more, and it is to be destroyed.
///
/// Dropping it destroys it. The kernel refuses while somebody else has the file open, or a page
/// table still uses it; that is then counted ([`Leaks`](crate::Leaks)) and reported.
///
/// # System calls
/// `IOMMU_DESTROY`.
#[must_use = "dropping it destroys the queue, and keeps to itself whether it could"]
pub struct ClosedQueue {
    // The order matters: the kernel destroys no virtual IOMMU that has a queue.
    object: Object,
    _viommu: Option<Arc<ViommuInner>>,
}

impl ClosedQueue {
    /// The queue, which is one of `viommu`.
    pub(crate) fn of(self, viommu: Arc<ViommuInner>) -> Self {
        Self {
            _viommu: Some(viommu),
            ..self
        }
    }

    /// Destroys the queue.
    ///
    /// # Errors
    /// The queue, to try again, with the kernel's refusal: `EBUSY`: a duplicate of the file is open,
    /// in this process or in another, as in a child of a fork; [`Error::Forked`].
    ///
    /// [`Error::Forked`]: crate::Error::Forked
    pub fn try_destroy(mut self) -> Result<(), Refused<Self>> {
        match self.object.destroy() {
            Ok(()) => Ok(()),
            Err(error) => Err(Refused::new(self, error)),
        }
    }
}

impl fmt::Debug for ClosedQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClosedQueue")
            .field("id", &self.object.id())
            .field("kind", &self.object.kind())
            .finish_non_exhaustive()
    }
}
