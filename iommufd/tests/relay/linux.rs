//! What a Linux guest's driver writes, in the words that it writes.
//!
//! The guest has an SMMU with range invalidation and ATS, a stream table of two levels, and a
//! device at stream 0x3.

use iommufd::smmuv3::relay::{Place, Port, Stop};
use smmuv3_types::{Cr0, Cr2, Gbpa, NestedConfig, Ste, StrtabBase, StrtabBaseCfg, SyncSignal};

use crate::guest::{Guest, limits, offered, stream};
use crate::model::{Call, Dev};

/// `CMD_SYNC` with `CS` for an event, and a shareability and attributes that do not count then.
const SYNC: [u64; 2] = [0x0fc0_2046, 0];
const CFGI_ALL: [u64; 2] = [0x04, 0x1f];
const TLBI_NSNH_ALL: [u64; 2] = [0x30, 0];
/// Of stream 3, `Leaf`.
const CFGI_STE: [u64; 2] = [0x3_0000_0003, 1];
const CFGI_CD: [u64; 2] = [0x3_0000_0005, 1];
const PREFETCH: [u64; 2] = [0x3_0000_0001, 0];
/// ASID 1.
const TLBI_NH_ASID: [u64; 2] = [0x0001_0000_0000_0011, 0];
/// Stream 3, everything.
const ATC_INV_ALL: [u64; 2] = [0x3_0000_0040, 0x34];

const LEVEL_1: u64 = 0x2800;
/// Aligned to its size, which is 16 KiB, of which 16 entries are used.
const LEVEL_2: u64 = 0;
const ENTRY: u64 = LEVEL_2 + 3 * 64;
const CD: u64 = 0x4000;

struct Linux {
    guest: Guest,
    port: Port,
}

impl Linux {
    /// Issues these and a `CMD_SYNC`, and says what the host was asked for.
    fn issues(&mut self, commands: &[[u64; 2]]) -> Vec<Call> {
        self.guest.model.calls();
        for batch in commands.chunks(20) {
            for words in batch {
                self.guest.push(*words);
            }
            self.guest.push(SYNC);
            let ran = self.guest.run(1000);
            assert_eq!((ran.stop, ran.signals), (Stop::Idle, vec![SyncSignal::Sev]));
        }
        self.guest.model.calls()
    }

    fn cr0(&mut self, bits: u32) {
        self.guest.cr0(Cr0::from_bits(bits));
    }

    fn entry(&self, words: [u64; 2]) {
        self.guest.memory.write_words(ENTRY, &words);
    }

    fn place(&self) -> Place {
        self.guest.model.place(Dev(0))
    }

    /// The driver's reset of the SMMU, and the probe of the device.
    fn boots() -> Self {
        let mut guest = Guest::with(offered(), limits(), 0);
        let port = guest.plug(0, Some(3));
        let mut linux = Self { guest, port };
        linux.guest.relay.reset(Gbpa::default());
        assert_eq!(linux.place(), Place::Bypass, "as the firmware has it");
        linux.cr0(0);
        linux.guest.relay.set_cr2(Cr2::from_bits(0x6));
        // FMT 1, SPLIT 8, of what SIDSIZE has.
        let cfg = StrtabBaseCfg::from_bits(1 << 16 | 8 << 6 | 4);
        let base = StrtabBase::from_bits(1 << 62 | LEVEL_1);
        assert!(linux.guest.relay.set_stream_table(base, cfg));
        linux.cr0(0x8);
        assert_eq!(linux.issues(&[CFGI_ALL]), []);
        let calls = linux.issues(&[TLBI_NSNH_ALL]);
        assert!(matches!(&calls[..], [Call::Invalidate(batch)] if batch.len() == 1));
        for bits in [0xc, 0xe, 0x1e] {
            linux.cr0(bits);
            assert_eq!(linux.place(), Place::Bypass);
        }
        linux.cr0(0x1f);
        // Its part of the table is not there yet.
        assert_eq!(linux.place(), Place::Blocked);
        let told = linux.guest.relay.take_event().unwrap();
        assert_eq!(told.words(), [0x3_0000_0002, 0, 0, 0]);
        // The probe: 256 entries that abort.
        for number in 0..16 {
            let abort = [1, 0, 0, 0, 0, 0, 0, 0];
            linux
                .guest
                .memory
                .write_words(LEVEL_2 + 64 * number, &abort);
        }
        linux.guest.memory.write_words(LEVEL_1, &[LEVEL_2 | 9]);
        assert_eq!(linux.place(), Place::Blocked);
        linux
    }

