//! The example's VT-d, as a guest's driver finds it, over the kernel's mock driver, which nests no tables of VT-d's:
//! registers, queue, interrupts and faults, and devices that bypass or are blocked.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use examples::guest::Memory;
use examples::virtual_vtd::{Message, Unit, register, wanted};
use examples::vtd_guest::{AddressSpace, Driver, Error, GuestRam};
use iommufd::vtd::relay::{Kernel, Place, Port, RelayedDevice, Report};
use iommufd::{Ioas, Iommufd, Leaks, NestParent};
use rustix::io::Errno;
use smmuv3_types::Ipa;
use tests::mock::MockDevice;
use tests::pasids::pasid;
use tests::{ids, raw};
use vtd_types::{
    Capabilities, Descriptor, DomainId, FaultReason, FaultRecord, Fsts, Gpa, HostCapabilities,
    InputAddress, Iqercd, Pasid, PasidEntry, PasidTranslationType, QueueError, SourceId,
};

const DEVICE: SourceId = SourceId::new(3 << 3);
const FIVE: Pasid = match Pasid::new(5) {
    Some(pasid) => pasid,
    None => panic!("of twenty bits"),
};

struct Machine {
    unit: Unit<Kernel>,
    driver: Driver,
    port: Port,
    ram: GuestRam,
    parent: NestParent,
    device: MockDevice,
    iommufd: Iommufd,
}

impl Machine {
    fn new() -> Self {
        let iommufd = Iommufd::open().unwrap();
        let device = MockDevice::with_pasids(&iommufd).unwrap();
        let ioas = Ioas::new(&iommufd).unwrap();
        let parent = NestParent::builder(&ioas, &device).pasid(true);
        let parent = parent.allocate().unwrap();
        // What a server reports.
        let host = Capabilities::from_bits(0x19ed_008c_4078_0c66, 0x0003_ef9e_86f0_50df);
        let offered = HostCapabilities::new(host).offer(wanted()).unwrap();
        let mut unit = Unit::new(Kernel::new(&parent), offered).unwrap();
        let ram = GuestRam(Memory::new(Ipa::new(0x4000_0000).unwrap(), 32).unwrap());
        let relayed = RelayedDevice::new((*device).clone()).with_pasids().unwrap();
        let port = unit.relay().plug(relayed, Some(DEVICE), &ram).unwrap();
        let driver = Driver::new(&ram, DEVICE).unwrap();
        Self {
            unit,
            driver,
            port,
            ram,
            parent,
            device,
            iommufd,
        }
    }

    fn start(&mut self) {
        self.driver.start(&mut self.unit, &self.ram).unwrap();
    }

    fn enter(&mut self, pasid: Pasid, entry: &PasidEntry) {
        let (unit, ram) = (&mut self.unit, &self.ram);
        self.driver.enter(unit, pasid, entry, ram).unwrap();
    }

    fn place(&mut self, pasid: Option<Pasid>) -> Place {
        self.unit.relay().place(&self.port, pasid).unwrap()
    }

    fn write(&mut self, offset: u64, value: u32) {
        self.unit.write(offset, value, &self.ram).unwrap();
    }

    /// What the registers of a message are, for it and from the first on.
    fn unmask(&mut self, first: u64) -> Message {
        let message = Message {
            address: 0x1_fee0_1000,
            data: first as u32,
        };
        self.write(first + 4, message.data);
        self.write(first + 8, message.address as u32);
        self.write(first + 12, (message.address >> 32) as u32);
        self.write(first, 0);
        message
    }

    fn messages(&mut self) -> Vec<Message> {
        self.unit.take_messages().collect()
    }
}

