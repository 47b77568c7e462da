//! Interrupts and signals as streams, in a tokio runtime.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a helper of a test fails the test"
)]

use std::pin::pin;
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use tests::edu::{attached, device, igb, lone};
use tests::eventfd;
use tests::fork::in_child;
use tests::igb::Igb;
use tests::within::in_runtime;
use tokio::runtime::Builder;
use tokio::time::timeout;
use vfio::{Error, Fires, Firings, Intx, RegionIndex, SignalKind};

const SHORT: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_secs(30);

async fn next<S: Fires>(firings: &mut Firings<S>) -> u64 {
    let next = timeout(LONG, firings.next()).await;
    next.expect("nobody was woken").unwrap().unwrap()
}

async fn is_pending<S: Fires>(firings: &mut Firings<S>) -> bool {
    timeout(SHORT, firings.next()).await.is_err()
}

#[test]
#[ignore = "needs the lab's network card: cargo lab test"]
fn vectors_come_as_streams_each_by_itself() {
    in_runtime(|| async {
        let (device, attachment) = attached(igb());
        let card = Igb::new(&device);
        let interrupts = device.msix(2).unwrap();
        let mut streams =
            [0, 1].map(|vector| Firings::of(interrupts.owned(vector).unwrap()).unwrap());
        for stream in &mut streams {
            assert!(is_pending(stream).await);
            card.raise(stream.get_ref().number());
            assert_eq!(next(stream).await, 1);
        }
        for stream in &mut streams {
            assert!(is_pending(stream).await);
        }
        // What fires while nobody waits is one item.
        interrupts.trigger_all([0, 1]).unwrap();
        interrupts.trigger(1).unwrap();
        assert_eq!(next(&mut streams[1]).await, 2);
        assert_eq!(next(&mut streams[0]).await, 1);
        // Two streams of one vector: one of them hears of it.
        let mut again = Firings::of(interrupts.owned(0).unwrap()).unwrap();
        interrupts.trigger(0).unwrap();
        assert_eq!(next(&mut again).await, 1);
        drop(again);

        // A thread raises while the task waits. (What is raised before the last was handled may be one with it.)
        let (ask, asked) = mpsc::channel();
        let raising = thread::spawn(move || {
            for () in asked {
                thread::sleep(Duration::from_millis(1));
                card.raise(0);
            }
        });
        for _ in 0..100 {
            ask.send(()).unwrap();
            assert_eq!(next(&mut streams[0]).await, 1);
        }
        drop(ask);
        raising.join().unwrap();
        let refused = interrupts.disable().unwrap_err();
        assert!(matches!(
            refused.error(),
            Error::VectorsHeld { holders: 2, .. }
        ));
        let [first, second] = streams.map(Firings::into_inner);
        assert_eq!((first.number(), second.number()), (0, 1));
        drop((first, second));
        refused.into_value().disable().unwrap();
        drop(attachment);
        device.try_close().unwrap();
    });
}

#[test]
#[ignore = "needs the lab's DMA engines: cargo lab test"]
fn a_line_and_a_signal_come_as_streams() {
    in_runtime(|| async {
        let device = device(lone());
        let registers = device.map_bar(RegionIndex::BAR0).unwrap();
        registers.write(0x64, u32::MAX).unwrap();
        let mut line = Firings::of(device.intx().unwrap()).unwrap();
        let mut signal = Firings::of(device.signal(SignalKind::Error).unwrap()).unwrap();
        for _ in 0..3 {
            registers.write(0x60, 1_u32).unwrap();
            assert_eq!(next(&mut line).await, 1);
            assert!(is_pending(&mut line).await, "it is masked");
            registers.write(0x64, u32::MAX).unwrap();
            line.get_ref().unmask().unwrap();
            signal.get_ref().trigger().unwrap();
            assert_eq!(next(&mut signal).await, 1);
        }
        line.into_inner().disable().unwrap();
        signal.into_inner().disable().unwrap();
        let theirs = Intx::enable_with(&device, eventfd::new()).unwrap();
        let refused = Firings::of(theirs).unwrap_err();
        assert!(matches!(refused.error(), Error::NotWaitedForHere));
        refused.into_value().disable().unwrap();
    });
}

#[test]
#[ignore = "needs the lab's network card: cargo lab test"]
fn in_a_child_of_a_fork_a_stream_ends() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let (device, _attachment) = attached(igb());
    let interrupts = device.msix(1).unwrap();
    let mut stream =
        runtime.block_on(async { Some(Firings::of(interrupts.owned(0).unwrap()).unwrap()) });
    interrupts.trigger(0).unwrap();
    assert_eq!(runtime.block_on(next(stream.as_mut().unwrap())), 1);
    interrupts.trigger(0).unwrap();
    in_child(|| {
        let mut stream = stream.take().unwrap();
        // The runtime is the parent's, and shares its epoll with it: it is not run here.
        let mut next = || {
            let mut next = pin!(stream.next());
            next.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        };
        let forked = next();
        assert!(
            matches!(
                forked,
                Poll::Ready(Some(Err(Error::Iommufd(iommufd::Error::Forked)))) | Poll::Pending
            ),
            "{forked:?}"
        );
        let refused = Firings::of(interrupts.owned(0).unwrap())
            .map(drop)
            .unwrap_err();
        assert!(matches!(
            refused.error(),
            Error::Iommufd(iommufd::Error::Forked)
        ));
        drop((stream, refused));
    });
    let stream = stream.as_mut().unwrap();
    for _ in 0..3 {
        assert_eq!(runtime.block_on(next(stream)), 1);
        assert!(runtime.block_on(is_pending(stream)));
        interrupts.trigger(0).unwrap();
    }
}
