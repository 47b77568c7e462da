//! What the relay's host asks of the kernel.

use std::cell::RefCell;

use vtd_types::{Cap, Ecap, Gcmd, Gpa, PasidEntry, Rtaddr, ScalableContextEntry, SourceId};

use super::*;
use crate::vtd::relay::{
    GuestMemory, Host, Kernel, Place, Port, PortError, Relay, RelayedDevice, Report, Unreadable,
};

/// The parent, and the address space and the table that blocks, of a machine with one device.
const PARENT: u32 = 102;
const EMPTY_SPACE: u32 = 103;
const EMPTY: u32 = 104;

const ROOT: u64 = 0x1000;
const CONTEXT: u64 = 0x2000;
const DIRECTORY: u64 = 0x3000;
const ENTRIES: u64 = 0x4000;

/// The guest's memory: six pages.
struct Memory(RefCell<Vec<u8>>);

impl Memory {
    /// A guest with a device 00:00.0 that has PASIDs, of which none has an entry yet.
    fn new() -> Self {
        let memory = Self(RefCell::new(vec![0; 0x6000]));
        memory.write(ROOT, &[CONTEXT | 1, 0]);
        let context = ScalableContextEntry::default()
            .with_p(true)
            .with_paside(true)
            .with_pasiddirptr(Gpa::new(DIRECTORY).unwrap());
        memory.write(CONTEXT, &context.words());
        memory.write(DIRECTORY, &[ENTRIES | 1]);
        memory
    }

    fn write(&self, at: u64, words: &[u64]) {
        let bytes: Vec<_> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.0.borrow_mut()[at as usize..][..bytes.len()].copy_from_slice(&bytes);
    }
}

impl GuestMemory for Memory {
    fn read(&self, address: Gpa, bytes: &mut [u8]) -> Result<(), Unreadable> {
        let memory = self.0.borrow();
        let found = memory.get(address.get() as usize..).unwrap_or_default();
        bytes.copy_from_slice(found.get(..bytes.len()).ok_or(Unreadable)?);
        Ok(())
    }
}

struct Guest {
    memory: Memory,
    relay: Relay<Kernel>,
    port: Port,
}

impl Guest {
    /// A guest with the machine's device, which has PASIDs, and translation on.
    fn new(machine: &Machine, parent: &NestParent) -> Self {
        let memory = Memory::new();
        let mut relay = relay(parent);
        let device = RelayedDevice::new(machine.device.clone());
        let device = device.with_pasids().unwrap();
        let port = relay.plug(device, Some(SourceId::new(0)), &memory).unwrap();
        let on = Gcmd::default().with_te(true).with_srtp(true);
        relay.write_gcmd(on, Rtaddr::from_bits(ROOT | 1 << 10), &memory);
        Self {
            memory,
            relay,
            port,
        }
    }

    /// The guest writes the entry of a PASID, and says so.
    fn writes(&mut self, pasid: u64, words: [u64; 3]) {
        self.memory.write(ENTRIES + 64 * pasid, &words);
        // All PASIDs of all domains: pc_inv_dsc.
        self.takes([0x37, 0, 0, 0]);
    }

    fn takes(&mut self, descriptor: [u64; 4]) {
        let _taken = self.relay.take(descriptor, &self.memory).unwrap();
        let _flushed = self.relay.flush().unwrap();
    }

    fn place(&self, pasid: u32) -> Place {
        let pasid = vtd_types::Pasid::new(pasid);
        self.relay.place(&self.port, pasid).unwrap()
    }
}

fn relay(parent: &NestParent) -> Relay<Kernel> {
    let capabilities = Capabilities {
        cap: Cap::default().with_cm(true),
        ecap: Ecap::default()
            .with_qi(true)
            .with_smts(true)
            .with_fsts(true)
            .with_pt(true)
            .with_pasid(true)
            .with_pss(5),
    };
    let features = Features::new(capabilities, HostAddressWidth::MAX).unwrap();
    Relay::new(Kernel::new(parent), features).unwrap()
}

