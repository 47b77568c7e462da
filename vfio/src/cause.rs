//! What each errno means, ioctl by ioctl: from the kernel's source and documentation.

use iommufd::KernelError;
use iommufd_sys::ioctl::{Description, vfio as nr};
use rustix::io::Errno;

pub(crate) mod legacy;

/// The kernel's refusal of an ioctl on a VFIO device.
pub(crate) fn refusal(ioctl: Description, errno: Errno) -> KernelError {
    KernelError::new(ioctl.name, errno, of_ioctl(ioctl, errno))
}

/// The cause of a failed open of a VFIO character device.
pub(crate) fn of_open(errno: Errno) -> &'static str {
    match errno {
        Errno::NOENT => {
            "no such device node: the device is not bound to a VFIO driver, or the kernel lacks \
             CONFIG_VFIO_DEVICE_CDEV (Linux 6.6)"
        }
        Errno::ACCESS => {
            "the device node is not yours; give it to your user with chown or a udev rule"
        }
        Errno::PERM => "a device without an IOMMU, which asks for CAP_SYS_RAWIO",
        Errno::NODEV | Errno::NXIO => "the device is going away",
        Errno::MFILE | Errno::NFILE => "too many open files",
        _ => "the device node could not be opened",
    }
}

/// The cause of a failed read or write of a region.
pub(crate) fn of_access(errno: Errno) -> &'static str {
    match errno {
        Errno::INVAL => "the region has no such offset, or cannot be accessed this way",
        Errno::IO => {
            "the device does not answer: its memory decoding is switched off in the command \
             register, or it could not be woken up"
        }
        Errno::NODEV => "the device is going away",
        Errno::PERM => "the kernel does not let this part of the region be accessed",
        _ => "not a documented answer of this access",
    }
}

/// The cause of a failed mapping of a region.
pub(crate) fn of_map(errno: Errno) -> &'static str {
    match errno {
        Errno::INVAL => "the kernel does not let this part of the region be mapped",
        Errno::BUSY => "another driver has claimed the region",
        Errno::NODEV => "the device is going away, or its driver maps nothing",
        Errno::PERM => "the kernel does not let the region be written",
        Errno::NOMEM => "the process has too many mappings, or the kernel is out of memory",
        _ => "the region could not be mapped",
    }
}

/// The cause of a failure around an eventfd.
pub(crate) fn of_eventfd(errno: Errno) -> &'static str {
    match errno {
        Errno::MFILE | Errno::NFILE => {
            "too many open files: each interrupt vector and signal needs one"
        }
        Errno::NOMEM => "the kernel is out of memory",
        _ => "not a documented answer of this call",
    }
}

fn of_ioctl(ioctl: Description, errno: Errno) -> &'static str {
    let special = if ioctl == nr::DEVICE_BIND_IOMMUFD.describe() {
        bind(errno)
    } else if ioctl == nr::DEVICE_ATTACH_IOMMUFD_PT.describe() {
        attach(errno)
    } else if ioctl == nr::DEVICE_DETACH_IOMMUFD_PT.describe() {
        detach(errno)
    } else if ioctl == nr::DEVICE_GET_REGION_INFO.describe() {
        region_info(errno)
    } else if ioctl == nr::DEVICE_GET_IRQ_INFO.describe() {
        irq_info(errno)
    } else if ioctl == nr::DEVICE_SET_IRQS.describe() {
        set_irqs(errno)
    } else if ioctl == nr::DEVICE_RESET.describe() {
        reset(errno)
    } else if ioctl == nr::MIG_GET_PRECOPY_INFO.describe() {
        pre_copy_info(errno)
    } else if ioctl == nr::DEVICE_GET_PCI_HOT_RESET_INFO.describe() {
        hot_reset_info(errno)
    } else if ioctl == nr::DEVICE_PCI_HOT_RESET.describe() {
        hot_reset(errno)
    } else if ioctl == nr::DEVICE_IOEVENTFD.describe() {
        ioeventfd(errno)
    } else {
        None
    };
    special
        .or_else(|| legacy::of_ioctl(ioctl, errno))
        .unwrap_or_else(|| common(errno))
}

