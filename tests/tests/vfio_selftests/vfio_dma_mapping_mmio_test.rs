//! Program `vfio_dma_mapping_mmio_test`: mapped registers as memory. The SDK has no words for it: a `BarMapping` is no
//! `DmaMemory`. Registers go to other devices as dma-bufs.

use std::sync::Arc;

use iommufd::{DmaSlice, Iova};
use rustix::io::Errno;
use tests::edu::lone;
use tests::groups::device_files;
use tests::memory::Mmio;
use vfio::RegionIndex;

use crate::modes::Mode;

per_variant! {
    Mode [vfio_type1v2_iommu, iommufd_compat_type1, iommufd_compat_type1v2, iommufd]:
        map_full_bar, map_partial_bar, map_bar_misaligned
}

const BASE: Iova = Iova::new(0x1_4000_0000);

/// The kernel's own container maps registers, an address space never.
fn maps(mode: &Mode, at: Iova, part: impl Fn(usize) -> std::ops::Range<usize>) {
    let device = mode.open(lone());
    let size = device.region_info(RegionIndex::BAR0).unwrap().size;
    let size = usize::try_from(size).unwrap();
    let files = device_files();
    let [file] = &*files else { panic!("{files:?}") };
    let registers = Arc::new(Mmio::bar0(file, size));
    let slice = DmaSlice::new(&registers, part(size)).unwrap();
    let mapped = mode.map_at(at, slice);
    match mode.ioas() {
        None => mapped.unwrap().unmap(),
        Some(_) => assert_eq!(mapped.unwrap_err().errno(), Some(Errno::FAULT)),
    }
    assert_eq!(Arc::strong_count(&registers), 1, "nobody holds them");
}

fn map_full_bar(mode: Mode) {
    maps(&mode, BASE, |size| 0..size);
}

fn map_partial_bar(mode: Mode) {
    maps(&mode, BASE, |size| 0..size / 2);
}

fn map_bar_misaligned(mode: Mode) {
    let odd = BASE.checked_add(0x1000).unwrap();
    maps(&mode, odd, |size| 0..size);
}
