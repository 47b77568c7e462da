//! The relay for VT-d over the kernel's mock driver, whose IOMMU nests, but no tables of VT-d's: everything but translation.
//! No machine that is emulated has a VT-d that nests.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::cell::RefCell;

use iommufd::vtd::relay::{
    GuestMemory, Host, Kernel, Place, PortError, Relay, RelayedDevice, Report, Unreadable,
};
use iommufd::{Error, Ioas, Iommufd, Leaks, NestParent};
use rustix::io::Errno;
use tests::mock::MockDevice;
use tests::pasids::pasid;
use tests::{ids, raw};
use vtd_types::{
    Cap, Capabilities, DomainId, Ecap, Features, Gcmd, Gpa, HostAddressWidth, Pasid, PasidEntry,
    PasidTranslationType, Rtaddr, ScalableContextEntry, SourceId,
};

const ROOT: u64 = 0x1000;
const CONTEXT: u64 = 0x2000;
const DIRECTORY: u64 = 0x3000;
const ENTRIES: u64 = 0x4000;

/// `pc_inv_dsc` of everything.
const CHANGED: [u64; 4] = [0x37, 0, 0, 0];

/// Six pages of a guest's, with a device 00:00.0 that has PASIDs, of which none has an entry yet.
struct Memory(RefCell<Vec<u8>>);

impl Memory {
    fn new() -> Self {
        let memory = Self(RefCell::new(vec![0; 0x6000]));
        let context = ScalableContextEntry::default()
            .with_p(true)
            .with_paside(true)
            .with_pasiddirptr(Gpa::new(DIRECTORY).unwrap());
        memory.write(ROOT, &[CONTEXT | 1]);
        memory.write(CONTEXT, &context.words());
        memory.write(DIRECTORY, &[ENTRIES | 1]);
        memory
    }

    fn write(&self, at: u64, words: &[u64]) {
        let at = usize::try_from(at).unwrap();
        let bytes: Vec<_> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.0.borrow_mut()[at..at + bytes.len()].copy_from_slice(&bytes);
    }

    fn write_entry(&self, pasid: u64, pgtt: Option<PasidTranslationType>) {
        let entry = match pgtt {
            None => PasidEntry::default(),
            Some(pgtt) => PasidEntry::default()
                .with_p(true)
                .with_pgtt(pgtt)
                .with_did(DomainId::new(3))
                .with_fsptptr(Gpa::new(0x5000).unwrap()),
        };
        self.write(ENTRIES + 64 * pasid, &entry.words());
    }
}

impl GuestMemory for Memory {
    fn read(&self, address: Gpa, bytes: &mut [u8]) -> Result<(), Unreadable> {
        let at = usize::try_from(address.get()).map_err(|_| Unreadable)?;
        let memory = self.0.borrow();
        let found = memory.get(at..).unwrap_or_default();
        bytes.copy_from_slice(found.get(..bytes.len()).ok_or(Unreadable)?);
        Ok(())
    }
}

/// The relay of a guest with PASIDs of 6 bits.
fn relay(parent: &NestParent) -> Relay<Kernel> {
    let ecap = Ecap::default()
        .with_qi(true)
        .with_smts(true)
        .with_fsts(true)
        .with_pt(true);
    let offered = Capabilities {
        cap: Cap::default().with_cm(true),
        ecap: ecap.with_pasid(true).with_pss(5),
    };
    let features = Features::new(offered, HostAddressWidth::MAX).unwrap();
    Relay::new(Kernel::new(parent), features).unwrap()
}

