//! Where test programs run: on the first machine of every architecture, if this table does not say otherwise.

use crate::arch::{PC, VIRT, VIRT_WITHOUT_NESTING};
use crate::error::{Error, Result};
use crate::machine::Machine;

/// The test programs, each by the name of its file or folder, that run elsewhere.
const ELSEWHERE: &[(&str, &[&Machine])] = &[
    // What VT-d says of itself, and refuses.
    ("vtd_lab", &[&PC]),
    ("vtd_page_requests", &[&PC]),
    // What takes a processor that virtualises.
    ("vfio_kvm", &[&PC]),
    // What takes a device that is on no PCI bus.
    ("vfio_platform", &[&VIRT]),
    // What an SMMUv3 says of itself, and lets user space nest.
    ("smmuv3_lab", &[&VIRT]),
    ("smmuv3_relay", &[&VIRT]),
    ("smmuv3_relay_devices", &[&VIRT]),
    ("smmuv3_relay_interrupts", &[&VIRT]),
    // What it does for a guest with tables of its own.
    ("smmuv3_once", &[&VIRT]),
    ("smmuv3_translation", &[&VIRT]),
    ("smmuv3_invalidation", &[&VIRT]),
    ("smmuv3_events", &[&VIRT]),
    ("smmuv3_msi", &[&VIRT]),
    ("smmuv3_refusals", &[&VIRT]),
    ("smmuv3_lifetimes", &[&VIRT]),
    ("smmuv3_unplug", &[&VIRT]),
    ("smmuv3_without_nesting", &[&VIRT_WITHOUT_NESTING]),
];

/// Whether the test program of that name runs on a machine.
pub(crate) fn runs_on(program: &str, machine: &Machine) -> bool {
    match ELSEWHERE.iter().find(|(name, _)| *name == program) {
        Some((_, machines)) => machines.contains(&machine),
        None => machine.arch.machine() == machine,
    }
}

/// Fails if the table has a name that no test program has: what was meant by it would run where it cannot, or nowhere.
pub(crate) fn check(programs: &[String]) -> Result<()> {
    let unknown: Vec<&str> = ELSEWHERE
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| !programs.iter().any(|program| program == name))
        .collect();
    if unknown.is_empty() {
        return Ok(());
    }
    Err(
        Error::new(format!("there is no test program {}", unknown.join(", ")))
            .because(format!("{} says where it runs", file!()))
            .next("correct the name there, or take the line out"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_runs_once_for_each_architecture_or_where_the_table_says() {
        let machines = [&PC, &VIRT, &VIRT_WITHOUT_NESTING];
        let places = |program| machines.map(|machine| runs_on(program, machine));
        assert_eq!(places("ioas_map"), [true, true, false]);
        assert_eq!(places("vtd_lab"), [true, false, false]);
        assert_eq!(places("smmuv3_without_nesting"), [false, false, true]);
    }

    #[test]
    fn a_name_that_no_program_has_is_an_error() {
        let mut programs: Vec<String> = ELSEWHERE
            .iter()
            .map(|(name, _)| (*name).to_owned())
            .collect();
        check(&programs).unwrap();
        let gone = programs.remove(0);
        assert!(check(&programs).unwrap_err().to_string().contains(&gone));
    }
}
