//! KVM, in a guest whose processor virtualises.

// UNSAFETY: issues KVM's ioctl that makes a virtual machine.
#![expect(unsafe_code, reason = "issues the ioctl")]

use std::ffi::c_void;
use std::fs::File;
use std::os::fd::{FromRawFd, OwnedFd};

use rustix::ioctl::{IoctlOutput, Opcode, opcode};

/// A virtual machine with nothing in it.
#[must_use]
pub fn virtual_machine() -> OwnedFd {
    let kvm = File::options().read(true).write(true).open("/dev/kvm");
    let kvm = kvm.expect("a processor that virtualises, and CONFIG_KVM");
    // SAFETY: the number is that of the ioctl, whose argument is a plain number.
    unsafe { rustix::ioctl::ioctl(&kvm, CreateVm) }.unwrap()
}

/// `KVM_CREATE_VM`, of the default type.
struct CreateVm;

// SAFETY: there is no memory that the kernel would touch; the output is the file that it has opened for the caller.
unsafe impl rustix::ioctl::Ioctl for CreateVm {
    type Output = OwnedFd;
    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        opcode::none(0xae, 0x01)
    }

    fn as_ptr(&mut self) -> *mut c_void {
        std::ptr::null_mut()
    }

    unsafe fn output_from_ptr(output: IoctlOutput, _: *mut c_void) -> rustix::io::Result<OwnedFd> {
        // SAFETY: the number of a new file, which is nobody else's.
        Ok(unsafe { OwnedFd::from_raw_fd(output) })
    }
}
