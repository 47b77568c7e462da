//! KVM, told of a device before the device is bound.

mod device;

pub use device::KvmVfioDevice;

use std::fmt;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use iommufd::{Iommufd, KernelError};
use rustix::io::Errno;
use rustix::process::{Pid, getpid};

use crate::cdev::Cdev;
use crate::device_file::OpenFile;
use crate::error::{Error, Refused, Result};
use crate::identity::is_bound;

/// What tells KVM of the files of devices that a virtual machine is given: KVM's own VFIO device,
/// of which each virtual machine has one.
///
/// [`KvmVfioDevice`] is one over a file. A VMM that has made the device with a KVM crate of its
/// choice implements this for it, or for whatever asks another process.
///
/// It is called with no lock held, and in the process that registered a device only.
pub trait KvmVfio: fmt::Debug + Send + Sync + 'static {
    /// Adds `file`: attribute `KVM_DEV_VFIO_FILE_ADD` of the group `KVM_DEV_VFIO_FILE`.
    ///
    /// # Errors
    /// KVM's. `EEXIST`: it has that very file already.
    #[doc(alias = "KVM_DEV_VFIO_FILE_ADD")]
    fn add(&self, file: BorrowedFd<'_>) -> io::Result<()>;

    /// Removes `file`: attribute `KVM_DEV_VFIO_FILE_DEL` of the same group.
    ///
    /// # Errors
    /// KVM's. `ENOENT`: it has no such file.
    #[doc(alias = "KVM_DEV_VFIO_FILE_DEL")]
    fn remove(&self, file: BorrowedFd<'_>) -> io::Result<()>;
}

/// A virtual machine that is given the device.
impl Cdev {
    /// Tells KVM that the device is for a virtual machine.
    ///
    /// KVM has to know before the bind, which is when the kernel looks: so this is done with a device
    /// that is not bound yet, and there is no such method of a bound one. What KVM does with it is
    /// architecture's: on x86 it heeds the guest's memory types if DMA of the device may not be
    /// coherent with the CPU's caches, and on s390 devices need it.
    ///
    /// KVM keeps the file open. So what is made of the device takes it out of KVM's hands again before
    /// it closes the file: when the device is closed, or the `Cdev` dropped. Only a file that KVM
    /// will not give back stays open; of a bound device the context's observer then hears
    /// ([`iommufd::Observer::refused_drop`]). Nothing is done in a child of a fork.
    ///
    /// ```no_run
    /// # fn example(vm: std::os::fd::OwnedFd) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::sync::Arc;
    ///
    /// use iommufd::Iommufd;
    /// use vfio::{Cdev, KvmVfioDevice};
    ///
    /// let kvm = Arc::new(KvmVfioDevice::create(&vm)?);
    /// let cdev = Cdev::open_pci("0000:00:04.0".parse()?)?.with_kvm(kvm)?;
    /// let device = cdev.bind(&Iommufd::open()?)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The device, as it was, with [`Error::Kvm`]: KVM's refusal; [`Error::InKvm`]: it is registered
    /// already; [`Error::TooLateForKvm`]: somebody else who has the file has bound it meanwhile.
    ///
    /// # System calls
    /// What `kvm` makes, and `VFIO_DEVICE_GET_INFO`, which a device that is not bound refuses.
    pub fn with_kvm(mut self, kvm: Arc<dyn KvmVfio>) -> Result<Self, Refused<Self>> {
        let registered = match self.file.kvm {
            Some(_) => Err(Error::InKvm),
            None => Registration::new(kvm, self.file.shared()),
        };
        match registered {
            Ok(registration) => {
                self.file.kvm = Some(Box::new(registration));
                Ok(self)
            }
            Err(error) => Err(Refused::new(self, error)),
        }
    }

    /// Takes the device out of KVM's hands, if it is there.
    ///
    /// # Errors
    /// The device, as it was, with [`Error::Kvm`].
    pub fn without_kvm(mut self) -> Result<Self, Refused<Self>> {
        match self.file.kvm.as_mut().map_or(Ok(()), |kvm| kvm.undo()) {
            Ok(()) => {
                self.file.kvm = None;
                Ok(self)
            }
            Err(error) => Err(Refused::new(self, error)),
        }
    }
}

/// A file that KVM has.
///
/// # Invariants
/// Until it is `undone`, `kvm` has been told of `file` by `process`.
pub(crate) struct Registration {
    kvm: Arc<dyn KvmVfio>,
    file: Arc<OpenFile>,
    process: Pid,
    reports_to: Option<Iommufd>,
    undone: bool,
}

impl Registration {
    fn new(kvm: Arc<dyn KvmVfio>, file: &Arc<OpenFile>) -> Result<Self> {
        kvm.add((**file).as_fd()).map_err(|error| Error::Kvm {
            operation: "add",
            error,
        })?;
        // INVARIANT: it has just been told. From here on a drop undoes it.
        let registration = Self {
            kvm,
            file: Arc::clone(file),
            process: getpid(),
            reports_to: None,
            undone: false,
        };
        // Was it in time? Who binds the file after this finds it.
        match is_bound(&**file)? {
            false => Ok(registration),
            true => Err(Error::TooLateForKvm),
        }
    }

    /// Takes the file out of KVM's hands.
    pub(crate) fn undo(&mut self) -> Result<()> {
        // A child of a fork has no say in the virtual machine of its parent.
        if self.undone || self.process != getpid() {
            return Ok(());
        }
        let removed = self.kvm.remove((*self.file).as_fd());
        self.undone = removed.is_ok();
        removed.map_err(|error| Error::Kvm {
            operation: "remove",
            error,
        })
    }

    /// Has the observer of `iommufd` hear of a drop that KVM refuses.
    pub(crate) fn report_to(&mut self, iommufd: &Iommufd) {
        self.reports_to = Some(iommufd.clone());
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // What is the user's may panic, and does so no further; an error of theirs is dropped in there.
        let undone = catch_unwind(AssertUnwindSafe(|| {
            self.undo()
                .map_err(|error| error.errno().unwrap_or(Errno::IO))
        }));
        let errno = match undone {
            Ok(Ok(())) => return,
            Ok(Err(errno)) => errno,
            Err(payload) => {
                // Its drop could panic in its turn. It is leaked.
                let _kept = ManuallyDrop::new(payload);
                Errno::IO
            }
        };
        if let Some(iommufd) = &self.reports_to {
            let error = KernelError::new("KVM_DEV_VFIO_FILE_DEL", errno, "KVM keeps the device");
            iommufd.refused_drop("device in KVM's hands", &error.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ioctl::script;
    use iommufd_sys::ioctl::vfio as nr;
    use parking_lot::Mutex;

    /// Notes what it is told, and refuses what it is told to refuse.
    #[derive(Debug, Default)]
    struct Fake {
        calls: Mutex<Vec<&'static str>>,
        refuses: Mutex<Option<&'static str>>,
    }

    impl Fake {
        fn note(&self, call: &'static str) -> io::Result<()> {
            self.calls.lock().push(call);
            match *self.refuses.lock() {
                Some(refused) if refused == call => Err(Errno::NOENT.into()),
                _ => Ok(()),
            }
        }

        fn calls(&self) -> Vec<&'static str> {
            std::mem::take(&mut self.calls.lock())
        }
    }

    impl KvmVfio for Fake {
        fn add(&self, _: BorrowedFd<'_>) -> io::Result<()> {
            self.note("add")
        }

        fn remove(&self, file: BorrowedFd<'_>) -> io::Result<()> {
            // It is not closed yet.
            rustix::io::fcntl_getfd(file).unwrap();
            self.note("remove")
        }
    }

    fn told(kvm: &Arc<Fake>) -> Arc<dyn KvmVfio> {
        Arc::<Fake>::clone(kvm)
    }

    fn unbound() -> impl Drop {
        script::answering(|ask| {
            assert_eq!(ask.ioctl, nr::DEVICE_GET_INFO.describe());
            Err(Errno::INVAL)
        })
    }

    #[test]
    fn a_device_leaves_kvm_before_its_file_is_closed() {
        let _kernel = unbound();
        let kvm = Arc::new(Fake::default());
        let cdev = Cdev::of_nothing(script::file()).with_kvm(told(&kvm));
        let refused = cdev.unwrap().with_kvm(told(&kvm)).unwrap_err();
        assert!(matches!(refused.error(), Error::InKvm));
        assert_eq!(kvm.calls(), ["add"]);
        drop(refused);
        assert_eq!(kvm.calls(), ["remove"]);
    }

    #[test]
    fn what_kvm_refuses_leaves_the_device_as_it_was() {
        let _kernel = unbound();
        let kvm = Arc::new(Fake::default());
        *kvm.refuses.lock() = Some("add");
        let cdev = Cdev::of_nothing(script::file());
        let refused = cdev.with_kvm(told(&kvm)).unwrap_err();
        assert_eq!(refused.error().errno(), Some(Errno::NOENT), "{refused}");
        *kvm.refuses.lock() = Some("remove");
        let cdev = refused.into_value().with_kvm(told(&kvm)).unwrap();
        assert_eq!(kvm.calls(), ["add", "add"]);
        let refused = cdev.without_kvm().unwrap_err();
        assert_eq!(refused.error().errno(), Some(Errno::NOENT), "{refused}");
        *kvm.refuses.lock() = None;
        let cdev = refused.into_value().without_kvm().unwrap();
        assert_eq!(kvm.calls(), ["remove", "remove"]);
        drop(cdev.without_kvm().unwrap());
        assert_eq!(kvm.calls(), [] as [&str; 0]);
    }

    #[test]
    fn a_device_that_is_bound_already_is_too_late() {
        let _kernel = script::answering(|_| Ok(0));
        let kvm = Arc::new(Fake::default());
        let cdev = Cdev::of_nothing(script::file());
        let refused = cdev.with_kvm(told(&kvm)).unwrap_err();
        assert!(matches!(refused.error(), Error::TooLateForKvm), "{refused}");
        assert_eq!(kvm.calls(), ["add", "remove"]);
    }

    #[test]
    fn what_kvm_keeps_of_a_bound_device_is_told() {
        let _kernel = unbound();
        let kvm = Arc::new(Fake::default());
        let iommufd = script::iommufd();
        for (refused, leaks) in [(None, 0), (Some("remove"), 1)] {
            *kvm.refuses.lock() = refused;
            let cdev = Cdev::of_nothing(script::file()).with_kvm(told(&kvm));
            let mut file = cdev.unwrap().file;
            file.kvm.as_mut().unwrap().report_to(&iommufd);
            drop(file);
            assert_eq!(kvm.calls(), ["add", "remove"]);
            assert_eq!(iommufd.leaks().objects, leaks);
        }
    }

    /// Panics when it is dropped.
    #[derive(Debug)]
    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("in a drop of what it was dropped with")
        }
    }

    impl fmt::Display for Bomb {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("bomb")
        }
    }

    impl std::error::Error for Bomb {}

    #[derive(Debug)]
    struct Panics(fn() -> io::Result<()>);

    impl KvmVfio for Panics {
        fn add(&self, _: BorrowedFd<'_>) -> io::Result<()> {
            Ok(())
        }

        fn remove(&self, _: BorrowedFd<'_>) -> io::Result<()> {
            (self.0)()
        }
    }

    #[test]
    fn a_panic_of_the_users_does_not_leave_a_drop() {
        let _kernel = unbound();
        let ways: [fn() -> io::Result<()>; 3] = [
            || panic!("in a drop"),
            || std::panic::panic_any(Bomb),
            || Err(io::Error::other(Bomb)),
        ];
        for way in ways {
            let cdev = Cdev::of_nothing(script::file());
            drop(cdev.with_kvm(Arc::new(Panics(way))).unwrap());
        }
    }
}
