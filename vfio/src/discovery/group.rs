//! The IOMMU groups of a machine.

use std::fmt;

use iommufd::{GroupId, Iova, IovaRange};

use super::listed;
use crate::error::{Error, Result};
use crate::readiness::{Sibling, members};
use crate::sysfs::{self, Roots};

/// Devices that the IOMMU cannot keep apart, which are given to a user together.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct IommuGroup {
    /// Its number.
    pub id: GroupId,
    /// How the kernel's own drivers do DMA in it. VFIO's users are not affected.
    pub kind: IommuGroupType,
    /// Its devices, of whatever bus.
    pub devices: Vec<Sibling>,
    /// Where no memory can be mapped for its devices.
    pub reserved: Vec<ReservedRegion>,
}

/// What the kernel does with the DMA of a group's devices when its own drivers have them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IommuGroupType {
    /// It is translated, and every unmap takes effect at once.
    Dma,
    /// It is translated, and unmaps take effect in batches. Since Linux 5.15.
    DmaFlushQueue,
    /// It is passed through untranslated.
    Identity,
    /// All of it is refused.
    Blocked,
    /// A driver manages the addresses.
    Unmanaged,
    /// Something else, or not told.
    Other(String),
}

impl IommuGroupType {
    fn from_sysfs(text: &str) -> Self {
        match text {
            "DMA" => Self::Dma,
            "DMA-FQ" => Self::DmaFlushQueue,
            "identity" => Self::Identity,
            "blocked" => Self::Blocked,
            "unmanaged" => Self::Unmanaged,
            other => Self::Other(other.to_owned()),
        }
    }
}

/// As in `type` of sysfs.
impl fmt::Display for IommuGroupType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dma => "DMA",
            Self::DmaFlushQueue => "DMA-FQ",
            Self::Identity => "identity",
            Self::Blocked => "blocked",
            Self::Unmanaged => "unmanaged",
            Self::Other(name) => name,
        })
    }
}

/// A range of addresses that means something else than memory to the devices of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReservedRegion {
    /// The addresses.
    pub range: IovaRange,
    /// What they are for.
    pub kind: ReservedKind,
}

/// What a reserved range is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReservedKind {
    /// Firmware uses the memory there through the device, for as long as the machine runs (Intel's
    /// RMRR, AMD's unity map). A device with such a range is given to nobody.
    Direct,
    /// Firmware used the memory there until the operating system took over.
    DirectRelaxable,
    /// Something that is not memory.
    Reserved,
    /// Where devices write their interrupts.
    Msi,
    /// Something else.
    Other(String),
}

impl ReservedKind {
    fn from_sysfs(text: &str) -> Self {
        match text {
            "direct" => Self::Direct,
            "direct-relaxable" => Self::DirectRelaxable,
            "reserved" => Self::Reserved,
            "msi" => Self::Msi,
            other => Self::Other(other.to_owned()),
        }
    }
}

/// As in `reserved_regions` of sysfs.
impl fmt::Display for ReservedKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Direct => "direct",
            Self::DirectRelaxable => "direct-relaxable",
            Self::Reserved => "reserved",
            Self::Msi => "msi",
            Self::Other(name) => name,
        })
    }
}

impl IommuGroup {
    /// All of the machine, by their numbers; none, if it has no IOMMU that is switched on. One that goes
    /// meanwhile, with its last device, is left out.
    ///
    /// # Errors
    /// [`Error::Sysfs`] if sysfs is not mounted or cannot be read.
    pub fn all() -> Result<Vec<Self>> {
        Self::all_within(&Roots::default())
    }

