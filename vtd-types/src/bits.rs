//! Arithmetic on bits that has nothing to check: each result is defined for every number of bits.

/// The low `bits` bits set, all of them from 64 on.
pub(crate) const fn low(bits: u32) -> u64 {
    match u64::MAX.checked_shl(bits) {
        Some(above) => !above,
        None => u64::MAX,
    }
}

/// 2 to the power of `bits`, 0 from 64 on.
pub(crate) const fn power(bits: u32) -> u64 {
    match 1_u64.checked_shl(bits) {
        Some(power) => power,
        None => 0,
    }
}

/// The bits of `word` from bit `bits` on, 0 from 64 on.
pub(crate) const fn from(word: u64, bits: u32) -> u64 {
    match word.checked_shr(bits) {
        Some(rest) => rest,
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::{from, low, power};

    #[test]
    fn every_number_of_bits() {
        for bits in 0..200 {
            let expected = 1_u128.checked_shl(bits).unwrap_or(0);
            assert_eq!(
                u128::from(power(bits)),
                if bits < 64 { expected } else { 0 }
            );
            let ones = if bits < 64 {
                expected - 1
            } else {
                u64::MAX.into()
            };
            assert_eq!(u128::from(low(bits)), ones);
            assert_eq!(from(u64::MAX, bits), low(64_u32.saturating_sub(bits)));
        }
    }
}
