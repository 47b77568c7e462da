//! A machine that is played: a device behind an IOMMU that says of itself what a test wants.

// UNSAFETY: a device that nobody has bound, as no kernel is asked.
#![expect(unsafe_code, reason = "makes a device of a bind that never was")]

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::os::fd::{IntoRawFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;

use iommufd_sys::ioctl::iommufd as nr;
use parking_lot::Mutex;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::io::Errno;

use super::{Asked, answering};
use crate::context::Notices;
use crate::device::{Device, DeviceDriver, Kept, PageTableId};
use crate::error::KernelError;
use crate::group::GroupIdentity;
use crate::pasid::Pasid;
use crate::{Ioas, Iommufd};

/// What was asked: the name of the ioctl, the argument's words from `size` on, with 0 for an address, and
/// what that points to.
pub(crate) type Question = (&'static str, Vec<u32>, Vec<u8>);

/// The one ioctl that is refused, why, and how many of its commands come before.
pub(crate) type Refusal = (&'static str, Errno, u32);

/// What the machine says of itself.
#[derive(Clone, Default)]
pub(crate) struct Info {
    /// `IOMMU_HW_INFO_TYPE_*`.
    pub(crate) kind: u32,
    /// The vendor's part.
    pub(crate) data: Vec<u8>,
    pub(crate) pasid_bits: u8,
    /// `IOMMU_HW_CAP_*`.
    pub(crate) capabilities: u32,
    /// What is answered when a virtual IOMMU is made with data.
    pub(crate) viommu: Vec<u8>,
}

/// So much of `/dev/iommu` can be mapped, in bytes.
pub(crate) const MAPPABLE: u64 = 0x2_0000;

/// The machine. The address space has the id 101, and each object after it the next.
pub(crate) struct Machine {
    pub(crate) ioas: Ioas,
    pub(crate) device: Device,
    pub(crate) iommufd: Iommufd,
    /// What the machine says to who has not asked before.
    pub(crate) info: Rc<RefCell<Info>>,
    pub(crate) log: Rc<RefCell<Vec<Question>>>,
    /// What is refused.
    pub(crate) refuse: Rc<Cell<Option<Refusal>>>,
    pub(crate) driver: Arc<Driver>,
    // The last to go: whatever is dropped before asks it.
    _kernel: Box<dyn std::any::Any>,
}

/// Where the device is: by PASID, 0 for itself.
#[derive(Debug, Default)]
pub(crate) struct Driver {
    /// What was done, in order: the PASID, and the table, or nothing.
    pub(crate) moves: Mutex<Vec<(u32, Option<u32>)>>,
    /// Whether detaching is refused.
    pub(crate) stuck: Mutex<bool>,
    /// The table that nothing can be attached to.
    pub(crate) refused: Mutex<Option<u32>>,
}

impl Driver {
    /// Where the device itself went.
    pub(crate) fn tables(&self) -> Vec<Option<u32>> {
        let moves = self.moves.lock();
        let own = moves.iter().filter(|(pasid, _)| *pasid == 0);
        own.map(|(_, table)| *table).collect()
    }

    fn go(&self, pasid: u32, to: Option<u32>) -> Result<(), KernelError> {
        if to.is_none() && *self.stuck.lock() {
            let cause = "it was to be refused";
            return Err(KernelError::new("detach", Errno::NOMEM, cause));
        }
        if to.is_some() && to == *self.refused.lock() {
            let cause = "it was to be refused";
            return Err(KernelError::new("attach", Errno::NOMEM, cause));
        }
        self.moves.lock().push((pasid, to));
        Ok(())
    }
}

// SAFETY: nothing is bound, and nothing released.
unsafe impl DeviceDriver for Driver {
    unsafe fn attach(&self, to: PageTableId, _: &mut Notices<'_>) -> Result<(), KernelError> {
        self.go(0, Some(to.get()))
    }

    unsafe fn detach(&self, _: &mut Notices<'_>) -> Result<(), KernelError> {
        self.go(0, None)
    }

    unsafe fn attach_pasid(
        &self,
        pasid: Pasid,
        to: PageTableId,
        _: &mut Notices<'_>,
    ) -> Result<(), KernelError> {
        self.go(pasid.get(), Some(to.get()))
    }

    unsafe fn detach_pasid(&self, pasid: Pasid, _: &mut Notices<'_>) -> Result<(), KernelError> {
        self.go(pasid.get(), None)
    }

    fn keep(&self, kept: Kept) {
        drop(kept);
    }
}

/// The kernel's part.
struct Kernel {
    info: Rc<RefCell<Info>>,
    log: Rc<RefCell<Vec<Question>>>,
    refuse: Rc<Cell<Option<Refusal>>>,
    id: u32,
}

/// An ioctl that the machine answers.
struct Known {
    opcode: u32,
    name: &'static str,
    /// Where the id goes that comes back.
    id: Option<usize>,
    /// Where the address of the data is, and where its length; or of each of several, and how many
    /// there are.
    data: Option<(usize, usize, Option<usize>)>,
    /// Where the number of a file goes that comes back.
    file: Option<usize>,
}

impl Known {
    const fn new(opcode: u32, name: &'static str) -> Self {
        Self {
            opcode,
            name,
            id: None,
            data: None,
            file: None,
        }
    }

    const fn id(self, at: usize) -> Self {
        let id = Some(at);
        Self { id, ..self }
    }

    const fn data(self, address: usize, len: usize) -> Self {
        let data = Some((address, len, None));
        Self { data, ..self }
    }

    const fn each(self, address: usize, len: usize, count: usize) -> Self {
        let data = Some((address, len, Some(count)));
        Self { data, ..self }
    }

    const fn file(self, at: usize) -> Self {
        let file = Some(at);
        Self { file, ..self }
    }
}

/// All that it answers.
static KNOWN: [Known; 16] = [
    Known::new(nr::OPTION.request(), "OPTION"),
    Known::new(nr::DESTROY.request(), "DESTROY"),
    Known::new(nr::IOAS_ALLOC.request(), "IOAS_ALLOC").id(8),
    Known::new(nr::IOAS_MAP.request(), "IOAS_MAP"),
    Known::new(nr::IOAS_MAP_FILE.request(), "IOAS_MAP"),
    Known::new(nr::IOAS_COPY.request(), "IOAS_COPY"),
    Known::new(nr::IOAS_UNMAP.request(), "IOAS_UNMAP"),
    Known::new(nr::HWPT_ALLOC.request(), "HWPT_ALLOC")
        .id(16)
        .data(32, 28),
    Known::new(
        nr::HWPT_SET_DIRTY_TRACKING.request(),
        "HWPT_SET_DIRTY_TRACKING",
    ),
    Known::new(nr::HWPT_INVALIDATE.request(), "HWPT_INVALIDATE").each(8, 20, 24),
    Known::new(nr::GET_HW_INFO.request(), "GET_HW_INFO"),
    Known::new(nr::FAULT_QUEUE_ALLOC.request(), "FAULT_QUEUE_ALLOC")
        .id(8)
        .file(12),
    Known::new(nr::VIOMMU_ALLOC.request(), "VIOMMU_ALLOC")
        .id(20)
        .data(32, 24),
    Known::new(nr::VDEVICE_ALLOC.request(), "VDEVICE_ALLOC").id(12),
    Known::new(nr::VEVENTQ_ALLOC.request(), "VEVENTQ_ALLOC")
        .id(20)
        .file(24),
    Known::new(nr::HW_QUEUE_ALLOC.request(), "HW_QUEUE_ALLOC").id(20),
];

impl Kernel {
    fn answer(&mut self, mut asked: Asked<'_>) -> Result<(), Errno> {
        let known = KNOWN.iter().find(|known| known.opcode == asked.opcode);
        let known = known.ok_or(Errno::NOTTY)?;
        let words = asked.arg[4..].chunks_exact(4);
        let words = words.map(|word| u32::from_ne_bytes(word.try_into().unwrap()));
        let mut words: Vec<_> = words.collect();
        let mut data = Vec::new();
        if let Some((address, len, count)) = known.data {
            let len = asked.u32(len) * count.map_or(1, |count| asked.u32(count));
            data = asked.data(address, len as usize).to_vec();
            // It differs from run to run.
            words[(address - 4) / 4..][..2].fill(0);
        }
        self.log.borrow_mut().push((known.name, words, data));
        if let Some((refused, errno, done)) = self.refuse.get()
            && refused == known.name
        {
            if refused == "HWPT_INVALIDATE" {
                asked.set_u32(24, done);
            }
            return Err(errno);
        }
        self.tell(known, &mut asked);
        if let Some(at) = known.id {
            self.id += 1;
            asked.set_u32(at, self.id);
        }
        if let Some(at) = known.file {
            let file: OwnedFd = File::open("/dev/null").unwrap().into();
            asked.set_u32(at, file.into_raw_fd().unsigned_abs());
        }
        Ok(())
    }

    /// What the machine says of itself.
    fn tell(&self, known: &Known, asked: &mut Asked<'_>) {
        let info = self.info.borrow();
        match (known.name, known.data) {
            ("OPTION", _) => asked.arg[16..24].fill(0),
            ("GET_HW_INFO", _) => {
                asked
                    .data_mut(16, info.data.len())
                    .copy_from_slice(&info.data);
                asked.set_u32(12, u32::try_from(info.data.len()).unwrap());
                asked.set_u32(24, info.kind);
                asked.arg[28] = info.pasid_bits;
                asked.set_u32(32, info.capabilities);
            }
            ("VIOMMU_ALLOC", Some((address, len, _))) => {
                let len = info.viommu.len().min(asked.u32(len) as usize);
                let answer = &info.viommu[..len];
                asked.data_mut(address, len).copy_from_slice(answer);
            }
            _ => {}
        }
    }
}

/// The file that plays `/dev/iommu`.
fn mappable() -> OwnedFd {
    if cfg!(miri) {
        // It has no memfd, and runs nothing that maps the file.
        return File::open("/dev/null").unwrap().into();
    }
    let file = memfd_create("iommufd", MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&file, MAPPABLE).unwrap();
    file
}

impl Machine {
    /// A machine that says this of itself, with its device bound as 7.
    pub(crate) fn new(info: Info) -> Self {
        let log = Rc::default();
        let refuse = Rc::default();
        let info = Rc::new(RefCell::new(info));
        let mut kernel = Kernel {
            info: Rc::clone(&info),
            log: Rc::clone(&log),
            refuse: Rc::clone(&refuse),
            id: 100,
        };
        let kernel = answering(move |asked| kernel.answer(asked));
        let iommufd = Iommufd::from_fd(mappable()).unwrap();
        let driver = Arc::<Driver>::default();
        let device = bound(&iommufd, 7, GroupIdentity::Alone, &driver);
        let ioas = Ioas::new(&iommufd).unwrap();
        log.borrow_mut().clear();
        Self {
            ioas,
            device,
            iommufd,
            info,
            log,
            refuse,
            driver,
            _kernel: Box::new(kernel),
        }
    }

    /// The last thing that was asked under this name.
    pub(crate) fn last(&self, name: &str) -> (Vec<u32>, Vec<u8>) {
        let log = self.log.borrow();
        let found = log.iter().rfind(|question| question.0 == name);
        let (_, words, data) = found.unwrap_or_else(|| panic!("no {name} in {log:?}"));
        (words.clone(), data.clone())
    }

    /// What was asked since the last time, by name.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        let log = self.log.take();
        log.into_iter().map(|(name, ..)| name).collect()
    }

    /// The one thing that was asked since the last time.
    pub(crate) fn question(&self) -> Question {
        let mut log = self.log.take();
        assert_eq!(log.len(), 1, "{log:?}");
        log.remove(0)
    }
}

/// The words that data is made of.
pub(crate) fn words(data: &[u8]) -> Vec<u64> {
    let words = data.chunks_exact(8);
    words
        .map(|word| u64::from_le_bytes(word.try_into().unwrap()))
        .collect()
}

/// A device of this id, whose moves can be looked at.
pub(crate) fn bound(
    iommufd: &Iommufd,
    id: u32,
    group: GroupIdentity,
    driver: &Arc<Driver>,
) -> Device {
    let driver = Arc::clone(driver);
    // SAFETY: nobody has bound it, and no kernel knows of it: nothing can come of a wrong id.
    unsafe { Device::from_bound(iommufd, id, group, driver) }.unwrap()
}
