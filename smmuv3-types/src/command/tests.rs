mod vectors;

use super::CommandFeatures;
use crate::testing::Random;
use crate::*;

/// An SMMU with everything.
const ALL: CommandFeatures = CommandFeatures::STAGE_1
    .with_stage2(true)
    .with_hyp(true)
    .with_ats(true)
    .with_asid16(true)
    .with_msi(true)
    .with_sev(true)
    .with_pri(true)
    .with_vmid16(true)
    .with_stall(true)
    .with_mpam(true)
    .with_ril(true)
    .with_ds(true)
    .with_substream_bits(20);

const STREAM: StreamId = StreamId::new(0xdead_beef);
const VMID: Vmid = Vmid::new(0x7654);
const ASID: Asid = Asid::new(0x8123);
const ADDRESS: InputAddress = InputAddress::new(0xffff_8000_1234_5000);

fn substream() -> SubstreamId {
    SubstreamId::new(0xa_bcde).unwrap()
}

#[test]
fn every_opcode_is_a_command_or_is_illegal_for_a_reason() {
    for number in 0..=u8::MAX {
        let decoded = Command::decode_with([u64::from(number), 0], &ALL);
        match Opcode::from_number(number) {
            None => assert_eq!(decoded, Err(BadCommand::Unknown(number))),
            Some(opcode) if opcode.is_secure() => {
                assert_eq!(decoded, Err(BadCommand::Secure(opcode)));
            }
            Some(opcode @ (Opcode::DptiAll | Opcode::DptiPa)) => {
                assert_eq!(decoded, Err(BadCommand::NotImplemented(opcode)));
            }
            Some(opcode) => assert_eq!(decoded.unwrap().opcode(), opcode),
        }
    }
}

#[test]
fn decoding_what_is_encoded_gives_the_command_for_any_words() {
    let mut random = Random::new(3);
    let mut decoded = 0;
    for round in 0..2_000_000u32 {
        let mut words: [u64; 2] = if round % 2 == 0 {
            random.words()
        } else {
            random.sparse_words()
        };
        if round % 8 != 0 {
            let number = Opcode::ALL[random.below(Opcode::ALL.len() as u64) as usize].number();
            words[0] = words[0] & !0x4ff | u64::from(number);
        }
        // Features of a guest's SMMU, of which the words of the command are independent.
        let bits = random.word();
        let features = CommandFeatures::STAGE_1
            .with_stage2(bits & 1 != 0)
            .with_hyp(bits & 2 != 0)
            .with_ats(bits & 4 != 0)
            .with_asid16(bits & 8 != 0)
            .with_msi(bits & 16 != 0)
            .with_sev(bits & 32 != 0)
            .with_pri(bits & 64 != 0)
            .with_vmid16(bits & 128 != 0)
            .with_stall(bits & 256 != 0)
            .with_term_model(bits & 512 != 0)
            .with_mpam(bits & 1024 != 0)
            .with_ril(bits & 2048 != 0)
            .with_ds(bits & 4096 != 0)
            .with_substream_bits(if bits & 8192 != 0 { 20 } else { 0 });
        let Ok(command) = Command::decode_with(words, &features) else {
            continue;
        };
        decoded += 1;
        assert_eq!(
            Command::decode_with(command.encode(), &features),
            Ok(command),
            "{words:x?} {features:?}"
        );
        // What means nothing under the features is gone: with all of them it is the same.
        assert_eq!(Command::decode_with(command.encode(), &ALL), Ok(command));
    }
    assert!(decoded > 500_000, "{decoded}");
}

#[test]
fn what_the_smmu_has_not_is_illegal() {
    let without: [(CommandFeatures, &[u8]); 7] = [
        (
            ALL.with_stage1(false),
            &[0x05, 0x06, 0x10, 0x11, 0x12, 0x13],
        ),
        (ALL.with_stage2(false), &[0x28, 0x2a]),
        (ALL.with_hyp(false), &[0x20, 0x21, 0x22, 0x23]),
        (ALL.with_ats(false), &[0x40]),
        (ALL.with_pri(false), &[0x41]),
        (ALL.with_stall(false), &[0x44, 0x45]),
        (ALL.with_mpam(false), &[0x07]),
    ];
    for (features, illegal) in without {
        for number in 0..=u8::MAX {
            let words = [u64::from(number), 0];
            if illegal.contains(&number) {
                let opcode = Opcode::from_number(number).unwrap();
                assert_eq!(
                    Command::decode_with(words, &features),
                    Err(BadCommand::NotImplemented(opcode))
                );
            } else {
                assert_eq!(
                    Command::decode_with(words, &features).is_ok(),
                    Command::decode_with(words, &ALL).is_ok(),
                    "{number:#x}"
                );
            }
        }
    }
}

