//! The guest's registers, as far as they decide about its streams.

use smmuv3_types::{Cr0, Cr2, Gbpa, StreamTable, StrtabBase, StrtabBaseCfg};

use super::configuration::Configuration;
use super::{GuestMemory, Host, Place, Relay};

/// What the guest has written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Registers {
    pub(super) cr0: Cr0,
    pub(super) cr2: Cr2,
    pub(super) gbpa: Gbpa,
    pub(super) strtab_base: StrtabBase,
    pub(super) strtab_base_cfg: StrtabBaseCfg,
}

impl Registers {
    /// Where a device of this configuration belongs.
    pub(super) fn place(&self, configuration: &Configuration) -> Place {
        match (self.cr0.smmuen(), self.gbpa.abort()) {
            (true, _) => configuration.place(),
            (false, true) => Place::Blocked,
            (false, false) => Place::Bypass,
        }
    }
}

impl<H: Host> Relay<H> {
    /// The guest has written `SMMU_STRTAB_BASE` or `SMMU_STRTAB_BASE_CFG`: what is in both now.
    /// Says whether it counts: while `SMMU_CR0.SMMUEN` is set the guest must not write them, and
    /// what it writes is ignored, as an SMMU may do (6.3.24).
    #[must_use = "the registers keep their value if it does not count"]
    pub fn set_stream_table(&mut self, base: StrtabBase, cfg: StrtabBaseCfg) -> bool {
        let counts = !self.registers.cr0.smmuen();
        if counts {
            self.registers.strtab_base = base;
            self.registers.strtab_base_cfg = cfg;
        }
        counts
    }

    /// The guest has written `SMMU_CR0` (6.3.9). When it returns, that is in force, and can be
    /// acknowledged in `SMMU_CR0ACK`.
    ///
    /// With `SMMUEN` turned on, the entries of all streams that have a device are read, as if for
    /// the first time. With `SMMUEN` turned off, all devices are put where `SMMU_GBPA` says.
    pub fn set_cr0(&mut self, cr0: Cr0, memory: &(impl GuestMemory + ?Sized)) {
        let was = self.registers.cr0.smmuen();
        self.registers.cr0 = cr0;
        if was != cr0.smmuen() {
            self.remembered.clear();
            self.configure_all(memory);
        }
    }

    /// The guest has written `SMMU_CR2` (6.3.12): `RECINVSID` decides whether it is told of streams
    /// that its table has not, from the next entry on that is read.
    pub fn set_cr2(&mut self, cr2: Cr2) {
        self.registers.cr2 = cr2;
    }

    /// The guest has written `SMMU_GBPA`, with `Update` set (6.3.14). When it returns, that is in
    /// force, and `Update` can read 0.
    ///
    /// While `SMMU_CR0.SMMUEN` is 0, all devices are aborted if `ABORT` is set, and bypass if it is
    /// not. The other fields, which replace attributes of transactions, do nothing: the kernel has
    /// no means for it.
    pub fn set_gbpa(&mut self, gbpa: Gbpa) {
        self.registers.gbpa = gbpa;
        if !self.registers.cr0.smmuen() {
            self.settle_all();
        }
    }

    /// The SMMU is reset, as by a reset of the whole machine: all registers are 0 but `SMMU_GBPA`,
    /// of which `ABORT` is the implementation's to choose. What was cached of the guest's tables is
    /// forgotten; page requests that wait are answered INVALID.
    pub fn reset(&mut self, gbpa: Gbpa) {
        self.registers = Registers {
            gbpa,
            ..Registers::default()
        };
        self.remembered.clear();
        self.used = false;
        for plugged in self.devices.values_mut() {
            plugged.configure(Configuration::Unread, false);
            plugged.requests.clear();
        }
        // All of it is covered by what follows, or forgotten as the devices leave their tables.
        self.batch.clear();
        self.settle_all();
        let _done = self.forget_translations();
    }

    /// The stream table that the registers describe.
    pub(super) fn table(&self) -> StreamTable {
        let registers = &self.registers;
        StreamTable::from_registers(
            registers.strtab_base,
            registers.strtab_base_cfg,
            &self.features,
        )
    }
}
