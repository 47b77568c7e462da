//! A DMA engine that copies memory to memory, of the lab's `edu`: each page goes by way of the device's own buffer.

use examples::edu::{BUFFER_LEN, Edu, Error};
use iommufd::Iova;
use vfio::OpenDevice;

/// The engine. It does not tell when the IOMMU blocks it: it has not got, or not written, what it was told to.
#[derive(Debug)]
pub struct Copier(Edu);

impl Copier {
    /// Takes the device into use.
    ///
    /// # Errors
    /// As for [`Edu::new`].
    pub fn new(device: &OpenDevice) -> Result<Self, Error> {
        Edu::new(device).map(Self)
    }

    /// Copies `len` bytes at `from` to `to`, and waits for it: 200 ms for each 4 KiB.
    ///
    /// # Errors
    /// As for [`Edu::fetch`].
    pub fn copy(&self, from: Iova, to: Iova, len: usize) -> Result<(), Error> {
        for start in (0..len).step_by(BUFFER_LEN) {
            let part = BUFFER_LEN.min(len - start);
            let at = |base: Iova| base.checked_add(start as u64).unwrap();
            self.0.fetch(at(from), part)?;
            self.0.store(at(to), part)?;
        }
        Ok(())
    }

    /// Has the device raise its interrupt, and waits for it.
    ///
    /// # Errors
    /// As for [`Edu::interrupt`].
    pub fn send_msi(&self) -> Result<(), Error> {
        self.0.interrupt()
    }

    /// Whether an interrupt is there for which nobody has waited.
    #[must_use]
    pub fn has_interrupt(&self) -> bool {
        let vector = self.0.interrupts().vector(0).unwrap();
        vector.take().unwrap().is_some()
    }
}
