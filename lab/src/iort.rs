//! ACPI's I/O Remapping Table, which tells the kernel of the SMMU and of the devices behind it.
//!
//! The kernel lets user space nest translation only for devices whose root complex says that its writes are coherent
//! whatever attributes they are given (CANWBS: a guest's tables could else turn that off). QEMU's are, and its table does
//! not say so. So the table is read in a first boot, corrected, and given to the kernel by the way that it has for
//! firmware that is wrong: a newer table in front of the initial file system.
//!
//! The layout is of Arm's "IO Remapping Table" (DEN0049), and the header of the ACPI specification.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::boot::{self, Job};
use crate::cache::{self, Cache, Lock};
use crate::error::{Doing, Error, Result};
use crate::machine::Machine;
use crate::progress::{Step, Unit};
use crate::setup::Lab;

/// Where the kernel looks for it in the initial file system.
pub(crate) const OVERRIDE: &str = "kernel/firmware/acpi/iort.aml";
/// Where the guest has the firmware's.
const FIRMWARES: &str = "/sys/firmware/acpi/tables/IORT";
/// The time limit of the first boot.
const LIMIT: Duration = Duration::from_secs(120);

/// The table for a machine: from the cache, or made.
pub(crate) fn of(cache: &Cache, lab: &Lab, machine: &'static Machine) -> Result<PathBuf> {
    let name = name(lab, machine)?;
    let table = cache.path(&name);
    if table.is_file() {
        return Ok(table);
    }
    make(&cache.lock()?, lab, machine, &name)
}

/// Boots a machine to read the table of its firmware, and keeps the corrected one by its name in the cache.
fn make(lock: &Lock, lab: &Lab, machine: &'static Machine, name: &Path) -> Result<PathBuf> {
    let step = Step::start(
        format!(
            "booting {} to read its firmware's table of the SMMU",
            machine.name
        ),
        Unit::Nothing,
        0,
    );
    let place = lock.workplace("iort")?;
    let job = Job {
        machine,
        programs: Vec::new(),
        script: format!("lab_run cat {FIRMWARES}\n"),
        interactive: false,
        timeout: LIMIT,
        silence: None,
        append: String::new(),
        keeps: None,
    };
    let mut table = Vec::new();
    boot::run(lab, &place, &job, &mut |bytes| {
        table.extend_from_slice(bytes)
    })?;
    let file = place.join("table");
    fs::write(&file, corrected(&table)?).doing(|| format!("cannot write {}", file.display()))?;
    let kept = lock.publish(&file, name)?;
    fs::remove_dir_all(&place).unwrap_or_default();
    step.done("corrected the firmware's table of the SMMU");
    Ok(kept)
}

/// The name in the cache of the table of a machine. QEMU writes it, after what the machine consists of.
fn name(lab: &Lab, machine: &Machine) -> Result<PathBuf> {
    let hardware = machine.hardware(&lab.qemu).join(" ");
    let text = format!("{} {hardware}", cache::file_key(&lab.qemu.path)?);
    Ok(Path::new("iort").join(cache::key(text.as_bytes())))
}

/// Bytes of the header that every ACPI table has.
mod header {
    use std::ops::Range;

    pub(super) const SIGNATURE: Range<usize> = 0..4;
    pub(super) const CHECKSUM: usize = 9;
    pub(super) const OEM_REVISION: Range<usize> = 24..28;
}

/// Where the header of an IORT says how many nodes there are, and where the first is.
const NODE_COUNT: usize = 36;
const FIRST_NODE: usize = 40;

/// Bytes of a node, from its start on.
mod node {
    pub(super) const TYPE: usize = 0;
    pub(super) const LENGTH: usize = 1;
    /// In a root complex: the flags of its accesses to memory.
    pub(super) const MEMORY_ACCESS_FLAGS: usize = 23;
}

/// The type of a root complex.
const ROOT_COMPLEX: u8 = 2;
/// Its accesses are coherent, whatever their attributes.
const CANWBS: u8 = 1 << 2;

/// The table with every root complex coherent, as a newer revision of itself.
fn corrected(table: &[u8]) -> Result<Vec<u8>> {
    correct(table).ok_or_else(|| {
        Error::new("the firmware's table of the SMMU is not what it should be")
            .because(format!("{FIRMWARES} has {} bytes: not an IORT, cut short, or without a root complex", table.len()))
            .next("use another QEMU (--qemu PATH), or another version of the package qemu-efi-aarch64")
    })
}

