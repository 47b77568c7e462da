//! What a device does, and what strangers do who have the same file.

use iommufd::Permissions;
use tests::ids;
use tests::mock::{APERTURE, MockAccess, set_dirty, trigger_iopf, trigger_vevent};

use super::{Accessed, World};
use crate::calls::call::Call;
use crate::calls::places::{PAGE, range, start};
use crate::calls::stranger;

impl World {
    /// What a device does, or a stranger who has the same file. The kernel's refusals are theirs.
    pub(super) fn play(&mut self, call: Call) -> Option<()> {
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
}
