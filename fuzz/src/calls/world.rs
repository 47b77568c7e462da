//! All that the calls have made.

use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use iommufd::{
    Access, Attachment, DirtyBitmap, DirtyTracking, DmaSlice, Error, FaultQueue, FileRange,
    Granule, HwInfoType, HwPt, HwQueue, Ioas, Iommufd, Iova, IovaRange, Leaks, Mapping, NestParent,
    NestedHwPt, PageRequestGroup, PageResponse, Pasid, PasidAttachment, Permissions, Refused,
    Target, VDevice, VEventQueue, Viommu,
};
use tests::ids;
use tests::memory::{Living, Memory};
use tests::mock::nesting::{
    CONFIG, DeviceInvalidation, MockEvent, MockViommu, OnParent, OnViommu, TableInvalidation,
    VirtualNumber,
};
use tests::mock::{
    self, APERTURE, MockAccess, MockDevice, MockOptions, Pin, abi, check_pins, hw_info_type,
    set_dirty, trigger_iopf, trigger_vevent,
};
use tests::raw;

use super::call::{Call, Pages, To, Which};
use super::{judged, stranger};

const PAGE: u64 = 4096;

/// What there is of one kind.
struct Pool<T>(Vec<T>);

impl<T> Pool<T> {
    /// So many of each kind are enough to get in each other's way.
    const MOST: usize = 6;

    const fn new() -> Self {
        Self(Vec::new())
    }

    fn get(&self, which: Which) -> Option<&T> {
        self.0.get(usize::from(which).checked_rem(self.0.len())?)
    }

    fn get_mut(&mut self, which: Which) -> Option<&mut T> {
        let at = usize::from(which).checked_rem(self.0.len())?;
        self.0.get_mut(at)
    }

    fn take(&mut self, which: Which) -> Option<T> {
        let at = usize::from(which).checked_rem(self.0.len())?;
        Some(self.0.swap_remove(at))
    }

    /// Keeps what was made. Where there is no more room it is dropped.
    fn put(&mut self, made: T) {
        if self.0.len() < Self::MOST {
            self.0.push(made);
        }
    }

    /// Keeps what was made, if it was.
    fn keep(&mut self, made: iommufd::Result<T>) {
        if let Some(made) = noted(made) {
            self.put(made);
        }
    }

    /// Keeps what could not be let go of.
    fn back<E>(&mut self, done: Result<(), Refused<T, E>>)
    where
        E: Into<Error>,
    {
        if let Err(refused) = done {
            let (value, error) = refused.into_parts();
            explained(&error.into());
            self.0.push(value);
        }
    }
}

/// What was answered. A refusal says why.
fn noted<T>(answer: iommufd::Result<T>) -> Option<T> {
    answer.inspect_err(explained).ok()
}

