//! Queues of page requests: what devices ask for when they cannot reach a page.

mod group;
mod pending;
mod request;

#[cfg(fuzzing)]
pub(crate) use pending::deliver_reads;

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use iommufd_sys::ioctl::SizedArg;
use iommufd_sys::ioctl::iommufd as nr;
use iommufd_sys::iommufd as sys;
use parking_lot::Mutex;

use crate::context::{Context, Iommufd};
use crate::error::{Refused, Result};
use crate::event_queue::{ClosedQueue, EventQueue};
use crate::funnel;
use crate::object::{equal_by, last_handle};

use pending::Pending;

pub use group::PageRequestGroup;
pub use request::{PageRequest, PageResponse, Permissions, RequestGroupId};

/// A queue of page requests, of all devices that are attached to the page tables it was given to.
///
/// A device that supports it (`PCIe`'s page request interface, the SMMU's stall model) asks for a
/// page that is not mapped, waits for the answer, and tries again. For that its page table must
/// have been allocated with a queue:
///
/// ```no_run
/// # fn example(ioas: &iommufd::Ioas, device: &iommufd::Device) -> iommufd::Result<()> {
/// use iommufd::{FaultQueue, HwPt, PageResponse};
///
/// let queue = FaultQueue::new(ioas.iommufd())?;
/// let hwpt = HwPt::builder(ioas, device).fault_queue(&queue).allocate()?;
/// let attachment = device.attach(&hwpt)?;
///
/// while queue.wait(None)? {
///     for group in queue.read()? {
///         for request in group.requests() {
///             println!("{:?} at {}", request.permissions(), request.address());
///             // Map it.
///         }
///         group.respond(PageResponse::Success)?;
///     }
/// }
/// # Ok(())
/// # }
/// ```
///
/// Cloning gives another handle. Page tables and page request groups hold the queue. Several
/// threads may read, wait and answer at once; each group goes to one of them.
///
/// Dropping the last handle closes the queue's file and destroys the queue;
/// [`try_close`](Self::try_close) does the same, and tells.
///
/// Lent by [`AsFd`], the file is for waiting: it is readable when there is something to read. Who
/// reads or writes it, other than through the queue, gets other people's groups and answers them.
///
/// # System calls
/// `IOMMU_FAULT_QUEUE_ALLOC` and `IOMMU_DESTROY`; `read` and `write` on the queue's file, which do
/// not wait, and `ppoll`, which does. Observers hear of the ioctls only.
///
/// Since Linux 6.11.
#[derive(Clone)]
#[doc(alias = "IOMMU_FAULT_QUEUE_ALLOC")]
pub struct FaultQueue {
    inner: Arc<QueueInner>,
}

/// # Invariants
/// The file is read and written only with the lock of `pending` held. This is the exception to the
/// rule that no lock is held across a system call. Between what the kernel hands out and what is
/// known of it, nobody may answer: else a group could be answered by the value of an older one, of
/// which the kernel has given the cookie away meanwhile. These calls never wait for anything but
/// other reads and answers, and detaches, of the queue.
struct QueueInner {
    queue: EventQueue,
    pending: Mutex<Pending>,
}

impl QueueInner {
    fn context(&self) -> &Context {
        self.queue.iommufd().context()
    }
}

const KIND: &str = "fault queue";

impl FaultQueue {
    /// An empty queue, for page tables that are allocated with it.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`: too many open files; `ENOMEM`; [`Error::Unsupported`] before Linux 6.11;
    /// [`Error::Forked`].
    ///
    /// [`Error::Unsupported`]: crate::Error::Unsupported
    /// [`Error::Forked`]: crate::Error::Forked
    pub fn new(iommufd: &Iommufd) -> Result<Self> {
        let mut arg = sys::iommu_fault_alloc::sized();
        let context = iommufd.context();
        let file = context.checked(&nr::FAULT_QUEUE_ALLOC, &mut context.notices(), |fd| {
            funnel::fault_queue_alloc(fd, &mut arg)
        })?;
        Ok(Self {
            inner: Arc::new(QueueInner {
                queue: EventQueue::new(iommufd, arg.out_fault_id, file, KIND),
                pending: Mutex::new(Pending::new()),
            }),
        })
    }

