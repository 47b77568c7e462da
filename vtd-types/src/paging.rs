//! What the tables of both stages have in common (3.6, 3.7).

mod access;
mod level;

pub use access::{Access, Permissions, Rights};
pub use level::{BadPagingEntry, EntryUpdate, Level};

pub(crate) use level::{encoded, page_bits};
