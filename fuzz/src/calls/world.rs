//! All that the calls have made.

mod devices;
mod strangers;
mod tables;

use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use iommufd::{
    Access, Attachment, DirtyTracking, DmaMemory, DmaSlice, FaultQueue, FileRange, HwPt, HwQueue,
    Ioas, Iommufd, IovaRange, Leaks, Mapping, NestParent, NestedHwPt, PageRequestGroup,
    PasidAttachment, VDevice, VEventQueue, Viommu,
};
use tests::memory::{Living, Memory};
use tests::mock::nesting::{MockEvent, MockViommu, OnParent, OnViommu};
use tests::mock::{self, MockAccess, MockDevice, MockOptions, Pin, abi, check_pins};
use tests::raw;

use super::call::{Call, Pages, Which};
use super::places::{PAGE, access, bytes, range, start};
use super::pool::{Pool, explained, noted};
use super::{judged, stranger};

/// An access, with the address space that it keeps from being destroyed.
struct Accessed {
    pins: Vec<Pin>,
    access: MockAccess,
    ioas: Ioas,
}

/// All that there is. What is behind something else is dropped after it only at the end: before, in any order.
pub(super) struct World {
    living: Living,
    memories: Pool<Arc<Memory>>,
    files: [File; 2],
    accesses: Pool<Accessed>,
    devices: Pool<MockDevice>,
    spaces: Pool<Ioas>,
    mappings: Pool<Mapping>,
    tables: Pool<HwPt>,
    parents: Pool<NestParent>,
    nested: Pool<NestedHwPt<OnParent>>,
    through: Pool<NestedHwPt<OnViommu>>,
    viommus: Pool<Viommu<MockViommu>>,
    vdevices: Pool<VDevice<MockViommu>>,
    events: Pool<VEventQueue<MockEvent>>,
    hw_queues: Pool<HwQueue<MockViommu>>,
    attachments: Pool<Attachment>,
    pasids: Pool<PasidAttachment>,
    queues: Pool<FaultQueue>,
    groups: Pool<PageRequestGroup>,
    tracking: Pool<DirtyTracking>,
    /// Whether somebody else has mapped or unmapped something: then memory may be held for longer than need be.
    has_stranger: bool,
    /// Last, to look at what is left when all else is gone.
    iommufd: Iommufd,
}

impl World {
    pub(super) fn new() -> Self {
        let iommufd = Iommufd::open().unwrap();
        let space = Ioas::new(&iommufd).unwrap();
        let device = MockDevice::new(&iommufd).unwrap();
        Self {
            living: Living::new(),
            memories: Pool::new(),
            files: [16, 1].map(|pages| tests::file::memfd(pages * PAGE as usize)),
            accesses: Pool::new(),
            devices: Pool::of(device),
            spaces: Pool::of(space),
            mappings: Pool::new(),
            tables: Pool::new(),
            parents: Pool::new(),
            nested: Pool::new(),
            through: Pool::new(),
            viommus: Pool::new(),
            vdevices: Pool::new(),
            events: Pool::new(),
            hw_queues: Pool::new(),
            attachments: Pool::new(),
            pasids: Pool::new(),
            queues: Pool::new(),
            groups: Pool::new(),
            tracking: Pool::new(),
            has_stranger: false,
            iommufd,
        }
    }

    /// Makes a call. Where what it is about is not there, nothing.
    pub(super) fn make(&mut self, call: Call) {
        let _done = self.try_make(call);
    }

    fn try_make(&mut self, call: Call) -> Option<()> {
        match call {
            Call::Device { pasids, dirty } => {
                let flags = if pasids { abi::DEVICE_PASID } else { 0 }
                    | if dirty { 0 } else { abi::DEVICE_NO_DIRTY };
                let options = MockOptions {
                    flags,
                    ..MockOptions::default()
                };
                self.devices
                    .put(MockDevice::with(&self.iommufd, options).unwrap());
            }
            Call::Ioas { huge } => {
                let made = Ioas::builder(&self.iommufd).huge_pages(huge).allocate();
                self.spaces.keep(made);
            }
            Call::Memory { pages } => {
                let len = usize::from(pages % 16 + 1) * PAGE as usize;
                self.memories.put(judged::memory(&self.living, len));
            }
            Call::Map {
                ioas,
                memory,
                slice,
                writable,
            } => {
                let slice = self.slice(memory, slice)?;
                let made = self.spaces.get(ioas)?.map(slice, access(writable));
                self.mappings.keep(made);
            }
            Call::MapAt {
                ioas,
                memory,
                slice,
                at,
                writable,
            } => {
                let slice = self.slice(memory, slice)?;
                let made = self
                    .spaces
                    .get(ioas)?
                    .map_at(start(at), slice, access(writable));
                self.mappings.keep(made);
            }
            Call::MapFile { ioas, at, writable } => {
                let file = &self.files[usize::from(at.shift & 1)];
                let range = FileRange::new(file, bytes(at));
                let made = self
                    .spaces
                    .get(ioas)?
                    .map_file_at(start(at), range, access(writable));
                self.mappings.keep(made);
            }
            Call::Copy {
                from,
                to,
                slice,
                writable,
            } => {
                let source = noted(self.mappings.get(from)?.slice(bytes(slice)))?;
                let made = self.spaces.get(to)?.copy(source, access(writable));
                self.mappings.keep(made);
            }
            Call::CopyAt {
                from,
                to,
                slice,
                at,
            } => {
                let source = noted(self.mappings.get(from)?.slice(bytes(slice)))?;
                let made = self
                    .spaces
                    .get(to)?
                    .copy_at(start(at), source, Access::Read);
                self.mappings.keep(made);
            }
            Call::Unmap { mapping } => {
                let done = self.mappings.take(mapping)?.unmap();
                self.mappings.back(done);
            }
            Call::UnmapRange { ioas, at } => {
                let _bytes = noted(self.spaces.get(ioas)?.unmap_range(range(at)?))?;
            }
            Call::UnmapAll { ioas } => {
                let _bytes = noted(self.spaces.get(ioas)?.unmap_all())?;
            }
            Call::Allow { ioas, at } => {
                // The addresses around it, or nearly nothing could be mapped any more.
                let around = IovaRange::with_len(start(at), PAGE * 256)?;
                noted(self.spaces.get(ioas)?.allow_iovas(&[around]))?;
            }
            Call::Ranges { ioas } => {
                let ranges = noted(self.spaces.get(ioas)?.iova_ranges())?;
                assert!(ranges.alignment().is_power_of_two());
            }
            Call::Compat { ioas, type1 } => {
                noted(self.iommufd.set_compat_ioas(self.spaces.get(ioas)?))?;
                if type1 {
                    stranger::chooses_type1(&self.iommufd);
                }
            }
            Call::ClearCompat => noted(self.iommufd.clear_compat_ioas())?,
            Call::ChangeProcess => noted(self.iommufd.change_process())?,
            Call::Viommu { .. }
            | Call::VDevice { .. }
            | Call::Events { .. }
            | Call::ReadEvents { .. }
            | Call::HwQueue { .. }
            | Call::HwQueueAfter { .. }
            | Call::HwPt { .. }
            | Call::Parent { .. }
            | Call::Nested { .. }
            | Call::NestedThrough { .. }
            | Call::Invalidate { .. }
            | Call::InvalidateThrough { .. } => self.make_table(call)?,
            Call::Drop { kind, which } => self.drop_one(kind, which),
            Call::Destroy { kind, which } => self.destroy_one(kind, which)?,
            _ => self.use_device(call)?,
        }
        Some(())
    }

