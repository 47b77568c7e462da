//! The structures and registers of hardware, as its specification draws them: words, of which each
//! bit is some field's.
//!
//! For a crate of the types of one piece of hardware, such as an IOMMU. What it takes from the
//! specification is then a table, with the specification's own names and numbers of bits, and the
//! rest is made by macros:
//!
//! - [`record!`]: a structure or register that keeps every bit, with a getter and a setter for each
//!   field.
//! - [`encoding!`]: an enum of what a field can hold. Encodings that are reserved are a
//!   [`Reserved`] that names the field.
//! - [`numbered!`]: an enum of what the specification numbers: commands, events, faults.
//! - [`id!`] and [`address!`]: a type of its own for each kind of number and for each space of
//!   addresses.
//! - [`in_memory!`]: words and bytes for a structure whose fields depend on what it is.
//!
//! Under them are a [`Field`] of a word, and arithmetic on [`bits`] that has nothing to check. No
//! allocation, no panics, no unsafe: what is wrong in a table does not compile.
//!
//! ```
//! use hardware_records::{address, encoding, id, record};
//!
//! address! {
//!     /// An address of the guest's.
//!     pub struct Gpa, 52 bits;
//! }
//!
//! id! {
//!     /// A domain: the tag of translations in the caches (2.1).
//!     pub struct DomainId(u16);
//! }
//!
//! encoding! {
//!     /// How many levels of tables there are: `DTE.Levels` (2.2). Others are reserved.
//!     pub enum Levels {
//!         /// Three.
//!         Three = 0b011,
//!         /// Four.
//!         Four = 0b100,
//!     }
//! }
//!
//! record! {
//!     /// A device table entry (2.2).
//!     pub struct DeviceEntry([u64; 2]), "DTE", "2.2";
//!
//!     /// Whether it counts.
//!     flag v, with_v: "V", 0 [0];
//!     /// How many levels of tables there are.
//!     coded(Levels) levels, with_levels: "Levels", 0 [11:9];
//!     /// The first table.
//!     address(Gpa) root, with_root: "Root", 0 [51:12];
//!     /// The domain.
//!     id(DomainId) domain, with_domain: "DomainID", 1 [15:0];
//! }
//!
//! let entry = DeviceEntry::default()
//!     .with_v(true)
//!     .with_levels(Levels::Four)
//!     .with_root(Gpa::new(0x1_2345_6000).expect("of 52 bits"))
//!     .with_domain(DomainId::new(3));
//! assert_eq!(entry.words(), [0x1_2345_6801, 3]);
//!
//! // A guest has written what the specification reserves.
//! let reserved = DeviceEntry::from_words([0xe01, 3]).levels().unwrap_err();
//! assert_eq!(reserved.to_string(), "DTE.Levels holds the reserved value 0x7");
//! ```
//!
//! With the feature `testing` there is a module of that name, of what the tests and benchmarks of
//! such crates share.
#![no_std]
#![forbid(unsafe_code)]

mod address;
pub mod bits;
mod encoding;
mod field;
mod id;
mod numbered;
mod record;
mod reserved;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use field::Field;
pub use reserved::{Reserved, reserved};

/// What the macros need where they are used.
#[doc(hidden)]
pub mod __private {
    pub use crate::record::check::check;
    pub use zerocopy::little_endian::U64;
    pub use zerocopy::transmute;
}
