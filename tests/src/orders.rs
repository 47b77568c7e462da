//! Orders in which things can be done.

use crate::observe::Recorder;

/// One thing to be dropped, whatever it is.
pub type Droppable = Option<Box<dyn Send>>;

/// Drops `graph` in this order: the kernel refuses nothing, and nothing is told to be kept.
pub fn drop_in<const N: usize>(order: &[usize; N], mut graph: [Droppable; N], recorder: &Recorder) {
    recorder.clear();
    for which in order {
        graph[*which] = None;
    }
    for (name, answer) in recorder.answers() {
        assert_eq!(answer, Ok(()), "{name} in the order {order:?}");
    }
    assert_eq!(recorder.refusals(), [], "{order:?}");
}

/// All orders of the numbers below `N`, by Heap's algorithm.
pub fn orders<const N: usize>(mut visit: impl FnMut(&[usize; N])) {
    let mut order = std::array::from_fn(|n| n);
    let mut stack = [0; N];
    visit(&order);
    let mut n = 1;
    while n < N {
        if stack[n] < n {
            let other = if n.is_multiple_of(2) { 0 } else { stack[n] };
            order.swap(other, n);
            visit(&order);
            stack[n] += 1;
            n = 1;
        } else {
            stack[n] = 0;
            n += 1;
        }
    }
}

/// Some of the orders of the numbers below `N`, where there are too many of them: `count`, in which everything comes before
/// everything else now and then. Always the same.
pub fn some_orders<const N: usize>(count: usize, mut visit: impl FnMut(&[usize; N])) {
    let mut order = std::array::from_fn(|n| n);
    // Knuth's MMIX generator, of which the upper bits are good.
    let mut state: u64 = 1;
    let mut below = |end: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % end
    };
    for _ in 0..count {
        for last in (1..N).rev() {
            order.swap(last, below(last + 1));
        }
        visit(&order);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn all_orders_are_all_and_different() {
        let mut seen = HashSet::new();
        orders::<5>(|order| assert!(seen.insert(*order)));
        assert_eq!(seen.len(), 120);
    }

    #[test]
    fn in_some_orders_everything_comes_before_everything_else() {
        let mut before = HashSet::new();
        let mut count = 0;
        some_orders::<12>(100, |order| {
            count += 1;
            let mut sorted = *order;
            sorted.sort_unstable();
            assert!(sorted.into_iter().eq(0..12));
            for (at, first) in order.iter().enumerate() {
                before.extend(order[at + 1..].iter().map(|later| (*first, *later)));
            }
        });
        assert_eq!((count, before.len()), (100, 12 * 11));
    }
}
