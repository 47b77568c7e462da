//! The guest's memory, as the relay reads it.

use vtd_types::Gpa;

use super::Unreadable;

/// The guest's memory, by guest physical address: what the relay reads descriptors and tables from.
/// It never writes.
pub trait GuestMemory {
    /// Fills `bytes` with what is at `address`.
    ///
    /// The relay asks for 8, 16, 32, 64 or 4096 bytes, at an address that is a multiple of their
    /// number. Other processors of the guest may write there at the same time. So each aligned word
    /// of 64 bits should be read at once: a word that is torn is one that the guest never wrote.
    ///
    /// # Errors
    /// Not all of it is memory.
    fn read(&self, address: Gpa, bytes: &mut [u8]) -> Result<(), Unreadable>;
}

impl<M: GuestMemory + ?Sized> GuestMemory for &M {
    fn read(&self, address: Gpa, bytes: &mut [u8]) -> Result<(), Unreadable> {
        M::read(self, address, bytes)
    }
}
