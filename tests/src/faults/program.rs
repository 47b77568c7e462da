//! Programs that are failed at every point, from their first ioctl to their last drop.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use iommufd::{DmaMemory, Error, Iommufd};
use rustix::io::Errno;

use super::{Nth, Points, sweep};
use crate::accounted::Accounted;
use crate::at::PAGE;
use crate::memory::{Living, Memory};
use crate::mock::{self, check_pins};
use crate::observe::Recorder;
use crate::raw;

/// What a program starts from: a context, and memory. All else it makes itself, and lets go of.
#[derive(Debug)]
pub struct Stage {
    /// The context.
    pub iommufd: Iommufd,
    /// Memories of [`Stage::LEN`] bytes.
    pub memories: [Arc<Memory>; 3],
    recorder: Arc<Recorder>,
    living: Living,
}

impl Stage {
    /// The bytes of each of the memories.
    pub const LEN: usize = 8 * PAGE;

    fn new() -> Self {
        let (iommufd, recorder) = Recorder::context();
        let living = Living::new();
        Self {
            iommufd,
            memories: [(); 3].map(|()| living.memory(Self::LEN)),
            recorder,
            living,
        }
    }

    /// Asserts that the program has left nothing but what a drop could not let go of, and that this is what the SDK says.
    fn assert_empty(self, at: &str) {
        let (leaks, refusals) = (self.iommufd.leaks(), self.recorder.refusals());
        let (mappings, others): (Vec<_>, Vec<_>) = refusals
            .into_iter()
            .partition(|(what, _)| *what == "mapping");
        assert_eq!(leaks.mappings, mappings.len() as u64, "{at}");
        assert_eq!(leaks.objects, others.len() as u64, "{at}");
        // These are nothing by themselves: they go with what they belong to.
        let states = ["attachment", "dirty tracking", "page request group"];
        let objects = others.iter().filter(|(what, _)| !states.contains(what));
        let left = raw::objects(&self.iommufd) as usize;
        assert_eq!(left, objects.count(), "{at}: {others:?}");
        if left > 0 {
            // One was failed; others stay for its sake.
            let failed = |answer: &(&str, Result<(), Errno>)| {
                answer.0 == "IOMMU_DESTROY" && !matches!(answer.1, Ok(()) | Err(Errno::BUSY))
            };
            assert!(self.recorder.answers().iter().any(failed), "{at}");
        } else {
            assert_eq!(leaks.memories, 0, "{at}");
            for memory in &self.memories {
                assert_eq!(Arc::strong_count(memory), 1, "{at}");
                let pins = check_pins(&self.iommufd, memory.bytes(), 0);
                assert_eq!(pins, Ok(()), "{at}");
            }
            drop(self.memories);
            assert_eq!(self.living.count(), 0, "{at}");
        }
    }
}

/// How many points there were in a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// In iommufd itself.
    pub iommufd: usize,
    /// There, and in allocations.
    pub everywhere: usize,
}

/// Lets `program` fail at every point, the drops of all that it made included, and sees to it that each time
/// - an error says what happened;
/// - no object is left in the kernel, no device, no file in the process, no page pinned or locked, and no memory: but what
///   the SDK says that it could not let go of.
pub fn leaves_nothing(program: impl Fn(&Stage) -> iommufd::Result<()>) -> Count {
    let count = |points| {
        let mut errors = 0;
        let count = sweep(points, |nth| {
            errors += usize::from(round(nth, &program).is_err());
        });
        assert!(errors > 0, "{points:?}: nothing ever failed");
        count
    };
    Count {
        iommufd: count(Points::Iommufd),
        everywhere: count(Points::Everywhere),
    }
}

fn round(nth: &mut Nth, program: impl Fn(&Stage) -> iommufd::Result<()>) -> Result<(), Error> {
    let world = World::now();
    let stage = Stage::new();
    let result = nth.armed(|| program(&stage));
    let at = format!("{}: {result:?}", nth.point());
    if let Err(error) = &result {
        assert!(nth.failed(), "{at}");
        assert!(
            !error.to_string().contains("not a documented"),
            "{at}: {error}"
        );
    }
    stage.assert_empty(&at);
    assert_eq!(World::now(), world, "{at}");
    result
}

/// What there is outside of a context.
#[derive(Debug, PartialEq, Eq)]
struct World {
    files: Vec<PathBuf>,
    accounted: Accounted,
    devices: usize,
}

impl World {
    fn now() -> Self {
        let files = fs::read_dir("/proc/self/fd").unwrap();
        let files = files.map(|entry| fs::read_link(entry.unwrap().path()).unwrap_or_default());
        let mut files: Vec<_> = files.collect();
        files.sort();
        Self {
            files,
            accounted: Accounted::here(),
            devices: mock::devices(),
        }
    }
}
