//! The lab's network card as a source of interrupts: it raises what it is told to.

use vfio::{BarMapping, OpenDevice, RegionIndex};

/// "General Purpose Interrupt Enable" (Intel 82576 datasheet, section 8.8).
const GPIE: u64 = 0x1514;
/// Of it: the causes below are one for each MSI-X vector.
const MULTIPLE_MSIX: u32 = 1 << 4;
/// "Extended Interrupt Cause Set": raises those that are written.
const EICS: u64 = 0x1520;
/// "Extended Interrupt Mask Set": lets through those that are written.
const EIMS: u64 = 0x1524;
/// "Extended Interrupt Auto Clear": which of them count as handled when they are raised.
const EIAC: u64 = 0x152c;
/// A register that answers whatever state the card is in: "Device Status".
pub const STATUS: u64 = 8;

/// The card's registers.
#[derive(Debug)]
pub struct Igb(BarMapping);

impl Igb {
    /// How many MSI-X vectors it has.
    pub const VECTORS: u32 = 10;

    /// The card that `device` is, ready to raise MSI-X vectors.
    #[must_use]
    pub fn new(device: &OpenDevice) -> Self {
        device.config().unwrap().enable_bus_master().unwrap();
        let igb = Self(device.map_bar(RegionIndex::BAR0).unwrap());
        igb.set_up();
        igb
    }

    /// Sets the registers for MSI-X again, as after a reset.
    pub fn set_up(&self) {
        let all = (1_u32 << Self::VECTORS) - 1;
        self.0.write(GPIE, MULTIPLE_MSIX).unwrap();
        self.0.write(EIAC, all).unwrap();
        self.0.write(EIMS, all).unwrap();
    }

    /// Whether the registers are set for MSI-X: not after a reset.
    #[must_use]
    pub fn is_set_up(&self) -> bool {
        self.0.read::<u32>(GPIE).unwrap() & MULTIPLE_MSIX != 0
    }

    /// Has the card raise a vector.
    pub fn raise(&self, vector: u32) {
        self.0.write(EICS, 1_u32 << vector).unwrap();
    }

    /// The registers.
    #[must_use]
    pub fn registers(&self) -> &BarMapping {
        &self.0
    }
}
