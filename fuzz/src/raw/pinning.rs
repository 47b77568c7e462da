//! How much memory the process may pin. As root it may all.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

/// So little that it is soon too much.
const LITTLE: u64 = 40 * 4096;

/// As long as it lives, what the process pins is counted.
pub(super) struct Counted {
    limit: Rlimit,
}

impl Counted {
    /// From now on, up to its limit, or up to a small one.
    pub(super) fn new(is_little: bool) -> Self {
        let limit = getrlimit(Resource::Memlock);
        if is_little {
            let little = Rlimit {
                current: Some(LITTLE),
                ..limit
            };
            let _set = setrlimit(Resource::Memlock, little);
        }
        privileged(false);
        Self { limit }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        privileged(true);
        let _set = setrlimit(Resource::Memlock, self.limit);
    }
}

fn privileged(is: bool) {
    let Ok(mut sets) = capabilities(None) else {
        return;
    };
    sets.effective.set(CapabilitySet::IPC_LOCK, is);
    // Who is not root was never privileged.
    let _set = set_capabilities(None, sets);
}
