//! Where fields are, once more: numbered as the document numbers the bits of a whole structure.

mod registers;
mod tables;

use hardware_records::testing::assert_positions;

use crate::*;

#[test]
fn fields_of_tables_are_where_the_document_has_them() {
    assert_positions(L1StreamDescriptor::FIELDS, tables::L1STD);
    assert_positions(Ste::FIELDS, tables::STE);
    assert_positions(L1ContextDescriptor::FIELDS, tables::L1CD);
    assert_positions(Cd::FIELDS, tables::CD);
    assert_positions(TableDescriptor::FIELDS, tables::TABLE);
    assert_positions(LeafDescriptor::FIELDS, tables::LEAF);
}

#[test]
fn fields_of_registers_are_where_the_document_has_them() {
    assert_positions(Idr0::FIELDS, registers::IDR0);
    assert_positions(Idr1::FIELDS, registers::IDR1);
    assert_positions(Idr2::FIELDS, registers::IDR2);
    assert_positions(Idr3::FIELDS, registers::IDR3);
    assert_positions(Idr4::FIELDS, registers::IDR4);
    assert_positions(Idr5::FIELDS, registers::IDR5);
    assert_positions(Iidr::FIELDS, registers::IIDR);
    assert_positions(Aidr::FIELDS, registers::AIDR);
    assert_positions(Cr0::FIELDS, registers::CR0);
    assert_positions(Cr1::FIELDS, registers::CR1);
    assert_positions(Cr2::FIELDS, registers::CR2);
    assert_positions(Gbpa::FIELDS, registers::GBPA);
    assert_positions(StrtabBase::FIELDS, registers::STRTAB_BASE);
    assert_positions(StrtabBaseCfg::FIELDS, registers::STRTAB_BASE_CFG);
}
