//! A change of sysfs that can take for ever, made by a thread of its own.

use std::fmt;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::binding::users::{Node, User};
use crate::error::{Error, Result};
use crate::sysfs::Roots;

/// A change that is under way. It goes on in a thread of its own, whether it is waited for or not,
/// and cannot be called off: the kernel takes a function away from its driver only when nobody has
/// it open any more, and waits without limit.
///
/// A process in which such a thread waits does not end before the kernel has got what it waits for,
/// not even when it is killed, and steps that would have come after the wait are not made then. So a
/// change is not begun while this process has the function open; do not open it while the change is
/// under way.
#[must_use = "the change goes on; wait for it to know what became of it"]
pub struct Pending<T> {
    what: String,
    nodes: Vec<Node>,
    answer: Arc<Answer<T>>,
}

/// What came of waiting for a change.
#[derive(Debug)]
#[must_use = "the change may not be done yet"]
pub enum Waited<T> {
    /// It is done.
    Done(T),
    /// The time has passed, and the kernel still waits. The change goes on; this can be waited for
    /// again, and says who is in the way.
    StillWaiting(Pending<T>),
}

struct Answer<T> {
    slot: Mutex<Option<Result<T>>>,
    given: Condvar,
}

impl<T: Send + 'static> Pending<T> {
    /// Starts `work`, which is `what` in words, and waits for users of `nodes` possibly.
    pub(super) fn start(
        what: String,
        nodes: Vec<Node>,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<Self> {
        let answer = Arc::new(Answer {
            slot: Mutex::new(None),
            given: Condvar::new(),
        });
        let giver = Arc::clone(&answer);
        thread::Builder::new()
            .name("vfio-sysfs".to_owned())
            .spawn(move || {
                let answer = work();
                *giver.slot.lock() = Some(answer);
                giver.given.notify_all();
            })
            .map_err(|error| Error::NoThread { error })?;
        Ok(Self {
            what,
            nodes,
            answer,
        })
    }

    /// Waits until the change is done, but no longer than `at_most`.
    ///
    /// # Errors
    /// Those of the change. It is over then, and what it says of what is left as it was holds.
    pub fn wait(self, at_most: Duration) -> Result<Waited<T>> {
        let mut slot = self.answer.slot.lock();
        self.answer
            .given
            .wait_while_for(&mut slot, |answer| answer.is_none(), at_most);
        match slot.take() {
            Some(answer) => answer.map(Waited::Done),
            None => {
                drop(slot);
                Ok(Waited::StillWaiting(self))
            }
        }
    }
}

impl<T> Pending<T> {
    /// Whether it is over, well or not: then [`wait`](Self::wait) does not wait.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.answer.slot.lock().is_some()
    }

    /// The processes that have open what the kernel may be waiting for, as far as this one may look
    /// at them. Registers that are mapped, and KVM, hold a device as well, and do not show.
    #[must_use]
    pub fn users(&self) -> Vec<User> {
        let roots = Roots::default();
        let mut users: Vec<User> = Vec::new();
        for user in self.nodes.iter().flat_map(|node| node.users(&roots)) {
            if !users.contains(&user) {
                users.push(user);
            }
        }
        users
    }
}

impl<T> Waited<T> {
    /// What was done, if it was.
    pub fn done(self) -> Option<T> {
        match self {
            Self::Done(value) => Some(value),
            Self::StillWaiting(_) => None,
        }
    }
}

/// What is being done, and who is in the way.
impl<T> fmt::Display for Pending<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        let users = self.users();
        if users.is_empty() {
            return Ok(());
        }
        let users: Vec<String> = users.iter().map(ToString::to_string).collect();
        write!(f, ": the kernel waits for {}", users.join(" and "))
    }
}

impl<T> fmt::Debug for Pending<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending")
            .field("what", &self.what)
            .field("is_over", &self.is_over())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn what_takes_long_is_waited_for_again() {
        let (go, gone) = mpsc::channel::<()>();
        let pending = Pending::start("it is done".to_owned(), Vec::new(), move || {
            gone.recv().ok();
            Ok(7)
        });
        let pending = pending.unwrap();
        assert_eq!(pending.to_string(), "it is done");
        let Ok(Waited::StillWaiting(pending)) = pending.wait(Duration::ZERO) else {
            panic!("it cannot be done")
        };
        assert!(!pending.is_over());
        let Ok(Waited::StillWaiting(pending)) = pending.wait(Duration::from_millis(20)) else {
            panic!("it cannot be done")
        };
        go.send(()).unwrap();
        assert_eq!(pending.wait(LONG).unwrap().done(), Some(7));
    }

    #[test]
    fn an_error_is_told_when_it_is_waited_for() {
        let pending: Pending<()> =
            Pending::start(String::new(), Vec::new(), || Err(Error::NotVfio)).unwrap();
        while !pending.is_over() {
            thread::yield_now();
        }
        assert!(matches!(pending.wait(Duration::ZERO), Err(Error::NotVfio)));
    }

    #[test]
    fn nobody_needs_to_wait() {
        let (done, hear) = mpsc::channel();
        let pending = Pending::start(String::new(), Vec::new(), move || {
            done.send(()).ok();
            Ok(())
        });
        drop(pending.unwrap());
        hear.recv_timeout(LONG).unwrap();
    }

    #[test]
    fn handles_can_be_kept_anywhere() {
        fn check<T: Send + Sync + 'static>() {}
        check::<Pending<()>>();
        check::<Waited<()>>();
    }
}
