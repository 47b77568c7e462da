//! The mock driver's commands, written from their layout: one ioctl, whose 72 bytes carry an operation, an object's id
//! and 48 bytes that mean something else for every operation.

// UNSAFETY: declares which argument the mock's ioctl takes.
#![expect(unsafe_code, reason = "declares the ioctl")]

use std::mem::offset_of;

use iommufd_sys::ioctl::{Description, Fd, Ioctl, Linux};

/// Operation numbers.
pub mod op {
    /// Reserves addresses of an address space.
    pub const ADD_RESERVED: u32 = 1;
    /// Compares a page table with the memory of the process.
    pub const MD_CHECK_MAP: u32 = 3;
    /// Compares how often pages are pinned.
    pub const MD_CHECK_REFS: u32 = 4;
    /// Makes an access, as an emulated device has one.
    pub const CREATE_ACCESS: u32 = 5;
    /// Unpins pages of an access.
    pub const DESTROY_ACCESS_PAGES: u32 = 6;
    /// Pins pages through an access.
    pub const ACCESS_PAGES: u32 = 7;
    /// Reads or writes through an access.
    pub const ACCESS_RW: u32 = 8;
    /// Limits how much the kernel maps in one go.
    pub const SET_TEMP_MEMORY_LIMIT: u32 = 9;
    /// Moves a device to another page table.
    pub const MOCK_DOMAIN_REPLACE: u32 = 10;
    /// Moves an access to another address space.
    pub const ACCESS_REPLACE_IOAS: u32 = 11;
    /// Makes a device, bound and attached.
    pub const MOCK_DOMAIN_FLAGS: u32 = 12;
    /// Sets dirty bits, as a device that writes.
    pub const DIRTY: u32 = 13;
    /// Compares what an IOMMU caches of a nested table.
    pub const MD_CHECK_IOTLB: u32 = 14;
    /// Makes a page request.
    pub const TRIGGER_IOPF: u32 = 15;
    /// Compares what a device caches.
    pub const DEV_CHECK_CACHE: u32 = 16;
    /// Makes an event of a virtual IOMMU.
    pub const TRIGGER_VEVENT: u32 = 17;
    /// Attaches a PASID.
    pub const PASID_ATTACH: u32 = 18;
    /// Moves a PASID to another page table.
    pub const PASID_REPLACE: u32 = 19;
    /// Detaches a PASID.
    pub const PASID_DETACH: u32 = 20;
    /// Compares what a PASID is attached to.
    pub const PASID_CHECK_HWPT: u32 = 21;
    /// Makes a dma-buf.
    pub const DMABUF_GET: u32 = 22;
    /// Revokes a dma-buf, or gives it back.
    pub const DMABUF_REVOKE: u32 = 23;
}

/// [`MockDomain::dev_flags`]: the device's IOMMU tracks nothing that is written.
pub const DEVICE_NO_DIRTY: u32 = 1;
/// [`MockDomain::dev_flags`]: the device has PASIDs.
pub const DEVICE_PASID: u32 = 4;
/// [`CreateAccess::flags`]: the access pins pages.
pub const ACCESS_NEEDS_PIN_PAGES: u32 = 1;
/// [`AccessPages::flags`] and [`AccessRw::flags`]: for writing.
pub const ACCESS_WRITE: u32 = 1;

/// [`AccessRw::flags`]: by the path that looks at every page by itself.
pub const ACCESS_SLOW_PATH: u32 = 4;
/// The PASID whose second attachment to the hardware fails once with `ENOMEM`.
pub const PASID_FAILS_ONCE: u32 = 1024;

