//! KVM's VFIO device, as a file: the two ioctls that it takes.

// UNSAFETY: an ioctl makes the kernel read memory.
#![expect(unsafe_code, reason = "issues the ioctls on KVM's files")]

use std::io;
use std::mem::offset_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use iommufd::KernelError;
use rustix::io::Errno;
use rustix::ioctl::{Opcode, Setter, Updater, opcode};

use super::KvmVfio;
use crate::error::{Error, Refused, Result};
use crate::query::malformed;
use crate::sysfs::Roots;

/// KVM's VFIO device of a virtual machine, an open file.
///
/// # System calls
/// `KVM_CREATE_DEVICE` on the file of the virtual machine, or `KVM_HAS_DEVICE_ATTR` on that of the
/// device, and `readlink` of `/proc/self/fd`; `KVM_SET_DEVICE_ATTR` for each file that is added or
/// removed.
///
/// # Invariants
/// `fd` is what KVM has made as a VFIO device.
#[derive(Debug)]
pub struct KvmVfioDevice {
    fd: OwnedFd,
}

impl KvmVfioDevice {
    /// Has KVM make the device for the virtual machine whose file `vm` is.
    ///
    /// Since Linux 3.10.
    ///
    /// # Errors
    /// `EBUSY`: the virtual machine has one already: share it, or take it over with
    /// [`from_fd`](Self::from_fd). `ENODEV`: the kernel has none (`CONFIG_KVM_VFIO`). `ENOTTY`:
    /// `vm` is no virtual machine's file. `EIO`: it is another process's.
    #[doc(alias = "KVM_CREATE_DEVICE")]
    pub fn create(vm: impl AsFd) -> Result<Self> {
        let mut arg = CreateDevice {
            type_: TYPE_VFIO,
            fd: -1,
            flags: 0,
        };
        // SAFETY: the number is that of the ioctl, which reads and writes these 12 bytes and no
        // other memory; `linux/kvm.h` alone has numbers of this type from 0x40 on.
        let make = unsafe { Updater::<CREATE_DEVICE, CreateDevice>::new(&mut arg) };
        // SAFETY: the same.
        let made = unsafe { rustix::ioctl::ioctl(vm, make) };
        made.map_err(|errno| refused("KVM_CREATE_DEVICE", errno))?;
        if arg.fd < 0 {
            return Err(malformed("KVM_CREATE_DEVICE", "no file"));
        }
        // SAFETY: the kernel has opened a file for the caller, and this is its number.
        let fd = unsafe { OwnedFd::from_raw_fd(arg.fd) };
        // INVARIANT: KVM has just made it.
        Ok(Self { fd })
    }

    /// Takes over the file of a device that was made by other means.
    ///
    /// # Errors
    /// The file, with [`Error::NotKvmVfio`].
    pub fn from_fd(fd: OwnedFd) -> Result<Self, Refused<OwnedFd>> {
        if is_kvm_vfio(&Roots::default(), &fd) {
            // INVARIANT: that is what it is.
            Ok(Self { fd })
        } else {
            Err(Refused::new(fd, Error::NotKvmVfio))
        }
    }

    fn set(&self, attr: u64, file: BorrowedFd<'_>) -> io::Result<()> {
        // Wider than the number that KVM's VFIO device reads.
        let number = [file.as_raw_fd(), 0];
        let arg = DeviceAttr::file(attr, number.as_ptr().expose_provenance() as u64);
        // SAFETY: the number is that of the ioctl; the kernel reads the argument, and the file's
        // number, 4 bytes through `addr`, which outlives the call.
        let set = unsafe { Setter::<SET_DEVICE_ATTR, DeviceAttr>::new(arg) };
        // SAFETY: the same.
        unsafe { rustix::ioctl::ioctl(&self.fd, set) }?;
        Ok(())
    }
}

impl KvmVfio for KvmVfioDevice {
    fn add(&self, file: BorrowedFd<'_>) -> io::Result<()> {
        self.set(FILE_ADD, file)
    }

    fn remove(&self, file: BorrowedFd<'_>) -> io::Result<()> {
        self.set(FILE_DEL, file)
    }
}

