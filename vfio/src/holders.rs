//! What keeps a device open.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::bound::Bound;
use crate::irq::IrqKind;

/// What still holds a device that was to be closed.
///
/// Counted in this process, for what this SDK made: a descriptor that was duplicated elsewhere, or
/// KVM, may hold the device as well, and nothing tells.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Holders {
    /// Other handles of the device.
    pub devices: usize,
    /// Handles that `iommufd` gave of it, besides its attachment.
    pub iommu_handles: usize,
    /// Whether the device is attached to an address space or page table.
    pub attached: bool,
    /// Mapped regions.
    pub mappings: usize,
    /// Regions that are open for reading and writing, configuration space among them.
    pub regions: usize,
    /// Interrupts that are enabled.
    pub interrupts: Option<IrqKind>,
    /// Interrupts that are enabled of a device that is no PCI function.
    pub lines: usize,
    /// Signals that are enabled.
    pub signals: usize,
    /// Features in use: a migration, a record of what the device writes, a low-power state.
    pub features: usize,
    /// BARs that are exported as dma-bufs.
    pub dma_bufs: usize,
    /// Eventfds that write registers.
    pub ioeventfds: usize,
    /// Hot resets of others, which take this one with them, that are under way.
    pub resets: usize,
}

impl Holders {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Holders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if self.attached {
            parts.push("its attachment".to_owned());
        }
        if let Some(kind) = self.interrupts {
            parts.push(format!("its {kind} interrupts"));
        }
        for (count, one, many) in [
            (self.mappings, "mapped region", "mapped regions"),
            (self.regions, "open region", "open regions"),
            (self.lines, "enabled interrupt", "enabled interrupts"),
            (self.signals, "signal", "signals"),
            (self.features, "feature in use", "features in use"),
            (self.dma_bufs, "exported BAR", "exported BARs"),
            (self.ioeventfds, "ioeventfd", "ioeventfds"),
            (self.resets, "reset under way", "resets under way"),
            (self.devices, "other handle", "other handles"),
            (self.iommu_handles, "iommufd handle", "iommufd handles"),
        ] {
            match count {
                0 => {}
                1 => parts.push(format!("1 {one}")),
                _ => parts.push(format!("{count} {many}")),
            }
        }
        match parts.split_last() {
            None => f.write_str("nothing"),
            Some((last, [])) => f.write_str(last),
            Some((last, rest)) => write!(f, "{} and {last}", rest.join(", ")),
        }
    }
}

/// How many holds of each kind there are.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    mappings: AtomicUsize,
    regions: AtomicUsize,
    interrupts: AtomicUsize,
    lines: AtomicUsize,
    signals: AtomicUsize,
    features: AtomicUsize,
    dma_bufs: AtomicUsize,
    ioeventfds: AtomicUsize,
    resets: AtomicUsize,
}

/// The kinds of things that hold a device.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Mapping,
    Region,
    Interrupts,
    Line,
    Signal,
    Feature,
    DmaBuf,
    IoEventFd,
    Reset,
}

impl Tally {
    pub(crate) fn mappings(&self) -> usize {
        self.mappings.load(Ordering::Acquire)
    }

    pub(crate) fn regions(&self) -> usize {
        self.regions.load(Ordering::Acquire)
    }

    pub(crate) fn interrupts(&self) -> usize {
        self.interrupts.load(Ordering::Acquire)
    }

    pub(crate) fn lines(&self) -> usize {
        self.lines.load(Ordering::Acquire)
    }

    pub(crate) fn signals(&self) -> usize {
        self.signals.load(Ordering::Acquire)
    }

    pub(crate) fn features(&self) -> usize {
        self.features.load(Ordering::Acquire)
    }

    pub(crate) fn dma_bufs(&self) -> usize {
        self.dma_bufs.load(Ordering::Acquire)
    }

    pub(crate) fn ioeventfds(&self) -> usize {
        self.ioeventfds.load(Ordering::Acquire)
    }

    pub(crate) fn resets(&self) -> usize {
        self.resets.load(Ordering::Acquire)
    }

    pub(crate) fn all(&self) -> usize {
        self.mappings()
            .saturating_add(self.regions())
            .saturating_add(self.interrupts())
            .saturating_add(self.lines())
            .saturating_add(self.signals())
            .saturating_add(self.features())
            .saturating_add(self.dma_bufs())
            .saturating_add(self.ioeventfds())
            .saturating_add(self.resets())
    }

    fn of(&self, kind: Kind) -> &AtomicUsize {
        match kind {
            Kind::Mapping => &self.mappings,
            Kind::Region => &self.regions,
            Kind::Interrupts => &self.interrupts,
            Kind::Line => &self.lines,
            Kind::Signal => &self.signals,
            Kind::Feature => &self.features,
            Kind::DmaBuf => &self.dma_bufs,
            Kind::IoEventFd => &self.ioeventfds,
            Kind::Reset => &self.resets,
        }
    }
}

/// Keeps a bound device open, and is counted.
#[derive(Debug)]
pub(crate) struct Hold {
    bound: Arc<Bound>,
    kind: Kind,
}

impl Hold {
    pub(crate) fn new(bound: &Arc<Bound>, kind: Kind) -> Self {
        bound.tally.of(kind).fetch_add(1, Ordering::AcqRel);
        Self {
            bound: Arc::clone(bound),
            kind,
        }
    }

    pub(crate) fn bound(&self) -> &Bound {
        &self.bound
    }

    pub(crate) fn shared(&self) -> &Arc<Bound> {
        &self.bound
    }
}

impl Clone for Hold {
    fn clone(&self) -> Self {
        Self::new(&self.bound, self.kind)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.bound
            .tally
            .of(self.kind)
            .fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holders_are_named() {
        let mut holders = Holders::default();
        assert!(holders.is_empty());
        holders.attached = true;
        assert_eq!(holders.to_string(), "its attachment");
        holders.interrupts = Some(IrqKind::Msi);
        holders.mappings = 2;
        holders.signals = 1;
        holders.devices = 1;
        assert_eq!(
            holders.to_string(),
            "its attachment, its MSI interrupts, 2 mapped regions, 1 signal and 1 other handle"
        );
    }
}
