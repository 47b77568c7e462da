//! The parts of `record!` that are not for its users.

/// What [`record!`](crate::record) is made of.
#[doc(hidden)]
#[macro_export]
macro_rules! __record {
    (@struct [$(#[$meta:meta])*] $name:ident $of:ty) => {
        $(#[$meta])*
        ///
        /// Every bit is kept, also those that mean nothing. In `Debug` the fields that are not 0
        /// are shown.
        #[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
        pub struct $name($of);
    };
    (@register $int:ident [$(#[$meta:meta])*] $name:ident $arch:literal $section:literal; $($fields:tt)*) => {
        $crate::__record!(@struct [$(#[$meta])*] $name $int);

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

            const fn word<const N: usize>(&self) -> u64 {
                self.0 as u64
            }

            const fn with_word<const N: usize>(self, word: u64) -> Self {
                Self(word as $int)
            }
        }

        $crate::__record!(@fields register 1 $int $name $arch $section; $($fields)*);
    };
    (@fields $of:ident $len:literal $int:ident $name:ident $arch:literal $section:literal;
        $($(#[$meta:meta])* $kind:ident $(($ty:ty))? $get:ident, $with:ident:
            $field:literal, $word:literal [$last:literal $(: $first:literal)?];)*
    ) => {
        const _: () = $crate::__private::check(
            &[$(($field, $word, $crate::__record!(@range $last $(, $first)?)),)*],
            $len,
            <$int>::MAX as u64,
        );

        impl $name {
            /// Every field: its name, its word, and where it is there.
            #[cfg(test)]
            pub(crate) const FIELDS: &[(&'static str, usize, $crate::Field)] = &[
                $(($field, $word, $crate::__record!(@range $last $(, $first)?)),)*
            ];

            $(
                $crate::__record!(@field
                    [$(#[$meta])*
                    #[doc = concat!("\n\n`", $arch, ".", $field, "`", $crate::__record!(@place $of $word), $crate::__record!(@bits $last $(, $first)?), " (", $section, ").")]]
                    $kind $(($ty))? $get $with concat!($arch, ".", $field), $word
                    $crate::__record!(@range $last $(, $first)?)
                );
            )*
        }

        impl ::core::fmt::Debug for $name {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                let mut shown = f.debug_struct(stringify!($name));
                $(
                    if $crate::__record!(@range $last $(, $first)?)
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
    (@range $bit:literal) => { const { $crate::Field::bit($bit) } };
    (@range $last:literal, $first:literal) => { const { $crate::Field::new($last, $first) } };
    (@field [$($doc:tt)*] flag $get:ident $with:ident $name:expr, $word:literal $bits:expr) => {
        $($doc)*
        #[must_use]
        pub const fn $get(&self) -> bool {
            const { assert!($bits.max() == 1, "a flag has one bit") };
            $bits.is_set(self.word::<$word>())
        }

        $crate::__record!(@with $get $with bool, "", $word $bits, value => value as u64);
    };
    (@field [$($doc:tt)*] num($ty:ty) $get:ident $with:ident $name:expr, $word:literal $bits:expr) => {
        $($doc)*
        #[must_use]
        pub const fn $get(&self) -> $ty {
            const { assert!($bits.max() <= <$ty>::MAX as u64, "a number that has fewer bits") };
            $bits.get(self.word::<$word>()) as $ty
        }

        $crate::__record!(@with $get $with $ty, " What does not fit is cut off.", $word $bits, value => value as u64);
    };
    (@field [$($doc:tt)*] id($ty:ty) $get:ident $with:ident $name:expr, $word:literal $bits:expr) => {
        $($doc)*
        #[must_use]
        pub const fn $get(&self) -> $ty {
            const {
                let all = <$ty>::masked(u64::MAX).get() as u64;
                assert!($bits.max() == all, "an id that has more or fewer bits");
            };
            <$ty>::masked($bits.get(self.word::<$word>()))
        }

        $crate::__record!(@with $get $with $ty, "", $word $bits, value => value.get() as u64);
    };
    (@field [$($doc:tt)*] total($ty:ty) $get:ident $with:ident $name:expr, $word:literal $bits:expr) => {
        $($doc)*
        #[must_use]
        pub const fn $get(&self) -> $ty {
            <$ty>::decode_total($bits.get(self.word::<$word>()))
        }

        $crate::__record!(@with $get $with $ty, "", $word $bits, value => value.bits() as u64);
    };
    (@field [$($doc:tt)*] coded($ty:ty) $get:ident $with:ident $name:expr, $word:literal $bits:expr) => {
        $($doc)*
        ///
        /// # Errors
        /// The encoding is reserved.
        pub const fn $get(&self) -> Result<$ty, $crate::Reserved> {
            <$ty>::decode($name, $bits.get(self.word::<$word>()))
        }

        $crate::__record!(@with $get $with $ty, "", $word $bits, value => value.bits() as u64);
    };
    (@field [$($doc:tt)*] address($ty:ty) $get:ident $with:ident $name:expr, $word:literal $bits:expr) => {
        $($doc)*
        #[must_use]
        pub const fn $get(&self) -> $ty {
            const {
                let own = <$ty>::masked($bits.mask()).get();
                assert!(own == $bits.mask(), "an address that has fewer bits");
            };
            <$ty>::masked(self.word::<$word>() & $bits.mask())
        }

        #[doc = concat!("With [`Self::", stringify!($get), "`] changed. Bits that the field does not hold are cut off.")]
        #[must_use]
        pub const fn $with(self, value: $ty) -> Self {
            self.with_word::<$word>((self.word::<$word>() & !$bits.mask()) | (value.get() & $bits.mask()))
        }
    };
    (@with $get:ident $with:ident $ty:ty, $cut:literal, $word:literal $bits:expr, $value:ident => $number:expr) => {
        #[doc = concat!("With [`Self::", stringify!($get), "`] changed.", $cut)]
        #[must_use]
        pub const fn $with(self, $value: $ty) -> Self {
            self.with_word::<$word>($bits.put(self.word::<$word>(), $number))
        }
    };
}