const ABSENT: [u64; 3] = [0; 3];
const THROUGH: [u64; 3] = [0x101, 3, 0];

fn first_stage(table: u64) -> [u64; 3] {
    [0x41, 3, table]
}

/// Where the device and its PASIDs went since the last time.
fn moves(machine: &Machine) -> Vec<(u32, Option<u32>)> {
    std::mem::take(&mut machine.driver.moves.lock())
}

#[test]
fn a_device_is_attached_wherever_it_is_and_to_block_it_takes_no_new_table() {
    let machine = server();
    let parent = parent(&machine);
    let guest = Guest::new(&machine, &parent);
    assert_eq!(
        moves(&machine),
        [(0, Some(EMPTY)), (0, Some(PARENT)), (0, Some(EMPTY))],
        "it comes, bypasses, and is blocked"
    );
    assert_eq!(machine.names(), ["IOAS_ALLOC", "HWPT_ALLOC"]);
    assert_eq!(
        (guest.place(0), guest.place(5)),
        (Place::Blocked, Place::Blocked)
    );
}

#[test]
fn tables_come_and_go_with_the_guests_entries() {
    let machine = server();
    let parent = parent(&machine);
    let mut guest = Guest::new(&machine, &parent);
    moves(&machine);
    machine.names();
    guest.writes(0, first_stage(0x1_2345_6000));
    let (name, head, data) = machine.question();
    // For PASIDs, too: the device has some.
    assert_eq!((name, &head[..4]), ("HWPT_ALLOC", &[8, 7, PARENT, 0][..]));
    assert_eq!(words(&data), [0, 0x1_2345_6000, 48]);
    guest.writes(5, first_stage(0x2000));
    guest.writes(5, THROUGH);
    guest.writes(5, ABSENT);
    guest.writes(0, ABSENT);
    assert_eq!(
        moves(&machine),
        [
            (0, Some(105)),
            (5, Some(106)),
            (5, Some(PARENT)),
            (5, None),
            (0, Some(EMPTY)),
        ]
    );
    // Each table goes when what it translated for has left it.
    assert_eq!(machine.names(), ["HWPT_ALLOC", "DESTROY", "DESTROY"]);
}

#[test]
fn invalidations_go_to_each_table_in_one_call() {
    let machine = server();
    let parent = parent(&machine);
    let mut guest = Guest::new(&machine, &parent);
    guest.writes(0, first_stage(0x1000));
    guest.writes(5, first_stage(0x2000));
    guest.writes(6, THROUGH);
    machine.log.take();
    // Two pages of PASID 5, in a domain: p_iotlb_inv_dsc.
    for page in [7, 3] {
        let words = [5 << 32 | 3 << 16 | 0x36, page << 12, 0, 0];
        let _taken = guest.relay.take(words, &guest.memory).unwrap();
    }
    assert_eq!(machine.names(), [""; 0]);
    let _flushed = guest.relay.flush().unwrap();
    let (name, head, data) = machine.question();
    assert_eq!((name, head[0]), ("HWPT_INVALIDATE", 106));
    assert_eq!(words(&data), [0x7000, 1, 0, 0x3000, 1, 0]);
    // Everything of the domain: of the two tables that there are.
    guest.takes([3 << 16 | 0x22, 0, 0, 0]);
    let log = machine.log.take();
    let tables: Vec<_> = log.iter().map(|(name, head, _)| (*name, head[0])).collect();
    assert_eq!(tables, [("HWPT_INVALIDATE", 105), ("HWPT_INVALIDATE", 106)]);
    assert_eq!(words(&log[0].2), [0, u64::MAX, 0]);
}