/// What every ioctl of a VFIO device can answer.
fn common(errno: Errno) -> &'static str {
    match errno {
        Errno::INVAL => {
            "an argument was understood but is not possible, or the device is not bound"
        }
        Errno::NOTTY => "the device's driver does not know this ioctl",
        Errno::FAULT => "memory that the call names is not accessible",
        Errno::NOMEM => "the kernel is out of memory",
        Errno::TOOBIG => "the kernel is older than a field that was set",
        Errno::NODEV => "the device is going away",
        Errno::IO | Errno::ACCESS => "the device could not be woken up",
        _ => "not a documented answer of this ioctl",
    }
}

fn bind(errno: Errno) -> Option<&'static str> {
    Some(match errno {
        Errno::INVAL => {
            "the file is bound already, somebody else has the device open and bound, or the \
             device's DMA is not coherent with the CPU's caches"
        }
        Errno::BUSY => {
            "the device's group is open (/dev/vfio/GROUP), or the IOMMU group is in use by another driver"
        }
        Errno::PERM => {
            "another device of the IOMMU group is used by a kernel driver or another iommufd, or \
             interrupts are not isolated (no interrupt remapping); vfio::Readiness tells them apart"
        }
        Errno::BADF | Errno::BADFD => "the file to bind to is not an open /dev/iommu",
        Errno::ACCESS => {
            "a virtual function whose physical function a VFIO driver has, or a physical function \
             whose virtual functions are in use"
        }
        Errno::NODEV => "the device is going away",
        Errno::NOTTY => "not an unbound VFIO character device",
        _ => return None,
    })
}

fn attach(errno: Errno) -> Option<&'static str> {
    Some(match errno {
        Errno::NOENT => {
            "the page table or address space is gone, or a translating nested table lacks a vDEVICE \
             of this device or of another of its IOMMU group"
        }
        Errno::INVAL => {
            "another device of the IOMMU group is attached elsewhere, or the IOMMU of the device \
             cannot use this page table"
        }
        Errno::BUSY => {
            "the device is attached by other means, or it or another device of its IOMMU group is \
             being reset"
        }
        Errno::ADDRINUSE => {
            "a mapping or an allowed range lies where the device has reserved addresses, or where its \
             IOMMU cannot translate"
        }
        Errno::FAULT => "memory that is mapped already cannot be pinned",
        Errno::NOMEM => "memory cannot be pinned (RLIMIT_MEMLOCK), or the kernel is out of memory",
        Errno::OPNOTSUPP => "the device's driver or its IOMMU cannot attach this",
        Errno::NODEV => "the device lacks what the page table asks for, or is going away",
        Errno::NOTTY => "a mediated or group-opened device that cannot be attached this way",
        _ => return None,
    })
}

fn detach(errno: Errno) -> Option<&'static str> {
    Some(match errno {
        Errno::IO => "the device does not answer any more, or could not be woken up",
        _ => return None,
    })
}

fn region_info(errno: Errno) -> Option<&'static str> {
    (errno == Errno::INVAL).then_some("the device has no region of this index")
}

fn irq_info(errno: Errno) -> Option<&'static str> {
    (errno == Errno::INVAL).then_some("the device has no interrupts of this index")
}