    pub(crate) fn all_within(roots: &Roots) -> Result<Vec<Self>> {
        let folder = roots.sys.join("kernel/iommu_groups");
        let names = listed(&roots.sys, &folder)?;
        let mut ids: Vec<u32> = names.iter().filter_map(|name| name.parse().ok()).collect();
        ids.sort_unstable();
        let mut groups = Vec::with_capacity(ids.len());
        for id in ids.into_iter().map(GroupId::new) {
            match Self::within(roots, id) {
                Ok(group) => groups.push(group),
                Err(_) if !roots.group(id).exists() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(groups)
    }

    /// The group `id`.
    ///
    /// # Errors
    /// [`Error::Sysfs`] if there is no such group, or it cannot be read.
    pub fn of(id: GroupId) -> Result<Self> {
        Self::within(&Roots::default(), id)
    }

    pub(crate) fn within(roots: &Roots, id: GroupId) -> Result<Self> {
        let folder = roots.group(id);
        let told = |error| Error::sysfs(folder.clone(), error);
        std::fs::metadata(&folder).map_err(told)?;
        let text = |name: &str| sysfs::line(&folder.join(name)).unwrap_or_default();
        Ok(Self {
            id,
            kind: IommuGroupType::from_sysfs(&text("type")),
            devices: members(roots, id).map_err(told)?,
            reserved: text("reserved_regions")
                .lines()
                .filter_map(reserved_region)
                .collect(),
        })
    }
}

/// A line such as `0x00000000fee00000 0x00000000feefffff msi`, whose addresses are the first and the
/// last. A line that is none is left out.
fn reserved_region(line: &str) -> Option<ReservedRegion> {
    let mut words = line.split_whitespace();
    let mut address = || {
        let digits = words.next()?.strip_prefix("0x")?;
        // The standard parser would take a sign.
        let right = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        right.then(|| u64::from_str_radix(digits, 16).ok().map(Iova::new))?
    };
    let range = IovaRange::new(address()?, address()?)?;
    let kind = ReservedKind::from_sysfs(words.next()?);
    Some(ReservedRegion { range, kind })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sysfs::fake::Tree;

    #[test]
    fn a_group_is_described() {
        let tree = Tree::new();
        for (function, group) in [
            ("0000:00:05.1", 10),
            ("0000:00:05.0", 10),
            ("0000:00:04.0", 2),
        ] {
            tree.function(function, group);
        }
        tree.bind("0000:00:05.1", "nvme");
        tree.file("sys/kernel/iommu_groups/10/type", "DMA-FQ\n");
        tree.file(
            "sys/kernel/iommu_groups/10/reserved_regions",
            "0x00000000000a0000 0x00000000000bffff direct\n\
             garbage\n0x2 0x1 msi\n0x1\n0x+1 0x2 msi\n0x10000000000000000 0x2 msi\n\
             0x00000000fee00000 0x00000000feefffff msi\n\
             0x0000000000000000 0xffffffffffffffff new-kind\n",
        );
        let groups = IommuGroup::all_within(&tree.roots).unwrap();
        let [two, ten] = &*groups else {
            panic!("{groups:?}")
        };
        assert_eq!(two.id, GroupId::new(2));
        assert_eq!(two.kind, IommuGroupType::Other(String::new()));
        assert_eq!(ten.kind, IommuGroupType::DmaFlushQueue);
        let devices: Vec<_> = ten
            .devices
            .iter()
            .map(|device| (&*device.name, device.driver.as_deref()))
            .collect();
        assert_eq!(
            devices,
            [("0000:00:05.0", None), ("0000:00:05.1", Some("nvme"))]
        );
        let reserved: Vec<_> = ten
            .reserved
            .iter()
            .map(|region| format!("{} {}", region.range, region.kind))
            .collect();
        assert_eq!(
            reserved,
            [
                "0xa0000..=0xbffff direct",
                "0xfee00000..=0xfeefffff msi",
                "0x0..=0xffffffffffffffff new-kind"
            ]
        );
    }

    #[test]
    fn a_type_keeps_its_name() {
        for name in [
            "DMA",
            "DMA-FQ",
            "identity",
            "blocked",
            "unmanaged",
            "unknown",
        ] {
            assert_eq!(IommuGroupType::from_sysfs(name).to_string(), name);
        }
    }

    #[test]
    fn a_group_that_has_just_gone_is_left_out() {
        let tree = Tree::new();
        tree.function("0000:00:04.0", 2);
        tree.link("sys/kernel/iommu_groups/7", "sys/gone");
        let groups = IommuGroup::all_within(&tree.roots).unwrap();
        assert_eq!(groups.len(), 1);
        assert_eq!(groups[0].id, GroupId::new(2));
        assert!(IommuGroup::within(&tree.roots, GroupId::new(7)).is_err());
    }

    #[test]
    fn no_iommu_is_no_error_and_no_sysfs_is() {
        let tree = Tree::new();
        tree.file("sys/kernel/x", "");
        assert_eq!(IommuGroup::all_within(&tree.roots).unwrap(), []);
        let absent = IommuGroup::within(&tree.roots, GroupId::new(5));
        assert!(matches!(absent, Err(Error::Sysfs { .. })));
        let nowhere = Roots {
            sys: "/nonexistent".into(),
            ..tree.roots.clone()
        };
        assert!(IommuGroup::all_within(&nowhere).is_err());
    }
}
