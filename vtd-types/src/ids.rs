//! Numbers, each of its own kind.

use core::fmt;

/// One kind of number: its newtype, with `new` for all values or, with a width, for those that fit.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident($int:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name($int);

        impl $name {
            /// The one of this number.
            #[must_use]
            pub const fn new(number: $int) -> Self {
                Self(number)
            }

            id!(@get $name($int));
        }

        id!(@show $name($int));

        impl From<$int> for $name {
            fn from(number: $int) -> Self {
                Self(number)
            }
        }
    };
    ($(#[$doc:meta])* $name:ident($int:ty), $bits:literal bits) => {
        $(#[$doc])*
        ///
        /// # Invariants
        #[doc = concat!("It has ", stringify!($bits), " bits.")]
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name($int);

        impl $name {
            /// The largest there is.
            pub const MAX: Self = Self((1 << $bits) - 1);

            #[doc = concat!("The one of this number, or `None` if it has more than ", stringify!($bits), " bits.")]
            #[must_use]
            pub const fn new(number: $int) -> Option<Self> {
                if number <= Self::MAX.0 { Some(Self(number)) } else { None }
            }

            id!(@get $name($int));
        }

        id!(@show $name($int));
    };
    (@get $name:ident($int:ty)) => {
        /// The plain number.
        #[must_use]
        pub const fn get(self) -> $int {
            self.0
        }
    };
    (@show $name:ident($int:ty)) => {
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:#x})"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }

        impl From<$name> for u64 {
            fn from(id: $name) -> Self {
                id.0.into()
            }
        }
    };
}

id! {
    /// A domain: the tag of translations in the caches (3.1, 6.2.1). Of how many bits
    /// `CAP_REG.ND` says.
    DomainId(u16)
}

id! {
    /// A process address space identifier, PASID: which address space of a device (3.4.3).
    Pasid(u32), 20 bits
}

id! {
    /// The requester of a transaction: the number of a PCI Express function (3.4.1).
    SourceId(u16)
}

id! {
    /// The index of a page request group of PCI Express's PRI (7.4).
    PageRequestGroup(u16), 9 bits
}

id! {
    /// The index of an entry in the interrupt remapping table (5.1).
    InterruptIndex(u16)
}

impl Pasid {
    /// The first.
    pub const ZERO: Self = Self(0);

    /// The PASID in the low 20 bits of `bits`.
    pub(crate) const fn masked(bits: u64) -> Self {
        Self((bits & Self::MAX.0 as u64) as u32)
    }
}

impl PageRequestGroup {
    /// The group in the low 9 bits of `bits`.
    pub(crate) const fn masked(bits: u64) -> Self {
        Self((bits & Self::MAX.0 as u64) as u16)
    }
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
