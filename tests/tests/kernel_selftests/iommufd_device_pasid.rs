//! Fixture `iommufd_device_pasid`: a device that has PASIDs, or has not.

use iommufd::{Error, FaultQueue, HwPt, Ioas, Iommufd, Iova, NestParent, NestedHwPt, PageResponse};
use rustix::io::Errno;
use tests::mock::nesting::{CONFIG, OnParent};
use tests::mock::{self, MockDevice, MockOptions, abi};
use tests::page_requests::{is_gone, one};
use tests::pasids::{Table, pasid, table, tables};
use tests::{ids, raw};

per_variant! { Fixture [no_pasid, has_pasid]: pasid_attach }

/// A device that is attached to a page table for PASIDs.
#[derive(Debug)]
struct Fixture {
    device: MockDevice,
    ioas: Ioas,
    iommufd: Iommufd,
    has_pasids: bool,
}

impl Fixture {
    fn no_pasid() -> Self {
        Self::new(false)
    }

    fn has_pasid() -> Self {
        Self::new(true)
    }

    fn new(has_pasids: bool) -> Self {
        let iommufd = Iommufd::open().unwrap();
        let options = MockOptions {
            flags: if has_pasids { abi::DEVICE_PASID } else { 0 },
            ..MockOptions::default()
        };
        Self {
            device: MockDevice::with(&iommufd, options).unwrap(),
            ioas: Ioas::new(&iommufd).unwrap(),
            iommufd,
            has_pasids,
        }
    }

    fn table(&self) -> HwPt {
        table(&self.ioas, &self.device)
    }

    fn tables(&self, for_pasids: bool) -> Vec<Table> {
        tables(&self.ioas, &self.device, for_pasids)
    }

    /// Asserts that the PASID goes through what has the id, or through nothing if that is 0.
    #[track_caller]
    fn assert_at(&self, number: u32, id: u32) {
        assert_eq!(self.device.check_pasid(pasid(number), id), Ok(()));
    }

    /// The device asks for a page, with the PASID.
    fn ask(&self, number: u32, address: Iova) {
        const WRITE: u32 = 2;
        let (fd, id) = (&self.iommufd, self.device.id());
        mock::trigger_iopf(fd, id, number, 1, WRITE, address.get()).unwrap();
    }
}

fn pasid_attach(fixture: Fixture) {
    beside_any_other(&fixture);
    if fixture.has_pasids {
        beside_a_table_for_pasids(&fixture);
        numbers(&fixture);
        through_the_sdk(&fixture);
        rollback(&fixture);
        page_requests(&fixture);
        page_requests_of_guests(&fixture);
    } else {
        nothing_is_attached(&fixture);
    }
}

/// Attach, replace and detach, past the SDK, of a device that is itself attached to a table for PASIDs.
fn beside_a_table_for_pasids(fixture: &Fixture) {
    const PASID: u32 = 100;
    let device = &fixture.device;
    let [attach, replace] = [MockDevice::stranger_attaches, MockDevice::stranger_replaces]
        .map(|call| move |id| call(device, PASID, id));
    let own = fixture.table();
    let attachment = device.attach(&own).unwrap();
    let (fit, unfit) = (fixture.tables(true), fixture.tables(false));

    let refused = |answer: &dyn Fn(u32) -> Result<(), Errno>| {
        for table in &unfit {
            assert_eq!(answer(table.id()), Err(Errno::INVAL), "{table:?}");
        }
        let ioas = ids::of(&fixture.ioas);
        assert_eq!(answer(ioas), Err(Errno::INVAL), "its tables are not for it");
        assert_eq!(answer(device.id()), Err(Errno::INVAL), "no table at all");
        assert_eq!(answer(0), Err(Errno::NOENT));
        assert_eq!(answer(9999), Err(Errno::NOENT));
    };
    refused(&attach);
    fixture.assert_at(PASID, 0);
    assert_eq!(device.stranger_detaches(PASID), Ok(()), "not attached");
    for first in &fit {
        assert_eq!(replace(first.id()), Err(Errno::INVAL), "not attached");
        attach(first.id()).unwrap();
        fixture.assert_at(PASID, first.id());
        let busy = raw::destroy(&fixture.iommufd, first.id());
        assert_eq!(busy, Err(Errno::BUSY));
        for again in &fit {
            assert_eq!(attach(again.id()), Err(Errno::BUSY));
        }
        refused(&replace);
        fixture.assert_at(PASID, first.id());
        for next in &fit {
            replace(next.id()).unwrap();
            fixture.assert_at(PASID, next.id());
            replace(next.id()).unwrap();
        }
        // Meanwhile the device itself can move, but only to what is for PASIDs.
        refused(&|id| device.stranger_moves(id));
        for table in &fit {
            device.stranger_moves(table.id()).unwrap();
        }
        device.stranger_moves(ids::of(&own)).unwrap();
        device.stranger_detaches(PASID).unwrap();
        fixture.assert_at(PASID, 0);
    }
    attachment.detach().unwrap();
}

