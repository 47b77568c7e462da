//! The relay for VT-d, driven by guests that are simulated, over a host that is.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test's own mistakes are to be seen"
)]

mod descriptors;
mod devices;
mod entries;
mod faults;
mod guest;
mod linux;
mod migration;
mod model;
mod offer;
mod properties;
mod queue;
#[path = "../relay/random.rs"]
mod random;
mod refusals;
mod registers;
mod requests;
mod wait;
mod world;
