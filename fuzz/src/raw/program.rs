//! A list of ioctls, and what they have made.

use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::LazyLock;

use iommufd_sys::ioctl::{Ioctl, SizedArg, write_size};
use libfuzzer_sys::arbitrary::Unstructured;
use rustix::io::Errno;
use zerocopy::IntoBytes;

use super::arena::{Arena, PAGES};
use super::pinning::Counted;
use super::stranger::Stranger;

static ARENA: LazyLock<Arena> = LazyLock::new(Arena::new);

/// Where devices' addresses begin; the mock translates none below.
const FIRST: u64 = 0x0100_0000;

/// What an id is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Ioas,
    Table,
    Device,
    Standing,
    Viommu,
    VDevice,
    FaultQueue,
    EventQueue,
    HwQueue,
    Pages,
}

const KINDS: [Kind; 10] = [
    Kind::Ioas,
    Kind::Table,
    Kind::Device,
    Kind::Standing,
    Kind::Viommu,
    Kind::VDevice,
    Kind::FaultQueue,
    Kind::EventQueue,
    Kind::HwQueue,
    Kind::Pages,
];

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileKind {
    Queue,
    Access,
    Memory,
    Dmabuf,
}

/// A list of ioctls.
pub(super) struct Program<'b> {
    input: Unstructured<'b>,
    /// First, as it has the file, too.
    pub(super) stranger: Option<Stranger>,
    /// Whether one has ended, whose memory may still be mapped.
    pub(super) has_outlived: bool,
    pub(super) iommufd: OwnedFd,
    pub(super) arena: Arena,
    ids: Vec<(Kind, u32)>,
    pub(super) files: Vec<(FileKind, OwnedFd)>,
    mappings: Vec<*mut libc::c_void>,
    /// What was mapped: an address of a device's, and a length.
    pub(super) areas: Vec<(u64, u64)>,
    fail_nth: Option<File>,
    is_calm: bool,
    /// Whether faults are frequent.
    pub(super) is_stormy: bool,
    pub(super) counted: Option<Counted>,
}

