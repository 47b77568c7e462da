//! A queue's events as they come, in a tokio runtime, which watches the queue's file.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use crate::error::{Error, Refused, Result};
use crate::fault_queue::{FaultQueue, PageRequestGroup};
use crate::format::Event;
use crate::vevent::{VEvent, VEventQueue};
use crate::watched::WatchedFile;

/// A queue whose events a stream can hand out: [`FaultQueue`] and [`VEventQueue`].
///
/// With the feature `tokio`.
pub trait EventSource: sealed::Source<Item = <Self as EventSource>::Event> {
    /// What it hands out.
    type Event;
}

mod sealed {
    use crate::error::Result;

    /// A queue whose file is readable while there are events.
    #[expect(unnameable_types, reason = "so that nobody else implements it")]
    pub trait Source: std::os::fd::AsFd {
        type Item;

        /// Reads what there is, adding to `events`; nothing if there is nothing. Does not wait.
        fn read_events(&mut self, events: &mut Vec<Self::Item>) -> Result<()>;
    }
}

impl sealed::Source for FaultQueue {
    type Item = PageRequestGroup;

    fn read_events(&mut self, events: &mut Vec<PageRequestGroup>) -> Result<()> {
        self.read_into(events).map(drop)
    }
}

impl EventSource for FaultQueue {
    type Event = PageRequestGroup;
}

impl<E: Event> sealed::Source for VEventQueue<E> {
    type Item = VEvent<E>;

    fn read_events(&mut self, events: &mut Vec<VEvent<E>>) -> Result<()> {
        self.read_into(events).map(drop)
    }
}

impl<E: Event> EventSource for VEventQueue<E> {
    type Event = VEvent<E>;
}

impl FaultQueue {
    /// The groups of page requests as they come, in the tokio runtime in which this is called.
    ///
    /// With the feature `tokio`.
    ///
    /// ```no_run
    /// # async fn example(queue: &iommufd::FaultQueue) -> iommufd::Result<()> {
    /// use iommufd::PageResponse;
    ///
    /// let mut requests = queue.stream()?;
    /// while let Some(group) = requests.next().await {
    ///     group?.respond(PageResponse::Invalid)?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `EMFILE`: too many open files; what `epoll_ctl` refuses; [`Error::Forked`].
    ///
    /// # Panics
    /// Outside of a runtime, and in one that does not watch files
    /// (`enable_io` of its builder).
    pub fn stream(&self) -> Result<EventStream<Self>> {
        self.iommufd().check_process()?;
        EventStream::new(self.clone()).map_err(Refused::into_error)
    }
}

impl<E: Event> VEventQueue<E> {
    /// What happens in the virtual IOMMU, as it happens, in the tokio runtime in which this is
    /// called.
    ///
    /// With the feature `tokio`.
    ///
    /// # Errors
    /// The queue, with: `EMFILE`: too many open files; what `epoll_ctl` refuses;
    /// [`Error::Forked`].
    ///
    /// # Panics
    /// Outside of a runtime, and in one that does not watch files
    /// (`enable_io` of its builder).
    #[expect(
        clippy::result_large_err,
        reason = "a queue is a value that comes back as it is"
    )]
    pub fn into_stream(self) -> Result<EventStream<Self>, Refused<Self>> {
        match self.iommufd().check_process() {
            Ok(()) => EventStream::new(self),
            Err(error) => Err(Refused::new(self, error)),
        }
    }
}

/// The events of a queue, one by one, as they come: see [`FaultQueue::stream`] and
/// [`VEventQueue::into_stream`].
///
/// An error is one item: what comes after it can be read. The stream ends only with its runtime,
/// after the error that says so, and in a child of a fork.
///
/// It holds the queue, and what one read has given until it is taken. Dropping it drops both: groups
/// of page requests are then answered INVALID. [`into_parts`](Self::into_parts) gives them back.
///
/// # System calls
/// Those of the queue's `read`, `fcntl` for a duplicate of its file, and the runtime's `epoll_ctl`
/// and `epoll_wait`. In a child of a fork the duplicate stays open until the child ends.
///
/// With the feature `tokio`.
#[must_use = "a stream does nothing unless it is read"]
pub struct EventStream<Q: EventSource> {
    /// The last comes first.
    ready: Vec<Q::Event>,
    // The order matters: closed before the queue may go, which is not destroyed else.
    file: WatchedFile,
    queue: Q,
}

