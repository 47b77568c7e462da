//! A call, with what it is about: the number of an object is counted round among those that there are.

use libfuzzer_sys::arbitrary::{self, Arbitrary};

/// One of the objects of a kind.
pub type Which = u8;

/// Pages, of 4 KiB, of memory or of addresses.
#[derive(Arbitrary, Debug, Clone, Copy)]
pub struct Pages {
    /// The first, of 32.
    pub first: u8,
    /// How many, up to 16.
    pub count: u8,
    /// How far into the page it begins, in units of the smallest page of the mock's, or of a byte.
    pub shift: u8,
}

/// What a device or PASID is attached to.
#[derive(Arbitrary, Debug, Clone, Copy)]
pub enum To {
    /// An address space.
    Ioas(Which),
    /// A page table.
    HwPt(Which),
    /// A parent.
    Parent(Which),
    /// A table nested on its parent.
    Nested(Which),
    /// A table nested through a virtual IOMMU, for a virtual device.
    Through(Which, Which),
}

/// One call of the SDK's, or of what plays a device.
#[derive(Arbitrary, Debug, Clone, Copy)]
#[expect(missing_docs, reason = "each is named as the function that it calls")]
pub enum Call {
    Device {
        pasids: bool,
        dirty: bool,
    },
    Ioas {
        huge: bool,
    },
    Memory {
        pages: u8,
    },
    Map {
        ioas: Which,
        memory: Which,
        slice: Pages,
        writable: bool,
    },
    MapAt {
        ioas: Which,
        memory: Which,
        slice: Pages,
        at: Pages,
        writable: bool,
    },
    MapFile {
        ioas: Which,
        at: Pages,
        writable: bool,
    },
    Copy {
        from: Which,
        to: Which,
        slice: Pages,
        writable: bool,
    },
    CopyAt {
        from: Which,
        to: Which,
        slice: Pages,
        at: Pages,
    },
    Unmap {
        mapping: Which,
    },
    UnmapRange {
        ioas: Which,
        at: Pages,
    },
    UnmapAll {
        ioas: Which,
    },
    Allow {
        ioas: Which,
        at: Pages,
    },
    Ranges {
        ioas: Which,
    },
    HwPt {
        ioas: Which,
        device: Which,
        pasid: bool,
        dirty: bool,
        faults: bool,
        queue: Which,
    },
    Parent {
        ioas: Which,
        device: Which,
        pasid: bool,
        dirty: bool,
    },
    Nested {
        parent: Which,
        device: Which,
        pasid: bool,
        faults: bool,
        queue: Which,
    },
    NestedThrough {
        viommu: Which,
        device: Which,
        faults: bool,
        queue: Which,
    },
    Invalidate {
        nested: Which,
        entry: u8,
        all: bool,
    },
    InvalidateThrough {
        viommu: Which,
        number: u8,
        entry: u8,
        all: bool,
    },
    Viommu {
        parent: Which,
        device: Which,
    },
    VDevice {
        viommu: Which,
        device: Which,
        number: u8,
    },
    Events {
        viommu: Which,
        depth: u8,
    },
    ReadEvents {
        queue: Which,
    },
    HwQueue {
        viommu: Which,
        at: Pages,
    },
    HwQueueAfter {
        queue: Which,
        at: Pages,
    },
    Attach {
        device: Which,
        to: To,
    },
    Replace {
        attachment: Which,
        to: To,
    },
    Detach {
        attachment: Which,
    },
    AttachPasid {
        device: Which,
        pasid: u8,
        to: To,
    },
    ReplacePasid {
        attachment: Which,
        to: To,
    },
    DetachPasid {
        attachment: Which,
    },
    AllocatePasid {
        device: Which,
        to: To,
    },
    FaultQueue,
    ReadFaults {
        queue: Which,
    },
    Respond {
        group: Which,
        success: bool,
    },
    Track {
        of: Which,
        parent: bool,
    },
    ReadDirty {
        tracking: Which,
        at: Pages,
        clear: bool,
    },
    UnmapReadingDirty {
        mapping: Which,
    },
    UnmapRangeReadingDirty {
        ioas: Which,
        at: Pages,
    },
    StopTracking {
        tracking: Which,
    },
    HwInfo {
        device: Which,
        of_type: bool,
    },
    Compat {
        ioas: Which,
        /// Of the first type.
        type1: bool,
    },
    ClearCompat,
    ChangeProcess,
    // What plays a device, and a stranger.
    Ask {
        device: Which,
        pasid: u8,
        group: u8,
        page: u8,
    },
    MakeEvent {
        device: Which,
    },
    Access {
        ioas: Which,
        pins: bool,
    },
    ReadAccess {
        access: Which,
        at: Pages,
        slowly: bool,
    },
    WriteAccess {
        access: Which,
        at: Pages,
        slowly: bool,
    },
    Pin {
        access: Which,
        at: Pages,
    },
    MoveAccess {
        access: Which,
        ioas: Which,
    },
    SetDirty {
        of: Which,
        at: Pages,
    },
    RefuseAttach {
        device: Which,
        refuse: bool,
    },
    ContainerMap {
        at: Pages,
    },
    ContainerUnmap {
        at: Pages,
    },
    /// Cuts off pages of a mapping, and may map others over that edge.
    ContainerCut {
        mapping: Which,
        pages: u8,
        end: bool,
        over: bool,
    },
    // The ends.
    Drop {
        kind: u8,
        which: Which,
    },
    Destroy {
        kind: u8,
        which: Which,
    },
}
