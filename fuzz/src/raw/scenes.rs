//! More that takes several steps in a row: memory of other processes, of large pages, and in several tables.

use std::os::fd::AsRawFd;

use iommufd_sys::ioctl::iommufd as nr;
use iommufd_sys::ioctl::{Ioctl, SizedArg, write_size};
use iommufd_sys::iommufd as sys;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::io::Errno;
use tests::mock::abi::{self, op};
use zerocopy::IntoBytes;

use super::program::{FileKind, Kind, Program};
use super::stranger::Stranger;

/// A large page.
const LARGE: u64 = 2 << 20;
/// Where large pages are mapped.
const AT: u64 = 0x0200_0000;

const READ_WRITE: u32 =
    sys::IOMMU_IOAS_MAP_FIXED_IOVA | sys::IOMMU_IOAS_MAP_WRITEABLE | sys::IOMMU_IOAS_MAP_READABLE;

impl Program<'_> {
    /// One of them.
    pub(super) fn longer_scene(&mut self) {
        let _played = match self.byte() % 10 {
            0 | 1 => self.stranger_scene(),
            2 => self.process_scene(),
            3 | 4 => self.large_scene(),
            5 => self.cut_scene(),
            6 => self.nested_scene(),
            7 => self.pasid_scene(),
            _ => self.tables_scene(),
        };
    }

    /// Another process issues an ioctl, and ends at once or lives on.
    fn by_stranger<T: SizedArg>(&mut self, ioctl: &Ioctl<T>, arg: &mut T) {
        write_size(arg);
        let mut room = [0_u32; 64];
        room.as_mut_bytes()[..size_of::<T>()].copy_from_slice(arg.as_bytes());
        let lives = self.rarely(2);
        self.end_stranger();
        let file = self.iommufd.as_raw_fd();
        self.stranger = Stranger::issue(file, ioctl.request(), &mut room, lives);
        self.has_outlived |= !lives;
    }

    fn end_stranger(&mut self) {
        self.has_outlived |= self.stranger.take().is_some();
    }

    /// The memory of files comes over to this process: not from one that has ended, at which Linux warns
    /// (`docs/fuzzing.md`).
    pub(super) fn take_over(&mut self) -> Result<(), Errno> {
        if self.has_outlived {
            return Ok(());
        }
        self.issue(
            &nr::IOAS_CHANGE_PROCESS,
            &mut sys::iommu_ioas_change_process::sized(),
        )
    }

    /// The memory of files goes over to another process, which does as [`take_over`](Self::take_over).
    fn hand_over(&mut self) {
        self.end_stranger();
        if !self.has_outlived {
            let mut arg = sys::iommu_ioas_change_process::sized();
            self.by_stranger(&nr::IOAS_CHANGE_PROCESS, &mut arg);
        }
    }

    /// Memory of another process, which may be gone.
    fn stranger_scene(&mut self) -> Result<(), Errno> {
        let ioas = match self.rarely(2) {
            true => self.id(Kind::Ioas),
            false => self.space()?,
        };
        let (iova, length) = (self.iova(), u64::from(self.byte() % 16 + 1) * 4096);
        let mut arg = sys::iommu_ioas_map::sized();
        (arg.flags, arg.ioas_id) = (READ_WRITE, ioas);
        (arg.user_va, arg.iova, arg.length) = (self.address(), iova, length);
        self.by_stranger(&nr::IOAS_MAP, &mut arg);
        self.mapped(iova, length);
        for _ in 0..self.byte() % 4 {
            self.use_space(ioas)?;
        }
        Ok(())
    }

    /// The memory of files goes over to another process, and comes back.
    fn process_scene(&mut self) -> Result<(), Errno> {
        for ioas in self.all(Kind::Ioas) {
            let _unmapped = self.unmap_at(ioas, 0, u64::MAX);
        }
        let ioas = self.id(Kind::Ioas);
        self.memory_file();
        for _ in 0..=self.byte() % 3 {
            let (iova, length) = (self.iova() & !4095, u64::from(self.byte() % 8 + 1) * 4096);
            let _mapped = self.map_file_at(ioas, iova, 0, length);
        }
        let _used = self.use_space(ioas);
        self.hand_over();
        if self.rarely(2) {
            self.use_space(ioas)?;
        }
        self.take_over()
    }

    /// Memory of large pages.
    fn large_scene(&mut self) -> Result<(), Errno> {
        let pages = u64::from(self.byte() % 2 + 1);
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::HUGETLB | MemfdFlags::HUGE_2MB;
        let file = memfd_create("fuzz", flags)?;
        ftruncate(&file, pages * LARGE)?;
        self.files.retain(|(kind, _)| *kind != FileKind::Memory);
        self.has(FileKind::Memory, file);
        let ioas = match self.rarely(3) {
            true => self.id(Kind::Ioas),
            false => self.space()?,
        };
        let start = match self.byte() {
            0..0x80 => 0,
            0x80..0xc0 => u64::from(self.byte()) * 4096,
            _ => LARGE - 4096,
        };
        let length = match self.byte() {
            0..0x60 => pages * LARGE - start,
            0x60..0xc0 => u64::from(self.byte() % 64 + 1) * 4096,
            _ => LARGE / 2 + u64::from(self.byte()) * 2048,
        };
        let iova = AT + u64::from(self.byte() % 4) * LARGE + start % LARGE;
        self.map_file_at(ioas, iova, start, length)?;
        for _ in 0..=self.byte() % 4 {
            self.use_space(ioas)?;
        }
        Ok(())
    }

    /// Several tables of one address space, of which some go before the others.
    fn tables_scene(&mut self) -> Result<(), Errno> {
        let ioas = self.space()?;
        let (iova, length) = (self.iova() & !4095, u64::from(self.byte() % 32 + 1) * 4096);
        self.map_fixed(ioas, iova, length)?;
        let mut tables = Vec::new();
        for _ in 0..=self.byte() % 3 {
            tables.push(self.table_of(ioas)?);
        }
        for _ in 0..=self.byte() % 4 {
            self.use_space(ioas)?;
        }
        if self.rarely(2) {
            tables.reverse();
        }
        for id in tables {
            let _destroyed = self.destroy_object(id);
            if self.rarely(2) {
                self.use_space(ioas)?;
            }
        }
        Ok(())
    }

    /// What an older container's user maps, and unmaps in parts.
    fn cut_scene(&mut self) -> Result<(), Errno> {
        let ioas = self.space()?;
        let mut arg = sys::iommu_vfio_ioas::sized();
        (arg.ioas_id, arg.op) = (ioas, sys::IOMMU_VFIO_IOAS_SET as u16);
        self.issue(&nr::VFIO_IOAS, &mut arg)?;
        // `VFIO_TYPE1_IOMMU`: before anything is mapped.
        self.set_iommu(1);
        if self.rarely(2) {
            let standing = self.id(Kind::Standing);
            let _moved = self.move_to(standing, ioas);
        }
        let (iova, pages) = (self.iova() & !4095, u64::from(self.byte() % 16) + 3);
        self.map_fixed(ioas, iova, pages * 4096)?;
        if self.rarely(4) {
            self.use_space(ioas)?;
        }
        for _ in 0..=self.byte() % 3 {
            let first = u64::from(self.byte()) % pages;
            let count = u64::from(self.byte() % 4) + 1;
            let odd = if self.rarely(8) { 2048 } else { 0 };
            self.unmap_dma(0, iova.wrapping_add(first * 4096), count * 4096 + odd);
        }
        self.compat_ioctl();
        Ok(())
    }

    /// A table on its parent, without a virtual IOMMU, and a device there.
    fn nested_scene(&mut self) -> Result<(), Errno> {
        let mut arg = sys::iommu_hwpt_alloc::sized();
        (arg.flags, arg.dev_id) = (sys::IOMMU_HWPT_ALLOC_NEST_PARENT, self.id(Kind::Device));
        arg.pt_id = self.id(Kind::Ioas);
        self.issue(&nr::HWPT_ALLOC, &mut arg)?;
        self.made(Kind::Table, arg.out_hwpt_id);
        let mut nested = sys::iommu_hwpt_alloc::sized();
        (nested.dev_id, nested.pt_id) = (arg.dev_id, arg.out_hwpt_id);
        if self.rarely(3) {
            (nested.flags, nested.fault_id) =
                (sys::IOMMU_HWPT_FAULT_ID_VALID, self.id(Kind::FaultQueue));
        }
        self.arena.write(0, &[abi::IOTLB_DEFAULT, 0]);
        (nested.data_type, nested.data_len) = (abi::HWPT_DATA_SELFTEST, 8);
        nested.data_uptr = self.arena.at(0);
        self.issue(&nr::HWPT_ALLOC, &mut nested)?;
        self.made(Kind::Table, nested.out_hwpt_id);
        if self.rarely(2) {
            let standing = self.id(Kind::Standing);
            let _moved = self.move_to(standing, nested.out_hwpt_id);
        }
        for _ in 0..=self.byte() % 3 {
            let _done = self.invalidate_table(nested.out_hwpt_id);
        }
        self.destroy_object(nested.out_hwpt_id)
    }

    /// Forgets entries of a nested table: mostly as the mock driver wants to be told.
    fn invalidate_table(&mut self, table: u32) -> Result<(), Errno> {
        let mut arg = sys::iommu_hwpt_invalidate::sized();
        (arg.hwpt_id, arg.data_type) = (table, abi::TYPE_SELFTEST);
        (arg.entry_num, arg.entry_len) = (u32::from(self.byte() % 4), 8);
        for index in 0..u64::from(arg.entry_num) {
            let entry = [u32::from(self.byte() % 3), u32::from(self.byte() % 6)];
            self.arena.write(index * 8, &entry);
        }
        if self.rarely(8) {
            arg.entry_len = u32::from(self.byte() % 16);
        }
        if self.rarely(8) {
            arg.data_type = u32::from(self.byte() % 3);
        }
        arg.data_uptr = match self.rarely(8) {
            true => self.address(),
            false => self.arena.at(0),
        };
        self.issue(&nr::HWPT_INVALIDATE, &mut arg)
    }

    /// A device with several processes' tables.
    fn pasid_scene(&mut self) -> Result<(), Errno> {
        self.device(abi::DEVICE_PASID);
        let (Some(device), Some(standing)) = (
            self.all(Kind::Device).last().copied(),
            self.all(Kind::Standing).last().copied(),
        ) else {
            return Ok(());
        };
        let mut tables = [0; 2];
        for table in &mut tables {
            let mut arg = sys::iommu_hwpt_alloc::sized();
            arg.flags = match self.rarely(6) {
                true => 0,
                false => sys::IOMMU_HWPT_ALLOC_PASID,
            };
            if self.rarely(4) {
                arg.flags |= sys::IOMMU_HWPT_FAULT_ID_VALID;
                arg.fault_id = self.id(Kind::FaultQueue);
            }
            (arg.dev_id, arg.pt_id) = (device, self.id(Kind::Ioas));
            self.issue(&nr::HWPT_ALLOC, &mut arg)?;
            self.made(Kind::Table, arg.out_hwpt_id);
            *table = arg.out_hwpt_id;
        }
        let _moved = self.move_to(standing, tables[0]);
        let pasid = match self.rarely(3) {
            true => abi::PASID_FAILS_ONCE,
            false => u32::from(self.byte() % 3),
        };
        for _ in 0..=self.byte() % 5 {
            let table = tables[usize::from(self.byte() & 1)];
            let operation = match self.byte() % 8 {
                0..=2 => op::PASID_ATTACH,
                3..=5 => op::PASID_REPLACE,
                6 => op::PASID_CHECK_HWPT,
                _ => op::PASID_DETACH,
            };
            let _done = self.pasid_operation(operation, standing, pasid, table);
        }
        if self.rarely(2) {
            self.move_to(standing, tables[1])?;
        }
        self.pasid_operation(op::PASID_DETACH, standing, pasid, 0)
    }

    /// A new address space.
    pub(super) fn space(&mut self) -> Result<u32, Errno> {
        let mut arg = sys::iommu_ioas_alloc::sized();
        self.issue(&nr::IOAS_ALLOC, &mut arg)?;
        self.made(Kind::Ioas, arg.out_ioas_id);
        Ok(arg.out_ioas_id)
    }

    /// A table of an address space, into which all that is mapped there goes.
    fn table_of(&mut self, ioas: u32) -> Result<u32, Errno> {
        let mut arg = sys::iommu_hwpt_alloc::sized();
        (arg.dev_id, arg.pt_id) = (self.id(Kind::Device), ioas);
        if self.rarely(2) {
            arg.flags = sys::IOMMU_HWPT_ALLOC_DIRTY_TRACKING;
        }
        self.issue(&nr::HWPT_ALLOC, &mut arg)?;
        self.made(Kind::Table, arg.out_hwpt_id);
        Ok(arg.out_hwpt_id)
    }

    /// Maps memory of a file at an address.
    fn map_file_at(&mut self, ioas: u32, iova: u64, start: u64, length: u64) -> Result<(), Errno> {
        let mut arg = sys::iommu_ioas_map_file::sized();
        (arg.flags, arg.ioas_id) = (READ_WRITE, ioas);
        arg.fd = self.file(FileKind::Memory);
        (arg.start, arg.length, arg.iova) = (start, length, iova);
        self.issue(&nr::IOAS_MAP_FILE, &mut arg)?;
        self.mapped(iova, length);
        Ok(())
    }

    /// Unmaps what lies there.
    pub(super) fn unmap_at(&mut self, ioas: u32, iova: u64, length: u64) -> Result<(), Errno> {
        let mut arg = sys::iommu_ioas_unmap::sized();
        (arg.ioas_id, arg.iova, arg.length) = (ioas, iova, length);
        self.issue(&nr::IOAS_UNMAP, &mut arg)
    }

    /// Something that uses what is mapped in an address space. What was mapped last is a part of it.
    fn use_space(&mut self, ioas: u32) -> Result<(), Errno> {
        let (at, len) = match self.rarely(3) {
            true => self.areas.last().copied().unwrap_or_default(),
            false => self.area(),
        };
        match self.byte() % 8 {
            0 => {
                let access = self.access(ioas, 1)?;
                let _pinned = self.pin(access, at, len);
                self.pin(access, at.wrapping_add(4096), 4096)
            }
            1 | 2 => {
                let access = self.access(ioas, 0)?;
                let odd = at.wrapping_add(u64::from(self.byte()));
                let _used = self.use_access(access, odd, len);
                self.use_access(access, at, 16)
            }
            3 => self.table_of(ioas).map(drop),
            4 => {
                let standing = self.id(Kind::Standing);
                self.move_to(standing, ioas)
            }
            5 => {
                let mut arg = sys::iommu_ioas_copy::sized();
                arg.flags = READ_WRITE;
                (arg.src_ioas_id, arg.dst_ioas_id) = (ioas, self.id(Kind::Ioas));
                (arg.src_iova, arg.length) = (at, len);
                arg.dst_iova = self.iova();
                self.issue(&nr::IOAS_COPY, &mut arg)?;
                self.mapped(arg.dst_iova, arg.length);
                Ok(())
            }
            6 => self.unmap_at(ioas, at, len),
            _ => self.dirty_pages(ioas, (at, len)),
        }
    }

    /// A device writes to what is mapped, and somebody looks where, into a bitmap that may begin near the end of a page.
    fn dirty_pages(&mut self, ioas: u32, (at, len): (u64, u64)) -> Result<(), Errno> {
        let table = self.table_of(ioas)?;
        let mut arg = sys::iommu_hwpt_set_dirty_tracking::sized();
        (arg.flags, arg.hwpt_id) = (sys::IOMMU_HWPT_DIRTY_TRACKING_ENABLE, table);
        self.issue(&nr::HWPT_SET_DIRTY_TRACKING, &mut arg)?;
        let page_size = self.page_size();
        let _set = self.set_dirty(table, (at, len), page_size);
        let mut arg = sys::iommu_hwpt_get_dirty_bitmap::sized();
        arg.hwpt_id = table;
        (arg.iova, arg.length, arg.page_size) = (at, len, page_size);
        arg.data = self.arena.at(8192 - u64::from(self.byte() % 32) * 8);
        self.issue(&nr::HWPT_GET_DIRTY_BITMAP, &mut arg)
    }
}
