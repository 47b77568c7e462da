//! How PASIDs end: in any order, when the kernel refuses, in another process.

use std::sync::Arc;

use iommufd::{Access, Error, HwPt, Ioas, Leaks};
use rustix::io::Errno;
use tests::at::{PAGE, page};
use tests::fork::in_child;
use tests::memory::Living;
use tests::mock::{MockDevice, check_pins};
use tests::observe::Recorder;
use tests::orders::{Droppable, drop_in, orders};
use tests::pasids::{pasid, table};
use tests::{ids, raw};

use super::Rig;

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_device_its_tables_and_its_pasids_can_be_dropped_in_every_order() {
    orders::<6>(|order| {
        let rig = Rig::new();
        let witness = raw::witness(&rig.iommufd);
        let (own, of_pasids) = (rig.table(), rig.table());
        let attachment = rig.device.attach(&own).unwrap();
        let first = rig.device.attach_pasid(pasid(1), &of_pasids).unwrap();
        let second = rig.device.attach_pasid(pasid(2), &own).unwrap();
        let Rig {
            device,
            ioas,
            iommufd,
            recorder,
        } = rig;
        drop((ioas, iommufd));
        let graph: [Droppable; 6] = [
            Some(Box::new(device.into_device())),
            Some(Box::new(own)),
            Some(Box::new(of_pasids)),
            Some(Box::new(attachment)),
            Some(Box::new(first)),
            Some(Box::new(second)),
        ];
        drop_in(order, graph, &recorder);
        assert_eq!(Arc::strong_count(&recorder), 1, "the context is gone");
        assert_eq!(raw::objects(&witness), 0, "{order:?}");
    });
}

/// The device's release is what detaches them, and only then their tables can go: all of them.
#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn what_the_kernel_would_not_detach_goes_with_the_device_and_nothing_is_left() {
    let rig = Rig::new();
    let witness = raw::witness(&rig.iommufd);
    let living = Living::new();
    // To each a table, over an address space with memory in it.
    let mut places = Vec::new();
    for n in 0..4 {
        let ioas = Ioas::new(&rig.iommufd).unwrap();
        let memory = living.memory(PAGE);
        let mapping = ioas.map_at(page(n), &memory, Access::ReadWrite).unwrap();
        let table = table(&ioas, &rig.device);
        places.push((table, mapping, memory));
    }
    let attachment = rig.device.attach(&places[0].0).unwrap();
    let of_pasids: Vec<_> = (1..4)
        .map(|n| {
            let table = &places[n as usize].0;
            rig.device.attach_pasid(pasid(n), table).unwrap()
        })
        .collect();
    rig.device.refuse_detach(true);
    let mut of_pasids = of_pasids.into_iter();
    let refused = of_pasids.next().unwrap().detach().unwrap_err();
    assert_eq!(refused.error().errno(), Some(Errno::BUSY));
    let first = refused.into_value();
    assert!(first.target().is_some(), "it is as it was");
    drop((first, attachment));
    for attachment in of_pasids {
        drop(attachment);
    }
    assert_eq!(rig.iommufd.leaks().objects, 4);
    let refusals = rig.recorder.refusals();
    assert_eq!(refusals, [("attachment", Some(Errno::BUSY)); 4]);

    // What is attached still has its table, its address space and its memory.
    rig.recorder.clear();
    let mut memories = Vec::new();
    for (number, (table, mapping, memory)) in (0..).zip(places) {
        if number > 0 {
            rig.device
                .check_pasid(pasid(number), ids::of(&table))
                .unwrap();
        }
        tests::memory::forget(mapping);
        memories.push(memory);
    }
    assert_eq!(rig.recorder.count(), 0);
    for memory in &memories {
        check_pins(&rig.iommufd, memory_bytes(memory), 1).unwrap();
    }
    let Rig {
        device,
        ioas,
        iommufd,
        recorder,
    } = rig;
    drop(ioas);
    recorder.clear();
    drop(device);
    for (name, answer) in recorder.answers() {
        assert_eq!(answer, Ok(()), "{name}");
    }
    assert_eq!(recorder.refusals(), []);
    for memory in &memories {
        check_pins(&iommufd, memory_bytes(memory), 0).unwrap();
    }
    assert_eq!(iommufd.leaks().memories, 0);
    // A forgotten mapping keeps its address space, and so its memory.
    assert_eq!(raw::objects(&witness), 4);
}

