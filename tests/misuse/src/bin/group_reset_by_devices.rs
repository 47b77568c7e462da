//! Fails with E0277: a group's device is reset along with devices, where the kernel asks for their groups.

use vfio::{GroupDevice, MemberGroup, Result, VfioGroup};

fn case(
    device: &GroupDevice,
    _other: &GroupDevice,
    group: &MemberGroup,
    unused: &VfioGroup,
) -> Result<()> {
    #[cfg(feature = "misuse")]
    device.hot_reset(&[_other])?;
    device.hot_reset(&[group, unused])
}

fn main() {
    let _checked = case;
}