    fn slice(&self, memory: Which, slice: Pages) -> Option<DmaSlice> {
        let memory = self.memories.get(memory)?;
        let Range { start, end } = bytes(slice);
        noted(DmaSlice::new(memory, start as usize..end as usize))
    }

    fn drop_one(&mut self, kind: u8, which: Which) {
        match kind % 17 {
            0 => drop(self.memories.take(which)),
            1 => drop(self.accesses.take(which)),
            2 => drop(self.devices.take(which)),
            3 => drop(self.spaces.take(which)),
            4 => drop(self.mappings.take(which)),
            5 => drop(self.tables.take(which)),
            6 => drop(self.parents.take(which)),
            7 => drop(self.nested.take(which)),
            8 => drop(self.through.take(which)),
            9 => drop(self.viommus.take(which)),
            10 => drop(self.vdevices.take(which)),
            11 => drop(self.events.take(which)),
            12 => drop(self.hw_queues.take(which)),
            13 => drop(self.attachments.take(which)),
            14 => drop(self.pasids.take(which)),
            15 => drop(self.queues.take(which)),
            _ => drop(self.groups.take(which)),
        }
    }

    fn destroy_one(&mut self, kind: u8, which: Which) -> Option<()> {
        macro_rules! destroy {
            ($pool:ident) => {{
                let done = self.$pool.take(which)?.try_destroy();
                self.$pool.back(done);
            }};
        }
        match kind % 10 {
            0 => destroy!(spaces),
            1 => destroy!(tables),
            2 => destroy!(parents),
            3 => destroy!(nested),
            4 => destroy!(through),
            5 => destroy!(viommus),
            6 => destroy!(vdevices),
            7 => destroy!(hw_queues),
            8 => match self.events.take(which)?.try_close() {
                Ok(closed) => closed
                    .try_destroy()
                    .map_err(|refused| explained(refused.error()))
                    .ok()?,
                Err(refused) => self.events.back(Err(refused)),
            },
            _ => match self.queues.take(which)?.try_close() {
                Ok(closed) => closed
                    .try_destroy()
                    .map_err(|refused| explained(refused.error()))
                    .ok()?,
                Err(refused) => self.queues.back(Err(refused)),
            },
        }
        Some(())
    }

    /// Drops all that is left, and looks for what was not let go of.
    pub(super) fn end(self) {
        let Self {
            living,
            memories,
            iommufd,
            accesses,
            devices,
            spaces,
            mappings,
            tables,
            parents,
            nested,
            through,
            viommus,
            vdevices,
            events,
            hw_queues,
            attachments,
            pasids,
            queues,
            groups,
            tracking,
            files,
            has_stranger,
        } = self;
        // A stranger's, which keep an address space from being destroyed.
        drop(accesses);
        drop((
            devices, spaces, mappings, tables, parents, nested, through, viommus, vdevices,
        ));
        drop((
            events,
            hw_queues,
            attachments,
            pasids,
            queues,
            groups,
            tracking,
            files,
        ));
        assert!(
            has_stranger || iommufd.leaks() == Leaks::default(),
            "{:?}",
            iommufd.leaks()
        );
        assert_eq!(raw::objects(&iommufd), 0, "objects are left");
        assert_eq!(mock::devices(), 0, "devices are left");
        for memory in memories.iter() {
            assert!(
                has_stranger || Arc::strong_count(memory) == 1,
                "memory is held"
            );
            let pins = check_pins(&iommufd, DmaMemory::bytes(&**memory), 0);
            assert_eq!(pins, Ok(()), "memory is pinned");
        }
        drop(memories);
        assert!(has_stranger || living.count() == 0, "memory is lost");
    }
}
