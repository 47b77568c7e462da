//! An observer that remembers.

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use iommufd::{DropRefusal, IoctlEvent, Iommufd, Observer};
use parking_lot::Mutex;
use rustix::io::Errno;

/// Remembers every ioctl of a context, and every refusal of a drop.
#[derive(Default)]
pub struct Recorder {
    events: Mutex<Vec<(&'static str, Result<(), Errno>)>>,
    refusals: Mutex<Vec<(&'static str, Option<Errno>)>>,
    /// What else to do at each ioctl.
    hook: Mutex<Option<Hook>>,
}

type Hook = Arc<dyn Fn(&IoctlEvent) + Send + Sync>;

impl Recorder {
    /// A context with a recorder.
    #[must_use]
    pub fn context() -> (Iommufd, Arc<Self>) {
        Self::context_of(crate::raw::open())
    }

    /// A context of an open `/dev/iommu`, and its recorder, which has heard of nothing yet.
    #[must_use]
    pub fn context_of(fd: OwnedFd) -> (Iommufd, Arc<Self>) {
        let recorder = Arc::new(Self::default());
        let observer = Arc::clone(&recorder);
        let builder = Iommufd::builder().observer(observer);
        let iommufd = builder.from_fd(fd).unwrap();
        recorder.clear();
        (iommufd, recorder)
    }

    /// From now on does `hook`, too, at each ioctl.
    pub fn hook(&self, hook: impl Fn(&IoctlEvent) + Send + Sync + 'static) {
        *self.hook.lock() = Some(Arc::new(hook));
    }

    /// Does nothing else any more.
    pub fn unhook(&self) {
        // What it holds can make ioctls when it goes: not under the lock.
        let _hook = self.hook.lock().take();
    }

    /// Forgets what was.
    pub fn clear(&self) {
        self.events.lock().clear();
        self.refusals.lock().clear();
    }

    /// The ioctls since the last [`clear`](Self::clear), by name.
    pub fn calls(&self) -> Vec<&'static str> {
        self.events.lock().iter().map(|(name, _)| *name).collect()
    }

    /// The ioctls with their answers.
    pub fn answers(&self) -> Vec<(&'static str, Result<(), Errno>)> {
        self.events.lock().clone()
    }

    /// How many ioctls there were.
    pub fn count(&self) -> usize {
        self.events.lock().len()
    }

    /// What drops could not let go of, and why.
    pub fn refusals(&self) -> Vec<(&'static str, Option<Errno>)> {
        self.refusals.lock().clone()
    }
}

impl Observer for Recorder {
    fn ioctl(&self, event: &IoctlEvent) {
        self.events.lock().push((event.ioctl.name, event.result));
        let hook = self.hook.lock().clone();
        if let Some(hook) = hook {
            hook(event);
        }
    }

    fn refused_drop(&self, refusal: &DropRefusal<'_>) {
        self.refusals
            .lock()
            .push((refusal.object, refusal.error.errno()));
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Recorder").field(&self.answers()).finish()
    }
}