fn set_irqs(errno: Errno) -> Option<&'static str> {
    Some(match errno {
        Errno::INVAL => {
            "interrupts of another kind are enabled, the device has fewer or none of this kind, or an \
             eventfd is not one"
        }
        Errno::NOTTY => "interrupts of this kind cannot do this",
        Errno::BADF => "an eventfd is not open",
        Errno::NOSPC | Errno::NOMEM => "the machine is out of interrupt vectors or memory",
        Errno::BUSY => {
            "an interrupt line is in use by another driver, and the device cannot be told apart on it"
        }
        Errno::NODEV => {
            "the device's interrupt pin is connected to nothing, or the device is going away"
        }
        Errno::IO => "the device could not be woken up",
        // The kernel's own ENOTSUPP, which has no name here.
        errno if errno.raw_os_error() == 524 => {
            "the machine has nothing that takes message signalled interrupts of this device"
        }
        _ => return None,
    })
}

fn reset(errno: Errno) -> Option<&'static str> {
    Some(match errno {
        Errno::INVAL | Errno::NOTTY => "the device has no way of being reset alone",
        Errno::AGAIN => {
            "another reset or a configuration change of the device is under way; try again"
        }
        Errno::TIMEDOUT => "the device did not come back from the reset",
        Errno::BUSY => "the device is in use in a way that a reset would break",
        _ => return None,
    })
}

fn pre_copy_info(errno: Errno) -> Option<&'static str> {
    Some(match errno {
        Errno::INVAL => "the device is not in a migration state before it is stopped",
        Errno::NODEV => "the device has gone, or was reset",
        _ => return None,
    })
}

fn hot_reset_info(errno: Errno) -> Option<&'static str> {
    Some(match errno {
        Errno::NODEV => NO_HOT_RESET,
        Errno::AGAIN => "functions were plugged in or out meanwhile; try again",
        Errno::NOSPC => "more functions than there was room for",
        Errno::PERM => "a function that the reset would take with it is in no IOMMU group",
        _ => return None,
    })
}

fn hot_reset(errno: Errno) -> Option<&'static str> {
    Some(match errno {
        Errno::NODEV => NO_HOT_RESET,
        Errno::INVAL => {
            "a function that the reset would take with it is not owned, or not bound to a VFIO driver, \
             or a virtual function: with those their physical function is not reset"
        }
        Errno::BUSY => {
            "registers of a device that the reset would take with it are being accessed; try again"
        }
        Errno::BADF => "a file of a group is not open",
        Errno::AGAIN => "another reset or a configuration change is under way; try again",
        Errno::TIMEDOUT | Errno::NOTTY => "the bus or slot could not be reset",
        _ => return None,
    })
}

/// What both ioctls of a hot reset answer to a device that has none.
const NO_HOT_RESET: &str =
    "the device is in no slot, and on no bus below a bridge, that can be reset";

fn ioeventfd(errno: Errno) -> Option<&'static str> {
    Some(match errno {
        Errno::INVAL => "no eventfd, or the register is in the MSI-X table, or in no BAR",
        Errno::EXIST => "another eventfd writes the same value to the same register",
        Errno::NOSPC => "the device has 1000 such eventfds already",
        Errno::NODEV => "there is no such eventfd, or the device is going away",
        Errno::BUSY => "another driver has claimed the region",
        Errno::BADF => "the eventfd is not open",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_errno_means_what_it_means_for_its_ioctl() {
        let bind = refusal(nr::DEVICE_BIND_IOMMUFD.describe(), Errno::PERM);
        let message = bind.to_string();
        assert!(
            message.starts_with("VFIO_DEVICE_BIND_IOMMUFD: "),
            "{message}"
        );
        assert!(message.contains("interrupts are not isolated"), "{message}");
        let cause = |ioctl, errno| refusal(ioctl, errno).cause;
        assert_ne!(
            cause(nr::DEVICE_RESET.describe(), Errno::INVAL),
            cause(nr::DEVICE_SET_IRQS.describe(), Errno::INVAL)
        );
    }

    #[test]
    fn no_answer_goes_without_words() {
        for ioctl in nr::ALL {
            for raw in 1..134 {
                assert!(
                    !refusal(*ioctl, Errno::from_raw_os_error(raw))
                        .cause
                        .is_empty()
                );
            }
        }
    }
}
