//! The three queues of an SMMU: their registers, and what is reported outside of them (3.5, 7.1,
//! 7.4, 7.5, 8.1).

mod errors;
mod index;
mod registers;

pub use errors::{CommandError, GlobalErrorRegisters, GlobalErrors};
pub use index::{QueueIndex, QueueIndices, QueueSize};
pub use registers::{CmdqCons, CmdqProd, EntrySize, OutputCons, OutputProd, QueueBase};
