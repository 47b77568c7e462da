//! Faults that cannot be recovered from: why a request was blocked, and how that is told (7.1, 7.2,
//! 9.9).

mod reason;
mod record;

pub use reason::FaultReason;
pub use record::{AddressType, BadFault, Fault, FaultRecord, RequestFault, RequestKind};
