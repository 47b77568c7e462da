//! Root entries, and the way to a context entry (3.4.2, 3.4.3, 9.1, 9.2).

mod entry;
mod table;

pub use entry::{RootEntry, ScalableRootEntry};
pub use table::{
    BadRootEntry, BadRootTable, LegacyRootLookup, RootLookup, RootTable, ScalableRootLookup,
};
