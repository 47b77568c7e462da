//! The open file of a device, bound or not, and who else was told of it.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use crate::address::PciAddress;
use crate::in_use::InUse;
use crate::kvm::Registration;

/// The file of a device. Closing it takes it out of KVM's hands first: KVM would keep it open.
pub(crate) struct DeviceFile {
    // Undone before the file is closed.
    pub(crate) kvm: Option<Box<Registration>>,
    open: Arc<OpenFile>,
}

/// The file itself, counted until it is closed.
#[derive(Debug)]
pub(crate) struct OpenFile {
    fd: OwnedFd,
    _in_use: InUse,
}

impl DeviceFile {
    /// The file of the function at `address`, if it is one and that is known.
    pub(crate) fn new(fd: OwnedFd, address: Option<PciAddress>) -> Self {
        let _in_use = InUse::new(address);
        Self {
            kvm: None,
            open: Arc::new(OpenFile { fd, _in_use }),
        }
    }

    /// The file, for who undoes the registration before it is closed.
    pub(crate) fn shared(&self) -> &Arc<OpenFile> {
        &self.open
    }

    /// The same file, of which KVM is not told by way of this.
    pub(crate) fn share(&self) -> Self {
        Self {
            kvm: None,
            open: Arc::clone(&self.open),
        }
    }

    /// The file alone, if KVM was not told of it.
    pub(crate) fn into_fd(self) -> Option<OwnedFd> {
        drop(self.kvm);
        Arc::into_inner(self.open).map(|open| open.fd)
    }
}

impl AsFd for OpenFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsFd for DeviceFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        (*self.open).as_fd()
    }
}

impl fmt::Debug for DeviceFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.open.fd, f)
    }
}
