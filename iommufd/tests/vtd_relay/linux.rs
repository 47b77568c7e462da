//! What a Linux guest's driver writes, in the words that it writes.
//!
//! The guest has a unit with a first stage only, caching mode, device-TLBs, PASIDs and page requests,
//! and a device in slot 3.

use iommufd::PageResponse;
use iommufd::vtd::relay::{ForGuest, Place, Port, Stop};
use vtd_types::{BadDescriptor, Gcmd, Iqa, Pasid, PasidEntry, QueueError, QueueOffset, Rtaddr};

use crate::guest::{
    Guest, QUEUE, ROOT, context, directory, entry, features_of, offered, page_table, pasid, source,
    translated,
};
use crate::model::{Call, Dev};

/// The device's number, as descriptors have it.
const SID: u64 = 0x18;
/// Where waits write.
const STATUS: u64 = 0x3_0000;
/// The driver waits with `SW`, and data 2.
const WAIT: [u64; 4] = [0x2_0000_0025, STATUS, 0, 0];

const CONTEXT_GLOBAL: [u64; 4] = [0x11, 0, 0, 0];
const CONTEXT_DEVICE: [u64; 4] = [SID << 32 | 0x31, 0, 0, 0];
const PASIDS_GLOBAL: [u64; 4] = [0x37, 0, 0, 0];
const IOTLB_GLOBAL: [u64; 4] = [0x12, 0, 0, 0];
/// Of the domain that is cached for what is not present.
const IOTLB_DOMAIN_0: [u64; 4] = [0x22, 0, 0, 0];
/// All of the device, at most 4 at a time.
const DEVICE_TLB: [u64; 4] = [SID << 32 | 4 << 16 | 0x3, 0x7fff_ffff_ffff_f001, 0, 0];

/// Of a domain and a PASID.
fn pasid_cache(domain: u64, pasid: u64) -> [u64; 4] {
    [pasid << 32 | domain << 16 | 0x17, 0, 0, 0]
}

fn piotlb_all(domain: u64, pasid: u64) -> [u64; 4] {
    [pasid << 32 | domain << 16 | 0x26, 0, 0, 0]
}

/// An entry with a first stage, as the driver writes it: PGTT 1, AW 2, P; PWSNP.
fn first_level(table: u64, domain: u64) -> [u64; 3] {
    [0x49, 0x80_0000 | domain, page_table(table)]
}

struct Linux {
    guest: Guest,
    port: Port,
}

impl Linux {
    /// Submits these, and waits. Says what the host was asked for.
    fn submits(&mut self, descriptors: &[[u64; 4]]) -> Vec<Call> {
        self.guest.model.calls();
        for words in descriptors {
            self.guest.push(*words);
        }
        self.guest.push(WAIT);
        let ran = self.guest.run(1000);
        assert_eq!((ran.stop, ran.signals.len()), (Stop::Idle, 1));
        let status = ran.signals[0].status.unwrap();
        assert_eq!((status.address().get(), status.data()), (STATUS, 2));
        self.guest.model.calls()
    }

    fn gcmd(&mut self, bits: u32) {
        let rtaddr = Rtaddr::from_bits(ROOT | 1 << 10);
        let gcmd = Gcmd::from_bits(bits);
        self.guest
            .relay
            .write_gcmd(gcmd, rtaddr, &self.guest.memory);
    }

    fn write_entry(&self, number: u32, [first, second, third]: [u64; 3]) {
        let at = entry(3, number);
        // P comes last.
        self.guest.memory.write_words(at, &[0, second, third]);
        self.guest.memory.write_words(at, &[first]);
    }

    /// The driver takes an entry away: in two steps.
    fn tear_down(&mut self, number: u32, domain: u64) -> Vec<Call> {
        let at = entry(3, number);
        let word = self.guest.memory.word(at);
        self.guest.memory.write_words(at, &[word & !1]);
        let pasid = u64::from(number);
        let mut calls = self.submits(&[pasid_cache(domain, pasid)]);
        calls.extend(self.submits(&[piotlb_all(domain, pasid)]));
        calls.extend(self.submits(&[DEVICE_TLB]));
        // Of a process that is gone no faults are to be recorded.
        let fpd = if number == 0 { 0 } else { 2 };
        self.guest.memory.write_words(at, &[fpd, 0, 0]);
        calls
    }

    fn place(&self, number: Option<u32>) -> Place {
        self.guest.place(0, number)
    }

