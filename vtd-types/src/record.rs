//! Structures and registers that keep every bit, with a name for each field.

/// Gives a struct around `[u64; $len]` its words and its bytes.
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
                let words: [::zerocopy::little_endian::U64; $len] = ::zerocopy::transmute!(*bytes);
                Self(words.map(::zerocopy::little_endian::U64::get))
            }

            /// Its bytes, as they lie in memory.
            #[must_use]
            pub fn to_bytes(&self) -> [u8; $len * 8] {
                ::zerocopy::transmute!(self.0.map(::zerocopy::little_endian::U64::new))
            }
        }
    };
}
pub(crate) use in_memory;

/// A structure of 64-bit words, or a register, with a getter and a setter for each field.
///
/// A field is written `kind getter, setter: "NAME", word [last:first];`. The kinds: `flag` is one
/// bit, `num(int)` a number, `id(Id)` a number of a kind that all its bits are of, `pasid` a PASID,
/// `total(Enum)` an enum of all encodings, `coded(Enum)` one that leaves some reserved, `gpa` an
/// address of which the field holds the bits that it has itself.
macro_rules! record {
    (
        $(#[$meta:meta])*
        pub struct $name:ident([u64; $len:literal]), $arch:literal, $section:literal;
        $($fields:tt)*
    ) => {
        $(#[$meta])*
        ///
        /// Every bit is kept, also those that mean nothing. In `Debug` the fields that are not 0
        /// are shown.
        #[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
        pub struct $name([u64; $len]);

        $crate::record::in_memory!($name, $len);

        impl $name {
            const fn word<const N: usize>(&self) -> u64 {
                self.0[N]
            }

            const fn with_word<const N: usize>(mut self, word: u64) -> Self {
                self.0[N] = word;
                self
            }
        }

        record!(@fields words $name $arch $section; $($fields)*);
    };
    (
        $(#[$meta:meta])*
        pub struct $name:ident(u32), $arch:literal, $section:literal;
        $($fields:tt)*
    ) => {
        record!(@register u32 [$(#[$meta])*] $name $arch $section; $($fields)*);
    };
    (
        $(#[$meta:meta])*
        pub struct $name:ident(u64), $arch:literal, $section:literal;
        $($fields:tt)*
    ) => {
        record!(@register u64 [$(#[$meta])*] $name $arch $section; $($fields)*);
    };
    (@register $int:ident [$(#[$meta:meta])*] $name:ident $arch:literal $section:literal; $($fields:tt)*) => {
        $(#[$meta])*
        ///
        /// Every bit is kept, also those that mean nothing. In `Debug` the fields that are not 0
        /// are shown.
        #[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
        pub struct $name($int);

        impl $name {
            /// The register with these bits.
            #[must_use]
            pub const fn from_bits(bits: $int) -> Self {
                Self(bits)
            }

            /// Its bits.
            #[must_use]
            pub const fn bits(self) -> $int {
                self.0
            }

            #[allow(clippy::allow_attributes, clippy::unnecessary_cast, reason = "some are of 64 bits")]
            const fn word<const N: usize>(&self) -> u64 {
                self.0 as u64
            }

            #[allow(clippy::allow_attributes, clippy::unnecessary_cast, dead_code, reason = "some are of 64 bits, some are only read")]
            const fn with_word<const N: usize>(self, word: u64) -> Self {
                Self(word as $int)
            }
        }

        record!(@fields register $name $arch $section; $($fields)*);
    };
    (@fields $of:ident $name:ident $arch:literal $section:literal;
        $($(#[$meta:meta])* $kind:ident $(($ty:ty))? $get:ident, $with:ident:
            $field:literal, $word:literal [$last:literal $(: $first:literal)?];)*
    ) => {
        impl $name {
            /// Every field: its name, its word, and where it is there.
            #[cfg(test)]
            pub(crate) const FIELDS: &[(&str, usize, $crate::field::Field)] = &[
                $(($field, $word, record!(@range $last $(, $first)?)),)*
            ];

            $(
                record!(@field
                    [$(#[$meta])*
                    #[doc = concat!("\n\n`", $arch, ".", $field, "`", record!(@place $of $word), record!(@bits $last $(, $first)?), " (", $section, ").")]]
                    $kind $(($ty))? $get $with concat!($arch, ".", $field), $word
                    record!(@range $last $(, $first)?)
                );
            )*
        }

        impl ::core::fmt::Debug for $name {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                let mut shown = f.debug_struct(stringify!($name));
                $(
                    if record!(@range $last $(, $first)?)
                        .is_set(self.word::<$word>())
                    {
                        shown.field(stringify!($get), &self.$get());
                    }
                )*
                shown.finish()
            }
        }
    };
    (@place words $word:literal) => { concat!(", word ", $word) };
    (@place register $word:literal) => { "" };
    (@bits $bit:literal) => { concat!(", bit ", $bit) };
    (@bits $last:literal, $first:literal) => { concat!(", bits ", $last, ":", $first) };
    (@range $bit:literal) => { const { $crate::field::Field::bit($bit) } };
    (@range $last:literal, $first:literal) => { const { $crate::field::Field::new($last, $first) } };
    (@field [$($doc:tt)*] flag $get:ident $with:ident $name:expr, $word:literal $bits:expr) => {
        $($doc)*
        #[must_use]
        pub const fn $get(&self) -> bool {
            $bits.is_set(self.word::<$word>())
        }

        #[doc = concat!("With [`Self::", stringify!($get), "`] changed.")]
        #[must_use]
        pub const fn $with(self, value: bool) -> Self {
            self.with_word::<$word>($bits.put(self.word::<$word>(), value as u64))
        }
    };
    (@field [$($doc:tt)*] num($ty:ty) $get:ident $with:ident $name:expr, $word:literal $bits:expr) => {
        $($doc)*
        #[must_use]
        pub const fn $get(&self) -> $ty {
            const { assert!($bits.max() <= <$ty>::MAX as u64) };
            $bits.get(self.word::<$word>()) as $ty
        }

        #[doc = concat!("With [`Self::", stringify!($get), "`] changed. What does not fit is cut off.")]
        #[must_use]
        pub const fn $with(self, value: $ty) -> Self {
            self.with_word::<$word>($bits.put(self.word::<$word>(), value as u64))
        }
    };
    (@field [$($doc:tt)*] id($ty:ty) $get:ident $with:ident $name:expr, $word:literal $bits:expr) => {
        $($doc)*
        #[must_use]
        pub const fn $get(&self) -> $ty {
            const { assert!($bits.max() == u16::MAX as u64) };
            <$ty>::new($bits.get(self.word::<$word>()) as u16)
        }

        #[doc = concat!("With [`Self::", stringify!($get), "`] changed.")]
        #[must_use]
        pub const fn $with(self, value: $ty) -> Self {
            self.with_word::<$word>($bits.put(self.word::<$word>(), value.get() as u64))
        }
    };
    (@field [$($doc:tt)*] total($ty:ty) $get:ident $with:ident $name:expr, $word:literal $bits:expr) => {
        $($doc)*
        #[must_use]
        pub const fn $get(&self) -> $ty {
            <$ty>::decode_total($bits.get(self.word::<$word>()))
        }

        #[doc = concat!("With [`Self::", stringify!($get), "`] changed.")]
        #[must_use]
        pub const fn $with(self, value: $ty) -> Self {
            self.with_word::<$word>($bits.put(self.word::<$word>(), value.bits() as u64))
        }
    };
    (@field [$($doc:tt)*] coded($ty:ty) $get:ident $with:ident $name:expr, $word:literal $bits:expr) => {
        $($doc)*
        ///
        /// # Errors
        /// The encoding is reserved.
        pub const fn $get(&self) -> Result<$ty, $crate::Reserved> {
            <$ty>::decode($name, $bits.get(self.word::<$word>()))
        }

        #[doc = concat!("With [`Self::", stringify!($get), "`] changed.")]
        #[must_use]
        pub const fn $with(self, value: $ty) -> Self {
            self.with_word::<$word>($bits.put(self.word::<$word>(), value.bits() as u64))
        }
    };
    (@field [$($doc:tt)*] pasid $get:ident $with:ident $name:expr, $word:literal $bits:expr) => {
        $($doc)*
        #[must_use]
        pub const fn $get(&self) -> $crate::Pasid {
            const { assert!($bits.max() == $crate::Pasid::MAX.get() as u64) };
            $crate::Pasid::masked($bits.get(self.word::<$word>()))
        }

        #[doc = concat!("With [`Self::", stringify!($get), "`] changed.")]
        #[must_use]
        pub const fn $with(self, value: $crate::Pasid) -> Self {
            self.with_word::<$word>($bits.put(self.word::<$word>(), value.get() as u64))
        }
    };
    (@field [$($doc:tt)*] gpa $get:ident $with:ident $name:expr, $word:literal $bits:expr) => {
        $($doc)*
        #[must_use]
        pub const fn $get(&self) -> $crate::Gpa {
            const { assert!($bits.mask() <= $crate::Gpa::MAX.get()) };
            $crate::Gpa::masked(self.word::<$word>() & $bits.mask())
        }

        #[doc = concat!("With [`Self::", stringify!($get), "`] changed. Bits that the field does not hold are cut off.")]
        #[must_use]
        pub const fn $with(self, value: $crate::Gpa) -> Self {
            self.with_word::<$word>((self.word::<$word>() & !$bits.mask()) | (value.get() & $bits.mask()))
        }
    };
}

pub(crate) use record;

#[cfg(test)]
mod tests {
    use crate::field::Field;
    use crate::*;

    /// No two fields have a bit in common, and no two the same name.
    fn check(record: &str, fields: &[(&str, usize, Field)]) {
        for (n, (name, word, field)) in fields.iter().enumerate() {
            for (other, other_word, other_field) in fields.iter().skip(n + 1) {
                if word == other_word {
                    let common = field.mask() & other_field.mask();
                    assert_eq!(common, 0, "{record}: {name} and {other}");
                }
                assert!(name != other, "{record}: {name} twice");
            }
        }
    }

    macro_rules! check_all {
        ($($name:ident)*) => {
            $(check(stringify!($name), $name::FIELDS);)*
        };
    }

    #[test]
    fn fields_have_bits_of_their_own() {
        check_all!(
            Cap ContextEntry Ecap EventControl FaultRecord FirstStageLeaf FirstStageTable Fsts Gcmd
            Gsts Ics Iqa Iqercd PasidDirectoryEntry PasidEntry Pqa Prs RootEntry Rtaddr
            ScalableContextEntry ScalableRootEntry SecondStageLeaf SecondStageTable
        );
    }

    #[test]
    fn flags_and_numbers_go_in_and_come_out() {
        let entry = PasidEntry::default().with_emt(0xff).with_pat(0x0007_0406);
        assert_eq!(entry.words()[1], 7 << 27 | 0x0007_0406 << 32);
        assert_eq!((entry.emt(), entry.pat()), (7, 0x0007_0406));
        assert!(!entry.with_p(true).with_p(false).p());
        // An address: what the field does not hold is cut off.
        let entry = PasidEntry::default().with_fsptptr(Gpa::MAX);
        assert_eq!(entry.words()[2], 0x000f_ffff_ffff_f000);
    }
}
