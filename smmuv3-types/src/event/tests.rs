extern crate std;

use std::collections::HashSet;

use super::*;
use crate::Stag;
use hardware_records::testing::Random;

fn requester() -> Requester {
    Requester {
        stream: StreamId::new(0xdead_beef),
        substream: SubstreamId::new(0xa_bcde),
    }
}

const WITHOUT: Requester = Requester {
    stream: StreamId::new(0xdead_beef),
    substream: None,
};

const ADDRESS: InputAddress = InputAddress::new(0xffff_8000_1234_5678);
const PAGE: InputAddress = InputAddress::new(0xffff_8000_1234_5000);

fn ipa(address: u64) -> Ipa {
    Ipa::new(address).unwrap()
}

#[test]
fn vectors() {
    // Composed by hand from the bits that 7.3 gives: number 7:0, SSV 11, SSID 31:12, SID 63:32;
    // of the second word, STAG or Reason 15:0, GPCF 16, Stall 31, PnU 33, InD 34, RnW 35, S2 39,
    // CLASS 41:40, TTRnW 44.
    let read = AccessAttributes {
        read: true,
        instruction: false,
        privileged: false,
    };
    let fetch = AccessAttributes {
        read: true,
        instruction: true,
        privileged: true,
    };
    let abort = FetchAbort {
        requester: requester(),
        reason: 0x1234,
        granule_protection: true,
        fetch_address: ipa(0xf_edcb_a987_6540),
    };
    let fault = Fault {
        requester: requester(),
        stalled: None,
        access: read,
        address: ADDRESS,
        stage2: None,
    };
    let stage2 = |class| Fault {
        stalled: Some(Stag::new(0xfedc)),
        stage2: Some(Stage2Fault {
            class,
            ipa: ipa(0xf_edcb_a987_6000),
        }),
        ..fault
    };
    let vectors = [
        (
            Event::Uut {
                requester: requester(),
                reason: 0x1234,
                access: fetch,
                address: ADDRESS,
            },
            [0xdead_beef_abcd_e801, 0xe_0000_1234, ADDRESS.get(), 0],
        ),
        (
            Event::BadStreamId(WITHOUT),
            [0xdead_beef_0000_0002, 0, 0, 0],
        ),
        (
            Event::SteFetch(abort),
            [0xdead_beef_abcd_e803, 0x1_1234, 0, 0xf_edcb_a987_6540],
        ),
        (Event::BadSte(requester()), [0xdead_beef_abcd_e804, 0, 0, 0]),
        (
            Event::BadAtsTreq {
                requester: requester(),
                address: PAGE,
                access: ExpectedAccess::READ | ExpectedAccess::EXECUTE,
                privileged: true,
            },
            [0xdead_beef_abcd_e805, 0xb000_0000, PAGE.get(), 0],
        ),
        (
            Event::StreamDisabled {
                stream: WITHOUT.stream,
            },
            [0xdead_beef_0000_0006, 0, 0, 0],
        ),
        (
            Event::TranslForbidden {
                stream: WITHOUT.stream,
                read: true,
                address: ADDRESS,
            },
            [0xdead_beef_0000_0007, 0x8_0000_0000, ADDRESS.get(), 0],
        ),
        (
            Event::BadSubstreamId {
                stream: WITHOUT.stream,
                substream: SubstreamId::new(0xa_bcde).unwrap(),
            },
            [0xdead_beef_abcd_e008, 0, 0, 0],
        ),
        (
            Event::CdFetch(FetchAbort {
                requester: WITHOUT,
                granule_protection: false,
                ..abort
            }),
            [0xdead_beef_0000_0009, 0x1234, 0, 0xf_edcb_a987_6540],
        ),
        (Event::BadCd(WITHOUT), [0xdead_beef_0000_000a, 0, 0, 0]),
        (
            Event::WalkEabt {
                requester: requester(),
                reason: 0x1234,
                granule_protection: false,
                access: read,
                address: ADDRESS,
                stage2: None,
                fetch_address: ipa(0x1_2345_6788),
            },
            [
                0xdead_beef_abcd_e80b,
                0x108_0000_1234,
                ADDRESS.get(),
                0x1_2345_6788,
            ],
        ),
        (
            Event::WalkEabt {
                requester: requester(),
                reason: 0,
                granule_protection: true,
                access: fetch,
                address: ADDRESS,
                stage2: Some(FaultClass::Input),
                fetch_address: ipa(0),
            },
            [0xdead_beef_abcd_e80b, 0x28e_0001_0000, ADDRESS.get(), 0],
        ),
        (
            Event::Translation(fault),
            [0xdead_beef_abcd_e810, 0x208_0000_0000, ADDRESS.get(), 0],
        ),
        (
            Event::AddrSize(stage2(FaultClass::Cd)),
            [
                0xdead_beef_abcd_e811,
                0x088_8000_fedc,
                ADDRESS.get(),
                0xf_edcb_a987_6000,
            ],
        ),
        (
            Event::Access(stage2(FaultClass::Input)),
            [
                0xdead_beef_abcd_e812,
                0x288_8000_fedc,
                ADDRESS.get(),
                0xf_edcb_a987_6000,
            ],
        ),
        (
            Event::Permission {
                fault: stage2(FaultClass::TranslationTable),
                table_access: Some(TableAccess::Read),
            },
            [
                0xdead_beef_abcd_e813,
                0x1188_8000_fedc,
                ADDRESS.get(),
                0xf_edcb_a987_6000,
            ],
        ),
        (
            Event::TlbConflict {
                requester: requester(),
                reason: 0x8765_4321,
                access: fetch,
                address: ADDRESS,
                ipa: Some(ipa(0x1_2345_6000)),
            },
            [
                0xdead_beef_abcd_e820,
                0x8e_8765_4321,
                ADDRESS.get(),
                0x1_2345_6000,
            ],
        ),
        (
            Event::CfgConflict {
                requester: WITHOUT,
                reason: 0x8765_4321,
            },
            [0xdead_beef_0000_0021, 0x8765_4321, 0, 0],
        ),
        (
            Event::PageRequest {
                requester: requester(),
                address: PAGE,
                span: 0xa5,
                unprivileged: ExpectedAccess::READ,
                privileged: ExpectedAccess::WRITE | ExpectedAccess::EXECUTE,
            },
            // Span 51:44, pR 39, pW 38, pX 37, uR 35.
            [0xdead_beef_abcd_e824, 0xa_5068_0000_0000, PAGE.get(), 0],
        ),
        (
            Event::VmsFetch(abort),
            [0xdead_beef_abcd_e825, 0x1_1234, 0, 0xf_edcb_a987_6540],
        ),
    ];
    let mut kinds = HashSet::new();
    for (event, words) in vectors {
        let record = EventRecord::from_words(words);
        assert_eq!(event.encode(), record, "{event:?}");
        assert_eq!(record.decode(), Ok(event));
        let bytes: [u8; 32] = core::array::from_fn(|byte| words[byte / 8].to_le_bytes()[byte % 8]);
        assert_eq!(record.to_bytes(), bytes);
        assert_eq!(EventRecord::from_bytes(&bytes), record);
        assert_eq!(record.kind(), Some(event.kind()));
        assert_eq!(record.stream(), event.stream());
        kinds.insert(event.kind());
    }
    assert_eq!(kinds.len(), EventKind::ALL.len());
}

