//! Ids, addresses, encodings and numbered enums, over all that they can hold.

use hardware_records::{address, encoding, id, numbered};

id! {
    /// An id of a whole integer.
    pub struct Whole(u16);
}

id! {
    /// An id of fewer bits.
    pub struct Part(u16), 9 bits;
}

address! {
    /// Any address.
    pub struct Input;
}

address! {
    /// One of fewer bits.
    pub struct Output, 40 bits;
}

encoding! {
    /// Some of the encodings of two bits.
    pub enum Some2 {
        /// One.
        One = 0b01,
        /// Three.
        Three = 0b11,
    }
}

encoding! {
    total
    /// All of the encodings of one bit.
    pub enum All1 {
        /// Zero.
        Zero = 0b0;
        /// One.
        One = 0b1,
    }
}

numbered! {
    /// A kind.
    pub enum Kind;

    /// The first.
    First = 0x01, "CMD_FIRST";
    /// The last.
    Last = 0xff, "CMD_LAST";
}

#[test]
fn an_id_is_what_fits() {
    for number in 0..=u16::MAX {
        assert_eq!(Whole::new(number).get(), number);
        assert_eq!(Whole::from(number), Whole::new(number));
        assert_eq!(Part::new(number).is_some(), number < 512);
        assert_eq!(Part::masked(number.into()).get(), number % 512);
    }
    assert_eq!(Part::new(511), Some(Part::MAX));
    assert_eq!(Whole::masked(0x1_2345).get(), 0x2345);
    assert_eq!(u64::from(Part::MAX), 511);
    assert_eq!(
        format!("{} {:?}", Part::MAX, Whole::new(16)),
        "0x1ff Whole(0x10)"
    );
}

#[test]
fn an_address_is_what_fits() {
    assert_eq!((Output::BITS, Output::MAX.get()), (40, 0xff_ffff_ffff));
    for bit in 0..64 {
        assert_eq!(Input::new(1 << bit).get(), 1 << bit);
        assert_eq!(Input::masked(1 << bit), Input::new(1 << bit));
        let output = Output::new(1 << bit);
        assert_eq!(output.is_some(), bit < 40);
        assert_eq!(Output::masked(1 << bit), output.unwrap_or_default());
        for alignment in 0..64 {
            let aligned = output.map(|output| output.is_aligned_to(1 << alignment));
            assert_eq!(aligned, output.map(|_| bit >= alignment));
        }
    }
    assert_eq!(Output::MAX.checked_add(0), Some(Output::MAX));
    assert_eq!(Output::MAX.checked_add(1), None);
    assert_eq!(Output::MAX.checked_add(u64::MAX), None);
    assert_eq!(u64::from(Input::new(7)), 7);
    assert_eq!(
        format!("{} {:?}", Input::new(16), Output::MAX),
        "0x10 Output(0xffffffffff)"
    );
}

#[test]
fn an_encoding_is_one_that_is_listed() {
    for bits in 0..4 {
        match Some2::decode("F", bits) {
            Ok(some) => assert_eq!(u64::from(some.bits()), bits),
            Err(reserved) => {
                assert_eq!((reserved.field(), reserved.value()), ("F", bits));
                assert_eq!(
                    reserved.to_string(),
                    format!("F holds the reserved value {bits:#x}")
                );
            }
        }
        assert_eq!(Some2::decode("F", bits).is_ok(), bits == 1 || bits == 3);
    }
    assert_eq!(Some2::ALL, [Some2::One, Some2::Three]);
    for all in All1::ALL {
        assert_eq!(All1::decode_total(all.bits().into()), *all);
    }
}

#[test]
fn a_number_is_of_one_kind_or_of_none() {
    for number in 0..=u8::MAX {
        let kind = Kind::from_number(number);
        assert_eq!(kind.map(Kind::number), kind.map(|_| number));
        assert_eq!(kind.is_some(), number == 1 || number == 255);
    }
    assert_eq!(Kind::ALL, [Kind::First, Kind::Last]);
    assert_eq!(Kind::Last.to_string(), Kind::Last.name());
    assert_eq!(Kind::Last.name(), "CMD_LAST");
}
