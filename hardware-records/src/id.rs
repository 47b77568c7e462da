//! Numbers, each of its own kind.

/// A type for one kind of number: with `new` for all values of an integer or, with a width, for those
/// that fit.
///
/// It displays as hexadecimal, and becomes a `u64`. Crate-private it has `masked(bits)`, the one in
/// the low bits of a field, by which [`record!`](crate::record) has fields of the kind `id`.
///
/// ```
/// use hardware_records::id;
///
/// id! {
///     /// A domain: the tag of translations in the caches.
///     pub struct DomainId(u16);
/// }
///
/// id! {
///     /// A process address space identifier.
///     pub struct Pasid(u32), 20 bits;
/// }
///
/// assert_eq!(DomainId::new(3).get(), 3);
/// assert_eq!(DomainId::from(3), DomainId::new(3));
/// assert_eq!(Pasid::new(0x10_0000), None);
/// assert_eq!(Pasid::MAX.to_string(), "0xfffff");
/// assert_eq!(Pasid::masked(0x12_3456), Pasid::new(0x2_3456).expect("of 20 bits"));
/// ```
#[macro_export]
macro_rules! id {
    ($(#[$doc:meta])* pub struct $name:ident($int:ty);) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name($int);

        impl $name {
            /// The one of this number.
            #[must_use]
            pub const fn new(number: $int) -> Self {
                Self(number)
            }

            /// The one in the low bits of `bits`, as many as it has.
            pub(crate) const fn masked(bits: u64) -> Self {
                Self(bits as $int)
            }

            $crate::__number!(@get $int);
        }

        $crate::__number!(@shown $name);

        impl From<$int> for $name {
            fn from(number: $int) -> Self {
                Self(number)
            }
        }
    };
    ($(#[$doc:meta])* pub struct $name:ident($int:ty), $bits:literal bits;) => {
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

            /// The one in the low bits of `bits`, as many as it has.
            pub(crate) const fn masked(bits: u64) -> Self {
                Self(bits as $int & Self::MAX.0)
            }

            $crate::__number!(@get $int);
        }

        $crate::__number!(@shown $name);
    };
}

/// What every type around a number has.
#[doc(hidden)]
#[macro_export]
macro_rules! __number {
    (@get $int:ty) => {
        /// The plain number.
        #[must_use]
        pub const fn get(self) -> $int {
            self.0
        }
    };
    (@shown $name:ident) => {
        impl ::core::fmt::Debug for $name {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                write!(f, concat!(stringify!($name), "({:#x})"), self.0)
            }
        }

        impl ::core::fmt::Display for $name {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }

        impl From<$name> for u64 {
            fn from(number: $name) -> Self {
                number.0.into()
            }
        }
    };
}