#[test]
fn every_number_is_an_event_or_not_for_a_reason() {
    for number in 0..=u8::MAX {
        let decoded = EventRecord::from_words([u64::from(number), 0, 0, 0]).decode();
        match EventKind::from_number(number) {
            Some(kind) => assert_eq!(decoded.unwrap().kind(), kind),
            None if number & 0xf0 == 0xe0 => {
                assert_eq!(decoded, Err(BadEvent::ImplementationDefined(number)));
            }
            None => assert_eq!(decoded, Err(BadEvent::Unknown(number))),
        }
    }
}

#[test]
fn decoding_what_is_encoded_gives_the_event_for_any_words() {
    let mut random = Random::new(4);
    let mut decoded = 0;
    for round in 0..500_000u32 {
        let mut words: [u64; 4] = random.words();
        if round % 8 != 0 {
            let kind = EventKind::ALL[random.below(EventKind::ALL.len() as u64) as usize];
            words[0] = words[0] & !0xff | u64::from(kind.number());
        }
        let record = EventRecord::from_words(words);
        assert_eq!(record.words(), words);
        if let Ok(event) = record.decode() {
            decoded += 1;
            assert_eq!(event.encode().decode(), Ok(event), "{words:x?}");
        }
    }
    assert!(decoded > 300_000, "{decoded}");
}

#[test]
fn a_reserved_class_is_an_error_of_stage_2_only() {
    for kind in [
        EventKind::WalkEabt,
        EventKind::Translation,
        EventKind::AddrSize,
        EventKind::Access,
        EventKind::Permission,
    ] {
        let record = |second| EventRecord::from_words([u64::from(kind.number()), second, 0, 0]);
        assert_eq!(
            record(3 << 40 | 1 << 39).decode(),
            Err(BadEvent::Class(kind))
        );
        assert!(record(3 << 40).decode().is_ok());
        for class in 0..3 {
            assert!(record(class << 40 | 1 << 39).decode().is_ok());
        }
    }
}
