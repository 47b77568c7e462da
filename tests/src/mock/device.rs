//! A mock device, as a driver gives it to the SDK.
//!
//! The kernel's mock devices are born bound *and* attached, and can only be moved. So the driver makes its device on an
//! address space of its own, where it is parked: to attach is to move it from there, to detach is to move it back.

// UNSAFETY: implements the driver's contract, and vouches for what it has bound.
#![expect(unsafe_code, reason = "implements an unsafe trait")]

use std::fmt;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Instant;

use iommufd::driver::{DeviceDriver, Notices, PageTableId};
use iommufd::{Device, GroupIdentity, IoctlEvent, Iommufd, Iova, KernelError, Pasid};
use parking_lot::Mutex;
use rustix::io::Errno;

use super::{abi, call};
use crate::raw;

/// A device of the mock driver, bound to a context. It can be used as the [`Device`] it is.
#[derive(Debug, Clone)]
pub struct MockDevice {
    device: Device,
    insight: Arc<Insight>,
}

/// What kind of mock device to make.
#[derive(Debug, Clone, Copy)]
pub struct MockOptions {
    /// What the SDK is told of its group. In truth each mock device has a group of its own.
    pub identity: GroupIdentity,
    /// Of `abi::DEVICE_*`.
    pub flags: u32,
}

impl Default for MockOptions {
    fn default() -> Self {
        Self {
            identity: GroupIdentity::Alone,
            flags: 0,
        }
    }
}

/// What a test knows of a device and can make it do.
#[derive(Debug)]
struct Insight {
    id: u32,
    page_table: AtomicU32,
    refuses_detach: AtomicBool,
    pulled_out: AtomicBool,
    stdev: u32,
    /// Which PASIDs are attached: the mock attaches with one call and moves with another.
    pasids: Mutex<Vec<Pasid>>,
}

impl MockDevice {
    /// A device in a group of its own.
    ///
    /// # Errors
    /// The kernel's.
    pub fn new(iommufd: &Iommufd) -> iommufd::Result<Self> {
        Self::with(iommufd, MockOptions::default())
    }

    /// A device of whose group the SDK is told `identity`.
    ///
    /// # Errors
    /// The kernel's.
    pub fn in_group(iommufd: &Iommufd, identity: GroupIdentity) -> iommufd::Result<Self> {
        let options = MockOptions {
            identity,
            ..MockOptions::default()
        };
        Self::with(iommufd, options)
    }

    /// A device.
    ///
    /// # Errors
    /// The kernel's.
    pub fn with(iommufd: &Iommufd, options: MockOptions) -> iommufd::Result<Self> {
        iommufd.check_process()?;
        let parking = Parking::new(iommufd)?;
        let made = call::mock_domain(iommufd, parking.ioas, options.flags).map_err(refusal)?;
        let insight = Arc::new(Insight {
            id: made.out_idev_id,
            page_table: AtomicU32::new(made.out_hwpt_id),
            refuses_detach: AtomicBool::new(false),
            pulled_out: AtomicBool::new(false),
            stdev: made.out_stdev_id,
            pasids: Mutex::default(),
        });
        let driver = Arc::new(MockDriver {
            insight: Arc::clone(&insight),
            parking,
        });
        // SAFETY: the kernel has bound the device to this context just now, under this id, and nobody else knows of it.
        // It has a group of its own: an identity that says less, or makes it share one, forbids more than it must.
        let device = unsafe { Device::from_bound(iommufd, insight.id, options.identity, driver) }?;
        Ok(Self { device, insight })
    }

    /// The kernel's id of the bound device.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.insight.id
    }

    /// The kernel's id of the page table that the device goes through now.
    #[must_use]
    pub fn page_table(&self) -> u32 {
        self.insight.page_table.load(Ordering::Relaxed)
    }

    /// Whether the device, at `iova`, finds exactly the pages that `bytes` are in.
    ///
    /// # Errors
    /// `EINVAL`: it does not.
    pub fn check_map(&self, iova: Iova, bytes: NonNull<[u8]>) -> Result<(), Errno> {
        call::check_map(self.iommufd(), self.page_table(), iova.get(), bytes)
    }

    /// The kernel's id of the mock device that stands behind the bound one: destroying that unbinds it.
    #[must_use]
    pub fn stdev(&self) -> u32 {
        self.insight.stdev
    }

    /// Whether `pasid` goes through the page table `hwpt`, or, if that is 0, through none.
    ///
    /// # Errors
    /// `EINVAL`: it does not.
    pub fn check_pasid(&self, pasid: Pasid, hwpt: u32) -> Result<(), Errno> {
        call::pasid_check(self.iommufd(), self.stdev(), pasid.get(), hwpt)
    }

    /// From now on the driver refuses to detach the device, or its PASIDs, or no longer.
    pub fn refuse_detach(&self, refuse: bool) {
        self.insight.refuses_detach.store(refuse, Ordering::Relaxed);
    }

    /// Unbinds the device behind the SDK's back, as who has a duplicate of its file can: all that is left of it in the
    /// kernel is gone, and its id is anybody's.
    ///
    /// # Errors
    /// The kernel's.
    pub fn pull_out(&self) -> Result<(), Errno> {
        raw::destroy(self.iommufd(), self.stdev())?;
        self.insight.pulled_out.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// The device alone.
    #[must_use]
    pub fn into_device(self) -> Device {
        self.device
    }
}

