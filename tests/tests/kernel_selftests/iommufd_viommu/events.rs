//! Virtual devices, and the events that are told of them.

use std::os::fd::AsFd;

use iommufd::{Error, VDevice, VEvent, VEventQueue};
use iommufd_sys::ioctl::SizedArg;
use iommufd_sys::iommufd as sys;
use rustix::io::{Errno, read, write};
use tests::mock::nesting::{MockEvent, VirtualNumber};
use tests::mock::{MockDevice, abi, trigger_vevent};
use tests::raw::{self, nested};
use tests::{ids, refused};

use super::Fixture;

const NUMBER: u64 = 0x99;

/// The length of an event's header, and of an event with it.
const HEADER: usize = 8;
const WHOLE: usize = HEADER + 4;

pub(super) fn vdevice_alloc(fixture: Fixture) {
    const MOST: u32 = 1 << 19;
    let fd = &fixture.iommufd;
    let ioas = ids::of(&fixture.ioas);
    let queue = |viommu, spoil: fn(&mut sys::iommu_veventq_alloc)| {
        let mut arg = sys::iommu_veventq_alloc::sized();
        arg.viommu_id = viommu;
        arg.type_ = abi::VEVENTQ_TYPE_SELFTEST;
        arg.veventq_depth = 2;
        spoil(&mut arg);
        nested::veventq_alloc(fd, &mut arg)
    };
    let refused_with = |errno, viommu, spoil| {
        assert_eq!(queue(viommu, spoil).map(drop), Err(errno));
    };
    for nothing in [0, 9999, ioas] {
        refused_with(Errno::NOENT, nothing, |_| ());
        let answer = nested::vdevice_alloc(fd, nothing, nothing, NUMBER);
        assert_eq!(answer, Err(Errno::NOENT));
    }
    // What no kernel has is refused before anything is looked for.
    refused_with(Errno::OPNOTSUPP, 0, |arg| arg.flags = 1);
    refused_with(Errno::OPNOTSUPP, 0, |arg| arg.__reserved = 1);
    refused_with(Errno::OPNOTSUPP, 0, |arg| arg.type_ = 0);
    refused_with(Errno::INVAL, 0, |arg| arg.veventq_depth = 0);
    refused_with(Errno::INVAL, 0, |arg| arg.veventq_depth = MOST + 1);
    refused_with(Errno::INVAL, 0, |arg| arg.veventq_depth = u32::MAX);
    assert_eq!(trigger_vevent(fd, 0), Err(Errno::NOENT));
    let Some(guest) = &fixture.guest else {
        return;
    };

    // The deepest that there is. Of a type that no driver has: the kernel takes any, and there will be no event.
    let (deep, file) = queue(guest.id(), |arg| {
        arg.veventq_depth = MOST;
        arg.type_ = u32::MAX;
    })
    .unwrap();
    assert_eq!(raw::destroy(fd, deep), Err(Errno::BUSY), "its file is open");
    assert_eq!(
        raw::destroy(fd, guest.id()),
        Err(Errno::BUSY),
        "it has a queue"
    );
    drop(file);
    raw::destroy(fd, deep).unwrap();

    let mut events = VEventQueue::<MockEvent>::new(&guest.viommu, 2).unwrap();
    refused_with(Errno::EXIST, guest.id(), |_| ());
    refused(
        VEventQueue::<MockEvent>::new(&guest.viommu, 2),
        Errno::EXIST,
    );
    let device = &guest.device;
    let trigger = || trigger_vevent(fd, device.id());
    assert_eq!(trigger(), Err(Errno::NOENT), "nobody knows the device");

    // One virtual device for a device, and one device for a number.
    let vdevice = |viommu, dev, number| nested::vdevice_alloc(fd, viommu, dev, number);
    assert_eq!(vdevice(guest.id(), 0, NUMBER), Err(Errno::NOENT));
    assert_eq!(vdevice(guest.id(), ioas, NUMBER), Err(Errno::NOENT));
    assert_eq!(vdevice(ioas, device.id(), NUMBER), Err(Errno::NOENT));
    let known = guest.vdevice(NUMBER);
    assert_eq!(vdevice(guest.id(), device.id(), NUMBER), Err(Errno::EXIST));
    assert_eq!(vdevice(guest.id(), device.id(), 1), Err(Errno::EXIST));
    let second = VDevice::new(&guest.viommu, device, VirtualNumber(1));
    assert!(matches!(second, Err(Error::HasVDevice)), "{second:?}");
    let other = MockDevice::new(fd).unwrap();
    assert_eq!(vdevice(guest.id(), other.id(), NUMBER), Err(Errno::EXIST));
    let number = VirtualNumber(NUMBER);
    refused(VDevice::new(&guest.viommu, &other, number), Errno::EXIST);
    assert_eq!(
        trigger(),
        Err(Errno::NOENT),
        "it goes through no table of the guest's"
    );

    let table = guest.table();
    let Fixture { guest, .. } = fixture;
    let mut guest = guest.unwrap();
    guest.attachment.replace(known.through(&table, ())).unwrap();
    let device = &guest.device;
    let trigger = || trigger_vevent(fd, device.id()).unwrap();
    reads_what_fits(&events, trigger);

    // Of more events than there is room for the number is told.
    let event = VEvent::Event(MockEvent { virt_id: 0x99 });
    (0..5).for_each(|_| trigger());
    let all = events.read().unwrap();
    let (missing, rest) = all.split_first().unwrap();
    assert_eq!(*missing, VEvent::Lost(11), "which were read past the SDK");
    assert_eq!(rest, [event, event, VEvent::Lost(3)]);
    trigger();
    assert_eq!(events.read().unwrap(), [event]);
    drop(guest.attachment);
    assert_eq!(trigger_vevent(fd, device.id()), Err(Errno::NOENT));

    // With the queue in the way the virtual IOMMU stays; without it it goes.
    drop((known, table));
    let refusal = guest.viommu.try_destroy().unwrap_err();
    assert!(matches!(refusal.error(), Error::InUse { .. }));
    events.try_close().unwrap().try_destroy().unwrap();
    refusal.into_value().try_destroy().unwrap();
}

