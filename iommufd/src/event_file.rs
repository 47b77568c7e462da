//! The file through which a queue of the kernel's hands out what has happened.
//!
//! Neither reading nor writing such a file ever waits: an empty queue answers a read with no
//! bytes. So `O_NONBLOCK` is not set, and would change nothing; who has to wait polls.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::error::{KernelError, Result};

/// A queue's file. Its owner sees to it that only the process that made the queue uses it.
///
/// It holds the kernel's context open, and its queue cannot be destroyed before it is closed.
#[derive(Debug)]
pub(crate) struct EventFile {
    file: OwnedFd,
}

impl EventFile {
    /// Takes over the file of a queue that the kernel has just made.
    pub(crate) fn new(file: OwnedFd) -> Self {
        Self { file }
    }

    /// Reads what there is, as far as it fits; an empty queue gives no bytes. Does not wait.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        rustix::io::read(&self.file, buffer)
    }

    /// Writes, and says how many bytes the kernel took. Does not wait.
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        rustix::io::write(&self.file, bytes)
    }

    /// Waits until there is something to read, and says whether there is; not when the time is
    /// over, which without a `timeout` it never is.
    ///
    /// Somebody else may have read it before the caller does.
    pub(crate) fn wait(&self, timeout: Option<Duration>) -> Result<bool> {
        // A time that the clock does not reach is as good as none.
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            let left = deadline
                .map(|deadline| deadline.saturating_duration_since(Instant::now()))
                .and_then(|left| Timespec::try_from(left).ok());
            let mut files = [PollFd::new(&self.file, PollFlags::IN)];
            let refused = match poll(&mut files, left.as_ref()) {
                Ok(0) => return Ok(false),
                Ok(_) if files[0].revents().contains(PollFlags::IN) => return Ok(true),
                // It was said to be ready for something else: a caller who went on waiting would
                // never rest.
                Ok(_) => Errno::IO,
                // A signal; what is left of the time is computed anew.
                Err(Errno::INTR) => continue,
                Err(errno) => errno,
            };
            let cause = match refused {
                Errno::IO => "the file is no longer one that events are read from",
                Errno::NOMEM => "the kernel is out of memory",
                _ => "the file cannot be waited for",
            };
            return Err(KernelError::new("poll", refused, cause).into());
        }
    }
}

impl AsFd for EventFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    use rustix::event::{EventfdFlags, eventfd};

    const SHORT: Duration = Duration::from_millis(20);

    fn event_file() -> EventFile {
        EventFile::new(eventfd(0, EventfdFlags::CLOEXEC).unwrap())
    }

    #[test]
    fn what_is_there_ends_the_wait() {
        let file = event_file();
        assert_eq!(file.write(&1_u64.to_ne_bytes()), Ok(8));
        assert!(file.wait(None).unwrap());
        assert!(file.wait(Some(Duration::ZERO)).unwrap());
        assert_eq!(file.read(&mut [0; 8]), Ok(8));
        assert!(!file.wait(Some(Duration::ZERO)).unwrap());
    }

    #[test]
    fn nothing_ends_the_wait_when_the_time_is_over() {
        let begin = Instant::now();
        assert!(!event_file().wait(Some(SHORT)).unwrap());
        assert!(begin.elapsed() >= SHORT);
    }

    #[test]
    fn another_thread_ends_the_wait() {
        let file = event_file();
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(SHORT);
                file.write(&1_u64.to_ne_bytes()).unwrap();
            });
            // Longer than any clock runs: no time-out at all.
            assert!(file.wait(Some(Duration::MAX)).unwrap());
        });
    }

    #[test]
    fn a_file_that_has_nothing_more_to_say_is_not_waited_for() {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(writer);
        let error = EventFile::new(reader.into()).wait(None).unwrap_err();
        assert_eq!(error.errno(), Some(Errno::IO));
    }
}