const THROUGH: Option<PasidTranslationType> = Some(PasidTranslationType::PassThrough);
const FIRST_STAGE: Option<PasidTranslationType> = Some(PasidTranslationType::FirstStage);

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn devices_and_pasids_go_where_the_guest_says() {
    let iommufd = Iommufd::open().unwrap();
    let device = MockDevice::with_pasids(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let parent = NestParent::builder(&ioas, &device).pasid(true);
    let parent = parent.allocate().unwrap();
    let objects = raw::objects(&iommufd);
    let memory = Memory::new();
    let mut relay = relay(&parent);
    let plugged = RelayedDevice::new((*device).clone()).with_pasids().unwrap();
    let port = relay
        .plug(plugged, Some(SourceId::new(0)), &memory)
        .unwrap();
    let bypass = ids::of(&parent);
    assert_eq!(device.page_table(), bypass);

    let on = Gcmd::default().with_te(true).with_srtp(true);
    relay.write_gcmd(on, Rtaddr::from_bits(ROOT | 1 << 10), &memory);
    let blocked = device.page_table();
    assert_ne!(blocked, bypass);
    assert!(device.is_attached());
    let five = Pasid::new(5);
    for _ in 0..3 {
        memory.write_entry(0, THROUGH);
        memory.write_entry(5, THROUGH);
        let _taken = relay.take(CHANGED, &memory).unwrap();
        assert_eq!(device.page_table(), bypass);
        device.check_pasid(pasid(5), bypass).unwrap();
        assert_eq!(relay.place(&port, five), Some(Place::Bypass));
        memory.write_entry(0, None);
        let _taken = relay.take(CHANGED, &memory).unwrap();
        assert_eq!(device.page_table(), blocked);
        device.check_pasid(pasid(5), bypass).unwrap();
        memory.write_entry(5, None);
        let _taken = relay.take(CHANGED, &memory).unwrap();
        device.check_pasid(pasid(5), 0).unwrap();
    }
    assert!(relay.take_reports().is_empty());

    // What the kernel refuses is blocked, and left nowhere else.
    memory.write_entry(0, THROUGH);
    memory.write_entry(5, THROUGH);
    let _taken = relay.take(CHANGED, &memory).unwrap();
    memory.write_entry(0, FIRST_STAGE);
    memory.write_entry(5, FIRST_STAGE);
    let _taken = relay.take(CHANGED, &memory).unwrap();
    assert_eq!(device.page_table(), blocked);
    device.check_pasid(pasid(5), 0).unwrap();
    let _flushed = relay.flush().unwrap();
    let reports = relay.take_reports();
    assert_eq!(reports.len(), 2, "{reports:?}");
    for report in reports {
        let Report::PlaceRefused { error, .. } = report else {
            panic!("{report:?}");
        };
        assert_eq!(error.errno(), Some(Errno::OPNOTSUPP), "{error}");
    }

    memory.write_entry(5, THROUGH);
    let _taken = relay.take(CHANGED, &memory).unwrap();
    let plugged = relay.unplug(port).unwrap();
    assert!(!device.is_attached());
    device.check_pasid(pasid(5), 0).unwrap();
    drop((plugged, relay));
    assert_eq!(raw::objects(&iommufd), objects, "nothing is left");
    assert_eq!(iommufd.leaks(), Leaks::default());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_relay_that_is_dropped_leaves_nothing_attached() {
    let iommufd = Iommufd::open().unwrap();
    let device = MockDevice::with_pasids(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let parent = NestParent::builder(&ioas, &device).pasid(true);
    let parent = parent.allocate().unwrap();
    let objects = raw::objects(&iommufd);
    let memory = Memory::new();
    memory.write_entry(0, THROUGH);
    memory.write_entry(5, THROUGH);
    let mut relay = relay(&parent);
    let on = Gcmd::default().with_te(true).with_srtp(true);
    relay.write_gcmd(on, Rtaddr::from_bits(ROOT | 1 << 10), &memory);
    let plugged = RelayedDevice::new((*device).clone()).with_pasids().unwrap();
    assert_eq!(relay.host().pasid_bits(&plugged), 20);
    let _port = relay
        .plug(plugged, Some(SourceId::new(0)), &memory)
        .unwrap();
    device.check_pasid(pasid(5), ids::of(&parent)).unwrap();
    // Nobody else attaches it behind the relay's back.
    let refused = device.attach(&ioas).unwrap_err();
    assert!(matches!(refused, Error::AlreadyAttached), "{refused}");
    let again = RelayedDevice::new((*device).clone());
    let refused = relay.plug(again, None, &memory).unwrap_err();
    assert!(matches!(
        refused.error(),
        PortError::Enter(Error::AlreadyAttached)
    ));
    drop((refused, relay));
    assert!(!device.is_attached());
    device.check_pasid(pasid(5), 0).unwrap();
    assert_eq!(raw::objects(&iommufd), objects);
    assert_eq!(iommufd.leaks(), Leaks::default());
}
