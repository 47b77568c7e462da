//! Where fields are, once more: numbered as the specification numbers the bits of a whole structure.

use crate::field::Field;
use crate::{
    ContextEntry, FaultRecord, FirstStageLeaf, PasidEntry, ScalableContextEntry, ScalableRootEntry,
    SecondStageLeaf,
};

/// Bits of a root entry of scalable mode, by 9.2. Addresses up to bit 51 of their word.
const ROOT: &[(&str, u32, u32)] = &[
    ("LP", 0, 0),
    ("LCTP", 51, 12),
    ("UP", 64, 64),
    ("UCTP", 115, 76),
];

/// Bits of a context entry, by 9.3.
const CONTEXT: &[(&str, u32, u32)] = &[
    ("P", 0, 0),
    ("FPD", 1, 1),
    ("TT", 3, 2),
    ("SSPTPTR", 51, 12),
    ("AW", 66, 64),
    ("AVAIL", 70, 67),
    ("DID", 87, 72),
];

/// Bits of a context entry of scalable mode, by 9.4.
const SCALABLE_CONTEXT: &[(&str, u32, u32)] = &[
    ("P", 0, 0),
    ("FPD", 1, 1),
    ("DTE", 2, 2),
    ("PASIDE", 3, 3),
    ("PRE", 4, 4),
    ("PDTS", 11, 9),
    ("PASIDDIRPTR", 51, 12),
    ("RID_PASID", 83, 64),
    ("RID_PRIV", 84, 84),
];

/// Bits of a PASID table entry, by 9.6.
const PASID: &[(&str, u32, u32)] = &[
    ("P", 0, 0),
    ("FPD", 1, 1),
    ("AW", 4, 2),
    ("SSEE", 5, 5),
    ("PGTT", 8, 6),
    ("SSADE", 9, 9),
    ("SSPTPTR", 51, 12),
    ("DID", 79, 64),
    ("PWSNP", 87, 87),
    ("PGSNP", 88, 88),
    ("CD", 89, 89),
    ("EMTE", 90, 90),
    ("EMT", 93, 91),
    ("PWT", 94, 94),
    ("PCD", 95, 95),
    ("PAT", 127, 96),
    ("SRE", 128, 128),
    ("ERE", 129, 129),
    ("FSPM", 131, 130),
    ("WPE", 132, 132),
    ("NXE", 133, 133),
    ("SMEP", 134, 134),
    ("EAFE", 135, 135),
    ("FSPTPTR", 179, 140),
];

/// Bits of a page of the first stage, by 9.7.
const FIRST_STAGE: &[(&str, u32, u32)] = &[
    ("P", 0, 0),
    ("R/W", 1, 1),
    ("U/S", 2, 2),
    ("PWT", 3, 3),
    ("PCD", 4, 4),
    ("A", 5, 5),
    ("D", 6, 6),
    ("PS", 7, 7),
    ("G", 8, 8),
    ("EA", 10, 10),
    ("XD", 63, 63),
];

/// Bits of a page of the second stage, by 9.8.
const SECOND_STAGE: &[(&str, u32, u32)] = &[
    ("R", 0, 0),
    ("W", 1, 1),
    ("X", 2, 2),
    ("EMT", 5, 3),
    ("IPAT", 6, 6),
    ("PS", 7, 7),
    ("A", 8, 8),
    ("D", 9, 9),
    ("SNP", 11, 11),
];

/// Bits of a fault recording register, by 11.4.7.
const FAULT: &[(&str, u32, u32)] = &[
    ("FI", 63, 12),
    ("SID", 79, 64),
    ("T2", 92, 92),
    ("PRIV", 93, 93),
    ("EXE", 94, 94),
    ("PP", 95, 95),
    ("FR", 103, 96),
    ("PV", 123, 104),
    ("AT", 125, 124),
    ("T1", 126, 126),
    ("F", 127, 127),
];

fn check(fields: &[(&str, usize, Field)], document: &[(&str, u32, u32)]) {
    let named = |name: &str| document.iter().find(|(other, ..)| *other == name);
    for (name, word, field) in fields {
        let (_, last, first) = named(name).unwrap();
        assert_eq!((last / 64) as usize, *word, "{name}");
        assert_eq!(first / 64, last / 64, "{name}");
        let width = last - first + 1;
        let mask = u64::MAX >> (64 - width) << (first % 64);
        assert_eq!(field.mask(), mask, "{name}");
    }
    assert_eq!(document.len(), fields.len());
}

#[test]
fn fields_are_where_the_document_has_them() {
    check(ScalableRootEntry::FIELDS, ROOT);
    check(ContextEntry::FIELDS, CONTEXT);
    check(ScalableContextEntry::FIELDS, SCALABLE_CONTEXT);
    check(PasidEntry::FIELDS, PASID);
    check(FirstStageLeaf::FIELDS, FIRST_STAGE);
    check(SecondStageLeaf::FIELDS, SECOND_STAGE);
    check(FaultRecord::FIELDS, FAULT);
}
