//! Addresses, each in the space it belongs to.

/// A type for the addresses of one space: with `new` for all of 64 bits or, with a width, for those
/// that fit. Addresses of different spaces are not mixed up.
///
/// It displays as hexadecimal, becomes a `u64`, and is address 0 by default. One with a width has
/// `MAX`, `BITS`, `checked_add` and `is_aligned_to`. Its `# Invariants` are for the caller to
/// document: why it has that many bits. Crate-private it has `masked(bits)`, the one in the low bits
/// of a word, by which [`record!`](crate::record) has fields of the kind `address`.
///
/// ```
/// use hardware_records::address;
///
/// address! {
///     /// An address as a device puts it on the bus.
///     pub struct InputAddress;
/// }
///
/// address! {
///     /// A guest-physical address.
///     ///
///     /// # Invariants
///     /// It has 52 bits, the most that a page table entry can hold.
///     pub struct Gpa, 52 bits;
/// }
///
/// assert_eq!(InputAddress::new(u64::MAX).get(), u64::MAX);
/// assert_eq!(Gpa::new(1 << 52), None);
/// let page = Gpa::new(0x1000).expect("of 52 bits");
/// assert_eq!(page.checked_add(0x800).map(|address| address.is_aligned_to(0x1000)), Some(false));
/// assert_eq!(Gpa::MAX.checked_add(1), None);
/// assert_eq!(format!("{page} {page:?}"), "0x1000 Gpa(0x1000)");
/// ```
#[macro_export]
macro_rules! address {
    ($(#[$doc:meta])* pub struct $name:ident;) => {
        $crate::__address!([$(#[$doc])*] $name);

        impl $name {
            /// The address `address`.
            #[must_use]
            pub const fn new(address: u64) -> Self {
                Self(address)
            }

            /// The address in the bits `bits`.
            pub(crate) const fn masked(bits: u64) -> Self {
                Self(bits)
            }

            $crate::__number!(@get u64);
        }
    };
    ($(#[$doc:meta])* pub struct $name:ident, $bits:literal bits;) => {
        $crate::__address!([$(#[$doc])*] $name);

        impl $name {
            /// The bits of the widest.
            pub const BITS: u32 = $bits;
            /// The last there is.
            pub const MAX: Self = Self((1 << Self::BITS) - 1);

            #[doc = concat!("The address `address`, or `None` if it has more than ", stringify!($bits), " bits.")]
            #[must_use]
            pub const fn new(address: u64) -> Option<Self> {
                if address <= Self::MAX.0 {
                    Some(Self(address))
                } else {
                    None
                }
            }

            #[doc = concat!("The address in the low ", stringify!($bits), " bits of `bits`.")]
            pub(crate) const fn masked(bits: u64) -> Self {
                Self(bits & Self::MAX.0)
            }

            $crate::__number!(@get u64);

            /// The address `bytes` further on, or `None` past the last.
            #[must_use]
            pub const fn checked_add(self, bytes: u64) -> Option<Self> {
                match self.0.checked_add(bytes) {
                    Some(address) => Self::new(address),
                    None => None,
                }
            }

            /// Whether it is a multiple of `alignment`, which is a power of two.
            #[must_use]
            pub const fn is_aligned_to(self, alignment: u64) -> bool {
                self.0 & alignment.wrapping_sub(1) == 0
            }
        }
    };
}

/// What the addresses of every space have.
#[doc(hidden)]
#[macro_export]
macro_rules! __address {
    ([$(#[$doc:meta])*] $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u64);

        $crate::__number!(@shown $name);
    };
}
