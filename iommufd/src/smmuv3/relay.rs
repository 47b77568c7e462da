//! The relay: what a VMM that emulates an SMMUv3 needs between its guest and this kernel.
//!
//! The VMM has the registers, the interrupts and the guest's memory. A [`Relay`] takes the guest's
//! commands in the guest's order, gathers those that the kernel takes, reads stream table entries
//! when the guest says that they have changed, and puts devices where registers and entries say. A
//! VMM's command queue is this:
//!
//! ```no_run
//! use iommufd::smmuv3::relay::{CommandQueue, GuestMemory, Kernel, Relay, Stop};
//! use smmuv3_types::{
//!     CmdqCons, CmdqProd, Cr0, EventRecord, GlobalErrorRegisters, QueueBase, QueueSize, SyncSignal,
//! };
//!
//! struct Smmu {
//!     relay: Relay<Kernel>,
//!     cmdq_base: QueueBase,
//!     cmdq_prod: CmdqProd,
//!     cmdq_cons: CmdqCons,
//!     gerror: GlobalErrorRegisters,
//! }
//!
//! impl Smmu {
//!     /// The guest has written SMMU_CR0. On return SMMU_CR0ACK can say so.
//!     fn write_cr0(&mut self, cr0: Cr0, memory: &impl GuestMemory) {
//!         self.relay.set_cr0(cr0, memory);
//!         self.after();
//!     }
//!
//!     /// The guest has written SMMU_CMDQ_PROD, or acknowledged an error, or there was more to do.
//!     /// Says whether there is.
//!     fn commands(&mut self, memory: &impl GuestMemory) -> bool {
//!         let queue = CommandQueue {
//!             base: self.cmdq_base,
//!             max: QueueSize::MAX,
//!             prod: self.cmdq_prod,
//!             cons: &mut self.cmdq_cons,
//!             errors: &mut self.gerror,
//!         };
//!         let ran = self.relay.run(queue, memory, 1024);
//!         for signal in ran.signals {
//!             self.signal(signal);
//!         }
//!         self.after();
//!         match ran.stop {
//!             Stop::Idle => false,
//!             Stop::More => true,
//!             Stop::Illegal(_) | Stop::Unreadable => {
//!                 self.raise_gerror();
//!                 false
//!             }
//!             // The guest must not go on: it would use memory again that a device still writes to.
//!             // Its SYNC is not complete, and is tried when the queue is run again. Until then the
//!             // guest stands still, and whoever looks after it hears why.
//!             Stop::NotFlushed(error) => {
//!                 self.pause_guest(&error);
//!                 false
//!             }
//!         }
//!     }
//!
//!     fn after(&mut self) {
//!         while let Some(event) = self.relay.take_event() {
//!             self.put_into_event_queue(event);
//!         }
//!         for report in self.relay.take_reports() {
//!             eprintln!("{report:?}");
//!         }
//!     }
//!     # fn signal(&mut self, _: SyncSignal) {}
//!     # fn put_into_event_queue(&mut self, _: EventRecord) {}
//!     # fn raise_gerror(&mut self) {}
//!     # fn pause_guest(&mut self, _: &iommufd::smmuv3::relay::NotFlushed) {}
//! }
//! ```
//!
//! and its devices are this:
//!
//! ```no_run
//! # fn example(
//! #     smmu: &iommufd::Viommu<iommufd::smmuv3::Smmuv3>,
//! #     device: iommufd::Device,
//! #     guests_registers: smmuv3_types::IdRegisters,
//! #     memory: &impl iommufd::smmuv3::relay::GuestMemory,
//! # ) -> Result<(), Box<dyn std::error::Error>> {
//! use iommufd::smmuv3::relay::{Kernel, Relay, RelayedDevice};
//! use smmuv3_types::{Features, StreamId};
//!
//! let features = Features::new(guests_registers)?;
//! let mut relay = Relay::new(Kernel::new(smmu), features)?;
//! // The SMMU is off, and SMMU_GBPA lets everything through: the device reaches guest memory. (If
//! // it has ATS, and shall use it: `RelayedDevice::new(device).with_ats()?`.)
//! let port = relay.plug(RelayedDevice::new(device), None, memory)?;
//! // The guest has numbered the bus.
//! relay.assign(&port, Some(StreamId::new(0x100)), memory)?;
//! // The device is unplugged.
//! let device = relay.unplug(port)?.into_device();
//! # Ok(())
//! # }
//! ```
//!
//! # What becomes of commands
//!
//! | command | what the relay does |
//! |---|---|
//! | `CFGI_STE`, `CFGI_STE_RANGE`, `CFGI_ALL` | for each stream with a device: what came before is carried out, the entry is read and reduced to what the guest's SMMU has, and if it is another the table is replaced; then `CFGI_CD_ALL` is forwarded |
//! | `CFGI_CD`, `CFGI_CD_ALL` | forwarded, if the stream is translated |
//! | `ATC_INV` | forwarded, if the stream is translated, its entry has ATS on, and the device has ATS |
//! | `TLBI_NH_*`, `TLBI_NSNH_ALL` | forwarded |
//! | `RESUME`, `STALL_TERM`, `PRI_RESP` | the page requests are answered |
//! | `SYNC` | a [`PendingSync`], which only the token of a flush completes |
//! | `PREFETCH_*` | nothing |
//! | what is illegal | nothing: it is an error at this command |
//!
//! What the host's SMMU has not, but the guest was told of, is forwarded as something that covers
//! it. Nothing that a guest writes is forwarded for a stream that is not one of its devices'.
//!
//! Nothing that a guest writes makes the relay panic, loop without end or keep memory without end.
//! It keeps 1024 gathered commands, 64 reports, for each device one event and the page requests that
//! the hardware lets wait, and while [`Relay::run`] runs a signal for each `CMD_SYNC` of that run. A
//! command costs at most one read of the stream table, and one replaced table, for each device.
//!
//! # Where devices are
//!
//! | registers and tables | [`Place`] |
//! |---|---|
//! | `SMMU_CR0.SMMUEN` is 0, `SMMU_GBPA.ABORT` is 0 | `Bypass` |
//! | `SMMU_CR0.SMMUEN` is 0, `SMMU_GBPA.ABORT` is 1 | `Blocked` |
//! | no stream yet | `Blocked` |
//! | an entry that aborts, or is not valid, or cannot be read; or none | `Blocked` |
//! | an entry that bypasses | `Bypass` |
//! | an entry with stage 1 | `Translated` |
//!
//! When the host refuses to put a device there, it is `Blocked`, and not left on tables that the
//! guest takes for its own again.
//!
//! A device that is plugged is attached in each of these places, so that its interrupts can be set
//! up, and go on: [`Kernel`] says to what. It is the VMM's to attach before it is plugged, and after
//! it is unplugged, and not between.
//!
//! # Events
//!
//! Records of the hardware's come by a [`VEventQueue`](crate::VEventQueue), with the guest's stream
//! in them: they go to the guest's event queue as they are. For a stream that is `Blocked` the
//! hardware gives none. [`Relay::take_event`] gives what an SMMU would: `C_BAD_STE`, `F_STE_FETCH`
//! and, if `SMMU_CR2.RECINVSID` asks for it, `C_BAD_STREAMID`. An SMMU gives it for each
//! transaction. Nobody sees these transactions, so the relay gives one when it comes upon the
//! configuration, whether or not the device does anything.
//!
//! # Page requests
//!
//! A device can wait for a page of the guest's. What a [`FaultQueue`](crate::FaultQueue) delivers of
//! it goes to [`Relay::page_requests`]. A device without such a queue
//! ([`RelayedDevice::with_fault_queue`]) does not stall, whatever the guest's tables say. On Arm
//! these are stalled transactions: each is one request,
//! with the stall's tag (`STAG`) for the number of its group. That the fault was one of
//! `F_TRANSLATION`, `F_ADDR_SIZE`, `F_ACCESS` or `F_PERMISSION` the kernel does not say; the guest is
//! told of the first. Linux 7.3 has no PRI with an SMMUv3; another [`Host`] may.
//!
//! # Migration
//!
//! [`Relay::quiesce`], [`Quiesced::export`] and [`Relay::import`].
//!
//! The architecture is Arm IHI 0070, issue G.b; its sections are named where something follows from
//! them.

