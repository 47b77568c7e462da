//! Taking the time of two ways to do the same, in turns, and counting what they allocate.

use std::time::{Duration, Instant};

use tests::allocations::during;

/// How a figure is to be taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// How often a sample repeats the work.
    pub(crate) iterations: u32,
    /// Of how many samples the median is taken.
    pub(crate) samples: usize,
}

impl Plan {
    /// So many samples of so many repetitions.
    pub(crate) const fn new(samples: usize, iterations: u32) -> Self {
        Self {
            iterations,
            samples,
        }
    }
}

/// One sample.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    time: Duration,
    work: u32,
    allocations: usize,
}

/// Repeats `work`.
pub(crate) fn repeat(times: u32, mut work: impl FnMut()) -> Sample {
    let mut time = Duration::ZERO;
    let allocations = during(|| {
        let begin = Instant::now();
        for _ in 0..times {
            work();
        }
        time = begin.elapsed();
    });
    Sample {
        time,
        work: times,
        allocations,
    }
}

/// Does `work` once, and then `after`, which does not count.
pub(crate) fn once<T>(work: impl FnOnce() -> T, after: impl FnOnce(T)) -> Sample {
    let mut time = Duration::ZERO;
    let mut result = None;
    let allocations = during(|| {
        let begin = Instant::now();
        result = Some(work());
        time = begin.elapsed();
    });
    result.map(after);
    Sample {
        time,
        work: 1,
        allocations,
    }
}

/// What is to be seen of a figure besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bound {
    /// The SDK may cost half of a hundredth more than the loop, and allocates nothing.
    Gate,
    /// The figure tells what it is.
    Told,
}

/// How many samples do not count: until then there has been as much at once as there will be.
const WARM_UP: usize = 3;

/// Takes the two ways in turns, so that what changes meanwhile changes for both.
pub(crate) fn pair(
    case: &str,
    bound: Bound,
    samples: usize,
    mut raw: impl FnMut() -> Sample,
    mut sdk: impl FnMut() -> Sample,
) {
    // What is there for the first time takes longer, or allocates.
    for _ in 0..WARM_UP {
        raw();
        sdk();
    }
    let mut taken = [Vec::new(), Vec::new()];
    for round in 0..samples {
        if round % 2 == 0 {
            taken[0].push(raw());
            taken[1].push(sdk());
        } else {
            taken[1].push(sdk());
            taken[0].push(raw());
        }
    }
    let [raw, sdk] = taken;
    print(case, "raw", Bound::Told, &raw);
    print(case, "sdk", bound, &sdk);
}

/// Takes what there are not two ways for.
pub(crate) fn alone(case: &str, side: &str, samples: usize, mut work: impl FnMut() -> Sample) {
    work();
    let taken: Vec<Sample> = (0..samples).map(|_| work()).collect();
    print(case, side, Bound::Told, &taken);
}

/// Takes work that is repeated.
pub(crate) fn loops(
    case: &str,
    bound: Bound,
    plan: Plan,
    mut raw: impl FnMut(),
    mut sdk: impl FnMut(),
) {
    let times = plan.iterations;
    pair(
        case,
        bound,
        plan.samples,
        || repeat(times, &mut raw),
        || repeat(times, &mut sdk),
    );
}

#[expect(clippy::print_stdout, reason = "what it is for")]
fn print(case: &str, side: &str, bound: Bound, samples: &[Sample]) {
    let each = |sample: &Sample| sample.time.as_nanos() as f64 / f64::from(sample.work);
    let mut values: Vec<f64> = samples.iter().map(each).collect();
    values.sort_by(f64::total_cmp);
    let median = values[values.len() / 2];
    let (low, high) = (values[0], values[values.len() - 1]);
    let allocations: usize = samples.iter().map(|sample| sample.allocations).sum();
    let gate = bound == Bound::Gate;
    println!(
        "@bench {{\"case\":\"{case}\",\"side\":\"{side}\",\"median\":{median:.1},\"low\":{low:.1},\"high\":{high:.1},\"allocations\":{allocations},\"gate\":{gate}}}"
    );
}

/// Tells a count that is no time.
#[expect(clippy::print_stdout, reason = "what it is for")]
pub(crate) fn tell(case: &str, what: &str, count: usize, wanted: usize) {
    println!(
        "@count {{\"case\":\"{case}\",\"what\":\"{what}\",\"count\":{count},\"wanted\":{wanted}}}"
    );
}
