//! Fails with `unused_must_use`: the group leaves the container on the spot.

#![deny(unused_must_use)]

use vfio::{Container, MemberGroup, Result, VfioGroup};

fn case(one: VfioGroup, other: VfioGroup, container: &Container) -> Result<MemberGroup> {
    let member = one.join(container)?;
    #[cfg(feature = "misuse")]
    other.join(container)?;
    #[cfg(not(feature = "misuse"))]
    drop(other);
    Ok(member)
}

fn main() {
    let _checked = case;
}
