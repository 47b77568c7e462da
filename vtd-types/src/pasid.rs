//! PASID directory and table entries (9.5, 9.6).

mod decode;
mod directory;
mod entry;
mod nested;

pub use decode::{BadPasidEntry, PasidConfig, PasidTranslation};
pub use directory::{NoPasidEntry, PasidDirectoryEntry, PasidLookup};
pub use entry::{FirstStageLevels, PasidEntry, PasidTranslationType};
pub use nested::{NestedPasidEntry, NotNested};
