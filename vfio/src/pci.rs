//! What PCI functions say of themselves: the fields of their [configuration
//! space](crate::ConfigSpace), their expansion ROM, and what s390 adds.
//!
//! A function is not trusted: whatever it answers is a value of these types, or an error.

pub use crate::config::{
    Ats, Bar, BarArea, ClassCode, Command, ExpressKind, Header, HeaderLayout, InterruptPin, Msi,
    MsiX, PageRequests, PasidCapability, PciExpress, PowerManagement, PowerState, SrIov, Status,
    VendorCapability,
};
pub use crate::info::{Zpci, ZpciFunction, ZpciGroup};
pub use crate::region::{ExpansionRom, RomCode, RomImage};
