//! Whether a function can be assigned, in a few words.

use vfio::Blocker;

use super::Entry;

/// What stands in the way, in a few words; the blocker itself says more.
pub(super) fn word(blocker: &Blocker) -> String {
    match blocker {
        Blocker::NoDriver { .. } => "no driver".to_owned(),
        Blocker::OtherDriver { driver, .. } => format!("with {driver}"),
        Blocker::NoIommuGroup => "no IOMMU".to_owned(),
        Blocker::NoIommu => "noiommu".to_owned(),
        Blocker::SiblingInUse { sibling, .. } => format!("{sibling} in use"),
        Blocker::NoCharacterDevice => "no device node".to_owned(),
        Blocker::NoNode { path, .. } => format!("no {}", path.display()),
        Blocker::NotAccessible { path, .. } => format!("no right to {}", path.display()),
        Blocker::NoMsiIsolation => "interrupts not isolated".to_owned(),
        Blocker::Bridge => "bridge".to_owned(),
        Blocker::FirmwareMemory { .. } => "firmware's memory".to_owned(),
        _ => "not ready".to_owned(),
    }
}

/// Whether it keeps every function of the machine from being assigned, so that it need be told only once.
pub(super) fn is_of_the_machine(blocker: &Blocker) -> bool {
    match blocker {
        Blocker::NoMsiIsolation => true,
        Blocker::NoNode { path, .. } | Blocker::NotAccessible { path, .. } => {
            path.ends_with("iommu")
        }
        _ => false,
    }
}

/// The state of a function, for the last column of a table.
pub(super) fn of(entry: &Entry) -> String {
    let readiness = &entry.readiness;
    if let [first, ..] = &*entry.users {
        return format!("in use by {first}");
    }
    let own: Vec<String> = readiness
        .blockers()
        .iter()
        .filter(|blocker| !is_of_the_machine(blocker))
        .map(word)
        .collect();
    match &*own {
        [] if !readiness.is_ready() => "ready, but for the machine".to_owned(),
        [] if readiness.needs_vf_token() => "READY, with a VF token".to_owned(),
        [] => "READY".to_owned(),
        own => own.join("; "),
    }
}