#[test]
fn a_secure_stream_is_illegal_only_where_there_is_a_field_for_it() {
    for opcode in Opcode::ALL {
        let words = [u64::from(opcode.number()) | 1 << 10, 0];
        let with_field = matches!(opcode.number(), 0x01..=0x07 | 0x44 | 0x45);
        if with_field {
            assert_eq!(
                Command::decode_with(words, &ALL),
                Err(BadCommand::SecureStream(*opcode))
            );
        } else {
            assert_eq!(
                Command::decode_with(words, &ALL),
                Command::decode_with([u64::from(opcode.number()), 0], &ALL)
            );
        }
    }
}

#[test]
fn reserved_values_are_illegal() {
    for size in 53..64 {
        assert_eq!(
            Command::decode_with([0x40, size], &ALL),
            Err(BadCommand::Span(size as u8))
        );
    }
    assert_eq!(
        Command::decode_with([0x41, 3 << 12], &ALL),
        Err(BadCommand::Response)
    );
    assert_eq!(
        Command::decode_with([0x46 | 3 << 12, 0], &ALL),
        Err(BadCommand::Signal)
    );
    for number in [0x12, 0x13, 0x22, 0x23, 0x2a] {
        let opcode = Opcode::from_number(number).unwrap();
        for granule in 1..4 {
            assert_eq!(
                Command::decode_with([u64::from(number), granule << 10], &ALL),
                Err(BadCommand::EmptyRange(opcode))
            );
            // Without range invalidation the field is RES0, and ignored.
            assert!(
                Command::decode_with([u64::from(number), granule << 10], &ALL.with_ril(false))
                    .is_ok()
            );
        }
    }
}

#[test]
fn a_hint_is_the_number_of_a_level_but_0() {
    for &level in Level::ALL {
        for granule in [Granule::Kib4, Granule::Kib16, Granule::Kib64] {
            let hint = TlbiRange::one(granule, level);
            assert_eq!(hint, TlbiRange::new(granule, Some(level), 0, 0));
            let range = TlbiRange::new(granule, Some(level), 7, 1);
            assert_eq!(hint.is_none(), level == Level::Level0);
            assert_eq!(range.is_none(), level == Level::Level0);
            for range in [hint, range].into_iter().flatten() {
                let command = Command::TlbiNhVaa {
                    vmid: VMID,
                    address: ADDRESS,
                    leaf: true,
                    range: Some(range),
                };
                let [_, second] = command.encode().words();
                assert_eq!(second >> 8 & 3, level.number().into());
                assert_eq!(range.level(), Some(level));
                assert_eq!(Command::decode_with(command.encode(), &ALL), Ok(command));
            }
        }
    }
}

#[test]
fn level_1_of_16_kib_is_no_hint_without_ds() {
    let features = ALL.with_ds(false);
    // TG 2, TTL 1: with one granule it is the reserved combination (4.4.1.1).
    assert_eq!(
        Command::decode_with([0x13, 0x900], &features),
        Err(BadCommand::EmptyRange(Opcode::TlbiNhVaa))
    );
    let Ok(Command::TlbiNhVaa {
        range: Some(range), ..
    }) = Command::decode_with([0x13 | 1 << 12, 0x900], &features)
    else {
        panic!("a range");
    };
    assert_eq!((range.level(), range.granules()), (None, 2));
    // With it, it is.
    assert!(Command::decode_with([0x13, 0x900], &ALL).is_ok());
}

#[test]
fn a_scale_has_five_bits_without_ds_and_is_at_most_39_with_it() {
    for bits in 0..64u64 {
        let words = [0x13 | bits << 20 | 1 << 12, 1 << 10];
        let scale = |features| match Command::decode_with(words, &features) {
            Ok(Command::TlbiNhVaa {
                range: Some(range), ..
            }) => u64::from(range.scale()),
            other => panic!("{other:?}"),
        };
        assert_eq!(scale(ALL), bits.min(39));
        assert_eq!(scale(ALL.with_ds(false)), bits & 31);
    }
}

#[test]
fn numbers_have_the_bits_that_the_smmu_has() {
    let words = [0xabcd_1234_0000_0011, 0];
    let ids = |features| match Command::decode_with(words, &features) {
        Ok(Command::TlbiNhAsid { vmid, asid }) => (vmid.get(), asid.get()),
        other => panic!("{other:?}"),
    };
    assert_eq!(ids(ALL), (0x1234, 0xabcd));
    assert_eq!(ids(ALL.with_asid16(false)), (0x1234, 0xcd));
    assert_eq!(ids(ALL.with_vmid16(false)), (0x34, 0xabcd));
    assert_eq!(ids(ALL.with_stage2(false)), (0, 0xabcd));
}

