//! Accesses of mapped registers that belong together.

use std::fmt;
use std::mem::ManuallyDrop;

use iommufd::volatile::Word;

use crate::bar::BarMapping;
use crate::error::Result;
use crate::gate::HeldPass;

/// The right to access the registers of a [`BarMapping`], until it is dropped: what would revoke
/// it waits so long.
///
/// It belongs to the thread that has it. In that thread, what would wait for it (such as
/// [`OpenDevice::reset`](crate::OpenDevice::reset)) fails with [`Error::AccessHeld`] instead.
///
/// ```no_run
/// # fn example(device: &vfio::Device) -> vfio::Result<()> {
/// let registers = device.map_bar(vfio::RegionIndex::BAR0)?;
/// let access = registers.access()?;
/// for entry in (0x100..0x200).step_by(4) {
///     access.write(entry, 0_u32)?;
/// }
/// drop(access);
/// device.reset()?;
/// # Ok(())
/// # }
/// ```
///
/// [`Error::AccessHeld`]: crate::Error::AccessHeld
#[must_use = "the right ends when it is dropped"]
pub struct BarAccess<'m> {
    mapping: &'m BarMapping,
    pass: Option<HeldPass<'m>>,
}

impl<'m> BarAccess<'m> {
    pub(crate) fn new(mapping: &'m BarMapping, pass: HeldPass<'m>) -> Self {
        Self {
            mapping,
            pass: Some(pass),
        }
    }

    /// The mapping whose registers these are.
    #[must_use]
    pub fn mapping(&self) -> &'m BarMapping {
        self.mapping
    }

    /// The length of the region in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.mapping.size()
    }

    /// As [`BarMapping::read`].
    ///
    /// # Errors
    /// As there, but for [`Error::Revoked`](crate::Error::Revoked).
    pub fn read<W: Word>(&self, offset: u64) -> Result<W> {
        let (words, offset) = self.mapping.word::<W>(offset)?;
        Ok(words.read(offset)?)
    }

    /// As [`BarMapping::write`].
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub fn write<W: Word>(&self, offset: u64, value: W) -> Result<()> {
        let (words, offset) = self.mapping.word::<W>(offset)?;
        Ok(words.write(offset, value)?)
    }

    /// As [`BarMapping::load_acquire`].
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub fn load_acquire<W: Word>(&self, offset: u64) -> Result<W> {
        let (words, offset) = self.mapping.word::<W>(offset)?;
        Ok(words.load_acquire(offset)?)
    }

    /// As [`BarMapping::store_release`].
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub fn store_release<W: Word>(&self, offset: u64, value: W) -> Result<()> {
        let (words, offset) = self.mapping.word::<W>(offset)?;
        Ok(words.store_release(offset, value)?)
    }

    /// As [`BarMapping::read_bytes`].
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub fn read_bytes(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let (words, offset) = self.mapping.range(offset, out.len())?;
        Ok(words.read_bytes(offset, out)?)
    }

    /// As [`BarMapping::write_bytes`].
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub fn write_bytes(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let (words, offset) = self.mapping.range(offset, bytes.len())?;
        Ok(words.write_bytes(offset, bytes)?)
    }
}

impl Drop for BarAccess<'_> {
    fn drop(&mut self) {
        // In a child of a fork a lock of the gate's may be held for ever, and nobody waits there.
        if self.mapping.is_forked() {
            let _left = self.pass.take().map(ManuallyDrop::new);
        }
    }
}

impl fmt::Debug for BarAccess<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BarAccess")
            .field("info", self.mapping.info())
            .finish_non_exhaustive()
    }
}
