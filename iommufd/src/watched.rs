//! A file that a tokio runtime watches.

use std::fmt;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, OwnedFd};
use std::task::{Context, Poll, ready};

use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::error::{Error, KernelError, Result};
use crate::fork::Process;

/// A duplicate of a file, watched by the tokio runtime in which it was made: a runtime watches each
/// file of the process once, and a file may be waited for in several places.
///
/// In a child of a fork the duplicate stays open until the child ends.
///
/// With the feature `tokio`.
pub struct WatchedFile {
    /// `None` when it is closed.
    watched: Option<AsyncFd<OwnedFd>>,
    process: Process,
}

impl WatchedFile {
    /// Has the runtime watch `file`.
    ///
    /// # Errors
    /// `EMFILE`: too many open files; what `epoll_ctl` refuses.
    ///
    /// # Panics
    /// Outside of a runtime, and in one that does not watch files.
    pub fn new(file: &impl AsFd) -> Result<Self> {
        let file = file.as_fd().try_clone_to_owned();
        let file = file.map_err(|error| refusal("fcntl", &error, "too many open files"))?;
        #[expect(
            deprecated,
            reason = "unsound for files that are closed or exchanged while they are watched, which \
                      an owned one cannot be; what replaces it is unsafe, and not in every tokio 1"
        )]
        let watched = AsyncFd::with_interest(file, Interest::READABLE)
            .map_err(|error| refusal("epoll_ctl", &error, "the runtime cannot watch the file"))?;
        Ok(Self {
            watched: Some(watched),
            process: Process::current(),
        })
    }

    /// What `read` reads next, when there is something; `None` when the file is not watched any more,
    /// as the runtime is shut down, or as an error was the last.
    ///
    /// `read` does not wait, and says `None` if there is nothing to read. `is_last` tells of an error
    /// after which nothing can be read any more.
    pub fn poll<T, E: From<Error>>(
        &mut self,
        context: &mut Context<'_>,
        mut read: impl FnMut() -> Result<Option<T>, E>,
        is_last: impl Fn(&E) -> bool,
    ) -> Poll<Option<Result<T, E>>> {
        loop {
            let Some(watched) = &self.watched else {
                return Poll::Ready(None);
            };
            let mut guard = match ready!(watched.poll_read_ready(context)) {
                Ok(guard) => guard,
                Err(error) => {
                    self.close();
                    let error = refusal("epoll_wait", &error, "the runtime is shut down");
                    return Poll::Ready(Some(Err(error.into())));
                }
            };
            match read() {
                // Whatever comes from now on wakes the task, also what has come since the read.
                Ok(None) => guard.clear_ready(),
                Ok(Some(value)) => return Poll::Ready(Some(Ok(value))),
                Err(error) => {
                    if is_last(&error) {
                        self.close();
                    }
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
    }

    fn close(&mut self) {
        if let Some(watched) = self.watched.take()
            && !self.process.is_current()
        {
            // A child has the same epoll as its parent, who would not be woken any more if the
            // file were taken out of it here. So it stays open until the child ends.
            let _kept = ManuallyDrop::new(watched);
        }
    }
}

impl Drop for WatchedFile {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for WatchedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchedFile")
            .field("watched", &self.watched.is_some())
            .finish_non_exhaustive()
    }
}

fn refusal(operation: &'static str, error: &std::io::Error, cause: &'static str) -> Error {
    let errno = Errno::from_io_error(error).unwrap_or(Errno::IO);
    KernelError::new(operation, errno, cause).into()
}
