//! Fixture `iommufd_ioas`: an address space, which devices use or not.

mod accesses;
mod addresses;
mod alignment;
mod copying;
mod destroying;
mod devices;
mod dmabufs;
mod mapping;
mod nesting;
mod processes;

use iommufd::{Ioas, Iommufd};
use tests::ids;
use tests::mock::BatchLimit;

use crate::domains::Domains;

use accesses::{
    access_domain_destory, access_pin, access_pin_unmap, access_rw, access_rw_unaligned,
};
use addresses::{area_allowed, area_auto_iova, ioas_iova_alloc, iova_ranges, reserved_overflow};
use alignment::{ioas_align_change, ioas_option_huge_pages};
use copying::{copy_area, copy_sweep};
use destroying::{ioas_area_auto_destroy, ioas_area_destroy, ioas_auto_destroy, ioas_destroy};
use devices::{get_hw_info, hwpt_attach};
use dmabufs::{dmabuf_revoke, dmabuf_simple};
use mapping::{area, unmap_fully_contained_areas};
use nesting::alloc_hwpt_nested;
use processes::{fork_gone, fork_present};

// In the kernel's order, and with its spelling.
per_variant! {
    Fixture [no_domain, mock_domain, two_mock_domain, mock_domain_limit]:
    ioas_auto_destroy,
    ioas_destroy,
    alloc_hwpt_nested,
    hwpt_attach,
    ioas_area_destroy,
    ioas_area_auto_destroy,
    get_hw_info,
    area,
    unmap_fully_contained_areas,
    area_auto_iova,
    reserved_overflow,
    area_allowed,
    copy_area,
    iova_ranges,
    access_domain_destory,
    access_pin,
    access_pin_unmap,
    access_rw,
    access_rw_unaligned,
    fork_gone,
    fork_present,
    ioas_option_huge_pages,
    ioas_iova_alloc,
    ioas_align_change,
    copy_sweep,
    dmabuf_simple,
    dmabuf_revoke,
}

/// An address space with its devices.
#[derive(Debug)]
struct Fixture {
    domains: Domains,
    ioas: Ioas,
    iommufd: Iommufd,
    /// Whether the kernel takes pages one by one.
    limit: Option<BatchLimit>,
}

impl Fixture {
    fn no_domain() -> Self {
        Self::new(0, None)
    }

    fn mock_domain() -> Self {
        Self::new(1, None)
    }

    fn two_mock_domain() -> Self {
        Self::new(2, None)
    }

    fn mock_domain_limit() -> Self {
        Self::new(1, Some(16))
    }

    fn new(domains: usize, limit: Option<u32>) -> Self {
        let iommufd = Iommufd::open().unwrap();
        let limit = limit.map(|bytes| BatchLimit::new(&iommufd, bytes).unwrap());
        let ioas = Ioas::new(&iommufd).unwrap();
        Self {
            domains: Domains::new(&ioas, domains),
            ioas,
            iommufd,
            limit,
        }
    }

    /// The kernel's id of the address space.
    fn id(&self) -> u32 {
        ids::of(&self.ioas)
    }
}
