//! `cargo lab test`: all tests; those of the host by cargo, and those that need the lab's kernel in one boot of each
//! machine.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use crate::arch::Arch;
use crate::boot::{self, Job, Outcome, colour, quoted};
use crate::cli::Options;
use crate::codegen::TESTS_SOURCE;
use crate::command;
use crate::error::{Doing, Error, Result};
use crate::features::Told;
use crate::lacking;
use crate::machine::Machine;
use crate::needs::{self, Lack};
use crate::places;
use crate::programs::{self, Executable};
use crate::progress::{say, span};
use crate::run::hand_on;
use crate::setup::{self, Lab};
use crate::tally::Tally;

/// The time limit of a boot.
const LIMIT: Duration = Duration::from_secs(1800);
/// The time limit of a test program. The guest's init keeps it, and says where the program was.
const PATIENCE: Duration = Duration::from_secs(420);
/// For how long the guest can be silent: it ends a program before, if it can do anything at all.
const SILENCE: Duration = Duration::from_secs(480);
/// How often a machine may stand still before that counts as what the tests have done to it.
const RESTARTS: usize = 2;
/// The package of the integration tests.
const TESTS: &str = "tests";
/// What the report of a test program begins with.
const TEST: &str = "test";
/// The exit status of a test runner with a test that failed.
const TESTS_FAILED: u8 = 101;

/// `cargo lab test`.
pub(crate) fn run(options: &Options) -> Result<u8> {
    let arches = options.arches();
    let labs = arches.iter().map(|arch| setup::prepare(options, arch));
    let labs: Vec<Lab> = labs.collect::<Result<_>>()?;
    let filter = options.filter.as_deref();
    let mut host = Tally::default();
    let mut status = 0;
    // Who names an architecture or a file wants its tests in the lab.
    if !options.skip_host && options.arch.is_none() && options.file.is_none() {
        (host, status) = on_host(filter)?;
        say(format!("host tests: {host}"));
    }
    let mut booted = false;
    for lab in &labs {
        if status != 0 && !options.no_fail_fast {
            say(format!(
                "the kernel's tests on {} were not run (--no-fail-fast runs them all the same)",
                lab.arch.name
            ));
            continue;
        }
        let all = runners(lab, filter, options.file.as_deref())?;
        for &machine in lab.arch.machines {
            let here = |runner: &&Runner| {
                places::runs_on(&stem(&runner.source), machine, lab.kernel.series)
            };
            let runners: Vec<Runner> = all.iter().filter(here).cloned().collect();
            if !runners.is_empty() {
                booted = true;
                let verdict = in_the_lab(options, lab, machine, &runners)?;
                status = if status == 0 { verdict } else { status };
            }
        }
    }
    if booted || status != 0 {
        return Ok(status);
    }
    match filter {
        // Every test of that name is one of the host's, and has been run.
        Some(name) if host.ran() > 0 => {
            say(format!(
                "kernel tests: none has `{name}` in its name; nothing to boot for"
            ));
            Ok(status)
        }
        Some(name) => Err(Error::new(format!(
            "no test for these machines has `{name}` in its name, or in its file's"
        ))
        .because("lab/src/places.rs says which test programs run on some machines only")
        .next("leave out --arch, or look for the name in tests/tests")),
        None => Err(Error::new("there was no kernel test to run")
            .because("the file has none, or lab/src/places.rs has it run on other machines")
            .next(
                "leave out --arch; a test for the lab is marked #[ignore = \"needs ...: cargo lab test\"]",
            )),
    }
}

