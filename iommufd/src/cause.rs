//! What each errno means, ioctl by ioctl: from the kernel's source and documentation.

use iommufd_sys::ioctl::{Description, Linux};
use rustix::io::Errno;

use crate::error::{Error, KernelError};

/// The typed error for `errno`, answered by `ioctl`.
pub(crate) fn refusal(ioctl: Description, errno: Errno) -> Error {
    if errno == Errno::NOTTY {
        // The dispatcher's answer to a number it does not know, and to nothing else.
        return Error::Unsupported {
            feature: ioctl.name,
            since: ioctl.since,
        };
    }
    if errno == Errno::TOOBIG
        && let Some((feature, since)) = newer_part(ioctl.name)
    {
        return Error::Unsupported { feature, since };
    }
    KernelError::new(ioctl.name, errno, of_ioctl(ioctl.name, errno)).into()
}

/// What a kernel that is older than a part of the argument has not got: it says `E2BIG` if that part
/// is used. Named is the last part that came.
fn newer_part(ioctl: &str) -> Option<(&'static str, Linux)> {
    let (feature, major, minor) = match ioctl {
        // On Linux 6.6 it may be the nested table's configuration, of 6.7.
        "IOMMU_HWPT_ALLOC" => (
            "page tables with a fault queue, nor nested ones before Linux 6.7 (IOMMU_HWPT_ALLOC)",
            6,
            11,
        ),
        "IOMMU_VIOMMU_ALLOC" => ("virtual IOMMUs with data (IOMMU_VIOMMU_ALLOC)", 6, 17),
        _ => return None,
    };
    Some((feature, Linux { major, minor }))
}

/// The cause of a failed open of the device node.
pub(crate) fn of_open(errno: Errno) -> &'static str {
    match errno {
        Errno::NOENT => {
            "no such device node: the kernel lacks CONFIG_IOMMUFD, or its module is not loaded"
        }
        Errno::ACCESS | Errno::PERM => {
            "the device node is not accessible to this user; it is root's by default"
        }
        Errno::MFILE | Errno::NFILE => "too many open files",
        _ => "the device node could not be opened",
    }
}

/// The cause of a failed system call that makes memory.
pub(crate) fn of_memory(errno: Errno) -> &'static str {
    match errno {
        Errno::NOMEM => {
            "not enough memory; huge pages must be reserved first (/proc/sys/vm/nr_hugepages)"
        }
        Errno::INVAL => "the size is not possible here, or the kernel has no such huge pages",
        Errno::NOSYS => "the kernel was built without it",
        Errno::MFILE | Errno::NFILE => "too many open files",
        _ => "the memory could not be made",
    }
}

/// The cause of a failed mapping of a virtual IOMMU's page.
pub(crate) fn of_page(errno: Errno) -> &'static str {
    match errno {
        Errno::NXIO => "no virtual IOMMU shows a page there",
        Errno::NODEV => "the kernel cannot map pages of virtual IOMMUs (Linux has it since 6.17)",
        Errno::NOMEM => "the process has too many mappings, or the kernel is out of memory",
        _ => "the page could not be mapped",
    }
}

/// The cause of a failed read of a fault queue's file.
pub(crate) fn of_fault_read(errno: Errno) -> &'static str {
    match errno {
        Errno::INVAL => "a group has more page requests than are read at once",
        Errno::NOMEM => "not enough memory; the page requests are still in the queue",
        Errno::FAULT => "the buffer is not accessible; the page requests are still in the queue",
        _ => "the page requests could not be read",
    }
}

/// The cause of a failed write to a fault queue's file.
pub(crate) fn of_page_response(errno: Errno) -> &'static str {
    match errno {
        Errno::FAULT => "the response is not accessible",
        Errno::IO => "the kernel did not take all of the response",
        _ => "the response could not be written",
    }
}