#[test]
fn a_table_that_the_kernel_refuses_leaves_its_place_blocked() {
    let machine = server();
    let parent = parent(&machine);
    let mut guest = Guest::new(&machine, &parent);
    guest.writes(0, first_stage(0x1000));
    guest.writes(5, first_stage(0x2000));
    moves(&machine);
    machine.refuse.set(Some(("HWPT_ALLOC", Errno::NOMEM, 0)));
    guest.memory.write(ENTRIES, &first_stage(0x3000));
    guest.writes(5, first_stage(0x4000));
    assert_eq!(moves(&machine), [(0, Some(EMPTY)), (5, None)]);
    assert_eq!(
        (guest.place(0), guest.place(5)),
        (Place::Blocked, Place::Blocked)
    );
    let reports = guest.relay.take_reports();
    assert!(
        matches!(
            &reports[..],
            [
                Report::PlaceRefused { pasid: None, .. },
                Report::PlaceRefused { pasid: Some(_), error, .. }
            ] if error.errno() == Some(Errno::NOMEM)
        ),
        "{reports:?}"
    );
    machine.refuse.set(None);
    guest.takes([0x37, 0, 0, 0]);
    assert_eq!(moves(&machine), [(0, Some(107)), (5, Some(108))]);
}

#[test]
fn what_asks_for_more_than_the_hardware_has_is_blocked_without_a_question() {
    let machine = Machine::new(info(ERRATUM, 0, SMTS | NEST));
    let parent = parent(&machine);
    let mut guest = Guest::new(&machine, &parent);
    machine.names();
    // Five levels were not offered either: the guest has done wrong.
    guest.writes(0, [0x41, 3, 0x1004]);
    assert_eq!(machine.names(), [""; 0]);
    assert!(guest.relay.take_fault().is_some());
    assert!(guest.relay.take_reports().is_empty());
}

#[test]
fn a_device_that_cannot_be_moved_to_what_blocks_is_detached() {
    let machine = server();
    let parent = parent(&machine);
    let mut guest = Guest::new(&machine, &parent);
    guest.writes(0, first_stage(0x1000));
    moves(&machine);
    *machine.driver.refused.lock() = Some(EMPTY);
    guest.writes(0, ABSENT);
    assert_eq!(moves(&machine).last(), Some(&(0, None)));
    assert!(!machine.device.is_attached());
    assert_eq!(guest.place(0), Place::Blocked);
    // It goes on from there.
    guest.writes(0, THROUGH);
    assert_eq!(moves(&machine), [(0, Some(PARENT))]);
    // Neither nor: nothing of the guest's completes.
    *machine.driver.stuck.lock() = true;
    guest.memory.write(ENTRIES, &ABSENT);
    let _taken = guest.relay.take([0x37, 0, 0, 0], &guest.memory).unwrap();
    assert!(guest.relay.flush().is_err());
    *machine.driver.stuck.lock() = false;
    let _flushed = guest.relay.flush().unwrap();
    assert!(!machine.device.is_attached());
}

/// What the driver does not count down it would count up for ever.
#[test]
fn with_page_requests_a_device_goes_from_one_guests_table_to_the_next_by_what_blocks() {
    let machine = server();
    let parent = parent(&machine);
    let memory = Memory::new();
    let mut relay = relay(&parent);
    let queue = FaultQueue::new(&machine.iommufd).unwrap();
    let device = RelayedDevice::new(machine.device.clone());
    let device = device.with_pasids().unwrap().with_fault_queue(queue);
    let port = relay.plug(device, Some(SourceId::new(0)), &memory).unwrap();
    let on = Gcmd::default().with_te(true).with_srtp(true);
    relay.write_gcmd(on, Rtaddr::from_bits(ROOT | 1 << 10), &memory);
    let mut guest = Guest {
        memory,
        relay,
        port,
    };
    // The queue, the address space and the table that blocks.
    let [first, second, third] = [1, 2, 3].map(|number| Some(EMPTY + 1 + number));
    moves(&machine);
    guest.writes(0, first_stage(0x1000));
    guest.writes(0, first_stage(0x2000));
    guest.writes(5, first_stage(0x1000));
    guest.writes(5, first_stage(0x2000));
    guest.writes(0, THROUGH);
    let moves = moves(&machine);
    assert_eq!(
        moves,
        [
            (0, first),
            (0, Some(EMPTY + 1)),
            (0, second),
            (5, third),
            (5, third.map(|id| id + 1)),
            (0, Some(PARENT)),
        ]
    );
}

