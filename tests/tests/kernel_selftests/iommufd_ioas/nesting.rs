//! Tables of guests, nested in the tables of an address space.

use iommufd::{
    DmaMemory, Error, FaultQueue, HwPt, NestParent, NestedHwPt, PageResponse, Permissions,
};
use iommufd_sys::iommufd as sys;
use rustix::io::Errno;
use tests::at::page;
use tests::mock::nesting::{CONFIG, INVALIDATE_ALL, OnParent, TableInvalidation, Unnested};
use tests::mock::{self, MockDevice, abi, check_iotlb, trigger_iopf};
use tests::page_requests::{NO_PASID, ask, is_gone, one};
use tests::raw;
use tests::{ids, refused};

use super::Fixture;
use crate::domains::Domain;
use crate::past::{self, invalidate, table, table_with};

type Nested = NestedHwPt<OnParent>;

pub(super) fn alloc_hwpt_nested(mut fixture: Fixture) {
    without_a_device(&fixture);
    for one in fixture.domains.take() {
        let dev = &one.device;
        refuses_options(&fixture, dev);
        refuses_what_is_no_parent(&fixture, dev);
        let parent = NestParent::new(&fixture.ioas, dev).unwrap();
        refuses_what_is_no_nested_table(&fixture, dev, &parent);
        keeps_what_it_is_made_of(&fixture, dev, &parent);
        invalidates(&fixture, dev, &parent);
        parent.try_destroy().unwrap();
        is_attached_and_asks_for_pages(&fixture, one);
    }
    // Of all that, the address space is left.
    assert_eq!(raw::objects(&fixture.iommufd), 1);
}

fn without_a_device(fixture: &Fixture) {
    let (fd, ioas) = (&fixture.iommufd, fixture.id());
    for dev in [0, 9999, ioas] {
        for flags in [0, sys::IOMMU_HWPT_ALLOC_NEST_PARENT] {
            let answer = table_with(fd, dev, ioas, &[], |arg| arg.flags = flags);
            assert_eq!(answer, Err(Errno::NOENT), "{dev} {flags}");
        }
        let answer = table(fd, dev, ioas, |_| ());
        assert_eq!(answer, Err(Errno::NOENT), "{dev}");
    }
    // Data and its type come together, or not at all; that is looked at first.
    let answer = table_with(fd, 0, ioas, &[], |arg| arg.data_type = 1);
    assert_eq!(answer, Err(Errno::INVAL));
    let answer = table(fd, 0, ioas, |arg| arg.data_type = 0);
    assert_eq!(answer, Err(Errno::INVAL));
    let answer = table(fd, 0, ioas, |arg| arg.__reserved = 1);
    assert_eq!(answer, Err(Errno::OPNOTSUPP));
}

fn refuses_options(fixture: &Fixture, device: &MockDevice) {
    let (fd, ioas, dev) = (&fixture.iommufd, fixture.id(), device.id());
    let before = raw::objects(fd);
    let paging = |flags| table_with(fd, dev, ioas, &[], |arg| arg.flags = flags);
    assert_eq!(paging(1 << 31), Err(Errno::OPNOTSUPP));
    // Page requests are for the nested tables.
    let both = sys::IOMMU_HWPT_ALLOC_NEST_PARENT | sys::IOMMU_HWPT_FAULT_ID_VALID;
    assert_eq!(paging(both), Err(Errno::OPNOTSUPP));
    assert_eq!(paging(sys::IOMMU_HWPT_FAULT_ID_VALID), Err(Errno::NOENT));
    // The mock builds tables in two ways. Data of more than it knows it does not take.
    for (kind, answer) in [(0, Ok(())), (1, Ok(())), (2, Err(Errno::OPNOTSUPP))] {
        let config = Unnested {
            iotlb: 0,
            pagetable_type: kind,
        };
        let made = table_with(
            fd,
            dev,
            ioas,
            zerocopy::IntoBytes::as_bytes(&config),
            |_| (),
        );
        assert_eq!(made.map(|id| raw::destroy(fd, id).unwrap()), answer);
    }
    let answer = table(fd, dev, ioas, |arg| arg.data_type = 1);
    assert_eq!(answer, Err(Errno::OPNOTSUPP));
    assert_eq!(
        table_with(fd, dev, ioas, &[0; 12], |_| ()),
        Err(Errno::INVAL)
    );
    assert_eq!(raw::objects(fd), before);
}

fn refuses_what_is_no_parent(fixture: &Fixture, device: &MockDevice) {
    let (fd, dev) = (&fixture.iommufd, device.id());
    let before = raw::objects(fd);
    // Not even a table; a table that the kernel has made; one that was not made to be a parent.
    let nothing = [0, 9999, dev, device.stdev()];
    let plain = HwPt::new(&fixture.ioas, device).unwrap();
    for parent in nothing
        .into_iter()
        .chain([device.page_table(), ids::of(&plain)])
    {
        let answer = table(fd, dev, parent, |_| ());
        assert_eq!(answer, Err(Errno::INVAL), "{parent}");
    }
    plain.try_destroy().unwrap();
    assert_eq!(raw::objects(fd), before);
}

