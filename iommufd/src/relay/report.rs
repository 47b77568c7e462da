//! What nobody has taken yet of what went wrong.

use std::collections::VecDeque;

/// The reports that nobody has taken yet: as many as there is room for, the oldest first.
#[derive(Debug)]
pub(crate) struct Reports<T> {
    list: VecDeque<T>,
    lost: u64,
}

impl<T> Reports<T> {
    /// A guest can make reports faster than they are taken.
    pub(crate) const MOST: usize = 64;

    pub(crate) fn new() -> Self {
        Self {
            list: VecDeque::new(),
            lost: 0,
        }
    }

    pub(crate) fn add(&mut self, report: T) {
        if self.list.len() >= Self::MOST {
            let _oldest = self.list.pop_front();
            self.lost = self.lost.saturating_add(1);
        }
        self.list.push_back(report);
    }

    /// All of them, after one that says how many are `lost`, if any are.
    pub(crate) fn take(&mut self, lost: fn(u64) -> T) -> Vec<T> {
        let first = match std::mem::take(&mut self.lost) {
            0 => None,
            count => Some(lost(count)),
        };
        first.into_iter().chain(self.list.drain(..)).collect()
    }
}
