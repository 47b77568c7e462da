//! Stream table entries (5.2).

mod decode;
mod fields;
mod nested;
mod raw;
mod stage1;

pub use decode::{BadSte, Reduced, Stage2, SteConfig};
pub use fields::{AllocationHints, AtsMode, IncomingOverride, ShareabilityOverride, StreamConfig};
pub use nested::{NestedConfig, NestedSte, RefusedSte};
pub use raw::Ste;
pub use stage1::{DefaultSubstream, Stage1};