#[test]
fn a_device_leaves_with_nothing_attached() {
    let machine = server();
    let parent = parent(&machine);
    let mut guest = Guest::new(&machine, &parent);
    guest.writes(0, first_stage(0x1000));
    guest.writes(5, first_stage(0x2000));
    moves(&machine);
    let device = guest.relay.unplug(guest.port).unwrap();
    assert_eq!(moves(&machine), [(0, Some(EMPTY)), (5, None), (0, None)]);
    assert!(!device.device().is_attached());
    // The relay keeps the empty address space for those that come.
    drop(device);
    assert_eq!(machine.names().last(), Some(&"DESTROY"));
    let device = RelayedDevice::new(machine.device.clone());
    let port = guest.relay.plug(device, None, &guest.memory).unwrap();
    assert_eq!(guest.relay.place(&port, None), Some(Place::Blocked));
    assert!(!machine.names().contains(&"IOAS_ALLOC"));
}

#[test]
fn pasids_are_those_that_the_device_has_and_the_vmm_wants() {
    let machine = server();
    let kernel = Kernel::new(&parent(&machine));
    let without = RelayedDevice::new(machine.device.clone());
    assert_eq!(kernel.pasid_bits(&without), 0);
    assert_eq!(kernel.pasid_bits(&without.with_pasids().unwrap()), 20);
    let mut none = info(ERRATUM, FS5LP, SMTS | NEST);
    none.pasid_bits = 0;
    let machine = Machine::new(none);
    let refused = RelayedDevice::new(machine.device.clone()).with_pasids();
    let refused = refused.unwrap_err();
    assert!(matches!(refused.error(), Error::NoPasidLeft { bits: 0 }));
    assert!(!refused.into_value().device().is_attached());
}

#[test]
fn what_blocks_a_device_without_pasids_is_not_for_pasids() {
    let machine = server();
    let parent = parent(&machine);
    let mut relay = relay(&parent);
    let device = RelayedDevice::new(machine.device.clone());
    let _port = relay.plug(device, None, &Memory::new()).unwrap();
    let log = machine.log.take();
    let names: Vec<_> = log.iter().map(|(name, ..)| *name).collect();
    assert_eq!(names, ["IOAS_ALLOC", "HWPT_ALLOC"]);
    assert_eq!(log[1].1[..3], [0, 7, EMPTY_SPACE]);
}

#[test]
fn a_device_that_is_not_alone_or_is_attached_does_not_come() {
    let machine = server();
    let parent = parent(&machine);
    let mut relay = relay(&parent);
    let memory = Memory::new();
    let group = GroupIdentity::Group(GroupId::new(1));
    let driver = std::sync::Arc::<Driver>::default();
    let bind = |id| RelayedDevice::new(bound(&machine.iommufd, id, group, &driver));
    let (one, sibling) = (bind(8), bind(9));
    let refused = relay.plug(one, None, &memory).unwrap_err();
    assert!(matches!(
        refused.error(),
        PortError::Enter(Error::NotAlone { siblings: 1 })
    ));
    drop((refused, sibling));
    let attachment = machine.device.attach(&parent).unwrap();
    let device = RelayedDevice::new(machine.device.clone());
    let refused = relay.plug(device, None, &memory).unwrap_err();
    assert!(matches!(
        refused.error(),
        PortError::Enter(Error::AlreadyAttached)
    ));
    drop(attachment);
    let _port = relay.plug(refused.into_value(), None, &memory).unwrap();
}

/// What the tests take for entries is what the specification does.
#[test]
fn the_entries_are_entries() {
    let decoded = |[first, second, third]: [u64; 3]| {
        let entry = PasidEntry::from_words([first, second, third, 0, 0, 0, 0, 0]);
        NestedPasidEntry::from_entry(&entry, relay(&parent(&server())).features())
    };
    assert_eq!(decoded(THROUGH), Err(NotNested::PassThrough));
    assert!(decoded(first_stage(0x1000)).is_ok());
    assert!(matches!(decoded(ABSENT), Err(NotNested::Bad(_))));
}
