//! Whatever order things are dropped in, the kernel sees children go before their parents.

use std::sync::Arc;

use iommufd::{Access, HwPt, Ioas, Iommufd};
use tests::at::{PAGE, mapped, page};
use tests::memory::Living;
use tests::mock::MockDevice;
use tests::observe::Recorder;
use tests::orders::{Droppable, drop_in, orders};
use tests::page_requests::Setup;
use tests::within::within;
use tests::{ids, raw};

/// One thing to be dropped, whatever it is.
#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn the_graph_can_be_dropped_in_every_order() {
    let mut count = 0;
    orders::<7>(|order| {
        count += 1;
        let (iommufd, recorder) = Recorder::context();
        // Stays, to ask the kernel what is left.
        let witness = raw::witness(&iommufd);
        let living = Living::new();
        let device = MockDevice::new(&iommufd).unwrap();
        let ioas = Ioas::new(&iommufd).unwrap();
        let hwpt = HwPt::new(&ioas, &device).unwrap();
        let attachment = device.attach(&hwpt).unwrap();
        let memory = living.memory(PAGE);
        let mapping = ioas.map_at(page(0), &memory, Access::ReadWrite).unwrap();
        let graph: [Droppable; 7] = [
            Some(Box::new(iommufd)),
            Some(Box::new(ioas)),
            Some(Box::new(hwpt)),
            Some(Box::new(device.into_device())),
            Some(Box::new(attachment)),
            Some(Box::new(mapping)),
            Some(Box::new(memory)),
        ];
        drop_in(order, graph, &recorder);
        assert_eq!(living.count(), 0, "{order:?}");
        assert_eq!(Arc::strong_count(&recorder), 1, "the context is gone");
        assert_eq!(raw::objects(&witness), 0, "{order:?}");
    });
    assert_eq!(count, 5040);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_fault_queue_can_be_dropped_in_every_order_with_all_that_holds_it() {
    let mut count = 0;
    orders::<7>(|order| {
        count += 1;
        let (iommufd, recorder) = Recorder::context();
        // Stays, to ask the kernel what is left.
        let witness = raw::witness(&iommufd);
        let setup = Setup::of(iommufd.clone());
        let group = setup.asked();
        let graph: [Droppable; 7] = [
            Some(Box::new((iommufd, setup.iommufd))),
            Some(Box::new(setup.device.into_device())),
            Some(Box::new(setup.ioas)),
            Some(Box::new(setup.queue)),
            Some(Box::new(setup.hwpt)),
            Some(Box::new(setup.attachment)),
            Some(Box::new(group)),
        ];
        drop_in(order, graph, &recorder);
        assert_eq!(Arc::strong_count(&recorder), 1, "the context is gone");
        assert_eq!(raw::objects(&witness), 0, "{order:?}");
    });
    assert_eq!(count, 5040);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_tracked_table_can_be_dropped_in_every_order() {
    orders::<6>(|order| {
        let (iommufd, recorder) = Recorder::context();
        let witness = raw::witness(&iommufd);
        let living = Living::new();
        let device = MockDevice::new(&iommufd).unwrap();
        let ioas = Ioas::new(&iommufd).unwrap();
        let hwpt = tests::dirty::trackable(&ioas, &device).unwrap();
        let mapping = ioas
            .map_at(page(0), living.memory(PAGE), Access::ReadWrite)
            .unwrap();
        let tracking = hwpt.track_dirty().unwrap();
        let graph: [Droppable; 6] = [
            Some(Box::new(iommufd)),
            Some(Box::new(ioas)),
            Some(Box::new(hwpt)),
            Some(Box::new(device.into_device())),
            Some(Box::new(mapping)),
            Some(Box::new(tracking)),
        ];
        drop_in(order, graph, &recorder);
        let stops = recorder.calls().into_iter();
        let stops = stops.filter(|name| *name == "IOMMU_HWPT_SET_DIRTY_TRACKING");
        assert_eq!(stops.count(), 1, "{order:?}");
        assert_eq!(living.count(), 0, "{order:?}");
        assert_eq!(raw::objects(&witness), 0, "{order:?}");
    });
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn handles_can_be_dropped_by_many_threads_at_once() {
    within(120, || {
        for _ in 0..300 {
            let (iommufd, recorder) = Recorder::context();
            let witness = raw::witness(&iommufd);
            let living = Living::new();
            let device = MockDevice::new(&iommufd).unwrap();
            let ioas = Ioas::new(&iommufd).unwrap();
            let hwpt = HwPt::new(&ioas, &device).unwrap();
            let attachment = device.attach(&hwpt).unwrap();
            let mappings: Vec<_> = (0..4)
                .map(|n| {
                    ioas.map_at(page(n), living.memory(PAGE), Access::Read)
                        .unwrap()
                })
                .collect();
            recorder.clear();
            std::thread::scope(|scope| {
                scope.spawn(move || drop(iommufd));
                scope.spawn(move || drop(ioas));
                scope.spawn(move || drop(hwpt));
                scope.spawn(move || drop(device));
                scope.spawn(move || drop(attachment));
                for mapping in mappings {
                    scope.spawn(move || drop(mapping));
                }
            });
            assert!(recorder.answers().iter().all(|(_, answer)| answer.is_ok()));
            assert_eq!(living.count(), 0);
            assert_eq!(raw::objects(&witness), 0);
        }
    });
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn ids_are_handed_out_again_and_nobody_is_taken_for_another() {
    let iommufd = Iommufd::open().unwrap();
    let first = Ioas::new(&iommufd).unwrap();
    let second = Ioas::new(&iommufd).unwrap();
    let id = ids::of(&first);
    first.try_destroy().unwrap();
    let third = Ioas::new(&iommufd).unwrap();
    assert_eq!(ids::of(&third), id, "the lowest that is free");
    let living = Living::new();
    let mapping = third.map(living.memory(PAGE), Access::Read).unwrap();
    drop(second);
    assert_eq!(third.mapped(), mapped(1, PAGE as u64));
    mapping.unmap().unwrap();
}