    /// The driver's initialization, up to the probe of the device.
    fn boots() -> Self {
        let mut guest = Guest::with(offered(), 0);
        let port = guest.plug(0, Some(3));
        guest.relay.reset();
        let mut linux = Self { guest, port };
        assert_eq!(linux.place(None), Place::Bypass, "as the firmware has it");
        // Two pages of 256-bit descriptors, while there are no tables of scalable mode.
        linux.guest.iqa = Iqa::from_bits(QUEUE | 1 << 11 | 1);
        linux.guest.tail = QueueOffset::default();
        linux.guest.head = QueueOffset::default();
        linux.gcmd(0x0400_0000);
        linux.gcmd(0x4400_0000);
        for words in [CONTEXT_GLOBAL, PASIDS_GLOBAL, IOTLB_GLOBAL] {
            assert_eq!(linux.submits(&[words]), []);
        }
        // The context entry of the device: DTE, PASIDE, PRE, P.
        let at = context(3);
        let words = [directory(3) | 0x1d, 0, 0, 0];
        linux.guest.memory.write_words(at, &words);
        linux.submits(&[CONTEXT_DEVICE]);
        linux.submits(&[IOTLB_DOMAIN_0]);
        linux
    }

    /// The device gets the driver's own page table, and translation is turned on.
    fn attaches(&mut self) {
        self.write_entry(0, first_level(0, 2));
        self.submits(&[pasid_cache(2, 0)]);
        self.submits(&[piotlb_all(2, 0)]);
        self.gcmd(0x8400_0000);
        assert_eq!(self.place(None), translated(&entry_of(first_level(0, 2))));
        assert_eq!(self.guest.relay.take_fault(), None);
        assert_eq!(self.guest.relay.take_reports(), []);
    }
}

fn entry_of([first, second, third]: [u64; 3]) -> PasidEntry {
    PasidEntry::from_words([first, second, third, 0, 0, 0, 0, 0])
}

/// Of how many pages the host was asked to forget, for each table.
fn pages(calls: &[Call]) -> Vec<(Option<Pasid>, u64)> {
    let pages = |call: &Call| match call {
        Call::Invalidate(Dev(0), of, batch) => {
            let pages = batch.iter().map(|it| it.npages());
            (*of, pages.fold(0, u64::saturating_add))
        }
        other => panic!("{other:?}"),
    };
    calls.iter().map(pages).collect()
}

#[test]
fn a_guest_boots_and_attaches() {
    let mut linux = Linux::boots();
    linux.attaches();
    linux.guest.write_page(0, 2, 0x77);
    let used = linux.guest.model.access(Dev(0), None, 2);
    assert!(matches!(used, crate::model::Outcome::Page(0x77, _)));
}

#[test]
fn a_guest_attaches_after_it_has_turned_translation_on() {
    let mut linux = Linux::boots();
    linux.gcmd(0x8400_0000);
    assert_eq!(linux.place(None), Place::Blocked);
    linux.attaches();
    // The identity: PGTT 4, AW 2, P; domain 1.
    linux.tear_down(0, 2);
    assert_eq!(linux.place(None), Place::Blocked);
    linux.write_entry(0, [0x109, 0x80_0001, 0]);
    let calls = linux.submits(&[pasid_cache(1, 0)]);
    assert_eq!(calls, [Call::Put(Dev(0), None, Place::Bypass)]);
    assert_eq!(linux.submits(&[piotlb_all(1, 0)]), []);
}

#[test]
fn unmaps_in_a_storm_go_as_they_come() {
    let mut linux = Linux::boots();
    linux.attaches();
    let mut calls = Vec::new();
    for number in 0..300_u64 {
        // Pages of domain 2: IH, AM; and those of the device, of the same address.
        let mask = number % 4;
        let address = number << 16;
        let of_pages = [2 << 16 | 0x36, address | 1 << 6 | mask, 0, 0];
        let of_device = [DEVICE_TLB[0], address | 1, 0, 0];
        calls.extend(linux.submits(&[of_pages, of_device]));
    }
    let all: Vec<_> = (0..300).map(|number| (None, 1 << (number % 4))).collect();
    assert_eq!(pages(&calls), all);
}

