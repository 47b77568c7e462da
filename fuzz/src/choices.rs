//! Numbers that an input chooses, for the property tests of the relays in `iommufd/tests`, which take random ones.

use std::cell::RefCell;

thread_local! {
    static LEFT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// From now on `input` chooses.
pub fn begin(input: &[u8]) {
    LEFT.with_borrow_mut(|left| {
        left.clear();
        left.extend(input.iter().rev());
    });
}

/// Whether the input has come to its end.
#[must_use]
pub fn is_over() -> bool {
    LEFT.with_borrow(Vec::is_empty)
}

fn chosen(bytes: usize) -> u64 {
    LEFT.with_borrow_mut(|left| {
        (0..bytes).fold(0, |word, _| word << 8 | u64::from(left.pop().unwrap_or(0)))
    })
}

/// What the tests know as a generator of random numbers.
///
/// They give a guest's generator a seed with the upper bit set, and a host's one without. So what the guest does is
/// chosen, and what the host refuses, which it asks at every call, is random.
#[derive(Debug, Clone)]
pub struct Random {
    state: Option<u64>,
}

impl Random {
    /// Of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            state: (seed >> 63 == 0).then_some(seed),
        }
    }

    /// Any number.
    #[expect(clippy::should_implement_trait, reason = "named as the tests name it")]
    pub fn next(&mut self) -> u64 {
        self.number(8)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        let bytes = if bound <= 0x100 { 1 } else { 8 };
        self.number(bytes) % bound
    }

    /// Whether something is so, in so many of a hundred cases.
    pub fn chance(&mut self, of_100: u64) -> bool {
        self.below(100) < of_100
    }

    /// One of them.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }

    fn number(&mut self, bytes: usize) -> u64 {
        let Some(state) = &mut self.state else {
            return chosen(bytes);
        };
        *state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        *state >> 33
    }
}
