//! What devices ask for when they cannot reach a page, and what they may be answered.

use std::fmt;
use std::ops::Deref;

use bitflags::bitflags;
use iommufd_sys::iommufd as sys;

use crate::address::Iova;
use crate::pasid::Pasid;

/// One page request as the kernel hands it out.
pub(crate) type Record = sys::iommu_hwpt_pgfault;

bitflags! {
    /// What a device means to do with a page.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct Permissions: u32 {
        /// To read it.
        const READ = sys::IOMMU_PGFAULT_PERM_READ;
        /// To write to it.
        const WRITE = sys::IOMMU_PGFAULT_PERM_WRITE;
        /// To execute what is in it.
        const EXEC = sys::IOMMU_PGFAULT_PERM_EXEC;
        /// To do so in privileged mode.
        const PRIVILEGED = sys::IOMMU_PGFAULT_PERM_PRIV;
        // Whatever a newer kernel sets is kept.
        const _ = !0;
    }
}

/// The number by which a device, or its IOMMU, knows the group that a request belongs to: the page
/// request group index of `PCIe` (9 bits), or the stall tag of Arm's SMMU (16 bits).
///
/// The device chooses it and uses it again; it is nothing to answer by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestGroupId(u32);

impl RequestGroupId {
    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for RequestGroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A device's request for one page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageRequest {
    address: Iova,
    permissions: Permissions,
    pasid: Option<Pasid>,
    carries_pasid: bool,
    group: RequestGroupId,
}

impl PageRequest {
    /// Reads a record of the kernel's.
    ///
    /// Flags that the documentation does not have are no flaw: the drivers of VT-d and AMD leave a
    /// bit of their own (4) in requests with a PASID.
    fn of(record: &Record) -> Result<Self, &'static str> {
        let carries_pasid = record.flags & sys::IOMMU_PGFAULT_FLAGS_PASID_VALID != 0;
        let pasid = match record.pasid {
            number if carries_pasid && number != 0 => {
                Some(Pasid::new(number).ok_or("a PASID has more than 20 bits")?)
            }
            _ => None,
        };
        Ok(Self {
            address: Iova::new(record.addr),
            permissions: Permissions::from_bits_retain(record.perm),
            pasid,
            carries_pasid,
            group: RequestGroupId(record.grpid),
        })
    }

    /// What the device asked for, in the address space that it sees: that of the table it is
    /// attached to. For a nested table it is an address of the guest's, to be looked up in the
    /// guest's tables.
    #[must_use]
    pub fn address(&self) -> Iova {
        self.address
    }

    /// What the device means to do there.
    #[must_use]
    pub fn permissions(&self) -> Permissions {
        self.permissions
    }

    /// The PASID that the request carries, unless it is 0.
    #[must_use]
    pub fn pasid(&self) -> Option<Pasid> {
        self.pasid
    }

    /// Whether the request carries a PASID, be it 0.
    ///
    /// A guest that owns its PASID tables may give its devices PASID 0, and has to be told.
    #[must_use]
    pub fn carries_pasid(&self) -> bool {
        self.carries_pasid
    }

    /// The device's own number of the group.
    #[must_use]
    pub fn group(&self) -> RequestGroupId {
        self.group
    }
}

/// The answer to a group of page requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PageResponse {
    /// The pages are there now: the device shall try again.
    #[doc(alias = "IOMMUFD_PAGE_RESP_SUCCESS")]
    Success,
    /// The device may not have them, and shall not try again.
    #[doc(alias = "IOMMUFD_PAGE_RESP_INVALID")]
    Invalid,
}

impl PageResponse {
    pub(crate) fn code(self) -> u32 {
        match self {
            Self::Success => sys::IOMMUFD_PAGE_RESP_SUCCESS,
            Self::Invalid => sys::IOMMUFD_PAGE_RESP_INVALID,
        }
    }
}

/// The requests of one group. Most groups have one, which then needs no memory of its own.
#[derive(Debug)]
pub(crate) enum Requests {
    One([PageRequest; 1]),
    Many(Vec<PageRequest>),
}

impl Requests {
    /// Reads the records of one group, or says what is wrong with them.
    pub(crate) fn of(group: &[Record], spare: &mut Spare) -> Result<Self, &'static str> {
        let is_last = |record: &Record| record.flags & sys::IOMMU_PGFAULT_FLAGS_LAST_PAGE != 0;
        let (last, others) = group.split_last().ok_or("a group has no page request")?;
        if !is_last(last) || others.iter().any(is_last) {
            return Err("a group of page requests does not end where it should");
        }
        if others
            .iter()
            .any(|other| (other.dev_id, other.grpid) != (last.dev_id, last.grpid))
        {
            return Err("the page requests of a group are not of one device and group");
        }
        if others.is_empty() {
            return PageRequest::of(last).map(|request| Self::One([request]));
        }
        let mut requests = spare.take();
        for record in group {
            match PageRequest::of(record) {
                Ok(request) => requests.push(request),
                Err(flaw) => {
                    spare.give(Self::Many(requests));
                    return Err(flaw);
                }
            }
        }
        Ok(Self::Many(requests))
    }
}

impl Default for Requests {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl Deref for Requests {
    type Target = [PageRequest];

    fn deref(&self) -> &[PageRequest] {
        match self {
            Self::One(request) => request,
            Self::Many(requests) => requests,
        }
    }
}

/// Memory of groups that are done with, for those that come.
#[derive(Debug)]
pub(crate) struct Spare {
    lists: Vec<Vec<PageRequest>>,
}

impl Spare {
    /// How many lists are kept, and how many requests a list may have room for to be kept.
    const LISTS: usize = 16;
    const LONGEST: usize = 512;

    pub(crate) fn new() -> Self {
        Self {
            lists: Vec::with_capacity(Self::LISTS),
        }
    }

    fn take(&mut self) -> Vec<PageRequest> {
        self.lists.pop().unwrap_or_default()
    }

    /// Keeps the memory of `requests`, if there is need of it.
    pub(crate) fn give(&mut self, requests: Requests) {
        let Requests::Many(mut list) = requests else {
            return;
        };
        let room = 1..=Self::LONGEST;
        if room.contains(&list.capacity()) && self.lists.len() < Self::LISTS {
            list.clear();
            self.lists.push(list);
        }
    }
}
