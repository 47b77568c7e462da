//! A container over a kernel that is played: of groups that come and go otherwise than they are told to.

use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use iommufd::{DmaBuffer, DmaMemory};
use iommufd_sys::ioctl::{Description, vfio as nr};
use rustix::io::Errno;

use super::*;
use crate::ioctl::script::{Asked, answering, file};

/// What the kernel has: how many groups, and which IOMMU, by its number.
#[derive(Clone, Default)]
struct Played {
    groups: Rc<Cell<u32>>,
    iommu: Rc<Cell<Option<u32>>>,
}

impl Played {
    fn answer(&self, ask: &Asked<'_>) -> Result<i32, Errno> {
        let is = |ioctl: Description| ask.ioctl == ioctl;
        if is(nr::GET_API_VERSION.describe()) {
            return Ok(0);
        }
        if is(nr::CHECK_EXTENSION.describe()) {
            return Ok(1);
        }
        if is(nr::GROUP_SET_CONTAINER.describe()) {
            self.groups.set(self.groups.get() + 1);
            return Ok(0);
        }
        if is(nr::GROUP_UNSET_CONTAINER.describe()) {
            return match self.groups.get() {
                0 => Err(Errno::INVAL),
                groups => {
                    self.left(groups - 1);
                    Ok(0)
                }
            };
        }
        if is(nr::SET_IOMMU.describe()) {
            return match (self.groups.get(), self.iommu.get()) {
                (1.., None) => {
                    // Which one is told by value, and not seen.
                    self.iommu.set(Some(0));
                    Ok(0)
                }
                _ => Err(Errno::INVAL),
            };
        }
        match self.iommu.get() {
            None => Err(Errno::INVAL),
            Some(_) => Ok(0),
        }
    }

    fn left(&self, groups: u32) {
        self.groups.set(groups);
        if groups == 0 {
            self.iommu.set(None);
        }
    }
}

fn container(played: &Played) -> (Container, impl Drop) {
    let kernel = played.clone();
    let answers = answering(move |ask| kernel.answer(&ask));
    let container = Container::open_at(Path::new("/dev/null"), None).unwrap();
    (container, answers)
}

#[test]
fn who_answers_for_one_group_without_an_iommu_answers_for_no_other() {
    let played = Played::default();
    let (container, _kernel) = container(&played);
    let group = file();
    container.enter(group.as_fd(), Kind::NoIommu).unwrap();
    for kind in [Kind::Unknown, Kind::Translated] {
        let refused = container.enter(group.as_fd(), kind);
        assert!(matches!(refused, Err(Error::NoIommu)), "{kind:?}");
        assert_eq!(played.groups.get(), 1, "it is out again");
    }
    container.enter(group.as_fd(), Kind::NoIommu).unwrap();
    container.leave(group.as_fd()).unwrap();
    container.leave(group.as_fd()).unwrap();
    // When they have left, the container is any other's.
    container.enter(group.as_fd(), Kind::Translated).unwrap();
    container.enter(group.as_fd(), Kind::Translated).unwrap();
}

#[test]
fn a_container_that_lost_its_groups_unnoticed_gets_an_iommu_with_the_next() {
    let played = Played::default();
    let (container, _kernel) = container(&played);
    let group = file();
    let memory: Arc<dyn DmaMemory> = DmaBuffer::new(4096).unwrap().share();
    let map = |at| container.map_at(Iova::new(at), &memory, Access::Read);
    container.enter(group.as_fd(), Kind::Translated).unwrap();
    let stale = map(0x1000).unwrap();
    // Its devices are unplugged, and who has the group does not know.
    played.left(0);
    assert_eq!(Arc::strong_count(&memory), 2);
    container.enter(group.as_fd(), Kind::Translated).unwrap();
    assert!(played.iommu.get().is_some(), "there is none");
    assert_eq!(Arc::strong_count(&memory), 1, "nothing is left of it");
    let mapping = map(0x1000).unwrap();
    stale.unmap().unwrap();
    assert_eq!(Arc::strong_count(&memory), 2);
    mapping.unmap().unwrap();
    // The group that is gone leaves what it is not in any more.
    container.leave(group.as_fd()).unwrap();
    container.leave(group.as_fd()).unwrap();
    assert_eq!(
        (played.groups.get(), container.leaks()),
        (0, Leaks::default())
    );
}
