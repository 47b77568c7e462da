//! The machines that benchmarks run on: those of the tests, with more memory, and on one of two clocks.

use crate::arch::{Arch, PC, VIRT};
use crate::machine::Machine;

/// How much memory: a guest of 1 GiB fits, and a reserve of huge pages beside it.
const MEMORY: &str = "4G";
/// How many huge pages there are.
pub(crate) const HUGE_PAGES: u32 = 560;

/// One processor, whose clock counts its instructions: a nanosecond is one, of the kernel's or of a program's. What runs
/// there takes as long on every host.
static COUNTED: [Machine; 2] = [
    Machine {
        name: "x86_64 that counts",
        board: |qemu| counting((PC.board)(qemu)),
        arch: PC.arch,
        parameters: PC.parameters,
        overrides_iort: PC.overrides_iort,
    },
    Machine {
        name: "aarch64 that counts",
        board: |qemu| counting((VIRT.board)(qemu)),
        arch: VIRT.arch,
        parameters: VIRT.parameters,
        overrides_iort: VIRT.overrides_iort,
    },
];

/// Two processors, on which time passes as it does here. On the PC they take turns on one thread, as in the tests.
static REAL: [Machine; 2] = [
    Machine {
        name: "x86_64 with more memory",
        board: |qemu| larger((PC.board)(qemu)),
        arch: PC.arch,
        parameters: PC.parameters,
        overrides_iort: PC.overrides_iort,
    },
    Machine {
        name: "aarch64 with more memory",
        board: |qemu| larger((VIRT.board)(qemu)),
        arch: VIRT.arch,
        parameters: VIRT.parameters,
        overrides_iort: VIRT.overrides_iort,
    },
];

/// A clock to go by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clock {
    /// Instructions are counted.
    Counted,
    /// Time passes.
    Real,
}

impl Clock {
    /// The machine of that architecture with this clock.
    pub(crate) fn machine(self, arch: &Arch) -> Option<&'static Machine> {
        let machines = match self {
            Self::Counted => &COUNTED,
            Self::Real => &REAL,
        };
        machines.iter().find(|machine| machine.arch == arch)
    }

    /// What it is called in results.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Counted => "counted",
            Self::Real => "real",
        }
    }
}

fn counting(board: Vec<String>) -> Vec<String> {
    let mut board = with(
        with(larger(board), "-accel", "tcg,thread=single"),
        "-smp",
        "1",
    );
    board.extend(["-icount".to_owned(), "shift=0,sleep=off".to_owned()]);
    board
}

fn larger(board: Vec<String>) -> Vec<String> {
    with(board, "-m", MEMORY)
}

/// The same board, with another value of an option that it has.
fn with(mut board: Vec<String>, option: &str, value: &str) -> Vec<String> {
    for at in 1..board.len() {
        if board[at - 1] == option {
            value.clone_into(&mut board[at]);
        }
    }
    board
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch;
    use crate::qemu::Qemu;

    #[test]
    fn a_machine_that_counts_has_one_processor_and_one_thread() {
        let qemu = Qemu {
            path: "qemu".into(),
            iommu: "intel-iommu".to_owned(),
        };
        for arch in arch::ALL {
            let line = |clock: Clock| clock.machine(arch).unwrap().hardware(&qemu).join(" ");
            let counted = line(Clock::Counted);
            for part in [
                "-accel tcg,thread=single",
                "-smp 1",
                "-m 4G",
                "-icount shift=0,sleep=off",
            ] {
                assert!(counted.contains(part), "{part} is not in {counted}");
            }
            assert!(!counted.contains("thread=multi"));
            let real = line(Clock::Real);
            assert!(real.contains("-smp 2") && real.contains("-m 4G") && !real.contains("icount"));
        }
    }
}
