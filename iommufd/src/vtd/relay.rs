//! The relay: what a VMM that emulates a VT-d needs between its guest and this kernel.
//!
//! The VMM has the registers, the interrupts and the guest's memory. A [`Relay`] takes the guest's
//! invalidation descriptors in the guest's order, gathers those that the kernel takes, reads root,
//! context and PASID table entries when the guest says that they have changed, and puts devices, and
//! each of their PASIDs, where registers and entries say. A VMM's unit is this:
//!
//! ```no_run
//! use iommufd::vtd::relay::{GuestMemory, InvalidationQueue, Kernel, Relay, Stop, WaitSignal};
//! use vtd_types::{FaultRecord, Fsts, Gcmd, Gsts, Iqa, Iqercd, QueueOffset, Rtaddr};
//!
//! struct Unit {
//!     relay: Relay<Kernel>,
//!     gsts: Gsts,
//!     rtaddr: Rtaddr,
//!     iqa: Iqa,
//!     iqt: QueueOffset,
//!     iqh: QueueOffset,
//!     fsts: Fsts,
//!     iqercd: Iqercd,
//! }
//!
//! impl Unit {
//!     /// The guest has written GCMD_REG.
//!     fn write_gcmd(&mut self, gcmd: Gcmd, memory: &impl GuestMemory) {
//!         if gcmd.qie() && !self.gsts.qies() {
//!             self.iqh = QueueOffset::default();
//!         }
//!         // The other flags are the VMM's own.
//!         self.gsts = self.relay.write_gcmd(gcmd, self.rtaddr, memory);
//!         self.after();
//!     }
//!
//!     /// The guest has written IQT_REG, or cleared FSTS_REG.IQE, or there was more to do. Says
//!     /// whether there is.
//!     fn invalidate(&mut self, memory: &impl GuestMemory) -> bool {
//!         let queue = InvalidationQueue {
//!             iqa: self.iqa,
//!             tail: self.iqt,
//!             head: &mut self.iqh,
//!             status: &mut self.fsts,
//!             error: &mut self.iqercd,
//!         };
//!         let ran = self.relay.run(queue, memory, 1024);
//!         for signal in ran.signals {
//!             self.signal(signal);
//!         }
//!         self.after();
//!         match ran.stop {
//!             Stop::Idle => false,
//!             Stop::More => true,
//!             // FSTS_REG and IQERCD_REG say so.
//!             Stop::Invalid(_) | Stop::Unreadable | Stop::Offset(_) | Stop::Width => {
//!                 self.send_fault_event();
//!                 false
//!             }
//!             // The guest must not go on: it would use memory again that a device still writes to.
//!             // Its wait is not complete, and is tried when the queue is run again. Until then the
//!             // guest stands still, and whoever looks after it hears why.
//!             Stop::NotFlushed(error) => {
//!                 self.pause_guest(&error);
//!                 false
//!             }
//!         }
//!     }
//!
//!     fn after(&mut self) {
//!         while let Some(fault) = self.relay.take_fault() {
//!             self.record_fault(fault);
//!         }
//!         for report in self.relay.take_reports() {
//!             eprintln!("{report:?}");
//!         }
//!     }
//!     # fn signal(&mut self, _: WaitSignal) {}
//!     # fn record_fault(&mut self, _: FaultRecord) {}
//!     # fn send_fault_event(&mut self) {}
//!     # fn pause_guest(&mut self, _: &iommufd::vtd::relay::NotFlushed) {}
//! }
//! ```
//!
//! and its devices are this:
//!
//! ```no_run
//! # fn example(
//! #     parent: &iommufd::NestParent,
//! #     device: iommufd::Device,
//! #     offered: vtd_types::Features,
//! #     memory: &impl iommufd::vtd::relay::GuestMemory,
//! # ) -> Result<(), Box<dyn std::error::Error>> {
//! use iommufd::vtd::relay::{Kernel, Relay, RelayedDevice};
//! use vtd_types::SourceId;
//!
//! let mut relay = Relay::new(Kernel::new(parent), offered)?;
//! // Nothing is translated yet: the device reaches guest memory.
//! let device = RelayedDevice::new(device).with_pasids()?;
//! let port = relay.plug(device, None, memory)?;
//! // The guest has numbered the bus.
//! relay.assign(&port, SourceId::of_function(1, 0, 0), memory)?;
//! // The device is unplugged.
//! let device = relay.unplug(port)?.into_device();
//! # Ok(())
//! # }
//! ```
//!
//! The example `nested_vtd` in this crate's repository is such a VMM, with every register that Linux's
//! driver of a guest writes.
//!
//! # What the guest is to be offered
//!
//! [`Relay::new`] says: first-stage translation in scalable mode, caching mode, and no second stage.
//! Caching mode (`CAP_REG.CM`) has the guest invalidate also what it adds, which nobody would see
//! otherwise. A guest's second stage would be for the VMM to emulate: iommufd has no table for it.
//! [`HostCapabilities::offer`](vtd_types::HostCapabilities::offer) does the rest. Legacy mode is in
//! every unit; what iommufd can do of it is pass-through.
//!
//! # What becomes of descriptors
//!
//! | descriptor | what the relay does |
//! |---|---|
//! | `cc_inv_dsc` | the context entries of the devices that are meant, and then all of their PASID table entries, are looked at; what has changed is replaced |
//! | `pc_inv_dsc` | the PASID table entries that are meant are looked at; what has changed is replaced |
//! | `p_iotlb_inv_dsc` | forwarded, for each table of that domain and PASID |
//! | `iotlb_inv_dsc` | all is invalidated of each table that it is about, if that is one of the first stage |
//! | `dev_tlb_inv_dsc`, `p_dev_tlb_inv_dsc` | nothing: the kernel has the device forget with every invalidation of a table |
//! | `page_grp_resp_dsc` | the page requests are answered |
//! | `inv_wait_dsc` | a [`PendingWait`], which only the token of a flush completes |
//! | `iec_inv_dsc` | nothing: interrupts are the VMM's to remap |
//! | what is invalid | nothing: it is an error at this descriptor |
//!
//! Nothing that a guest writes is forwarded to a table that is not of one of its devices.
//!
//! Nothing that a guest writes makes the relay panic, loop without end or keep memory without end.
//! It keeps 1024 gathered invalidations, 64 reports, and for each device one fault, 512 groups of
//! page requests, and the entries of as many PASIDs as [`Relay::limit_pasids`] says; and while
//! [`Relay::run`] runs, a signal for each wait of that run. [`Relay::run`] does long work in pieces.
//!
//! # Where requests go
//!
//! | registers and tables | requests without a PASID | requests with one |
//! |---|---|---|
//! | `GSTS_REG.TES` is 0 | `Bypass` | `Blocked` |
//! | `RTADDR_REG.TTM` has all aborted, or is reserved | `Blocked` | `Blocked` |
//! | no number yet | `Blocked` | `Blocked` |
//! | legacy mode, pass-through | `Bypass` | `Blocked` |
//! | legacy mode, a second stage | `Blocked` | `Blocked` |
//! | an entry with a first stage | `Translated` | `Translated` |
//! | an entry that passes through | `Bypass` | `Bypass` |
//! | no entry, or one that is not valid, or cannot be read | `Blocked` | `Blocked` |
//!
//! The entry of requests without a PASID is that of `SMCE.RID_PASID`. Requests *with* PASID 0 go
//! where those without go: the kernel has one entry for both. So it is in the guest's tables, too,
//! as long as `SMCE.RID_PASID` is 0, which it is where `ECAP_REG.RPS` is not offered.
//!
//! When the host refuses to put something there, it is `Blocked`, and not left on tables that the
//! guest takes for its own again.
//!
//! A move is a gap: VT-d blocks what is moved, and then lets it through to where it goes. Where an
//! entry is what it was, nothing is moved.
//!
//! # Faults
//!
//! The kernel tells nobody of a guest's requests that fault. [`Relay::take_fault`] gives what a unit
//! would record for entries that are programmed wrong, or cannot be read, unless they say that
//! faults are not to be recorded (`FPD`). A unit records one for each request. Nobody sees these
//! requests, so the relay gives one when it comes upon the entry, whether or not the device does
//! anything, as of a read of address 0. Of entries that are not present it gives none: a device that
//! is not in use has no others.
//!
//! # Page requests
//!
//! A device can wait for a page of the guest's. What a [`FaultQueue`](crate::FaultQueue) delivers of
//! it goes to [`Relay::page_requests`].
//!
//! # Migration
//!
//! [`Relay::quiesce`], [`Quiesced::export`] and [`Relay::import`].
//!
//! Sections are of Intel's *Virtualization Technology for Directed I/O Architecture Specification*,
//! revision 4.1.

