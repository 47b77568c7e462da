//! What is wrong with results: by themselves, and beside earlier ones.

use super::machines::Clock;
use super::results::{Case, Results};

/// What the SDK may take of what the loop takes.
pub(crate) const WANTED: f64 = 1.005;
/// By how much a ratio may be larger than it was: another compiler makes other instructions.
const WORSE: f64 = 0.01;

/// Whether a case falls short of what is wanted.
pub(crate) fn falls_short(case: &Case) -> bool {
    case.gate && case.clock == Clock::Counted.name() && case.ratio().is_some_and(|it| it > WANTED)
}

/// What has to be mended, a line each.
///
/// That a ratio is more than [`WANTED`] is not among it: the table shows it. That it is more than it
/// was is.
pub(crate) fn wrong(results: &Results, before: Option<&Results>) -> Vec<String> {
    let mut wrong = Vec::new();
    for count in &results.counts {
        if count.count != count.wanted {
            wrong.push(format!(
                "{}, {}: {} {}, not {}",
                count.arch, count.case, count.count, count.what, count.wanted
            ));
        }
    }
    for case in results.cases.iter().filter(|case| case.gate) {
        let allocations = case.sdk.map_or(0, |figure| figure.allocations);
        if allocations > 0 {
            wrong.push(format!(
                "{}, {}: memory was allocated {allocations} times in a loop that goes on",
                case.arch, case.name
            ));
        }
        if case.clock != Clock::Counted.name() {
            continue;
        }
        let old = before.and_then(|before| before.cases.iter().find(|old| old.is(case)));
        if let (Some(now), Some(then)) = (case.ratio(), old.and_then(Case::ratio))
            && now > then + WORSE
        {
            wrong.push(format!(
                "{}, {}: {now:.4} of what the loop takes; it was {then:.4}",
                case.arch, case.name
            ));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::results::{Count, Figure};

    fn case(raw: f64, sdk: f64) -> Case {
        let figure = |median| {
            Some(Figure {
                median,
                low: median,
                high: median,
                allocations: 0,
            })
        };
        Case {
            arch: "x".to_owned(),
            clock: "counted".to_owned(),
            name: "c".to_owned(),
            gate: true,
            raw: figure(raw),
            sdk: figure(sdk),
        }
    }

    fn results(case: Case) -> Results {
        Results {
            cases: vec![case],
            ..Results::default()
        }
    }

    #[test]
    fn a_ratio_is_judged_by_what_it_was() {
        let before = results(case(1000.0, 1100.0));
        for (sdk, count) in [(1100.0, 0), (1109.0, 0), (1111.0, 1), (900.0, 0)] {
            let now = results(case(1000.0, sdk));
            assert_eq!(wrong(&now, Some(&before)).len(), count, "{sdk}");
            assert!(wrong(&now, None).is_empty());
        }
        // Noise is no reason.
        let mut real = case(1000.0, 2000.0);
        real.clock = "real".to_owned();
        assert!(wrong(&results(real.clone()), Some(&results(case(1.0, 1.0)))).is_empty());
        assert!(!falls_short(&real));
        assert!(falls_short(&case(1000.0, 1006.0)) && !falls_short(&case(1000.0, 1005.0)));
    }

    #[test]
    fn what_allocates_or_calls_too_often_is_wrong() {
        let mut allocates = case(1.0, 1.0);
        if let Some(figure) = &mut allocates.sdk {
            figure.allocations = 1;
        }
        let mut now = results(allocates);
        assert_eq!(wrong(&now, None).len(), 1);
        now.cases[0].gate = false;
        assert!(wrong(&now, None).is_empty());
        now.counts.push(Count {
            arch: "x".to_owned(),
            case: "c".to_owned(),
            what: "ioctls".to_owned(),
            count: 2,
            wanted: 1,
        });
        assert_eq!(wrong(&now, None).len(), 1);
    }
}
