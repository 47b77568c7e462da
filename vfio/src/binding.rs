//! Giving functions to VFIO and back, and making virtual functions: what root does through sysfs.
//!
//! Nothing here happens by itself: no `Drop` of this crate writes to sysfs.

mod cause;
mod driver;
mod guard;
mod pending;
mod sriov;
mod switch;
mod takeover;
mod users;
mod write;

pub use driver::{DriverName, InvalidDriverName};
pub use pending::{Pending, Waited};
pub use sriov::Sriov;
pub use switch::RebindError;
pub use takeover::{Former, Takeover};
pub use users::User;
pub use write::SysfsRefusal;
