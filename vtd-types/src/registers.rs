//! Registers of a remapping unit that have to do with tables and queues (11.4).

mod cap;
mod capabilities;
mod ecap;
mod features;
mod global;
mod host;
mod root_table;
mod status;

pub use cap::{Agaw, Cap};
pub use capabilities::Capabilities;
pub use ecap::Ecap;
pub use features::Features;
pub use global::{Gcmd, Gsts};
pub use host::{CannotOffer, HostCapabilities};
pub use root_table::{Rtaddr, TableMode};
pub use status::{EventControl, Fsts};
