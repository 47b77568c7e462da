//! Fails with E0277: an observer of one thread; ioctls are made, and handles dropped, on any.

use std::cell::Cell;
use std::sync::atomic::AtomicU64;

use iommufd::Observer;

struct Counter<N>(N);

#[cfg(feature = "misuse")]
impl Observer for Counter<Cell<u64>> {}

#[cfg(not(feature = "misuse"))]
impl Observer for Counter<AtomicU64> {}

fn case(local: Cell<u64>, shared: AtomicU64) -> u64 {
    Counter(local).0.into_inner() + Counter(shared).0.into_inner()
}

fn main() {
    let _checked = case;
}
