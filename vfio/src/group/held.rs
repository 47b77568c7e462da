//! A group that somebody has open, whether it is in a container or not.

use super::{MemberGroup, VfioGroup};

/// An open group: a [`VfioGroup`], or a [`MemberGroup`]. Whoever has one may reset what is in it:
/// [`GroupDevice::hot_reset`](crate::GroupDevice::hot_reset).
pub trait HeldGroup: sealed::HeldGroup {}

mod sealed {
    use super::{MemberGroup, VfioGroup};

    #[expect(unnameable_types, reason = "so that nobody else implements it")]
    pub trait HeldGroup {
        /// Its file.
        fn group(&self) -> &VfioGroup;

        /// What has been opened by way of it.
        fn member(&self) -> Option<&MemberGroup>;
    }
}

impl sealed::HeldGroup for VfioGroup {
    fn group(&self) -> &VfioGroup {
        self
    }

    fn member(&self) -> Option<&MemberGroup> {
        None
    }
}

impl HeldGroup for VfioGroup {}

impl sealed::HeldGroup for MemberGroup {
    fn group(&self) -> &VfioGroup {
        self.own()
    }

    fn member(&self) -> Option<&MemberGroup> {
        Some(self)
    }
}

impl HeldGroup for MemberGroup {}
