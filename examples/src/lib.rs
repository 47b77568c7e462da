//! Programs to start from, in `src/bin`, and the drivers that they share.

pub mod bar_registers;
pub mod edu;
pub mod guest;
pub mod lsiommu;
pub mod virtual_smmu;
pub mod virtual_vtd;
pub mod vtd_guest;

/// The examples in the README compile.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
