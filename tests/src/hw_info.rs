//! What is asked of hardware that has not got it.

use iommufd::{Error, HwInfoType, Result};

/// Asserts that a type is told to be none of the hardware's.
#[track_caller]
pub fn not_offered<T>(answer: Result<T>, expected: HwInfoType) {
    let answer = answer.map(|_| "an answer");
    let refused = matches!(answer, Err(Error::HwInfoNotOffered { kind, .. }) if kind == expected);
    assert!(refused, "{expected}: {answer:?}");
}
