//! A machine that is played: a device behind an IOMMU that says of itself what a test wants.

// UNSAFETY: a device that nobody has bound, as no kernel is asked.
#![expect(unsafe_code, reason = "makes a device of a bind that never was")]

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::rc::Rc;
use std::sync::Arc;

use iommufd_sys::ioctl::iommufd as nr;
use parking_lot::Mutex;
use rustix::io::Errno;

use super::{Asked, answering};
use crate::context::Notices;
use crate::device::{Device, DeviceDriver, Kept, PageTableId};
use crate::error::KernelError;
use crate::group::GroupIdentity;
use crate::pasid::Pasid;
use crate::{Ioas, Iommufd};

/// What was asked: the name of the ioctl, the argument's words from `size` on, and what it points to.
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
}

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
    fn go(&self, pasid: u32, to: Option<u32>) -> Result<(), KernelError> {
        if to.is_none() && *self.stuck.lock() {
            let cause = "it was to be refused";
            return Err(KernelError::new("detach", Errno::NOMEM, cause));
        }
        if to.is_some() && to == *self.refused.lock() {
            let cause = "it was to be refused";
            return Err(KernelError::new("attach", Errno::BUSY, cause));
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

impl Kernel {
    fn answer(&mut self, mut asked: Asked<'_>) -> Result<(), Errno> {
        // Where the id goes that comes back.
        let (name, out) = match asked.opcode {
            op if op == nr::OPTION.request() => ("OPTION", None),
            op if op == nr::DESTROY.request() => ("DESTROY", None),
            op if op == nr::IOAS_ALLOC.request() => ("IOAS_ALLOC", Some(8)),
            op if op == nr::IOAS_MAP.request() => ("IOAS_MAP", None),
            op if op == nr::IOAS_MAP_FILE.request() => ("IOAS_MAP", None),
            op if op == nr::IOAS_COPY.request() => ("IOAS_COPY", None),
            op if op == nr::IOAS_UNMAP.request() => ("IOAS_UNMAP", None),
            op if op == nr::HWPT_ALLOC.request() => ("HWPT_ALLOC", Some(16)),
            op if op == nr::HWPT_INVALIDATE.request() => ("HWPT_INVALIDATE", None),
            op if op == nr::GET_HW_INFO.request() => ("GET_HW_INFO", None),
            _ => return Err(Errno::NOTTY),
        };
        let words = asked.arg[4..].chunks_exact(4);
        let words = words.map(|word| u32::from_ne_bytes(word.try_into().unwrap()));
        let words = words.collect();
        let data = match name {
            "HWPT_ALLOC" if asked.u32(28) > 0 => asked.data(32, asked.u32(28) as usize).to_vec(),
            "HWPT_INVALIDATE" => {
                let len = asked.u32(20) * asked.u32(24);
                asked.data(8, len as usize).to_vec()
            }
            _ => Vec::new(),
        };
        self.log.borrow_mut().push((name, words, data));
        if let Some((refused, errno, done)) = self.refuse.get()
            && refused == name
        {
            if name == "HWPT_INVALIDATE" {
                asked.set_u32(24, done);
            }
            return Err(errno);
        }
        match name {
            "OPTION" => asked.arg[16..24].fill(0),
            "GET_HW_INFO" => {
                let info = self.info.borrow();
                asked
                    .data_mut(16, info.data.len())
                    .copy_from_slice(&info.data);
                asked.set_u32(12, u32::try_from(info.data.len()).unwrap());
                asked.set_u32(24, info.kind);
                asked.arg[28] = info.pasid_bits;
            }
            _ => {}
        }
        if let Some(out) = out {
            self.id += 1;
            asked.set_u32(out, self.id);
        }
        Ok(())
    }
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
        let file = File::open("/dev/null").unwrap().into();
        let iommufd = Iommufd::from_fd(file).unwrap();
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