/// A device that is itself attached to something else can have no PASID attached.
fn beside_any_other(fixture: &Fixture) {
    let device = &fixture.device;
    let refused = || {
        for table in [fixture.tables(true), fixture.tables(false)].concat() {
            let answer = device.stranger_attaches(100, table.id());
            assert_eq!(answer, Err(Errno::INVAL), "{table:?}");
        }
        fixture.assert_at(100, 0);
    };
    for table in &fixture.tables(false) {
        let attachment = device.attach(table).unwrap();
        refused();
        attachment.detach().unwrap();
    }
    let attachment = device.attach(&fixture.ioas).unwrap();
    refused();
    attachment.detach().unwrap();
}

/// Which numbers the kernel takes for PASIDs of 20 bits.
fn numbers(fixture: &Fixture) {
    let device = &fixture.device;
    let table = fixture.table();
    let attachment = device.attach(&table).unwrap();
    let attach = |number| device.stranger_attaches(number, ids::of(&table));
    // 0 stands for the device itself.
    assert_eq!(attach(0), Err(Errno::BUSY));
    for number in [1, 1 << 19, (1 << 20) - 1] {
        attach(number).unwrap();
        device.stranger_detaches(number).unwrap();
    }
    for number in [1 << 20, u32::MAX - 1] {
        assert_eq!(attach(number), Err(Errno::INVAL));
    }
    attachment.detach().unwrap();
}

/// The device has no PASIDs, whatever the tables are for.
fn nothing_is_attached(fixture: &Fixture) {
    let device = &fixture.device;
    let own = fixture.table();
    let attachment = device.attach(&own).unwrap();
    for table in [fixture.tables(true), fixture.tables(false)].concat() {
        for number in [1, 100, abi::PASID_FAILS_ONCE, (1 << 20) - 1] {
            let refused = device.attach_pasid(pasid(number), &table);
            assert!(matches!(refused, Err(Error::NoSuchPasid { bits: 0, .. })));
            let attach = device.stranger_attaches(number, table.id());
            assert_eq!(attach, Err(Errno::INVAL));
            let replace = device.stranger_replaces(number, table.id());
            assert_eq!(replace, Err(Errno::INVAL));
            assert_eq!(device.stranger_detaches(number), Ok(()), "as ever");
            fixture.assert_at(number, 0);
        }
    }
    attachment.detach().unwrap();
}

/// The same as far as it makes sense; the rest is refused, and the kernel is not asked.
fn through_the_sdk(fixture: &Fixture) {
    let device = &fixture.device;
    let own = fixture.table();
    let attachment = device.attach(&own).unwrap();
    let (fit, unfit) = (fixture.tables(true), fixture.tables(false));
    for first in &fit {
        let mut of_pasid = device.attach_pasid(pasid(100), first).unwrap();
        fixture.assert_at(100, first.id());
        let again = device.attach_pasid(pasid(100), first);
        assert!(matches!(again, Err(Error::AlreadyAttached)));
        for next in &fit {
            of_pasid.replace(next).unwrap();
            fixture.assert_at(100, next.id());
        }
        for table in &unfit {
            let refused = of_pasid.replace(table).unwrap_err();
            assert!(matches!(refused, Error::NotForPasids { .. }));
            fixture.assert_at(100, fit[2].id());
        }
        of_pasid.detach().unwrap();
        fixture.assert_at(100, 0);
    }
    for table in &unfit {
        let refused = device.attach_pasid(pasid(100), table);
        assert!(matches!(refused, Err(Error::NotForPasids { .. })));
    }
    attachment.detach().unwrap();
}

