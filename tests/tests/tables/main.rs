//! The tables in `docs` are complete, and the tests that they name exist.
//!
//! Tables and sources are read as text. Every complaint says what to do.

mod interface;
mod kernel_selftests;
mod rules;
mod text;
mod unsafe_files;