#[test]
fn a_process_shares_its_tables_and_waits_for_pages() {
    let mut linux = Linux::boots();
    linux.attaches();
    linux.write_entry(0x21, first_level(1, 5));
    let calls = linux.submits(&[pasid_cache(5, 0x21)]);
    let of = Some(pasid(0x21));
    let place = translated(&entry_of(first_level(1, 5)));
    assert_eq!(calls, [Call::Put(Dev(0), of, place)]);
    assert_eq!(
        pages(&linux.submits(&[piotlb_all(5, 0x21)])),
        [(of, u64::MAX)]
    );

    let asked = linux.guest.model.asks(Dev(0), 1, 0x33, of);
    let ForGuest::Requests(records) = linux.guest.relay.page_requests(asked) else {
        panic!("nothing");
    };
    let request = [0x21 << 32 | SID << 16 | 0x101, 0x5000 | 0x33 << 3 | 6, 0, 0];
    assert_eq!(records[0].words(), request);
    // Success, with the flag that older drivers set.
    let answer = [0x21 << 32 | SID << 16 | 0x19, 0x33 << 3 | 1 << 2, 0, 0];
    let calls = linux.submits(&[answer]);
    assert_eq!(calls, [Call::Answer(1, PageResponse::Success)]);

    // The process ends: the entry goes, and then what may still be under way is drained.
    let asked = linux.guest.model.asks(Dev(0), 2, 0x34, of);
    let _told = linux.guest.relay.page_requests(asked);
    let calls = linux.tear_down(0x21, 5);
    assert_eq!(calls, [Call::Put(Dev(0), of, Place::Blocked)]);
    assert_eq!(linux.guest.model.answers().len(), 2);
    let fence = [0x2_0000_0045, 0, 0, 0];
    let of_device = [
        0x21 << 32 | SID << 16 | 4 << 4 | 8,
        0x7fff_ffff_ffff_f801,
        0,
        0,
    ];
    for words in [fence, piotlb_all(5, 0x21), of_device] {
        linux.guest.push(words);
    }
    linux.guest.push([WAIT[0] | 1 << 7, WAIT[1], 0, 0]);
    let ran = linux.guest.run(1000);
    let told: Vec<_> = ran
        .signals
        .iter()
        .map(|it| it.drain_page_requests)
        .collect();
    assert_eq!((ran.stop, told), (Stop::Idle, vec![false, true]));
    assert_eq!(linux.submits(&[answer]), [], "too late");
}

#[test]
fn a_descriptor_that_the_unit_does_not_know_is_replaced_by_the_driver() {
    let mut linux = Linux::boots();
    linux.attaches();
    // An interrupt entry, which was not offered.
    let place = linux.guest.push([0x4, 0, 0, 0]);
    linux.guest.push(WAIT);
    let ran = linux.guest.run(1000);
    assert!(matches!(
        ran.stop,
        Stop::Invalid(BadDescriptor::NotImplemented(_))
    ));
    assert_eq!(linux.guest.head.bytes(), place);
    assert_eq!(linux.guest.error.iqei(), Ok(QueueError::Type));
    linux
        .guest
        .memory
        .write_words(QUEUE + u64::from(place), &WAIT);
    linux.guest.clear_error();
    let ran = linux.guest.run(1000);
    assert_eq!((ran.stop, ran.signals.len()), (Stop::Idle, 2));
}

#[test]
fn a_guest_boots_again() {
    let mut linux = Linux::boots();
    linux.attaches();
    linux.write_entry(0x21, first_level(1, 5));
    linux.submits(&[pasid_cache(5, 0x21)]);
    // The driver's shutdown.
    linux.gcmd(0x0400_0000);
    assert_eq!(linux.place(None), Place::Bypass);
    assert_eq!(linux.place(Some(0x21)), Place::Blocked);
    linux.gcmd(0);
    assert_eq!(linux.guest.relay.source(&linux.port), Some(source(3)));
    // Its successor finds a table of its own making only.
    linux.guest.memory.write(context(3), &[0; 32]);
    linux.guest.memory.write(entry(3, 0x21), &[0; 64]);
    linux.gcmd(0x0400_0000);
    linux.gcmd(0x4400_0000);
    linux.submits(&[CONTEXT_GLOBAL, PASIDS_GLOBAL, IOTLB_GLOBAL]);
    linux.gcmd(0x8400_0000);
    assert_eq!(linux.place(None), Place::Blocked);
    let words = [directory(3) | 0x1d, 0, 0, 0];
    linux.guest.memory.write_words(context(3), &words);
    linux.submits(&[CONTEXT_DEVICE, IOTLB_DOMAIN_0]);
    linux.attaches();
    assert_eq!(linux.place(Some(0x21)), Place::Blocked);
    assert_eq!(*linux.guest.relay.features(), features_of(offered()));
}
