//! The ioctls of `linux/iommufd.h`, with arguments that are nearly right.

use iommufd_sys::ioctl::SizedArg;
use iommufd_sys::ioctl::iommufd as nr;
use iommufd_sys::iommufd as sys;
use rustix::io::Errno;
use tests::mock::abi;

use super::pinning::Counted;
use super::program::{FileKind, Kind, Program};

impl Program<'_> {
    /// What most lists begin with: two address spaces, a device in one, and something mapped.
    pub(super) fn begin(&mut self) {
        self.conditions();
        for _ in 0..2 {
            let _made = self.space();
        }
        self.device(0);
        let mut arg = sys::iommu_ioas_map::sized();
        arg.flags = sys::IOMMU_IOAS_MAP_FIXED_IOVA
            | sys::IOMMU_IOAS_MAP_WRITEABLE
            | sys::IOMMU_IOAS_MAP_READABLE;
        arg.ioas_id = self.id(Kind::Ioas);
        arg.user_va = self.arena.at(0);
        arg.length = 16 * 4096;
        arg.iova = 0x0100_0000;
        if self.issue(&nr::IOAS_MAP, &mut arg).is_ok() {
            self.mapped(arg.iova, arg.length);
        }
    }

    /// In one of four lists, memory that is pinned is counted, in one way or the other, or faults are frequent.
    fn conditions(&mut self) {
        let conditions = self.byte();
        if conditions < 0xc0 {
            return;
        }
        if conditions & 1 != 0 {
            self.counted = Some(Counted::new(conditions & 2 != 0));
        }
        if conditions & 4 != 0 {
            let mut arg = sys::iommu_option::sized();
            (arg.option_id, arg.op) = (sys::IOMMU_OPTION_RLIMIT_MODE, 0);
            arg.val64 = 1;
            let _set = self.issue(&nr::OPTION, &mut arg);
        }
        self.is_stormy = conditions & 8 != 0;
    }

    /// One of them.
    pub(super) fn iommufd_ioctl(&mut self) {
        let _answered = match self.byte() % 32 {
            0 => self.ioas_alloc(),
            1 | 2 => self.destroy(),
            3..=5 => self.map(),
            6 => self.map_file(),
            7 | 8 => self.copy(),
            9..=11 => self.unmap(),
            12 => self.ranges(),
            13 => self.allow(),
            14 => self.option(),
            15 => self.vfio_ioas(),
            16..=18 => self.hwpt_alloc(),
            19 => self.hw_info(),
            20 => self.dirty_tracking(),
            21 | 22 => self.dirty_bitmap(),
            23 => self.invalidate(),
            24 => self.fault_queue(),
            25 => self.viommu(),
            26 => self.vdevice(),
            27 => self.event_queue(),
            28 => self.hw_queue(),
            29 => self.take_over(),
            30 => self.guest(),
            _ => self.physical_address(),
        };
    }

    fn ioas_alloc(&mut self) -> Result<(), Errno> {
        let mut arg = sys::iommu_ioas_alloc::sized();
        arg.flags = self.flags(0);
        self.issue(&nr::IOAS_ALLOC, &mut arg)?;
        self.made(Kind::Ioas, arg.out_ioas_id);
        Ok(())
    }

    fn destroy(&mut self) -> Result<(), Errno> {
        let kinds = [
            Kind::Ioas,
            Kind::Table,
            Kind::Table,
            Kind::Standing,
            Kind::Viommu,
            Kind::VDevice,
            Kind::FaultQueue,
            Kind::EventQueue,
            Kind::HwQueue,
            Kind::Device,
        ];
        let kind = kinds[usize::from(self.byte()) % kinds.len()];
        let id = self.id(kind);
        self.destroy_object(id)
    }

    /// Destroys an object.
    pub(super) fn destroy_object(&mut self, id: u32) -> Result<(), Errno> {
        let mut arg = sys::iommu_destroy::sized();
        arg.id = id;
        self.issue(&nr::DESTROY, &mut arg)
    }

    fn map(&mut self) -> Result<(), Errno> {
        let mut arg = sys::iommu_ioas_map::sized();
        arg.flags = self.flags(7);
        arg.ioas_id = self.id(Kind::Ioas);
        arg.user_va = self.address();
        arg.length = self.length();
        arg.iova = self.iova();
        self.issue(&nr::IOAS_MAP, &mut arg)?;
        self.mapped(arg.iova, arg.length);
        Ok(())
    }

    fn map_file(&mut self) -> Result<(), Errno> {
        if self.rarely(3) {
            self.memory_file();
        }
        let kind = if self.rarely(4) {
            FileKind::Dmabuf
        } else {
            FileKind::Memory
        };
        let mut arg = sys::iommu_ioas_map_file::sized();
        arg.flags = self.flags(7);
        arg.ioas_id = self.id(Kind::Ioas);
        arg.fd = self.file(kind);
        arg.start = u64::from(self.byte() % 8) * 4096;
        arg.length = self.length();
        arg.iova = self.iova();
        self.issue(&nr::IOAS_MAP_FILE, &mut arg)?;
        self.mapped(arg.iova, arg.length);
        Ok(())
    }

    fn copy(&mut self) -> Result<(), Errno> {
        let mut arg = sys::iommu_ioas_copy::sized();
        arg.flags = self.flags(7);
        arg.dst_ioas_id = self.id(Kind::Ioas);
        arg.src_ioas_id = self.id(Kind::Ioas);
        (arg.src_iova, arg.length) = self.area();
        arg.dst_iova = self.iova();
        self.issue(&nr::IOAS_COPY, &mut arg)?;
        self.mapped(arg.dst_iova, arg.length);
        Ok(())
    }

    fn unmap(&mut self) -> Result<(), Errno> {
        let ioas = self.id(Kind::Ioas);
        let (mut iova, mut length) = self.area();
        if self.rarely(8) {
            (iova, length) = (0, u64::MAX);
        }
        self.unmap_at(ioas, iova, length)
    }

    fn ranges(&mut self) -> Result<(), Errno> {
        let mut arg = sys::iommu_ioas_iova_ranges::sized();
        arg.ioas_id = self.id(Kind::Ioas);
        arg.num_iovas = u32::from(self.byte() % 8);
        arg.allowed_iovas = self.address();
        self.issue(&nr::IOAS_IOVA_RANGES, &mut arg)
    }

    fn allow(&mut self) -> Result<(), Errno> {
        let count = u32::from(self.byte() % 4);
        let at = u64::from(self.byte()) * 64;
        for index in 0..u64::from(count) {
            let (first, len) = (self.iova(), self.length());
            let last = first.wrapping_add(len).wrapping_sub(1);
            let words = [
                first as u32,
                (first >> 32) as u32,
                last as u32,
                (last >> 32) as u32,
            ];
            self.arena.write(at + index * 16, &words);
        }
        let mut arg = sys::iommu_ioas_allow_iovas::sized();
        arg.ioas_id = self.id(Kind::Ioas);
        arg.num_iovas = count;
        arg.allowed_iovas = self.arena.at(at);
        self.issue(&nr::IOAS_ALLOW_IOVAS, &mut arg)
    }

    fn option(&mut self) -> Result<(), Errno> {
        let mut arg = sys::iommu_option::sized();
        arg.option_id = u32::from(self.byte() % 3);
        arg.op = u16::from(self.byte() % 3);
        arg.object_id = if self.rarely(2) {
            0
        } else {
            self.id(Kind::Ioas)
        };
        arg.val64 = u64::from(self.byte() % 3);
        self.issue(&nr::OPTION, &mut arg)
    }

    fn vfio_ioas(&mut self) -> Result<(), Errno> {
        let mut arg = sys::iommu_vfio_ioas::sized();
        arg.ioas_id = self.id(Kind::Ioas);
        arg.op = u16::from(self.byte() % 4);
        self.issue(&nr::VFIO_IOAS, &mut arg)
    }

    fn hwpt_alloc(&mut self) -> Result<(), Errno> {
        let mut arg = sys::iommu_hwpt_alloc::sized();
        arg.flags = self.flags(15);
        arg.dev_id = self.id(Kind::Device);
        arg.pt_id = match self.byte() % 4 {
            0 | 1 => self.id(Kind::Ioas),
            2 => self.id(Kind::Table),
            _ => self.id(Kind::Viommu),
        };
        arg.fault_id = self.id(Kind::FaultQueue);
        if self.rarely(2) {
            self.arena
                .write(0, &[abi::IOTLB_DEFAULT, u32::from(self.byte() % 3)]);
            arg.data_type = abi::HWPT_DATA_SELFTEST;
            arg.data_len = if self.rarely(16) { 4 } else { 8 };
            arg.data_uptr = self.arena.at(0);
        } else if self.rarely(16) {
            arg.data_type = u32::from(self.byte() % 5);
            arg.data_len = u32::from(self.byte());
            arg.data_uptr = self.address();
        }
        self.issue(&nr::HWPT_ALLOC, &mut arg)?;
        self.made(Kind::Table, arg.out_hwpt_id);
        Ok(())
    }

    fn hw_info(&mut self) -> Result<(), Errno> {
        let mut arg = sys::iommu_hw_info::sized();
        arg.flags = self.flags(1);
        arg.dev_id = self.id(Kind::Device);
        arg.data_len = u32::from(self.byte());
        arg.data_uptr = self.address();
        arg.in_data_type = match self.rarely(2) {
            true => abi::HW_INFO_TYPE_SELFTEST,
            false => u32::from(self.byte() % 6),
        };
        self.issue(&nr::GET_HW_INFO, &mut arg)
    }

    fn dirty_tracking(&mut self) -> Result<(), Errno> {
        let mut arg = sys::iommu_hwpt_set_dirty_tracking::sized();
        arg.flags = self.flags(1);
        arg.hwpt_id = self.id(Kind::Table);
        self.issue(&nr::HWPT_SET_DIRTY_TRACKING, &mut arg)
    }

    fn dirty_bitmap(&mut self) -> Result<(), Errno> {
        let mut arg = sys::iommu_hwpt_get_dirty_bitmap::sized();
        arg.hwpt_id = self.id(Kind::Table);
        arg.flags = self.flags(1);
        (arg.iova, arg.length) = self.area();
        arg.page_size = self.page_size();
        arg.data = self.address();
        self.issue(&nr::HWPT_GET_DIRTY_BITMAP, &mut arg)
    }

    /// Mostly a size of a page.
    pub(super) fn page_size(&mut self) -> u64 {
        match self.byte() {
            0..0x80 => 4096,
            0x80..0xc0 => 2048,
            0xc0..0xf0 => 1 << (self.byte() % 32),
            _ => u64::from(self.byte()),
        }
    }

    fn invalidate(&mut self) -> Result<(), Errno> {
        let mut arg = sys::iommu_hwpt_invalidate::sized();
        let through = self.rarely(2);
        arg.hwpt_id = self.id(if through { Kind::Viommu } else { Kind::Table });
        arg.data_type = if self.rarely(16) {
            u32::from(self.byte() % 3)
        } else {
            abi::TYPE_SELFTEST
        };
        let words = if through { 3 } else { 2 };
        arg.entry_num = u32::from(self.byte() % 5);
        arg.entry_len = match self.byte() {
            0..0xf0 => words * 4,
            other => u32::from(other % 32),
        };
        for index in 0..u64::from(arg.entry_num) {
            let entry = [
                u32::from(self.byte() % 3),
                u32::from(self.byte() % 6),
                u32::from(self.byte() % 6),
            ];
            self.arena.write(index * u64::from(words) * 4, &entry);
        }
        arg.data_uptr = if self.rarely(16) {
            self.address()
        } else {
            self.arena.at(0)
        };
        self.issue(&nr::HWPT_INVALIDATE, &mut arg)
    }

    fn fault_queue(&mut self) -> Result<(), Errno> {
        let mut arg = sys::iommu_fault_alloc::sized();
        arg.flags = self.flags(0);
        self.issue(&nr::FAULT_QUEUE_ALLOC, &mut arg)?;
        self.made(Kind::FaultQueue, arg.out_fault_id);
        self.opened(FileKind::Queue, arg.out_fault_fd.cast_signed());
        Ok(())
    }

    fn viommu(&mut self) -> Result<(), Errno> {
        let parent = self.id(Kind::Table);
        self.viommu_on(parent)
    }

    fn viommu_on(&mut self, parent: u32) -> Result<(), Errno> {
        let mut arg = sys::iommu_viommu_alloc::sized();
        arg.flags = self.flags(0);
        arg.type_ = if self.rarely(16) {
            u32::from(self.byte() % 4)
        } else {
            abi::TYPE_SELFTEST
        };
        arg.dev_id = self.id(Kind::Device);
        arg.hwpt_id = parent;
        let with_page = self.rarely(2);
        if with_page {
            arg.data_len = if self.rarely(16) {
                u32::from(self.byte())
            } else {
                24
            };
            arg.data_uptr = self.arena.at(4096);
        }
        self.issue(&nr::VIOMMU_ALLOC, &mut arg)?;
        self.made(Kind::Viommu, arg.out_viommu_id);
        if with_page {
            // Where it may be: the kernel numbers these places from the beginning.
            let offset = u64::from(self.byte() % 4) * 4096;
            let len = if self.rarely(8) { 8192 } else { 4096 };
            self.map_page(offset, len);
        }
        Ok(())
    }

    fn vdevice(&mut self) -> Result<(), Errno> {
        let mut arg = sys::iommu_vdevice_alloc::sized();
        arg.viommu_id = self.id(Kind::Viommu);
        arg.dev_id = self.id(Kind::Device);
        arg.virt_id = if self.rarely(16) {
            self.word()
        } else {
            u64::from(self.byte() % 6)
        };
        self.issue(&nr::VDEVICE_ALLOC, &mut arg)?;
        self.made(Kind::VDevice, arg.out_vdevice_id);
        Ok(())
    }

    fn event_queue(&mut self) -> Result<(), Errno> {
        let mut arg = sys::iommu_veventq_alloc::sized();
        arg.flags = self.flags(0);
        arg.viommu_id = self.id(Kind::Viommu);
        arg.type_ = if self.rarely(16) {
            u32::from(self.byte() % 3)
        } else {
            abi::VEVENTQ_TYPE_SELFTEST
        };
        arg.veventq_depth = u32::from(self.byte() % 4);
        self.issue(&nr::VEVENTQ_ALLOC, &mut arg)?;
        self.made(Kind::EventQueue, arg.out_veventq_id);
        self.opened(FileKind::Queue, arg.out_veventq_fd.cast_signed());
        Ok(())
    }

    fn hw_queue(&mut self) -> Result<(), Errno> {
        let mut arg = sys::iommu_hw_queue_alloc::sized();
        arg.flags = self.flags(0);
        arg.viommu_id = self.id(Kind::Viommu);
        arg.type_ = if self.rarely(16) {
            u32::from(self.byte() % 3)
        } else {
            abi::TYPE_SELFTEST
        };
        arg.index = u32::from(self.byte() % 4);
        (arg.nesting_parent_iova, arg.length) = self.area();
        self.issue(&nr::HW_QUEUE_ALLOC, &mut arg)?;
        self.made(Kind::HwQueue, arg.out_hw_queue_id);
        Ok(())
    }

    fn physical_address(&mut self) -> Result<(), Errno> {
        let mut arg = sys::iommu_ioas_noiommu_get_pa::sized();
        arg.flags = self.flags(0);
        arg.ioas_id = self.id(Kind::Ioas);
        arg.iova = self.iova();
        arg.length = self.length();
        self.issue(&nr::IOAS_NOIOMMU_GET_PA, &mut arg)
    }

    /// What takes several steps in a row, which by chance alone are rare.
    pub(super) fn scene(&mut self) {
        let _played = match self.byte() % 6 {
            0 => self.dirty_scene(),
            1 => self.fault_scene(),
            2 => self.event_scene(),
            3 => self.access_scene(),
            4 => self.queue_scene(),
            _ => self.container_scene(),
        };
    }

    /// A table of an address space, for the device, which is moved there.
    fn table_for(&mut self, flags: u32, fault_queue: u32) -> Result<u32, Errno> {
        let mut arg = sys::iommu_hwpt_alloc::sized();
        arg.flags = flags;
        arg.dev_id = self.id(Kind::Device);
        arg.pt_id = self.id(Kind::Ioas);
        arg.fault_id = fault_queue;
        self.issue(&nr::HWPT_ALLOC, &mut arg)?;
        self.made(Kind::Table, arg.out_hwpt_id);
        let standing = self.id(Kind::Standing);
        self.move_to(standing, arg.out_hwpt_id)?;
        Ok(arg.out_hwpt_id)
    }

    /// A device writes, and somebody looks which pages.
    fn dirty_scene(&mut self) -> Result<(), Errno> {
        let table = self.table_for(sys::IOMMU_HWPT_ALLOC_DIRTY_TRACKING, 0)?;
        let mut arg = sys::iommu_hwpt_set_dirty_tracking::sized();
        (arg.flags, arg.hwpt_id) = (sys::IOMMU_HWPT_DIRTY_TRACKING_ENABLE, table);
        self.issue(&nr::HWPT_SET_DIRTY_TRACKING, &mut arg)?;
        let (iova, length) = self.area();
        let page_size = self.page_size();
        let _set = self.set_dirty(table, (iova, length), page_size);
        let mut arg = sys::iommu_hwpt_get_dirty_bitmap::sized();
        arg.hwpt_id = table;
        arg.flags = self.flags(1);
        (arg.iova, arg.length, arg.page_size) = (iova, length, page_size);
        arg.data = self.address();
        self.issue(&nr::HWPT_GET_DIRTY_BITMAP, &mut arg)
    }

    /// A device asks for pages, and somebody answers.
    fn fault_scene(&mut self) -> Result<(), Errno> {
        self.fault_queue()?;
        let queue = self.id(Kind::FaultQueue);
        self.table_for(sys::IOMMU_HWPT_FAULT_ID_VALID, queue)?;
        for _ in 0..=self.byte() % 3 {
            self.ask()?;
        }
        self.read();
        self.write();
        Ok(())
    }

    /// A guest's device makes an event.
    fn event_scene(&mut self) -> Result<(), Errno> {
        self.guest()?;
        self.event_queue()?;
        // The device tells of what its guest's tables have refused.
        let mut arg = sys::iommu_hwpt_alloc::sized();
        (arg.dev_id, arg.pt_id) = (self.id(Kind::Device), self.id(Kind::Viommu));
        self.arena.write(0, &[abi::IOTLB_DEFAULT, 0]);
        (arg.data_type, arg.data_len) = (abi::HWPT_DATA_SELFTEST, 8);
        arg.data_uptr = self.arena.at(0);
        self.issue(&nr::HWPT_ALLOC, &mut arg)?;
        self.made(Kind::Table, arg.out_hwpt_id);
        let standing = self.id(Kind::Standing);
        self.move_to(standing, arg.out_hwpt_id)?;
        for _ in 0..=self.byte() % 4 {
            let device = self.id(Kind::Device);
            self.make_event(device)?;
        }
        self.read();
        Ok(())
    }

    /// Something that is mapped where no device is, and an access to it.
    fn access_scene(&mut self) -> Result<(), Errno> {
        let ioas = self.space()?;
        let (iova, length) = (self.iova() & !4095, u64::from(self.byte() % 8 + 1) * 4096);
        self.map_fixed(ioas, iova, length)?;
        let access = self.access(ioas, 1)?;
        for _ in 0..self.byte() % 4 {
            let (at, len) = self.area();
            let _pinned = self.pin(access, at, len);
        }
        let (at, len) = self.area();
        self.use_access(access, at, len)?;
        if self.rarely(2) {
            self.unmap_at(ioas, iova, length)?;
        }
        Ok(())
    }

    /// Queues of a guest's hardware, one after the other.
    fn queue_scene(&mut self) -> Result<(), Errno> {
        self.guest()?;
        let viommu = self.id(Kind::Viommu);
        let (iova, _) = self.area();
        for index in 0..u32::from(self.byte() % 3) {
            let mut arg = sys::iommu_hw_queue_alloc::sized();
            (arg.viommu_id, arg.type_, arg.index) = (viommu, abi::TYPE_SELFTEST, index);
            (arg.nesting_parent_iova, arg.length) = (iova, 2048);
            self.issue(&nr::HW_QUEUE_ALLOC, &mut arg)?;
            self.made(Kind::HwQueue, arg.out_hw_queue_id);
        }
        Ok(())
    }

    /// Maps memory of the process at an address.
    pub(super) fn map_fixed(&mut self, ioas: u32, iova: u64, length: u64) -> Result<(), Errno> {
        let mut arg = sys::iommu_ioas_map::sized();
        arg.flags = sys::IOMMU_IOAS_MAP_FIXED_IOVA
            | sys::IOMMU_IOAS_MAP_WRITEABLE
            | sys::IOMMU_IOAS_MAP_READABLE;
        (arg.ioas_id, arg.iova, arg.length) = (ioas, iova, length);
        arg.user_va = self.arena.at(u64::from(self.byte() % 16) * 4096);
        self.issue(&nr::IOAS_MAP, &mut arg)?;
        self.mapped(iova, length);
        Ok(())
    }

    /// The file becomes a container of VFIO's.
    fn container_scene(&mut self) -> Result<(), Errno> {
        let mut arg = sys::iommu_vfio_ioas::sized();
        (arg.ioas_id, arg.op) = (self.id(Kind::Ioas), 1);
        self.issue(&nr::VFIO_IOAS, &mut arg)?;
        // `VFIO_TYPE1_IOMMU`, in which a part of a mapping can be unmapped.
        if self.rarely(2) {
            self.set_iommu(1);
        }
        for _ in 0..4 {
            self.compat_ioctl();
        }
        Ok(())
    }

    /// What a guest with an IOMMU of its own begins with, which by chance alone is rare.
    fn guest(&mut self) -> Result<(), Errno> {
        let mut arg = sys::iommu_hwpt_alloc::sized();
        arg.flags = sys::IOMMU_HWPT_ALLOC_NEST_PARENT;
        arg.dev_id = self.id(Kind::Device);
        arg.pt_id = self.id(Kind::Ioas);
        self.issue(&nr::HWPT_ALLOC, &mut arg)?;
        self.made(Kind::Table, arg.out_hwpt_id);
        self.viommu_on(arg.out_hwpt_id)?;
        self.vdevice()
    }
}
