//! Enums of what a field can hold.

/// An enum of the encodings of a field. Those that are not listed are reserved.
///
/// With `total`, every encoding is listed, and a `;` stands before the last.
///
/// The enum has `ALL` and `bits`, and crate-private what [`record!`](crate::record) decodes a field
/// by: `decode(field, bits)`, of which the error names the field; with `total`, `decode_total(bits)`.
/// Both are for fields that are not of a record, too.
///
/// ```
/// use hardware_records::encoding;
///
/// encoding! {
///     /// How tables are shared: `CR1.TABLE_SH` (6.3.11). `0b01` is reserved.
///     pub enum Shareability {
///         /// Not shareable.
///         Non = 0b00,
///         /// Outer shareable.
///         Outer = 0b10,
///         /// Inner shareable.
///         Inner = 0b11,
///     }
/// }
///
/// encoding! {
///     total
///     /// The order of bytes in tables (6.3.1).
///     pub enum Endianness {
///         /// The lowest first.
///         Little = 0b0;
///         /// The highest first.
///         Big = 0b1,
///     }
/// }
///
/// assert_eq!(Shareability::Inner.bits(), 0b11);
/// assert_eq!(Shareability::decode("CR1.TABLE_SH", 0b10), Ok(Shareability::Outer));
/// let reserved = Shareability::decode("CR1.TABLE_SH", 0b01).unwrap_err();
/// assert_eq!((reserved.field(), reserved.value()), ("CR1.TABLE_SH", 0b01));
///
/// assert_eq!(Endianness::decode_total(0b1), Endianness::Big);
/// assert_eq!(Endianness::ALL, [Endianness::Little, Endianness::Big]);
/// ```
#[macro_export]
macro_rules! encoding {
    ($(#[$meta:meta])* pub enum $name:ident {
        $($(#[$variant_meta:meta])* $variant:ident = $bits:literal,)+
    }) => {
        $crate::__encoding!([$(#[$meta])*] $name [$($(#[$variant_meta])* $variant = $bits,)+]);

        impl $name {
            pub(crate) const fn decode(
                field: &'static str,
                bits: u64,
            ) -> Result<Self, $crate::Reserved> {
                match bits {
                    $($bits => Ok(Self::$variant),)+
                    value => Err($crate::reserved(field, value)),
                }
            }
        }
    };
    (total $(#[$meta:meta])* pub enum $name:ident {
        $($(#[$variant_meta:meta])* $variant:ident = $bits:literal),+;
        $(#[$last_meta:meta])* $last:ident = $last_bits:literal,
    }) => {
        $crate::__encoding!([$(#[$meta])*] $name [
            $($(#[$variant_meta])* $variant = $bits,)+
            $(#[$last_meta])* $last = $last_bits,
        ]);

        impl $name {
            pub(crate) const fn decode_total(bits: u64) -> Self {
                match bits {
                    $($bits => Self::$variant,)+
                    _ => Self::$last,
                }
            }
        }
    };
}

/// The enum of [`encoding!`](crate::encoding).
#[doc(hidden)]
#[macro_export]
macro_rules! __encoding {
    ([$(#[$meta:meta])*] $name:ident [
        $($(#[$variant_meta:meta])* $variant:ident = $bits:literal,)+
    ]) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $(
                $(#[$variant_meta])*
                #[doc = concat!("\n\nEncoded as `", stringify!($bits), "`.")]
                $variant,
            )+
        }

        impl $name {
            /// All there are, in the order of their encodings.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The encoding.
            #[must_use]
            pub const fn bits(self) -> u8 {
                match self {
                    $(Self::$variant => $bits,)+
                }
            }
        }
    };
}