fn pass_through() -> PasidEntry {
    PasidEntry::default()
        .with_p(true)
        .with_pgtt(PasidTranslationType::PassThrough)
        .with_did(DomainId::new(1))
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_guests_driver_has_its_device_where_its_entries_say() {
    let mut machine = Machine::new();
    let objects = raw::objects(&machine.iommufd);
    let bypass = ids::of(&machine.parent);
    assert_eq!(machine.device.page_table(), bypass);
    machine.start();
    let blocked = machine.device.page_table();
    assert_ne!(blocked, bypass);
    machine.enter(Pasid::ZERO, &pass_through());
    machine.enter(FIVE, &pass_through());
    assert_eq!(machine.device.page_table(), bypass);
    machine.device.check_pasid(pasid(5), bypass).unwrap();
    machine.enter(FIVE, &PasidEntry::default());
    machine.device.check_pasid(pasid(5), 0).unwrap();

    // A first stage is the guest's right, and more than this kernel has: blocked, and told to who looks after it.
    let space = AddressSpace::new(&machine.ram, DomainId::new(2)).unwrap();
    let page = machine.ram.page().unwrap();
    space
        .map(InputAddress::new(0x1234_5678_9000), page, &machine.ram)
        .unwrap();
    assert_eq!(machine.unit.take_reports().len(), 0);
    machine.enter(Pasid::ZERO, &space.entry());
    assert_eq!(machine.place(None), Place::Blocked);
    assert_eq!(machine.device.page_table(), blocked);
    let reports = machine.unit.take_reports();
    let [Report::PlaceRefused { error, .. }] = &reports[..] else {
        panic!("{reports:?}");
    };
    assert_eq!(error.errno(), Some(Errno::OPNOTSUPP));

    let Machine {
        mut unit,
        port,
        device,
        iommufd,
        ..
    } = machine;
    unit.relay().unplug(port).unwrap();
    assert!(!device.is_attached());
    drop(unit);
    assert!(raw::objects(&iommufd) < objects);
    assert_eq!(iommufd.leaks(), Leaks::default());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_guest_reads_what_it_is_offered_and_what_it_has_written() {
    let mut machine = Machine::new();
    let offered = machine.unit.relay().features().capabilities();
    let whole =
        |unit: &Unit<Kernel>, at| u64::from(unit.read(at)) | u64::from(unit.read(at + 4)) << 32;
    assert_eq!(whole(&machine.unit, register::CAP), offered.cap.bits());
    assert_eq!(whole(&machine.unit, register::ECAP), offered.ecap.bits());
    assert_eq!(offered.cap.fro(), 0x22);
    machine.start();
    // The page of descriptors of 256 bits; the table of scalable mode.
    assert_eq!(whole(&machine.unit, register::IQA) & 0xfff, 0x800);
    assert_eq!(whole(&machine.unit, register::RTADDR) & 0xfff, 0x400);
    // TES, RTPS, QIES.
    assert_eq!(machine.unit.read(register::GSTS), 0xc400_0000);
    machine.enter(FIVE, &pass_through());
    let [head, tail] = [register::IQH, register::IQT].map(|at| machine.unit.read(at));
    assert_eq!((head, tail), (0x40, 0x40));
    assert_eq!(machine.unit.read(0xff8), 0);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_guest_is_interrupted_when_its_wait_is_complete_and_at_faults() {
    let mut machine = Machine::new();
    machine.start();
    machine.enter(FIVE, &pass_through());
    assert_eq!(machine.unit.read(register::ICS), 1);
    assert_eq!(machine.messages(), [], "both are masked");
    // It waits for that.
    let complete = machine.unmask(register::IECTL);
    assert_eq!(machine.messages(), [complete]);
    machine.enter(FIVE, &PasidEntry::default());
    assert_eq!(machine.messages(), [], "the guest has not seen the last");
    machine.write(register::ICS, 1);
    machine.enter(FIVE, &pass_through());
    assert_eq!(machine.messages(), [complete]);
    machine.write(register::ICS, 1);

    // Bits that are reserved.
    let fault = machine.unmask(register::FECTL);
    let bad = pass_through().with_eafe(true);
    machine.enter(Pasid::ZERO, &bad);
    assert_eq!(machine.messages(), [fault, complete]);
    let read = |machine: &Machine| {
        let words = [0, 8].map(|at| {
            let at = register::FRCD + at;
            u64::from(machine.unit.read(at)) | u64::from(machine.unit.read(at + 4)) << 32
        });
        FaultRecord::from_words(words)
    };
    let record = read(&machine);
    assert_eq!(
        (record.sid(), record.fr()),
        (DEVICE, FaultReason::Spt3.number())
    );
    let status = |machine: &Machine| Fsts::from_bits(machine.unit.read(register::FSTS));
    assert!(status(&machine).ppf() && !status(&machine).pfo());
    // There is room for one.
    machine.enter(FIVE, &bad);
    assert!(status(&machine).pfo());
    assert_eq!(read(&machine), record);
    machine.write(register::FRCD + 12, 1 << 31);
    machine.write(register::FSTS, 1);
    assert_eq!(status(&machine).bits(), 0);
    assert_eq!(read(&machine).words(), [0; 2]);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_queue_stops_at_what_the_unit_has_not_and_goes_on_when_that_is_replaced() {
    let mut machine = Machine::new();
    machine.start();
    let fault = machine.unmask(register::FECTL);
    // An interrupt entry: interrupts are not remapped.
    let bad = [Descriptor::InterruptEntryCache(None)];
    let (unit, ram) = (&mut machine.unit, &machine.ram);
    let refused = machine.driver.submit(unit, &bad, ram).unwrap_err();
    let iqe = Fsts::default().with_iqe(true).bits();
    assert!(
        matches!(refused, Error::Refused(status) if status == iqe),
        "{refused}"
    );
    assert_eq!(machine.messages(), [fault]);
    let error = Iqercd::from_bits(machine.unit.read(register::IQERCD).into());
    assert_eq!(error.iqei(), Ok(QueueError::Type));
    assert_eq!(machine.unit.read(register::IQH), 0);
    // It puts a wait there: that, and the one after it.
    let queue = u64::from(machine.unit.read(register::IQA)) & !0xfff;
    machine
        .ram
        .put(Gpa::new(queue).unwrap(), &[0x15, 0, 0, 0])
        .unwrap();
    machine.write(register::FSTS, iqe);
    assert_eq!(machine.unit.read(register::IQH), 0x40);
    assert_eq!(machine.unit.read(register::FSTS), 0);
    machine.enter(FIVE, &pass_through());
    assert_eq!(machine.place(Some(FIVE)), Place::Bypass);
}
