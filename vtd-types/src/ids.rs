//! Numbers, each of its own kind.

use hardware_records::id;

id! {
    /// A domain: the tag of translations in the caches (3.1, 6.2.1). Of how many bits
    /// `CAP_REG.ND` says.
    pub struct DomainId(u16);
}

id! {
    /// A process address space identifier, PASID: which address space of a device (3.4.3).
    pub struct Pasid(u32), 20 bits;
}

id! {
    /// The requester of a transaction: the number of a PCI Express function (3.4.1).
    pub struct SourceId(u16);
}

id! {
    /// The index of a page request group of PCI Express's PRI (7.4).
    pub struct PageRequestGroup(u16), 9 bits;
}

id! {
    /// The index of an entry in the interrupt remapping table (5.1).
    pub struct InterruptIndex(u16);
}

impl Pasid {
    /// The first.
    pub const ZERO: Self = Self(0);
}

impl SourceId {
    /// The function `function` of the device `device` on the bus `bus`, or `None` if `device` is
    /// more than 31 or `function` more than 7.
    ///
    /// ```
    /// use vtd_types::SourceId;
    ///
    /// let source = SourceId::of_function(0x3a, 0x1f, 6).expect("in range");
    /// assert_eq!(source.get(), 0x3afe);
    /// assert_eq!((source.bus(), source.device(), source.function()), (0x3a, 0x1f, 6));
    /// ```
    #[must_use]
    pub const fn of_function(bus: u8, device: u8, function: u8) -> Option<Self> {
        if device > 31 || function > 7 {
            return None;
        }
        Some(Self(
            (bus as u16) << 8 | (device as u16) << 3 | function as u16,
        ))
    }

    /// The bus, bits 15:8.
    #[must_use]
    pub const fn bus(self) -> u8 {
        self.0.to_be_bytes()[0]
    }

    /// The device and the function, bits 7:0.
    #[must_use]
    pub const fn devfn(self) -> u8 {
        self.0.to_be_bytes()[1]
    }

    /// The device, bits 7:3.
    #[must_use]
    pub const fn device(self) -> u8 {
        self.devfn() >> 3
    }

    /// The function, bits 2:0.
    #[must_use]
    pub const fn function(self) -> u8 {
        self.devfn() & 7
    }
}
