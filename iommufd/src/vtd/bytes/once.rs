//! The program that is written once for all formats, on a VT-d: what the kernel is given.

use super::*;
use crate::format::once::Finds::{Changed, Nothing, Tables as At};
use crate::format::once::OnParent;
use crate::format::once::Tables::{self, First, Second};
use crate::format::played::{Asked, steps};

fn config(tables: Tables) -> NestedPasidEntry {
    match tables {
        First => entry(0x1_2345_6000),
        // Five levels, and requests of a supervisor with write protection.
        Second => entry(0x7_0000_1015),
    }
}

fn change(tables: Tables) -> Vec<Invalidation> {
    match tables {
        First => vec![
            invalidation(0x7000, 1, true),
            invalidation(0x10_0000, 512, false),
        ],
        Second => vec![Invalidation::ALL],
    }
}

/// The table `id` is made: flags, device, parent, the id to come, reserved, the data's type, length
/// and address, the fault queue, reserved.
fn made(data: [u64; 3]) -> Asked {
    let head = vec![0, 7, 102, 0, 0, 1, 24, 0, 0, 0, 0];
    ("HWPT_ALLOC", head, data.to_vec())
}

/// The table, the address, the data's type, the length of each, their number, reserved.
fn invalidated(table: u32, count: u32, data: &[u64]) -> Asked {
    let head = vec![table, 0, 0, 0, 24, count, 0];
    ("HWPT_INVALIDATE", head, data.to_vec())
}

fn gone(table: u32) -> Asked {
    ("DESTROY", vec![table], Vec::new())
}

#[test]
fn the_program_of_all_formats_reaches_the_kernel_as_vt_ds() {
    let machine = server();
    let parent = parent(&machine);
    let first = [0, 0x1_2345_6000, 48];
    // SRE, WPE, five levels.
    let second = [0b101, 0x7_0000_1000, 57];
    let all = [0, u64::MAX, 0];
    let of_first = [0x7000, 1, 1, 0x10_0000, 512, 0];
    assert_eq!(
        steps(&machine, OnParent::<Vtd>::new(&parent), config, change),
        [
            (Nothing, vec![], vec![]),
            (At(First), vec![made(first)], vec![Some(103)]),
            (Changed(First), vec![invalidated(103, 2, &of_first)], vec![]),
            (At(Second), vec![made(second), gone(103)], vec![Some(104)]),
            (Changed(Second), vec![invalidated(104, 1, &all)], vec![]),
            (Nothing, vec![gone(104)], vec![None]),
            (Nothing, vec![], vec![]),
            (At(Second), vec![made(second)], vec![Some(105)]),
            (Nothing, vec![gone(105)], vec![None]),
        ]
    );
}
