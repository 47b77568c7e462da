//! How an error names what there can be several of, or none.

use std::fmt::Write;

use crate::address::PciAddress;
use crate::binding::DriverName;
use crate::readiness::Blocker;

pub(super) fn lines(blockers: &[Blocker]) -> String {
    let mut text = String::new();
    for blocker in blockers {
        // A string takes whatever is written to it.
        write!(text, "\n- {blocker}").ok();
    }
    text
}

pub(super) fn list(functions: &[impl ToString]) -> String {
    let functions: Vec<_> = functions.iter().map(ToString::to_string).collect();
    functions.join(", ")
}

pub(super) fn found_at(found: &Option<PciAddress>) -> String {
    found.map_or_else(String::new, |address| format!(": that of {address}"))
}

pub(super) fn now_with(found: &Option<DriverName>) -> String {
    match found {
        Some(driver) => format!("but with {driver}"),
        None => "and with no other".to_owned(),
    }
}