impl<Q: EventSource> EventStream<Q> {
    /// The events of `queue`, whose context is this process's.
    fn new(queue: Q) -> Result<Self, Refused<Q>> {
        match WatchedFile::new(&queue) {
            Ok(file) => Ok(Self {
                ready: Vec::new(),
                file,
                queue,
            }),
            Err(error) => Err(Refused::new(queue, error)),
        }
    }

    /// The next event, or why the queue could not be read; `None` when it never can be any more.
    ///
    /// A call that is given up loses nothing.
    pub async fn next(&mut self) -> Option<Result<Q::Event>> {
        poll_fn(|context| self.poll(context)).await
    }

    /// The queue.
    #[must_use]
    pub fn queue(&self) -> &Q {
        &self.queue
    }

    /// The queue, not watched any more, and the events that were read and not taken.
    #[must_use]
    pub fn into_parts(self) -> (Q, Vec<Q::Event>) {
        let Self {
            mut ready,
            file,
            queue,
        } = self;
        drop(file);
        ready.reverse();
        (queue, ready)
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Q::Event>>> {
        if let Some(event) = self.ready.pop() {
            return Poll::Ready(Some(Ok(event)));
        }
        let Self { ready, file, queue } = self;
        let read = || {
            queue.read_events(ready)?;
            ready.reverse();
            Ok(ready.pop())
        };
        file.poll(context, read, |error| matches!(error, Error::Forked))
    }
}

impl<Q: EventSource> Stream for EventStream<Q> {
    type Item = Result<Q::Event>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll(context)
    }
}

/// Nothing in it is ever pinned.
impl<Q: EventSource> Unpin for EventStream<Q> {}

