//! Which interrupt of a device that is no PCI function.

use std::fmt;

use iommufd_sys::vfio as sys;

/// Which interrupt of a device that is no PCI function: what it numbers so is a matter of its bus.
///
/// A platform device has one at each index, in the order in which firmware names them. A CDX device has
/// several at index 0: [`at`](Self::at).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IrqIndex {
    index: u32,
    number: u32,
}

impl IrqIndex {
    /// Somebody wants a cryptographic processor of s390 (AP) back. Older kernels do
    /// not tell: [`Error::NoLine`](crate::Error::NoLine).
    #[doc(alias = "VFIO_AP_REQ_IRQ_INDEX")]
    pub const AP_REQUEST: Self = Self::new(sys::VFIO_AP_REQ_IRQ_INDEX);
    /// The cryptographic processors (AP) that a guest has are others by now. Older kernels
    /// do not tell: [`Error::NoLine`](crate::Error::NoLine).
    #[doc(alias = "VFIO_AP_CFG_CHG_IRQ_INDEX")]
    pub const AP_CONFIG_CHANGE: Self = Self::new(sys::VFIO_AP_CFG_CHG_IRQ_INDEX);
    /// Input or output of a channel device of s390 is done.
    #[doc(alias = "VFIO_CCW_IO_IRQ_INDEX")]
    pub const CCW_IO: Self = Self::new(sys::VFIO_CCW_IO_IRQ_INDEX);
    /// There are channel reports of a channel device. Since Linux 5.8.
    #[doc(alias = "VFIO_CCW_CRW_IRQ_INDEX")]
    pub const CCW_REPORT: Self = Self::new(sys::VFIO_CCW_CRW_IRQ_INDEX);
    /// Somebody wants a channel device back. Since Linux 5.11.
    #[doc(alias = "VFIO_CCW_REQ_IRQ_INDEX")]
    pub const CCW_REQUEST: Self = Self::new(sys::VFIO_CCW_REQ_IRQ_INDEX);

    /// The one, or the first, at this index.
    #[must_use]
    pub const fn new(index: u32) -> Self {
        Self { index, number: 0 }
    }

    /// The one with this number of those that have the same index, counted from 0.
    #[must_use]
    pub const fn at(self, number: u32) -> Self {
        Self { number, ..self }
    }

    /// The index.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.index
    }

    /// The number among those that have the same index.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.number
    }
}

/// The index, and the number behind a point if that is not 0.
impl fmt::Display for IrqIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number {
            0 => write!(f, "{}", self.index),
            number => write!(f, "{}.{number}", self.index),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupt_is_named_by_its_index_and_its_number() {
        let index = IrqIndex::new(3);
        assert_eq!(index.to_string(), "3");
        assert_eq!(index.at(2).to_string(), "3.2");
        assert_eq!((index.at(2).get(), index.at(2).number()), (3, 2));
        assert_eq!(IrqIndex::CCW_REQUEST, IrqIndex::new(2));
        assert_eq!(IrqIndex::AP_CONFIG_CHANGE, IrqIndex::new(1));
    }
}