#[test]
fn no_substreams_means_none_is_named() {
    let features = ALL.with_substream_bits(0);
    assert_eq!(
        Command::decode_with([0x7_ffff_fa40, 0], &features),
        Ok(Command::AtcInv {
            stream: StreamId::new(7),
            substream: None,
            global: false,
            address: InputAddress::new(0),
            span: AtcSpan::PAGE,
        })
    );
    assert_eq!(
        Command::decode_with([0x7_ffff_f005, 0], &features),
        Ok(Command::CfgiCd {
            stream: StreamId::new(7),
            substream: SubstreamId::new(0).unwrap(),
            leaf: false,
        })
    );
}

#[test]
fn ends_of_a_stalled_transaction() {
    for (bits, action, always_abort) in [
        (0, ResumeAction::ReadZeroIgnoreWrite, ResumeAction::Abort),
        (1, ResumeAction::Retry, ResumeAction::Retry),
        (2, ResumeAction::Abort, ResumeAction::Abort),
        // Ab is IGNORED when Ac is 1.
        (3, ResumeAction::Retry, ResumeAction::Retry),
    ] {
        for (features, expected) in [(ALL, action), (ALL.with_term_model(true), always_abort)] {
            assert_eq!(
                Command::decode_with([0x44 | bits << 12, 5], &features),
                Ok(Command::Resume {
                    stream: StreamId::new(0),
                    stag: Stag::new(5),
                    action: expected,
                })
            );
        }
    }
}

#[test]
fn signals_of_a_sync() {
    let irq = [0x46 | 1 << 12 | 0x42 << 32, 0x1000];
    assert_eq!(
        Command::decode_with(irq, &ALL.with_msi(false)),
        Ok(Command::Sync(SyncSignal::Irq(None)))
    );
    // Bits 1:0 and those from 52 on are not of the address; an address of 0 is no MSI.
    assert_eq!(
        Command::decode_with([irq[0], 0xfff0_0000_0000_0003], &ALL),
        Ok(Command::Sync(SyncSignal::Irq(None)))
    );
    let sev = [0x46 | 2 << 12, 0];
    assert_eq!(
        Command::decode_with(sev, &ALL.with_sev(false)),
        Ok(Command::Sync(SyncSignal::None))
    );
    // MSH 0b01 counts as not shareable.
    let Ok(Command::Sync(SyncSignal::Irq(Some(msi)))) =
        Command::decode_with([irq[0] | 1 << 22, irq[1]], &ALL)
    else {
        panic!("an MSI");
    };
    assert_eq!(msi.shareability(), Shareability::NonShareable);
    assert_eq!((msi.address().get(), msi.data()), (0x1000, 0x42));
}

#[test]
fn ranges_of_streams() {
    for range in 0..32u8 {
        let words = [u64::from(STREAM.get()) << 32 | 4, u64::from(range)];
        match Command::decode_with(words, &ALL) {
            Ok(Command::CfgiAll) => assert_eq!(range, 31),
            Ok(Command::CfgiSteRange(of)) => {
                let size = 1u64 << (range + 1);
                let first = u64::from(STREAM.get()) / size * size;
                assert_eq!(u64::from(of.first().get()), first);
                assert_eq!(u64::from(of.last().get()), first + size - 1);
                assert!(of.contains(STREAM) && of.contains(of.first()) && of.contains(of.last()));
                assert!(!of.contains(StreamId::new(STREAM.get() ^ size as u32)));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn sizes_of_ranges() {
    // (NUM + 1) * 2^SCALE granules (4.4.1.1).
    for (granule, bytes) in [
        (Granule::Kib4, 4096u64),
        (Granule::Kib16, 16384),
        (Granule::Kib64, 65536),
    ] {
        for num in 0..=u8::MAX {
            for scale in 0..=u8::MAX {
                let range = TlbiRange::new(granule, None, num, scale);
                if num > 31 || scale > 39 || (num, scale) == (0, 0) {
                    assert_eq!(range, None);
                } else {
                    let granules = (u64::from(num) + 1) * 2u64.pow(scale.into());
                    assert_eq!(range.unwrap().granules(), granules);
                    assert_eq!(range.unwrap().bytes(), granules * bytes);
                }
            }
        }
    }
}