impl<Q: EventSource + fmt::Debug> fmt::Debug for EventStream<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStream")
            .field("queue", &self.queue)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;
    use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
    use std::thread;
    use std::time::Duration;

    use crate::error::KernelError;
    use parking_lot::Mutex;
    use rustix::event::{EventfdFlags, eventfd};
    use rustix::io::Errno;
    use tokio::runtime::{Builder, Runtime};

    /// A queue as the kernel has them: the file is readable while something waits.
    struct Queue {
        file: OwnedFd,
        waiting: Mutex<VecDeque<u32>>,
        at_once: usize,
    }

    impl Queue {
        fn new(at_once: usize) -> Self {
            Self {
                file: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap(),
                waiting: Mutex::default(),
                at_once,
            }
        }

        fn push(&self, event: u32) {
            let mut waiting = self.waiting.lock();
            waiting.push_back(event);
            rustix::io::write(&self.file, &1_u64.to_ne_bytes()).unwrap();
        }
    }

    impl AsFd for &Queue {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.file.as_fd()
        }
    }

    /// An event that says that the queue cannot be read.
    const TROUBLE: u32 = u32::MAX;
    /// One that says so for good.
    const END: u32 = u32::MAX - 1;

    impl EventSource for &Queue {
        type Event = u32;
    }

    impl sealed::Source for &Queue {
        type Item = u32;

        fn read_events(&mut self, events: &mut Vec<u32>) -> Result<()> {
            let mut waiting = self.waiting.lock();
            for _ in 0..self.at_once {
                match waiting.front() {
                    Some(&(TROUBLE | END)) if !events.is_empty() => break,
                    Some(&TROUBLE) => {
                        waiting.pop_front();
                        return Err(KernelError::new("read", Errno::NOMEM, "no memory").into());
                    }
                    Some(&END) => return Err(Error::Forked),
                    _ => events.extend(waiting.pop_front()),
                }
            }
            if waiting.is_empty() {
                rustix::io::read(&self.file, &mut [0; 8]).ok();
            }
            Ok(())
        }
    }

    fn runtime() -> Runtime {
        Builder::new_current_thread().enable_all().build().unwrap()
    }

    async fn is_pending(stream: &mut EventStream<&Queue>) -> bool {
        let time = Duration::from_millis(20);
        tokio::time::timeout(time, stream.next()).await.is_err()
    }

    #[test]
    fn events_come_one_by_one_in_their_order() {
        let queue = Queue::new(3);
        runtime().block_on(async {
            let mut stream = EventStream::new(&queue).unwrap();
            (0..10).for_each(|event| queue.push(event));
            for event in 0..10 {
                assert_eq!(stream.next().await.unwrap().unwrap(), event);
            }
            assert!(is_pending(&mut stream).await);
            queue.push(10);
            assert_eq!(stream.next().await.unwrap().unwrap(), 10);
        });
    }

    #[test]
    fn an_event_of_another_thread_wakes_the_task() {
        let queue = Queue::new(2);
        thread::scope(|scope| {
            scope.spawn(|| {
                for event in 0..2000 {
                    queue.push(event);
                    if event % 16 == 0 {
                        thread::yield_now();
                    }
                }
            });
            runtime().block_on(async {
                let mut stream = EventStream::new(&queue).unwrap();
                for event in 0..2000 {
                    assert_eq!(stream.next().await.unwrap().unwrap(), event);
                }
            });
        });
    }

    #[test]
    fn an_error_is_one_item_of_the_stream() {
        let queue = Queue::new(8);
        runtime().block_on(async {
            let mut stream = EventStream::new(&queue).unwrap();
            for event in [1, TROUBLE, 2] {
                queue.push(event);
            }
            assert_eq!(stream.next().await.unwrap().unwrap(), 1);
            let error = stream.next().await.unwrap().unwrap_err();
            assert_eq!(error.errno(), Some(Errno::NOMEM));
            assert_eq!(stream.next().await.unwrap().unwrap(), 2);
            assert!(is_pending(&mut stream).await);
        });
    }

    #[test]
    fn what_never_can_be_read_again_ends_the_stream() {
        let queue = Queue::new(8);
        runtime().block_on(async {
            let mut stream = EventStream::new(&queue).unwrap();
            queue.push(END);
            let error = stream.next().await.unwrap().unwrap_err();
            assert!(matches!(error, Error::Forked));
            assert!(stream.next().await.is_none());
        });
    }

    #[test]
    fn a_runtime_that_is_gone_ends_the_stream() {
        let queue = Queue::new(8);
        let first = runtime();
        let mut stream = first.block_on(async { EventStream::new(&queue) }).unwrap();
        drop(first);
        queue.push(1);
        runtime().block_on(async {
            let error = stream.next().await.unwrap().unwrap_err();
            assert!(error.errno().is_some(), "{error}");
            assert!(stream.next().await.is_none());
        });
    }

    #[test]
    fn what_was_read_and_not_taken_comes_back_with_the_queue() {
        let queue = Queue::new(4);
        runtime().block_on(async {
            let mut stream = EventStream::new(&queue).unwrap();
            (0..6).for_each(|event| queue.push(event));
            assert_eq!(stream.next().await.unwrap().unwrap(), 0);
            let (queue, rest) = stream.into_parts();
            assert_eq!(rest, [1, 2, 3]);
            assert_eq!(queue.waiting.lock().len(), 2);
        });
    }

    #[test]
    fn two_streams_can_share_a_queue() {
        let queue = Queue::new(1);
        runtime().block_on(async {
            let mut streams = [(); 2].map(|()| EventStream::new(&queue).unwrap());
            for event in 0..4 {
                queue.push(event);
                let stream = &mut streams[event as usize % 2];
                assert_eq!(stream.next().await.unwrap().unwrap(), event);
            }
            assert!(std::ptr::eq(*streams[0].queue(), *streams[1].queue()));
        });
    }
}