/// The hardware refuses to have PASID 1024 moved, once.
fn rollback(fixture: &Fixture) {
    const PASID: u32 = abi::PASID_FAILS_ONCE;
    let device = &fixture.device;
    let own = fixture.table();
    let attachment = device.attach(&own).unwrap();
    let tables = fixture.tables(true);
    for (from, to) in tables.iter().zip(tables.iter().cycle().skip(1)) {
        let mut of_pasid = device.attach_pasid(pasid(PASID), from).unwrap();
        let refused = of_pasid.replace(to).unwrap_err();
        assert_eq!(refused.errno(), Some(Errno::NOMEM));
        fixture.assert_at(PASID, from.id());
        of_pasid.replace(to).unwrap();
        fixture.assert_at(PASID, to.id());
        of_pasid.detach().unwrap();
        fixture.assert_at(PASID, 0);
    }
    attachment.detach().unwrap();
}

/// What a device asks for with a PASID goes to the queue of the table that this is attached to.
fn page_requests(fixture: &Fixture) {
    const ADDRESS: Iova = Iova::new(0xdead_b000);
    let device = &fixture.device;
    let own = fixture.table();
    let attachment = device.attach(&own).unwrap();
    let [queue, other] = [(); 2].map(|()| FaultQueue::new(&fixture.iommufd).unwrap());
    let [table, next] = [&queue, &other].map(|queue| {
        let table = HwPt::builder(&fixture.ioas, device).fault_queue(queue);
        table.pasid(true).allocate().unwrap()
    });
    let mut of_pasid = device.attach_pasid(pasid(100), &table).unwrap();
    fixture.ask(100, ADDRESS);
    let group = one(&queue);
    assert_eq!(group.device().as_ref(), Some(&**device));
    assert_eq!(group.requests().len(), 1);
    let request = group.requests()[0];
    assert_eq!(request.pasid(), Some(pasid(100)));
    assert_eq!(request.address(), ADDRESS);
    group.respond(PageResponse::Success).unwrap();

    // With another PASID, or none, there is nobody who could be asked.
    for number in [0, 101] {
        fixture.ask(number, ADDRESS);
        assert!(queue.read().unwrap().is_empty(), "{number}");
    }

    // When the PASID moves, or is detached, the kernel itself answers: what was read, and what was not.
    fixture.ask(100, ADDRESS);
    let read = one(&queue);
    fixture.ask(100, ADDRESS);
    of_pasid.replace(&next).unwrap();
    assert!(is_gone(read.respond(PageResponse::Success)));
    assert!(queue.read().unwrap().is_empty());
    fixture.ask(100, ADDRESS);
    let read = one(&other);
    fixture.ask(100, ADDRESS);
    of_pasid.detach().unwrap();
    assert!(is_gone(read.respond(PageResponse::Invalid)));
    assert!(other.read().unwrap().is_empty());
    attachment.detach().unwrap();
    for table in [table, next] {
        table.try_destroy().unwrap();
    }
    for queue in [queue, other] {
        queue.try_close().unwrap().try_destroy().unwrap();
    }
}

/// The mock is hardware of which a guest has the PASID table: what nobody here has attached is the guest's, and goes to the
/// nested table of the device itself.
fn page_requests_of_guests(fixture: &Fixture) {
    const ADDRESS: Iova = Iova::new(0x1234_5000);
    let device = &fixture.device;
    let [of_guest, of_host] = [(); 2].map(|()| FaultQueue::new(&fixture.iommufd).unwrap());
    let parent = NestParent::new(&fixture.ioas, device).unwrap();
    let nested = NestedHwPt::<OnParent>::builder(&parent, device, &CONFIG);
    let nested = nested.fault_queue(&of_guest).pasid(true);
    let nested = nested.allocate().unwrap();
    let table = HwPt::builder(&fixture.ioas, device).fault_queue(&of_host);
    let table = table.pasid(true).allocate().unwrap();
    let attachment = device.attach(&nested).unwrap();
    let asked = |number, queue: &FaultQueue| {
        fixture.ask(number, ADDRESS);
        let group = one(queue);
        assert_eq!(group.requests()[0].address(), ADDRESS);
        let carried = group.requests()[0].pasid();
        group.respond(PageResponse::Invalid).unwrap();
        carried
    };
    for number in [1, 100, 0xf_ffff] {
        assert_eq!(asked(number, &of_guest), Some(pasid(number)));
    }
    assert_eq!(asked(0, &of_guest), None);
    let of_pasid = device.attach_pasid(pasid(100), &table).unwrap();
    assert_eq!(asked(100, &of_host), Some(pasid(100)));
    assert_eq!(asked(101, &of_guest), Some(pasid(101)));
    of_pasid.detach().unwrap();
    assert_eq!(asked(100, &of_guest), Some(pasid(100)));
    attachment.detach().unwrap();
}
