//! A VT-d as a VMM emulates it: the registers that a guest's driver reads and writes, in front of a
//! relay.
//!
//! The guest is offered the first stage in scalable mode, with PASIDs. It has one fault recording
//! register, no page requests and no remapping of interrupts.

mod event;

use iommufd::vtd::relay::{
    CannotRelay, GuestMemory, Host, InvalidationQueue, NotFlushed, Relay, Report, Stop, Unreadable,
    WaitSignal,
};
use vtd_types::{
    Cap, Capabilities, Ecap, FaultRecord, Features, Fsts, Gcmd, Gsts, HostAddressWidth, Ics, Iqa,
    Iqercd, QueueOffset, Rtaddr,
};

use self::event::Event;
pub use self::event::Message;

/// Where registers are. Those of 64 bits have their upper half at the next four bytes.
pub mod register {
    /// `VER_REG`.
    pub const VER: u64 = 0x00;
    /// `CAP_REG`.
    pub const CAP: u64 = 0x08;
    /// `ECAP_REG`.
    pub const ECAP: u64 = 0x10;
    /// `GCMD_REG`.
    pub const GCMD: u64 = 0x18;
    /// `GSTS_REG`.
    pub const GSTS: u64 = 0x1c;
    /// `RTADDR_REG`.
    pub const RTADDR: u64 = 0x20;
    /// `FSTS_REG`.
    pub const FSTS: u64 = 0x34;
    /// `FECTL_REG`, and the three registers of its message.
    pub const FECTL: u64 = 0x38;
    /// `IQH_REG`.
    pub const IQH: u64 = 0x80;
    /// `IQT_REG`.
    pub const IQT: u64 = 0x88;
    /// `IQA_REG`.
    pub const IQA: u64 = 0x90;
    /// `ICS_REG`.
    pub const ICS: u64 = 0x9c;
    /// `IECTL_REG`, and the three registers of its message.
    pub const IECTL: u64 = 0xa0;
    /// `IQERCD_REG`.
    pub const IQERCD: u64 = 0xb0;
    /// `FRCD_REG`: where `CAP_REG.FRO` says.
    pub const FRCD: u64 = 0x220;
}

/// How many bits a physical address of the guest's has.
const WIDTH: u8 = 46;
/// How much is done for a guest before others have their turn.
const TURN: usize = 1024;

/// The guest's memory: the unit writes to it, too.
pub trait Ram: GuestMemory {
    /// Writes `bytes` at `address`.
    ///
    /// # Errors
    /// There is no memory.
    fn write(&self, address: vtd_types::Gpa, bytes: &[u8]) -> Result<(), Unreadable>;
}

/// What this VMM wants to offer its guest. What the hardware has to do of it, and does not, goes:
/// [`HostCapabilities::offer`](vtd_types::HostCapabilities::offer).
#[must_use]
pub fn wanted() -> Capabilities {
    Capabilities {
        cap: Cap::default()
            .with_nd(6)
            .with_cm(true)
            .with_mgaw(47)
            .with_sagaw_48(true)
            .with_fro((register::FRCD / 16) as u16)
            .with_esrtps(true),
        ecap: Ecap::default()
            .with_c(true)
            .with_qi(true)
            .with_pt(true)
            .with_srs(true)
            .with_pasid(true)
            .with_pss(15)
            .with_smts(true)
            .with_fsts(true),
    }
}

/// The unit. What the guest reads of the registers is here; what follows from them is in the relay.
///
/// It has no lock: the VMM has its own around it.
#[derive(Debug)]
pub struct Unit<H: Host> {
    relay: Relay<H>,
    rtaddr: Rtaddr,
    iqa: Iqa,
    tail: QueueOffset,
    head: QueueOffset,
    status: Fsts,
    error: Iqercd,
    completion: Ics,
    fault: FaultRecord,
    on_fault: Event,
    on_completion: Event,
}

impl<H: Host> Unit<H> {
    /// A unit that offers this, with `host` behind it.
    ///
    /// # Errors
    /// What is offered cannot be.
    pub fn new(host: H, offered: Capabilities) -> Result<Self, Error> {
        let width = HostAddressWidth::new(WIDTH).unwrap_or(HostAddressWidth::MAX);
        let features = Features::new(offered, width)?;
        let relay = Relay::new(host, features).map_err(|refused| refused.into_error())?;
        Ok(Self {
            relay,
            rtaddr: Rtaddr::from_bits(0),
            iqa: Iqa::from_bits(0),
            tail: QueueOffset::default(),
            head: QueueOffset::default(),
            status: Fsts::default(),
            error: Iqercd::default(),
            completion: Ics::default(),
            fault: FaultRecord::from_words([0; 2]),
            on_fault: Event::new(),
            on_completion: Event::new(),
        })
    }

    /// The relay: where devices are plugged in.
    pub fn relay(&mut self) -> &mut Relay<H> {
        &mut self.relay
    }

