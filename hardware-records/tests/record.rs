//! Records of every kind of field, of words and of registers.

use hardware_records::{Field, Reserved, address, encoding, id, record};

address! {
    /// An address.
    pub struct Gpa, 52 bits;
}

id! {
    /// A domain.
    pub struct DomainId(u16);
}

id! {
    /// A PASID.
    pub struct Pasid(u32), 20 bits;
}

encoding! {
    /// A mode. `0b01` and `0b11` are reserved.
    pub enum Mode {
        /// Off.
        Off = 0b00,
        /// On.
        On = 0b10,
    }
}

encoding! {
    total
    /// A size.
    pub enum Size {
        /// Small.
        Small = 0b00,
        /// Large.
        Large = 0b01,
        /// Larger.
        Larger = 0b10;
        /// The largest.
        Largest = 0b11,
    }
}

record! {
    /// An entry.
    pub struct Entry([u64; 2]), "ENT", "1.2";

    /// Whether it counts.
    flag v, with_v: "V", 0 [0];
    /// A mode.
    coded(Mode) mode, with_mode: "Mode", 0 [2:1];
    /// A size.
    total(Size) size, with_size: "Size", 0 [4:3];
    /// A table.
    address(Gpa) table, with_table: "Table", 0 [51:12];
    /// A number.
    num(u8) count, with_count: "Count", 0 [58:52];
    /// A domain.
    id(DomainId) domain, with_domain: "DomainID", 1 [23:8];
    /// A PASID.
    id(Pasid) pasid, with_pasid: "PASID", 1 [63:44];
}

record! {
    /// A register of 32 bits.
    pub struct Control(u32), "CTRL", "3.4";

    /// Whether it is on.
    flag enabled, with_enabled: "EN", 0 [31];
    /// A number.
    num(u16) limit, with_limit: "LIMIT", 0 [15:0];
}

record! {
    /// A register of 64 bits, that no getter covers all of.
    pub struct Base(u64), "BASE", "5.6";

    /// An address.
    address(Gpa) addr, with_addr: "ADDR", 0 [51:5];
    /// Whether to allocate.
    flag ra, with_ra: "RA", 0 [62];
}

fn entry() -> Entry {
    Entry::default()
        .with_v(true)
        .with_mode(Mode::On)
        .with_size(Size::Largest)
        .with_table(Gpa::masked(0x1_2345_6000))
        .with_count(0x55)
        .with_domain(DomainId::new(0xabcd))
        .with_pasid(Pasid::masked(0x1_2345))
}

#[test]
fn what_is_put_in_is_where_it_belongs_and_comes_out() {
    let entry = entry();
    let words = [
        0x55 << 52 | 0x1_2345_6000 | 0b11 << 3 | 0b10 << 1 | 1,
        0x1_2345 << 44 | 0xabcd << 8,
    ];
    assert_eq!(entry.words(), words);
    assert_eq!(Entry::from_words(words), entry);
    assert!(entry.v());
    assert_eq!(entry.mode(), Ok(Mode::On));
    assert_eq!(entry.size(), Size::Largest);
    assert_eq!(entry.table().get(), 0x1_2345_6000);
    assert_eq!(entry.count(), 0x55);
    assert_eq!(entry.domain().get(), 0xabcd);
    assert_eq!(entry.pasid().get(), 0x1_2345);
}

#[test]
fn a_setter_changes_nothing_but_its_field() {
    for words in [[0; 2], [u64::MAX; 2], [0x0123_4567_89ab_cdef; 2]] {
        let entry = Entry::from_words(words);
        assert_eq!(entry.with_v(entry.v()), entry);
        assert_eq!(entry.with_table(entry.table()), entry);
        assert_eq!(entry.with_count(entry.count()), entry);
        assert_eq!(entry.with_pasid(entry.pasid()), entry);
        assert_eq!(entry.with_v(true).with_v(false).words()[0], words[0] & !1);
        let cleared = entry.with_domain(DomainId::new(0));
        assert_eq!(cleared.words(), [words[0], words[1] & !0xff_ff00]);
    }
}

#[test]
fn what_a_field_does_not_hold_is_cut_off() {
    let none = Entry::default();
    assert_eq!(none.with_count(0xff).words()[0], 0x7f << 52);
    let all = none.with_table(Gpa::MAX).words()[0];
    assert_eq!(all, 0x000f_ffff_ffff_f000);
    let all = Base::default().with_addr(Gpa::MAX).bits();
    assert_eq!(all, 0x000f_ffff_ffff_ffe0);
}

#[test]
fn a_reserved_encoding_is_an_error_that_names_it() {
    for (bits, expected) in [
        (0, Ok(Mode::Off)),
        (1, Err(1)),
        (2, Ok(Mode::On)),
        (3, Err(3)),
    ] {
        let mode = Entry::from_words([bits << 1, 0]).mode();
        assert_eq!(mode.map_err(Reserved::value), expected);
        if let Err(reserved) = mode {
            assert_eq!(reserved.field(), "ENT.Mode");
        }
    }
}

#[test]
fn in_memory_words_are_little_endian() {
    let bytes = *b"\x01\x02\x03\x04\x05\x06\x07\x08ABCDEFGH";
    let entry = Entry::from_bytes(&bytes);
    assert_eq!(
        entry.words(),
        [0x0807_0605_0403_0201, 0x4847_4645_4443_4241]
    );
    assert_eq!(entry.to_bytes(), bytes);
    assert_eq!(Entry::BYTES, 16);
}

#[test]
fn a_register_keeps_every_bit() {
    let control = Control::from_bits(0x7fff_1234);
    assert_eq!((control.enabled(), control.limit()), (false, 0x1234));
    assert_eq!(control.with_enabled(true).bits(), 0xffff_1234);
    assert_eq!(control.with_limit(u16::MAX).bits(), 0x7fff_ffff);
    assert_eq!(Base::from_bits(u64::MAX).with_ra(false).bits(), !(1 << 62));
}

#[test]
fn fields_that_are_not_0_are_shown() {
    assert_eq!(format!("{:?}", Entry::default()), "Entry");
    let shown = "Entry { v: true, mode: Err(Reserved { field: \"ENT.Mode\", value: 3 }) }";
    assert_eq!(format!("{:?}", Entry::from_words([7, 0])), shown);
    let shown = "Base { addr: Gpa(0x40), ra: true }";
    assert_eq!(format!("{:?}", Base::from_bits(1 << 62 | 0x4f)), shown);
}

#[test]
fn fields_are_listed_for_tests() {
    let entry = [
        ("V", 0, Field::bit(0)),
        ("Mode", 0, Field::new(2, 1)),
        ("Size", 0, Field::new(4, 3)),
        ("Table", 0, Field::new(51, 12)),
        ("Count", 0, Field::new(58, 52)),
        ("DomainID", 1, Field::new(23, 8)),
        ("PASID", 1, Field::new(63, 44)),
    ];
    assert_eq!(Entry::FIELDS, entry);
    let control = [("EN", 0, Field::bit(31)), ("LIMIT", 0, Field::new(15, 0))];
    assert_eq!(Control::FIELDS, control);
    let base = [("ADDR", 0, Field::new(51, 5)), ("RA", 0, Field::bit(62))];
    assert_eq!(Base::FIELDS, base);
}
