//! A driver of QEMU's educational device (`-device edu`), in safe Rust.
//!
//! The device has a buffer of its own and copies between that and memory, 100 ms a transfer. Its
//! registers are described in QEMU's documentation, "EDU device".

use std::time::{Duration, Instant};

use iommufd::Iova;
use vfio::{
    BarMapping, Interrupts, OpenDevice, PciIds, ReadOnly, RegionIndex, Register, Registers,
    WriteOnly,
};

/// Vendor and device identifier.
const IDS: PciIds = PciIds {
    vendor: 0x1234,
    device: 0x11e8,
};

/// The identification register, whose low 16 bits are `0x00ed`.
const IDENTIFICATION: Register<u32, ReadOnly> = Register::at(0x00);
/// A register that answers with the inverse of what was written.
const LIVENESS: Register<u32> = Register::at(0x04);
/// Which interrupts have been raised and not acknowledged.
const INTERRUPT_STATUS: Register<u32, ReadOnly> = Register::at(0x24);
/// Raises the interrupts that are written.
const INTERRUPT_RAISE: Register<u32, WriteOnly> = Register::at(0x60);
/// Acknowledges the interrupts that are written.
const INTERRUPT_ACKNOWLEDGE: Register<u32, WriteOnly> = Register::at(0x64);
/// Where a transfer reads from.
const DMA_SOURCE: Register<u64> = Register::at(0x80);
/// Where a transfer writes to.
const DMA_DESTINATION: Register<u64> = Register::at(0x88);
/// How many bytes a transfer moves.
const DMA_COUNT: Register<u64> = Register::at(0x90);
/// Starts a transfer.
const DMA_COMMAND: Register<u64> = Register::at(0x98);

/// Of the command register: start; the device clears it when it is done.
const START: u64 = 1 << 0;
/// Of the command register: from the device's buffer to memory, not the other way.
const TO_MEMORY: u64 = 1 << 1;
/// Of the command register: raise an interrupt at the end.
const INTERRUPT: u64 = 1 << 2;
/// The interrupt that a transfer raises at its end.
const TRANSFER_DONE: u32 = 0x100;

/// Where the device finds its own buffer.
const BUFFER: u64 = 0x4_0000;
/// The length of the device's buffer in bytes. QEMU stops if a transfer passes its end.
pub const BUFFER_LEN: usize = 4096;

