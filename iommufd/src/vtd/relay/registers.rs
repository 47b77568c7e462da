//! The guest's registers, as far as they decide about its devices.

use vtd_types::{DescriptorFeatures, Gcmd, Gsts, Rtaddr, TableMode};

use super::{GuestMemory, Host, Relay};

/// What the guest has written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Registers {
    /// What the unit does, of `TES`, `RTPS` and `QIES`.
    pub(super) status: Gsts,
    /// `RTADDR_REG`, as it was when `GCMD_REG.SRTP` was written.
    pub(super) root: Rtaddr,
}

impl Registers {
    /// Whether requests are translated.
    pub(super) fn translates(&self) -> bool {
        self.status.tes()
    }

    /// Which tables there are. A mode that is reserved has none; its descriptors are those of legacy
    /// mode.
    pub(super) fn mode(&self) -> TableMode {
        self.root.ttm().unwrap_or(TableMode::Legacy)
    }
}

impl<H: Host> Relay<H> {
    /// The guest has written `gcmd` to `GCMD_REG` (11.4.4.1); `rtaddr` is what is in `RTADDR_REG`.
    /// When it returns, that is in force. Gives `TES`, `RTPS` and `QIES` of `GSTS_REG`: the other
    /// flags are the VMM's own.
    ///
    /// `TE`: turned on, the tables are read for all devices, as if for the first time. Turned off,
    /// all devices bypass, and requests with a PASID are refused.
    ///
    /// `SRTP`: the tables are those of `rtaddr` from now on, and if requests are translated, they are
    /// read for all devices, and all translations are forgotten. So `CAP_REG.ESRTPS` can be offered.
    ///
    /// `QIE`: turned on, the VMM has the head of the queue be 0.
    pub fn write_gcmd(
        &mut self,
        gcmd: Gcmd,
        rtaddr: Rtaddr,
        memory: &(impl GuestMemory + ?Sized),
    ) -> Gsts {
        let was = self.registers.translates();
        let mut status = self.registers.status.with_qies(gcmd.qie());
        if gcmd.srtp() {
            self.registers.root = rtaddr;
            status = status.with_rtps(true);
        }
        self.registers.status = status.with_tes(gcmd.te());
        let changed = was != gcmd.te() || (was && gcmd.srtp());
        if changed {
            self.remembered.clear();
            // Where a device goes on by the same entry, what was cached of its tables is forgotten by
            // this; where it does not, it goes with the tables.
            self.forget_translations();
            self.configure_all(memory);
            self.flush_batch();
        }
        self.registers.status
    }

    /// What of `GSTS_REG` the relay knows: `TES`, `RTPS` and `QIES`.
    #[must_use]
    pub fn status(&self) -> Gsts {
        self.registers.status
    }

    /// The unit is reset, as by a reset of the whole machine: all registers are 0, so all devices
    /// bypass. What was read of the guest's tables is forgotten; page requests that wait are answered
    /// INVALID.
    pub fn reset(&mut self) {
        self.registers = Registers::default();
        self.remembered.clear();
        self.used = false;
        for plugged in self.devices.values_mut() {
            plugged.requests.clear();
        }
        for number in self.numbers() {
            self.forget_device(number);
        }
    }

    /// What descriptors can be now.
    pub(super) fn descriptors(&self) -> DescriptorFeatures {
        self.features.descriptors(self.registers.mode())
    }
}
