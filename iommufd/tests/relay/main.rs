//! The relay, driven by guests that are simulated, over a host that is.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test's own mistakes are to be seen"
)]

mod commands;
mod devices;
mod faults;
mod guest;
mod linux;
mod migration;
mod model;
mod properties;
mod queue;
mod random;
mod refusals;
mod registers;
mod requests;
mod sync;
mod world;
