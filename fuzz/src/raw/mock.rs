//! The commands of the mock driver.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use rustix::io::Errno;
use tests::mock::abi::{self, op};

use super::program::{FileKind, Kind, Program};

/// A command: 72 bytes, with what belongs to the operation from byte 16 on.
struct Command([u32; 64]);

impl Command {
    fn new(op: u32, id: u32) -> Self {
        let mut words = [0; 64];
        (words[0], words[1], words[2]) = (72, op, id);
        Self(words)
    }

    /// Puts 32 bits at a byte.
    fn put(&mut self, at: usize, value: u32) -> &mut Self {
        self.0[at / 4] = value;
        self
    }

    /// Puts 64 bits at a byte.
    fn put64(&mut self, at: usize, value: u64) -> &mut Self {
        self.put(at, value as u32).put(at + 4, (value >> 32) as u32)
    }

    fn get(&self, at: usize) -> u32 {
        self.0[at / 4]
    }
}

impl Program<'_> {
    fn command(&mut self, command: &mut Command) -> Result<(), Errno> {
        self.issue_as_is(abi::DESCRIPTION.request, &mut command.0)
    }

    /// Makes a device.
    pub(super) fn device(&mut self, flags: u32) {
        let target = self.target();
        let mut command = Command::new(op::MOCK_DOMAIN_FLAGS, target);
        command.put(28, flags);
        // No fault here: in Linux 7.3 a mock device whose IOMMU could not be probed is bound as one without, and then the
        // mock driver takes its IOMMU group for granted (`iommufd_test_pasid_check_hwpt`, `iommufd_test_trigger_iopf`): an
        // oops of the mock's, not of iommufd's.
        self.calm(true);
        let made = self.command(&mut command);
        self.calm(false);
        if made.is_ok() {
            self.made(Kind::Standing, command.get(16));
            self.made(Kind::Table, command.get(20));
            self.made(Kind::Device, command.get(24));
        }
    }

    /// One of them.
    pub(super) fn mock_ioctl(&mut self) {
        let operation = u32::from(self.byte() % 24);
        let _answered = self.mock_operation(operation);
    }

    fn mock_operation(&mut self, operation: u32) -> Result<(), Errno> {
        let (at, len) = self.area();
        let mut command = Command::new(operation, 0);
        match operation {
            op::ADD_RESERVED => {
                let id = self.id(Kind::Ioas);
                self.command(command.put(8, id).put64(16, at).put64(24, len))
            }
            op::MOCK_DOMAIN_FLAGS => {
                let flags = self.flags(7);
                self.device(flags);
                Ok(())
            }
            op::MOCK_DOMAIN_REPLACE => {
                let (id, target) = (self.id(Kind::Standing), self.target());
                self.command(command.put(8, id).put(16, target))
            }
            op::MD_CHECK_MAP => {
                let (id, address) = (self.id(Kind::Table), self.address());
                self.command(
                    command
                        .put(8, id)
                        .put64(16, at)
                        .put64(24, len)
                        .put64(32, address),
                )
            }
            op::MD_CHECK_REFS => {
                let (address, refs) = (self.address(), u32::from(self.byte() % 3));
                self.command(command.put64(16, len).put64(24, address).put(32, refs))
            }
            op::CREATE_ACCESS => {
                let (id, flags) = (self.id(Kind::Ioas), self.flags(1));
                self.access(id, flags).map(drop)
            }
            op::DESTROY_ACCESS_PAGES => {
                let (access, pages) = (self.file(FileKind::Access), self.id(Kind::Pages));
                self.command(command.put(8, access.cast_unsigned()).put(16, pages))
            }
            op::ACCESS_PAGES => {
                let (access, flags) = (self.file(FileKind::Access), self.flags(3));
                let address = if self.rarely(4) { self.address() } else { 0 };
                command.put(8, access.cast_unsigned()).put(16, flags);
                self.command(command.put64(24, at).put64(32, len).put64(40, address))?;
                self.made(Kind::Pages, command.get(20));
                Ok(())
            }
            op::ACCESS_RW => {
                let (access, address, flags) =
                    (self.file(FileKind::Access), self.address(), self.flags(7));
                command.put(8, access.cast_unsigned()).put(40, flags);
                self.command(
                    command
                        .put64(16, at)
                        .put64(24, len % 0x1_0000)
                        .put64(32, address),
                )
            }
            op::SET_TEMP_MEMORY_LIMIT => {
                let limit = if self.rarely(3) {
                    65536
                } else {
                    u32::from(self.byte()) * 4
                };
                self.command(command.put(16, limit))
            }
            op::ACCESS_REPLACE_IOAS => {
                let (access, id) = (self.file(FileKind::Access), self.id(Kind::Ioas));
                self.command(command.put(8, access.cast_unsigned()).put(16, id))
            }
            op::DIRTY => {
                let (id, size) = (self.id(Kind::Table), self.page_size());
                self.set_dirty(id, (at, len), size)
            }
            op::MD_CHECK_IOTLB | op::DEV_CHECK_CACHE => {
                let id = self.id(if operation == op::MD_CHECK_IOTLB {
                    Kind::Table
                } else {
                    Kind::Device
                });
                let (index, value) = (u32::from(self.byte() % 6), u32::from(self.byte() & 1));
                self.command(command.put(8, id).put(16, index).put(20, value))
            }
            op::TRIGGER_IOPF => self.ask(),
            op::TRIGGER_VEVENT => {
                let id = self.id(Kind::Device);
                self.make_event(id)
            }
            op::PASID_ATTACH | op::PASID_REPLACE | op::PASID_DETACH | op::PASID_CHECK_HWPT => {
                let (id, target) = (self.id(Kind::Standing), self.target());
                let pasid = match self.byte() {
                    0..0xf0 => u32::from(self.byte() % 4),
                    0xf0..0xf8 => abi::PASID_FAILS_ONCE,
                    _ => self.word() as u32,
                };
                self.pasid_operation(operation, id, pasid, target)
            }
            op::DMABUF_GET => self.dmabuf(&mut command),
            op::DMABUF_REVOKE => {
                let (file, revoked) = (self.file(FileKind::Dmabuf), u32::from(self.byte() & 1));
                self.command(command.put(16, file.cast_unsigned()).put(20, revoked))
            }
            _ => {
                // No operation that there is.
                let id = self.id(Kind::Ioas);
                self.command(command.put(8, id))
            }
        }
    }

    /// Moves a device to a table or an address space.
    pub(super) fn move_to(&mut self, standing: u32, target: u32) -> Result<(), Errno> {
        let mut command = Command::new(op::MOCK_DOMAIN_REPLACE, standing);
        self.command(command.put(16, target))
    }

    /// Does something with a PASID of a device.
    pub(super) fn pasid_operation(
        &mut self,
        operation: u32,
        standing: u32,
        pasid: u32,
        target: u32,
    ) -> Result<(), Errno> {
        let mut command = Command::new(operation, standing);
        self.command(command.put(16, pasid).put(20, target))
    }

    /// Makes an access to an address space.
    pub(super) fn access(&mut self, ioas: u32, flags: u32) -> Result<RawFd, Errno> {
        let mut command = Command::new(op::CREATE_ACCESS, ioas);
        self.command(command.put(20, flags))?;
        let access = command.get(16).cast_signed();
        self.opened(FileKind::Access, access);
        Ok(access)
    }

    /// Pins what an access reaches.
    pub(super) fn pin(&mut self, access: RawFd, at: u64, len: u64) -> Result<(), Errno> {
        let mut command = Command::new(op::ACCESS_PAGES, access.cast_unsigned());
        let flags = self.flags(1);
        self.command(command.put(16, flags).put64(24, at).put64(32, len))?;
        self.made(Kind::Pages, command.get(20));
        Ok(())
    }

    /// Reads or writes by an access.
    pub(super) fn use_access(&mut self, access: RawFd, at: u64, len: u64) -> Result<(), Errno> {
        let mut command = Command::new(op::ACCESS_RW, access.cast_unsigned());
        let (address, flags) = (self.arena.at(0), self.flags(5));
        command.put(40, flags);
        self.command(
            command
                .put64(16, at)
                .put64(24, len % 0x1_0000)
                .put64(32, address),
        )
    }

    /// A device has written.
    pub(super) fn set_dirty(
        &mut self,
        table: u32,
        (at, len): (u64, u64),
        size: u64,
    ) -> Result<(), Errno> {
        let address = self.address();
        let mut command = Command::new(op::DIRTY, table);
        command.put64(24, at).put64(32, len);
        self.command(command.put64(40, size).put64(48, address))
    }

    /// A device asks for a page.
    pub(super) fn ask(&mut self) -> Result<(), Errno> {
        let mut command = Command::new(op::TRIGGER_IOPF, 0);
        let (id, (at, _)) = (self.id(Kind::Device), self.area());
        let pasid = if self.rarely(4) {
            u32::from(self.byte() % 3)
        } else {
            0
        };
        let (group, perm) = (u32::from(self.byte() % 4), self.flags(15));
        command
            .put(16, id)
            .put(20, pasid)
            .put(24, group)
            .put(28, perm);
        self.command(command.put64(32, at))
    }

    /// A device makes an event of its virtual IOMMU.
    pub(super) fn make_event(&mut self, device: u32) -> Result<(), Errno> {
        let mut command = Command::new(op::TRIGGER_VEVENT, 0);
        self.command(command.put(16, device))
    }

    /// A dma-buf. Linux 7.3 does not say which file it is: that with the lowest number that was free.
    fn dmabuf(&mut self, command: &mut Command) -> Result<(), Errno> {
        let lowest: RawFd = {
            let free: OwnedFd = std::fs::File::open("/dev/null").unwrap().into();
            free.as_raw_fd()
        };
        let len = u32::from(self.byte() % 8) * 4096;
        let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC;
        self.command(command.put(16, len).put(20, flags.bits()))?;
        let link = std::fs::read_link(format!("/proc/self/fd/{lowest}"));
        if link.is_ok_and(|link| link.to_string_lossy().contains("dmabuf")) {
            self.opened(FileKind::Dmabuf, lowest);
        }
        Ok(())
    }
}