fn refuses_what_is_no_nested_table(fixture: &Fixture, device: &MockDevice, parent: &NestParent) {
    let (fd, dev, id) = (&fixture.iommufd, device.id(), ids::of(parent));
    let before = raw::objects(fd);
    let nested = |flags| table(fd, dev, id, |arg| arg.flags = flags);
    for flags in [
        sys::IOMMU_HWPT_ALLOC_NEST_PARENT,
        sys::IOMMU_HWPT_ALLOC_DIRTY_TRACKING,
        1 << 31,
    ] {
        assert_eq!(nested(flags), Err(Errno::OPNOTSUPP), "{flags:#x}");
    }
    assert_eq!(nested(sys::IOMMU_HWPT_FAULT_ID_VALID), Err(Errno::NOENT));
    // It takes data: of its type, and neither less nor more than there is.
    assert_eq!(table_with(fd, dev, id, &[], |_| ()), Err(Errno::OPNOTSUPP));
    let answer = table(fd, dev, id, |arg| arg.data_type = 1);
    assert_eq!(answer, Err(Errno::OPNOTSUPP));
    for (len, answer) in [
        (1, Err(Errno::INVAL)),
        (3, Err(Errno::INVAL)),
        (4, Ok(())),
        (8, Ok(())),
        (9, Err(Errno::INVAL)),
    ] {
        let made = table_with(fd, dev, id, &[0; 9][..len], |_| ());
        assert_eq!(made.map(|id| raw::destroy(fd, id).unwrap()), answer);
    }
    // Nothing is nested in what is nested.
    let inner = Nested::new(parent, device, &CONFIG).unwrap();
    let answer = table(fd, dev, ids::of(&inner), |_| ());
    assert_eq!(answer, Err(Errno::INVAL));
    inner.try_destroy().unwrap();
    assert_eq!(raw::objects(fd), before);
}

fn keeps_what_it_is_made_of(fixture: &Fixture, device: &MockDevice, parent: &NestParent) {
    let fd = &fixture.iommufd;
    let busy = |id| assert_eq!(raw::destroy(fd, id), Err(Errno::BUSY));
    let queue = FaultQueue::new(fd).unwrap();
    let first = Nested::new(parent, device, &CONFIG).unwrap();
    let second = Nested::builder(parent, device, &CONFIG).fault_queue(&queue);
    let second = second.allocate().unwrap();
    busy(ids::of(parent));
    let refusal = parent.clone().try_destroy().unwrap_err();
    assert!(matches!(refusal.error(), Error::InUse { .. }));
    first.try_destroy().unwrap();
    busy(ids::of(parent));
    // A queue with an open file, and then one that only the table uses.
    busy(ids::of(&queue));
    let refusal = queue.try_close().unwrap_err();
    assert!(matches!(refusal.error(), Error::InUse { .. }));
    second.try_destroy().unwrap();
    refusal
        .into_value()
        .try_close()
        .unwrap()
        .try_destroy()
        .unwrap();
    let (queue, file) = raw::nested::fault_queue_alloc(fd).unwrap();
    let user = table(fd, device.id(), ids::of(parent), |arg| {
        arg.flags = sys::IOMMU_HWPT_FAULT_ID_VALID;
        arg.fault_id = queue;
    });
    drop(file);
    busy(queue);
    raw::destroy(fd, user.unwrap()).unwrap();
    raw::destroy(fd, queue).unwrap();
}

