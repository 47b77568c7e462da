//! What context descriptors come to, by the rules of 5.4 and 5.5.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the test's own constants"
)]

use smmuv3_types::{
    AddressSize, Asid, BadCd, BadRoot, Cd, CdConfig, CdTable, Context, ContextPointer, Features,
    Geometry, Granule, IdRegisters, InputSize, Ipa, Mair, Reserved, Shareability, Stage1,
    StallModel, TableEndianness, TableUpdate,
};

fn features(change: impl FnOnce(&mut IdRegisters)) -> Features {
    // Stage 1, VMSAv8-64, 16-bit ASIDs, CD2L, little-endian, stalls and termination; 20 substream
    // bits; all granules, 52 bits out, 52 bits in.
    let mut registers = IdRegisters::from_bits(
        [
            1 << 1 | 2 << 2 | 1 << 12 | 1 << 19 | 2 << 21,
            20 << 6,
            0,
            0,
            0,
            0x76 | 1 << 10,
        ],
        0,
        1,
    );
    change(&mut registers);
    Features::new(registers).unwrap()
}

fn ipa(address: u64) -> Ipa {
    Ipa::new(address).unwrap()
}

fn pointer(address: u64) -> ContextPointer {
    ContextPointer::new(ipa(address)).unwrap()
}

fn stage1() -> Stage1 {
    Stage1::new(CdTable::single(pointer(0)))
}

fn cd() -> Cd {
    Cd::stage1(
        Asid::new(7),
        Geometry::new(Granule::Kib4, 48).unwrap(),
        ipa(0x4000_2000),
        AddressSize::Bits44,
        Mair::new(0xff),
    )
    .unwrap()
}