    /// The guest reads the 32 bits at `offset`. Where there is no register it reads 0.
    #[must_use]
    pub fn read(&self, offset: u64) -> u32 {
        let capabilities = self.relay.features().capabilities();
        let [fault_low, fault_high] = self.fault.words();
        match offset {
            // 4.0.
            register::VER => 0x40,
            register::GSTS => self.relay.status().bits(),
            register::FSTS => self.status.bits(),
            register::ICS => self.completion.bits(),
            _ if let Some(at) = Event::covers(register::FECTL, offset) => self.on_fault.read(at),
            _ if let Some(at) = Event::covers(register::IECTL, offset) => {
                self.on_completion.read(at)
            }
            _ => {
                let whole = match offset & !7 {
                    register::CAP => capabilities.cap.bits(),
                    register::ECAP => capabilities.ecap.bits(),
                    register::RTADDR => self.rtaddr.bits(),
                    register::IQH => self.head.bits(),
                    register::IQT => self.tail.bits(),
                    register::IQA => self.iqa.bits(),
                    register::IQERCD => self.error.bits(),
                    register::FRCD => fault_low,
                    at if at == register::FRCD + 8 => fault_high,
                    _ => 0,
                };
                half(whole, offset)
            }
        }
    }

    /// The guest writes the 32 bits at `offset`. A write of 64 bits is two of these, the lower half
    /// first.
    ///
    /// # Errors
    /// A device cannot be taken off tables that the guest takes for left: the guest must not go on.
    /// The VMM pauses it, and tries [`run`](Self::run) again.
    pub fn write(&mut self, offset: u64, value: u32, ram: &impl Ram) -> Result<(), NotFlushed> {
        match offset {
            register::GCMD => self.command(Gcmd::from_bits(value), ram),
            register::FSTS => {
                self.status = self.status.after_write(value);
                // The queue can go on.
                return self.run(ram);
            }
            register::ICS => self.completion = self.completion.after_write(value),
            register::IQT => {
                self.tail = QueueOffset::from_bits(value.into());
                return self.run(ram);
            }
            _ if let Some(at) = Event::covers(register::FECTL, offset) => {
                self.on_fault.write(at, value);
            }
            _ if let Some(at) = Event::covers(register::IECTL, offset) => {
                self.on_completion.write(at, value);
            }
            _ => match offset & !7 {
                register::RTADDR => {
                    self.rtaddr = Rtaddr::from_bits(with_half(self.rtaddr.bits(), offset, value));
                }
                register::IQA => {
                    self.iqa = Iqa::from_bits(with_half(self.iqa.bits(), offset, value));
                }
                // F, which is cleared by writing 1.
                at if at == register::FRCD + 8 && offset & 4 != 0 && value >> 31 != 0 => {
                    self.fault = FaultRecord::from_words([0; 2]);
                    self.status = self.status.with_ppf(false);
                }
                _ => {}
            },
        }
        Ok(())
    }

    /// What the guest is to be sent. To be asked after each write.
    pub fn take_messages(&mut self) -> impl Iterator<Item = Message> + use<H> {
        let messages = [self.on_fault.take(), self.on_completion.take()];
        messages.into_iter().flatten()
    }

    /// What went wrong that is not the guest's doing.
    pub fn take_reports(&mut self) -> Vec<Report<H::Error>> {
        self.relay.take_reports()
    }

    /// Takes what is in the guest's queue.
    ///
    /// # Errors
    /// As for [`write`](Self::write).
    pub fn run(&mut self, ram: &impl Ram) -> Result<(), NotFlushed> {
        loop {
            let queue = InvalidationQueue {
                iqa: self.iqa,
                tail: self.tail,
                head: &mut self.head,
                status: &mut self.status,
                error: &mut self.error,
            };
            let ran = self.relay.run(queue, ram, TURN);
            for signal in ran.signals {
                self.signal(signal, ram);
            }
            self.record_faults();
            match ran.stop {
                Stop::Idle => return Ok(()),
                // A VMM with several guests to a thread lets another have its turn here.
                Stop::More => {}
                // FSTS_REG and IQERCD_REG say what it is.
                Stop::Invalid(_) | Stop::Unreadable | Stop::Offset(_) | Stop::Width => {
                    self.on_fault.happens();
                    return Ok(());
                }
                Stop::NotFlushed(error) => return Err(error),
            }
        }
    }

    fn command(&mut self, gcmd: Gcmd, ram: &impl Ram) {
        if gcmd.qie() && !self.relay.status().qies() {
            self.head = QueueOffset::default();
        }
        let _status: Gsts = self.relay.write_gcmd(gcmd, self.rtaddr, ram);
        self.record_faults();
    }

    /// A wait is complete. The unit has no page requests that could come before.
    fn signal(&mut self, signal: WaitSignal, ram: &impl Ram) {
        if let Some(write) = signal.status {
            // Where there is no memory a unit's write is lost.
            let _written = ram.write(write.address(), &write.data().to_le_bytes());
        }
        if signal.interrupt && !self.completion.iwc() {
            self.completion = self.completion.with_iwc(true);
            self.on_completion.happens();
        }
    }

    fn record_faults(&mut self) {
        while let Some(fault) = self.relay.take_fault() {
            if self.fault.f() {
                self.status = self.status.with_pfo(true);
                continue;
            }
            self.fault = fault;
            self.status = self.status.with_ppf(true).with_fri(0);
            self.on_fault.happens();
        }
    }
}

/// Why there is no such unit.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A field that is offered is reserved.
    #[error(transparent)]
    Reserved(#[from] vtd_types::Reserved),
    /// The guest is to be offered what no kernel does.
    #[error(transparent)]
    CannotRelay(#[from] CannotRelay),
}

fn half(whole: u64, offset: u64) -> u32 {
    (whole >> shift(offset)) as u32
}

fn with_half(whole: u64, offset: u64, value: u32) -> u64 {
    let shift = shift(offset);
    whole & !(0xffff_ffff << shift) | u64::from(value) << shift
}

fn shift(offset: u64) -> u64 {
    (offset & 4) * 8
}
