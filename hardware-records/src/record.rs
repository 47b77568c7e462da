//! Structures and registers that keep every bit, with a name for each field.

pub(crate) mod check;
mod rules;

/// Gives a struct around `[u64; N]` its words and its bytes.
///
/// For a structure whose fields depend on what it is, such as a command: the struct is written by
/// hand, with the derives it needs. For one whose fields do not, [`record!`](crate::record) does
/// this too.
///
/// ```
/// use hardware_records::in_memory;
///
/// /// A command, as the two words that it has.
/// #[derive(Clone, Copy)]
/// pub struct CommandWords([u64; 2]);
///
/// in_memory!(CommandWords, 2);
///
/// let command = CommandWords::from_words([0x46, 0]);
/// assert_eq!(CommandWords::BYTES, 16);
/// assert_eq!(command.to_bytes()[0], 0x46);
/// assert_eq!(CommandWords::from_bytes(&command.to_bytes()).words(), [0x46, 0]);
/// ```
///
/// In memory the words are little-endian, whatever the machine is.
#[macro_export]
macro_rules! in_memory {
    ($name:ident, $len:literal) => {
        impl $name {
            /// How many bytes it has.
            pub const BYTES: usize = $len * 8;

            /// The one of these words. Each is a number, in the machine's own order of bytes.
            #[must_use]
            pub const fn from_words(words: [u64; $len]) -> Self {
                Self(words)
            }

            /// Its words.
            #[must_use]
            pub const fn words(&self) -> [u64; $len] {
                self.0
            }

            /// The one of these bytes, as they lie in memory.
            #[must_use]
            pub fn from_bytes(bytes: &[u8; $len * 8]) -> Self {
                let words: [$crate::__private::U64; $len] = $crate::__private::transmute!(*bytes);
                Self(words.map($crate::__private::U64::get))
            }

            /// Its bytes, as they lie in memory.
            #[must_use]
            pub fn to_bytes(&self) -> [u8; $len * 8] {
                $crate::__private::transmute!(self.0.map($crate::__private::U64::new))
            }
        }
    };
}

/// A structure of 64-bit words, or a register of 32 or 64 bits, with a getter and a setter for each
/// field.
///
/// After the struct stand the name that the specification calls it by and the section that draws
/// it. Then come its fields, each `kind getter, setter: "NAME", word [last:first];`, or
/// `word [bit];`. In a register the word is 0. To the documentation of a getter are added the
/// field's name, its place and the section.
///
/// | kind | the field holds | besides |
/// |---|---|---|
/// | `flag` | one bit, a `bool` | |
/// | `num(int)` | a number, for which `int` has enough bits | |
/// | `id(Id)` | a number of a kind of its own: [`id!`](crate::id) | it has as many bits as the field |
/// | `address(Address)` | the bits of an address that are its own, where they are in the address: [`address!`](crate::address) | it has all of those bits |
/// | `coded(Enum)` | an encoding that may be [`Reserved`](crate::Reserved): [`encoding!`](crate::encoding) | the getter gives a `Result` |
/// | `total(Enum)` | an encoding of which none is reserved: [`encoding!`](crate::encoding) with `total` | |
///
/// Every bit is kept, also those that mean nothing. The struct is `Copy`, `Default` (all bits 0),
/// `Eq` and `Hash`; `Debug` shows the fields that are not 0. All is `const` but what has to do with
/// bytes.
///
/// ```
/// use hardware_records::{address, record};
///
/// address! {
///     /// An address of the guest's.
///     pub struct Gpa, 52 bits;
/// }
///
/// record! {
///     /// The root table's address (11.4.5).
///     pub struct Rtaddr(u64), "RTADDR_REG", "11.4.5";
///
///     /// The mode of the tables.
///     num(u8) ttm, with_ttm: "TTM", 0 [11:10];
///     /// The root table.
///     address(Gpa) rta, with_rta: "RTA", 0 [51:12];
/// }
///
/// let written = Rtaddr::from_bits(0x1_2345_6401);
/// assert_eq!((written.ttm(), written.rta().get()), (1, 0x1_2345_6000));
/// // Bit 0 means nothing, and stays.
/// assert_eq!(written.with_ttm(2).bits(), 0x1_2345_6801);
/// assert_eq!(format!("{written:?}"), "Rtaddr { ttm: 1, rta: Gpa(0x123456000) }");
/// ```
///
/// # What does not compile
/// A field that is not in the struct, two fields with a bit in common, or with one name (save
/// `"IMPLEMENTATION DEFINED"`), and a type that the field does not fit:
///
/// ```compile_fail,E0080
/// hardware_records::record! {
///     /// A control register.
///     pub struct Control(u32), "CTRL", "6.1";
///
///     /// Whether it is on.
///     flag enabled, with_enabled: "EN", 0 [4];
///     /// How many there are.
///     num(u8) count, with_count: "COUNT", 0 [7:4];
/// }
/// ```
///
/// # In tests
/// With `cfg(test)` the struct has a crate-private `FIELDS: &[(&str, usize, Field)]`, of the name, the
/// word and the place of every field: to be compared with the specification's once more. For that,
/// there is `testing::assert_positions` with the feature `testing`.
#[macro_export]
macro_rules! record {
    (
        $(#[$meta:meta])*
        pub struct $name:ident([u64; $len:literal]), $arch:literal, $section:literal;
        $($fields:tt)*
    ) => {
        $crate::__record!(@struct [$(#[$meta])*] $name [u64; $len]);

        $crate::in_memory!($name, $len);

        impl $name {
            const fn word<const N: usize>(&self) -> u64 {
                self.0[N]
            }

            const fn with_word<const N: usize>(mut self, word: u64) -> Self {
                self.0[N] = word;
                self
            }
        }

        $crate::__record!(@fields words $len u64 $name $arch $section; $($fields)*);
    };
    (
        $(#[$meta:meta])*
        pub struct $name:ident(u32), $arch:literal, $section:literal;
        $($fields:tt)*
    ) => {
        $crate::__record!(@register u32 [$(#[$meta])*] $name $arch $section; $($fields)*);
    };
    (
        $(#[$meta:meta])*
        pub struct $name:ident(u64), $arch:literal, $section:literal;
        $($fields:tt)*
    ) => {
        $crate::__record!(@register u64 [$(#[$meta])*] $name $arch $section; $($fields)*);
    };
}