/// The mock's type of vIOMMU, of hardware queue, and of invalidation.
pub const TYPE_SELFTEST: u32 = 0xdead_beef;
/// The mock's type of data that configures a page table.
pub const HWPT_DATA_SELFTEST: u32 = 0xdead;
/// What such data says of a page table that is not nested: its entries have 1 MiB or 4 KiB.
pub const PAGE_TABLE_HUGE: u32 = 1;
/// The mock's type of event queue.
pub const VEVENTQ_TYPE_SELFTEST: u32 = 0xbeef_beef;
/// The number that a nested table's cache holds before an invalidation, which makes it 0.
pub const IOTLB_DEFAULT: u32 = 0x0bad_beef;
/// The number that a device's cache holds before an invalidation, which makes it 0.
pub const DEV_CACHE_DEFAULT: u32 = 0x00ba_ddad;
/// How many numbers each of these caches holds.
pub const CACHE_LEN: u32 = 4;
/// The mock's type of hardware information.
pub const HW_INFO_TYPE_SELFTEST: u32 = 0xfeed_beef;
/// What the mock puts in its hardware information.
pub const HW_INFO_TEST_REG: u32 = 0xdead_beef;

/// The argument, with what belongs to one operation in it.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Command<P> {
    size: u32,
    op: u32,
    /// The object that it is about.
    pub id: u32,
    reserved: u32,
    /// What belongs to the operation.
    pub payload: P,
    last: u32,
    padding: u32,
}

/// What belongs to one operation.
pub trait Payload: Sized {
    /// Its number.
    const OP: u32;
}

impl<P: Payload> Command<P> {
    /// The command for the object `id`.
    pub fn new(id: u32, payload: P) -> Self {
        Self {
            size: 72,
            op: P::OP,
            id,
            reserved: 0,
            payload,
            last: 0,
            padding: 0,
        }
    }

    /// The ioctl that takes it.
    pub const fn ioctl() -> Ioctl<Self> {
        const { assert!(size_of::<Self>() == 72) };
        // SAFETY: a kernel with the mock driver takes these 72 bytes under this number on an iommufd; others refuse the
        // number. What the payload makes the kernel do with addresses is for the caller who issues it to answer for.
        unsafe { Ioctl::custom(DESCRIPTION) }
    }
}

/// The ioctl, as observers are told of it.
pub const DESCRIPTION: Description = Description {
    name: "IOMMU_TEST_CMD",
    request: 0x3BA0,
    fd: Fd::Iommu,
    min_size: 68,
    size: 72,
    since: Linux { major: 6, minor: 2 },
};