fn of_ioctl(name: &str, errno: Errno) -> &'static str {
    let special = match name {
        "IOMMU_DESTROY" => destroy(errno),
        "IOMMU_IOAS_ALLOW_IOVAS" => allow_iovas(errno),
        "IOMMU_IOAS_MAP" | "IOMMU_IOAS_MAP_FILE" => map(errno),
        "IOMMU_IOAS_COPY" => copy(errno),
        "IOMMU_IOAS_UNMAP" => unmap(errno),
        "IOMMU_FAULT_QUEUE_ALLOC" => fault_queue_alloc(errno),
        "IOMMU_OPTION" => option(errno),
        "IOMMU_VFIO_IOAS" => vfio_ioas(errno),
        "IOMMU_IOAS_CHANGE_PROCESS" => change_process(errno),
        "IOMMU_IOAS_NOIOMMU_GET_PA" => noiommu_get_pa(errno),
        "IOMMU_HWPT_ALLOC" => hwpt_alloc(errno),
        "IOMMU_GET_HW_INFO" => hw_info(errno),
        "IOMMU_HWPT_INVALIDATE" => invalidate(errno),
        "IOMMU_VIOMMU_ALLOC" => viommu_alloc(errno),
        "IOMMU_VDEVICE_ALLOC" => vdevice_alloc(errno),
        "IOMMU_VEVENTQ_ALLOC" => veventq_alloc(errno),
        "IOMMU_HW_QUEUE_ALLOC" => hw_queue_alloc(errno),
        "IOMMU_HWPT_SET_DIRTY_TRACKING" => set_dirty_tracking(errno),
        "IOMMU_HWPT_GET_DIRTY_BITMAP" => get_dirty_bitmap(errno),
        _ => None,
    };
    special.unwrap_or_else(|| common(errno))
}

/// What the dispatcher answers for every ioctl.
fn common(errno: Errno) -> &'static str {
    match errno {
        Errno::NOENT => "no object of this kind has this id",
        Errno::INVAL => "an argument was understood but is not possible",
        Errno::OPNOTSUPP => "the kernel knows the argument but does not support this value of it",
        Errno::TOOBIG => "the kernel is older than a field that was set",
        Errno::FAULT => "memory that the call names is not accessible",
        Errno::NOMEM => "the kernel is out of memory",
        Errno::OVERFLOW => "an address calculation overflows",
        Errno::BUSY => "something still uses the object",
        Errno::PERM | Errno::ACCESS => "this process lacks the permission",
        _ => "not a documented answer of this ioctl",
    }
}

fn destroy(errno: Errno) -> Option<&'static str> {
    Some(match errno {
        Errno::BUSY => "another object, an attachment or an open file still uses it",
        Errno::NOENT => "no such object; it may have gone with its device",
        _ => return None,
    })
}

fn allow_iovas(errno: Errno) -> Option<&'static str> {
    Some(match errno {
        Errno::INVAL => "a range of one byte, or two ranges that overlap",
        Errno::ADDRINUSE => "a range overlaps addresses that an attached device reserves",
        _ => return None,
    })
}

fn map(errno: Errno) -> Option<&'static str> {
    Some(match errno {
        Errno::INVAL => {
            "the IOVA, length or page offset is not aligned to what the attached IOMMUs need, or the IOVA is \
             reserved or outside of their aperture; for a file: it is no memfd, or the range passes its end"
        }
        Errno::EXIST => "the fixed IOVA range overlaps an existing mapping",
        Errno::NOSPC => "no free IOVA range is long enough",
        Errno::FAULT => {
            "the memory cannot be pinned: it is not mapped in this process, not writable, or no ordinary memory"
        }
        Errno::OVERFLOW => "the IOVA, address or length passes the end of its address space",
        Errno::BADF => "the file is not open",
        Errno::NODEV => "the dma-buf was revoked",
        Errno::OPNOTSUPP => "the kernel does not support this kind of file or flag",
        Errno::NOENT => "the address space is gone",
        _ => return None,
    })
}

fn copy(errno: Errno) -> Option<&'static str> {
    match errno {
        Errno::PERM => Some("devices may not write the memory that is to be mapped for writing"),
        Errno::NOENT => Some("the source is not mapped any more, or an address space is gone"),
        // The destination is as that of a map.
        errno => map(errno),
    }
}