fn invalidates(fixture: &Fixture, device: &MockDevice, parent: &NestParent) {
    const ENTRIES: u32 = abi::CACHE_LEN;
    let fd = &fixture.iommufd;
    let nested = Nested::new(parent, device, &CONFIG).unwrap();
    let id = ids::of(&nested);
    let holds = |first_gone: u32| {
        for index in 0..ENTRIES {
            let gone = index < first_gone;
            let value = if gone { 0 } else { abi::IOTLB_DEFAULT };
            assert_eq!(check_iotlb(fd, id, index, value), Ok(()), "{index}");
            assert_eq!(check_iotlb(fd, id, index, 1), Err(Errno::INVAL));
        }
    };
    holds(0);
    assert_eq!(check_iotlb(fd, id, ENTRIES, 0), Err(Errno::INVAL));
    assert_eq!(check_iotlb(fd, ids::of(parent), 0, 0), Err(Errno::NOENT));

    let one = TableInvalidation::of;
    past::refuses_what_is_no_invalidation(fd, id, &one(0));
    for other in [ids::of(parent), fixture.id(), device.id()] {
        let answer = invalidate(fd, other, &[one(0)], |_| ());
        assert_eq!(answer, (Err(Errno::INVAL), 0), "{other}");
    }
    // A command that lacks its last field, or has something more.
    let short = [[0_u32]];
    assert_eq!(invalidate(fd, id, &short, |_| ()), (Err(Errno::INVAL), 0));
    let long = [[0_u32, 0, 0]];
    assert_eq!(invalidate(fd, id, &long, |_| ()), (Err(Errno::INVAL), 0));
    let wrong = [
        (one(ENTRIES), Errno::INVAL),
        (one(u32::MAX), Errno::INVAL),
        (TableInvalidation { flags: 2, ..one(0) }, Errno::OPNOTSUPP),
    ];
    for (bad, errno) in wrong {
        let answer = invalidate(fd, id, &[bad, one(0)], |_| ());
        assert_eq!(answer, (Err(errno), 0));
    }
    holds(0);
    // What comes before a wrong one is carried out.
    for ((bad, errno), index) in wrong.into_iter().zip(0..) {
        let answer = invalidate(fd, id, &[one(index), bad, one(3)], |_| ());
        assert_eq!(answer, (Err(errno), 1));
        holds(index + 1);
    }
    let error = nested.invalidate(&[one(0), one(1), one(9), one(3)]);
    let error = error.unwrap_err();
    assert!(matches!(
        error,
        Error::InvalidationRefused {
            done: 2,
            refused: 2,
            ..
        }
    ));
    refused(Err::<(), _>(error), Errno::INVAL);
    holds(3);
    let all = TableInvalidation {
        flags: INVALIDATE_ALL,
        ..one(0)
    };
    nested.invalidate(&[all, one(2)]).unwrap();
    holds(ENTRIES);
    nested.try_destroy().unwrap();
    assert_eq!(invalidate(fd, id, &[all], |_| ()), (Err(Errno::NOENT), 0));
}

fn is_attached_and_asks_for_pages(fixture: &Fixture, domain: Domain) {
    let fd = &fixture.iommufd;
    let Domain {
        mut attachment,
        device,
    } = domain;
    let parent = NestParent::new(&fixture.ioas, &device).unwrap();
    let queue = FaultQueue::new(fd).unwrap();
    let table = || {
        let builder = Nested::builder(&parent, &device, &CONFIG).fault_queue(&queue);
        builder.allocate().unwrap()
    };
    let (first, second) = (table(), table());
    let busy = |id| assert_eq!(raw::destroy(fd, id), Err(Errno::BUSY));
    // From one to the other, and only the one that is used is kept.
    attachment.replace(&first).unwrap();
    assert_eq!(device.page_table(), ids::of(&first));
    busy(ids::of(&first));
    attachment.replace(&second).unwrap();
    assert_eq!(device.page_table(), ids::of(&second));
    busy(ids::of(&second));
    first.try_destroy().unwrap();
    let refusal = second.try_destroy().unwrap_err();
    assert!(matches!(refusal.error(), Error::InUse { .. }));
    let second = refusal.into_value();
    // What it is nested in still translates: what is mapped is found there.
    let memory = tests::memory::Living::new().memory(tests::at::PAGE);
    let mapping = fixture.ioas.map_at(page(5), &memory, iommufd::Access::Read);
    let found = mock::check_map(fd, ids::of(&parent), page(5).get(), memory.bytes());
    assert_eq!(found, Ok(()));
    mapping.unwrap().unmap().unwrap();

    // Requests are answered once each, in whatever order.
    let asks = |number| {
        let read = Permissions::READ.bits();
        trigger_iopf(fd, device.id(), NO_PASID, number, read, 0x1000).unwrap();
    };
    asks(1);
    one(&queue).respond(PageResponse::Success).unwrap();
    for number in 2..6 {
        asks(number);
    }
    let groups = queue.read().unwrap();
    assert_eq!(tests::page_requests::numbers(&groups), [2, 3, 4, 5]);
    for group in groups.into_iter().rev() {
        group.respond(PageResponse::Invalid).unwrap();
    }
    // Raw: an answer to what was answered, and one that is none.
    let file = tests::page_requests::duplicate(&queue);
    let answer = |cookie: u32, code: u32| {
        let bytes = [cookie, code].map(u32::to_le_bytes).concat();
        rustix::io::write(&file, &bytes)
    };
    assert_eq!(answer(1, 0), Err(Errno::INVAL));
    asks(6);
    let group = one(&queue);
    for code in [2, u32::MAX] {
        assert_eq!(answer(1, code), Err(Errno::INVAL));
    }
    assert_eq!(rustix::io::write(&file, &[0; 7]), Err(Errno::SPIPE));
    assert_eq!(rustix::io::read(&file, &mut [0; 39]), Err(Errno::SPIPE));
    group.respond(PageResponse::Success).unwrap();
    drop(file);

    // What waits when the device goes is answered by the kernel.
    ask(&device, 7, page(0));
    let group = one(&queue);
    attachment.detach().unwrap();
    assert!(is_gone(group.respond(PageResponse::Success)));
    second.try_destroy().unwrap();
    parent.try_destroy().unwrap();
    queue.try_close().unwrap().try_destroy().unwrap();
}