impl Deref for MockDevice {
    type Target = Device;

    fn deref(&self) -> &Device {
        &self.device
    }
}

/// The driver of one device.
struct MockDriver {
    insight: Arc<Insight>,
    parking: Parking,
}

impl MockDriver {
    fn replace(&self, pt: u32, notices: &mut Notices<'_>) -> Result<(), KernelError> {
        let page_table = self.note(notices, || {
            call::mock_domain_replace(&self.parking.iommufd, self.insight.stdev, pt)
        })?;
        self.insight.page_table.store(page_table, Ordering::Relaxed);
        Ok(())
    }

    /// Makes a call, and notes it.
    fn note<T: Copy>(
        &self,
        notices: &mut Notices<'_>,
        call: impl FnOnce() -> Result<T, Errno>,
    ) -> Result<T, KernelError> {
        if self.insight.pulled_out.load(Ordering::Relaxed) {
            return Err(refusal(Errno::NOENT));
        }
        let begin = Instant::now();
        let answer = call();
        let event = IoctlEvent::new(abi::DESCRIPTION, answer.map(drop), begin.elapsed());
        notices.note(event);
        answer.map_err(refusal)
    }
}

// SAFETY:
// - The device is bound from the call that made it until its destruction in `drop`; if a test pulls it out before, nobody
//   uses its id any more but to be refused.
// - Success is what the kernel answered to the move.
// - A mock device does no DMA; what it is attached to while it counts as detached is an address space in which nothing
//   is ever mapped, and that nobody else knows.
unsafe impl DeviceDriver for MockDriver {
    unsafe fn attach(
        &self,
        target: PageTableId,
        notices: &mut Notices<'_>,
    ) -> Result<(), KernelError> {
        self.replace(target.get(), notices)
    }

    unsafe fn attach_pasid(
        &self,
        pasid: Pasid,
        target: PageTableId,
        notices: &mut Notices<'_>,
    ) -> Result<(), KernelError> {
        let (iommufd, stdev) = (&self.parking.iommufd, self.insight.stdev);
        let mut attached = self.insight.pasids.lock();
        let known = attached.contains(&pasid);
        self.note(notices, || match known {
            true => call::pasid_replace(iommufd, stdev, pasid.get(), target.get()),
            false => call::pasid_attach(iommufd, stdev, pasid.get(), target.get()),
        })?;
        if !known {
            attached.push(pasid);
        }
        Ok(())
    }

    unsafe fn detach_pasid(
        &self,
        pasid: Pasid,
        notices: &mut Notices<'_>,
    ) -> Result<(), KernelError> {
        if self.insight.refuses_detach.load(Ordering::Relaxed) {
            return Err(refusal(Errno::BUSY));
        }
        self.note(notices, || {
            call::pasid_detach(&self.parking.iommufd, self.insight.stdev, pasid.get())
        })?;
        self.insight.pasids.lock().retain(|other| *other != pasid);
        Ok(())
    }

    unsafe fn detach(&self, notices: &mut Notices<'_>) -> Result<(), KernelError> {
        if self.insight.refuses_detach.load(Ordering::Relaxed) {
            return Err(refusal(Errno::BUSY));
        }
        if self.insight.pulled_out.load(Ordering::Relaxed) {
            // To be unbound it was detached.
            return Ok(());
        }
        self.replace(self.parking.ioas, notices)
    }
}

impl Drop for MockDriver {
    fn drop(&mut self) {
        if !self.insight.pulled_out.load(Ordering::Relaxed) {
            self.parking.destroy(self.insight.stdev);
        }
    }
}

impl fmt::Debug for MockDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MockDriver")
            .field("stdev", &self.insight.stdev)
            .finish_non_exhaustive()
    }
}

/// The address space in which a device waits to be attached.
struct Parking {
    ioas: u32,
    iommufd: Iommufd,
}

impl Parking {
    fn new(iommufd: &Iommufd) -> Result<Self, KernelError> {
        let ioas = raw::ioas_alloc(iommufd).map_err(refusal)?;
        let iommufd = iommufd.clone();
        Ok(Self { ioas, iommufd })
    }

    /// Destroys an object of this process.
    fn destroy(&self, id: u32) {
        if self.iommufd.check_process().is_ok() {
            let gone = raw::destroy(&self.iommufd, id);
            assert!(gone.is_ok() || std::thread::panicking(), "{id}: {gone:?}");
        }
    }
}

impl Drop for Parking {
    fn drop(&mut self) {
        self.destroy(self.ioas);
    }
}

fn refusal(errno: Errno) -> KernelError {
    KernelError::new(abi::DESCRIPTION.name, errno, "the mock driver refused")
}