fn option(errno: Errno) -> Option<&'static str> {
    Some(match errno {
        Errno::PERM => "the process has no CAP_SYS_RESOURCE",
        Errno::BUSY => "the context has objects already: the option must precede them",
        Errno::INVAL => {
            "the kernel has no such value for the option, or huge pages are in use already"
        }
        Errno::ADDRINUSE => "something is mapped that is not aligned to the smallest page",
        _ => return None,
    })
}

fn vfio_ioas(errno: Errno) -> Option<&'static str> {
    Some(match errno {
        Errno::NODEV => "the context has no compatibility address space",
        Errno::NOENT => "the address space is gone",
        _ => return None,
    })
}

fn change_process(errno: Errno) -> Option<&'static str> {
    Some(match errno {
        Errno::INVAL => {
            "something in the context is mapped by an address or a dma-buf, not by a memfd"
        }
        Errno::BUSY => "a map, copy or unmap is under way",
        _ => return None,
    })
}

fn noiommu_get_pa(errno: Errno) -> Option<&'static str> {
    Some(match errno {
        Errno::PERM => "the process has no CAP_SYS_RAWIO",
        Errno::NOENT => "nothing is mapped there, or the address space is gone",
        Errno::OPNOTSUPP => {
            "no device is attached to the address space, or the first was one with an IOMMU"
        }
        Errno::INVAL => "the memory is that of a dma-buf that was revoked",
        Errno::OVERFLOW => "the address is the very last",
        _ => return None,
    })
}

fn unmap(errno: Errno) -> Option<&'static str> {
    Some(match errno {
        Errno::NOENT => "nothing is mapped there, or the range would cut a mapping",
        Errno::BUSY => {
            "a hardware queue uses the memory, or a map or unmap of the range is under way"
        }
        Errno::DEADLK => "an emulated device did not release its pins of the memory",
        _ => return None,
    })
}

fn fault_queue_alloc(errno: Errno) -> Option<&'static str> {
    Some(match errno {
        Errno::MFILE | Errno::NFILE => "too many open files",
        _ => return None,
    })
}

fn hwpt_alloc(errno: Errno) -> Option<&'static str> {
    Some(match errno {
        Errno::NOENT => "the device is not bound to this context, or the fault queue is gone",
        Errno::INVAL => {
            "the parent is not one that this kind of table can have, or is of another IOMMU, or the \
             configuration of the nested table is not possible"
        }
        Errno::OPNOTSUPP => {
            "the IOMMU of the device does not support the options, or not this kind of nested table"
        }
        Errno::IO => "the SMMU refuses the stream table entry",
        Errno::ADDRINUSE => {
            "a mapping or an allowed range lies where the IOMMU cannot translate, or is aligned too finely for it"
        }
        Errno::FAULT => "memory that is mapped already cannot be pinned",
        Errno::NODEV => "the device has no IOMMU that can do this",
        _ => return None,
    })
}

fn set_dirty_tracking(errno: Errno) -> Option<&'static str> {
    Some(match errno {
        Errno::NOENT => "the page table is gone",
        Errno::OPNOTSUPP => {
            "the page table cannot be tracked, or the IOMMU of an attached device does not record what is written"
        }
        _ => return None,
    })
}

fn get_dirty_bitmap(errno: Errno) -> Option<&'static str> {
    Some(match errno {
        Errno::NOENT => "the page table is gone",
        Errno::OPNOTSUPP => "the page table cannot be tracked",
        Errno::INVAL => {
            "the range is not aligned to the address space's pages, or to those of the bitmap"
        }
        Errno::OVERFLOW => "the range passes the end of the address space",
        Errno::FAULT => "the pages for the bitmap are not those that the kernel would write to",
        _ => return None,
    })
}

fn hw_info(errno: Errno) -> Option<&'static str> {
    Some(match errno {
        Errno::NOENT => "the device has no IOMMU behind it (a mediated device), or is not bound",
        Errno::OPNOTSUPP => {
            "no IOMMU translates for the device, it has no information of this type, or the kernel cannot be asked \
             for a type"
        }
        _ => return None,
    })
}

