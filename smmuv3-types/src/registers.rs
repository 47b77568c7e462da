//! Registers of the Non-secure programming interface that have to do with tables (6.3).

mod commands;
mod control;
mod features;
mod gbpa;
mod identification;
mod idr0;
mod idr1;
mod idr3;
mod idr5;
mod iidr;
mod stream_table;
mod vouched;

pub use control::{ControlCacheability, Cr0, Cr1, Cr2, VmidWildcard};
pub use features::{BadFeatures, Features};
pub use gbpa::Gbpa;
pub use identification::IdRegisters;
pub use idr0::{Idr0, StallModel, StreamTableLevels, TableEndianness, TableUpdate};
pub use idr1::{Idr1, Idr2};
pub use idr3::{BreakBeforeMake, Idr3, Idr4};
pub use idr5::{AddressSize, Idr5, InputSize};
pub use iidr::{Aidr, Iidr};
pub use stream_table::{StreamTableFormat, StreamTableSplit, StrtabBase, StrtabBaseCfg};
pub use vouched::{CannotOffer, Vouched};