mod configuration;
mod context;
mod descriptors;
mod devices;
mod flush;
mod forward;
mod host;
mod kernel;
mod memory;
mod migrate;
mod place;
mod queue;
mod registers;
mod relayed;
mod report;
mod requests;
mod state;
mod tables;
mod wait;

use std::collections::BTreeMap;
use std::fmt;

use vtd_types::{FaultRecord, Features, Invalidation, SourceId};

pub use self::descriptors::Taken;
pub use self::devices::PortError;
pub use self::host::{Host, PageRequests, Place, RequestedPage};
pub use self::kernel::Kernel;
pub use self::memory::GuestMemory;
pub use self::migrate::{ImportError, Quiesced};
pub use self::queue::{InvalidationQueue, Ran, Stop};
pub use self::relayed::RelayedDevice;
pub use self::report::Report;
pub use self::requests::ForGuest;
pub use self::state::{BadState, State};
pub use self::wait::{PendingWait, WaitSignal};
pub use crate::relay::{Flushed, NotFlushed, Pending, Port, Unreadable, WrongToken};

use self::devices::{Plugged, SpaceName};
use self::registers::Registers;
use self::state::Saved;
use crate::error::Refused;
use crate::relay::{PortNumber, RelayId, Reports};

/// What a VMM that emulates a VT-d puts between its guest and the host: see the [module](self).
///
/// All of it is by `&mut`: the VMM has its own lock around its unit. Dropping it drops the devices.
///
/// # Invariants
/// - An address space is at `Space::place`, or that is `None`.
/// - `batch` names only address spaces that are translated.
/// - What was cached of tables that an address space has left is gone.
pub struct Relay<H: Host> {
    id: RelayId,
    host: H,
    features: Features,
    registers: Registers,
    devices: BTreeMap<PortNumber, Plugged<H>>,
    sources: BTreeMap<SourceId, PortNumber>,
    next_port: PortNumber,
    /// What an import knows of devices that have not come yet.
    remembered: BTreeMap<SourceId, Saved>,
    /// What was gathered for the host, in the guest's order.
    batch: Vec<(SpaceName, Invalidation)>,
    /// How many PASIDs of a device there may be.
    most_pasids: usize,
    /// Whether a descriptor was taken since the last reset.
    used: bool,
    /// How many waits were taken.
    waits: u64,
    /// What was done, as [`Relay::run`] counts it.
    spent: usize,
    reports: Reports<Report<H::Error>>,
}