fn explained(error: &Error) {
    let text = error.to_string();
    assert!(!text.contains("not a documented"), "{text}");
}

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
            devices: Pool(vec![device]),
            spaces: Pool(vec![space]),
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

    fn make_table(&mut self, call: Call) -> Option<()> {
        match call {
            Call::HwPt {
                ioas,
                device,
                pasid,
                dirty,
                faults,
                queue,
            } => {
                let (ioas, device) = (self.spaces.get(ioas)?, self.devices.get(device)?);
                let mut builder = HwPt::builder(ioas, device)
                    .pasid(pasid)
                    .dirty_tracking(dirty);
                if let Some(queue) = self.queues.get(queue).filter(|_| faults) {
                    builder = builder.fault_queue(queue);
                }
                self.tables.keep(builder.allocate());
            }
            Call::Parent {
                ioas,
                device,
                pasid,
                dirty,
            } => {
                let (ioas, device) = (self.spaces.get(ioas)?, self.devices.get(device)?);
                let builder = NestParent::builder(ioas, device)
                    .pasid(pasid)
                    .dirty_tracking(dirty);
                self.parents.keep(builder.allocate());
            }
            Call::Nested {
                parent,
                device,
                pasid,
                faults,
                queue,
            } => {
                let (parent, device) = (self.parents.get(parent)?, self.devices.get(device)?);
                let mut builder =
                    NestedHwPt::<OnParent>::builder(parent, device, &CONFIG).pasid(pasid);
                if let Some(queue) = self.queues.get(queue).filter(|_| faults) {
                    builder = builder.fault_queue(queue);
                }
                self.nested.keep(builder.allocate());
            }
            Call::NestedThrough {
                viommu,
                device,
                faults,
                queue,
            } => {
                let (viommu, device) = (self.viommus.get(viommu)?, self.devices.get(device)?);
                let mut builder = NestedHwPt::<OnViommu>::builder(viommu, device, &CONFIG);
                if let Some(queue) = self.queues.get(queue).filter(|_| faults) {
                    builder = builder.fault_queue(queue);
                }
                self.through.keep(builder.allocate());
            }
            Call::Invalidate { nested, entry, all } => {
                let mut one = TableInvalidation::of(u32::from(entry % 6));
                one.flags = u32::from(all);
                let commands = [one, TableInvalidation::of(0)];
                noted(self.nested.get(nested)?.invalidate(&commands))?;
            }
            Call::InvalidateThrough {
                viommu,
                number,
                entry,
                all,
            } => {
                let mut one = DeviceInvalidation::of(u32::from(number % 4), u32::from(entry % 6));
                one.flags = u32::from(all);
                noted(self.viommus.get(viommu)?.invalidate(&[one, one]))?;
            }
            Call::Viommu { parent, device } => {
                let made = Viommu::new(self.parents.get(parent)?, self.devices.get(device)?);
                self.viommus.keep(made);
            }
            Call::VDevice {
                viommu,
                device,
                number,
            } => {
                let number = VirtualNumber(u64::from(number % 4));
                let made =
                    VDevice::new(self.viommus.get(viommu)?, self.devices.get(device)?, number);
                self.vdevices.keep(made);
            }
            Call::Events { viommu, depth } => {
                let made = VEventQueue::new(self.viommus.get(viommu)?, u32::from(depth % 4));
                self.events.keep(made);
            }
            Call::ReadEvents { queue } => drop(noted(self.events.get_mut(queue)?.read())),
            Call::HwQueue { viommu, at } => {
                let made = HwQueue::first(self.viommus.get(viommu)?, range(at)?);
                self.hw_queues.keep(made);
            }
            Call::HwQueueAfter { queue, at } => {
                let made = HwQueue::after(self.hw_queues.get(queue)?, range(at)?);
                self.hw_queues.keep(made);
            }
            _ => {}
        }
        Some(())
    }

    fn use_device(&mut self, call: Call) -> Option<()> {
        match call {
            Call::Attach { device, to } => {
                let target = self.target(to)?;
                let made = self.devices.get(device)?.attach(target);
                self.attachments.keep(made);
            }
            Call::Replace { attachment, to } => {
                let target = self.target(to)?;
                noted(self.attachments.get_mut(attachment)?.replace(target))?;
            }
            Call::Detach { attachment } => {
                let done = self.attachments.take(attachment)?.detach();
                self.attachments.back(done);
            }
            Call::AttachPasid { device, pasid, to } => {
                let (device, pasid) = (self.devices.get(device)?, pasid_of(pasid)?);
                let made = match to {
                    To::Ioas(which) | To::HwPt(which) => {
                        device.attach_pasid(pasid, self.tables.get(which)?)
                    }
                    To::Parent(which) => device.attach_pasid(pasid, self.parents.get(which)?),
                    To::Nested(which) | To::Through(which, _) => {
                        device.attach_pasid(pasid, self.nested.get(which)?)
                    }
                };
                self.pasids.keep(made);
            }
            Call::ReplacePasid { attachment, to } => {
                let attachment = self.pasids.get_mut(attachment)?;
                noted(match to {
                    To::Parent(which) => attachment.replace(self.parents.get(which)?),
                    To::Nested(which) => attachment.replace(self.nested.get(which)?),
                    To::Ioas(which) | To::HwPt(which) | To::Through(which, _) => {
                        attachment.replace(self.tables.get(which)?)
                    }
                })?;
            }
            Call::DetachPasid { attachment } => {
                let done = self.pasids.take(attachment)?.detach();
                self.pasids.back(done);
            }
            Call::AllocatePasid { device, to } => {
                let pasid = noted(self.devices.get(device)?.pasids().allocate())?;
                let made = match to {
                    To::Parent(which) => pasid.attach(self.parents.get(which)?),
                    To::Nested(which) => pasid.attach(self.nested.get(which)?),
                    To::Ioas(which) | To::HwPt(which) | To::Through(which, _) => {
                        pasid.attach(self.tables.get(which)?)
                    }
                };
                self.pasids.keep(made.map_err(Refused::into_error));
            }
            Call::FaultQueue => self.queues.keep(FaultQueue::new(&self.iommufd)),
            Call::ReadFaults { queue } => {
                for group in noted(self.queues.get(queue)?.read())? {
                    assert!(!group.requests().is_empty());
                    self.groups.put(group);
                }
            }
            Call::Respond { group, success } => {
                let response = match success {
                    true => PageResponse::Success,
                    false => PageResponse::Invalid,
                };
                let done = self.groups.take(group)?.respond(response);
                self.groups.back(done);
            }
            Call::Track { of, parent } => {
                let made = match parent {
                    true => self.parents.get(of)?.track_dirty(),
                    false => self.tables.get(of)?.track_dirty(),
                };
                self.tracking.keep(made);
            }
            Call::ReadDirty {
                tracking,
                at,
                clear,
            } => {
                let mut bitmap = noted(DirtyBitmap::new(range(at)?, Granule::KIB_4))?;
                let tracking = self.tracking.get(tracking)?;
                noted(match clear {
                    true => tracking.read_and_clear(&mut bitmap),
                    false => tracking.read(&mut bitmap),
                })?;
                assert!(bitmap.count() <= u64::from(at.count) + 2);
            }
            Call::UnmapReadingDirty { mapping } => {
                let mapping = self.mappings.take(mapping)?;
                let bitmap = DirtyBitmap::new(mapping.range(), Granule::KIB_4);
                let done = mapping.unmap_reading_dirty(&mut noted(bitmap)?);
                self.mappings.back(done);
            }
            Call::UnmapRangeReadingDirty { ioas, at } => {
                let mut bitmap = noted(DirtyBitmap::new(range(at)?, Granule::KIB_4))?;
                let ioas = self.spaces.get(ioas)?;
                noted(ioas.unmap_range_reading_dirty(range(at)?, &mut bitmap))?;
            }
            Call::StopTracking { tracking } => {
                let done = self.tracking.take(tracking)?.stop();
                self.tracking.back(done);
            }
            Call::HwInfo { device, of_type } => {
                let device = self.devices.get(device)?;
                let kind = if of_type {
                    hw_info_type()
                } else {
                    HwInfoType::VTD
                };
                drop(noted(device.hw_info_of(kind)));
                drop(noted(device.hw_info())?);
            }
            Call::Compat { ioas, type1 } => {
                noted(self.iommufd.set_compat_ioas(self.spaces.get(ioas)?))?;
                if type1 {
                    stranger::chooses_type1(&self.iommufd);
                }
            }
            Call::ClearCompat => noted(self.iommufd.clear_compat_ioas())?,
            Call::ChangeProcess => noted(self.iommufd.change_process())?,
            _ => self.play(call)?,
        }
        Some(())
    }

    /// What a device does, or a stranger who has the same file. The kernel's refusals are theirs.
    fn play(&mut self, call: Call) -> Option<()> {
        match call {
            Call::Ask {
                device,
                pasid,
                group,
                page,
            } => {
                let id = self.devices.get(device)?.id();
                let (pasid, group) = (u32::from(pasid % 4), u32::from(group % 4));
                let address = APERTURE.0 + u64::from(page % 32) * PAGE;
                let permissions = Permissions::READ.bits();
                trigger_iopf(&self.iommufd, id, pasid, group, permissions, address).ok()?;
            }
            Call::MakeEvent { device } => {
                trigger_vevent(&self.iommufd, self.devices.get(device)?.id()).ok()?;
            }
            Call::Access { ioas, pins } => {
                let ioas = self.spaces.get(ioas)?.clone();
                let made = match pins {
                    true => MockAccess::pinning(&ioas),
                    false => MockAccess::new(&ioas),
                };
                let access = made.ok()?;
                self.accesses.put(Accessed {
                    pins: Vec::new(),
                    access,
                    ioas,
                });
            }
            Call::ReadAccess { access, at, slowly } => {
                let access = &self.accesses.get(access)?.access;
                let mut out = vec![0; usize::from(at.count) * 16];
                match slowly {
                    true => access.read_slowly(start(at), &mut out),
                    false => access.read(start(at), &mut out),
                }
                .ok()?;
            }
            Call::WriteAccess { access, at, slowly } => {
                let access = &self.accesses.get(access)?.access;
                let bytes = vec![at.first; usize::from(at.count) * 16];
                match slowly {
                    true => access.write_slowly(start(at), &bytes),
                    false => access.write(start(at), &bytes),
                }
                .ok()?;
            }
            Call::Pin { access, at } => {
                let accessed = self.accesses.get_mut(access)?;
                let pin = accessed
                    .access
                    .pin(start(at), u64::from(at.count % 4 + 1) * PAGE);
                accessed.pins.push(pin.ok()?);
            }
            Call::MoveAccess { access, ioas } => {
                let ioas = self.spaces.get(ioas)?.clone();
                let accessed = self.accesses.get_mut(access)?;
                accessed.access.replace(&ioas).ok()?;
                accessed.ioas = ioas;
            }
            Call::SetDirty { of, at } => {
                let table = ids::of(self.tables.get(of)?);
                let at = (
                    start(at).get() & !(PAGE - 1),
                    u64::from(at.count % 16 + 1) * PAGE,
                );
                set_dirty(&self.iommufd, table, at, PAGE, &[0xa5a5]).ok()?;
            }
            Call::ContainerMap { at } => {
                self.has_stranger = true;
                stranger::maps(&self.iommufd, start(at));
            }
            Call::ContainerUnmap { at } => {
                self.has_stranger = true;
                stranger::unmaps(&self.iommufd, range(at)?);
            }
            Call::ContainerCut {
                mapping,
                pages,
                end,
                over,
            } => {
                self.has_stranger = true;
                let range = self.mappings.get(mapping)?.range();
                stranger::cuts(&self.iommufd, range, u64::from(pages % 4 + 1), end, over);
            }
            Call::RefuseAttach { device, refuse } => {
                self.devices.get(device)?.refuse_attach(refuse)
            }
            _ => {}
        }
        Some(())
    }

    fn slice(&self, memory: Which, slice: Pages) -> Option<DmaSlice> {
        let memory = self.memories.get(memory)?;
        let Range { start, end } = bytes(slice);
        noted(DmaSlice::new(memory, start as usize..end as usize))
    }

    fn target(&self, to: To) -> Option<Target> {
        Some(match to {
            To::Ioas(which) => self.spaces.get(which)?.into(),
            To::HwPt(which) => self.tables.get(which)?.into(),
            To::Parent(which) => self.parents.get(which)?.into(),
            To::Nested(which) => self.nested.get(which)?.into(),
            To::Through(which, vdevice) => {
                let table = self.through.get(which)?;
                self.vdevices.get(vdevice)?.through(table, ())
            }
        })
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
        for memory in &memories.0 {
            assert!(
                has_stranger || Arc::strong_count(memory) == 1,
                "memory is held"
            );
            let pins = check_pins(&iommufd, iommufd::DmaMemory::bytes(&**memory), 0);
            assert_eq!(pins, Ok(()), "memory is pinned");
        }
        drop(memories);
        assert!(has_stranger || living.count() == 0, "memory is lost");
    }
}

fn access(writable: bool) -> Access {
    match writable {
        true => Access::ReadWrite,
        false => Access::Read,
    }
}

/// Where it begins among the device's addresses. Some are not aligned to anything.
fn start(at: Pages) -> Iova {
    let shift = match at.shift {
        0..0xc0 => 0,
        0xc0..0xf0 => mock::PAGE,
        odd => u64::from(odd),
    };
    Iova::new(APERTURE.0 + u64::from(at.first % 32) * PAGE + shift)
}

fn range(at: Pages) -> Option<IovaRange> {
    IovaRange::with_len(
        start(at),
        u64::from(at.count % 16) * PAGE + u64::from(at.shift == 0xff),
    )
}

/// Which bytes of something.
fn bytes(at: Pages) -> Range<u64> {
    let start = u64::from(at.first % 16) * PAGE + if at.shift == 0xfe { mock::PAGE } else { 0 };
    start..start + u64::from(at.count % 16) * PAGE + u64::from(at.shift == 0xfd)
}

fn pasid_of(number: u8) -> Option<Pasid> {
    Pasid::new(u32::from(number % 4))
}
