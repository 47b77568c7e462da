//! Fixture `iommufd`: an open context with nothing in it.

use std::fs;

use iommufd::{Accounting, Ioas, Iommufd};
use iommufd_sys::ioctl::{iommufd as nr, vfio as vfio_nr};
use iommufd_sys::iommufd as sys;
use iommufd_sys::vfio;
use rustix::io::Errno;
use tests::fork::with_locked_memory;
use tests::memory::Living;
use tests::mock::abi;
use tests::raw::{self, compat, option, sizes};
use tests::{at::PAGE, ids};

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn simple_close() {
    assert_eq!(open_contexts(), 0);
    let iommufd = Iommufd::open().unwrap();
    let same = iommufd.clone();
    assert_eq!(open_contexts(), 1, "a clone is no second file");
    drop(iommufd);
    assert_eq!(raw::objects(&same), 0);
    drop(same);
    assert_eq!(open_contexts(), 0);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn cmd_fail() {
    let iommufd = Iommufd::open().unwrap();
    // No object has the id 0.
    assert_eq!(raw::destroy(&iommufd, 0), Err(Errno::NOENT));
    let destroy = nr::DESTROY.request();
    assert_eq!(sizes::of_nothing(&iommufd, destroy), Err(Errno::FAULT));
    // A number below those of iommufd, which would be VFIO's; one behind them; one of another type of file.
    for unknown in [0x3b7f, 0x3ba1, 0x3bff] {
        assert_eq!(
            sizes::of_nothing(&iommufd, unknown),
            Err(Errno::NOTTY),
            "{unknown:#x}"
        );
    }
    // Among those of iommufd the argument is looked at first.
    for unknown in [
        0x3b96,
        0x3b9f,
        0x3c00 | (destroy & 0xff),
        0x4008_0000 | destroy,
    ] {
        let mut ioctl = nr::DESTROY.describe();
        ioctl.request = unknown;
        assert_eq!(
            sizes::of_nothing(&iommufd, unknown),
            Err(Errno::FAULT),
            "{unknown:#x}"
        );
        let answer = sizes::of_size(&iommufd, &ioctl, 8, 0, 0);
        assert_eq!(answer, Err(Errno::NOTTY), "{unknown:#x}");
    }
}

/// What each ioctl answers if all flags, or all bits of the id, that are its first field are set, and all else is 0.
const NONSENSE: &[(&str, Errno)] = &[
    ("IOMMU_DESTROY", Errno::NOENT),
    ("IOMMU_IOAS_ALLOC", Errno::OPNOTSUPP),
    ("IOMMU_IOAS_ALLOW_IOVAS", Errno::NOENT),
    ("IOMMU_IOAS_COPY", Errno::OPNOTSUPP),
    ("IOMMU_IOAS_IOVA_RANGES", Errno::NOENT),
    ("IOMMU_IOAS_MAP", Errno::OPNOTSUPP),
    ("IOMMU_IOAS_UNMAP", Errno::NOENT),
    ("IOMMU_OPTION", Errno::OPNOTSUPP),
    ("IOMMU_VFIO_IOAS", Errno::NODEV),
    ("IOMMU_HWPT_ALLOC", Errno::NOENT),
    ("IOMMU_GET_HW_INFO", Errno::OPNOTSUPP),
    ("IOMMU_HWPT_SET_DIRTY_TRACKING", Errno::OPNOTSUPP),
    ("IOMMU_HWPT_GET_DIRTY_BITMAP", Errno::NOENT),
    ("IOMMU_HWPT_INVALIDATE", Errno::NOENT),
    ("IOMMU_FAULT_QUEUE_ALLOC", Errno::OPNOTSUPP),
    ("IOMMU_IOAS_MAP_FILE", Errno::OPNOTSUPP),
    ("IOMMU_VIOMMU_ALLOC", Errno::OPNOTSUPP),
    ("IOMMU_VDEVICE_ALLOC", Errno::NOENT),
    ("IOMMU_IOAS_CHANGE_PROCESS", Errno::OPNOTSUPP),
    ("IOMMU_VEVENTQ_ALLOC", Errno::OPNOTSUPP),
    ("IOMMU_HW_QUEUE_ALLOC", Errno::OPNOTSUPP),
    ("IOMMU_IOAS_NOIOMMU_GET_PA", Errno::OPNOTSUPP),
    ("IOMMU_TEST_CMD", Errno::OPNOTSUPP),
];

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn cmd_length() {
    let iommufd = Iommufd::open().unwrap();
    let all: Vec<_> = nr::ALL.iter().chain([&abi::DESCRIPTION]).collect();
    assert_eq!(all.len(), NONSENSE.len());
    for ioctl in all {
        let name = ioctl.name;
        let (_, errno) = NONSENSE.iter().find(|(of, _)| *of == name).unwrap();
        let (min, size) = (ioctl.min_size as usize, ioctl.size as usize);
        let call = |size, last| sizes::of_size(&iommufd, ioctl, size, u32::MAX, last);
        assert_eq!(call(size, 0), Err(*errno), "{name}");
        assert_eq!(call(min - 1, 0), Err(Errno::INVAL), "{name}: too short");
        assert_eq!(
            call(min, 0),
            Err(*errno),
            "{name}: of the first kernel that had it"
        );
        assert_eq!(
            call(size + 1, 1),
            Err(Errno::TOOBIG),
            "{name}: with something unknown"
        );
        assert_eq!(
            call(size + 1, 0),
            Err(*errno),
            "{name}: longer, but for nothing"
        );
    }
    assert_eq!(raw::objects(&iommufd), 0);
    // What is longer for nothing succeeds as well.
    let ioctl = nr::IOAS_ALLOC.describe();
    sizes::of_size(&iommufd, &ioctl, 12, 0, 0).unwrap();
    sizes::of_size(&iommufd, &ioctl, 13, 0, 0).unwrap();
    assert_eq!(raw::objects(&iommufd), 2);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn cmd_ex_fail() {
    let iommufd = Iommufd::open().unwrap();
    let destroy = nr::DESTROY.describe();
    let call = |size, last| sizes::of_size(&iommufd, &destroy, size, 0, last);
    // As a program sends it that was compiled for a kernel which knows more.
    for size in [16, 64, 4096, 65536] {
        assert_eq!(call(size, 0), Err(Errno::NOENT), "{size}");
        assert_eq!(call(size, 1), Err(Errno::TOOBIG), "{size}");
    }
    // As no program sends it.
    for size in [0, 4, 7] {
        assert_eq!(call(size, 0), Err(Errno::INVAL), "{size}");
    }
    // More than there is memory.
    let cut = |size, there| sizes::of_size_in_part(&iommufd, &destroy, size, there);
    assert_eq!(cut(8, 8), Err(Errno::NOENT));
    assert_eq!(cut(8, 4), Err(Errno::FAULT));
    assert_eq!(cut(16, 8), Err(Errno::FAULT));
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn global_options() {
    const MODE: u32 = sys::IOMMU_OPTION_RLIMIT_MODE;
    const HUGE: u32 = sys::IOMMU_OPTION_HUGE_PAGES;
    const SET: u32 = sys::IOMMU_OPTION_OP_SET;
    const GET: u32 = sys::IOMMU_OPTION_OP_GET;
    let iommufd = Iommufd::open().unwrap();
    let call = |id, op, object, value| option(&iommufd, id, op, object, value);
    // The limit is each user's, until it is said to be each process's.
    assert_eq!(call(MODE, GET, 0, 77), Ok(0));
    assert_eq!(call(MODE, SET, 0, 1), Ok(1));
    assert_eq!(call(MODE, GET, 0, 77), Ok(1));
    assert_eq!(call(MODE, SET, 0, 2), Err(Errno::INVAL));
    assert_eq!(call(MODE, GET, 0, 77), Ok(1), "the refusal changed nothing");
    assert_eq!(call(MODE, SET, 0, 0), Ok(0));
    assert_eq!(call(MODE, GET, 0, 77), Ok(0));
    // It is no object's option, and there are two operations.
    assert_eq!(call(MODE, GET, 1, 0), Err(Errno::OPNOTSUPP));
    assert_eq!(call(MODE, 2, 0, 0), Err(Errno::OPNOTSUPP));
    assert_eq!(call(2, GET, 0, 0), Err(Errno::OPNOTSUPP));
    // Huge pages are an address space's option.
    for object in [0, 1] {
        assert_eq!(call(HUGE, GET, object, 0), Err(Errno::NOENT), "{object}");
    }

    // Once anything has been made it is too late.
    let ioas = Ioas::new(&iommufd).unwrap();
    for mode in [0, 1] {
        assert_eq!(call(MODE, SET, 0, mode), Err(Errno::BUSY));
    }
    assert_eq!(call(MODE, GET, 0, 77), Ok(0));
    assert_eq!(call(HUGE, GET, ids::of(&ioas), 77), Ok(1));
    ioas.try_destroy().unwrap();
    assert_eq!(call(MODE, SET, 0, 1), Ok(1));
    assert_eq!(iommufd.accounting().unwrap(), Accounting::PerProcess);

    // The SDK sets it when it opens the context.
    for (builder, accounting) in [
        (Iommufd::builder(), Accounting::PerUser),
        (Iommufd::builder().account_per_user(), Accounting::PerUser),
        (
            Iommufd::builder().account_per_process(),
            Accounting::PerProcess,
        ),
    ] {
        let iommufd = builder.open().unwrap();
        let mode = u64::from(accounting == Accounting::PerProcess);
        assert_eq!(option(&iommufd, MODE, GET, 0, 77), Ok(mode));
        assert_eq!(iommufd.accounting().unwrap(), accounting);
    }

    with_locked_memory(1, |iommufd, _| {
        assert_eq!(option(iommufd, MODE, SET, 0, 1), Err(Errno::PERM));
    });
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn simple_ioctls() {
    let iommufd = Iommufd::open().unwrap();
    assert_eq!(compat::api_version(&iommufd), Ok(0));
    let has = |extension| compat::check_extension(&iommufd, extension);
    for there in [
        vfio::VFIO_TYPE1_IOMMU,
        vfio::VFIO_TYPE1v2_IOMMU,
        vfio::VFIO_UNMAP_ALL,
    ] {
        assert_eq!(has(there), Ok(1), "{there}");
    }
    const NESTING: u32 = 6;
    for absent in [NESTING, vfio::VFIO_UPDATE_VADDR, 0, 9999] {
        assert_eq!(has(absent), Ok(0), "{absent}");
    }
    // That one is a question about the page tables of the container, which is not there.
    assert_eq!(has(vfio::VFIO_DMA_CC_IOMMU), Err(Errno::NODEV));
    // What a container of type 1 had and an iommufd has not.
    let dirty_pages = vfio_nr::IOMMU_DIRTY_PAGES.request();
    assert_eq!(sizes::of_nothing(&iommufd, dirty_pages), Err(Errno::NOTTY));
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn unmap_cmd() {
    let iommufd = Iommufd::open().unwrap();
    let call = |argsz, flags| compat::unmap_dma(&iommufd, argsz, flags, 0, PAGE as u64);
    for argsz in [0, 1, 23] {
        assert_eq!(call(argsz, 0), Err(Errno::INVAL), "{argsz}");
    }
    for flags in [vfio::VFIO_DMA_UNMAP_FLAG_VADDR, 1 << 31] {
        assert_eq!(call(24, flags), Err(Errno::INVAL), "{flags:#x}");
    }
    for argsz in [24, 32, u32::MAX] {
        assert_eq!(call(argsz, 0), Err(Errno::NODEV), "{argsz}");
    }
    assert_eq!(call(24, vfio::VFIO_DMA_UNMAP_FLAG_ALL), Err(Errno::NODEV));
    let request = vfio_nr::IOMMU_UNMAP_DMA.request();
    assert_eq!(sizes::of_nothing(&iommufd, request), Err(Errno::FAULT));
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn map_cmd() {
    let iommufd = Iommufd::open().unwrap();
    let memory = Living::new().memory(PAGE);
    let call = |argsz, flags| compat::map_dma(&iommufd, argsz, flags, &memory, 0);
    let both = vfio::VFIO_DMA_MAP_FLAG_READ | vfio::VFIO_DMA_MAP_FLAG_WRITE;
    for argsz in [0, 1, 31] {
        assert_eq!(call(argsz, both), Err(Errno::INVAL), "{argsz}");
    }
    for flags in [vfio::VFIO_DMA_MAP_FLAG_VADDR, both | 1 << 31] {
        assert_eq!(call(32, flags), Err(Errno::INVAL), "{flags:#x}");
    }
    for argsz in [32, 40, u32::MAX] {
        assert_eq!(call(argsz, both), Err(Errno::NODEV), "{argsz}");
    }
    let request = vfio_nr::IOMMU_MAP_DMA.request();
    assert_eq!(sizes::of_nothing(&iommufd, request), Err(Errno::FAULT));
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn info_cmd() {
    let iommufd = Iommufd::open().unwrap();
    let mut buffer = [0; 64];
    for argsz in [0, 1, 15] {
        let answer = compat::get_info(&iommufd, argsz, &mut buffer);
        assert_eq!(answer, Err(Errno::INVAL), "{argsz}");
    }
    for argsz in [16, 24, 64] {
        let answer = compat::get_info(&iommufd, argsz, &mut buffer);
        assert_eq!(answer, Err(Errno::NODEV), "{argsz}");
    }
    assert_eq!(buffer[4..], [0; 60], "nothing was written");
    let request = vfio_nr::IOMMU_GET_INFO.request();
    assert_eq!(sizes::of_nothing(&iommufd, request), Err(Errno::FAULT));
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn set_iommu_cmd() {
    let iommufd = Iommufd::open().unwrap();
    for kind in [vfio::VFIO_TYPE1_IOMMU, vfio::VFIO_TYPE1v2_IOMMU] {
        assert_eq!(compat::set_iommu(&iommufd, kind), Err(Errno::NODEV));
    }
    const NOIOMMU: u32 = 8;
    for kind in [0, NOIOMMU, 9999] {
        assert_eq!(
            compat::set_iommu(&iommufd, kind),
            Err(Errno::INVAL),
            "{kind}"
        );
    }
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn vfio_ioas() {
    const GET: u32 = sys::IOMMU_VFIO_IOAS_GET;
    const SET: u32 = sys::IOMMU_VFIO_IOAS_SET;
    const CLEAR: u32 = sys::IOMMU_VFIO_IOAS_CLEAR;
    let iommufd = Iommufd::open().unwrap();
    let call = |op, ioas| raw::vfio_ioas(&iommufd, op, ioas);
    assert_eq!(call(GET, 0), Err(Errno::NODEV));
    assert_eq!(call(SET, 1), Err(Errno::NOENT));
    assert_eq!(call(3, 0), Err(Errno::OPNOTSUPP));

    let (first, second) = (Ioas::new(&iommufd).unwrap(), Ioas::new(&iommufd).unwrap());
    for ioas in [&first, &second] {
        iommufd.set_compat_ioas(ioas).unwrap();
        assert_eq!(call(GET, 0), Ok(ids::of(ioas)));
        assert!(ioas.is_compat().unwrap());
        compat::set_iommu(&iommufd, vfio::VFIO_TYPE1v2_IOMMU).unwrap();
    }
    assert!(!first.is_compat().unwrap());
    for _ in 0..2 {
        iommufd.clear_compat_ioas().unwrap();
        assert_eq!(call(GET, 0), Err(Errno::NODEV));
        assert!(!iommufd.has_compat_ioas().unwrap());
    }
    assert_eq!(call(CLEAR, 0), Ok(0), "there is none, and so there is none");

    // The container does not hold its address space.
    iommufd.set_compat_ioas(&second).unwrap();
    assert!(iommufd.has_compat_ioas().unwrap());
    second.try_destroy().unwrap();
    assert!(!iommufd.has_compat_ioas().unwrap());
    assert_eq!(call(GET, 0), Err(Errno::NODEV));
    let v2 = vfio::VFIO_TYPE1v2_IOMMU;
    assert_eq!(compat::set_iommu(&iommufd, v2), Err(Errno::NODEV));
    first.try_destroy().unwrap();
    assert_eq!(raw::objects(&iommufd), 0);
}

/// How many files of this process are `/dev/iommu`.
fn open_contexts() -> usize {
    fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
        .filter(|file| file.as_os_str() == "/dev/iommu")
        .count()
}