/// The guest was to be offered what no kernel does for it. The name is that of the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CannotRelay {
    /// There must be the first stage, the queue, and caching mode.
    #[error("{0} must be set")]
    Missing(&'static str),
    /// There cannot be a second stage, or what nothing carries to the kernel.
    #[error("{0} must not be set")]
    Offered(&'static str),
}

impl<H: Host> Relay<H> {
    /// How many PASIDs of a device there may be unless [`limit_pasids`](Self::limit_pasids) says
    /// otherwise.
    pub const MOST_PASIDS: usize = 4096;

    /// The relay of a guest's unit with these features, which are those that the guest reads in its
    /// capability registers. They should offer no more than the host has:
    /// [`HostCapabilities::offer`](vtd_types::HostCapabilities::offer).
    ///
    /// All registers are 0, so devices that are plugged bypass.
    ///
    /// # Errors
    /// The host, with [`CannotRelay`].
    pub fn new(host: H, features: Features) -> Result<Self, Refused<H, CannotRelay>> {
        if let Some(wrong) = wrong(&features) {
            return Err(Refused::new(host, wrong));
        }
        Ok(Self {
            id: RelayId::next(),
            host,
            features,
            registers: Registers::default(),
            devices: BTreeMap::new(),
            sources: BTreeMap::new(),
            next_port: PortNumber::FIRST,
            remembered: BTreeMap::new(),
            batch: Vec::new(),
            most_pasids: Self::MOST_PASIDS,
            used: false,
            waits: 0,
            spent: 0,
            reports: Reports::new(),
        })
    }

    /// From now on a device can have at most this many PASIDs that are not blocked: each is a table
    /// and an attachment in the kernel, which a guest could have a million of.
    pub fn limit_pasids(&mut self, most: usize) {
        self.most_pasids = most;
    }

    /// What is behind it.
    #[must_use]
    pub fn host(&self) -> &H {
        &self.host
    }

    /// What the guest is offered.
    #[must_use]
    pub fn features(&self) -> &Features {
        &self.features
    }

    /// A fault for the guest that the hardware does not tell it: see [Faults](self#faults). To be
    /// asked again until there is nothing. At most one waits for each device: the latest.
    pub fn take_fault(&mut self) -> Option<FaultRecord> {
        self.devices
            .values_mut()
            .find_map(|plugged| plugged.fault.take())
    }

    /// What the host has refused, or cannot do, since this was asked last. The latest 64 are kept.
    pub fn take_reports(&mut self) -> Vec<Report<H::Error>> {
        self.reports.take(Report::Lost)
    }
}

/// The first field of which no good can come.
fn wrong(features: &Features) -> Option<CannotRelay> {
    let (cap, ecap) = (features.cap(), features.ecap());
    let missing = [
        (cap.cm(), "CAP_REG.CM"),
        (ecap.qi(), "ECAP_REG.QI"),
        (ecap.smts(), "ECAP_REG.SMTS"),
        (ecap.fsts(), "ECAP_REG.FSTS"),
    ];
    let offered = [
        (ecap.ssts(), "ECAP_REG.SSTS"),
        (ecap.nest(), "ECAP_REG.NEST"),
        (ecap.ssads(), "ECAP_REG.SSADS"),
        (ecap.sc(), "ECAP_REG.SC"),
        (ecap.mts(), "ECAP_REG.MTS"),
        (ecap.ers(), "ECAP_REG.ERS"),
        (ecap.rprivs(), "ECAP_REG.RPRIVS"),
    ];
    let missing = missing.into_iter().find(|(set, _)| !set);
    let offered = offered.into_iter().find(|(set, _)| *set);
    missing
        .map(|(_, name)| CannotRelay::Missing(name))
        .or(offered.map(|(_, name)| CannotRelay::Offered(name)))
}

impl<H: Host> fmt::Debug for Relay<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay")
            .field("registers", &self.registers)
            .field("devices", &self.devices)
            .field("gathered", &self.batch.len())
            .finish_non_exhaustive()
    }
}
