//! `/dev/iommu`: one open context, and what happens around each of its ioctls.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use iommufd_sys::ioctl::SizedArg;
use iommufd_sys::ioctl::{Ioctl, iommufd as nr};
use iommufd_sys::iommufd as sys;
use parking_lot::RwLock;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::cause;
use crate::change_process::Ledgers;
use crate::devices::Devices;
use crate::error::{Accounting, Error, KernelError, Refused, Result};
use crate::funnel::{self, PointerFree};
use crate::group::Groups;
use crate::object::equal_by;
use crate::observe::{IoctlEvent, Leaks, Observer};
use crate::option::RlimitMode;
use crate::watch::{self, Watch};

pub(crate) use crate::watch::Notices;

/// An open `/dev/iommu`: the context in which all other objects live.
///
/// Cloning gives another handle of the same context. The file is closed when the last handle and
/// the last object of the context are gone, so a context is never pulled away from under them.
///
/// # System calls
/// `openat` (not for [`from_fd`](Self::from_fd)) and `IOMMU_OPTION`, which shows that the file is
/// an iommufd, and sets how pinned memory counts where that is asked for; once in a process `mmap` and `madvise` for a page that a fork wipes, or `getpid` for
/// every operation where these are forbidden.
///
/// Since Linux 6.2.
///
/// ```no_run
/// # fn main() -> iommufd::Result<()> {
/// use iommufd::{Ioas, Iommufd};
///
/// let iommufd = Iommufd::open()?;
/// let ioas = Ioas::new(&iommufd)?;
/// for range in ioas.iova_ranges()?.iter() {
///     println!("usable: {range}");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Iommufd {
    context: Arc<Context>,
}

impl Iommufd {
    /// Opens `/dev/iommu`.
    ///
    /// # Errors
    /// `ENOENT`: the kernel has no iommufd, or no device node for it. `EACCES`: the node is not
    /// yours to open (it is `root`'s, mode 0660, unless the system says otherwise).
    pub fn open() -> Result<Self> {
        Self::builder().open()
    }

    /// Takes over an open `/dev/iommu`, as a sandboxed process is given it.
    ///
    /// Whoever else holds the same open file shares the kernel's context and must be trusted with
    /// it: they can destroy any object in it. That is so for a second `Iommufd` of a duplicate in
    /// this process, too: objects of the two are not mixed, and one does not know what the other
    /// has attached.
    ///
    /// # Errors
    /// The file, with [`Error::NotIommufd`] if it is something else.
    pub fn from_fd(fd: OwnedFd) -> Result<Self, Refused<OwnedFd>> {
        Self::builder().from_fd(fd)
    }

    /// Sets what must be known before the first object is made.
    pub fn builder() -> IommufdBuilder {
        IommufdBuilder {
            observer: None,
            rlimit_mode: None,
        }
    }

    /// What the kernel would not let go of when handles of this context were dropped.
    #[must_use]
    pub fn leaks(&self) -> Leaks {
        self.watch().leaks()
    }

    /// Tells the observer of an ioctl that a driver made on a file of its own, such as a VFIO
    /// device's; call it with no lock held.
    pub fn observe(&self, event: &IoctlEvent) {
        self.watch().observe(event);
    }

    /// Counts, and tells the observer of, an object that a driver's drop could not let go of; call
    /// it with no lock held.
    pub fn refused_drop(&self, object: &'static str, error: &Error) {
        self.context.object_stays(object, error);
    }

    /// Whether an observer is set: without one, nobody needs the time of a call.
    #[must_use]
    pub fn is_observed(&self) -> bool {
        self.watch().is_observed()
    }

    /// Whether this is the process that opened the context.
    ///
    /// # Errors
    /// [`Error::Forked`] in a child of it.
    pub fn check_process(&self) -> Result<()> {
        self.context.check_process()
    }

    /// A context of a file that is not asked whether it is an iommufd.
    pub(crate) fn unasked(fd: OwnedFd) -> Self {
        Self {
            context: Arc::new(Context::new(fd, None)),
        }
    }

    /// Whose process the context belongs to, and who hears of its ioctls: for a driver.
    #[must_use]
    pub fn watch(&self) -> &Watch {
        &self.context.watch
    }

