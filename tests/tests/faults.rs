//! The kernel fails at every point at which it can, and nothing is lost: neither memory that it still reaches, nor
//! memory that nobody reaches any more, nor an object.

use iommufd::{Access, DmaBuffer, DmaMemory, Error, HwPt, Ioas, Iommufd, Leaks, Mapped};
use tests::at::{PAGE, page};
use tests::faults::{Points, nothing_is_left, sweep};
use tests::memory::Living;
use tests::mock::{MockDevice, check_pins};
use tests::raw;

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn opening_a_context() {
    let mut errors = 0;
    let files = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = files();
    sweep(Points::Everywhere, |nth| {
        if let Err(error) = nth.armed(Iommufd::open) {
            assert!(nth.failed());
            assert!(error.errno().is_some(), "what failed is named: {error}");
            errors += 1;
        }
        // The sweep's own file is one more.
        assert_eq!(files(), before + 1);
    });
    assert!(errors > 0);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn an_address_space_and_its_ranges() {
    let mut errors = 0;
    let iommufd = Iommufd::open().unwrap();
    sweep(Points::Everywhere, |nth| {
        let result = nth.armed(|| {
            let ioas = Ioas::new(&iommufd)?;
            let ranges = ioas.iova_ranges()?;
            assert_eq!(ranges.iter().len(), 1);
            ioas.allow_iovas(&[tests::at::pages(0, 4)])?;
            ioas.allow_iovas(&[])
        });
        errors += usize::from(result.is_err());
        assert_eq!(iommufd.leaks(), Leaks::default());
        assert_eq!(raw::objects(&iommufd), 0);
    });
    assert!(errors > 0);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn p23_a_mapping_that_fails_is_no_mapping() {
    nothing_is_left(|nth, iommufd, device, living| {
        let ioas = Ioas::new(iommufd)?;
        let attachment = device.attach(&ioas)?;
        let memory = living.memory(8 * PAGE);
        let bytes = memory.bytes();
        let result = nth.armed(|| ioas.map_at(page(0), &memory, Access::ReadWrite));
        let pins = u32::from(result.is_ok());
        assert_eq!(check_pins(iommufd, bytes, pins), Ok(()));
        assert_eq!(ioas.mapped().mappings, pins as usize);
        if result.is_err() {
            // Its place is free, in the kernel and in the books.
            ioas.map_at(page(0), &memory, Access::ReadWrite)?.unmap()?;
        }
        drop(attachment);
        result.map(drop)
    });
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_mapping_by_file_that_fails_is_no_mapping() {
    nothing_is_left(|nth, iommufd, device, _| {
        let ioas = Ioas::new(iommufd)?;
        let _attachment = device.attach(&ioas)?;
        let shared = DmaBuffer::memfd(8 * PAGE)?.share();
        let result = nth.armed(|| ioas.map_at(page(0), &shared, Access::ReadWrite));
        assert_eq!(ioas.mapped().mappings, usize::from(result.is_ok()));
        let result = result.map(drop);
        DmaBuffer::reclaim(shared)?;
        result
    });
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn an_unmap_that_fails_gives_the_mapping_back_or_has_unmapped_it() {
    nothing_is_left(|nth, iommufd, device, living| {
        let ioas = Ioas::new(iommufd)?;
        let _attachment = device.attach(&ioas)?;
        let memory = living.memory(8 * PAGE);
        let mapping = ioas.map_at(page(0), &memory, Access::ReadWrite)?;
        let bytes = memory.bytes();
        match nth.armed(|| mapping.unmap()) {
            Ok(()) => {
                // Also after an ENOENT that was not true.
                assert_eq!(check_pins(iommufd, bytes, 0), Ok(()));
                let left = raw::unmap(iommufd, tests::ids::of(&ioas), 0, u64::MAX);
                assert_eq!(left, Ok(0), "the kernel has nothing left");
                // For the sweep to have seen a failure.
                if nth.failed() {
                    return Err(Error::NotAttached);
                }
            }
            Err(refused) => {
                assert_eq!(check_pins(iommufd, bytes, 1), Ok(()));
                let mapping = refused.into_value();
                assert_eq!(ioas.mapped().mappings, 1);
                mapping.unmap()?;
            }
        }
        Ok(())
    });
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_dropped_mapping_is_unmapped_or_counted() {
    nothing_is_left(|nth, iommufd, device, living| {
        let ioas = Ioas::new(iommufd)?;
        let _attachment = device.attach(&ioas)?;
        let memory = living.memory(PAGE);
        let mapping = ioas.map_at(page(0), &memory, Access::ReadWrite)?;
        nth.armed(|| drop(mapping));
        assert_eq!(check_pins(iommufd, memory.bytes(), 0), Ok(()));
        assert_eq!(ioas.mapped(), Mapped::default());
        if nth.failed() {
            return Err(Error::NotAttached);
        }
        Ok(())
    });
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn unmapping_all_takes_all_or_says_what_stayed() {
    nothing_is_left(|nth, iommufd, device, living| {
        let ioas = Ioas::new(iommufd)?;
        let _attachment = device.attach(&ioas)?;
        let memories: Vec<_> = (0..3).map(|_| living.memory(PAGE)).collect();
        let mut guards = Vec::new();
        for (n, memory) in (0..).zip(&memories) {
            guards.push(ioas.map_at(page(2 * n), memory, Access::ReadWrite)?);
        }
        let result = nth.armed(|| ioas.unmap_all());
        let kept = ioas.mapped().mappings;
        let pinned = memories
            .iter()
            .filter(|memory| check_pins(iommufd, memory.bytes(), 1).is_ok())
            .count();
        assert_eq!(kept, pinned, "{result:?}");
        assert_eq!(result.is_ok(), kept == 0, "{result:?}");
        if nth.failed() {
            return Err(Error::NotAttached);
        }
        Ok(())
    });
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_page_table_that_fails_is_no_page_table() {
    nothing_is_left(|nth, iommufd, device, living| {
        let ioas = Ioas::new(iommufd)?;
        let memory = living.memory(4 * PAGE);
        let mapping = ioas.map_at(page(0), &memory, Access::ReadWrite)?;
        let result = nth.armed(|| HwPt::new(&ioas, device));
        let pins = u32::from(result.is_ok());
        assert_eq!(check_pins(iommufd, memory.bytes(), pins), Ok(()));
        drop(mapping);
        result.map(drop)
    });
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn an_attach_that_fails_leaves_the_device_unattached() {
    nothing_is_left(|nth, iommufd, device, living| {
        let ioas = Ioas::new(iommufd)?;
        let memory = living.memory(4 * PAGE);
        let _mapping = ioas.map_at(page(0), &memory, Access::ReadWrite)?;
        let result = nth.armed(|| device.attach(&ioas));
        let found = device.check_map(page(0), memory.bytes());
        assert_eq!(found.is_ok(), result.is_ok());
        assert_eq!(device.group().attached(), usize::from(result.is_ok()));
        result.map(drop)
    });
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_replace_that_fails_leaves_the_device_where_it_was() {
    nothing_is_left(|nth, iommufd, device, living| {
        let (here, there) = (Ioas::new(iommufd)?, Ioas::new(iommufd)?);
        let (of_here, of_there) = (living.memory(PAGE), living.memory(PAGE));
        let _here = here.map_at(page(0), &of_here, Access::ReadWrite)?;
        let _there = there.map_at(page(0), &of_there, Access::ReadWrite)?;
        let mut attachment = device.attach(&here)?;
        let moved = nth.armed(|| attachment.replace(&there));
        let (now, before) = match moved {
            Ok(()) => (&of_there, &of_here),
            Err(_) => (&of_here, &of_there),
        };
        assert_eq!(device.check_map(page(0), now.bytes()), Ok(()));
        assert_eq!(check_pins(iommufd, before.bytes(), 0), Ok(()));
        attachment.detach()?;
        moved
    });
}

/// Linux 7.3 gives up the reserved addresses of a device that could not be moved between two page tables of one address
/// space, though it stays in that.
#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_detach_that_fails_gives_the_attachment_back() {
    nothing_is_left(|nth, iommufd, device, living| {
        let ioas = Ioas::new(iommufd)?;
        let memory = living.memory(PAGE);
        let _mapping = ioas.map_at(page(0), &memory, Access::ReadWrite)?;
        let attachment = device.attach(&ioas)?;
        match nth.armed(|| attachment.detach()) {
            Ok(()) => {
                assert_eq!(check_pins(iommufd, memory.bytes(), 0), Ok(()));
                Ok(())
            }
            Err(refused) => {
                assert_eq!(device.check_map(page(0), memory.bytes()), Ok(()));
                let (attachment, error) = refused.into_parts();
                attachment.detach()?;
                Err(error)
            }
        }
    });
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn hardware_information() {
    nothing_is_left(|nth, _, device, _| nth.armed(|| device.hw_info()).map(drop));
}

/// Everything at once, its drops included. What a drop could not undo is counted, and its memory alive.
#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn everything_from_the_first_ioctl_to_the_last_drop() {
    for points in [Points::Iommufd, Points::Everywhere] {
        let mut errors = 0;
        let count = sweep(points, |nth| {
            let living = Living::new();
            let memories = [living.memory(PAGE), living.memory(4 * PAGE)];
            let iommufd = Iommufd::open().unwrap();
            let device = MockDevice::new(&iommufd).unwrap();
            let result = nth.armed(|| -> iommufd::Result<()> {
                let [one, two] = memories;
                let ioas = Ioas::new(&iommufd)?;
                let _one = ioas.map_at(page(0), one, Access::ReadWrite)?;
                let hwpt = HwPt::new(&ioas, &device)?;
                let mut attachment = device.attach(&hwpt)?;
                let _two = ioas.map_at(page(2), two, Access::Read)?;
                attachment.replace(&ioas)?;
                attachment.detach()?;
                let _attachment = device.attach(&ioas)?;
                Ok(())
            });
            errors += usize::from(result.is_err());
            let leaks = iommufd.leaks();
            assert_eq!(leaks.memories, 0, "{leaks:?} after {result:?}");
            assert_eq!(living.count(), 0, "{leaks:?} after {result:?}");
            assert_eq!(leaks.mappings, 0, "{leaks:?} after {result:?}");
            // The device of an attachment whose detach was refused stays attached.
            assert_eq!(device.group().attached() as u64, leaks.objects);
            assert!(leaks.objects <= 1);
        });
        assert!(count > 20 && errors > 10, "{count} points, {errors} errors");
    }
}
