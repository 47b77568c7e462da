//! Tests: what the kernel is given, byte by byte, where there is no hardware to try it on.

// UNSAFETY: a device that nobody has bound, as no kernel is asked.
#![expect(unsafe_code, reason = "makes a device of a bind that never was")]

use std::cell::RefCell;
use std::fs::File;
use std::os::fd::{IntoRawFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use iommufd_sys::ioctl::iommufd as nr;
use parking_lot::Mutex;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;
use smmuv3_types::{Asid, InvalidationLimits};

mod relay;

use super::*;
use crate::context::Notices;
use crate::device::{DeviceDriver, Kept, PageTableId};
use crate::error::{Error, KernelError};
use crate::funnel::script::{Asked, answering};
use crate::{
    GroupIdentity, HwQueue, Ioas, Iommufd, NestParent, NestedHwPt, VDevice, VEventQueue, Viommu,
};

/// What the registers of the host's SMMU say: ASIDs of 16 bits, range invalidation; and the erratum.
const IDR: [u32; 6] = [0x0d44_101b, 0x0273_0010, 0, 0x1414, 0, 0x74];
/// Where the registers of the guest's queues are.
const PAGE: u64 = 0x1_0000;

/// What was asked: the name of the ioctl, the argument's words from `size` on, and what it points to.
type Log = Rc<RefCell<Vec<(&'static str, Vec<u32>, Vec<u8>)>>>;

/// Where a device was put.
#[derive(Debug, Default)]
struct Moves {
    /// The page tables that it was attached to, and `None` where it was detached.
    done: Mutex<Vec<Option<u32>>>,
    /// A page table to which it cannot be attached.
    refused: AtomicU32,
}

#[derive(Debug, Default)]
struct Driver(Arc<Moves>);

// SAFETY: nothing is bound, and nothing released.
unsafe impl DeviceDriver for Driver {
    unsafe fn attach(&self, to: PageTableId, _: &mut Notices<'_>) -> Result<(), KernelError> {
        if self.0.refused.load(Ordering::Relaxed) == to.get() {
            return Err(KernelError::new(
                "attach",
                Errno::NOMEM,
                "it was to be refused",
            ));
        }
        self.0.done.lock().push(Some(to.get()));
        Ok(())
    }

    unsafe fn detach(&self, _: &mut Notices<'_>) -> Result<(), KernelError> {
        self.0.done.lock().push(None);
        Ok(())
    }

    fn keep(&self, _: Kept) {
        unreachable!("nothing of this device is stuck");
    }
}

/// Plays a kernel on a machine with a Tegra241, whose SMMU says this of itself. Every object gets the
/// next id.
fn tegra(
    log: &Log,
    idr0: u32,
    capabilities: u32,
) -> impl FnMut(Asked<'_>) -> Result<(), Errno> + use<> {
    let log = Rc::clone(log);
    let mut id = 100;
    move |mut asked| {
        // Where the id goes, and where the data is with its length.
        let (name, out, data) = match asked.opcode {
            op if op == nr::OPTION.request() => ("OPTION", None, None),
            op if op == nr::DESTROY.request() => ("DESTROY", None, None),
            op if op == nr::IOAS_ALLOC.request() => ("IOAS_ALLOC", Some(8), None),
            op if op == nr::HWPT_ALLOC.request() => ("HWPT_ALLOC", Some(16), Some((32, 28))),
            op if op == nr::VIOMMU_ALLOC.request() => ("VIOMMU_ALLOC", Some(20), Some((32, 24))),
            op if op == nr::VDEVICE_ALLOC.request() => ("VDEVICE_ALLOC", Some(12), None),
            op if op == nr::FAULT_QUEUE_ALLOC.request() => ("FAULT_QUEUE_ALLOC", Some(8), None),
            op if op == nr::VEVENTQ_ALLOC.request() => ("VEVENTQ_ALLOC", Some(20), None),
            op if op == nr::HW_QUEUE_ALLOC.request() => ("HW_QUEUE_ALLOC", Some(20), None),
            op if op == nr::HWPT_INVALIDATE.request() => ("HWPT_INVALIDATE", None, None),
            op if op == nr::GET_HW_INFO.request() => ("GET_HW_INFO", None, None),
            _ => return Err(Errno::NOTTY),
        };
        let mut bytes = Vec::new();
        if let Some((address, len)) = data
            && let len @ 1.. = asked.u32(len)
        {
            bytes = asked.data(address, len as usize).to_vec();
        }
        match name {
            "OPTION" => asked.arg[16..24].fill(0),
            "HWPT_INVALIDATE" => {
                let len = asked.u32(20) * asked.u32(24);
                bytes = asked.data(8, len as usize).to_vec();
            }
            "GET_HW_INFO" => {
                asked.set_u32(24, 2);
                asked.set_u32(32, capabilities);
                let words = [[1, 0, idr0].as_slice(), &IDR[1..], &[0, 0]].concat();
                let info: Vec<u8> = words
                    .iter()
                    .flat_map(|word: &u32| word.to_ne_bytes())
                    .collect();
                asked.data_mut(16, info.len()).copy_from_slice(&info);
                asked.set_u32(12, 40);
            }
            _ => {}
        }
        let words = asked.arg[4..].chunks_exact(4);
        let words = words.map(|word| u32::from_ne_bytes(word.try_into().unwrap()));
        log.borrow_mut().push((name, words.collect(), bytes));
        if let Some(out) = out {
            id += 1;
            asked.set_u32(out, id);
        }
        if name == "VIOMMU_ALLOC" && asked.u32(8) == 2 {
            let answer: Vec<u8> = [PAGE, PAGE].iter().flat_map(|n| n.to_ne_bytes()).collect();
            asked.data_mut(32, 16).copy_from_slice(&answer);
        }
        if let Some(file_at) = match name {
            "VEVENTQ_ALLOC" => Some(24),
            "FAULT_QUEUE_ALLOC" => Some(12),
            _ => None,
        } {
            let file: OwnedFd = File::open("/dev/null").unwrap().into();
            asked.set_u32(file_at, file.into_raw_fd().unsigned_abs());
        }
        Ok(())
    }
}

/// The device 7 on an SMMU of that machine, with a parent of tables, and what will be asked.
fn machine() -> (impl Drop, NestParent, Device, Log) {
    machine_that_says(IDR[0], 0)
}

/// The same on a machine that says this of itself.
fn machine_that_says(idr0: u32, capabilities: u32) -> (impl Drop, NestParent, Device, Log) {
    let log = Log::default();
    let kernel = answering(tegra(&log, idr0, capabilities));
    let file = memfd_create("iommufd", MemfdFlags::CLOEXEC).unwrap();
    rustix::fs::ftruncate(&file, 2 * PAGE).unwrap();
    let iommufd = Iommufd::from_fd(file).unwrap();
    let device = bound(&iommufd, 7, GroupIdentity::Alone, &Arc::default());
    let ioas = Ioas::new(&iommufd).unwrap();
    let parent = NestParent::new(&ioas, &device).unwrap();
    log.borrow_mut().clear();
    (kernel, parent, device, log)
}

/// A device of this id, whose moves can be looked at.
fn bound(iommufd: &Iommufd, id: u32, group: GroupIdentity, moves: &Arc<Moves>) -> Device {
    let driver = Arc::new(Driver(Arc::clone(moves)));
    // SAFETY: nobody has bound it, and no kernel knows of it: nothing can come of a wrong id.
    unsafe { Device::from_bound(iommufd, id, group, driver) }.unwrap()
}

/// The last thing that was asked under this name.
fn asked(log: &Log, name: &str) -> (Vec<u32>, Vec<u8>) {
    let log = log.borrow();
    let found = log.iter().rfind(|entry| entry.0 == name);
    let (_, words, bytes) = found.unwrap_or_else(|| panic!("no {name} in {log:?}"));
    (words.clone(), bytes.clone())
}

fn words(bytes: &[u8]) -> Vec<u64> {
    let words = bytes.chunks_exact(8);
    words
        .map(|word| u64::from_le_bytes(word.try_into().unwrap()))
        .collect()
}

#[test]
fn a_tegra241_is_asked_for_with_its_structures() {
    let (_kernel, parent, device, log) = machine();
    let (viommu, _events) = Viommu::<Tegra241Cmdqv>::with_data_and_events::<EventRecord>(
        &parent,
        &device,
        VintfPage::default(),
        512,
    )
    .unwrap();
    // flags, type, device, parent, the id to come, the length of the data, reserved, its address.
    let (words, data) = asked(&log, "VIOMMU_ALLOC");
    assert_eq!(words[..7], [0, 2, 7, 102, 0, 16, 0]);
    assert_eq!(data, [0; 16]);
    // flags, virtual IOMMU, type, depth.
    assert_eq!(asked(&log, "VEVENTQ_ALLOC").0[..4], [0, 103, 1, 512]);
    let _errors = VEventQueue::<VcmdqErrors>::new(&viommu, 16).unwrap();
    assert_eq!(asked(&log, "VEVENTQ_ALLOC").0[..4], [0, 103, 2, 16]);

    assert_eq!(viommu.map_page().unwrap().len(), 0x1_0000);

    let range = |start: u64| IovaRange::new(Iova::new(start), Iova::new(start + 0xfff)).unwrap();
    let first = HwQueue::first(&viommu, range(0x4000_0000)).unwrap();
    // flags, virtual IOMMU, type, index, the id to come, the address, the length.
    let (words, _) = asked(&log, "HW_QUEUE_ALLOC");
    assert_eq!(words, [0, 103, 1, 0, 0, 0x4000_0000, 0, 0x1000, 0]);
    let _second = HwQueue::after(&first, range(0x4000_1000)).unwrap();
    let (words, _) = asked(&log, "HW_QUEUE_ALLOC");
    assert_eq!(words, [0, 103, 1, 1, 0, 0x4000_1000, 0, 0x1000, 0]);
}

#[test]
fn a_virtual_smmu_is_asked_for_without_data() {
    let (_kernel, parent, device, log) = machine();
    let viommu = Viommu::<Smmuv3>::new(&parent, &device).unwrap();
    let (words, data) = asked(&log, "VIOMMU_ALLOC");
    assert_eq!(words, [0, 1, 7, 102, 0, 0, 0, 0, 0]);
    assert_eq!(data, []);
    let limits = InvalidationLimits::NONE.with_ril(true).with_asid16(true);
    assert_eq!(*viommu.demands().limits(), limits);
}

#[test]
fn a_guests_entry_and_number_reach_the_kernel_as_they_are() {
    let (_kernel, parent, device, log) = machine();
    let viommu =
        Viommu::<Tegra241Cmdqv>::with_data(&parent, &device, VintfPage::default()).unwrap();
    let entry = NestedSte::from_words([0x0000_0000_4000_000b, 0x0800_00fe]).unwrap();
    let nested = NestedHwPt::new(&viommu, &device, &entry).unwrap();
    // flags, device, what it is nested in, the id to come, reserved, the type of the data, its length.
    let (head, data) = asked(&log, "HWPT_ALLOC");
    assert_eq!(head[..7], [0, 7, 103, 0, 0, 2, 16]);
    assert_eq!(words(&data), entry.words());
    let vdevice = VDevice::new(&viommu, &device, StreamId::new(0x42)).unwrap();
    // The virtual IOMMU, the device, the id to come, the guest's number.
    assert_eq!(asked(&log, "VDEVICE_ALLOC").0, [103, 7, 0, 0x42, 0]);

    // The device comes to the table, and then what it must not find there is invalidated; twice, as
    // the hardware has the erratum.
    log.borrow_mut().clear();
    let stale = StaleAsids::Invalidate(vec![Asid::new(3), Asid::new(0x1234)]);
    let attachment = vdevice.attach(&nested, stale).unwrap();
    let (head, data) = asked(&log, "HWPT_INVALIDATE");
    // The virtual IOMMU, the address, the type, the length of each, their number, reserved.
    assert_eq!(head[0], 103);
    assert_eq!(head[3..], [1, 16, 2, 0]);
    assert_eq!(
        words(&data),
        [0x0003_0000_0000_0011, 0, 0x1234_0000_0000_0011, 0]
    );
    assert_eq!(log.borrow().len(), 2);
    drop(attachment);
    drop(
        vdevice
            .attach(&nested, StaleAsids::GuestInvalidates)
            .unwrap(),
    );
    assert_eq!(log.borrow().len(), 2, "nothing is invalidated");
}

#[test]
fn what_the_hosts_smmu_has_not_is_not_asked_of_it() {
    let (_kernel, parent, device, log) = machine();
    let viommu = Viommu::<Smmuv3>::new(&parent, &device).unwrap();
    log.borrow_mut().clear();
    let all = InvalidationLimits::NONE.with_ats(true);
    let span = smmuv3_types::AtcSpan::ALL;
    let address = smmuv3_types::InputAddress::default();
    let atc = Invalidation::atc_inv(StreamId::new(1), None, address, span, &all).unwrap();
    let refused = viommu.invalidate(&[Invalidation::tlbi_nh_all(), atc]);
    assert!(matches!(
        refused,
        Err(Error::InvalidationNotThere { index: 1, .. })
    ));
    assert!(log.borrow().is_empty());
}
