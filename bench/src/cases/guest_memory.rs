//! Mapping the whole memory of a guest that has not run yet: its pages are made, pinned and mapped.

use std::sync::Arc;
use std::thread;

use iommufd::{Access, DmaBuffer, DmaSlice, HugePage, Iommufd, Iova, SharedBuffer};

use super::maps::Space;
use crate::measure::{alone, once};

const LEN: usize = 1 << 30;
/// Where the mock's IOMMU begins to translate, to the next GiB.
const START: u64 = 1 << 29;

/// On one thread of the caller's, and on two, each with its half.
pub(crate) fn on_threads() {
    let iommufd = Iommufd::open().unwrap();
    let space = Space::of_mock(&iommufd);
    for (kind, make) in [
        (
            "transparent huge pages",
            (|| DmaBuffer::new(LEN)) as fn() -> iommufd::Result<DmaBuffer>,
        ),
        ("huge pages in a file", || {
            DmaBuffer::memfd_huge(LEN, HugePage::Size2M)
        }),
    ] {
        for threads in [1, 2] {
            let case = format!("first map of 1 GiB, {kind}, {threads} threads");
            alone(&case, "sdk", 5, || {
                let memory = make().unwrap().share();
                once(|| map(&space, &memory, threads), drop)
            });
        }
    }
}

fn map(space: &Space, memory: &Arc<SharedBuffer>, threads: usize) -> Vec<iommufd::Mapping> {
    let part = LEN / threads;
    let map = |n: usize| {
        let slice = DmaSlice::new(memory, n * part..(n + 1) * part).unwrap();
        let at = Iova::new(START + (n * part) as u64);
        space.ioas.map_at(at, slice, Access::ReadWrite).unwrap()
    };
    thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|n| scope.spawn(move || map(n))).collect();
        let mut mappings = vec![map(0)];
        mappings.extend(others.into_iter().map(|other| other.join().unwrap()));
        mappings
    })
}
