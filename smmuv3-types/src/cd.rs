//! Context descriptors (5.4) and their tables (5.3).

mod build;
mod decode;
mod lookup;
mod pointer;
mod raw;
mod table;

pub use build::BadRoot;
pub use decode::{BadCd, CdConfig, Context, FaultPolicy, Tree};
pub use lookup::{CdDescriptorLookup, CdLookup, L1ContextDescriptor, NoContext};
pub use pointer::{CdTableFormat, ContextPointer, SubstreamBits};
pub use raw::Cd;
pub use table::{CdTable, MisalignedCdTable};
