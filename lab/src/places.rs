//! Where test programs run: on the first machine of every architecture, if this does not say otherwise.

use crate::arch::{PC, PC_WITHOUT_IOMMU, VIRT, VIRT_WITHOUT_NESTING};
use crate::error::{Error, Result};
use crate::features;
use crate::machine::Machine;
use crate::needs::is;
use crate::series::Series;

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

/// The test programs, by their names, in which a `*` is whatever there is, that need devices of the PC, or the IOMMU that
/// they are behind. All others need at most the mock driver.
const ON_DEVICES: &[&str] = &[
    "dma",
    "dma_groups",
    "faults_dma",
    "killed",
    "lsiommu",
    "mediated",
    "noiommu_device",
    "older_kernels_devices",
    "pre_bound",
    "vf_token",
    "vfio_*",
    "vm_memory_dma",
];

/// Whether the test program of that name runs on a machine with the Linux of a series. A kernel of which that is not known
/// is thought to be new.
pub(crate) fn runs_on(program: &str, machine: &Machine, series: Option<Series>) -> bool {
    if let Some((_, machines)) = ELSEWHERE.iter().find(|(name, _)| *name == program) {
        return machines.contains(&machine);
    }
    let usual = machine.arch.machine();
    let is_old = series.is_some_and(|series| series < features::MOCK_BESIDE_VT_D.since);
    let on_devices = || ON_DEVICES.iter().any(|name| is(name, program));
    let place = match *usual == PC && is_old && !on_devices() {
        true => &PC_WITHOUT_IOMMU,
        false => usual,
    };
    machine == place
}

/// Fails if a table has a name that no test program has: what was meant by it would run where it cannot, or nowhere.
pub(crate) fn check(programs: &[String]) -> Result<()> {
    let elsewhere = ELSEWHERE.iter().map(|(name, _)| *name);
    let unknown: Vec<&str> = elsewhere
        .chain(ON_DEVICES.iter().copied())
        .filter(|name| !programs.iter().any(|program| is(name, program)))
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

    /// On which machines a program runs.
    fn places(program: &str, series: Option<Series>) -> [bool; 4] {
        [&PC, &PC_WITHOUT_IOMMU, &VIRT, &VIRT_WITHOUT_NESTING]
            .map(|machine| runs_on(program, machine, series))
    }

    #[test]
    fn a_program_runs_once_for_each_architecture_or_where_the_table_says() {
        for series in [None, Some(Series::new(6, 16))] {
            let places = |program| places(program, series);
            assert_eq!(places("ioas_map"), [true, false, true, false]);
            assert_eq!(places("vfio_bind"), [true, false, true, false]);
            assert_eq!(places("vtd_lab"), [true, false, false, false]);
            assert_eq!(
                places("smmuv3_without_nesting"),
                [false, false, false, true]
            );
        }
    }

    #[test]
    fn the_older_mock_driver_is_on_a_pc_without_an_iommu() {
        let places = |program| places(program, Some(Series::new(6, 12)));
        assert_eq!(places("ioas_map"), [false, true, true, false]);
        assert_eq!(places("vfio_bind"), [true, false, true, false]);
        assert_eq!(places("vtd_lab"), [true, false, false, false]);
    }

    #[test]
    fn a_name_that_no_program_has_is_an_error() {
        let elsewhere = ELSEWHERE.iter().map(|(name, _)| *name);
        let names = elsewhere.chain(ON_DEVICES.iter().copied());
        let mut programs: Vec<String> = names.map(str::to_owned).collect();
        check(&programs).unwrap();
        let gone = programs.remove(0);
        assert!(check(&programs).unwrap_err().to_string().contains(&gone));
    }
}
