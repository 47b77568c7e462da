//! Whatever order the objects of nested translation are dropped in, the kernel sees children go before their parents.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::os::fd::OwnedFd;
use std::sync::Arc;

use iommufd::{
    Access, Attachment, FaultQueue, HwQueue, Ioas, Iommufd, Mapping, NestParent, NestedHwPt,
    VDevice, VEventQueue, Viommu, ViommuPage,
};
use tests::at::{PAGE, page, pages};
use tests::memory::Living;
use tests::mock::MockDevice;
use tests::mock::nesting::{
    CONFIG, Loopback, MockEvent, MockViommuWithPage, OnParent, OnViommu, VirtualNumber,
};
use tests::observe::Recorder;
use tests::orders::{Droppable, drop_in, orders, some_orders};
use tests::raw;
use tests::within::within;

type Kind = MockViommuWithPage;

/// All there can be of a guest.
struct Graph {
    iommufd: Iommufd,
    device: MockDevice,
    ioas: Ioas,
    parent: NestParent,
    viommu: Viommu<Kind>,
    table: NestedHwPt<OnViommu>,
    on_parent: NestedHwPt<OnParent>,
    vdevice: VDevice<Kind>,
    attachment: Attachment,
    events: VEventQueue<MockEvent>,
    queues: [HwQueue<Kind>; 2],
    page: ViommuPage,
    requests: FaultQueue,
    /// What the hardware queues lie in: unmapped before them, it would have to stay.
    mapping: Mapping,
}

impl Graph {
    fn new(iommufd: Iommufd, living: &Living) -> Self {
        let device = MockDevice::new(&iommufd).unwrap();
        let ioas = Ioas::new(&iommufd).unwrap();
        let mapping = ioas.map_at(page(0), living.memory(2 * PAGE), Access::ReadWrite);
        let parent = NestParent::new(&ioas, &device).unwrap();
        let viommu = Viommu::<Kind>::with_data(&parent, &device, Loopback::default()).unwrap();
        let requests = FaultQueue::new(&iommufd).unwrap();
        let table = NestedHwPt::builder(&viommu, &device, &CONFIG).fault_queue(&requests);
        let table = table.allocate().unwrap();
        let vdevice = VDevice::new(&viommu, &device, VirtualNumber(1)).unwrap();
        let attachment = device.attach(vdevice.through(&table, ())).unwrap();
        let first = HwQueue::first(&viommu, pages(0, 1)).unwrap();
        let second = HwQueue::after(&first, pages(1, 1)).unwrap();
        Self {
            on_parent: NestedHwPt::new(&parent, &device, &CONFIG).unwrap(),
            events: VEventQueue::new(&viommu, 1).unwrap(),
            page: viommu.map_page().unwrap(),
            queues: [first, second],
            mapping: mapping.unwrap(),
            iommufd,
            device,
            ioas,
            parent,
            viommu,
            table,
            vdevice,
            attachment,
            requests,
        }
    }
}

fn any(value: impl Send + 'static) -> Droppable {
    Some(Box::new(value))
}

/// A context, and what is left of it when its handles are gone.
struct Watched {
    recorder: Arc<Recorder>,
    witness: OwnedFd,
}

impl Watched {
    fn context() -> (Iommufd, Self) {
        let (iommufd, recorder) = Recorder::context();
        let witness = raw::witness(&iommufd);
        (iommufd, Self { recorder, witness })
    }

    fn is_empty_after(&self, order: &[usize]) {
        for (name, answer) in self.recorder.answers() {
            assert_eq!(answer, Ok(()), "{name} in the order {order:?}");
        }
        assert_eq!(self.recorder.refusals(), [], "{order:?}");
        assert_eq!(Arc::strong_count(&self.recorder), 1, "the context is gone");
        assert_eq!(raw::objects(&self.witness), 0, "{order:?}");
    }
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn what_a_device_is_attached_by_can_be_dropped_in_every_order() {
    let mut count = 0;
    orders::<7>(|order| {
        count += 1;
        let (iommufd, watched) = Watched::context();
        let device = MockDevice::new(&iommufd).unwrap();
        let ioas = Ioas::new(&iommufd).unwrap();
        let parent = NestParent::new(&ioas, &device).unwrap();
        let viommu = Viommu::<Kind>::with_data(&parent, &device, Loopback::default()).unwrap();
        let table = NestedHwPt::new(&viommu, &device, &CONFIG).unwrap();
        let vdevice = VDevice::new(&viommu, &device, VirtualNumber(1)).unwrap();
        let attachment = device.attach(vdevice.through(&table, ())).unwrap();
        drop(iommufd);
        let graph: [Droppable; 7] = [
            any(ioas),
            any(parent),
            any(viommu),
            any(table),
            any(vdevice),
            any(device),
            any(attachment),
        ];
        drop_in(order, graph, &watched.recorder);
        watched.is_empty_after(order);
    });
    assert_eq!(count, 5040);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn the_whole_graph_can_be_dropped_in_many_orders() {
    some_orders::<15>(1000, |order| {
        let (iommufd, watched) = Watched::context();
        let living = Living::new();
        let graph = Graph::new(iommufd, &living);
        let [first, second] = graph.queues;
        let all: [Droppable; 15] = [
            any(graph.iommufd),
            any(graph.device),
            any(graph.ioas),
            any(graph.parent),
            any(graph.viommu),
            any(graph.table),
            any(graph.on_parent),
            any(graph.vdevice),
            any(graph.attachment),
            any(graph.events),
            any(first),
            any(second),
            any(graph.page),
            any(graph.requests),
            any(watched.witness.try_clone().unwrap()),
        ];
        drop_in(order, all, &watched.recorder);
        drop(graph.mapping);
        watched.is_empty_after(order);
        assert_eq!(living.count(), 0, "{order:?}");
    });
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn many_threads_can_drop_the_graph_at_once() {
    within(120, || {
        for _ in 0..100 {
            let (iommufd, watched) = Watched::context();
            let living = Living::new();
            let graph = Graph::new(iommufd, &living);
            let [first, second] = graph.queues;
            watched.recorder.clear();
            std::thread::scope(|scope| {
                scope.spawn(|| drop((graph.iommufd, graph.viommu)));
                scope.spawn(|| drop((graph.device, graph.page)));
                scope.spawn(|| drop((graph.ioas, second)));
                scope.spawn(|| drop((graph.parent, graph.events)));
                scope.spawn(|| drop((graph.table, graph.requests)));
                scope.spawn(|| drop((graph.vdevice, graph.on_parent)));
                scope.spawn(|| drop((first, graph.attachment)));
            });
            drop(graph.mapping);
            watched.is_empty_after(&[]);
            assert_eq!(living.count(), 0);
        }
    });
}
