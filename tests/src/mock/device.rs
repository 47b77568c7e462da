//! A mock device, as a driver gives it to the SDK.
//!
//! The kernel's mock devices are born bound *and* attached, and can only be moved. So the driver makes its device on an
//! address space of its own, where it is parked: to attach is to move it from there, to detach is to move it back. A
//! device with PASIDs is parked on a page table for PASIDs, as beside any other they cannot be attached.

// UNSAFETY: implements the driver's contract, and vouches for what it has bound.
#![expect(unsafe_code, reason = "implements an unsafe trait")]

use std::fmt;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Instant;

use iommufd::driver::{DeviceDriver, Kept, Notices, PageTableId};
use iommufd::{Device, GroupIdentity, IoctlEvent, Iommufd, Iova, KernelError, Pasid};
use iommufd_sys::iommufd as sys;
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
    refuses_attach: AtomicBool,
    refuses_detach: AtomicBool,
    pulled_out: AtomicBool,
    stdev: u32,
    /// Which PASIDs are attached: the mock attaches with one call and moves with another.
    pasids: Mutex<Vec<Pasid>>,
    /// What else to do when the device is to be attached.
    hook: Mutex<Option<Hook>>,
}

#[derive(Clone)]
struct Hook(Arc<dyn Fn() + Send + Sync>);

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hook").finish_non_exhaustive()
    }
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

    /// A device with PASIDs, in a group of its own.
    ///
    /// # Errors
    /// The kernel's.
    pub fn with_pasids(iommufd: &Iommufd) -> iommufd::Result<Self> {
        let options = MockOptions {
            flags: abi::DEVICE_PASID,
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
            refuses_attach: AtomicBool::new(false),
            refuses_detach: AtomicBool::new(false),
            pulled_out: AtomicBool::new(false),
            stdev: made.out_stdev_id,
            pasids: Mutex::default(),
            hook: Mutex::default(),
        });
        let mut driver = MockDriver {
            insight: Arc::clone(&insight),
            parking,
            kept: Mutex::default(),
        };
        if options.flags & abi::DEVICE_PASID != 0 {
            driver.park_for_pasids().map_err(refusal)?;
        }
        let driver = Arc::new(driver);
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

    /// From now on the driver refuses to attach the device, or to move it, or no longer.
    pub fn refuse_attach(&self, refuse: bool) {
        self.insight.refuses_attach.store(refuse, Ordering::Relaxed);
    }

    /// What lets the driver refuse the second time that the device is to be attached or moved from now on, and after.
    pub fn refuse_second_attach(&self) {
        let (insight, times) = (Arc::downgrade(&self.insight), AtomicU32::new(0));
        self.before_attach(move || {
            if let Some(insight) = insight.upgrade()
                && times.fetch_add(1, Ordering::Relaxed) == 1
            {
                insight.refuses_attach.store(true, Ordering::Relaxed);
            }
        });
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

    /// From now on, whenever the device or a PASID of it is to be attached or moved, `hook` is called before.
    pub fn before_attach(&self, hook: impl Fn() + Send + Sync + 'static) {
        *self.insight.hook.lock() = Some(Hook(Arc::new(hook)));
    }

    /// What the kernel answers to a stranger with the same file who attaches a PASID to what has the id `pt`.
    ///
    /// # Errors
    /// The kernel's.
    pub fn stranger_attaches(&self, pasid: u32, pt: u32) -> Result<(), Errno> {
        call::pasid_attach(self.iommufd(), self.stdev(), pasid, pt)
    }

    /// As [`stranger_attaches`](Self::stranger_attaches), of a PASID that is attached already: it is moved.
    ///
    /// # Errors
    /// The kernel's.
    pub fn stranger_replaces(&self, pasid: u32, pt: u32) -> Result<(), Errno> {
        call::pasid_replace(self.iommufd(), self.stdev(), pasid, pt)
    }

    /// What the kernel answers to a stranger who detaches a PASID.
    ///
    /// # Errors
    /// The kernel's.
    pub fn stranger_detaches(&self, pasid: u32) -> Result<(), Errno> {
        call::pasid_detach(self.iommufd(), self.stdev(), pasid)
    }

    /// What the kernel answers to a stranger who moves the device itself to what has the id `pt`.
    ///
    /// # Errors
    /// The kernel's.
    pub fn stranger_moves(&self, pt: u32) -> Result<(), Errno> {
        call::mock_domain_replace(self.iommufd(), self.stdev(), pt).map(drop)
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
    kept: Mutex<Vec<Kept>>,
}

impl MockDriver {
    /// Moves the device to a page table at which it can wait with PASIDs attached.
    fn park_for_pasids(&mut self) -> Result<(), Errno> {
        let (iommufd, ioas) = (&self.parking.iommufd, self.parking.ioas);
        let flags = sys::IOMMU_HWPT_ALLOC_PASID;
        let table = raw::hwpt_alloc(iommufd, flags, self.insight.id, ioas)?;
        self.parking.table = Some(table);
        let table = call::mock_domain_replace(iommufd, self.insight.stdev, table)?;
        self.insight.page_table.store(table, Ordering::Relaxed);
        Ok(())
    }

    fn run_hook(&self) {
        let hook = self.insight.hook.lock().clone();
        if let Some(Hook(hook)) = hook {
            hook();
        }
    }

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
// - What is kept is dropped after `drop` has destroyed the device.
unsafe impl DeviceDriver for MockDriver {
    unsafe fn attach(
        &self,
        target: PageTableId,
        notices: &mut Notices<'_>,
    ) -> Result<(), KernelError> {
        self.run_hook();
        if self.insight.refuses_attach.load(Ordering::Relaxed) {
            return Err(refusal(Errno::NOMEM));
        }
        self.replace(target.get(), notices)
    }

    unsafe fn attach_pasid(
        &self,
        pasid: Pasid,
        target: PageTableId,
        notices: &mut Notices<'_>,
    ) -> Result<(), KernelError> {
        self.run_hook();
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
        self.replace(self.parking.place(), notices)
    }

    fn keep(&self, kept: Kept) {
        self.kept.lock().push(kept);
    }
}

impl Drop for MockDriver {
    fn drop(&mut self) {
        if self.insight.pulled_out.load(Ordering::Relaxed) {
            return;
        }
        // VFIO does so when a device is closed; the mock driver leaves it to others.
        for pasid in self.insight.pasids.lock().drain(..) {
            let (iommufd, stdev) = (&self.parking.iommufd, self.insight.stdev);
            self.parking
                .undo(|| call::pasid_detach(iommufd, stdev, pasid.get()));
        }
        self.parking.destroy(self.insight.stdev);
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
    /// A page table of it for PASIDs, if the device has any.
    table: Option<u32>,
    iommufd: Iommufd,
}

impl Parking {
    fn new(iommufd: &Iommufd) -> Result<Self, KernelError> {
        let ioas = raw::ioas_alloc(iommufd).map_err(refusal)?;
        let iommufd = iommufd.clone();
        Ok(Self {
            ioas,
            table: None,
            iommufd,
        })
    }

    /// The kernel's id of where the device waits.
    fn place(&self) -> u32 {
        self.table.unwrap_or(self.ioas)
    }

    /// Undoes something in the process that did it.
    fn undo(&self, undo: impl Fn() -> Result<(), Errno>) {
        if self.iommufd.check_process().is_ok() {
            // A fault that is injected comes once.
            let undone = undo().or_else(|_| undo());
            assert!(undone.is_ok() || std::thread::panicking(), "{undone:?}");
        }
    }

    fn destroy(&self, id: u32) {
        self.undo(|| raw::destroy(&self.iommufd, id));
    }
}

impl Drop for Parking {
    fn drop(&mut self) {
        if let Some(table) = self.table {
            self.destroy(table);
        }
        self.destroy(self.ioas);
    }
}

/// The refusal of the mock driver's.
#[must_use]
pub fn refusal(errno: Errno) -> KernelError {
    KernelError::new(abi::DESCRIPTION.name, errno, "the mock driver refused")
}
