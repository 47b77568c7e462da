//! Page requests as they come.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use super::{FaultQueue, PageRequestGroup};
use crate::error::{Refused, Result};
use crate::stream::{EventSource, EventStream};

impl EventSource for FaultQueue {
    type Event = PageRequestGroup;

    fn check_process(&self) -> Result<()> {
        self.iommufd().check_process()
    }

    fn read_events(&self, events: &mut Vec<PageRequestGroup>) -> Result<()> {
        self.read_into(events).map(drop)
    }
}

impl FaultQueue {
    /// The groups of page requests as they come, in the tokio runtime in which this is called.
    ///
    /// With the feature `tokio`.
    ///
    /// # Errors
    /// `EMFILE`: too many open files; what `epoll_ctl` refuses; [`Error::Forked`].
    ///
    /// # Panics
    /// Outside of a runtime, and in one that does not watch files
    /// ([`enable_io`](tokio::runtime::Builder::enable_io)).
    ///
    /// [`Error::Forked`]: crate::Error::Forked
    pub fn stream(&self) -> Result<PageRequestStream> {
        EventStream::new(self.clone())
            .map(|events| PageRequestStream { events })
            .map_err(Refused::into_error)
    }
}

/// The groups of page requests of a queue, as they come: see [`FaultQueue::stream`].
///
/// ```no_run
/// # async fn example(queue: &iommufd::FaultQueue) -> iommufd::Result<()> {
/// use iommufd::PageResponse;
///
/// let mut stream = queue.stream()?;
/// while let Some(group) = stream.next().await {
///     group?.respond(PageResponse::Invalid)?;
/// }
/// # Ok(())
/// # }
/// ```
///
/// It can be read after an error, and ends only with its runtime, and in a child of a fork: no
/// runtime lives on in one.
///
/// It holds the queue. Groups that it has read and nobody has taken are answered INVALID when it is
/// dropped.
///
/// # System calls
/// Those of the queue, except `ppoll`; `fcntl`, for a duplicate of the queue's file, and the
/// runtime's `epoll_ctl` and `epoll_wait`.
///
/// With the feature `tokio`. Since Linux 6.11.
#[must_use = "a stream that nobody reads leaves devices waiting"]
pub struct PageRequestStream {
    events: EventStream<FaultQueue>,
}

impl PageRequestStream {
    /// The next group, or why the queue could not be read.
    ///
    /// A call that is given up loses nothing.
    pub async fn next(&mut self) -> Option<Result<PageRequestGroup>> {
        poll_fn(|context| self.events.poll_next(context)).await
    }

    /// The queue.
    #[must_use]
    pub fn queue(&self) -> &FaultQueue {
        self.events.queue()
    }
}

impl Stream for PageRequestStream {
    type Item = Result<PageRequestGroup>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().events.poll_next(context)
    }
}

impl fmt::Debug for PageRequestStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PageRequestStream")
            .field("queue", self.queue())
            .finish_non_exhaustive()
    }
}