/// Lends the file.
impl AsFd for KvmVfioDevice {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Whether a file knows the attributes of KVM's VFIO device, and has its name where procfs tells.
fn is_kvm_vfio(roots: &Roots, fd: &OwnedFd) -> bool {
    if roots
        .file_name(fd)
        .is_some_and(|name| name != "anon_inode:kvm-vfio")
    {
        return false;
    }
    let arg = DeviceAttr::file(FILE_ADD, 0);
    // SAFETY: the number is that of the ioctl, which reads the argument and no other memory.
    let has = unsafe { Setter::<HAS_DEVICE_ATTR, DeviceAttr>::new(arg) };
    // SAFETY: the same. Of KVM's other files, whatever they take the attribute for, none looks
    // through its address when it is only asked whether it knows it.
    unsafe { rustix::ioctl::ioctl(fd, has) }.is_ok()
}

fn refused(operation: &'static str, errno: Errno) -> Error {
    let cause = match errno {
        Errno::BUSY => "the virtual machine has a VFIO device already",
        Errno::NODEV => "the kernel's KVM has no VFIO device (CONFIG_KVM_VFIO)",
        Errno::NOTTY | Errno::INVAL => "not the file of a virtual machine",
        Errno::IO => "a virtual machine of another process",
        Errno::MFILE | Errno::NFILE => "too many open files",
        Errno::NOMEM => "the kernel is out of memory",
        _ => "not a documented answer of this ioctl",
    };
    KernelError::new(operation, errno, cause).into()
}

/// `struct kvm_create_device` of `linux/kvm.h`.
#[repr(C)]
struct CreateDevice {
    type_: u32,
    fd: i32,
    flags: u32,
}

/// `struct kvm_device_attr` of `linux/kvm.h`.
#[repr(C)]
struct DeviceAttr {
    flags: u32,
    group: u32,
    attr: u64,
    addr: u64,
}

impl DeviceAttr {
    /// An attribute of the group `KVM_DEV_VFIO_FILE`.
    fn file(attr: u64, addr: u64) -> Self {
        Self {
            flags: 0,
            group: 1,
            attr,
            addr,
        }
    }
}

/// `KVM_DEV_TYPE_VFIO`.
const TYPE_VFIO: u32 = 4;
/// `KVM_DEV_VFIO_FILE_ADD`.
const FILE_ADD: u64 = 1;
/// `KVM_DEV_VFIO_FILE_DEL`.
const FILE_DEL: u64 = 2;

const KVMIO: u8 = 0xae;
const CREATE_DEVICE: Opcode = opcode::read_write::<CreateDevice>(KVMIO, 0xe0);
const SET_DEVICE_ATTR: Opcode = opcode::write::<DeviceAttr>(KVMIO, 0xe1);
const HAS_DEVICE_ATTR: Opcode = opcode::write::<DeviceAttr>(KVMIO, 0xe3);

const _: () = {
    assert!(size_of::<CreateDevice>() == 12 && offset_of!(CreateDevice, fd) == 4);
    assert!(size_of::<DeviceAttr>() == 24 && offset_of!(DeviceAttr, group) == 4);
    assert!(offset_of!(DeviceAttr, attr) == 8 && offset_of!(DeviceAttr, addr) == 16);
};

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn the_ioctls_have_the_numbers_of_the_header() {
        // As `strace` prints them on the architectures of this crate.
        assert_eq!(CREATE_DEVICE, 0xc00c_aee0);
        assert_eq!(SET_DEVICE_ATTR, 0x4018_aee1);
        assert_eq!(HAS_DEVICE_ATTR, 0x4018_aee3);
    }

    #[test]
    fn what_is_not_kvms_is_refused_and_given_back() {
        let nowhere = Roots {
            proc: "/nonexistent".into(),
            ..Roots::default()
        };
        let file = OwnedFd::from(File::open("/dev/null").unwrap());
        assert!(!is_kvm_vfio(&nowhere, &file));
        let refused = KvmVfioDevice::from_fd(file).unwrap_err();
        assert!(matches!(refused.error(), Error::NotKvmVfio));
        let file = refused.into_value();
        let error = KvmVfioDevice::create(&file).unwrap_err();
        assert_eq!(error.errno(), Some(Errno::NOTTY), "{error}");
        // A device that was made in some other way answers what the file does.
        let device = KvmVfioDevice { fd: file };
        let error = device.add(device.as_fd()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(Errno::NOTTY.raw_os_error()));
    }
}
