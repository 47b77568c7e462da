//! Programs to start from, in `src/bin`, and the drivers that they share.

pub mod edu;
