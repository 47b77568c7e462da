//! The kernel's ids of objects, which the SDK keeps to itself.
//!
//! The mock driver is told by id what to look at. No id can be asked for, so they are read where people see them: in the
//! `Debug` output.

use std::fmt::Debug;

/// The id that the object prints.
pub fn of(object: &impl Debug) -> u32 {
    let text = format!("{object:?}");
    let (_, rest) = text
        .split_once("id: ")
        .unwrap_or_else(|| panic!("no id in `{text}`"));
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next();
    digits.and_then(|digits| digits.parse().ok()).unwrap()
}