mod commands;
mod configuration;
mod devices;
mod flush;
mod forward;
mod host;
mod kernel;
mod memory;
mod migrate;
mod place;
mod pri;
mod queue;
mod registers;
mod relayed;
mod report;
mod requests;
mod state;
mod sync;

use std::collections::BTreeMap;
use std::fmt;

use smmuv3_types::{EventRecord, Features, Invalidation, InvalidationLimits, StreamId};

pub use commands::Taken;
pub use devices::PortError;
pub use host::{Host, PageRequests, Place, RequestName, RequestedPage};
pub use kernel::{Kernel, Smmuv3Kind};
pub use memory::GuestMemory;
pub use migrate::{ImportError, Quiesced};
pub use queue::{CommandQueue, Ran, Stop};
pub use relayed::RelayedDevice;
pub use report::Report;
pub use requests::ForGuest;
pub use state::{BadState, State};
pub use sync::PendingSync;

pub use crate::relay::{Flushed, NotFlushed, Pending, Port, Unreadable, WrongToken};

use self::devices::Plugged;
use self::registers::Registers;
use self::state::Saved;
use crate::error::Refused;
use crate::relay::{PortNumber, RelayId, Reports};

/// What a VMM that emulates an SMMUv3 puts between its guest and the host: see the
/// [module](self).
///
/// All of it is by `&mut`: the VMM has its own lock around its SMMU. Dropping it drops the devices.
///
/// # Invariants
/// - A device is at `Plugged::place`, or that is `None`.
/// - `batch` names only streams that have a device.
/// - While `stale`, the TLBs may have translations that the guest has invalidated, and no device is
///   translated.
/// - While `overdue`, they may have such translations, too, and no `CMD_SYNC` completes.
pub struct Relay<H: Host> {
    id: RelayId,
    host: H,
    limits: InvalidationLimits,
    features: Features,
    registers: Registers,
    devices: BTreeMap<PortNumber, Plugged<H>>,
    streams: BTreeMap<StreamId, PortNumber>,
    next_port: PortNumber,
    /// What an import knows of streams whose device has not come yet.
    remembered: BTreeMap<StreamId, Saved>,
    /// What was gathered for the host.
    batch: Vec<Invalidation>,
    stale: bool,
    /// A device was stuck on tables that it was to leave, since all was forgotten last.
    overdue: bool,
    /// Whether a command was taken since the last reset.
    used: bool,
    /// How many `CMD_SYNC`s were taken.
    syncs: u64,
    reports: Reports<Report<H::Error>>,
}

