//! What each errno means for the files of sysfs that are written here.

use rustix::io::Errno;

/// The cause of a failed write to `driver_override`.
pub(super) fn of_override(errno: Errno) -> &'static str {
    match errno {
        Errno::INVAL => "the kernel does not take this name",
        _ => common(errno),
    }
}

/// The cause of a failed write to `unbind` of a driver.
pub(super) fn of_unbind(errno: Errno) -> &'static str {
    match errno {
        Errno::NODEV => "the function is not bound to this driver any more, or is gone",
        _ => common(errno),
    }
}

/// The cause of a failed write to `bind` of a driver.
pub(super) fn of_bind(errno: Errno) -> &'static str {
    match errno {
        Errno::NODEV | Errno::NXIO => "the driver does not take this function, or it is gone",
        Errno::BUSY => {
            "another driver has been bound meanwhile, or it is a physical function that has virtual \
             functions already, which VFIO does not take"
        }
        Errno::INVAL => {
            "the driver does not take a function of this kind, such as a bridge, or one that it \
             knows as broken (vfio_pci.disable_denylist)"
        }
        Errno::AGAIN => "the driver waits for something that is not there yet; try again",
        Errno::NOENT => "the driver is not loaded any more",
        Errno::NOMEM => "the kernel is out of memory",
        Errno::IO | Errno::TIMEDOUT => "the function does not answer",
        _ => common(errno),
    }
}

/// The cause of a failed write to `sriov_numvfs`.
pub(super) fn of_virtual_functions(errno: Errno) -> &'static str {
    match errno {
        Errno::NOENT => {
            "no driver is bound to the physical function, or it makes no virtual functions; vfio-pci \
             does after: echo 1 > /sys/module/vfio_pci/parameters/enable_sriov"
        }
        Errno::BUSY => {
            "there are virtual functions already, and their number is changed by way of none; or the \
             driver has them in use"
        }
        Errno::RANGE => "the physical function cannot have so many (sriov_totalvfs)",
        Errno::NOMEM => {
            "the kernel is out of memory, or firmware has left no bus numbers for virtual functions"
        }
        Errno::NODEV => "the physical function is going away",
        Errno::IO => "the physical function does not answer",
        _ => common(errno),
    }
}

/// What every file of sysfs can answer.
fn common(errno: Errno) -> &'static str {
    match errno {
        Errno::ACCESS | Errno::PERM => "this takes root",
        Errno::ROFS => "sysfs is mounted read-only, as in a container: do it outside",
        Errno::NOENT => "the function is gone, or the kernel has no such file",
        _ => "not a documented answer of this file",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_answer_goes_without_words_and_each_file_has_its_own() {
        for of in [of_override, of_unbind, of_bind, of_virtual_functions] {
            for raw in 1..134 {
                assert!(!of(Errno::from_raw_os_error(raw)).is_empty());
            }
            assert_eq!(of(Errno::ACCESS), "this takes root");
        }
        assert_ne!(of_bind(Errno::BUSY), of_virtual_functions(Errno::BUSY));
        assert_ne!(of_bind(Errno::NOENT), of_override(Errno::NOENT));
    }
}
