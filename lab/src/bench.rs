//! `cargo lab bench`: the SDK against the same ioctls in a plain loop, side by side in one boot.
//!
//! By two clocks: on a machine that counts instructions, whose ratios are the same everywhere and are judged, and on one with
//! a real clock, for a witness.

mod machines;

use std::time::Duration;

use crate::boot::{self, Job};
use crate::cli::Options;
use crate::error::{Error, Result};
use crate::programs;
use crate::setup::{self, Lab};
use machines::{Clock, HUGE_PAGES};

/// The time limit of a boot.
const LIMIT: Duration = Duration::from_secs(1800);
const PROGRAM: &str = "bench";

/// `cargo lab bench`.
pub(crate) fn run(options: &Options) -> Result<u8> {
    for arch in options.arches() {
        let lab = setup::prepare(options, arch)?;
        let out = measure(
            options,
            &lab,
            Clock::Counted,
            options.words.first().map_or("quick", String::as_str),
        )?;
        println!("{out}");
    }
    Ok(0)
}

/// What the program prints on the machine with that clock, told to do that.
fn measure(options: &Options, lab: &Lab, clock: Clock, what: &str) -> Result<String> {
    let build = [
        "build",
        "--release",
        "--package",
        PROGRAM,
        "--bin",
        PROGRAM,
        // So that it can be said where an instruction comes from. It makes none.
        "--config",
        "profile.release.debug='line-tables-only'",
    ];
    let Some(program) = programs::build(lab.arch, &build)?.pop() else {
        return Err(Error::new("cargo built no benchmark"));
    };
    let Some(machine) = clock.machine(lab.arch) else {
        return Err(Error::new(format!(
            "there is no machine for {}",
            lab.arch.name
        )));
    };
    let job = Job {
        machine,
        programs: vec![(PROGRAM.to_owned(), program.path)],
        script: format!(
            "echo {HUGE_PAGES} >/proc/sys/vm/nr_hugepages\nlab_run /lab/bin/{PROGRAM} {what}\n"
        ),
        interactive: false,
        timeout: options.timeout.unwrap_or(LIMIT),
        silence: None,
        append: options.append.clone().unwrap_or_default(),
    };
    let mut printed = Vec::new();
    let outcome = boot::run(lab, &programs::target_directory(), &job, &mut |bytes| {
        printed.extend_from_slice(bytes)
    })?;
    boot::show_splats(&outcome);
    let printed = String::from_utf8_lossy(&printed).into_owned();
    if outcome.status != 0 {
        return Err(Error::new("the benchmark failed").because(printed));
    }
    Ok(printed)
}
