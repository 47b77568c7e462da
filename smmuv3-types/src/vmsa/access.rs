//! What may be done, and by whom.

use crate::{Context, LeafDescriptor, TableDescriptor, TableUpdate, Tree};

bitflags::bitflags! {
    /// What may be done with a page.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Rights: u8 {
        /// It may be read as data.
        const READ = 1;
        /// It may be written.
        const WRITE = 1 << 1;
        /// It may be read as instructions.
        const EXECUTE = 1 << 2;
    }
}

/// An access by a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Access {
    /// What it does: one of [`Rights::READ`], [`Rights::WRITE`] and [`Rights::EXECUTE`], or
    /// several at once.
    pub rights: Rights,
    /// Whether it is privileged.
    pub privileged: bool,
}

/// What may be done with a page by the privileged and by the unprivileged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Permissions {
    /// By the privileged.
    pub privileged: Rights,
    /// By the unprivileged.
    pub unprivileged: Rights,
}

impl Permissions {
    /// Whether they allow an access.
    #[must_use]
    pub const fn allow(self, access: Access) -> bool {
        let has = if access.privileged {
            self.privileged
        } else {
            self.unprivileged
        };
        has.contains(access.rights)
    }
}

/// What tables on the way forbid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Forbidden {
    unprivileged: bool,
    write: bool,
    unprivileged_execute: bool,
    privileged_execute: bool,
}

impl Forbidden {
    /// With what one more table forbids.
    pub(super) const fn and(self, table: &TableDescriptor) -> Self {
        Self {
            unprivileged: self.unprivileged || table.ap_table_privileged(),
            write: self.write || table.ap_table_read_only(),
            unprivileged_execute: self.unprivileged_execute || table.uxn_table(),
            privileged_execute: self.privileged_execute || table.pxn_table(),
        }
    }

    /// What remains of what a page allows: the direct permissions of EL1 and EL0 (D8.4).
    pub(super) fn permissions(
        self,
        leaf: &LeafDescriptor,
        context: &Context,
        tree: &Tree,
    ) -> Permissions {
        let forbidden = if tree.hierarchical_disabled {
            Self::default()
        } else {
            self
        };
        let unprivileged_access = leaf.unprivileged() && !forbidden.unprivileged;
        let writable = !forbidden.write && (!leaf.read_only() || becomes_writable(leaf, context));

        let data = Rights::READ
            | if writable {
                Rights::WRITE
            } else {
                Rights::empty()
            };
        let mut privileged = data;
        let mut unprivileged = if unprivileged_access {
            data
        } else {
            Rights::empty()
        };
        let never = |rights: Rights| context.write_execute_never && rights.contains(Rights::WRITE);
        // What the unprivileged can write is never executed by the privileged.
        let privileged_execute = !leaf.pxn()
            && !forbidden.privileged_execute
            && !unprivileged.contains(Rights::WRITE)
            && !never(privileged);
        let unprivileged_execute =
            !leaf.uxn() && !forbidden.unprivileged_execute && !never(unprivileged);
        if context.privileged_access_never
            && (unprivileged_access
                || context.enhanced_privileged_access_never && unprivileged_execute)
        {
            privileged = Rights::empty();
        }
        privileged.set(Rights::EXECUTE, privileged_execute);
        unprivileged.set(Rights::EXECUTE, unprivileged_execute);
        Permissions {
            privileged,
            unprivileged,
        }
    }
}

/// Whether a page that is read only becomes writable when it is written.
pub(super) const fn becomes_writable(leaf: &LeafDescriptor, context: &Context) -> bool {
    leaf.dbm() && matches!(context.update, TableUpdate::Dirty)
}
