//! What there is on a machine, as sysfs tells: nothing is opened, and nothing changed.
//!
//! All of it is a snapshot. What sysfs does not say, or says in a way that makes no sense, is `None`
//! or left out: a tool shall list a machine that it does not understand in full. Where there is no
//! sysfs, that is an error.

mod class;
mod function;
#[cfg(test)]
mod garbage;
mod group;
mod iommu;
mod node;
mod reset;

pub use class::PciClass;
pub use function::PciFunction;
pub(crate) use function::{driver_override, folder_of};
pub use group::{IommuGroup, IommuGroupType, ReservedKind, ReservedRegion};
pub use iommu::{IommuKind, IommuUnit};
pub use node::VfioNode;
pub use reset::ResetMethod;

use std::fs;
use std::path::Path;

use crate::error::{Error, Result};
use crate::sysfs;

/// The names in a folder that every sysfs with this kind of thing has.
///
/// Without the folder there are none of them, if there is a sysfs at all.
fn listed(sys: &Path, folder: &Path) -> Result<Vec<String>> {
    if !folder.is_dir() {
        // What cannot be looked at is not taken for empty.
        fs::metadata(sys.join("kernel")).map_err(|error| Error::sysfs(sys.to_owned(), error))?;
    }
    sysfs::names(folder).map_err(|error| Error::sysfs(folder.to_owned(), error))
}
