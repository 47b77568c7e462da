extern crate std;

use std::vec::Vec;

use zerocopy::IntoBytes;

use super::*;
use crate::BadCommand;
use crate::command::CommandFeatures;
use hardware_records::testing::Random;

/// Whether Linux 7.3 takes a command, written down from the description of its rules: the bits
/// that each opcode may have, and the values of a range that it refuses. The VMID counts as
/// allowed where the kernel allows it.
fn kernel_takes([first, second]: [u64; 2], limits: &InvalidationLimits) -> bool {
    let bits = |last: u32, first: u32| (u64::MAX >> (63 - last)) & (u64::MAX << first);
    let asid = if limits.asid16() {
        bits(63, 48)
    } else {
        bits(55, 48)
    };
    let substream = if limits.substreams() { bits(31, 12) } else { 0 };
    let (mut allowed_first, mut allowed_second) = (bits(7, 0), 0);
    match first & 0xff {
        0x05 => {
            allowed_first |= bits(63, 32) | substream;
            allowed_second |= 1;
        }
        0x06 => allowed_first |= bits(63, 32),
        0x10 => allowed_first |= bits(47, 32),
        0x11 => allowed_first |= bits(47, 32) | asid,
        number @ (0x12 | 0x13) => {
            allowed_first |= bits(47, 32);
            allowed_second |= bits(63, 12) | 1;
            if number == 0x12 {
                allowed_first |= asid;
            }
            if limits.ril() {
                allowed_first |= bits(16, 12) | bits(if limits.ds() { 25 } else { 24 }, 20);
                allowed_second |= bits(11, 8);
                let spans = first & (bits(16, 12) | bits(25, 20)) != 0;
                let (granule, level) = ((second >> 10) & 3, (second >> 8) & 3);
                if granule == 0 && (spans || level != 0) {
                    return false;
                }
                if granule == 2 && level == 1 && !limits.ds() {
                    return false;
                }
                if granule != 0 && !spans && level == 0 {
                    return false;
                }
            }
        }
        0x30 => {}
        0x40 => {
            if !limits.ats() || second & bits(5, 0) > 52 {
                return false;
            }
            allowed_first |= bits(63, 32) | substream;
            if limits.substreams() {
                allowed_first |= 1 << 11 | 1 << 9;
            }
            allowed_second |= bits(63, 12) | bits(5, 0);
        }
        _ => return false,
    }
    first & !allowed_first == 0 && second & !allowed_second == 0
}

fn every_limits() -> Vec<InvalidationLimits> {
    (0..32)
        .map(|bits| {
            InvalidationLimits::NONE
                .with_ril(bits & 1 != 0)
                .with_ds(bits & 2 != 0)
                .with_asid16(bits & 4 != 0)
                .with_substreams(bits & 8 != 0)
                .with_ats(bits & 16 != 0)
        })
        .collect()
}

/// A guest's SMMU with the same features as the host's.
fn features_of(limits: &InvalidationLimits) -> CommandFeatures {
    CommandFeatures::STAGE_1
        .with_ril(limits.ril())
        .with_ds(limits.ds())
        .with_asid16(limits.asid16())
        .with_substream_bits(if limits.substreams() { 20 } else { 0 })
        .with_ats(limits.ats())
}

const FORWARDED: [u8; 8] = [0x05, 0x06, 0x10, 0x11, 0x12, 0x13, 0x30, 0x40];

