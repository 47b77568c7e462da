//! Where fields are, once more: numbered as the document numbers the bits of a whole structure.

mod registers;
mod tables;

use crate::field::Field;
use crate::*;

/// A field: its name, its last bit and its first.
type Position = (&'static str, u32, u32);

/// The crate's fields of a structure or register are those of the document, no more and no fewer.
fn check(fields: &[(&'static str, usize, Field)], document: &[Position]) {
    for (name, word, field) in fields {
        let start = 64 * *word as u32;
        let first = start + field.mask().trailing_zeros();
        let last = start + field.mask().ilog2();
        let position = (*name, last, first);
        assert!(document.contains(&position), "{position:?}");
    }
    // No field is there twice: `record` has a test of that.
    assert_eq!(document.len(), fields.len());
}

#[test]
fn fields_of_tables_are_where_the_document_has_them() {
    check(L1StreamDescriptor::FIELDS, tables::L1STD);
    check(Ste::FIELDS, tables::STE);
    check(L1ContextDescriptor::FIELDS, tables::L1CD);
    check(Cd::FIELDS, tables::CD);
    check(TableDescriptor::FIELDS, tables::TABLE);
    check(LeafDescriptor::FIELDS, tables::LEAF);
}

#[test]
fn fields_of_registers_are_where_the_document_has_them() {
    check(Idr0::FIELDS, registers::IDR0);
    check(Idr1::FIELDS, registers::IDR1);
    check(Idr2::FIELDS, registers::IDR2);
    check(Idr3::FIELDS, registers::IDR3);
    check(Idr4::FIELDS, registers::IDR4);
    check(Idr5::FIELDS, registers::IDR5);
    check(Iidr::FIELDS, registers::IIDR);
    check(Aidr::FIELDS, registers::AIDR);
    check(Cr0::FIELDS, registers::CR0);
    check(Cr1::FIELDS, registers::CR1);
    check(Cr2::FIELDS, registers::CR2);
    check(Gbpa::FIELDS, registers::GBPA);
    check(StrtabBase::FIELDS, registers::STRTAB_BASE);
    check(StrtabBaseCfg::FIELDS, registers::STRTAB_BASE_CFG);
}
