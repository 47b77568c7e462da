//! Translation tables of VMSAv8-64, stage 1: descriptors of 64 bits, granules of 4, 16 and 64 KiB
//! (chapter D8 of the architecture reference manual, Arm DDI 0487).

mod access;
mod descriptor;
mod geometry;
mod granule;
mod mair;
mod walk;

pub use access::{Access, Permissions, Rights};
pub use descriptor::{BadDescriptor, Entry, LeafDescriptor, TableDescriptor};
pub use geometry::{BadGeometry, Geometry, Level};
pub use granule::Granule;
pub use mair::{DeviceMemory, Mair, MemoryType, NormalCache};
pub use walk::{FaultKind, Translation, Walk, WalkFault, WalkStep};
