//! What may be done, and by whom.

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
    /// Whether it is of the supervisor. The second stage makes no difference.
    pub privileged: bool,
}

/// What may be done with a page by the supervisor and by the user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Permissions {
    /// By the supervisor.
    pub supervisor: Rights,
    /// By the user.
    pub user: Rights,
}

impl Permissions {
    /// Whether they allow an access.
    #[must_use]
    pub const fn allow(self, access: Access) -> bool {
        let has = if access.privileged {
            self.supervisor
        } else {
            self.user
        };
        has.contains(access.rights)
    }
}
