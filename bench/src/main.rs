//! Measures the SDK against the same ioctls in a plain loop, side by side in one boot. `cargo lab bench` runs it in the
//! lab, on two clocks, and makes tables of what it prints: a line for each figure, which begins with `@bench`.

// This is a program for the lab, where a failure ends it: what clippy lets a test do, it lets this program do.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a benchmark that fails has nothing to go on with"
)]

mod cases;
mod measure;
mod raw;
#[cfg(target_arch = "x86_64")]
mod step;

use tests::allocations::Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["counted"] => cases::counted(),
        ["quick"] => cases::quick(),
        ["real"] => cases::real(),
        #[cfg(target_arch = "x86_64")]
        ["steps"] => step::all(),
        #[cfg(target_arch = "x86_64")]
        ["stepped", name] => step::stepped(name),
        _ => panic!("bench counted|quick|real|steps"),
    }
}
