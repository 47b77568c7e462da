//! The invalidation queue and the page request queue: their registers, and where their producer and
//! consumer are (6.5.2, 7.4, 11.4.9, 11.4.11).

mod error;
mod registers;
mod ring;

pub use error::{Iqercd, QueueError};
pub use registers::{DescriptorWidth, Ics, Iqa, Pqa, Prs, QueueOffset};
pub use ring::{BadOffset, EntrySize, Ring, RingIndices};