    #[inline]
    pub(crate) fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// Refuses an object `what` of another context.
    pub(crate) fn must_be(&self, other: &Self, what: &'static str) -> Result<()> {
        if Arc::ptr_eq(&self.context, &other.context) {
            Ok(())
        } else {
            Err(Error::ForeignContext { what })
        }
    }
}

/// Lends the file, for a driver to bind a device to.
impl AsFd for Iommufd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.context.fd.as_fd()
    }
}

equal_by!(context: Iommufd);

impl fmt::Debug for Iommufd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iommufd")
            .field("fd", &self.context.fd)
            .finish_non_exhaustive()
    }
}

/// How a context is to be opened: see [`Iommufd::builder`].
#[must_use = "nothing is opened before `open`"]
pub struct IommufdBuilder {
    observer: Option<Arc<dyn Observer>>,
    pub(crate) rlimit_mode: Option<RlimitMode>,
}

impl IommufdBuilder {
    /// Lets `observer` see every ioctl of the context.
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Opens `/dev/iommu`.
    ///
    /// # Errors
    /// As for [`Iommufd::open`]; `EPERM` if [`account_per_process`](Self::account_per_process) is
    /// not allowed.
    pub fn open(self) -> Result<Iommufd> {
        self.open_at(Path::new("/dev/iommu"))
    }

    /// Opens the iommufd device node at another path.
    ///
    /// # Errors
    /// As for [`open`](Self::open), and [`Error::NotIommufd`] if it is something else.
    pub fn open_at(self, path: &Path) -> Result<Iommufd> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| {
            KernelError::new("open of /dev/iommu", errno, cause::of_open(errno))
        })?;
        Ok(self.from_fd(fd)?)
    }

    /// Takes over an open `/dev/iommu`.
    ///
    /// # Errors
    /// The file, as for [`Iommufd::from_fd`]; if memory is to count otherwise than it does there:
    /// `EBUSY`: there are objects in the context already; `EPERM`: the process has no
    /// `CAP_SYS_RESOURCE`.
    pub fn from_fd(self, fd: OwnedFd) -> Result<Iommufd, Refused<OwnedFd>> {
        let wanted = self.rlimit_mode;
        let context = Context::new(fd, self.observer);
        // A question that changes nothing and that every iommufd answers.
        let error = match context.rlimit_mode() {
            Ok(mode) => match context.make_rlimit_mode(wanted, mode) {
                Ok(()) => {
                    return Ok(Iommufd {
                        context: Arc::new(context),
                    });
                }
                Err(error) => error,
            },
            // Other files do not know the number, or know it as something else.
            Err(Error::Unsupported { .. }) => Error::NotIommufd,
            Err(error) if error.errno() == Some(Errno::INVAL) => Error::NotIommufd,
            Err(error) => error,
        };
        Err(Refused::new(context.fd, error))
    }
}

impl fmt::Debug for IommufdBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IommufdBuilder")
            .field("observed", &self.observer.is_some())
            .field("rlimit_mode", &self.rlimit_mode)
            .finish()
    }
}

/// What all objects of one open `/dev/iommu` share.
pub(crate) struct Context {
    fd: OwnedFd,
    watch: Watch,
    pub(crate) groups: Groups,
    pub(crate) devices: Devices,
    /// Those of its address spaces.
    pub(crate) ledgers: Ledgers,
    /// Held for reading while an object is destroyed; for writing while an ioctl goes on for which
    /// the kernel takes hold of address spaces whose handles the caller does not have. It refuses
    /// to destroy one that is held, so a drop in another thread could not let go of it.
    bystanders: RwLock<()>,
    /// `IOMMU_IOAS_MAP_FILE` itself answered that its number is unknown.
    pub(crate) lacks_map_file: AtomicBool,
}

impl Context {
    fn new(fd: OwnedFd, observer: Option<Arc<dyn Observer>>) -> Self {
        Self {
            fd,
            watch: Watch::new(observer),
            groups: Groups::default(),
            devices: Devices::default(),
            ledgers: Ledgers::default(),
            bystanders: RwLock::default(),
            lacks_map_file: AtomicBool::new(false),
        }
    }

