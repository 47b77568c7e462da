//! The open file of a device, bound or not, and who else was told of it.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use crate::kvm::Registration;

/// The file of a device. Closing it takes it out of KVM's hands first: KVM would keep it open.
pub(crate) struct DeviceFile {
    // Undone before the file is closed.
    pub(crate) kvm: Option<Box<Registration>>,
    fd: Arc<OwnedFd>,
}

impl DeviceFile {
    /// The file, for who undoes the registration before it is closed.
    pub(crate) fn shared(&self) -> &Arc<OwnedFd> {
        &self.fd
    }

    /// The same file, of which KVM is not told by way of this.
    pub(crate) fn share(&self) -> Self {
        Self {
            kvm: None,
            fd: Arc::clone(&self.fd),
        }
    }

    /// The file alone, if KVM was not told of it.
    pub(crate) fn into_fd(self) -> Option<OwnedFd> {
        drop(self.kvm);
        Arc::into_inner(self.fd)
    }
}

impl From<OwnedFd> for DeviceFile {
    fn from(fd: OwnedFd) -> Self {
        Self {
            kvm: None,
            fd: Arc::new(fd),
        }
    }
}

impl AsFd for DeviceFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        (*self.fd).as_fd()
    }
}

impl fmt::Debug for DeviceFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.fd, f)
    }
}