fn memory_bytes(memory: &tests::memory::Memory) -> std::ptr::NonNull<[u8]> {
    iommufd::DmaMemory::bytes(memory)
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_pasid_that_was_left_attached_is_detached_when_it_is_attached_again() {
    let rig = Rig::new();
    let (first, second) = (rig.table(), rig.table());
    rig.device.refuse_detach(true);
    drop(rig.device.attach_pasid(pasid(1), &first).unwrap());
    let refused = rig.device.attach_pasid(pasid(1), &second).unwrap_err();
    assert_eq!(refused.errno(), Some(Errno::BUSY), "still: {refused}");
    rig.device.check_pasid(pasid(1), ids::of(&first)).unwrap();
    // Until then it is like any other that is attached: what is not for PASIDs is refused beside it.
    let unfit = HwPt::new(&rig.ioas, &rig.device).unwrap();
    let refused = rig.device.attach(&unfit).unwrap_err();
    assert!(matches!(refused, Error::NotForPasids { .. }), "{refused}");
    let first = first.try_destroy().unwrap_err().into_value();
    rig.device.refuse_detach(false);
    let of_pasid = rig.device.attach_pasid(pasid(1), &second).unwrap();
    rig.device.check_pasid(pasid(1), ids::of(&second)).unwrap();
    first.try_destroy().expect("nothing holds it any more");
    of_pasid.detach().unwrap();
    assert_eq!(rig.iommufd.leaks().objects, 1, "as was said");
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_device_that_was_left_attached_is_detached_when_it_is_attached_again() {
    let rig = Rig::new();
    let (first, second) = (rig.table(), rig.table());
    rig.device.refuse_detach(true);
    drop(rig.device.attach(&first).unwrap());
    let refused = rig.device.attach(&first).unwrap_err();
    assert_eq!(refused.errno(), Some(Errno::BUSY), "still: {refused}");
    rig.device.refuse_detach(false);
    let attachment = rig.device.attach(&second).unwrap();
    assert_eq!(rig.device.page_table(), ids::of(&second));
    first.try_destroy().expect("nothing holds it any more");
    attachment.detach().unwrap();
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_child_of_a_fork_neither_attaches_nor_moves_nor_detaches() {
    let rig = Rig::new();
    let device = &rig.device;
    let (here, there) = (rig.table(), rig.table());
    let mut of_pasid = Some(device.attach_pasid(pasid(1), &here).unwrap());
    rig.recorder.clear();
    in_child(|| {
        let refused = device.attach_pasid(pasid(2), &here).unwrap_err();
        assert!(matches!(refused, Error::Forked));
        let mut of_pasid = of_pasid.take().unwrap();
        assert!(of_pasid.target().is_none());
        let refused = of_pasid.replace(&there).unwrap_err();
        assert!(matches!(refused, Error::Forked));
        let refused = of_pasid.detach().unwrap_err();
        assert!(matches!(refused.error(), Error::Forked));
        drop(refused.into_value());
        assert_eq!(rig.recorder.count(), 0);
        assert_eq!(rig.recorder.refusals(), []);
        assert_eq!(rig.iommufd.leaks(), Leaks::default());
    });
    device.check_pasid(pasid(1), ids::of(&here)).unwrap();
    let mut of_pasid = of_pasid.unwrap();
    of_pasid.replace(&there).unwrap();
    of_pasid.detach().unwrap();
    assert_eq!(rig.iommufd.leaks(), Leaks::default());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_table_of_another_context_is_refused_before_the_kernel_is_asked() {
    let (rig, other) = (Rig::new(), Rig::new());
    let table = rig.table();
    let foreign = other.table();
    let mut of_pasid = rig.device.attach_pasid(pasid(1), &table).unwrap();
    for recorder in [&rig.recorder, &other.recorder] {
        recorder.clear();
    }
    let refused = rig.device.attach_pasid(pasid(2), &foreign).unwrap_err();
    assert!(matches!(refused, Error::ForeignContext { .. }), "{refused}");
    let refused = of_pasid.replace(&foreign).unwrap_err();
    assert!(matches!(refused, Error::ForeignContext { .. }));
    assert_eq!(rig.recorder.count() + other.recorder.count(), 0);
    rig.device.check_pasid(pasid(1), ids::of(&table)).unwrap();
    of_pasid.detach().unwrap();
}

/// To find out more of a refusal, the SDK asks the kernel something else, and whoever observes that may use the SDK.
#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn an_observer_of_a_failed_attach_finds_no_lock_held() {
    tests::within::within(120, || {
        let (iommufd, recorder) = Recorder::context();
        let device = MockDevice::new(&iommufd).unwrap();
        let observed = device.clone();
        recorder.hook(move |_| {
            std::hint::black_box(observed.is_attached());
        });
        let ioas = Ioas::new(&iommufd).unwrap();
        let living = Living::new();
        let memory = living.memory(PAGE);
        let _mapping = ioas.map_at(page(0), &memory, Access::Read).unwrap();
        let mut out_of_memory = 0;
        tests::faults::sweep(tests::faults::Points::Everywhere, |nth| {
            recorder.clear();
            let result = nth.armed(|| device.attach(&ioas));
            if matches!(result, Err(Error::LockedMemory { .. })) {
                let asked = recorder.calls();
                assert_eq!(asked, ["IOMMU_TEST_CMD", "IOMMU_OPTION"], "in their order");
                out_of_memory += 1;
            }
        });
        assert!(out_of_memory > 0);
        recorder.unhook();
    });
}
