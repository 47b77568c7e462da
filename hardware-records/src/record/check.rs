//! What is wrong in a table of fields does not compile.

use crate::Field;

/// A field: its name, its word, and where it is there.
type Named = (&'static str, usize, Field);

/// The name of bits of which a specification says nothing more. Several fields of a record may have
/// it.
const NAMELESS: &str = "IMPLEMENTATION DEFINED";

/// Checks that fields are in a record of that many words with these bits, and that no two of them
/// have a bit or a name in common. For constants.
///
/// # Panics
/// That is not so. The message is the name of the field.
pub const fn check(fields: &[Named], words: usize, bits: u64) {
    let mut rest = fields;
    while let [(name, word, field), others @ ..] = rest {
        if *word >= words || field.mask() & !bits != 0 {
            not_in_the_record(name);
        }
        let mut others_left = others;
        while let [(other_name, other_word, other_field), more @ ..] = others_left {
            if *word == *other_word && field.mask() & other_field.mask() != 0 {
                has_a_bit_of_another(other_name);
            }
            if same(name, other_name) && !same(name, NAMELESS) {
                has_the_name_of_another(other_name);
            }
            others_left = more;
        }
        rest = others;
    }
}

// The compiler says in which function a constant panics.

#[expect(clippy::panic, reason = "in constants only: it does not compile")]
const fn not_in_the_record(name: &str) -> ! {
    panic!("{}", name)
}

#[expect(clippy::panic, reason = "in constants only: it does not compile")]
const fn has_a_bit_of_another(name: &str) -> ! {
    panic!("{}", name)
}

#[expect(clippy::panic, reason = "in constants only: it does not compile")]
const fn has_the_name_of_another(name: &str) -> ! {
    panic!("{}", name)
}

/// Whether two names are the same.
const fn same(one: &str, other: &str) -> bool {
    let (mut one, mut other) = (one.as_bytes(), other.as_bytes());
    while let ([first, rest @ ..], [other_first, other_rest @ ..]) = (one, other) {
        if *first != *other_first {
            return false;
        }
        (one, other) = (rest, other_rest);
    }
    one.is_empty() && other.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOW: Named = ("LOW", 0, Field::new(7, 0));
    const HIGH: Named = ("HIGH", 0, Field::new(31, 8));

    #[test]
    fn fields_side_by_side() {
        check(&[LOW, HIGH, ("NEXT", 1, Field::new(31, 0))], 2, u64::MAX);
        check(&[LOW, HIGH], 1, u32::MAX.into());
        // One name may stand at several places.
        let bits = |bit| (NAMELESS, 0, Field::bit(bit));
        check(&[bits(0), bits(1)], 1, u64::MAX);
    }

    #[test]
    #[should_panic = "HIGH"]
    fn a_word_that_there_is_not() {
        check(&[LOW, ("HIGH", 1, Field::bit(0))], 1, u64::MAX);
    }

    #[test]
    #[should_panic = "HIGH"]
    fn bits_that_there_are_not() {
        check(&[LOW, ("HIGH", 0, Field::new(32, 8))], 1, u32::MAX.into());
    }

    #[test]
    #[should_panic = "OTHER"]
    fn a_bit_in_common() {
        check(&[LOW, HIGH, ("OTHER", 0, Field::bit(31))], 1, u64::MAX);
    }

    #[test]
    #[should_panic = "LOW"]
    fn a_name_in_common() {
        check(&[LOW, HIGH, ("LOW", 1, Field::bit(0))], 2, u64::MAX);
    }

    #[test]
    fn names_are_the_same_when_all_of_them_is() {
        for (one, other) in [
            ("", ""),
            ("S2T", "S2T"),
            ("S2", "S2T"),
            ("S2T", "S2"),
            ("", "S"),
        ] {
            assert_eq!(same(one, other), one == other);
        }
        assert!(!same("S2TTB", "S2TTX"));
    }
}
