//! Level 1 stream table descriptors.

use hardware_records::record;

use crate::Ipa;

record! {
    /// What level 1 of a stream table says of a stretch of streams: where their entries are.
    ///
    /// ```
    /// use smmuv3_types::{Ipa, L1StreamDescriptor};
    ///
    /// // 256 entries: Span is 8 + 1.
    /// let array = Ipa::new(0x8000_0000).expect("of 52 bits");
    /// let descriptor = L1StreamDescriptor::default().with_l2_ptr(array).with_span(9);
    /// assert_eq!(descriptor.to_bytes(), 0x8000_0009_u64.to_le_bytes());
    /// ```
    pub struct L1StreamDescriptor([u64; 1]), "L1STD", "5.1";

    /// How many entries there are: 2<sup>`Span - 1`</sup>. 0, and 12 to 31, are none.
    num(u8) span, with_span: "Span", 0 [4:0];
    /// Where the array of entries is.
    address(Ipa) l2_ptr, with_l2_ptr: "L2Ptr", 0 [51:6];
}
