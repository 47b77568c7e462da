//! Devices that are moved from one page table to another.

use std::sync::Arc;

use iommufd::{Access, DmaMemory, Error, HwPt, Ioas, Iommufd, Target};
use rustix::io::Errno;
use tests::at::page;
use tests::memory::Nowhere;
use tests::mock::MockDevice;
use tests::{ids, raw, refused};

use super::Fixture;
use crate::domains::Domain;

pub(super) fn replace(fixture: Fixture) {
    let Fixture {
        domains,
        ioas,
        iommufd,
        kind,
        ..
    } = &fixture;
    let (memory, others) = (kind.shared(1), kind.shared(1));
    let here = ioas.map_at(page(0), &memory, Access::ReadWrite).unwrap();
    let elsewhere = Ioas::new(iommufd).unwrap();
    let there = elsewhere
        .map_at(page(0), &others, Access::ReadWrite)
        .unwrap();
    let len = memory.len() as u64;
    assert_eq!(fixture.pinned(), len);

    // Tables that were made for an address space go when the last device is moved away.
    let device = MockDevice::new(iommufd).unwrap();
    let parked = device.page_table();
    let mut attachment = device.attach(&elsewhere).unwrap();
    assert_eq!(fixture.pinned(), 2 * len);
    assert_eq!(raw::destroy(iommufd, parked), Err(Errno::NOENT));
    let objects = raw::objects(iommufd);
    let bytes = |here| if here { memory.bytes() } else { others.bytes() };
    for to_here in [true, false, true, false] {
        let before = device.page_table();
        attachment
            .replace(if to_here { ioas } else { &elsewhere })
            .unwrap();
        assert_ne!(device.page_table(), before);
        device.check_map(page(0), bytes(to_here)).unwrap();
        assert_eq!(
            device.check_map(page(0), bytes(!to_here)),
            Err(Errno::INVAL)
        );
        assert_eq!(fixture.pinned(), if to_here { len } else { 2 * len });
        if !to_here {
            // A device of the fixture has the same table, which so stays.
            assert_eq!(raw::destroy(iommufd, before), Err(Errno::BUSY));
        } else {
            assert_eq!(raw::destroy(iommufd, before), Err(Errno::NOENT));
        }
        assert_eq!(raw::objects(iommufd), objects - u32::from(to_here));
    }
    // To move it to where it is changes nothing.
    let before = device.page_table();
    attachment.replace(&elsewhere).unwrap();
    assert_eq!(
        (device.page_table(), raw::objects(iommufd)),
        (before, objects)
    );

    // To a table that was made by hand, and back.
    let table = HwPt::new(ioas, &device).unwrap();
    attachment.replace(&table).unwrap();
    assert_eq!(device.page_table(), ids::of(&table));
    assert_eq!(raw::destroy(iommufd, before), Err(Errno::NOENT));
    device.check_map(page(0), bytes(true)).unwrap();
    attachment.replace(&elsewhere).unwrap();
    device.check_map(page(0), bytes(false)).unwrap();
    table.try_destroy().unwrap();

    // A device that cannot be moved stays where it is.
    let broken = Ioas::new(iommufd).unwrap();
    let _nowhere = broken
        .map_at(page(0), Arc::new(Nowhere), Access::Read)
        .unwrap();
    let before = (device.page_table(), raw::objects(iommufd));
    let refusal = attachment.replace(&broken).unwrap_err();
    assert_eq!(refusal.errno(), Some(Errno::FAULT));
    assert_eq!((device.page_table(), raw::objects(iommufd)), before);
    device.check_map(page(0), bytes(false)).unwrap();
    assert!(matches!(attachment.target(), Some(Target::Ioas(_))));
    attachment.detach().unwrap();
    assert_eq!(fixture.pinned(), len);

    domains.assert_map(page(0), &*memory);
    there.unmap().unwrap();
    here.unmap().unwrap();
    assert_eq!(fixture.pinned(), 0);
}

pub(super) fn alloc_hwpt(mut fixture: Fixture) {
    let memory = fixture.kind.shared(1);
    let ioas = fixture.ioas.clone();
    let fd = fixture.iommufd.clone();
    let mapping = ioas.map_at(page(0), &memory, Access::ReadWrite).unwrap();
    let len = memory.len() as u64;
    for Domain {
        mut attachment,
        device,
    } in fixture.domains.take()
    {
        let objects = raw::objects(&fd);
        let check = |table: &HwPt| {
            assert_eq!(device.page_table(), ids::of(table));
            assert_eq!(device.check_map(page(0), memory.bytes()), Ok(()));
            assert_eq!(fixture.pinned(), len, "once, by however many tables");
        };
        // A table is filled when it is made, and the device is moved to it.
        let first = HwPt::new(&ioas, &device).unwrap();
        let second = HwPt::new(&ioas, &device).unwrap();
        assert_ne!(ids::of(&first), ids::of(&second));
        assert_eq!(raw::objects(&fd), objects + 2);
        attachment.replace(&first).unwrap();
        check(&first);
        // In the place of the table it had before, which was its own alone, it has this one.
        assert_eq!(raw::objects(&fd), objects + 1);
        assert_eq!(raw::destroy(&fd, ids::of(&first)), Err(Errno::BUSY));
        let in_use = first.clone().try_destroy().unwrap_err();
        assert!(matches!(in_use.error(), Error::InUse { .. }));
        drop(in_use);
        // The address space is under both.
        assert_eq!(raw::destroy(&fd, ids::of(&ioas)), Err(Errno::BUSY));

        attachment.replace(&second).unwrap();
        check(&second);
        assert_eq!(raw::destroy(&fd, ids::of(&second)), Err(Errno::BUSY));
        attachment.replace(&first).unwrap();
        check(&first);
        second.try_destroy().unwrap();
        check(&first);

        // What is mapped now is in the table as well.
        let more = ioas.map_at(page(1 << 14), &memory, Access::Read).unwrap();
        assert_eq!(device.check_map(page(1 << 14), memory.bytes()), Ok(()));
        more.unmap().unwrap();

        // The handle let go of, the attachment holds the table, and the table goes with it.
        let id = ids::of(&first);
        drop(first);
        assert_eq!(raw::destroy(&fd, id), Err(Errno::BUSY));
        attachment.detach().unwrap();
        assert_eq!(raw::objects(&fd), objects);
    }
    mapping.unmap().unwrap();
    assert_eq!(fixture.pinned(), 0);
    // No device, no format.
    let stranger = Ioas::new(&Iommufd::open().unwrap()).unwrap();
    let device = MockDevice::new(&fd).unwrap();
    assert!(matches!(
        HwPt::new(&stranger, &device),
        Err(Error::ForeignContext { .. })
    ));
    let none = raw::nest_parent_alloc(&fd, ids::of(&ioas), ids::of(&ioas));
    assert_eq!(none, Err(Errno::NOENT));
    let _nowhere = ioas
        .map_at(page(0), Arc::new(Nowhere), Access::Read)
        .unwrap();
    refused(HwPt::new(&ioas, &device), Errno::FAULT);
}
