//! Fails with E0382: a group is put into a container that is in another already.

use vfio::{Container, MemberGroup, Result, VfioGroup};

fn case(group: VfioGroup, one: &Container, other: &Container) -> Result<MemberGroup> {
    let member = group.join(one)?;
    #[cfg(feature = "misuse")]
    drop(group.join(other));
    let _ = other;
    Ok(member)
}

fn main() {
    let _checked = case;
}
