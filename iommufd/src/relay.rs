//! What the relays of all vendors share.

mod port;
mod report;
pub(crate) mod requests;
mod token;

use std::sync::atomic::{AtomicU64, Ordering};

pub use port::Port;
pub(crate) use port::PortNumber;
pub(crate) use report::Reports;
pub use token::{Flushed, NotFlushed, Pending, WrongToken};

/// Which relay it is: no two of a process have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct RelayId(u64);

impl RelayId {
    pub(crate) fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// There is no memory at an address of the guest's, or not that much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the address is not one of the guest's memory")]
pub struct Unreadable;
