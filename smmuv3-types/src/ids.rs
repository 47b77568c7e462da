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
    /// A stream: what a device's transactions are known by, and the index into the stream table
    /// (3.2). Of how many bits `SMMU_IDR1.SIDSIZE` says.
    StreamId(u32)
}

id! {
    /// A substream of a stream: what PCI Express calls a PASID (3.2).
    SubstreamId(u32), 20 bits
}

id! {
    /// An address space identifier: the tag of stage-1 translations in the TLBs (3.17). Only the
    /// low 8 bits count where `SMMU_IDR0.ASID16` is 0.
    Asid(u16)
}

id! {
    /// A virtual machine identifier: the tag of stage-2 translations in the TLBs (3.17).
    Vmid(u16)
}

id! {
    /// The tag of a stalled transaction, by which it is resumed (3.12.2).
    Stag(u16)
}

id! {
    /// The index of a page request group of PCI Express's PRI (8.1).
    PageRequestGroup(u16), 9 bits
}

impl SubstreamId {
    /// The first.
    pub const ZERO: Self = Self(0);
}
