//! Tables of guests: nested, attached, moved, and given back.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::fmt::Debug;

use iommufd::vtd::{NestedPasidEntry, Vtd};
use iommufd::{
    Access, DmaBuffer, Error, FaultQueue, HwInfoType, HwPt, Ioas, Iommufd, Leaks, NestParent,
    NestedHwPt, PasidTarget, Target, VDevice, VEvent, VEventQueue, Viommu, amd,
};
use rustix::io::Errno;
use tests::at::page;
use tests::faults::{Points, sweep};
use tests::guest::{Guest, NUMBER};
use tests::mock::nesting::{
    CONFIG, DeviceInvalidation, MockEvent, MockViommu, OnParent, TableInvalidation, VirtualNumber,
};
use tests::mock::{MockDevice, MockOptions, abi, check_dev_cache, check_iotlb, trigger_vevent};
use tests::observe::Recorder;
use tests::{ids, raw, refused};
use vtd_types::{Capabilities, Features, HostAddressWidth, PasidEntry};

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_table_nested_on_its_parent_is_attached_and_invalidated() {
    let iommufd = Iommufd::open().unwrap();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let parent = NestParent::new(&ioas, &device).unwrap();
    let nested = NestedHwPt::<OnParent>::new(&parent, &device, &CONFIG).unwrap();
    let attachment = device.attach(&nested).unwrap();
    assert_eq!(device.page_table(), ids::of(&nested));
    nested.invalidate(&[TableInvalidation::of(1)]).unwrap();
    for (index, value) in [(0, abi::IOTLB_DEFAULT), (1, 0), (2, abi::IOTLB_DEFAULT)] {
        check_iotlb(&iommufd, ids::of(&nested), index, value).unwrap();
    }
    assert_eq!((nested.parent(), nested.ioas()), (&parent, &ioas));
    attachment.detach().unwrap();
    nested.try_destroy().unwrap();
    parent.try_destroy().unwrap();
    ioas.try_destroy().unwrap();
    assert_eq!(iommufd.leaks(), Leaks::default());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn handles_are_equal_if_they_are_of_one_object() {
    let guest = Guest::new();
    let device = &guest.device;
    let other = MockDevice::new(&guest.iommufd).unwrap();
    /// One object, another handle of it, and another object of the same kind.
    fn told_apart<T: Eq + Clone + Debug>(one: &T, other: &T) {
        assert_eq!(one, &one.clone());
        assert_ne!(one, other);
    }
    told_apart(&guest.iommufd, &Iommufd::open().unwrap());
    told_apart(&guest.ioas, &Ioas::new(&guest.iommufd).unwrap());
    told_apart(device.group(), other.group());
    let queue = || FaultQueue::new(&guest.iommufd).unwrap();
    told_apart(&queue(), &queue());
    let hwpts = [(); 2].map(|()| HwPt::new(&guest.ioas, device).unwrap());
    told_apart(&hwpts[0], &hwpts[1]);
    let parent = NestParent::new(&guest.ioas, device).unwrap();
    told_apart(&guest.parent, &parent);
    let viommu = Viommu::<MockViommu>::new(&parent, device).unwrap();
    told_apart(&guest.viommu, &viommu);
    let tables = [(); 2].map(|()| guest.table());
    told_apart(&tables[0], &tables[1]);
    let (vdevice, another) = (guest.vdevice(), guest.knows(&other, 1));
    told_apart(&vdevice, &another);

    let [one, two] = &hwpts;
    told_apart(&Target::from(one), &Target::from(two));
    told_apart(&Target::from(one), &Target::from(&guest.ioas));
    told_apart(&PasidTarget::from(one), &PasidTarget::from(&parent));
    let [one, two] = &tables;
    told_apart(&vdevice.through(one, ()), &vdevice.through(two, ()));
    assert_eq!(
        vdevice.through(one, ()),
        another.through(one, ()),
        "one table"
    );
    // What a target is made of, it is made of again.
    let target = vdevice.through(one, ());
    let attachment = device.attach(&target).unwrap();
    assert_eq!(attachment.target(), Some(target));
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_guest_behind_a_virtual_iommu() {
    let iommufd = Iommufd::open().unwrap();
    let before = raw::objects(&iommufd);
    {
        let device = MockDevice::new(&iommufd).unwrap();
        let ioas = Ioas::new(&iommufd).unwrap();
        let parent = NestParent::new(&ioas, &device).unwrap();
        let viommu = Viommu::<MockViommu>::new(&parent, &device).unwrap();
        let mut events = VEventQueue::<MockEvent>::new(&viommu, 2).unwrap();
        let nested = NestedHwPt::new(&viommu, &device, &CONFIG).unwrap();
        let vdevice = VDevice::new(&viommu, &device, VirtualNumber(0x99)).unwrap();
        let attachment = vdevice.attach(&nested, ()).unwrap();

        viommu
            .invalidate(&[DeviceInvalidation::of_all(0x99)])
            .unwrap();
        for index in 0..abi::CACHE_LEN {
            check_dev_cache(&iommufd, device.id(), index, 0).unwrap();
        }
        for _ in 0..5 {
            trigger_vevent(&iommufd, device.id()).unwrap();
        }
        assert!(events.wait(None).unwrap());
        let event = VEvent::Event(MockEvent { virt_id: 0x99 });
        assert_eq!(events.read().unwrap(), [event, event, VEvent::Lost(3)]);

        // Attached, it cannot go; dropped in any order, everything goes.
        let vdevice = vdevice.try_destroy().unwrap_err().into_value();
        drop((viommu, nested, parent, ioas, vdevice, events, device));
        drop(attachment);
    }
    assert_eq!(iommufd.leaks(), Leaks::default());
    assert_eq!(raw::objects(&iommufd), before);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn objects_of_two_contexts_are_not_mixed() {
    let (here, there) = (Guest::new(), Guest::new());
    let on_parent = |parent, device| NestedHwPt::<OnParent>::new(parent, device, &CONFIG);
    let nested = on_parent(&there.parent, &there.device).unwrap();
    let vdevice = there.vdevice();
    let through = vdevice.through(&there.table(), ());
    let attachment = here.device.attach(&here.ioas).unwrap();
    here.recorder.clear();
    there.recorder.clear();
    let foreign = |error: Error, object: &str| {
        assert!(
            matches!(error, Error::ForeignContext { what, .. } if what == object),
            "{error}"
        );
    };
    let (device, parent) = (&there.device, &here.parent);
    foreign(NestParent::new(&here.ioas, device).unwrap_err(), "device");
    foreign(on_parent(parent, device).unwrap_err(), "device");
    foreign(
        Viommu::<MockViommu>::new(parent, device).unwrap_err(),
        "device",
    );
    foreign(
        NestedHwPt::new(&here.viommu, device, &CONFIG).unwrap_err(),
        "device",
    );
    let number = VirtualNumber(1);
    foreign(
        VDevice::new(&here.viommu, device, number).unwrap_err(),
        "device",
    );
    foreign(
        VDevice::new(&there.viommu, &here.device, number).unwrap_err(),
        "device",
    );
    let requests = FaultQueue::new(&there.iommufd).unwrap();
    let nested_here = NestedHwPt::builder(&here.viommu, &here.device, &CONFIG);
    let nested_here = nested_here.fault_queue(&requests).allocate();
    foreign(nested_here.unwrap_err(), "fault queue");
    there.recorder.clear();
    let mut attachment = attachment;
    for target in [
        Target::from(&there.parent),
        Target::from(&nested),
        through.clone(),
    ] {
        foreign(attachment.replace(target.clone()).unwrap_err(), "target");
        foreign(here.device.group().replace(target).unwrap_err(), "target");
    }
    assert_eq!(here.recorder.count() + there.recorder.count(), 0);
    attachment.detach().unwrap();
    foreign(here.device.attach(through).unwrap_err(), "target");
}

/// All that a device can be attached to, in one context.
struct Places {
    guest: Guest,
    first: Target,
    second: Target,
    parent: Target,
    ioas: Target,
    hwpt: Target,
}

impl Places {
    fn new() -> Self {
        let guest = Guest::new();
        let vdevice = guest.vdevice();
        Self {
            first: vdevice.through(&guest.table(), ()),
            second: vdevice.through(&guest.table(), ()),
            parent: Target::from(&guest.parent),
            ioas: Target::from(Ioas::new(&guest.iommufd).unwrap()),
            hwpt: Target::from(HwPt::new(&guest.ioas, &guest.device).unwrap()),
            guest,
        }
    }

    /// Every place after every other.
    fn tour(&self) -> Vec<&Target> {
        let all = [
            &self.first,
            &self.second,
            &self.parent,
            &self.ioas,
            &self.hwpt,
        ];
        let pairs = all
            .iter()
            .flat_map(|from| all.iter().flat_map(move |to| [*from, *to]));
        pairs.collect()
    }
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_device_is_moved_between_tables_of_all_kinds() {
    let places = Places::new();
    let Guest {
        device, recorder, ..
    } = &places.guest;
    let mut attachment = device.attach(places.ioas.clone()).unwrap();
    for target in places.tour() {
        recorder.clear();
        attachment.replace(target.clone()).unwrap();
        assert_eq!(recorder.calls(), ["IOMMU_TEST_CMD"], "one, and atomic");
        assert_eq!(place(&attachment.target().unwrap()), place(target));
        if !matches!(target, Target::Ioas(_)) {
            assert_eq!(device.page_table(), place(target));
        }
        // By the number the device is known all the time.
        assert!(places.guest.is_known(NUMBER));
    }
    attachment.detach().unwrap();
}

/// The kernel's id of the table, or address space.
fn place(target: &Target) -> u32 {
    ids::of(target)
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_replace_that_the_kernel_refuses_leaves_everything_as_it_was() {
    let (iommufd, recorder) = Recorder::context();
    let usual = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let tracks = NestParent::builder(&ioas, &usual).dirty_tracking(true);
    let tracks = tracks.allocate().unwrap();
    // The mock attaches no table that tracks to a device that does not.
    let device = MockDevice::with(
        &iommufd,
        MockOptions {
            flags: abi::DEVICE_NO_DIRTY,
            ..MockOptions::default()
        },
    )
    .unwrap();
    let parent = NestParent::new(&ioas, &device).unwrap();
    let viommu = Viommu::<MockViommu>::new(&parent, &device).unwrap();
    let nested = NestedHwPt::new(&viommu, &device, &CONFIG).unwrap();
    let vdevice = VDevice::new(&viommu, &device, VirtualNumber(7)).unwrap();
    let mut attachment = device.attach(vdevice.through(&nested, ())).unwrap();
    let table = device.page_table();
    assert_eq!(table, ids::of(&nested));
    recorder.clear();
    let refusal = attachment.replace(&tracks).unwrap_err();
    assert_eq!(
        recorder.answers(),
        [
            ("IOMMU_TEST_CMD", Err(Errno::INVAL)),
            ("IOMMU_TEST_CMD", Ok(())),
            ("IOMMU_TEST_CMD", Ok(())),
        ],
        "and it was detached and attached again"
    );
    assert_eq!(refusal.errno(), Some(Errno::INVAL));
    assert_eq!(place(&attachment.target().unwrap()), table);
    // What was to be attached is not held, and what is attached is.
    tracks.try_destroy().unwrap();
    let vdevice = vdevice.try_destroy().unwrap_err().into_value();
    let nested = nested.try_destroy().unwrap_err().into_value();
    let seven = [DeviceInvalidation::of_all(7)];
    drop((vdevice, nested));
    viommu.invalidate(&seven).unwrap();
    attachment.replace(&parent).unwrap();
    attachment.detach().unwrap();
    viommu.invalidate(&seven).unwrap_err();
    assert_eq!(iommufd.leaks(), Leaks::default());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_replace_that_fails_anywhere_leaves_everything_as_it_was() {
    let places = Places::new();
    let device = &places.guest.device;
    let mut attachment = device.attach(places.ioas.clone()).unwrap();
    let mut failures = 0;
    for target in [
        &places.first,
        &places.second,
        &places.parent,
        &places.hwpt,
        &places.first,
        &places.ioas,
    ] {
        let old = place(&attachment.target().unwrap());
        let count = sweep(Points::Everywhere, |nth| {
            if let Err(refusal) = nth.armed(|| attachment.replace(target.clone())) {
                assert!(nth.failed(), "{refusal}");
                failures += 1;
                assert_eq!(place(&attachment.target().unwrap()), old);
            }
            assert!(places.guest.is_known(NUMBER));
        });
        assert!(count > 0);
        let now = attachment.target().unwrap();
        assert_eq!(place(&now), place(target));
    }
    assert!(failures > 0);
    drop(attachment);
    assert_eq!(device.group().attached(), 0);
    assert_eq!(places.guest.iommufd.leaks(), Leaks::default());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn what_is_in_use_is_given_back_and_the_kernel_is_not_asked() {
    let guest = Guest::new();
    let device = &guest.device;
    let nested = guest.table();
    let vdevice = guest.vdevice();
    let attachment = device.attach(vdevice.through(&nested, ())).unwrap();
    let Guest {
        viommu,
        parent,
        ioas,
        recorder,
        ..
    } = guest;
    recorder.clear();
    let in_use = |error: &Error, what: &str| {
        assert!(
            matches!(error, Error::InUse { object, .. } if *object == what),
            "{error}"
        );
    };
    let refusal = vdevice.try_destroy().unwrap_err();
    in_use(refusal.error(), "virtual device");
    let vdevice = refusal.into_value();
    let refusal = nested.try_destroy().unwrap_err();
    in_use(refusal.error(), "nested page table");
    let nested = refusal.into_value();
    let refusal = viommu.try_destroy().unwrap_err();
    in_use(refusal.error(), "virtual IOMMU");
    let viommu = refusal.into_value();
    let refusal = parent.try_destroy().unwrap_err();
    in_use(refusal.error(), "nesting parent");
    let parent = refusal.into_value();
    let refusal = ioas.try_destroy().unwrap_err();
    in_use(refusal.error(), "address space");
    let ioas = refusal.into_value();
    assert_eq!(recorder.count(), 0);

    attachment.detach().unwrap();
    nested.try_destroy().unwrap();
    vdevice.try_destroy().unwrap();
    viommu.try_destroy().unwrap();
    parent.try_destroy().unwrap();
    ioas.try_destroy().unwrap();
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn what_the_kernel_keeps_is_given_back_as_it_was() {
    let guest = Guest::new();
    let Guest {
        iommufd, device, ..
    } = &guest;
    let nested = NestedHwPt::<OnParent>::new(&guest.parent, device, &CONFIG).unwrap();
    let id = ids::of(&nested);
    // A stranger with the same file attaches a device of his to it.
    let stranger = tests::mock::occupy(iommufd, id).unwrap();
    let refusal = nested.try_destroy().unwrap_err();
    assert_eq!(refusal.error().errno(), Some(Errno::BUSY));
    let nested = refusal.into_value();
    nested.invalidate(&[TableInvalidation::of(0)]).unwrap();
    check_iotlb(iommufd, id, 0, 0).unwrap();
    raw::destroy(iommufd, stranger).unwrap();
    nested.try_destroy().unwrap();

    // And makes something of the virtual IOMMU.
    let viommu = Viommu::<MockViommu>::new(&guest.parent, device).unwrap();
    let stranger = raw::nested::vdevice_alloc(iommufd, ids::of(&viommu), device.id(), 5).unwrap();
    let refusal = viommu.try_destroy().unwrap_err();
    assert_eq!(refusal.error().errno(), Some(Errno::BUSY));
    let viommu = refusal.into_value();
    viommu.invalidate(&[DeviceInvalidation::of_all(5)]).unwrap();
    // The device has a virtual one that the SDK knows nothing of.
    refused(
        VDevice::new(&viommu, device, VirtualNumber(6)),
        Errno::EXIST,
    );
    raw::destroy(iommufd, stranger).unwrap();
    VDevice::new(&viommu, device, VirtualNumber(6)).unwrap();
    viommu.try_destroy().unwrap();
    assert_eq!(iommufd.leaks(), Leaks::default());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_drop_that_the_kernel_refuses_is_told_and_what_it_needs_is_kept_in_the_kernel() {
    let Guest {
        viommu,
        parent,
        ioas,
        device,
        iommufd,
        recorder,
    } = Guest::new();
    let nested = NestedHwPt::<OnParent>::new(&parent, &device, &CONFIG).unwrap();
    let (id, parent_id) = (ids::of(&nested), ids::of(&parent));
    let stranger = tests::mock::occupy(&iommufd, id).unwrap();
    viommu.try_destroy().unwrap();
    recorder.clear();
    drop(parent);
    drop(nested);
    // The parent cannot go before what is nested in it.
    let busy = Some(Errno::BUSY);
    assert_eq!(
        recorder.refusals(),
        [("nested page table", busy), ("nesting parent", busy)]
    );
    assert_eq!(iommufd.leaks().objects, 2);
    refused(ioas.try_destroy(), Errno::BUSY);
    raw::destroy(&iommufd, stranger).unwrap();
    raw::destroy(&iommufd, id).unwrap();
    raw::destroy(&iommufd, parent_id).unwrap();
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_table_can_be_for_pasids() {
    let iommufd = Iommufd::open().unwrap();
    let device = MockDevice::with(
        &iommufd,
        MockOptions {
            flags: abi::DEVICE_PASID,
            ..MockOptions::default()
        },
    )
    .unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let parent = NestParent::builder(&ioas, &device).pasid(true);
    let parent = parent.allocate().unwrap();
    let nested = NestedHwPt::<OnParent>::builder(&parent, &device, &CONFIG);
    let nested = nested.pasid(true).allocate().unwrap();
    let plain = NestedHwPt::<OnParent>::new(&parent, &device, &CONFIG).unwrap();
    let attachment = device.attach(&parent).unwrap();
    let pasid = iommufd::Pasid::new(9).unwrap();
    assert!(matches!(
        device.attach_pasid(pasid, &plain),
        Err(Error::NotForPasids { .. })
    ));
    let mut of_pasid = device.attach_pasid(pasid, &nested).unwrap();
    device.check_pasid(pasid, ids::of(&nested)).unwrap();
    of_pasid.replace(&parent).unwrap();
    device.check_pasid(pasid, ids::of(&parent)).unwrap();
    nested.try_destroy().unwrap();
    drop((of_pasid, attachment));
    assert_eq!(iommufd.leaks(), Leaks::default());
}

/// What VT-d has an erratum for, other IOMMUs take.
#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn under_a_parent_of_another_iommu_than_vt_d_memory_can_be_read_only() {
    let iommufd = Iommufd::open().unwrap();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let memory = DmaBuffer::new(4096).unwrap().share();
    let before = ioas.map_at(page(1), &memory, Access::Read).unwrap();
    let parent = NestParent::new(&ioas, &device).unwrap();
    let after = ioas.map_at(page(2), &memory, Access::Read).unwrap();
    let copy = ioas.copy_at(page(3), &after, Access::Read).unwrap();
    for mapping in [before, after, copy] {
        mapping.unmap().unwrap();
    }
    parent.try_destroy().unwrap();
    assert_eq!(iommufd.leaks(), Leaks::default());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn tables_of_vendors_are_not_made_on_another_iommu() {
    let (iommufd, recorder) = Recorder::context();
    let device = MockDevice::new(&iommufd).unwrap();
    let parent = NestParent::new(&Ioas::new(&iommufd).unwrap(), &device).unwrap();
    let objects = raw::objects(&iommufd);
    let capabilities = Capabilities::from_bits(0, 1 << 47 | 1 << 43);
    let features = Features::new(capabilities, HostAddressWidth::MAX).unwrap();
    let written = PasidEntry::from_words([0x41, 0, 0x1000, 0, 0, 0, 0, 0]);
    let entry = NestedPasidEntry::from_entry(&written, &features).unwrap();
    // The kernel is asked, and says so.
    refused(
        NestedHwPt::<Vtd>::new(&parent, &device, &entry),
        Errno::OPNOTSUPP,
    );
    recorder.clear();
    let refusal = amd::probe_nesting(&parent, &device).unwrap_err();
    assert!(
        matches!(
            refusal,
            Error::HwInfoNotOffered {
                kind: HwInfoType::AMD,
                ..
            }
        ),
        "{refusal}"
    );
    assert_eq!(recorder.count(), 0);
    assert_eq!(raw::objects(&iommufd), objects);
}
