//! Somebody else who has the same `/dev/iommu`, and takes it for a container of VFIO's.

use std::sync::{Arc, LazyLock};

use iommufd::{Iommufd, Iova, IovaRange};
use iommufd_sys::vfio::{VFIO_DMA_MAP_FLAG_READ, VFIO_TYPE1_IOMMU};
use tests::memory::{Living, Memory};
use tests::raw::compat::{map_dma, set_iommu, unmap_dma};

const PAGE: u64 = 4096;

/// What is mapped by strangers stays for ever.
static MEMORY: LazyLock<Arc<Memory>> = LazyLock::new(|| Living::new().memory(2 * PAGE as usize));

/// The container is one of the first type: it cuts mappings.
pub(super) fn chooses_type1(iommufd: &Iommufd) {
    // There may be no address space for it.
    let _answer = set_iommu(iommufd, VFIO_TYPE1_IOMMU);
}

/// Maps two pages.
pub(super) fn maps(iommufd: &Iommufd, at: Iova) {
    let flags = VFIO_DMA_MAP_FLAG_READ;
    // What is refused is his business.
    let _answer = map_dma(iommufd, 32, flags, &MEMORY, at.get());
}

/// Unmaps whatever is there, and cuts what he does not.
pub(super) fn unmaps(iommufd: &Iommufd, range: IovaRange) {
    let Some(len) = range.len() else { return };
    let _answer = unmap_dma(iommufd, 24, 0, range.start().get(), len);
}

/// Cuts pages off one end of what is mapped at `range`, and may map two over that edge.
pub(super) fn cuts(iommufd: &Iommufd, range: IovaRange, pages: u64, end: bool, over: bool) {
    let (first, last) = (range.start().get(), range.last().get());
    let off = match end {
        false => IovaRange::with_len(range.start(), pages * PAGE),
        true => IovaRange::new(
            Iova::new(last.saturating_sub(pages * PAGE - 1)),
            range.last(),
        ),
    };
    if let Some(off) = off.filter(|off| range.contains(*off)) {
        unmaps(iommufd, off);
    }
    let over_edge = match end {
        false => first.saturating_sub(PAGE),
        true => last.saturating_sub(PAGE - 1),
    };
    if over {
        maps(iommufd, Iova::new(over_edge));
    }
}