/// A transfer takes 100 ms; an emulated machine can be slow, and its clock can jump.
const PATIENCE: Duration = Duration::from_secs(30);

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// VFIO refused.
    #[error(transparent)]
    Vfio(#[from] vfio::Error),
    /// It is another device.
    #[error("the device is not an edu [{IDS}]: it is [{0}]")]
    NotEdu(PciIds),
    /// Its registers do not behave as an edu's do.
    #[error("the device does not answer as an edu does: {0}")]
    Dead(&'static str),
    /// A transfer that the device's buffer has no room for.
    #[error("a transfer of {0} bytes: the device's buffer has {BUFFER_LEN}")]
    TooLong(usize),
    /// No interrupt came.
    #[error("no interrupt within {} seconds", PATIENCE.as_secs())]
    NoInterrupt,
}

/// An `edu` device.
#[derive(Debug)]
pub struct Edu {
    registers: BarMapping,
    interrupts: Interrupts,
}

impl Edu {
    /// Takes the device into use: maps its registers, lets it do DMA, enables its interrupt.
    ///
    /// # Errors
    /// [`Error::NotEdu`], [`Error::Dead`], or VFIO's refusal.
    pub fn new(device: &OpenDevice) -> Result<Self, Error> {
        let config = device.config()?;
        let ids = config.ids()?;
        if ids != IDS {
            return Err(Error::NotEdu(ids));
        }
        let registers = device.map_bar(RegionIndex::BAR0)?;
        if registers.get(IDENTIFICATION)? & 0xffff != 0x00ed {
            return Err(Error::Dead("wrong identification"));
        }
        registers.set(LIVENESS, 0x1234_5678)?;
        if registers.get(LIVENESS)? != !0x1234_5678 {
            return Err(Error::Dead("it does not invert what it is told"));
        }
        wait_until_idle(&registers)?;
        let interrupts = device.msi(1)?;
        config.enable_bus_master()?;
        Ok(Self {
            registers,
            interrupts,
        })
    }

    /// The version of the device, major and minor.
    ///
    /// # Errors
    /// As for [`BarMapping::read`].
    pub fn version(&self) -> Result<(u8, u8), Error> {
        let [_, _, minor, major] = self.registers.get(IDENTIFICATION)?.to_le_bytes();
        Ok((major, minor))
    }

    /// Has the device read `len` bytes of memory at `from` into its buffer, and waits for it.
    ///
    /// # Errors
    /// [`Error::TooLong`], [`Error::NoInterrupt`], or VFIO's refusal. A read that the IOMMU blocks
    /// is no error: the device just does not get the memory's contents.
    pub fn fetch(&self, from: Iova, len: usize) -> Result<(), Error> {
        self.transfer(from.get(), BUFFER, len, 0)
    }

    /// Has the device write the first `len` bytes of its buffer to memory at `to`, and waits for it.
    ///
    /// # Errors
    /// As for [`fetch`](Self::fetch).
    pub fn store(&self, to: Iova, len: usize) -> Result<(), Error> {
        self.transfer(BUFFER, to.get(), len, TO_MEMORY)
    }

    /// Has the device raise its interrupt, and waits for it.
    ///
    /// # Errors
    /// As for [`fetch`](Self::fetch).
    pub fn interrupt(&self) -> Result<(), Error> {
        self.raise()?;
        self.wait()?;
        Ok(())
    }

    /// Has the device raise its interrupt, which may not arrive.
    ///
    /// # Errors
    /// As for [`BarMapping::write`].
    pub fn raise(&self) -> Result<(), Error> {
        Ok(self.registers.set(INTERRUPT_RAISE, 1)?)
    }

    /// Tells the device that its interrupts are handled. Returns what they were for.
    ///
    /// # Errors
    /// As for [`BarMapping::read`] and [`BarMapping::write`].
    pub fn acknowledge(&self) -> Result<u32, Error> {
        let raised = self.registers.get(INTERRUPT_STATUS)?;
        self.registers.set(INTERRUPT_ACKNOWLEDGE, raised)?;
        Ok(raised)
    }

    /// The interrupt, for those who wait for it themselves.
    pub fn interrupts(&self) -> &Interrupts {
        &self.interrupts
    }

    fn transfer(&self, from: u64, to: u64, len: usize, direction: u64) -> Result<(), Error> {
        if len > BUFFER_LEN {
            return Err(Error::TooLong(len));
        }
        self.registers.set(DMA_SOURCE, from)?;
        self.registers.set(DMA_DESTINATION, to)?;
        self.registers.set(DMA_COUNT, len as u64)?;
        // What the CPU wrote to memory before is there for the device to read.
        self.registers
            .set_release(DMA_COMMAND, START | INTERRUPT | direction)?;
        let raised = self.wait()?;
        if raised & TRANSFER_DONE == 0 || self.registers.get_acquire(DMA_COMMAND)? & START != 0 {
            return Err(Error::Dead("the interrupt came before the transfer ended"));
        }
        Ok(())
    }

    /// Waits for the interrupt and acknowledges it. Returns what it was for.
    fn wait(&self) -> Result<u32, Error> {
        if self.interrupts.vector(0)?.wait(PATIENCE)?.is_none() {
            return Err(Error::NoInterrupt);
        }
        self.acknowledge()
    }
}

/// Waits for the end of a transfer that an earlier user has started, as the device cannot be reset
/// and ignores what it is told meanwhile. Where the transfer goes is no concern: that user's memory
/// is not mapped any more.
fn wait_until_idle(registers: &BarMapping) -> Result<(), Error> {
    let begin = Instant::now();
    while registers.get(DMA_COMMAND)? & START != 0 {
        if begin.elapsed() > PATIENCE {
            return Err(Error::Dead("a transfer does not end"));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
