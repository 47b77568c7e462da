//! Interrupts and signals as they come, in a tokio runtime, which watches their eventfds.

use std::fmt;
use std::future::poll_fn;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use iommufd::driver::WatchedFile;

use crate::error::{Error, Refused, Result};
use crate::irq::{Intx, IrqLine, OwnedVector};
use crate::signal::Signal;

/// What fires, and can be waited for as a stream: [`OwnedVector`], [`Intx`], [`IrqLine`] and [`Signal`].
///
/// With the feature `tokio`.
pub trait Fires: sealed::Fires {}

mod sealed {
    use std::os::fd::BorrowedFd;

    use crate::error::Result;

    /// What counts on an eventfd how often it has fired.
    #[expect(unnameable_types, reason = "so that nobody else implements it")]
    pub trait Fires {
        /// The eventfd, in the process of the device.
        fn eventfd(&self) -> Result<BorrowedFd<'_>>;

        fn take(&self) -> Result<Option<u64>>;
    }
}

impl sealed::Fires for OwnedVector {
    fn eventfd(&self) -> Result<BorrowedFd<'_>> {
        self.bound().fd()?;
        Ok(self.as_fd())
    }

    fn take(&self) -> Result<Option<u64>> {
        self.take()
    }
}

impl Fires for OwnedVector {}

impl sealed::Fires for Intx {
    fn eventfd(&self) -> Result<BorrowedFd<'_>> {
        self.bound().fd()?;
        self.eventfd()
    }

    fn take(&self) -> Result<Option<u64>> {
        self.take()
    }
}

impl Fires for Intx {}

impl sealed::Fires for IrqLine {
    fn eventfd(&self) -> Result<BorrowedFd<'_>> {
        self.bound().fd()?;
        self.eventfd()
    }

    fn take(&self) -> Result<Option<u64>> {
        self.take()
    }
}

impl Fires for IrqLine {}

impl sealed::Fires for Signal {
    fn eventfd(&self) -> Result<BorrowedFd<'_>> {
        self.bound().fd()?;
        Ok(self.as_fd())
    }

    fn take(&self) -> Result<Option<u64>> {
        self.take()
    }
}

impl Fires for Signal {}

/// How often something has fired, each time that it has, in a tokio runtime.
///
/// An error is one item: what comes after it can be read. The stream ends only with its runtime,
/// after the error that says so, and in a child of a fork. Whatever fires while nobody waits is
/// counted, and is one item.
///
/// It holds what fires; [`into_inner`](Self::into_inner) gives it back.
///
/// ```no_run
/// # async fn example(interrupts: &vfio::Interrupts) -> vfio::Result<()> {
/// use vfio::Firings;
///
/// let mut received = Firings::of(interrupts.owned(0)?)?;
/// while let Some(count) = received.next().await {
///     println!("{} more", count?);
/// }
/// # Ok(())
/// # }
/// ```
///
/// An [`Intx`] is masked when it has fired, as is many an [`IrqLine`], and unmasked through
/// [`get_ref`](Self::get_ref).
///
/// # System calls
/// `read`; `fcntl` for a duplicate of the eventfd, and the runtime's `epoll_ctl` and `epoll_wait`. In a
/// child of a fork the duplicate stays open until the child ends.
///
/// With the feature `tokio`.
#[must_use = "a stream does nothing unless it is read"]
pub struct Firings<S> {
    // Closed before what fires may be disabled.
    file: WatchedFile,
    source: S,
}

impl<S: Fires> Firings<S> {
    /// The firings of `source`, in the tokio runtime in which this is called.
    ///
    /// # Errors
    /// `source`, with: [`Error::NotWaitedForHere`]: an [`Intx`] or [`IrqLine`] that signals an eventfd of the
    /// caller's; `EMFILE`: too many open files; what `epoll_ctl` refuses; [`iommufd::Error::Forked`].
    ///
    /// # Panics
    /// Outside of a runtime, and in one that does not watch files (`enable_io` of its builder).
    pub fn of(source: S) -> Result<Self, Refused<S>> {
        match watch(&source) {
            Ok(file) => Ok(Self { file, source }),
            Err(error) => Err(Refused::new(source, error)),
        }
    }

    /// How often it has fired since it was last asked for, when it has; `None` when it never can be
    /// told any more.
    ///
    /// A call that is given up loses nothing.
    pub async fn next(&mut self) -> Option<Result<u64>> {
        poll_fn(|context| self.poll(context)).await
    }

    /// What fires.
    #[must_use]
    pub fn get_ref(&self) -> &S {
        &self.source
    }

    /// What fires, not watched any more.
    #[must_use]
    pub fn into_inner(self) -> S {
        let Self { file, source } = self;
        drop(file);
        source
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<u64>>> {
        let Self { file, source } = self;
        file.poll(context, || source.take(), is_last)
    }
}

fn watch(source: &impl Fires) -> Result<WatchedFile> {
    Ok(WatchedFile::new(&source.eventfd()?)?)
}

fn is_last(error: &Error) -> bool {
    matches!(error, Error::Iommufd(iommufd::Error::Forked))
}

impl<S: Fires> Stream for Firings<S> {
    type Item = Result<u64>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll(context)
    }
}

/// Nothing in it is ever pinned.
impl<S> Unpin for Firings<S> {}

impl<S: fmt::Debug> fmt::Debug for Firings<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Firings")
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}
