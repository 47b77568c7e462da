//! As much of an ELF header as tells whether a program runs without a dynamic linker, of which the guest has none.

use crate::arch::Arch;

/// What a file is, to a guest that has only static programs and a shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A program for the guest's processor that needs nothing else.
    Static,
    /// A program that asks for a dynamic linker.
    Dynamic,
    /// A program for another processor.
    Foreign,
    /// No ELF program; perhaps a script.
    Other,
}

const SEGMENT_INTERPRETER: u64 = 3;

/// What the bytes of a file are, to a guest of an architecture.
pub(crate) fn kind(file: &[u8], arch: &Arch) -> Kind {
    // 64-bit, little-endian.
    if file.get(..6) != Some(b"\x7fELF\x02\x01") {
        return if file.starts_with(b"\x7fELF") {
            Kind::Foreign
        } else {
            Kind::Other
        };
    }
    if number(file, 18, 2) != Some(arch.elf) {
        return Kind::Foreign;
    }
    let (Some(table), Some(size), Some(count)) = (
        number(file, 32, 8),
        number(file, 54, 2),
        number(file, 56, 2),
    ) else {
        return Kind::Other;
    };
    let interpreted = (0..count).any(|index| {
        let entry = usize::try_from(table.saturating_add(index * size)).unwrap_or(usize::MAX);
        number(file, entry, 4) == Some(SEGMENT_INTERPRETER)
    });
    if interpreted {
        Kind::Dynamic
    } else {
        Kind::Static
    }
}

/// A little-endian number in a file.
fn number(file: &[u8], start: usize, length: usize) -> Option<u64> {
    let bytes = file.get(start..start.checked_add(length)?)?;
    Some(
        bytes
            .iter()
            .rev()
            .fold(0, |number, byte| (number << 8) | u64::from(*byte)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::{AARCH64, X86_64};

    #[test]
    fn tells_programs_apart() {
        let this_test = std::fs::read("/proc/self/exe").unwrap();
        let expected = if cfg!(target_feature = "crt-static") {
            Kind::Static
        } else {
            Kind::Dynamic
        };
        let kind = |file| kind(file, &X86_64);
        assert_eq!(kind(&this_test), expected);
        assert_eq!(super::kind(&this_test, &AARCH64), Kind::Foreign);
        assert_eq!(kind(b"#!/bin/sh\n"), Kind::Other);
        assert_eq!(kind(b"\x7fELF\x01\x01\x01"), Kind::Foreign);
        assert_eq!(kind(&this_test[..40]), Kind::Other);
        assert_eq!(kind(b""), Kind::Other);
    }
}