    /// Reads the groups that are there, as many as fit in one read; none if there is nothing. Does
    /// not wait.
    ///
    /// # Errors
    /// As for [`read_into`](Self::read_into).
    pub fn read(&self) -> Result<Vec<PageRequestGroup>> {
        let mut groups = Vec::new();
        self.read_into(&mut groups)?;
        Ok(groups)
    }

    /// As [`read`](Self::read), adding to `groups`; says how many were added.
    ///
    /// What the kernel still has stays there, and keeps the file readable. Groups of one request
    /// take no memory but their place in `groups`; others use that of earlier ones again.
    ///
    /// # Errors
    /// `ENOMEM`, and nothing is lost; [`Error::MalformedAnswer`] if something that was read before
    /// made no sense: it was answered INVALID, and what did make sense was delivered;
    /// [`Error::Forked`].
    ///
    /// [`Error::MalformedAnswer`]: crate::Error::MalformedAnswer
    /// [`Error::Forked`]: crate::Error::Forked
    pub fn read_into(&self, groups: &mut Vec<PageRequestGroup>) -> Result<usize> {
        let context = self.inner.context();
        context.check_process()?;
        let file = self.inner.queue.file();
        let mut pending = self.inner.pending.lock();
        // The ids in what is read are those of now.
        let names = context.devices.names();
        pending.read(
            |buffer| file.read(buffer),
            |response| file.write(response),
            |arrival| groups.push(PageRequestGroup::new(&self.inner, &names, arrival)),
        )
    }

    /// Waits until there is something to read, and says whether there is: not when the time is
    /// over, which without a `timeout` it never is. Of several threads that wait, all are woken,
    /// and some may find that others have read everything.
    ///
    /// # Errors
    /// `ENOMEM`; [`Error::Forked`].
    ///
    /// [`Error::Forked`]: crate::Error::Forked
    pub fn wait(&self, timeout: Option<Duration>) -> Result<bool> {
        self.inner.queue.wait(timeout)
    }

    /// The context it lives in.
    #[must_use]
    pub fn iommufd(&self) -> &Iommufd {
        self.inner.queue.iommufd()
    }

    /// Closes the queue's file. What is then left is to be destroyed:
    ///
    /// ```no_run
    /// # fn example(queue: iommufd::FaultQueue) -> iommufd::Result<()> {
    /// queue.try_close()?.try_destroy()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// These are two steps, as the first cannot be taken back when the second fails: the kernel
    /// destroys a queue only when nobody has its file open.
    ///
    /// # Errors
    /// The queue, with [`Error::InUse`] if other handles, page tables or page request groups hold
    /// it; [`Error::Forked`].
    ///
    /// [`Error::InUse`]: crate::Error::InUse
    /// [`Error::Forked`]: crate::Error::Forked
    pub fn try_close(self) -> Result<ClosedQueue, Refused<Self>> {
        if let Err(error) = self.iommufd().check_process() {
            return Err(Refused::new(self, error));
        }
        let inner =
            last_handle(self.inner, KIND).map_err(|refused| refused.map(|inner| Self { inner }))?;
        Ok(inner.queue.close())
    }

    /// Lets the page table of `arg`, in `iommufd`, deliver the page requests of its devices to
    /// `queue`, if there is one.
    pub(crate) fn serve(
        queue: Option<&Self>,
        iommufd: &Iommufd,
        arg: &mut sys::iommu_hwpt_alloc,
    ) -> Result<()> {
        if let Some(queue) = queue {
            iommufd.must_be(queue.iommufd(), KIND)?;
            arg.flags |= sys::IOMMU_HWPT_FAULT_ID_VALID;
            arg.fault_id = queue.inner.queue.id();
        }
        Ok(())
    }
}

/// Lends the file, to wait for it: see [`FaultQueue`].
impl AsFd for FaultQueue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.queue.as_fd()
    }
}

equal_by!(inner: FaultQueue);

impl fmt::Debug for FaultQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultQueue")
            .field("id", &self.inner.queue.id())
            .finish_non_exhaustive()
    }
}
