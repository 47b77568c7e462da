//! What the fuzzers share.

pub mod calls;
pub mod choices;
pub mod kcov;
pub mod raw;
pub mod reads;
mod taints;
pub mod words;