impl<'b> Program<'b> {
    pub(super) fn new(input: &'b [u8]) -> Self {
        let open = |path| File::options().read(true).write(true).open(path);
        Self {
            input: Unstructured::new(input),
            stranger: None,
            has_outlived: false,
            iommufd: open("/dev/iommu").unwrap().into(),
            arena: *ARENA,
            ids: Vec::new(),
            files: Vec::new(),
            mappings: Vec::new(),
            areas: Vec::new(),
            fail_nth: open("/proc/thread-self/fail-nth").ok(),
            is_calm: false,
            is_stormy: false,
            counted: None,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.input.is_empty()
    }

    pub(super) fn byte(&mut self) -> u8 {
        self.input.arbitrary().unwrap_or(0)
    }

    pub(super) fn word(&mut self) -> u64 {
        self.input.arbitrary().unwrap_or(0)
    }

    /// Whether something rare is to be done: once in so many times.
    pub(super) fn rarely(&mut self, times: u8) -> bool {
        self.byte() % times == times - 1
    }

    /// Flags: mostly of those that there are.
    pub(super) fn flags(&mut self, known: u32) -> u32 {
        match self.rarely(32) {
            true => self.word() as u32,
            false => u32::from(self.byte()) & known,
        }
    }

    /// An id: mostly of this kind.
    pub(super) fn id(&mut self, kind: Kind) -> u32 {
        let which = self.byte();
        let (kind, which) = match which {
            0..0xf0 => (kind, which),
            0xf0..0xfc => (KINDS[usize::from(self.byte()) % KINDS.len()], self.byte()),
            _ => return u32::from(self.byte() % 32),
        };
        let all = self.all(kind);
        match all.len() {
            0 => 0,
            len => all[usize::from(which) % len],
        }
    }

    /// All ids of this kind.
    pub(super) fn all(&self, kind: Kind) -> Vec<u32> {
        let of_kind = |(of, id): &(Kind, u32)| (*of == kind).then_some(*id);
        self.ids.iter().filter_map(of_kind).collect()
    }

    /// An id of a page table or of an address space.
    pub(super) fn target(&mut self) -> u32 {
        match self.byte() % 3 {
            0 => self.id(Kind::Ioas),
            _ => self.id(Kind::Table),
        }
    }

    pub(super) fn made(&mut self, kind: Kind, id: u32) {
        if self.ids.len() < 64 {
            self.ids.push((kind, id));
        }
    }

    pub(super) fn opened(&mut self, kind: FileKind, fd: RawFd) {
        if fd > 2 {
            // SAFETY: an ioctl of ours has just answered that it is new.
            let file = unsafe { OwnedFd::from_raw_fd(fd) };
            self.files.push((kind, file));
        }
    }

    pub(super) fn has(&mut self, kind: FileKind, file: OwnedFd) {
        self.files.push((kind, file));
    }

    pub(super) fn file(&mut self, kind: FileKind) -> RawFd {
        let which = usize::from(self.byte());
        let of_kind = |(of, file): &(FileKind, OwnedFd)| (*of == kind).then(|| file.as_raw_fd());
        let all: Vec<RawFd> = self.files.iter().filter_map(of_kind).collect();
        match all.len() {
            0 => self.iommufd.as_raw_fd(),
            len => all[which % len],
        }
    }

    pub(super) fn close_one(&mut self) {
        let which = usize::from(self.byte());
        if let Some(which) = which.checked_rem(self.files.len()) {
            drop(self.files.swap_remove(which));
        }
    }

    /// An address in the memory of the process: mostly at a page, or at an IOMMU's smallest page.
    pub(super) fn address(&mut self) -> u64 {
        let at = u64::from(self.byte()) % PAGES * 4096;
        match self.byte() {
            0..0xe0 => self.arena.at(at),
            0xe0..0xf0 => self.arena.at(at + 2048),
            0xf0..0xfc => self.arena.at(at + u64::from(self.byte())),
            0xfc => 0,
            // Behind its end, at its very end, and where no process has anything.
            0xfd => self.arena.at(0) + PAGES * 4096,
            0xfe => self.arena.at(PAGES * 4096 - 1),
            _ => u64::MAX - at,
        }
    }

    /// An address of a device's.
    pub(super) fn iova(&mut self) -> u64 {
        let page = FIRST + u64::from(self.byte() % 64) * 4096;
        match self.byte() {
            0..0xe0 => page,
            0xe0..0xf4 => page + 2048,
            0xf4..0xfa => page + u64::from(self.byte()),
            0xfa..0xfd => u64::from(self.byte()) << (self.byte() % 57),
            0xfd => 0x7fff_f000,
            _ => u64::MAX - u64::from(self.byte()) * 1024,
        }
    }

    /// So many bytes.
    pub(super) fn length(&mut self) -> u64 {
        let pages = u64::from(self.byte() % 8) * 4096;
        match self.byte() {
            0..0xe0 => pages + 4096,
            0xe0..0xf0 => pages + 2048,
            0xf0..0xf8 => pages + u64::from(self.byte()),
            0xf8..0xfc => u64::from(self.byte()) << (self.byte() % 57),
            0xfc | 0xfd => u64::MAX,
            _ => 0,
        }
    }

    /// What was mapped, or a part of it, or anything.
    pub(super) fn area(&mut self) -> (u64, u64) {
        let (how, which) = (self.byte(), usize::from(self.byte()));
        let known = which.checked_rem(self.areas.len()).map(|at| self.areas[at]);
        let Some((iova, len)) = known.filter(|_| how < 0xd0) else {
            return (self.iova(), self.length());
        };
        match how {
            0..0x80 => (iova, len),
            0x80..0xa0 => (iova, (len / 2).next_multiple_of(4096)),
            0xa0..0xb0 => (iova.wrapping_add(len / 2), len - len / 2),
            0xb0..0xc0 => (iova.wrapping_add(4096), 2048),
            _ => (
                iova.wrapping_add(u64::from(self.byte())),
                u64::from(self.byte()) * 16,
            ),
        }
    }

    pub(super) fn mapped(&mut self, iova: u64, len: u64) {
        if self.areas.len() == 8 {
            self.areas.remove(0);
        }
        self.areas.push((iova, len));
    }

    /// Maps what a file of the context has to be mapped.
    pub(super) fn map_page(&mut self, offset: u64, len: usize) {
        let file = self.iommufd.as_raw_fd();
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping, at an address that the kernel chooses, of which nobody else learns.
        let at = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                protection,
                libc::MAP_SHARED,
                file,
                offset as i64,
            )
        };
        if at != libc::MAP_FAILED {
            self.mappings.push(at);
            if self.mappings.len() > 4 {
                self.unmap_page();
            }
        }
    }

    pub(super) fn unmap_page(&mut self) {
        if let Some(at) = self.mappings.pop() {
            // SAFETY: ours, and nobody uses it. What is longer than a page was refused.
            unsafe { libc::munmap(at, 4096) };
        }
    }

    /// Whether no fault is to be injected for now.
    pub(super) fn calm(&mut self, calm: bool) {
        self.is_calm = calm;
    }

    /// Lets the kernel fail at the n-th point of what comes next, now and then.
    fn arm(&mut self) {
        let often = if self.is_stormy { 0xa0 } else { 0xf0 };
        if self.byte() < often || self.is_calm {
            return;
        }
        let nth = self.byte() % 64 + 1;
        if let Some(file) = &self.fail_nth {
            let _armed = rustix::io::pwrite(file, nth.to_string().as_bytes(), 0);
        }
    }

    fn disarm(&self) {
        if let Some(file) = &self.fail_nth {
            let _disarmed = rustix::io::pwrite(file, b"0", 0);
        }
    }

    /// Issues an ioctl of `iommufd-sys`, sometimes with another size of its argument.
    pub(super) fn issue<T: SizedArg>(
        &mut self,
        ioctl: &Ioctl<T>,
        arg: &mut T,
    ) -> Result<(), Errno> {
        write_size(arg);
        let mut room = [0_u32; 64];
        let size = size_of::<T>();
        room.as_mut_bytes()[..size].copy_from_slice(arg.as_bytes());
        if self.rarely(32) {
            room[0] = u32::from(self.byte());
            room.as_mut_bytes()[size] = self.byte() & 1;
        }
        let done = self.issue_as_is(ioctl.request(), &mut room);
        if let Ok(answer) = T::read_from_bytes(&room.as_bytes()[..size]) {
            *arg = answer;
        }
        done
    }

    /// Issues an ioctl.
    pub(super) fn issue_as_is(&mut self, request: u32, arg: &mut [u32; 64]) -> Result<(), Errno> {
        self.arm();
        // SAFETY: every address in an argument is in the arena, or is nobody's; there is more room than any argument
        // of the kernel's has.
        let answer = unsafe {
            libc::ioctl(
                self.iommufd.as_raw_fd(),
                u64::from(request),
                arg.as_mut_ptr(),
            )
        };
        let errno = std::io::Error::last_os_error();
        self.disarm();
        match answer {
            0.. => Ok(()),
            _ => Err(Errno::from_io_error(&errno).unwrap_or(Errno::IO)),
        }
    }

    /// Issues an ioctl with a number for its argument.
    pub(super) fn issue_number(&mut self, request: u32, number: u64) {
        // SAFETY: it takes no address.
        let _answer = unsafe { libc::ioctl(self.iommufd.as_raw_fd(), u64::from(request), number) };
    }

    /// Reads from a queue, into the arena.
    pub(super) fn read(&mut self) {
        let (file, to) = (self.file(FileKind::Queue), self.address());
        let len = usize::from(self.byte()) * 8;
        self.arm();
        // SAFETY: into the arena, or where nobody has anything.
        let _read = unsafe { libc::read(file, to as *mut libc::c_void, len) };
        self.disarm();
    }

    /// Writes an answer to a queue.
    pub(super) fn write(&mut self) {
        let file = self.file(FileKind::Queue);
        let answer = [u32::from(self.byte() % 4), u32::from(self.byte() % 3)];
        let len = if self.rarely(16) { 4 } else { 8 };
        self.arm();
        // SAFETY: so many bytes are there.
        let _written = unsafe { libc::write(file, answer.as_ptr().cast(), len) };
        self.disarm();
    }

    /// Asks whether a queue can be read.
    pub(super) fn poll(&mut self) {
        let mut file = libc::pollfd {
            fd: self.file(FileKind::Queue),
            events: libc::POLLIN | libc::POLLOUT,
            revents: 0,
        };
        // SAFETY: one entry.
        let _ready = unsafe { libc::poll(&raw mut file, 1, 0) };
    }

    pub(super) fn step(&mut self) {
        match self.byte() % 8 {
            0..=3 => self.iommufd_ioctl(),
            4 | 5 => self.mock_ioctl(),
            6 => self.scene(),
            _ => match self.byte() % 10 {
                0 => self.read(),
                1 => self.write(),
                2 => self.poll(),
                3 => self.close_one(),
                4 => self.unmap_page(),
                5 | 6 => self.longer_scene(),
                _ => self.compat_ioctl(),
            },
        }
    }
}

impl Drop for Program<'_> {
    fn drop(&mut self) {
        while !self.mappings.is_empty() {
            self.unmap_page();
        }
    }
}
