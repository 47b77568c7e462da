//! The program that is written once for all formats, on an SMMUv3: what the kernel is given. Where DMA
//! then goes is seen in the lab.

use super::*;
use crate::format::once::Finds::{Changed, Nothing, Tables as At};
use crate::format::once::OnViommu;
use crate::format::once::Tables::{self, First, Second};
use crate::format::played::{Asked, steps};

const FIRST: [u64; 2] = [0x4000_000b, 0x0800_00fe];
const SECOND: [u64; 2] = [0x5000_000b, 0x0800_00fe];

fn config(tables: Tables) -> NestedSte {
    NestedSte::from_words(match tables {
        First => FIRST,
        Second => SECOND,
    })
    .unwrap()
}

fn change(tables: Tables) -> Vec<Invalidation> {
    let limits = InvalidationLimits::NONE.with_asid16(true);
    match tables {
        First => vec![Invalidation::tlbi_nh_asid(Asid::new(3), &limits).unwrap()],
        Second => vec![Invalidation::tlbi_nh_all(), Invalidation::tlbi_nsnh_all()],
    }
}

/// The table is made: flags, device, virtual IOMMU, the id to come, reserved, the data's type, length
/// and address, the fault queue, reserved.
fn made(data: [u64; 2]) -> Asked {
    let head = vec![0, 7, 103, 0, 0, 2, 16, 0, 0, 0, 0];
    ("HWPT_ALLOC", head, data.to_vec())
}

/// The virtual IOMMU, the address, the data's type, the length of each, their number, reserved; twice,
/// as the hardware has the erratum.
fn invalidated(count: u32, data: &[u64]) -> [Asked; 2] {
    let head = vec![103, 0, 0, 1, 16, count, 0];
    [(); 2].map(|()| ("HWPT_INVALIDATE", head.clone(), data.to_vec()))
}

fn gone(table: u32) -> Asked {
    ("DESTROY", vec![table], Vec::new())
}

#[test]
fn the_program_of_all_formats_reaches_the_kernel_as_the_smmus() {
    let (machine, parent) = machine();
    let viommu = Viommu::<Smmuv3>::new(&parent, &machine.device).unwrap();
    let vdevice = VDevice::new(&viommu, &machine.device, StreamId::new(0x42)).unwrap();
    machine.log.take();
    let stale = || StaleAsids::Invalidate(vec![Asid::new(9)]);
    let place = OnViommu::new(&viommu, &vdevice, stale);
    let came = || invalidated(1, &[0x0009_0000_0000_0011, 0]).to_vec();
    assert_eq!(
        steps(&machine, place, config, change),
        [
            (Nothing, vec![], vec![]),
            (
                At(First),
                [vec![made(FIRST)], came()].concat(),
                vec![Some(105)]
            ),
            (
                Changed(First),
                invalidated(1, &[0x0003_0000_0000_0011, 0]).to_vec(),
                vec![]
            ),
            (
                At(Second),
                [vec![made(SECOND)], came(), vec![gone(105)]].concat(),
                vec![Some(106)]
            ),
            (
                Changed(Second),
                invalidated(2, &[0x10, 0, 0x30, 0]).to_vec(),
                vec![]
            ),
            (Nothing, vec![gone(106)], vec![None]),
            (Nothing, vec![], vec![]),
            (
                At(Second),
                [vec![made(SECOND)], came()].concat(),
                vec![Some(107)]
            ),
            (Nothing, vec![gone(107)], vec![None]),
        ]
    );
}