/// Runs test programs on one machine.
///
/// All of them in one boot, unless the machine stands still: QEMU loses an interrupt now and then. A program that hangs
/// is another matter, and the guest's to tell: a guest that says nothing of it is not what the tests test. So the rest is
/// run in another boot, from the program that had not ended.
fn in_the_lab(
    options: &Options,
    lab: &Lab,
    machine: &'static Machine,
    runners: &[Runner],
) -> Result<u8> {
    say(format!(
        "booting {} for {} kernel tests in {} programs",
        machine.name,
        expected(runners),
        runners.len()
    ));
    if let Some(series) = lab.kernel.series {
        let lacks = runners.iter().flat_map(|runner| &runner.lacks);
        lacking::announce(series, lacks.map(|(_, lack)| *lack));
    }
    let mut left = runners;
    let mut restarts = 0;
    let mut status = 0;
    loop {
        let mut ran = Tally::default();
        let job = job(options, machine, left);
        let outcome = boot::run(lab, &programs::target_directory(), &job, &mut |bytes| {
            hand_on(bytes);
            ran.read(bytes);
        })?;
        if ran.is_inside_a_line() {
            eprintln!(); // The last test program ended without a result.
        }
        say(format!(
            "kernel tests on {}: {ran}, in a boot of {}",
            machine.name,
            span(outcome.elapsed)
        ));
        let reports = outcome.reports.iter().filter_map(|report| fields(report));
        let ended = reports.filter(|[kind, ..]| *kind == TEST);
        let (done, rest) = left.split_at(left.len().min(ended.count()));
        let Some(state) = &outcome.stood_still else {
            let verdict = verdict(&outcome, &ran, expected(left))?;
            return Ok(if status == 0 { verdict } else { status });
        };
        let during = rest.first().map_or("the end", |runner| &runner.source);
        say(format!(
            "the emulated machine has stood still in {during}: nothing came from it for {}",
            span(SILENCE)
        ));
        let is_place = |line: &&str| line.contains("RIP=") || line.contains(" PC=");
        for line in state.lines().filter(is_place) {
            eprintln!("{}", line.trim_end());
        }
        if restarts == RESTARTS {
            return Err(Error::new(format!("the emulated machine stood still {} times", restarts + 1))
                .because("once may be the emulator's fault, which loses an interrupt now and then; this is too often")
                .next(format!("see what its processors did, in target/lab/{}", boot::STOOD_STILL)));
        }
        let verdict = verdict(
            &Outcome {
                status: failed(&outcome),
                ..outcome
            },
            &ran,
            expected(done),
        )?;
        status = if status == 0 { verdict } else { status };
        restarts += 1;
        left = rest;
        say("going on with it in another boot");
    }
}

/// How many tests these programs have for the lab.
fn expected(runners: &[Runner]) -> usize {
    runners.iter().map(|runner| runner.tests).sum()
}

/// The status of the first test program that failed.
fn failed(outcome: &Outcome) -> u8 {
    let reports = outcome.reports.iter().filter_map(|report| fields(report));
    let mut statuses = reports
        .filter(|[kind, ..]| *kind == TEST)
        .filter_map(|[_, status, ..]| status.parse().ok());
    statuses.find(|status| *status != 0).unwrap_or(0)
}

/// Runs the tests that need no lab.
fn on_host(filter: Option<&str>) -> Result<(Tally, u8)> {
    let mut cargo = programs::cargo();
    // Its output is a pipe, so it is told what a terminal would tell it.
    let paint = if colour() { "always" } else { "never" };
    cargo.args(["test", "--workspace", "--color", paint]);
    if colour() {
        cargo.args(["--", "--color", "always"]).args(filter);
    } else if filter.is_some() {
        cargo.arg("--").args(filter);
    }
    let shown = command::show(&cargo);
    say(format!("running `{shown}`"));
    let mut child = cargo
        .stdout(Stdio::piped())
        .spawn()
        .doing(|| format!("cannot start `{shown}`"))?;
    let mut tally = Tally::default();
    if let Some(mut out) = child.stdout.take() {
        let mut buffer = vec![0; 1 << 16];
        while let count @ 1.. = out
            .read(&mut buffer)
            .doing(|| format!("cannot read the output of `{shown}`"))?
        {
            hand_on(&buffer[..count]);
            tally.read(&buffer[..count]);
        }
    }
    let status = child
        .wait()
        .doing(|| format!("cannot wait for `{shown}`"))?;
    let code = match status.code() {
        Some(code) => u8::try_from(code).unwrap_or(TESTS_FAILED),
        None => TESTS_FAILED,
    };
    Ok((tally, code))
}

