//! The processor architectures that the lab has machines for, and what differs between them: each has a file of its own.

mod aarch64;
mod x86_64;

use crate::host::Need;
use crate::kernel::Recipe;
use crate::machine::{Machine, Ports};
use crate::programs::Target;
use crate::qemu::Emulator;

pub(crate) use aarch64::{AARCH64, VIRT, VIRT_WITHOUT_NESTING};
pub(crate) use x86_64::{COVERAGE, PC, PC_FOR_FUZZERS, PC_WITHOUT_IOMMU, X86_64};

/// A processor architecture.
#[derive(Debug)]
pub(crate) struct Arch {
    /// Its name, as `--arch` takes it.
    pub(crate) name: &'static str,
    /// Its name in Debian's packages.
    pub(crate) debian: &'static str,
    /// Its number in the header of an ELF program.
    pub(crate) elf: u64,
    /// A pattern for the line with which the IOMMU's driver tells of an access that was blocked.
    pub(crate) fault: &'static str,
    /// What its kernel is made of.
    pub(crate) kernel: Recipe,
    /// What its programs are built for, and how.
    pub(crate) target: Target,
    /// What emulates it.
    pub(crate) emulator: Emulator,
    /// What else it takes to boot it, or to build for it.
    pub(crate) needs: &'static [Need],
    /// How its guest reaches the lab.
    pub(crate) ports: Ports,
    /// Its machines. The first is the one that everything runs on that asks for no other.
    pub(crate) machines: &'static [&'static Machine],
}

/// All of them. The first is the one that a program runs on if no other is asked for.
pub(crate) static ALL: [&Arch; 2] = [&X86_64, &AARCH64];

impl Arch {
    /// The one of that name.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        ALL.into_iter().find(|arch| arch.name == name)
    }

    /// The machine for what asks for no other.
    pub(crate) fn machine(&self) -> &'static Machine {
        self.machines[0]
    }
}

// One is another only if it has its name.
impl PartialEq for Arch {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Arch {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_name_and_machines_of_its_own() {
        for arch in ALL {
            assert_eq!(Arch::named(arch.name), Some(arch));
            assert!(arch.machines.iter().all(|machine| machine.arch == arch));
            assert!(!arch.machines.is_empty());
        }
        assert_eq!(Arch::named("riscv64"), None);
    }
}
