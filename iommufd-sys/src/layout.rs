//! Size, alignment and offsets of every struct, asserted when the crate is compiled.
//!
//! (A peer's structs by hand, with no such check, are P19 of the defects that tests name.)
//!
//! The tables are not bindgen's own: they were computed by a C compiler from the headers of Linux 7.3. A struct reads
//! `name(size, alignment) { field@offset:size, … }`; a field without a size has 4 bytes, and a flexible array has 0.
//! Of a union the first member stands for all.

mod iommufd;
mod vfio;

/// The size of the field that `get` borrows.
pub(crate) const fn size_of_field<T, F>(_get: fn(&T) -> &F) -> usize {
    size_of::<F>()
}

macro_rules! layout {
    ($($name:ident($size:literal, $align:literal) { $($field:ident@$offset:literal$(:$bytes:literal)?),+ })+) => {
        $(const _: () = {
            super::check_size::<$name>($size);
            assert!(align_of::<$name>() == $align);
            $(
                assert!(core::mem::offset_of!($name, $field) == $offset);
                assert!(super::size_of_field(|s: &$name| &s.$field) == layout!(@bytes $($bytes)?));
            )+
            // Without `..`: a field that is missing above does not compile.
            #[cfg(not(feature = "bindgen"))]
            const _: fn($name) = |$name { $($field: _),+ }| ();
        };)+
    };
    (@bytes) => { 4 };
    (@bytes $bytes:literal) => { $bytes };
}

const fn check_size<T>(expected: usize) {
    // Structs grow at their end, so the headers of a newer kernel may have larger ones.
    if cfg!(feature = "bindgen") {
        assert!(size_of::<T>() >= expected);
    } else {
        assert!(size_of::<T>() == expected);
    }
}

use layout;