fn context(cd: Cd, features: &Features) -> Result<Context, BadCd> {
    match cd.decode(features, &stage1())? {
        CdConfig::Vmsa64(context) => Ok(context),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_bytes_of_a_descriptor_of_ones_own() {
    // Word 0: T0SZ 16; TG0 0; IR0 1 (9:8), OR0 1 (11:10), SH0 3 (13:12): 0x3510. EPD1 (30), V (31):
    // 0xc0000000. IPS 4 (34:32). AA64 (41): 0x200 << 32. R (45), A (46), ASET (47): 0xe000 << 32.
    // ASID 7 (63:48). Word 1: the table. Word 3: MAIR.
    assert_eq!(
        cd().words(),
        [0x0007_e204_c000_3510, 0x4000_2000, 0, 0xff, 0, 0, 0, 0]
    );
    let bytes = cd().to_bytes();
    assert_eq!(bytes[..8], [0x10, 0x35, 0x00, 0xc0, 0x04, 0xe2, 0x07, 0x00]);
    assert_eq!(Cd::from_bytes(&bytes), cd());
    let context = context(cd(), &features(|_| {})).unwrap();
    assert_eq!(context.asid, Asid::new(7));
    assert_eq!(context.output, AddressSize::Bits44);
    assert!(context.high.is_none() && context.access_flag_faults && !context.big_endian);
    assert_eq!(context.update, TableUpdate::None);
    assert!(context.faults.abort && context.faults.record && !context.faults.stall);
    let low = context.low.unwrap();
    assert_eq!(low.table, ipa(0x4000_2000));
    assert_eq!(low.geometry, Geometry::new(Granule::Kib4, 48).unwrap());
}

#[test]
fn a_root_must_be_aligned_and_within_reach() {
    let make = |granule, bits, table, output| {
        Cd::stage1(
            Asid::new(1),
            Geometry::new(granule, bits).unwrap(),
            ipa(table),
            output,
            Mair::default(),
        )
    };
    assert_eq!(
        make(Granule::Kib4, 48, 0x4000_2010, AddressSize::Bits44),
        Err(BadRoot::Misaligned {
            table: ipa(0x4000_2010),
            alignment: 0x1000
        })
    );
    // 16 KiB, 48 bits: the first table has two descriptors.
    assert!(make(Granule::Kib16, 48, 0x10, AddressSize::Bits48).is_ok());
    assert_eq!(
        make(Granule::Kib16, 48, 0x10, AddressSize::Bits52),
        Err(BadRoot::Misaligned {
            table: ipa(0x10),
            alignment: 64
        })
    );
    for (granule, output, bits) in [
        (Granule::Kib4, AddressSize::Bits52, 48),
        (Granule::Kib64, AddressSize::Bits52, 52),
        (Granule::Kib64, AddressSize::Bits40, 40),
    ] {
        let last = 1 << (bits - 1);
        assert!(make(granule, 42, last, output).is_ok());
        if bits < 52 {
            assert_eq!(
                make(granule, 42, last << 1, output),
                Err(BadRoot::Beyond(ipa(last << 1)))
            );
        }
    }
}

#[test]
fn each_illegal_combination_is_bad() {
    let plain = |_: &mut IdRegisters| {};
    let check = |cd: Cd, change: fn(&mut IdRegisters), bad| {
        assert_eq!(cd.decode(&features(change), &stage1()), Err(bad), "{cd:?}");
    };
    check(cd().with_v(false), plain, BadCd::Invalid);
    check(
        Cd::from_words([!(1 << 31), !0, !0, !0, !0, !0, !0, !0]),
        plain,
        BadCd::Invalid,
    );
    check(
        cd().with_a(false),
        |r| r.idr0 = r.idr0.with_term_model(true),
        BadCd::Abort,
    );
    check(cd().with_endi(true), plain, BadCd::Endianness(true));
    check(
        cd(),
        |r| r.idr0 = r.idr0.with_ttendian(TableEndianness::Big),
        BadCd::Endianness(false),
    );
    check(cd().with_aa64(false), plain, BadCd::Format(false));
    check(
        cd(),
        |r| r.idr0 = r.idr0.with_ttf_aarch64(false).with_ttf_aarch32(true),
        BadCd::Format(true),
    );
    check(
        cd().with_asid(Asid::new(0x100)),
        |r| r.idr0 = r.idr0.with_asid16(false),
        BadCd::Asid(Asid::new(0x100)),
    );
    check(
        cd().with_tg0(3),
        plain,
        BadCd::Granule { half: 0, value: 3 },
    );
    check(
        cd().with_epd1(false).with_t1sz(16).with_tg1(0),
        plain,
        BadCd::Granule { half: 1, value: 0 },
    );
    check(
        cd(),
        |r| r.idr5 = r.idr5.with_gran4k(false),
        BadCd::Granule { half: 0, value: 0 },
    );
    check(
        cd().with_ttb0(ipa(1 << 44)),
        plain,
        BadCd::Table {
            half: 0,
            table: ipa(1 << 44),
        },
    );
    // Beyond 48 bits with 4 KiB, though the output size is 52.
    check(
        cd().with_ips(AddressSize::Bits52).with_ttb0(ipa(1 << 48)),
        plain,
        BadCd::Table {
            half: 0,
            table: ipa(1 << 48),
        },
    );
    // What EPD switches off is not looked at.
    assert!(context(cd().with_t1sz(63).with_tg1(0), &features(plain)).is_ok());
    assert!(
        context(
            cd().with_epd0(true).with_tg0(3).with_endi(true),
            &features(plain)
        )
        .is_ok()
    );
}

#[test]
fn stalls_follow_the_stall_model_and_the_entry() {
    for &model in StallModel::ALL {
        for stalls in [false, true] {
            for disabled in [false, true] {
                let decoded = cd().with_s(stalls).decode(
                    &features(|r| r.idr0 = r.idr0.with_stall_model(model)),
                    &stage1().with_stall_disabled(disabled),
                );
                let allowed = match model {
                    StallModel::Both => !(stalls && disabled),
                    StallModel::TerminateOnly => !stalls,
                    StallModel::StallOnly => stalls,
                };
                if allowed {
                    assert!(decoded.is_ok());
                } else {
                    assert_eq!(decoded, Err(BadCd::Stall(stalls)));
                }
            }
        }
    }
}

#[test]
fn flags_are_written_only_by_an_smmu_that_writes_them() {
    for there in [
        TableUpdate::None,
        TableUpdate::AccessFlag,
        TableUpdate::Dirty,
    ] {
        for flags in 0..8_u8 {
            let (ha, hd, haft) = (flags & 1 != 0, flags & 2 != 0, flags & 4 != 0);
            let mut cd = cd().with_ha(ha).with_hd(hd).with_haft(haft);
            let decoded = context(cd, &features(|r| r.idr0 = r.idr0.with_httu(there)));
            // HAFT is RES0 on all of them.
            let bad = match there {
                TableUpdate::None => ha || hd,
                TableUpdate::AccessFlag => hd,
                _ => false,
            };
            assert_eq!(decoded.is_err(), bad, "{there:?} {flags:#05b}");
            if let Ok(context) = decoded {
                assert_eq!(context.access_flag_faults, !ha);
                assert_eq!(context.update == TableUpdate::Dirty, ha && hd);
            }
            cd = cd.with_affd(true);
            if let Ok(context) = context(cd, &features(|r| r.idr0 = r.idr0.with_httu(there))) {
                assert!(!context.access_flag_faults);
            }
        }
    }
}

#[test]
fn every_input_size_of_every_granule() {
    for stt in [false, true] {
        for vax in [InputSize::Bits48, InputSize::Bits52] {
            let features = features(|r| {
                r.idr3 = r.idr3.with_stt(stt);
                r.idr5 = r.idr5.with_vax(vax);
            });
            for &granule in Granule::ALL {
                for t_sz in 0..64 {
                    // 5.4, CD.T0SZ.
                    let most = match (stt, granule) {
                        (false, _) => 39,
                        (true, Granule::Kib64) => 47,
                        (true, _) => 48,
                    };
                    let least = match (vax, granule) {
                        (InputSize::Bits52, Granule::Kib64) => 12,
                        _ => 16,
                    };
                    let low = cd()
                        .with_tg0(granule.tg0())
                        .with_t0sz(t_sz)
                        .with_ttb0(ipa(0));
                    let high = cd()
                        .with_epd0(true)
                        .with_epd1(false)
                        .with_tg1(granule.tg1())
                        .with_t1sz(t_sz);
                    for (half, cd) in [(0, low), (1, high)] {
                        let decoded = context(cd, &features);
                        if (least..=most).contains(&t_sz) {
                            let context = decoded.unwrap();
                            let tree = if half == 0 { context.low } else { context.high };
                            assert_eq!(tree.unwrap().geometry.t_sz(), t_sz);
                            assert_eq!(tree.unwrap().geometry.granule(), granule);
                        } else {
                            assert_eq!(decoded, Err(BadCd::InputSize { half, value: t_sz }));
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn what_is_not_covered_is_said_so() {
    let lpa2 = features(|r| r.idr5 = r.idr5.with_ds(true));
    assert_eq!(
        cd().with_ds(true).decode(&lpa2, &stage1()),
        Ok(CdConfig::Lpa2)
    );
    // RES0 without IDR5.DS, and of no effect with 64 KiB.
    assert!(context(cd().with_ds(true), &features(|_| {})).is_ok());
    let wide = cd()
        .with_ds(true)
        .with_tg0(Granule::Kib64.tg0())
        .with_ttb0(ipa(0));
    assert!(context(wide, &lpa2).is_ok());
    let lpae = features(|r| r.idr0 = r.idr0.with_ttf_aarch32(true));
    assert_eq!(
        cd().with_aa64(false).decode(&lpae, &stage1()),
        Ok(CdConfig::Lpae)
    );
}

#[test]
fn reserved_encodings_behave_as_something_else() {
    // IPS = 7 as 52 bits; SH0 = 1 as not shareable.
    let words = cd().words();
    let word0 = words[0] & !(3 << 12) | 1 << 12 | 7 << 32;
    let reserved = Cd::from_words([word0, words[1], 0, 0, 0, 0, 0, 0]);
    let named = |error: Reserved| (error.field(), error.value());
    assert_eq!(named(reserved.ips().unwrap_err()), ("CD.IPS", 7));
    assert_eq!(named(reserved.sh0().unwrap_err()), ("CD.SH0", 1));
    let context = context(reserved, &features(|_| {})).unwrap();
    assert_eq!(context.output, AddressSize::Bits52);
    assert_eq!(
        context.low.unwrap().shareability,
        Shareability::NonShareable
    );
}

#[test]
fn the_output_size_is_the_smaller_of_the_two() {
    for &ips in AddressSize::ALL {
        for &oas in AddressSize::ALL {
            let features = features(|r| r.idr5 = r.idr5.with_oas(oas));
            let context = context(cd().with_ips(ips).with_ttb0(ipa(0)), &features).unwrap();
            assert_eq!(context.output.width(), ips.width().min(oas.width()));
        }
    }
}
