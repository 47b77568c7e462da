//! What a unit interrupts the guest's processors for.

use vtd_types::EventControl;

/// An interrupt for the guest: a write of `data` to `address`, as devices write their MSIs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    /// Where to: the guest's interrupt controller.
    pub address: u64,
    /// What.
    pub data: u32,
}

/// A reason for an interrupt, with its four registers: control, data, address, and its upper half.
#[derive(Debug, Default)]
pub(super) struct Event {
    control: EventControl,
    data: u32,
    address: u64,
    due: bool,
}

impl Event {
    /// One that is masked, as after a reset.
    pub(super) fn new() -> Self {
        Self {
            control: EventControl::default().with_im(true),
            ..Self::default()
        }
    }

    /// Which of its registers is at `offset`, if the first is at `first`.
    pub(super) fn covers(first: u64, offset: u64) -> Option<u64> {
        offset.checked_sub(first).filter(|at| *at < 16)
    }

    pub(super) fn read(&self, at: u64) -> u32 {
        match at {
            0 => self.control.bits(),
            4 => self.data,
            8 => self.address as u32,
            _ => (self.address >> 32) as u32,
        }
    }

    pub(super) fn write(&mut self, at: u64, value: u32) {
        match at {
            0 => {
                let masked = EventControl::from_bits(value).im();
                self.control = self.control.with_im(masked);
                if !masked && self.control.ip() {
                    self.control = self.control.with_ip(false);
                    self.due = true;
                }
            }
            4 => self.data = value,
            8 => self.address = self.address >> 32 << 32 | u64::from(value),
            _ => self.address = self.address & 0xffff_ffff | u64::from(value) << 32,
        }
    }

    /// It happens. If it is masked, the guest hears of it later.
    pub(super) fn happens(&mut self) {
        match self.control.im() {
            true => self.control = self.control.with_ip(true),
            false => self.due = true,
        }
    }

    /// What is to be sent, once.
    pub(super) fn take(&mut self) -> Option<Message> {
        std::mem::take(&mut self.due).then_some(Message {
            address: self.address,
            data: self.data,
        })
    }
}