/// A test program with tests for the lab.
#[derive(Clone, Debug)]
struct Runner {
    /// Its name in the guest.
    name: String,
    path: PathBuf,
    /// Where its source is, for a person.
    source: String,
    /// How many of its tests are to run.
    tests: usize,
    /// What to call it with.
    arguments: Vec<String>,
    /// Its tests for which this kernel lacks something.
    lacks: Vec<(String, Lack)>,
}

/// The workspace's test programs that have tests for the lab.
fn runners(lab: &Lab, filter: Option<&str>, file: Option<&str>) -> Result<Vec<Runner>> {
    let mut runners = Vec::new();
    for executable in test_programs(lab.arch, file)? {
        // What this needs is no kernel, but its headers: `cargo lab codegen --check` runs it.
        if !executable.is_test || executable.source == TESTS_SOURCE {
            continue;
        }
        let program = stem(&executable.source);
        // A name that is the program's own means all of it.
        let filter = filter.filter(|name| !program.contains(name));
        let tests = list(&executable, lab.arch, filter)?;
        if tests.is_empty() {
            continue;
        }
        if filter.is_none() {
            needs::check_tests(&program, &tests)?;
        }
        let (tests, lacks) = apart(&program, tests, lab);
        let paint = if colour() { "always" } else { "never" };
        let mut arguments: Vec<String> = ["--ignored", "--test-threads=1", "--color", paint]
            .map(str::to_owned)
            .into();
        if lacks.is_empty() {
            arguments.extend(filter.map(str::to_owned));
        } else {
            arguments.push("--exact".to_owned());
            arguments.extend(tests.iter().cloned());
        }
        runners.push(Runner {
            name: executable
                .path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            path: executable.path,
            source: executable.source,
            tests: tests.len(),
            arguments,
            lacks,
        });
    }
    runners.sort_by(|one, other| one.source.cmp(&other.source));
    Ok(runners)
}

/// The workspace's test programs, built: all of them, or the one of that file.
fn test_programs(arch: &Arch, file: Option<&str>) -> Result<Vec<Executable>> {
    if let Some(name) = file {
        return programs::build(arch, &["test", "-p", TESTS, "--test", name, "--no-run"]);
    }
    let lab = env!("CARGO_PKG_NAME");
    let arguments = ["test", "--workspace", "--exclude", lab, "--no-run"];
    let executables = programs::build(arch, &arguments)?;
    let names: Vec<String> = executables
        .iter()
        .map(|executable| stem(&executable.source))
        .collect();
    places::check(&names)?;
    needs::check_programs(&names)?;
    Ok(executables)
}

/// The name of a test program's source, without folder and ending; of one that has a folder to itself, the folder's.
fn stem(source: &str) -> String {
    let path = Path::new(source);
    let named = match path.file_name() {
        Some(name) if name == "main.rs" => path.parent().unwrap_or(path),
        _ => path,
    };
    let stem = named.file_stem();
    stem.unwrap_or_default().to_string_lossy().into_owned()
}

/// The tests of a program that are for the lab.
fn list(executable: &Executable, arch: &Arch, filter: Option<&str>) -> Result<Vec<String>> {
    let list = command::output(
        arch.target
            .run(&executable.path)
            .args(["--list", "--ignored", "--format", "terse"])
            .args(filter),
    )
    .map_err(|error| error.because(format!("that is the test program of {}", executable.source)))?;
    let names = list.lines().filter_map(|line| line.strip_suffix(": test"));
    Ok(names.map(str::to_owned).collect())
}

/// Parts a program's tests: those that are to pass on the kernel, and those for which it lacks something.
fn apart(program: &str, tests: Vec<String>, lab: &Lab) -> (Vec<String>, Vec<(String, Lack)>) {
    let mut pass = Vec::new();
    let mut lacks = Vec::new();
    for test in tests {
        match needs::lack(program, &test, lab.kernel.series, lab.arch.name) {
            Some(lack) => lacks.push((test, lack)),
            None => pass.push(test),
        }
    }
    (pass, lacks)
}