fn invalidate(errno: Errno) -> Option<&'static str> {
    Some(match errno {
        Errno::INVAL => "the command, or a field of it, is not possible, or names no device",
        Errno::IO => "the SMMU refuses the command, or knows no device of its number",
        Errno::OPNOTSUPP => "the IOMMU does not take this kind of invalidation here",
        Errno::NOENT => "the nested table or virtual IOMMU is gone",
        Errno::FAULT => "the commands are not readable",
        _ => return None,
    })
}

fn viommu_alloc(errno: Errno) -> Option<&'static str> {
    Some(match errno {
        Errno::OPNOTSUPP => "the IOMMU of the device has no virtual ones of this kind",
        Errno::INVAL => "the parent is of another IOMMU, or the data is not what this kind takes",
        Errno::NOENT => "the device is not bound to this context",
        Errno::NOSPC => "the hardware has no more of them",
        Errno::TIMEDOUT => "the hardware did not answer",
        _ => return None,
    })
}

fn vdevice_alloc(errno: Errno) -> Option<&'static str> {
    Some(match errno {
        Errno::EXIST => "the number is taken, or the device has a virtual device already",
        Errno::INVAL => {
            "the device is behind another physical IOMMU, or the number is not possible"
        }
        Errno::OPNOTSUPP => "the device has not exactly one stream",
        Errno::NOSPC => "the hardware has no more places for devices",
        Errno::NOENT => "the device is not bound any more",
        _ => return None,
    })
}

fn veventq_alloc(errno: Errno) -> Option<&'static str> {
    Some(match errno {
        Errno::EXIST => "the virtual IOMMU has a queue of this type already",
        Errno::INVAL => "the depth is not from 1 to 524288 events",
        Errno::MFILE | Errno::NFILE => "too many open files",
        Errno::OPNOTSUPP => "the kernel does not take this type of queue",
        _ => return None,
    })
}

fn hw_queue_alloc(errno: Errno) -> Option<&'static str> {
    Some(match errno {
        Errno::EXIST => "the virtual IOMMU has a queue with this number already",
        Errno::INVAL => {
            "the hardware has no queue with this number, or not of this length or place"
        }
        Errno::IO => "the queue with the number before does not exist",
        Errno::ADDRINUSE => {
            "something is mapped in the virtual IOMMU's address space that is no whole pages of the CPU's"
        }
        Errno::NOENT => "not all of the memory is mapped in the virtual IOMMU's address space",
        Errno::PERM => "the memory is not mapped for reading",
        Errno::FAULT => "the memory is not physically contiguous",
        Errno::OVERFLOW | Errno::RANGE => "the queue passes the end of the address space",
        Errno::OPNOTSUPP => "the IOMMU has no hardware queues of this type",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use iommufd_sys::ioctl::iommufd as nr;

    #[test]
    fn what_an_older_kernel_lacks_is_told_as_that() {
        let lacks = |ioctl: Description, errno| match refusal(ioctl, errno) {
            Error::Unsupported { since, .. } => Some(since.to_string()),
            _ => None,
        };
        let since = |version: &str| Some(version.to_owned());
        let (hwpt, viommu) = (nr::HWPT_ALLOC.describe(), nr::VIOMMU_ALLOC.describe());
        assert_eq!(lacks(hwpt, Errno::NOTTY), since("6.6"));
        assert_eq!(lacks(hwpt, Errno::TOOBIG), since("6.11"));
        let text = refusal(hwpt, Errno::TOOBIG).to_string();
        assert!(text.contains("nested ones before Linux 6.7"), "{text}");
        assert_eq!(lacks(viommu, Errno::NOTTY), since("6.13"));
        assert_eq!(lacks(viommu, Errno::TOOBIG), since("6.17"));
        assert_eq!(lacks(viommu, Errno::OPNOTSUPP), None);
        assert_eq!(lacks(nr::IOAS_ALLOC.describe(), Errno::TOOBIG), None);
    }
}