/// What the queue's file answers to reads of any length, and to what is no read. It leaves the queue empty.
fn reads_what_fits(events: &VEventQueue<MockEvent>, trigger: impl Fn()) {
    let file = events.as_fd();
    let mut buffer = [0xff; 64];
    let mut read = |len: usize| {
        buffer.fill(0xff);
        let read = read(file, &mut buffer[..len]);
        read.map(|len| buffer[..len].to_vec())
    };
    // The SDK has read nothing, so numbers begin here.
    let entry = |flags: u32, number: u32, payload: &[u32]| -> Vec<u8> {
        let words = [flags, number].into_iter().chain(payload.iter().copied());
        words.flat_map(u32::to_le_bytes).collect()
    };
    let virt_id = [0x99];
    for short in 0..HEADER {
        assert_eq!(read(short), Err(Errno::INVAL), "{short}");
    }
    for len in HEADER..24 {
        assert_eq!(read(len), Ok(vec![]), "there is nothing, and nobody waits");
    }
    trigger();
    for short in 0..WHOLE {
        assert_eq!(read(short), Err(Errno::INVAL), "{short}");
    }
    assert_eq!(read(WHOLE), Ok(entry(0, 0, &virt_id)));
    assert_eq!(read(WHOLE), Ok(vec![]));

    // Only whole events.
    trigger();
    trigger();
    assert_eq!(read(2 * WHOLE - 1), Ok(entry(0, 1, &virt_id)));
    assert_eq!(read(64), Ok(entry(0, 2, &virt_id)));

    // That some were lost has no event with it, the number of the last one, and comes last.
    (0..4).for_each(|_| trigger());
    assert_eq!(read(WHOLE), Ok(entry(0, 3, &virt_id)));
    assert_eq!(read(WHOLE + HEADER - 1), Ok(entry(0, 4, &virt_id)));
    assert_eq!(read(HEADER), Ok(entry(1, 6, &[])));
    // An event that comes after them tells it by its number.
    (0..3).for_each(|_| trigger());
    assert_eq!(read(WHOLE), Ok(entry(0, 7, &virt_id)));
    trigger();
    let rest = [entry(0, 8, &virt_id), entry(0, 10, &virt_id)].concat();
    assert_eq!(read(64), Ok(rest));

    assert_eq!(write(file, &[0; WHOLE]), Err(Errno::INVAL));
    assert_eq!(rustix::io::pread(file, &mut [0; 64], 0), Err(Errno::SPIPE));
    assert_eq!(read(64), Ok(vec![]));
}