fn correct(table: &[u8]) -> Option<Vec<u8>> {
    let mut table = table.to_vec();
    if table.get(header::SIGNATURE)? != b"IORT" {
        return None;
    }
    let mut root_complexes = 0;
    let mut start = usize::try_from(word(&table, FIRST_NODE)?).ok()?;
    for _ in 0..word(&table, NODE_COUNT)? {
        let node = table.get_mut(start..)?;
        let length = usize::from(u16::from_le_bytes(
            *node.get(node::LENGTH..)?.first_chunk()?,
        ));
        if length <= node::LENGTH {
            return None;
        }
        if *node.get(node::TYPE)? == ROOT_COMPLEX {
            *node.get_mut(..length)?.get_mut(node::MEMORY_ACCESS_FLAGS)? |= CANWBS;
            root_complexes += 1;
        }
        start = start.checked_add(length)?;
    }
    let revision = word(&table, header::OEM_REVISION.start)?.checked_add(1)?;
    table
        .get_mut(header::OEM_REVISION)?
        .copy_from_slice(&revision.to_le_bytes());
    // All bytes of a table add up to 0.
    let checksum = table.get(header::CHECKSUM)?.wrapping_sub(sum(&table));
    *table.get_mut(header::CHECKSUM)? = checksum;
    (root_complexes > 0).then_some(table)
}

fn word(table: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*table.get(at..)?.first_chunk()?))
}

fn sum(table: &[u8]) -> u8 {
    table.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table of nodes, each a type and a length.
    fn table(nodes: &[(u8, u16)]) -> Vec<u8> {
        let mut table = vec![0; 48];
        table[header::SIGNATURE].copy_from_slice(b"IORT");
        table[header::OEM_REVISION].copy_from_slice(&7_u32.to_le_bytes());
        table[NODE_COUNT] = nodes.len() as u8;
        table[FIRST_NODE] = 48;
        for &(kind, length) in nodes {
            let start = table.len();
            table.resize(start + usize::from(length), 0);
            table[start] = kind;
            table[start + 1..start + 3].copy_from_slice(&length.to_le_bytes());
        }
        let length = table.len() as u32;
        table[4..8].copy_from_slice(&length.to_le_bytes());
        table[header::CHECKSUM] = sum(&table).wrapping_neg();
        table
    }

    #[test]
    fn root_complexes_become_coherent_and_nothing_else_changes() {
        let before = table(&[(0, 24), (4, 88), (2, 76), (2, 36)]);
        let after = correct(&before).unwrap();
        let changed: Vec<usize> = (0..before.len())
            .filter(|&at| before[at] != after[at])
            .collect();
        let (first, second) = (48 + 24 + 88, 48 + 24 + 88 + 76);
        assert_eq!(
            changed,
            [
                header::CHECKSUM,
                header::OEM_REVISION.start,
                first + 23,
                second + 23
            ]
        );
        assert_eq!(after[first + 23], CANWBS);
        assert_eq!(word(&after, 24), Some(8));
        assert_eq!(sum(&after), 0);
    }

    #[test]
    fn what_is_coherent_already_stays_so() {
        let mut said = table(&[(2, 40)]);
        said[48 + 23] = CANWBS | 3;
        let after = correct(&said).unwrap();
        assert_eq!((after[48 + 23], sum(&after)), (CANWBS | 3, 0));
    }

    #[test]
    fn a_table_that_is_not_one_is_refused_whatever_its_lengths_say() {
        let good = table(&[(0, 24), (2, 40)]);
        for end in 0..good.len() {
            // Only what follows the flags may be missing.
            assert!(
                correct(&good[..end]).is_none() || end > 48 + 24 + 23,
                "{end}"
            );
        }
        let with = |at: usize, value: u8| {
            let mut table = good.clone();
            table[at] = value;
            correct(&table)
        };
        assert!(with(0, b'X').is_none());
        assert!(with(NODE_COUNT, 3).is_none(), "more nodes than there are");
        assert!(with(NODE_COUNT, 1).is_none(), "no root complex");
        assert!(with(FIRST_NODE + 3, 0xff).is_none(), "far behind the end");
        assert!(with(48 + 1, 0).is_none(), "a node of no length");
        assert!(with(48 + 2, 0xff).is_none(), "a node of too great a length");
        assert!(
            with(48 + 24 + 1, 20).is_none(),
            "a root complex too short for its flags"
        );
        for at in 0..good.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                drop(with(at, value)); // It does not panic.
            }
        }
        assert!(
            corrected(b"")
                .unwrap_err()
                .to_string()
                .contains("not an IORT")
        );
    }
}