/// The guest was to be offered what no kernel does for it. The name is that of the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CannotRelay {
    /// There must be stage 1.
    #[error("{0} must be set")]
    Missing(&'static str),
    /// There cannot be stage 2, EL2 or MPAM.
    #[error("{0} must not be set")]
    Offered(&'static str),
}

impl<H: Host> Relay<H> {
    /// The relay of a guest's SMMU with these features, which are those that the guest reads in its
    /// identification registers. They should offer no more than the host has:
    /// [`Vouched::offer`](smmuv3_types::Vouched::offer).
    ///
    /// All registers are 0, so devices that are plugged bypass. A VMM whose `SMMU_GBPA.ABORT` is 1
    /// after a reset says so by [`set_gbpa`](Self::set_gbpa), first.
    ///
    /// # Errors
    /// The host, with [`CannotRelay`].
    pub fn new(host: H, features: Features) -> Result<Self, Refused<H, CannotRelay>> {
        let registers = features.registers();
        let wrong = if !registers.idr0.s1p() {
            Some(CannotRelay::Missing("SMMU_IDR0.S1P"))
        } else if registers.idr0.s2p() {
            Some(CannotRelay::Offered("SMMU_IDR0.S2P"))
        } else if registers.idr0.hyp() {
            Some(CannotRelay::Offered("SMMU_IDR0.Hyp"))
        } else if registers.idr3.mpam() {
            Some(CannotRelay::Offered("SMMU_IDR3.MPAM"))
        } else {
            None
        };
        if let Some(wrong) = wrong {
            return Err(Refused::new(host, wrong));
        }
        Ok(Self {
            id: RelayId::next(),
            limits: host.limits(),
            host,
            features,
            registers: Registers::default(),
            devices: BTreeMap::new(),
            streams: BTreeMap::new(),
            next_port: PortNumber::FIRST,
            remembered: BTreeMap::new(),
            batch: Vec::new(),
            stale: false,
            overdue: false,
            used: false,
            syncs: 0,
            reports: Reports::new(),
        })
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

    /// Something for the guest's event queue that the hardware does not tell it: see
    /// [Events](self#events). To be asked again until there is nothing. At most one waits for each
    /// device: the latest.
    pub fn take_event(&mut self) -> Option<EventRecord> {
        self.devices
            .values_mut()
            .find_map(|plugged| plugged.event.take())
    }

    /// What the host has refused since this was asked last. The latest 64 are kept.
    pub fn take_reports(&mut self) -> Vec<Report<H::Error>> {
        self.reports.take(Report::Lost)
    }
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
