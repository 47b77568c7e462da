//! A queue's events as they come, in a tokio runtime, which watches the queue's file.

use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, OwnedFd};
use std::task::{Context, Poll, ready};

use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::error::{Error, KernelError, Refused, Result};

/// A queue whose file is readable while there are events.
pub(crate) trait EventSource: AsFd {
    /// What it hands out.
    type Event;

    /// Refuses to act in a child of the process that made the queue.
    fn check_process(&self) -> Result<()>;

    /// Reads what there is, as far as it fits in one read, adding to `events`; nothing if there is
    /// nothing. Does not wait.
    fn read_events(&self, events: &mut Vec<Self::Event>) -> Result<()>;
}

/// The events of a queue, one by one.
///
/// What one read has given waits here to be taken; the next read comes when it is used up.
pub(crate) struct EventStream<Q: EventSource> {
    /// The last comes first.
    ready: Vec<Q::Event>,
    /// `None` when the stream has ended.
    // The order matters: closed before the queue may go, which is not destroyed else. It is a
    // duplicate, as a runtime watches each file of the process once, and there may be two streams.
    file: Option<AsyncFd<OwnedFd>>,
    queue: Q,
}

impl<Q: EventSource> EventStream<Q> {
    /// The events of `queue`, watched by the runtime in which this is called.
    ///
    /// # Panics
    /// Where no runtime is, or one that does not watch files.
    pub(crate) fn new(queue: Q) -> Result<Self, Refused<Q>> {
        match watch(&queue) {
            Ok(file) => Ok(Self {
                ready: Vec::new(),
                file: Some(file),
                queue,
            }),
            Err(error) => Err(Refused::new(queue, error)),
        }
    }

    /// The next event, or why the queue could not be read; nothing when it never can be any more.
    pub(crate) fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Q::Event>>> {
        loop {
            if let Some(event) = self.ready.pop() {
                return Poll::Ready(Some(Ok(event)));
            }
            let Some(file) = &self.file else {
                return Poll::Ready(None);
            };
            let mut guard = match ready!(file.poll_read_ready(context)) {
                Ok(guard) => guard,
                Err(error) => {
                    self.end();
                    let cause = "the runtime is shut down";
                    return Poll::Ready(Some(Err(refusal("epoll_wait", &error, cause))));
                }
            };
            match self.queue.read_events(&mut self.ready) {
                // Whatever comes from now on wakes the task, also what has come since the read.
                Ok(()) if self.ready.is_empty() => guard.clear_ready(),
                Ok(()) => self.ready.reverse(),
                Err(error) => {
                    if matches!(error, Error::Forked) {
                        self.end();
                    }
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
    }

    /// The queue.
    pub(crate) fn queue(&self) -> &Q {
        &self.queue
    }

    /// Stops to watch the file, and closes it.
    fn end(&mut self) {
        if let Some(file) = self.file.take()
            && self.queue.check_process().is_err()
        {
            // A child has the same epoll as its parent, who would not be woken any more if the
            // file were taken out of it here. So it stays open until the child ends.
            let _kept = ManuallyDrop::new(file);
        }
    }
}

impl<Q: EventSource> Drop for EventStream<Q> {
    fn drop(&mut self) {
        self.end();
    }
}

fn watch(queue: &impl EventSource) -> Result<AsyncFd<OwnedFd>> {
    queue.check_process()?;
    let file = queue.as_fd().try_clone_to_owned();
    let file = file.map_err(|error| refusal("fcntl", &error, "too many open files"))?;
    #[expect(
        deprecated,
        reason = "unsound for files that are closed or exchanged while they are watched, which an \
                  owned one cannot be; what replaces it is unsafe, and not in every tokio 1"
    )]
    AsyncFd::with_interest(file, Interest::READABLE)
        .map_err(|error| refusal("epoll_ctl", &error, "the runtime cannot watch the file"))
}

fn refusal(operation: &'static str, error: &std::io::Error, cause: &'static str) -> Error {
    let errno = Errno::from_io_error(error).unwrap_or(Errno::IO);
    KernelError::new(operation, errno, cause).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;
    use std::future::poll_fn;
    use std::os::fd::BorrowedFd;
    use std::thread;
    use std::time::Duration;

    use parking_lot::Mutex;
    use rustix::event::{EventfdFlags, eventfd};
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

        fn check_process(&self) -> Result<()> {
            Ok(())
        }

        fn read_events(&self, events: &mut Vec<u32>) -> Result<()> {
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

    async fn next(stream: &mut EventStream<&Queue>) -> Option<Result<u32>> {
        poll_fn(|context| stream.poll_next(context)).await
    }

    async fn is_pending(stream: &mut EventStream<&Queue>) -> bool {
        let time = Duration::from_millis(20);
        tokio::time::timeout(time, next(stream)).await.is_err()
    }

    #[test]
    fn events_come_one_by_one_in_their_order() {
        let queue = Queue::new(3);
        runtime().block_on(async {
            let mut stream = EventStream::new(&queue).unwrap();
            (0..10).for_each(|event| queue.push(event));
            for event in 0..10 {
                assert_eq!(next(&mut stream).await.unwrap().unwrap(), event);
            }
            assert!(is_pending(&mut stream).await);
            queue.push(10);
            assert_eq!(next(&mut stream).await.unwrap().unwrap(), 10);
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
                    assert_eq!(next(&mut stream).await.unwrap().unwrap(), event);
                }
            });
        });
    }

    #[test]
    fn an_error_is_one_item_of_the_stream() {
        let queue = Queue::new(8);
        runtime().block_on(async {
            let mut stream = EventStream::new(&queue).unwrap();
            [1, TROUBLE, 2]
                .into_iter()
                .for_each(|event| queue.push(event));
            assert_eq!(next(&mut stream).await.unwrap().unwrap(), 1);
            let error = next(&mut stream).await.unwrap().unwrap_err();
            assert_eq!(error.errno(), Some(Errno::NOMEM));
            assert_eq!(next(&mut stream).await.unwrap().unwrap(), 2);
            assert!(is_pending(&mut stream).await);
        });
    }

    #[test]
    fn what_never_can_be_read_again_ends_the_stream() {
        let queue = Queue::new(8);
        runtime().block_on(async {
            let mut stream = EventStream::new(&queue).unwrap();
            queue.push(END);
            let error = next(&mut stream).await.unwrap().unwrap_err();
            assert!(matches!(error, Error::Forked));
            assert!(next(&mut stream).await.is_none());
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
            let error = next(&mut stream).await.unwrap().unwrap_err();
            assert!(error.errno().is_some(), "{error}");
            assert!(next(&mut stream).await.is_none());
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
                assert_eq!(next(stream).await.unwrap().unwrap(), event);
            }
            assert!(std::ptr::eq(*streams[0].queue(), *streams[1].queue()));
        });
    }
}
