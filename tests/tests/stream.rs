//! Queues as streams, in a tokio runtime on the lab's kernel.

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use iommufd::{
    Error, EventStream, FaultQueue, Leaks, NestedHwPt, PageResponse, VDevice, VEvent, Viommu,
};
use tests::at::page;
use tests::fork::in_child;
use tests::guest::{Guest, NUMBER};
use tests::mock::nesting::{CONFIG, MockEvent, MockViommu, VirtualNumber};
use tests::mock::{MockDevice, trigger_vevent};
use tests::page_requests::{Setup, answer_the_first, ask};
use tests::raw;
use tests::within::in_runtime;
use tokio::runtime::Builder;

const SHORT: Duration = Duration::from_millis(30);
const LONG: Duration = Duration::from_secs(10);

async fn is_pending(stream: &mut EventStream<FaultQueue>) -> bool {
    tokio::time::timeout(SHORT, stream.next()).await.is_err()
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn page_requests_come_as_a_stream() {
    const COUNT: u32 = 200;
    in_runtime(|| async {
        let setup = Setup::new();
        let mut stream = setup.queue.stream().unwrap();
        assert!(is_pending(&mut stream).await);
        // Before anybody waits, more than one read gives, and while somebody does.
        for number in 0..COUNT {
            ask(&setup.device, number, page(0));
        }
        for number in 0..COUNT {
            let group = stream.next().await.unwrap().unwrap();
            assert_eq!(group.requests()[0].group().get(), number);
            group.respond(PageResponse::Success).unwrap();
        }
        assert!(is_pending(&mut stream).await);
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(SHORT);
                ask(&setup.device, COUNT, page(0));
            });
        });
        let group = stream.next().await.unwrap().unwrap();
        assert_eq!(group.device().as_ref(), Some(&*setup.device));
    });
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_request_wakes_the_task_that_waits_for_it() {
    const COUNT: u32 = 500;
    in_runtime(|| async {
        let setup = Setup::new();
        let mut stream = setup.queue.stream().unwrap();
        let device: MockDevice = setup.device.clone();
        let asking = thread::spawn(move || {
            for number in 0..COUNT {
                ask(&device, number, page(0));
                if number % 8 == 0 {
                    thread::sleep(Duration::from_micros(200));
                }
            }
        });
        for number in 0..COUNT {
            let group = stream.next().await.unwrap().unwrap();
            assert_eq!(group.requests()[0].group().get(), number);
            group.respond(PageResponse::Success).unwrap();
        }
        asking.join().unwrap();
    });
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_stream_holds_its_queue_and_lets_go_of_its_file_first() {
    in_runtime(|| async {
        let setup = Setup::new();
        let mut streams = [(); 2].map(|()| setup.queue.stream().unwrap());
        let refused = setup.queue.try_close().unwrap_err();
        assert!(matches!(refused.error(), Error::InUse { holders: 3, .. }));
        drop(refused);
        for number in 0..2 {
            ask(&setup.device, number, page(0));
        }
        // The first has read both, and answers the second, which nobody has taken, when it is dropped.
        let group = streams[0].next().await.unwrap().unwrap();
        let file = setup.hwpt.fault_queue().unwrap().clone();
        let [first, second] = streams;
        drop(first);
        group.respond(PageResponse::Success).unwrap();
        assert!(answer_the_first(&file).is_err());
        drop(file);
        drop((setup.attachment, setup.hwpt, setup.device, setup.ioas));
        let witness = raw::witness(&setup.iommufd);
        // It is the last handle.
        drop(second);
        assert_eq!(setup.iommufd.leaks(), Leaks::default());
        drop(setup.iommufd);
        assert_eq!(raw::objects(&witness), 0);
    });
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn in_a_child_of_a_fork_a_stream_ends() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let setup = Setup::new();
    let mut streams = runtime
        .block_on(async { [setup.queue.stream(), setup.queue.stream()] })
        .map(Result::unwrap)
        .map(Some);
    ask(&setup.device, 1, page(0));
    let stream = streams[0].as_mut().unwrap();
    let first = runtime.block_on(stream.next()).unwrap().unwrap();
    ask(&setup.device, 2, page(0));
    in_child(|| {
        let [mut stream, other] = [0, 1].map(|which| streams[which].take().unwrap());
        // The runtime is the parent's, and shares its epoll with it: it is not run here.
        let mut next = || {
            let mut next = pin!(stream.next());
            next.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        };
        assert!(matches!(next(), Poll::Ready(Some(Err(Error::Forked)))));
        assert!(matches!(next(), Poll::Ready(None)));
        let refused = setup.queue.stream().map(drop);
        assert!(matches!(refused, Err(Error::Forked)));
        drop((stream, other));
    });
    first.respond(PageResponse::Success).unwrap();
    // The first stream was told of this one before the fork. Of what comes now, the runtime must be told.
    for number in 2..8 {
        let stream = streams[number as usize % 2].as_mut().unwrap();
        let next = async { tokio::time::timeout(LONG, stream.next()).await };
        let group = runtime.block_on(next).expect("nobody was woken");
        let group = group.unwrap().unwrap();
        assert_eq!(group.requests()[0].group().get(), number);
        assert!(runtime.block_on(is_pending(stream)));
        ask(&setup.device, number + 1, page(0));
    }
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn events_of_a_virtual_iommu_come_as_a_stream() {
    in_runtime(|| async {
        let Guest {
            viommu,
            parent,
            device,
            iommufd,
            ..
        } = Guest::new();
        drop(viommu);
        let made = Viommu::<MockViommu>::with_events::<MockEvent>(&parent, &device, 4);
        let (viommu, queue) = made.unwrap();
        let vdevice = VDevice::new(&viommu, &device, VirtualNumber(NUMBER.into())).unwrap();
        let table = NestedHwPt::new(&viommu, &device, &CONFIG).unwrap();
        let _attachment = device.attach(vdevice.through(&table, ())).unwrap();
        let event = VEvent::Event(MockEvent { virt_id: NUMBER });

        let mut stream = queue.into_stream().unwrap();
        for _ in 0..6 {
            trigger_vevent(&iommufd, device.id()).unwrap();
        }
        for expected in [event, event, event, event, VEvent::Lost(2)] {
            assert_eq!(stream.next().await.unwrap().unwrap(), expected);
        }
        let next = tokio::time::timeout(SHORT, stream.next());
        assert!(next.await.is_err());
        let (fd, id) = (iommufd.clone(), device.id());
        let telling = thread::spawn(move || {
            thread::sleep(SHORT);
            for _ in 0..2 {
                trigger_vevent(&fd, id).unwrap();
            }
        });
        assert_eq!(stream.next().await.unwrap().unwrap(), event);
        telling.join().unwrap();
        // The other one was read with the first, or is still in the kernel.
        let (mut queue, mut rest) = stream.into_parts();
        queue.read_into(&mut rest).unwrap();
        assert_eq!(rest, [event]);
        queue.try_close().unwrap().try_destroy().unwrap();
    });
}