macro_rules! payloads {
    ($($(#[$doc:meta])* $name:ident = $op:ident { $($field:ident: $ty:ty, $offset:literal;)+ })+) => {$(
        $(#[$doc])*
        #[repr(C)]
        #[derive(Debug, Clone, Copy, Default)]
        #[expect(missing_docs, reason = "the fields have the names of the layout")]
        pub struct $name {
            $(pub $field: $ty,)+
        }

        impl Payload for $name {
            const OP: u32 = op::$op;
        }

        const _: () = {
            assert!(size_of::<$name>() == 48);
            assert!(offset_of!(Command<$name>, payload) == 16);
            assert!(offset_of!(Command<$name>, last) == 64);
            assert!(size_of::<Command<$name>>() == 72);
            $(assert!(16 + offset_of!($name, $field) == $offset);)+
        };
    )+};
}

// Offsets are those in the whole argument.
payloads! {
    /// Of [`op::ADD_RESERVED`].
    AddReserved = ADD_RESERVED { start: u64, 16; length: u64, 24; rest: [u64; 4], 32; }
    /// Of [`op::MOCK_DOMAIN_FLAGS`].
    MockDomain = MOCK_DOMAIN_FLAGS {
        out_stdev_id: u32, 16; out_hwpt_id: u32, 20; out_idev_id: u32, 24; dev_flags: u32, 28; rest: [u64; 4], 32;
    }
    /// Of [`op::MOCK_DOMAIN_REPLACE`].
    MockDomainReplace = MOCK_DOMAIN_REPLACE { pt_id: u32, 16; unused: u32, 20; rest: [u64; 5], 24; }
    /// Of [`op::MD_CHECK_MAP`].
    CheckMap = MD_CHECK_MAP { iova: u64, 16; length: u64, 24; uptr: u64, 32; rest: [u64; 3], 40; }
    /// Of [`op::MD_CHECK_REFS`].
    CheckRefs = MD_CHECK_REFS { length: u64, 16; uptr: u64, 24; refs: u32, 32; unused: u32, 36; rest: [u64; 3], 40; }
    /// Of [`op::CREATE_ACCESS`].
    CreateAccess = CREATE_ACCESS { out_access_fd: i32, 16; flags: u32, 20; rest: [u64; 5], 24; }
    /// Of [`op::DESTROY_ACCESS_PAGES`].
    DestroyAccessPages = DESTROY_ACCESS_PAGES { access_pages_id: u32, 16; unused: u32, 20; rest: [u64; 5], 24; }
    /// Of [`op::ACCESS_PAGES`].
    AccessPages = ACCESS_PAGES {
        flags: u32, 16; out_access_pages_id: u32, 20; iova: u64, 24; length: u64, 32; uptr: u64, 40; rest: [u64; 2], 48;
    }
    /// Of [`op::ACCESS_RW`].
    AccessRw = ACCESS_RW { iova: u64, 16; length: u64, 24; uptr: u64, 32; flags: u32, 40; unused: u32, 44; rest: [u64; 2], 48; }
    /// Of [`op::SET_TEMP_MEMORY_LIMIT`].
    MemoryLimit = SET_TEMP_MEMORY_LIMIT { limit: u32, 16; unused: u32, 20; rest: [u64; 5], 24; }
    /// Of [`op::ACCESS_REPLACE_IOAS`].
    AccessReplaceIoas = ACCESS_REPLACE_IOAS { ioas_id: u32, 16; unused: u32, 20; rest: [u64; 5], 24; }
    /// Of [`op::DIRTY`].
    Dirty = DIRTY {
        flags: u32, 16; unused: u32, 20; iova: u64, 24; length: u64, 32; page_size: u64, 40; uptr: u64, 48;
        out_nr_dirty: u64, 56;
    }
    /// Of [`op::MD_CHECK_IOTLB`].
    CheckIotlb = MD_CHECK_IOTLB { id: u32, 16; iotlb: u32, 20; rest: [u64; 5], 24; }
    /// Of [`op::TRIGGER_IOPF`].
    TriggerIopf = TRIGGER_IOPF {
        dev_id: u32, 16; pasid: u32, 20; grpid: u32, 24; perm: u32, 28; addr: u64, 32; rest: [u64; 3], 40;
    }
    /// Of [`op::DEV_CHECK_CACHE`].
    CheckDevCache = DEV_CHECK_CACHE { id: u32, 16; cache: u32, 20; rest: [u64; 5], 24; }
    /// Of [`op::TRIGGER_VEVENT`].
    TriggerVevent = TRIGGER_VEVENT { dev_id: u32, 16; unused: u32, 20; rest: [u64; 5], 24; }
    /// Of [`op::PASID_ATTACH`].
    PasidAttach = PASID_ATTACH { pasid: u32, 16; pt_id: u32, 20; rest: [u64; 5], 24; }
    /// Of [`op::PASID_REPLACE`].
    PasidReplace = PASID_REPLACE { pasid: u32, 16; pt_id: u32, 20; rest: [u64; 5], 24; }
    /// Of [`op::PASID_DETACH`].
    PasidDetach = PASID_DETACH { pasid: u32, 16; unused: u32, 20; rest: [u64; 5], 24; }
    /// Of [`op::PASID_CHECK_HWPT`].
    PasidCheck = PASID_CHECK_HWPT { pasid: u32, 16; hwpt_id: u32, 20; rest: [u64; 5], 24; }
    /// Of [`op::DMABUF_GET`].
    DmabufGet = DMABUF_GET { length: u32, 16; open_flags: u32, 20; rest: [u64; 5], 24; }
    /// Of [`op::DMABUF_REVOKE`].
    DmabufRevoke = DMABUF_REVOKE { dmabuf_fd: i32, 16; revoked: u32, 20; rest: [u64; 5], 24; }
}
