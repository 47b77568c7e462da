//! `cargo lab fuzz --report`: what the corpora reach of iommufd, beside what the kernel's own selftests reach.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::guest::{self, Guest, Kept};
use super::{Files, GUEST, LIMITS, build};
use crate::arch::COVERAGE;
use crate::cache::{Cache, Lock, directory_name};
use crate::cli::Options;
use crate::command::{self, command};
use crate::coverage::{self, Points};
use crate::error::{Doing, Error, Result};
use crate::headers;
use crate::host::SELFTESTS;
use crate::kernel;
use crate::progress::say;
use crate::setup;

/// What its boot is called.
const NAME: &str = "report";
/// The time limit of the boot.
const LIMIT: Duration = Duration::from_secs(1800);
/// The kernel's own test programs of iommufd.
const PROGRAMS: [&str; 2] = ["iommufd", "iommufd_fail_nth"];
/// Where they are in the kernel's source.
const SOURCES: &str = "tools/testing/selftests/iommu";
/// The mock driver, which is in the same directory and is no part of iommufd.
const MOCK: &str = "selftest.c";

/// Addresses that were reached.
type Reached = BTreeSet<u64>;

/// `cargo lab fuzz --report`.
pub(super) fn run(options: &Options) -> Result<u8> {
    let lab = guest::lab(options)?;
    let points = coverage::points(&lab.kernel.image)?;
    let preload = build::preload()?;
    drop(Kept::left_by(NAME));
    let mut guest = Guest::new(NAME)?;
    let preload = guest.bring(&preload)?;
    for target in GUEST {
        let fuzzer = guest.bring(&build::build(target)?)?;
        guest.bring_directory(&Files::of(target)?.corpus, target)?;
        let limits = LIMITS.join(" ");
        guest.line(&format!(
            "FUZZ_REACHED=/tmp/kept/{target} {fuzzer} {limits} -runs=0 /tmp/{target} >/tmp/{target}.log 2>&1 || \
             {{ status=1; tail -n 30 /tmp/{target}.log >&3; }}"
        ));
    }
    // The fuzzers have set it to what they need.
    guest.line("echo 128 >/proc/sys/vm/nr_hugepages");
    for program in selftests()? {
        let name = program
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let path = guest.bring(&program)?;
        guest.line(&format!(
            "FUZZ_REACHED=/tmp/kept/{name} LD_PRELOAD={preload} {path} >/tmp/{name}.log 2>&1; \
             grep -E '^(not ok|# (PASSED|FAILED|Totals))' /tmp/{name}.log >&3"
        ));
    }
    // Every test is a process of its own, which writes all that it reaches.
    guest.line("for file in /tmp/kept/*; do sort -u -o $file $file; done");
    say("booting, to run the corpora, and the kernel's own tests");
    let (outcome, kept) = guest.boot(&lab, LIMIT, &mut crate::run::hand_on);
    let outcome = outcome?;
    let reached = |names: &[&str]| -> Result<Reached> {
        let mut reached = Reached::new();
        for name in names {
            reached.extend(
                read(&kept.path(name))?
                    .into_iter()
                    .filter(|at| points.contains_key(at)),
            );
        }
        Ok(reached)
    };
    let (fuzzers, tests) = (reached(&GUEST)?, reached(&PROGRAMS)?);
    print(
        &points,
        &[
            ("safe_calls", reached(&GUEST[..1])?),
            ("raw_ioctls", reached(&GUEST[1..])?),
            ("fuzzers", fuzzers.clone()),
            ("selftest", reached(&PROGRAMS[..1])?),
            ("fail_nth", reached(&PROGRAMS[1..])?),
            ("selftests", tests.clone()),
        ],
    );
    let all: Reached = points.keys().copied().collect();
    let either = &fuzzers | &tests;
    for (who, places) in [
        ("only the fuzzers reach", &fuzzers - &tests),
        ("only the selftests reach", &tests - &fuzzers),
        ("nobody reaches", &all - &either),
    ] {
        print_functions(who, &points, &places);
    }
    Ok(outcome.status)
}

/// Prints in which functions some places are.
fn print_functions(who: &str, points: &Points, places: &Reached) {
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for place in places.iter().filter_map(|address| points.get(address)) {
        *counts.entry((&place.source, &place.function)).or_default() += 1;
    }
    println!("\n{who} {}:", places.len());
    let mut source = "";
    for ((file, function), count) in counts {
        if source != file {
            print!("{}  {file}:", if source.is_empty() { "" } else { "\n" });
            source = file;
        }
        print!(" {function} {count}");
    }
    println!();
}

/// The addresses in a file; none if nothing was reached.
fn read(file: &Path) -> Result<Reached> {
    if !file.is_file() {
        return Ok(Reached::new());
    }
    let text = fs::read_to_string(file).doing(|| format!("cannot read {}", file.display()))?;
    Ok(text
        .lines()
        .filter_map(|line| u64::from_str_radix(line, 16).ok())
        .collect())
}

/// Prints a line for each source, and one for all but the mock driver, and one for all.
fn print(points: &Points, columns: &[(&str, Reached)]) {
    let mut rows: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (address, place) in points {
        let iommufd = (place.source != MOCK).then_some("iommufd");
        for row in [Some(place.source.as_str()), iommufd, Some("with the mock")]
            .into_iter()
            .flatten()
        {
            let counts = rows
                .entry(row)
                .or_insert_with(|| vec![0; columns.len() + 1]);
            counts[0] += 1;
            for (count, (_, reached)) in counts[1..].iter_mut().zip(columns) {
                *count += usize::from(reached.contains(address));
            }
        }
    }
    print!("{:<20}{:>8}", "", "places");
    for (name, _) in columns {
        print!("{name:>12}");
    }
    println!();
    for (row, counts) in rows {
        print!("{row:<20}{:>8}", counts[0]);
        for count in &counts[1..] {
            print!("{count:>12}");
        }
        println!();
    }
}

/// The kernel's own tests of iommufd, built in the cache from its source.
fn selftests() -> Result<Vec<PathBuf>> {
    let cache = Cache::open()?;
    let version = COVERAGE.cached_version(&cache, None);
    let version = version.ok_or_else(|| Error::new("the lab's kernel is gone from its cache"))?;
    let name = Path::new("selftests").join(directory_name(&version.0));
    let built = cache.path(&name);
    if !built.is_dir() {
        build_selftests(&cache.lock()?, &name)?;
    }
    Ok(PROGRAMS.map(|program| built.join(program)).to_vec())
}

fn build_selftests(lock: &Lock, name: &Path) -> Result<PathBuf> {
    setup::install(lock, SELFTESTS)?;
    let (_, tree) = kernel::source_tree(lock, None, false)?;
    let (_, headers) = headers::make(lock, &COVERAGE, false)?;
    say("building the kernel's own tests of iommufd");
    let place = lock.workplace("selftests")?;
    for program in PROGRAMS {
        let mut compiler = command("gcc");
        compiler
            .args(["-O2", "-w", "-D_GNU_SOURCE=", "-isystem"])
            .arg(&headers)
            .arg("-I")
            .arg(tree.join("tools/testing/selftests"))
            .arg("-o")
            .arg(place.join(program))
            .arg(tree.join(SOURCES).join(format!("{program}.c")))
            .arg("-lcap");
        command::output(&mut compiler)?;
    }
    lock.publish(&place, name)
}
