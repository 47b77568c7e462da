//! What the integration tests share: the kernel's mock driver, memory whose end can be seen, observers that remember,
//! forks, time limits and injected faults.
//!
//! A test that needs the mock driver is `#[ignore]`d on the host and run by `cargo lab test`, as root, one at a time.

// This package is tests through and through; what clippy lets a test do, it lets this crate's helpers do.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a helper of a test fails the test"
)]

pub mod accounted;
pub mod allocations;
pub mod at;
pub mod bare;
pub mod both_ways;
pub mod dirty;
pub mod edu;
pub mod eventfd;
pub mod faults;
pub mod file;
pub mod fork;
pub mod groups;
pub mod guest;
pub mod guest_memory;
pub mod hw_info;
pub mod ids;
pub mod igb;
pub mod kernel;
pub mod kvm;
pub mod lost_answer;
pub mod memcpy;
pub mod memory;
pub mod mock;
pub mod mtty;
pub mod observe;
// The program that runs on every format. Unit tests run it, too, on VT-d's by the bytes that the kernel is given.
#[path = "../../iommufd/src/format/once.rs"]
pub mod once;
pub mod orders;
pub mod page_requests;
pub mod pasids;
pub mod platform;
pub mod raw;
pub mod relay;
pub mod smmu;
pub mod sriov;
pub mod torn;
pub mod unplug;
pub mod victim;
pub mod virtual_functions;
pub mod within;
pub mod yes;

use rustix::io::Errno;

/// Asserts that the kernel refused, with `errno`, and that the error explains it.
#[track_caller]
pub fn refused<T>(result: Result<T, impl Into<iommufd::Error>>, errno: Errno) {
    let Err(error) = result else {
        panic!("the kernel accepted what it had to refuse with {errno:?}");
    };
    let error = error.into();
    assert_eq!(error.errno(), Some(errno), "{error}");
    assert!(!error.to_string().contains("not a documented"), "{error}");
}
