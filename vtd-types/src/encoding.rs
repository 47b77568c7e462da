//! Enums of what a field can hold.

/// An enum of the encodings of a field. Those that are not listed are reserved.
///
/// With `total`, every encoding is listed, and a `;` stands before the last.
macro_rules! encoding {
    ($(#[$meta:meta])* pub enum $name:ident {
        $($(#[$variant_meta:meta])* $variant:ident = $bits:literal,)+
    }) => {
        encoding!(@enum [$(#[$meta])*] $name [$($(#[$variant_meta])* $variant = $bits,)+]);

        impl $name {
            pub(crate) const fn decode(
                field: &'static str,
                bits: u64,
            ) -> Result<Self, $crate::Reserved> {
                match bits {
                    $($bits => Ok(Self::$variant),)+
                    value => Err($crate::Reserved::new(field, value)),
                }
            }
        }
    };
    (total $(#[$meta:meta])* pub enum $name:ident {
        $($(#[$variant_meta:meta])* $variant:ident = $bits:literal),+;
        $(#[$last_meta:meta])* $last:ident = $last_bits:literal,
    }) => {
        encoding!(@enum [$(#[$meta])*] $name [
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
    (@enum [$(#[$meta:meta])*] $name:ident [
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

pub(crate) use encoding;
