//! Lists of safe calls on the kernel's mock driver.
//!
//! Whatever they are, memory stays safe (which AddressSanitizer judges), none is let go of that devices reach, every
//! refusal says why, and when all that was made has been dropped, in whatever order, nothing is left: no object in the
//! kernel, no pinned page, no memory.

mod call;
mod judged;
mod places;
mod pool;
mod stranger;
mod world;

use libfuzzer_sys::arbitrary::{Arbitrary, Unstructured};

pub use call::Call;
use world::World;

/// More than these make a run long, and no more is found.
const MOST: usize = 48;

/// Makes the calls that `input` stands for, and sees to it that nothing is left.
pub fn run(input: &[u8]) {
    let mut input = Unstructured::new(input);
    let mut world = World::new();
    for _ in 0..MOST {
        if input.is_empty() {
            break;
        }
        let Ok(call) = Call::arbitrary(&mut input) else {
            break;
        };
        world.make(call);
    }
    world.end();
}