    /// The device gets its own page table. The driver writes an entry in steps, each with a SYNC.
    fn attaches(&mut self, eats: u64) {
        self.guest.write_descriptor(0, 1, 0);
        assert_eq!(self.issues(&[CFGI_CD]), [], "nobody has seen it");
        // S1STALLD is 0, EATS in 29:28, STRW 2, S1CSH 3, S1COR 1, S1CIR 1, S1DSS 2; SHCFG 1.
        let second = 0x1000_8000_00d6 | eats << 28;
        self.entry([1, second]);
        assert_eq!(self.issues(&[CFGI_STE]), [], "it still aborts");
        self.entry([0xb | CD, second]);
        let calls = self.issues(&[CFGI_STE]);
        assert!(
            matches!(
                calls[..],
                [Call::Put(Dev(0), Place::Translated(_)), Call::Invalidate(_)]
            ),
            "{calls:?}"
        );
        assert_eq!(self.issues(&[PREFETCH]), []);
        let Place::Translated(ste) = self.place() else {
            panic!("{:?}", self.place());
        };
        // Without substreams S1DSS means nothing.
        assert_eq!(ste.words(), [0xb | CD, 0xd4 | eats << 28]);
        assert!(matches!(ste.config(), NestedConfig::Translate(_)));
        assert_eq!(self.guest.relay.take_event(), None);
    }
}

fn invalidations(calls: &[Call]) -> Vec<[u64; 2]> {
    let words = |call: &Call| match call {
        Call::Invalidate(batch) => batch.iter().map(|command| command.words()).collect(),
        other => panic!("{other:?}"),
    };
    calls.iter().flat_map::<Vec<_>, _>(words).collect()
}

#[test]
fn a_guest_boots_and_attaches() {
    let mut linux = Linux::boots();
    linux.attaches(0);
    linux.guest.write_page(0, 2, 0x77);
    let used = linux.guest.model.access(Dev(0), 2);
    assert_eq!(used.outcome, crate::model::Outcome::Page(0x77));
}

#[test]
fn unmaps_in_a_storm_go_as_they_come() {
    let mut linux = Linux::boots();
    linux.attaches(1);
    let turned_on = linux.issues(&[ATC_INV_ALL]);
    assert_eq!(invalidations(&turned_on), [ATC_INV_ALL]);
    let mut all = Vec::new();
    for number in 0..200_u64 {
        // TLBI_NH_VA of ASID 1: NUM in 16:12, TTL 3, TG 1, Leaf, at any page.
        let num = number % 32;
        let address = number << 21;
        let va = [
            0x0001_0000_0000_0012 | num << 12 | 1 << 20,
            address | 1 << 10 | 3 << 8 | 1,
        ];
        let atc = [ATC_INV_ALL[0], address | 9];
        all.extend([va, atc]);
    }
    let calls = linux.issues(&all);
    assert_eq!(invalidations(&calls), all);
    assert_eq!(calls.len(), 20, "one for each time that it is rung");
}

#[test]
fn a_device_is_given_up_by_the_driver() {
    let mut linux = Linux::boots();
    linux.attaches(1);
    // To an entry that bypasses, with SHCFG 1: in three steps.
    linux.entry([0xb | CD, 0x1000_9000_00d6]);
    let calls = linux.issues(&[CFGI_STE]);
    assert_eq!(calls.len(), 1, "SHCFG and EATS stay: {calls:?}");
    linux.entry([0x9, 0x1000_9000_00d6]);
    assert_eq!(
        linux.issues(&[CFGI_STE]),
        [Call::Put(Dev(0), Place::Bypass)]
    );
    linux.entry([0x9, 0x1000_0000_0000]);
    assert_eq!(linux.issues(&[CFGI_STE]), []);
    linux.guest.memory.write_words(CD, &[0, 0]);
    assert_eq!(linux.issues(&[CFGI_CD]), []);
    assert_eq!(linux.issues(&[ATC_INV_ALL]), [], "it has ATS off by now");
    let calls = linux.issues(&[TLBI_NH_ASID]);
    assert_eq!(invalidations(&calls), [TLBI_NH_ASID]);
}

#[test]
fn a_guest_boots_again() {
    let mut linux = Linux::boots();
    linux.attaches(0);
    // The driver's shutdown.
    linux.cr0(0);
    assert_eq!(linux.place(), Place::Bypass);
    assert_eq!(linux.guest.relay.stream(&linux.port), Some(stream(3)));
    // Its successor finds a table of its own making only.
    linux.guest.memory.write(ENTRY, &Ste::default().to_bytes());
    linux.guest.memory.write_words(LEVEL_1, &[0]);
    linux.cr0(0x8);
    linux.issues(&[CFGI_ALL, TLBI_NSNH_ALL]);
    linux.cr0(0x1f);
    assert_eq!(linux.place(), Place::Blocked);
    linux.guest.memory.write_words(LEVEL_1, &[LEVEL_2 | 9]);
    linux.attaches(0);
}