    /// Refuses to act in a child of the process that opened the context.
    #[inline]
    pub(crate) fn check_process(&self) -> Result<()> {
        self.watch.check_process()
    }

    /// Makes one ioctl whose argument carries no pointer.
    #[inline]
    pub(crate) fn call<T: PointerFree>(&self, ioctl: &Ioctl<T>, arg: &mut T) -> Result<()> {
        self.call_noting(ioctl, arg, &mut self.notices())
    }

    /// As [`call`](Self::call), while a lock is held: the observer hears of it when `notices` is
    /// dropped, after the lock.
    #[inline]
    pub(crate) fn call_noting<T: PointerFree>(
        &self,
        ioctl: &Ioctl<T>,
        arg: &mut T,
        notices: &mut Notices<'_>,
    ) -> Result<()> {
        self.checked(ioctl, notices, |fd| funnel::plain(fd, ioctl, arg))
    }

    /// Runs one ioctl of this context, in the process to which it belongs.
    #[inline]
    pub(crate) fn checked<T, R>(
        &self,
        ioctl: &Ioctl<T>,
        notices: &mut Notices<'_>,
        call: impl FnOnce(BorrowedFd<'_>) -> Result<R, Errno>,
    ) -> Result<R> {
        self.check_process()?;
        self.noted(ioctl, notices, || call(self.fd.as_fd()))
            .map_err(|errno| cause::refusal(ioctl.describe(), errno))
    }

    /// Runs one ioctl of this context, timed and noted if anybody wants to know.
    #[inline]
    pub(crate) fn noted<T, R>(
        &self,
        ioctl: &Ioctl<T>,
        notices: &mut Notices<'_>,
        call: impl FnOnce() -> Result<R, Errno>,
    ) -> Result<R, Errno> {
        self.watch.noted(ioctl, notices, call)
    }

    /// Runs one ioctl of this context with no lock held, and tells of it at once.
    #[inline]
    pub(crate) fn told<T, R>(
        &self,
        ioctl: &Ioctl<T>,
        call: impl FnOnce() -> Result<R, Errno>,
    ) -> Result<R, Errno> {
        self.watch.told(ioctl, call)
    }

    /// A place for what the observer shall hear. Make it *before* taking a lock: it is then
    /// dropped, and delivers, after the lock is released.
    #[inline]
    pub(crate) fn notices(&self) -> Notices<'_> {
        self.watch.notices()
    }

    #[inline]
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Destroys the object `id`, which must be the caller's own.
    pub(crate) fn destroy(&self, id: u32, notices: &mut Notices<'_>) -> Result<()> {
        let mut arg = sys::iommu_destroy::sized();
        arg.id = id;
        // In a child the lock may be held for ever.
        self.check_process()?;
        let _turn = self.bystanders.read();
        self.call_noting(&nr::DESTROY, &mut arg, notices)
    }

    /// Makes an ioctl for which the kernel takes hold of address spaces that are not the caller's:
    /// no object is destroyed meanwhile.
    pub(crate) fn call_past_bystanders<T: PointerFree>(
        &self,
        ioctl: &Ioctl<T>,
        arg: &mut T,
    ) -> Result<()> {
        self.check_process()?;
        let mut notices = self.notices();
        let _turn = self.bystanders.write();
        self.call_noting(ioctl, arg, &mut notices)
    }

    /// Counts and reports an object that a drop could not let go of.
    pub(crate) fn object_stays(&self, object: &'static str, error: &Error) {
        self.watch.refused_drop(object, error);
    }

    /// Counts and reports a mapping that a drop could not undo.
    pub(crate) fn mapping_stays(&self, error: &Error) {
        self.watch.mapping_stays(error);
    }

    /// Counts memory that is kept for good.
    #[inline]
    pub(crate) fn memories_stay(&self, count: usize) {
        self.watch.memories_stay(count);
    }

    /// The error of an `operation` that could not pin `needed` bytes.
    pub(crate) fn out_of_memory(&self, operation: &'static str, needed: u64) -> Error {
        let mode = self.rlimit_mode();
        let accounting = mode.map_or(Accounting::Unknown, RlimitMode::accounting);
        watch::out_of_memory(operation, needed, accounting)
    }
}