fn job(options: &Options, machine: &'static Machine, runners: &[Runner]) -> Job {
    Job {
        machine,
        programs: runners
            .iter()
            .map(|runner| (runner.name.clone(), runner.path.clone()))
            .collect(),
        script: std::iter::once(format!("patience={}\n", PATIENCE.as_secs()))
            .chain(runners.iter().map(lines))
            .collect(),
        interactive: false,
        timeout: options.timeout.unwrap_or(LIMIT),
        silence: Some(SILENCE),
        append: options.append.clone().unwrap_or_default(),
        keeps: None,
    }
}

/// What the guest is to do with a program: the tests for which the kernel lacks something each by itself, then the others.
fn lines(runner: &Runner) -> String {
    let program = format!("/lab/bin/{}", runner.name);
    let line = |words: &[&str]| -> String {
        let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
        format!("{}\n", words.join(" "))
    };
    let mut lines = String::new();
    for (test, lack) in &runner.lacks {
        let told = match lack.told {
            Told::Typed => lacking::TYPED,
            Told::Refused => "",
        };
        let name = format!("{} {test}", runner.source);
        let arguments = ["--ignored", "--exact", "--color", "never", test];
        lines.push_str("lab_lacks ");
        lines.push_str(&line(&[&[&*name, told, &program], &arguments[..]].concat()));
    }
    if runner.tests == 0 {
        // Nothing is left to run; it has ended.
        lines.push_str(&format!(
            "report {}",
            line(&[TEST, "0", "fine", &runner.source])
        ));
        return lines;
    }
    let arguments: Vec<&str> = runner.arguments.iter().map(String::as_str).collect();
    lines.push_str("lab_test ");
    lines.push_str(&line(&[&[&*runner.source, &program], &*arguments].concat()));
    lines
}

/// The status of a boot for tests. A kernel that has complained is no success, and neither are tests that did not run.
fn verdict(outcome: &Outcome, ran: &Tally, expected: usize) -> Result<u8> {
    let mut blamed = None;
    let mut wrong = 0;
    for report in &outcome.reports {
        let Some([kind, status, behaviour, source]) = fields(report) else {
            continue;
        };
        if kind == TEST {
            if status != "0" {
                say(format!(
                    "{source}: the test program ended with status {status}"
                ));
            }
        } else if let Some(what) = lacking::wrong(status) {
            wrong += 1;
            say(format!("{source}: {what}"));
        }
        if behaviour == "misbehaved" {
            blamed = blamed.or(Some(source));
        }
    }
    boot::show_splats(outcome);
    if !outcome.splats.is_empty() || blamed.is_some() {
        let mut error =
            Error::new("the guest's kernel complained during the tests").status(TESTS_FAILED);
        if !outcome.splats.is_empty() {
            error = error.because("its log says so; see above");
        }
        if let Some(source) = blamed {
            error = error.because(format!("first seen when the tests of {source} had ended"));
        }
        return Err(
            error.next("find the cause, in the test or in what it tests: a warning of the kernel is never green")
        );
    }
    if outcome.status == 0 && ran.ran() != expected {
        return Err(
            Error::new(format!("of {expected} kernel tests {} were run", ran.ran()))
                .because("the test programs ended well, but did not run what they had listed"),
        );
    }
    if wrong > 0 {
        // What the other machines have to say is of use all the same.
        eprintln!("error: {}", lacking::error(wrong));
        return Ok(TESTS_FAILED);
    }
    Ok(outcome.status)
}

