//! Fixture `iommufd_mock_domain`: memory of each kind, and devices that find it in their page tables.

mod aligns;
mod contents;
mod copies;
mod tables;

use std::sync::Arc;

use iommufd::{DmaBuffer, HugePage, Ioas, Iommufd, SharedBuffer};
use tests::accounted::pinned;
use tests::at::PAGE;

use crate::domains::Domains;

use aligns::all_aligns;
use contents::{basic, ro_unshare};
use copies::{all_aligns_copy, user_copy};
use tables::{alloc_hwpt, replace};

// In the kernel's order.
per_variant! {
    Fixture [
        one_domain,
        two_domains,
        one_domain_hugepage,
        two_domains_hugepage,
        one_domain_file,
        one_domain_file_hugepage,
    ]:
    basic,
    ro_unshare,
    all_aligns,
    all_aligns_copy,
    user_copy,
    replace,
    alloc_hwpt,
}

/// The bytes in a huge page.
const HUGE: usize = 2 << 20;

/// An address space with one device, or two with a page table each.
#[derive(Debug)]
struct Fixture {
    domains: Domains,
    ioas: Ioas,
    iommufd: Iommufd,
    kind: Kind,
    /// What was pinned before.
    pinned: u64,
}

/// A kind of memory.
#[derive(Debug, Clone, Copy)]
struct Kind {
    /// Of huge pages.
    huge: bool,
    /// In a file, by which it is mapped.
    file: bool,
}

impl Kind {
    /// The bytes in a page.
    fn page(self) -> usize {
        if self.huge { HUGE } else { PAGE }
    }

    /// Memory of `pages` pages of this kind.
    fn buffer(self, pages: usize) -> DmaBuffer {
        let len = pages * self.page();
        let buffer = match self {
            Self {
                huge: false,
                file: false,
            } => DmaBuffer::new(len),
            Self {
                huge: true,
                file: false,
            } => DmaBuffer::huge(len, HugePage::Size2M),
            Self {
                huge: false,
                file: true,
            } => DmaBuffer::memfd(len),
            Self {
                huge: true,
                file: true,
            } => DmaBuffer::memfd_huge(len, HugePage::Size2M),
        };
        buffer.unwrap()
    }

    /// The same, shared with devices.
    fn shared(self, pages: usize) -> Arc<SharedBuffer> {
        self.buffer(pages).share()
    }
}

impl Fixture {
    fn one_domain() -> Self {
        Self::new(1, false, false)
    }

    fn two_domains() -> Self {
        Self::new(2, false, false)
    }

    fn one_domain_hugepage() -> Self {
        Self::new(1, true, false)
    }

    fn two_domains_hugepage() -> Self {
        Self::new(2, true, false)
    }

    fn one_domain_file() -> Self {
        Self::new(1, false, true)
    }

    fn one_domain_file_hugepage() -> Self {
        Self::new(1, true, true)
    }

    fn new(domains: usize, huge: bool, file: bool) -> Self {
        let iommufd = Iommufd::open().unwrap();
        let ioas = Ioas::new(&iommufd).unwrap();
        Self {
            domains: Domains::new(&ioas, domains),
            ioas,
            iommufd,
            kind: Kind { huge, file },
            pinned: pinned(),
        }
    }

    /// How many bytes are pinned now. (How often a page is pinned cannot be seen of huge ones.)
    fn pinned(&self) -> u64 {
        pinned() - self.pinned
    }
}
