//! Which tests need more of Linux than the older kernels that the lab runs on: all others have to pass there, too.
//!
//! A test that is listed here is run on an older kernel all the same, by itself. It has to fail there, and where the SDK
//! has an error for what is missing ([`Told::Typed`]), by that. So the list is neither too short, nor longer than it need
//! be: what began to pass has to be taken out.

mod list;

use self::list::NEEDS;
use crate::error::{Error, Result};
use crate::features::{Feature, Told};
use crate::series::Series;

/// What some tests of a program need.
#[derive(Debug)]
struct Need {
    /// The test program, by the name of its file or folder.
    program: &'static str,
    /// The tests, by their names as the program lists them, in which a `*` is whatever there is; all of its tests, if none
    /// is named.
    tests: &'static [&'static str],
    /// What they need.
    feature: &'static Feature,
    /// How they learn that it is not there.
    told: Told,
    /// On which architecture; on all, if none is named.
    arch: Option<&'static str>,
}

/// All tests of a program.
const fn all(program: &'static str, feature: &'static Feature) -> Need {
    some(program, &[], feature)
}

/// Some of them.
const fn some(
    program: &'static str,
    tests: &'static [&'static str],
    feature: &'static Feature,
) -> Need {
    Need {
        program,
        tests,
        feature,
        told: feature.told,
        arch: None,
    }
}

impl Need {
    /// On this architecture alone; on others the tests have to pass without it.
    const fn on(self, arch: &'static str) -> Self {
        Self {
            arch: Some(arch),
            ..self
        }
    }

    /// They are refused like what the hardware has not, or find that something is not as they expect.
    const fn refused(self) -> Self {
        Self {
            told: Told::Refused,
            ..self
        }
    }

    /// Whether it is one of its tests.
    fn has(&self, program: &str, test: &str) -> bool {
        let named = || self.tests.iter().any(|name| is(name, test));
        self.program == program && (self.tests.is_empty() || named())
    }
}

/// Whether a name of a list is that of a test, or of a test program.
pub(crate) fn is(name: &str, test: &str) -> bool {
    match name.split_once('*') {
        None => name == test,
        Some((begins, ends)) => {
            let rest = test.strip_prefix(begins);
            rest.is_some_and(|rest| rest.ends_with(ends))
        }
    }
}

/// What a test lacks on a kernel: the feature that it needs, and how it has to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lack {
    pub(crate) feature: &'static Feature,
    pub(crate) told: Told,
}

/// What a test lacks on the Linux of a series, on an architecture. A kernel of which that is not known is to have everything.
pub(crate) fn lack(program: &str, test: &str, series: Option<Series>, arch: &str) -> Option<Lack> {
    let series = series?;
    let lacks = |need: &&Need| {
        need.has(program, test)
            && need.feature.since > series
            && need.arch.is_none_or(|on| on == arch)
    };
    NEEDS.iter().find(lacks).map(|need| Lack {
        feature: need.feature,
        told: need.told,
    })
}

/// How a kernel that lacks a feature is told of, by one of the tests that need it at least.
pub(crate) fn told(feature: &Feature) -> Told {
    let is_typed = |need: &Need| need.feature == feature && need.told == Told::Typed;
    match NEEDS.iter().any(is_typed) {
        true => Told::Typed,
        false => Told::Refused,
    }
}

/// Fails if the list has a program that there is not: what it says is of nothing.
pub(crate) fn check_programs(programs: &[String]) -> Result<()> {
    let known = |need: &&Need| programs.iter().any(|program| program == need.program);
    let unknown = NEEDS.iter().find(|need| !known(need));
    unknown.map_or(Ok(()), |need| {
        Err(stale(format!("there is no test program {}", need.program)))
    })
}

/// Fails if the list has a test that a program, whose tests these are, has not.
pub(crate) fn check_tests(program: &str, tests: &[String]) -> Result<()> {
    let needs = NEEDS.iter().filter(|need| need.program == program);
    let known = |name: &&&str| tests.iter().any(|test| is(name, test));
    let mut listed = needs.flat_map(|need| need.tests);
    listed.find(|test| !known(test)).map_or(Ok(()), |test| {
        Err(stale(format!("{program} has no test {test}")))
    })
}

fn stale(what: String) -> Error {
    Error::new(what)
        .because(format!("{} says what it needs", list::FILE))
        .next("correct the name there, or take the line out")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features as f;

    #[test]
    fn a_test_lacks_only_what_is_newer_than_the_kernel() {
        let lack = |series| lack("hw_queue", "any", series, "x86_64");
        assert_eq!(
            lack(Some(Series::new(6, 12))).map(|lack| lack.feature),
            Some(&f::HARDWARE_QUEUES)
        );
        assert_eq!(lack(Some(Series::new(6, 17))), None);
        assert_eq!(lack(None), None, "an image has to have everything");
    }

    #[test]
    fn what_one_architecture_lacks_another_may_have() {
        let on = |arch| {
            lack(
                "dma",
                "a_detached_device_reaches_nothing",
                Some(Series::new(6, 12)),
                arch,
            )
        };
        assert_eq!(
            on("aarch64").map(|lack| lack.feature),
            Some(&f::MOVED_INTERRUPTS)
        );
        assert_eq!(on("x86_64"), None);
    }

    #[test]
    fn a_star_is_whatever_there_is() {
        for (name, test, answer) in [
            ("one", "one", true),
            ("one", "one::two", false),
            ("a::*::file", "a::b::file", true),
            ("a::*::file", "a::file", false),
            ("a::*::file", "a::b::memory", false),
        ] {
            assert_eq!(is(name, test), answer, "{name} {test}");
        }
    }

    #[test]
    fn every_line_is_of_use_on_a_kernel_that_the_lab_is_tested_on() {
        for (number, need) in NEEDS.iter().enumerate() {
            let since = need.feature.since;
            assert!(f::KERNELS.iter().any(|series| *series < since), "{need:?}");
            let earlier = &NEEDS[..number];
            for test in need.tests {
                let said =
                    |other: &Need| other.has(need.program, test) && other.feature == need.feature;
                assert!(!earlier.iter().any(said), "{} {test}", need.program);
            }
        }
    }

    #[test]
    fn a_kernel_is_shown_to_lack_whatever_is_newer_and_in_the_way_that_it_is_to_be() {
        let oldest = *f::KERNELS.iter().min().unwrap();
        for feature in f::ALL.iter().filter(|feature| feature.since > oldest) {
            assert!(
                NEEDS.iter().any(|need| need.feature == *feature),
                "{feature:?}"
            );
            assert_eq!(told(feature), feature.told, "{feature:?}");
        }
    }

    #[test]
    fn a_name_that_nothing_has_is_an_error() {
        let mut programs: Vec<String> = NEEDS.iter().map(|need| need.program.to_owned()).collect();
        check_programs(&programs).unwrap();
        programs.clear();
        assert!(check_programs(&programs).is_err());
        for need in NEEDS.iter().filter(|need| !need.tests.is_empty()) {
            let error = check_tests(need.program, &[]).unwrap_err().to_string();
            assert!(error.contains(need.program), "{error}");
        }
        check_tests("no such program", &[]).unwrap();
    }
}