/// The fields of a report such as `test 101 fine tests/src/ioas.rs`.
fn fields(report: &str) -> Option<[&str; 4]> {
    report.splitn(4, ' ').collect::<Vec<_>>().try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::X86_64;

    fn outcome(status: u8, reports: &[&str], splats: &[&str]) -> Outcome {
        let owned = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect();
        Outcome {
            status,
            reports: owned(reports),
            splats: owned(splats),
            stood_still: None,
            elapsed: Duration::ZERO,
        }
    }

    fn ran(count: usize) -> Tally {
        let mut tally = Tally::default();
        tally.read(format!("test result: ok. {count} passed; 0 failed; 0 ignored\n").as_bytes());
        tally
    }

    #[test]
    fn the_status_is_that_of_the_tests() {
        assert_eq!(
            verdict(&outcome(0, &["test 0 fine a"], &[]), &ran(2), 2).unwrap(),
            0
        );
        assert_eq!(
            verdict(&outcome(101, &["test 101 fine a"], &[]), &ran(1), 2).unwrap(),
            101
        );
    }

    #[test]
    fn a_complaint_of_the_kernel_is_never_green() {
        assert!(verdict(&outcome(0, &[], &["WARNING: x"]), &ran(2), 2).is_err());
        let error = verdict(
            &outcome(0, &["test 0 misbehaved tests/src/a.rs"], &[]),
            &ran(2),
            2,
        )
        .unwrap_err();
        assert!(error.to_string().contains("tests/src/a.rs"));
    }

    #[test]
    fn tests_that_did_not_run_are_never_green() {
        assert!(verdict(&outcome(0, &[], &[]), &ran(1), 2).is_err());
        assert!(verdict(&outcome(0, &[], &[]), &Tally::default(), 2).is_err());
    }

    #[test]
    fn a_program_has_the_name_of_its_file_or_folder() {
        assert_eq!(stem("tests/tests/ioas_map.rs"), "ioas_map");
        assert_eq!(
            stem("tests/tests/kernel_selftests/main.rs"),
            "kernel_selftests"
        );
    }

    #[test]
    fn a_job_quotes_what_it_is_given() {
        let runner = Runner {
            name: "ioas-1".to_owned(),
            path: "/t/ioas-1".into(),
            source: "tests/src/ioas.rs".to_owned(),
            tests: 1,
            arguments: vec!["--ignored".to_owned(), "a b".to_owned()],
            lacks: Vec::new(),
        };
        let job = job(&Options::default(), X86_64.machine(), &[runner]);
        assert_eq!(
            job.script,
            "patience=420\nlab_test 'tests/src/ioas.rs' '/lab/bin/ioas-1' '--ignored' 'a b'\n"
        );
    }

    #[test]
    fn what_a_kernel_lacks_is_asked_for_test_by_test() {
        let lack = |told| Lack {
            feature: &crate::features::PASIDS,
            told,
        };
        let runner = |tests| Runner {
            name: "a-1".to_owned(),
            path: "/t/a-1".into(),
            source: "a.rs".to_owned(),
            tests,
            arguments: vec!["--exact".to_owned(), "m::one".to_owned()],
            lacks: vec![
                ("two".to_owned(), lack(Told::Typed)),
                ("three".to_owned(), lack(Told::Refused)),
            ],
        };
        let typed = lacking::TYPED;
        let lacks = format!(
            "lab_lacks 'a.rs two' '{typed}' '/lab/bin/a-1' '--ignored' '--exact' '--color' 'never' 'two'\n\
             lab_lacks 'a.rs three' '' '/lab/bin/a-1' '--ignored' '--exact' '--color' 'never' 'three'\n"
        );
        assert_eq!(
            lines(&runner(1)),
            format!("{lacks}lab_test 'a.rs' '/lab/bin/a-1' '--exact' 'm::one'\n")
        );
        assert_eq!(
            lines(&runner(0)),
            format!("{lacks}report 'test' '0' 'fine' 'a.rs'\n")
        );
    }

    #[test]
    fn a_test_that_does_what_it_should_not_be_able_to_is_never_green() {
        let reports = ["lacks refused fine a.rs one", "test 0 fine a.rs"];
        assert_eq!(verdict(&outcome(0, &reports, &[]), &ran(2), 2).unwrap(), 0);
        for status in ["0", "101", "137"] {
            let report = format!("lacks {status} fine a.rs one");
            let outcome = outcome(0, &[&report, reports[1]], &[]);
            assert_eq!(verdict(&outcome, &ran(2), 2).unwrap(), TESTS_FAILED);
        }
        let misbehaved = ["lacks refused misbehaved a.rs one", reports[1]];
        assert!(verdict(&outcome(0, &misbehaved, &[]), &ran(2), 2).is_err());
    }
}
