//! Enums of what a specification numbers.

/// An enum of what the specification numbers, such as commands: each with its number, its name and
/// what it is. Those that are not listed are reserved, or left to implementations.
///
/// The enum is `#[non_exhaustive]`, has `ALL`, `from_number`, `number` and `name`, and displays as
/// its name. A variant is found by its name in the documentation's search, too.
///
/// ```
/// use hardware_records::numbered;
///
/// numbered! {
///     /// The kind of a descriptor (6.5.2). Others are reserved.
///     pub enum DescriptorKind;
///
///     /// Forget context entries (6.5.2.1).
///     ContextCache = 0x01, "cc_inv_dsc";
///     /// Wait for the descriptors before it (6.5.2.8).
///     Wait = 0x05, "inv_wait_dsc";
/// }
///
/// assert_eq!(DescriptorKind::from_number(5), Some(DescriptorKind::Wait));
/// assert_eq!(DescriptorKind::from_number(2), None);
/// assert_eq!(DescriptorKind::Wait.number(), 5);
/// assert_eq!(DescriptorKind::Wait.to_string(), "inv_wait_dsc");
/// ```
#[macro_export]
macro_rules! numbered {
    (
        $(#[$meta:meta])*
        pub enum $enum:ident;
        $($(#[$doc:meta])* $variant:ident = $number:literal, $name:literal;)*
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $enum {
            $(
                #[doc = concat!("`", $name, "`, ", stringify!($number), ".")]
                #[doc = ""]
                $(#[$doc])*
                #[doc(alias = $name)]
                $variant,
            )*
        }

        impl $enum {
            /// All of the specification's, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The one of this number, or `None` for one that the specification gives no meaning.
            #[must_use]
            #[inline]
            pub const fn from_number(number: u8) -> Option<Self> {
                match number {
                    $($number => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// Its number.
            #[must_use]
            pub const fn number(self) -> u8 {
                match self {
                    $(Self::$variant => $number,)*
                }
            }

            /// The specification's name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }

        impl ::core::fmt::Display for $enum {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}
