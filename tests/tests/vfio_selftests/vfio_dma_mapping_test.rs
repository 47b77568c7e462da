//! Program `vfio_dma_mapping_test`: memory of every size of pages, and the ends of the address space.

use examples::edu::BUFFER_LEN;
use iommufd::{DmaBuffer, HugePage, Iova, IovaRange};
use rustix::io::Errno;
use tests::at::PAGE;
use tests::edu::{contents, lone, pattern};
use tests::memcpy::Copier;
use tests::memory::Living;
use tests::{ids, raw};

use crate::modes::Mode;

per_variant! {
    Mode [vfio_type1v2_iommu, iommufd_compat_type1, iommufd_compat_type1v2, iommufd]:
        dma_map_unmap, unmap_range, unmap_all, overflow
}

/// A multiple of every size of pages.
const BASE: Iova = Iova::new(0x1_4000_0000);

fn dma_map_unmap(mode: Mode) {
    let device = mode.open(lone());
    let copier = Copier::new(&device).unwrap();
    for buffer in [
        DmaBuffer::new(4 * PAGE).unwrap(),
        DmaBuffer::huge(2 << 20, HugePage::Size2M).unwrap(),
    ] {
        let memory = buffer.share();
        let last = memory.len() - BUFFER_LEN;
        let last_iova = BASE.checked_add(last as u64).unwrap();
        memory.write_bytes(0, &pattern(1)).unwrap();
        let mapping = mode.map_at(BASE, &memory).unwrap();
        copier.copy(BASE, last_iova, BUFFER_LEN).unwrap();
        assert_eq!(contents(&memory)[last..], pattern(1));

        mapping.unmap();
        memory.write_bytes(0, &pattern(2)).unwrap();
        copier.copy(BASE, last_iova, BUFFER_LEN).unwrap();
        assert_eq!(contents(&memory)[last..], pattern(1), "unmapped");
        assert!(DmaBuffer::reclaim(memory).is_ok(), "nobody holds it");
    }
}

/// The last page that can be mapped.
fn last_page(mode: &Mode) -> IovaRange {
    let last = mode.usable().last().unwrap().last().get();
    IovaRange::new(Iova::new(last & !0xfff), Iova::new(last)).unwrap()
}

fn unmap_range(mode: Mode) {
    let _device = mode.open(lone());
    let living = Living::new();
    let last = last_page(&mode);
    let mapping = mode.map_at(last.start(), living.memory(PAGE)).unwrap();
    assert_eq!(mode.unmap_range(last).unwrap(), PAGE as u64);
    assert_eq!(living.count(), 0);
    mapping.unmap();
}

fn unmap_all(mode: Mode) {
    let _device = mode.open(lone());
    let living = Living::new();
    let last = last_page(&mode);
    let mappings = [last.start(), BASE].map(|iova| mode.map_at(iova, living.memory(PAGE)).unwrap());
    assert_eq!(mode.unmap_all().unwrap(), 2 * PAGE as u64);
    assert_eq!(living.count(), 0);
    drop(mappings);
    mode.map_at(last.start(), living.memory(PAGE))
        .unwrap()
        .unmap();
}

fn overflow(mode: Mode) {
    let _device = mode.open(lone());
    let living = Living::new();
    let end = Iova::new(u64::MAX - 0xfff);
    let past_the_end = mode.map_at(end, living.memory(2 * PAGE)).unwrap_err();
    assert_eq!(past_the_end.errno(), Some(Errno::OVERFLOW));
    assert_eq!(living.count(), 0);
    // What can be unmapped ends before that.
    assert_eq!(IovaRange::with_len(end, 2 * PAGE as u64), None);
    if let Some(ioas) = mode.ioas() {
        let past_it = raw::unmap(ioas.iommufd(), ids::of(ioas), end.get(), 2 * PAGE as u64);
        assert_eq!(past_it, Err(Errno::OVERFLOW));
    }
}