#[test]
fn what_is_made_of_any_words_is_taken_by_the_kernel() {
    let mut random = Random::new(1);
    let guests = every_limits();
    for host in every_limits() {
        for guest in &guests {
            for _ in 0..400 {
                let mut words = random.words();
                // Three of four of a kind that is forwarded, with few bits often enough.
                if random.below(4) != 0 {
                    let number = FORWARDED[random.below(8) as usize];
                    words[0] = words[0] & !0xff | u64::from(number);
                }
                let Ok(command) = Command::decode_with(words, &features_of(guest)) else {
                    continue;
                };
                match Invalidation::from_command(&command, &host) {
                    Ok(made) => assert!(kernel_takes(made.words(), &host), "{words:x?} {host:?}"),
                    Err(refused) => {
                        assert_eq!(refused.command(), command);
                        if let Some(made) = refused.instead() {
                            assert!(kernel_takes(made.words(), &host), "{words:x?} {host:?}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn what_is_permitted_is_what_would_be_made_and_the_first_that_is_not_is_found() {
    let mut random = Random::new(9);
    let hosts = every_limits();
    let mut seen = [0; 2];
    let mut all = Vec::new();
    for made_for in &hosts {
        for _ in 0..400 {
            let mut words: [u64; 2] = random.words();
            let number = FORWARDED[random.below(8) as usize];
            words[0] = words[0] & !0xff | u64::from(number);
            if random.below(2) == 0 {
                // Without a range, and now and then with a short ASID.
                words[0] &= !0x3ff_f000;
                words[1] &= !0xf00;
                words[0] &= u64::MAX >> (8 * random.below(2));
            }
            let Ok(command) = Command::decode_with(words, &features_of(made_for)) else {
                continue;
            };
            let Ok(made) = Invalidation::from_command(&command, made_for) else {
                continue;
            };
            for host in &hosts {
                let permitted = host.permit(&made);
                let again = Invalidation::from_command(&made.command(), host);
                assert_eq!(permitted, again == Ok(made), "{made:?} {host:?}");
                assert_eq!(host.first_refused(&[made]), (!permitted).then_some(0));
                seen[usize::from(permitted)] += 1;
            }
            all.push(made);
        }
    }
    assert!(seen.iter().all(|count| *count > 1000), "{seen:?}");
    // Among many that are permitted, whatever comes first that is not.
    let mut found = 0;
    for host in &hosts {
        let (taken, refused): (Vec<_>, Vec<_>) = all.iter().partition(|made| host.permit(made));
        for round in 0..200 {
            let any = |of: &[Invalidation], random: &mut Random| {
                of[random.below(of.len() as u64) as usize]
            };
            let len = random.below(300) as usize;
            let mut batch: Vec<_> = (0..len).map(|_| any(&taken, &mut random)).collect();
            assert_eq!(host.first_refused(&batch), None);
            if round % 2 == 0 || refused.is_empty() || batch.is_empty() {
                continue;
            }
            for _ in 0..1 + random.below(2) {
                batch[random.below(len as u64) as usize] = any(&refused, &mut random);
            }
            let first = batch.iter().position(|made| !host.permit(made));
            assert_eq!(host.first_refused(&batch), first);
            found += 1;
        }
    }
    assert!(found > 1000, "{found}");
}

#[test]
fn what_the_kernel_takes_is_forwarded_without_its_vmid() {
    let mut random = Random::new(2);
    for host in every_limits() {
        let mut taken = 0;
        for _ in 0..200_000 {
            let mut words = random.sparse_words();
            words[0] = words[0] & !0xff | u64::from(FORWARDED[random.below(8) as usize]);
            if !kernel_takes(words, &host) {
                continue;
            }
            taken += 1;
            let command = Command::decode_with(words, &features_of(&host)).unwrap();
            let made = Invalidation::from_command(&command, &host).unwrap();
            let mut expected = words;
            match words[0] & 0xff {
                0x10..=0x13 => expected[0] &= !0x0000_ffff_0000_0000,
                // IGNORED where there is no substream.
                0x40 if words[0] & 1 << 11 == 0 => expected[0] &= !0xffff_f200,
                _ => {}
            }
            // A scale of more than 39 counts as 39.
            if matches!(words[0] & 0xff, 0x12 | 0x13) && words[0] >> 20 & 0x3f > 39 {
                expected[0] = expected[0] & !0x3f0_0000 | 39 << 20;
            }
            assert_eq!(made.words(), expected, "{words:x?} {host:?}");
            assert_eq!(
                Invalidation::from_command(&made.command(), &host),
                Ok(made),
                "{words:x?} {host:?}"
            );
        }
        assert!(taken > 1000, "{taken} of {host:?}");
    }
}

#[test]
fn vectors() {
    let all = InvalidationLimits::NONE
        .with_ril(true)
        .with_ds(true)
        .with_asid16(true)
        .with_substreams(true)
        .with_ats(true);
    let stream = StreamId::new(0x8001);
    let substream = SubstreamId::new(0xa_bcde);
    let address = InputAddress::new(0xffff_8000_1234_5fff);
    // Each by hand: opcode 7:0, SSV 11, SSID 31:12, SID 63:32, ASID 63:48; Leaf 0, TTL 9:8,
    // TG 11:10, address 63:12.
    let vectors = [
        (
            Invalidation::cfgi_cd(stream, substream, true, &all).unwrap(),
            [0x0000_8001_abcd_e005, 1],
        ),
        (
            Invalidation::cfgi_cd(stream, None, false, &all).unwrap(),
            [0x0000_8001_0000_0005, 0],
        ),
        (
            Invalidation::cfgi_cd_all(stream),
            [0x0000_8001_0000_0006, 0],
        ),
        (Invalidation::tlbi_nh_all(), [0x10, 0]),
        (
            Invalidation::tlbi_nh_asid(Asid::new(0x8123), &all).unwrap(),
            [0x8123_0000_0000_0011, 0],
        ),
        (
            // 3 << 9 granules of 4 KiB, level 3: NUM 2, SCALE 9, TTL 3, TG 1.
            Invalidation::tlbi_nh_va(
                Asid::new(0x8123),
                address,
                true,
                TlbiRange::new(Granule::Kib4, Some(Level::Level3), 2, 9),
                &all,
            )
            .unwrap(),
            [0x8123_0000_0090_2012, 0xffff_8000_1234_5701],
        ),
        (
            Invalidation::tlbi_nh_vaa(address, false, None, &all).unwrap(),
            [0x13, 0xffff_8000_1234_5000],
        ),
        (Invalidation::tlbi_nsnh_all(), [0x30, 0]),
        (
            Invalidation::atc_inv(stream, substream, address, AtcSpan::PAGE, &all).unwrap(),
            [0x0000_8001_abcd_e840, 0xffff_8000_1234_5000],
        ),
        (
            Invalidation::atc_inv(stream, None, InputAddress::new(0), AtcSpan::ALL, &all).unwrap(),
            [0x0000_8001_0000_0040, 52],
        ),
    ];
    for (made, words) in vectors {
        assert_eq!(made.words(), words, "{made:?}");
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        assert_eq!(made.as_bytes(), bytes);
        assert!(kernel_takes(words, &all));
    }
}

#[test]
fn a_hint_that_the_host_has_not_is_dropped() {
    let ril = InvalidationLimits::NONE.with_ril(true);
    let address = InputAddress::new(0x1000);
    let vaa = |range, limits| Invalidation::tlbi_nh_vaa(address, true, range, limits);

    // One granule: the address alone covers it.
    let hint = Some(TlbiRange::one(Granule::Kib4, Level::Level2).unwrap());
    assert_eq!(vaa(hint, &InvalidationLimits::NONE), vaa(None, &ril));
    let hint = Some(TlbiRange::one(Granule::Kib16, Level::Level1).unwrap());
    assert_eq!(vaa(hint, &ril), vaa(None, &ril));
    // More granules: the range stays, of any level.
    let range = |level| TlbiRange::new(Granule::Kib16, level, 3, 0);
    assert_eq!(
        vaa(range(Some(Level::Level1)), &ril),
        vaa(range(None), &ril)
    );
}

#[test]
fn a_refusal_says_what_to_do() {
    let none = &InvalidationLimits::NONE;
    let ril = &InvalidationLimits::NONE.with_ril(true);
    let stream = StreamId::new(3);
    let address = InputAddress::new(0);
    let reason = |made: Result<Invalidation, NotForwarded>| {
        let refused = made.unwrap_err();
        (refused.reason(), refused.instead())
    };
    let everything = Some(Invalidation::tlbi_nh_all());

    assert_eq!(
        reason(Invalidation::tlbi_nh_asid(Asid::new(256), none)),
        (NotForwardedReason::WideAsid, everything)
    );
    let range = TlbiRange::new(Granule::Kib4, None, 1, 0);
    assert_eq!(
        reason(Invalidation::tlbi_nh_vaa(address, false, range, none)),
        (NotForwardedReason::Range, everything)
    );
    let range = TlbiRange::new(Granule::Kib4, None, 0, 32);
    assert_eq!(
        reason(Invalidation::tlbi_nh_va(
            Asid::new(1),
            address,
            false,
            range,
            ril
        )),
        (NotForwardedReason::Scale, everything)
    );
    assert_eq!(
        reason(Invalidation::cfgi_cd(
            stream,
            SubstreamId::new(1),
            true,
            none
        )),
        (
            NotForwardedReason::Substream,
            Some(Invalidation::cfgi_cd_all(stream))
        )
    );
    assert_eq!(
        reason(Invalidation::atc_inv(
            stream,
            None,
            address,
            AtcSpan::ALL,
            none
        )),
        (NotForwardedReason::Ats, None)
    );
    let ste = Command::CfgiSte { stream, leaf: true };
    assert_eq!(
        reason(Invalidation::from_command(&ste, none)),
        (
            NotForwardedReason::Emulated,
            Some(Invalidation::cfgi_cd_all(stream))
        )
    );
}

#[test]
fn what_the_kernel_refuses_of_a_range_is_illegal_for_the_guest_or_reduced() {
    // Every NUM, SCALE, TTL and TG.
    for limits in [
        InvalidationLimits::NONE.with_ril(true),
        InvalidationLimits::NONE.with_ril(true).with_ds(true),
    ] {
        for number in 0..32u64 * 64 * 16 {
            let (num, scale, hints) = (number & 31, number >> 5 & 63, number >> 11);
            let words = [0x13 | num << 12 | scale << 20, 0x7000_0000 | hints << 8];
            match Command::decode_with(words, &features_of(&limits)) {
                Ok(command) => {
                    let made = Invalidation::from_command(&command, &limits).unwrap();
                    assert!(kernel_takes(made.words(), &limits), "{words:x?}");
                }
                Err(error) => {
                    assert!(matches!(error, BadCommand::EmptyRange(_)));
                    assert!(!kernel_takes(words, &limits), "{words:x?}");
                }
            }
        }
    }
}
