//! Where fields are, once more: numbered as the document numbers the bits of a whole structure.

use crate::field::Field;
use crate::{Cd, Ste};

/// Bits of an STE, by 5.2. Addresses without bits 55:52.
const STE: &[(&str, u32, u32)] = &[
    ("V", 0, 0),
    ("Config", 3, 1),
    ("S1Fmt", 5, 4),
    ("S1ContextPtr", 51, 6),
    ("S1CDMax", 63, 59),
    ("S1DSS", 65, 64),
    ("S1CIR", 67, 66),
    ("S1COR", 69, 68),
    ("S1CSH", 71, 70),
    ("S2HWU59", 72, 72),
    ("S2HWU60", 73, 73),
    ("S2HWU61", 74, 74),
    ("S2HWU62", 75, 75),
    ("DRE", 76, 76),
    ("CONT", 80, 77),
    ("DCP", 81, 81),
    ("PPAR", 82, 82),
    ("MEV", 83, 83),
    ("SW_RESERVED", 87, 84),
    ("S1PIE", 88, 88),
    ("S2FWB", 89, 89),
    ("S1MPAM", 90, 90),
    ("S1STALLD", 91, 91),
    ("EATS", 93, 92),
    ("STRW", 95, 94),
    ("MemAttr", 99, 96),
    ("MTCFG", 100, 100),
    ("ALLOCCFG", 104, 101),
    ("SHCFG", 109, 108),
    ("NSCFG", 111, 110),
    ("PRIVCFG", 113, 112),
    ("INSTCFG", 115, 114),
    ("S2VMID", 143, 128),
    ("S2T0SZ", 165, 160),
    ("S2SL0", 167, 166),
    ("S2IR0", 169, 168),
    ("S2OR0", 171, 170),
    ("S2SH0", 173, 172),
    ("S2TG", 175, 174),
    ("S2PS", 178, 176),
    ("S2AA64", 179, 179),
    ("S2ENDI", 180, 180),
    ("S2AFFD", 181, 181),
    ("S2PTW", 182, 182),
    ("S2HD", 183, 183),
    ("S2HA", 184, 184),
    ("S2S", 185, 185),
    ("S2R", 186, 186),
    ("S2HAFT", 187, 187),
    ("S2PIE", 188, 188),
    ("S2POE", 189, 189),
    ("DPT_VMATCH", 191, 190),
    ("S2NSW", 192, 192),
    ("S2NSA", 193, 193),
    ("S2SL0_2", 194, 194),
    ("S2DS", 195, 195),
    ("S2TTB", 243, 196),
    ("S2SKL", 254, 253),
    ("PARTID", 287, 272),
    ("S_S2T0SZ", 293, 288),
    ("S_S2SL0", 295, 294),
    ("S_S2TG", 303, 302),
    ("MECID", 319, 304),
    ("PMG", 327, 320),
    ("MPAM_NS", 328, 328),
    ("AssuredOnly", 329, 329),
    ("TL0", 330, 330),
    ("TL1", 331, 331),
    ("VMSPtr", 371, 332),
    ("S2SW", 384, 384),
    ("S2SA", 385, 385),
    ("S_S2SL0_2", 386, 386),
    ("S_S2TTB", 435, 388),
    ("S_S2SKL", 446, 445),
    ("S2POI<p>", 511, 448),
];

/// Bits of a CD, by 5.4. Addresses without bits 55:52.
const CD: &[(&str, u32, u32)] = &[
    ("T0SZ", 5, 0),
    ("TG0", 7, 6),
    ("IR0", 9, 8),
    ("OR0", 11, 10),
    ("SH0", 13, 12),
    ("EPD0", 14, 14),
    ("ENDI", 15, 15),
    ("T1SZ", 21, 16),
    ("TG1", 23, 22),
    ("IR1", 25, 24),
    ("OR1", 27, 26),
    ("SH1", 29, 28),
    ("EPD1", 30, 30),
    ("V", 31, 31),
    ("IPS", 34, 32),
    ("AFFD", 35, 35),
    ("WXN", 36, 36),
    ("UWXN", 37, 37),
    ("TBI0", 38, 38),
    ("TBI1", 39, 39),
    ("PAN", 40, 40),
    ("AA64", 41, 41),
    ("HD", 42, 42),
    ("HA", 43, 43),
    ("S", 44, 44),
    ("R", 45, 45),
    ("A", 46, 46),
    ("ASET", 47, 47),
    ("ASID", 63, 48),
    ("NSCFG0", 64, 64),
    ("HAD0", 65, 65),
    ("E0PD0", 66, 66),
    ("HAFT", 67, 67),
    ("TTB0", 115, 68),
    ("PnCH", 122, 122),
    ("EPAN", 123, 123),
    ("HWU059", 124, 124),
    ("HWU060", 125, 125),
    ("HWU061", 126, 126),
    ("HWU062", 127, 127),
    ("NSCFG1", 128, 128),
    ("HAD1", 129, 129),
    ("E0PD1", 130, 130),
    ("AIE", 131, 131),
    ("TTB1", 179, 132),
    ("DS", 186, 186),
    ("PIE", 187, 187),
    ("HWU159", 188, 188),
    ("HWU160", 189, 189),
    ("HWU161", 190, 190),
    ("HWU162", 191, 191),
    ("MAIR0", 223, 192),
    ("MAIR1", 255, 224),
    ("AMAIR0", 287, 256),
    ("AMAIR1", 319, 288),
    ("PARTID", 367, 352),
    ("PMG", 375, 368),
    ("PIIU<p>", 431, 384),
    ("PIIP<p>", 495, 448),
];

fn check(fields: &[(&str, usize, Field)], document: &[(&str, u32, u32)]) {
    let named = |name: &str| document.iter().find(|(other, ..)| *other == name);
    for (name, word, field) in fields {
        if *name == "IMPLEMENTATION DEFINED" {
            continue;
        }
        let (_, last, first) = named(name).unwrap();
        assert_eq!((last / 64) as usize, *word, "{name}");
        assert_eq!(first / 64, last / 64, "{name}");
        let width = last - first + 1;
        let mask = u64::MAX >> (64 - width) << (first % 64);
        assert_eq!(field.mask(), mask, "{name}");
    }
    assert!(document.len() <= fields.len());
}

#[test]
fn fields_are_where_the_document_has_them() {
    check(Ste::FIELDS, STE);
    check(Cd::FIELDS, CD);
}
