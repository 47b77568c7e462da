//! Calls about devices: what they are attached to, what they ask, what they have written.

use iommufd::{DirtyBitmap, FaultQueue, Granule, HwInfoType, PageResponse, Refused, Target};
use tests::mock::hw_info_type;

use super::World;
use crate::calls::call::{Call, To};
use crate::calls::places::{pasid_of, range};
use crate::calls::pool::noted;

impl World {
    pub(super) fn use_device(&mut self, call: Call) -> Option<()> {
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
            _ => self.play(call)?,
        }
        Some(())
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
}
