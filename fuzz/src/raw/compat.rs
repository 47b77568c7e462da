//! The ioctls of a VFIO container, which the file answers, too.

use std::os::fd::OwnedFd;

use super::program::{FileKind, Program};

const GET_API_VERSION: u32 = 0x3b64;
const CHECK_EXTENSION: u32 = 0x3b65;
const SET_IOMMU: u32 = 0x3b66;
const GET_INFO: u32 = 0x3b70;
const MAP_DMA: u32 = 0x3b71;
const UNMAP_DMA: u32 = 0x3b72;
const DIRTY_PAGES: u32 = 0x3b75;

impl Program<'_> {
    /// One of them.
    pub(super) fn compat_ioctl(&mut self) {
        let mut arg = [0_u32; 64];
        let put = |arg: &mut [u32; 64], at: usize, value: u64| {
            arg[at] = value as u32;
            arg[at + 1] = (value >> 32) as u32;
        };
        match self.byte() % 8 {
            0 => self.issue_number(GET_API_VERSION, 0),
            1 => {
                let extension = u64::from(self.byte() % 16);
                self.issue_number(CHECK_EXTENSION, extension);
            }
            2 => {
                let kind = u64::from(self.byte() % 8);
                self.set_iommu(kind);
            }
            3 => {
                arg[0] = u32::from(self.byte());
                let _done = self.issue_as_is(GET_INFO, &mut arg);
            }
            4 | 5 => {
                arg[0] = 32;
                // Neither for reading nor for writing, Linux 7.3 lets it through to the page table, which warns.
                arg[1] = match self.flags(7) {
                    flags if flags & 3 == 0 => flags | 1,
                    flags => flags,
                };
                let address = self.address();
                put(&mut arg, 2, address);
                let iova = self.iova();
                put(&mut arg, 4, iova);
                let length = self.length();
                put(&mut arg, 6, length);
                if self.issue_as_is(MAP_DMA, &mut arg).is_ok() {
                    self.mapped(iova, length);
                }
            }
            6 => {
                let (flags, (iova, length)) = (self.flags(3), self.area());
                self.unmap_dma(flags, iova, length);
            }
            _ => {
                arg[0] = 40;
                arg[1] = self.flags(7);
                let _done = self.issue_as_is(DIRTY_PAGES, &mut arg);
            }
        }
    }

    /// Unmaps what is mapped there.
    pub(super) fn unmap_dma(&mut self, flags: u32, iova: u64, length: u64) {
        let mut arg = [0_u32; 64];
        (arg[0], arg[1]) = (24, flags);
        (arg[2], arg[3]) = (iova as u32, (iova >> 32) as u32);
        (arg[4], arg[5]) = (length as u32, (length >> 32) as u32);
        let _done = self.issue_as_is(UNMAP_DMA, &mut arg);
    }

    /// Says which kind of container it is.
    pub(super) fn set_iommu(&mut self, kind: u64) {
        self.issue_number(SET_IOMMU, kind);
    }

    /// A file of memory, sealed or not.
    pub(super) fn memory_file(&mut self) {
        use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
        let made: rustix::io::Result<OwnedFd> =
            memfd_create("fuzz", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING);
        if let Ok(file) = made {
            let _cut = ftruncate(&file, u64::from(self.byte() % 16 + 1) * 4096);
            self.has(FileKind::Memory, file);
        }
    }
}
