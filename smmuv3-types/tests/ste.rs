//! What stream table entries come to, by the rules of 5.2 and 5.5.

#![expect(clippy::unwrap_used, reason = "the test's own constants")]

use hardware_records::testing::Random;
use smmuv3_types::{
    AtsMode, BadSte, CdTable, CdTableFormat, ContextPointer, DefaultSubstream, Features,
    IdRegisters, Ipa, NestedConfig, NestedSte, Reduced, Stage1, StallModel, Ste, SteConfig,
    StreamConfig, SubstreamBits, Vmid,
};

/// Stage 1, VMSAv8-64 little-endian, both stall models, CD2L, 16-bit ASIDs; 8 substream bits; all
/// granules, 44 bits out.
fn registers() -> IdRegisters {
    IdRegisters::from_bits(
        [
            1 << 1 | 2 << 2 | 1 << 12 | 1 << 19 | 2 << 21,
            8 << 6 | 16,
            0,
            0,
            0,
            0x74,
        ],
        0,
        1,
    )
}

fn features(change: impl FnOnce(&mut IdRegisters)) -> Features {
    let mut registers = registers();
    change(&mut registers);
    Features::new(registers).unwrap()
}

fn translate() -> Ste {
    Ste::valid(StreamConfig::Stage1).with_s1_context_ptr(Ipa::new(0x4_0000).unwrap())
}

fn stage1(address: u64, format: CdTableFormat, bits: u8) -> Stage1 {
    let pointer = Ipa::new(address).and_then(ContextPointer::new).unwrap();
    Stage1::new(CdTable::new(pointer, format, SubstreamBits::new(bits).unwrap()).unwrap())
}

#[test]
fn an_entry_that_is_not_valid_owes_the_guest_c_bad_ste() {
    for words in [[0; 8], [!1, !0, !0, !0, !0, !0, !0, !0]] {
        let reduced = Ste::from_words(words).reduce(&features(|_| {}));
        assert_eq!(reduced, Reduced::AbortWithBadSte(BadSte::Invalid));
        assert_eq!(reduced.nested(), NestedSte::invalid());
    }
}

#[test]
fn reserved_configurations_abort_without_an_event() {
    for config in 0..4 {
        let ste = Ste::from_words([1 | config << 1, !0, !0, !0, !0, !0, !0, !0]);
        assert_eq!(
            ste.reduce(&features(|_| {})),
            Reduced::Install(NestedSte::abort())
        );
        assert_eq!(ste.config().is_err(), config != 0);
    }
}

#[test]
fn bypass_looks_at_nothing_else() {
    let ste = Ste::from_words([0b1001 | !0xf, !0, !0, !0, !0, !0, !0, !0]);
    for ats in [false, true] {
        assert_eq!(
            ste.reduce(&features(|r| r.idr0 = r.idr0.with_ats(ats))),
            Reduced::Install(NestedSte::bypass())
        );
    }
}

#[test]
fn stage_2_is_not_offered() {
    for config in [StreamConfig::Stage2, StreamConfig::Nested] {
        let ste = Ste::valid(config).with_s2_aa64(true);
        assert_eq!(ste.decode(&features(|_| {})), Err(BadSte::NoStage2));
        assert_eq!(
            ste.reduce(&features(|r| r.idr0 = r.idr0.with_s2p(true))),
            Reduced::AbortWithBadSte(BadSte::NoStage2)
        );
    }
    assert_eq!(
        translate().decode(&features(|r| r.idr0 = r.idr0.with_s1p(false))),
        Err(BadSte::NoStage1)
    );
}

#[test]
fn substreams_go_to_the_advertised_number_and_not_beyond() {
    for ssidsize in 0..=20 {
        let features = features(|r| r.idr1 = r.idr1.with_ssidsize(ssidsize));
        for cd_max in 0..32 {
            let decoded = Ste::valid(StreamConfig::Stage1)
                .with_s1_cd_max(cd_max)
                .decode(&features);
            match (ssidsize, cd_max) {
                // Without substreams the field is ignored.
                (0, _) => assert_eq!(
                    decoded,
                    Ok(SteConfig::Stage1(stage1(0, CdTableFormat::Linear, 0)))
                ),
                _ if cd_max <= ssidsize => assert_eq!(
                    decoded,
                    Ok(SteConfig::Stage1(stage1(0, CdTableFormat::Linear, cd_max)))
                ),
                _ => assert_eq!(
                    decoded,
                    Err(BadSte::TooManySubstreams {
                        wanted: cd_max,
                        most: SubstreamBits::new(ssidsize).unwrap()
                    })
                ),
            }
        }
    }
}

#[test]
fn the_format_counts_only_where_there_are_substreams() {
    let linear_only = features(|r| r.idr0 = r.idr0.with_cd2l(false));
    let both = features(|_| {});
    for format in [CdTableFormat::TwoLevel4K, CdTableFormat::TwoLevel64K] {
        let one = translate()
            .with_s1_fmt(format)
            .with_s1_dss(DefaultSubstream::Bypass);
        assert_eq!(
            one.decode(&linear_only),
            Ok(SteConfig::Stage1(stage1(
                0x4_0000,
                CdTableFormat::Linear,
                0
            )))
        );
        let many = translate().with_s1_fmt(format).with_s1_cd_max(8);
        assert_eq!(many.decode(&linear_only), Err(BadSte::NoTwoLevelTable));
        assert_eq!(
            many.decode(&both),
            Ok(SteConfig::Stage1(stage1(0x4_0000, format, 8)))
        );
    }
    // 0b11 behaves as linear, also without CD2L.
    let words = translate().with_s1_cd_max(8).words();
    let reserved = Ste::from_words([words[0] | 3 << 4, words[1], 0, 0, 0, 0, 0, 0]);
    assert_eq!(reserved.s1_fmt().unwrap_err().field(), "STE.S1Fmt");
    assert_eq!(
        reserved.decode(&linear_only),
        Ok(SteConfig::Stage1(stage1(
            0x4_0000,
            CdTableFormat::Linear,
            8
        )))
    );
}

#[test]
fn bits_below_the_alignment_of_the_table_are_taken_for_0() {
    let all = Ipa::new((1 << 44) - 1).unwrap();
    for (format, bits, alignment) in [
        (CdTableFormat::Linear, 0, 64),
        (CdTableFormat::Linear, 1, 128),
        (CdTableFormat::Linear, 8, 64 << 8),
        (CdTableFormat::TwoLevel4K, 6, 64),
        (CdTableFormat::TwoLevel4K, 9, 64),
        (CdTableFormat::TwoLevel4K, 10, 128),
        (CdTableFormat::TwoLevel4K, 20, 8 << 14),
        (CdTableFormat::TwoLevel64K, 13, 64),
        (CdTableFormat::TwoLevel64K, 14, 128),
        (CdTableFormat::TwoLevel64K, 20, 8 << 10),
    ] {
        let features = features(|r| r.idr1 = r.idr1.with_ssidsize(20));
        let ste = translate()
            .with_s1_context_ptr(all)
            .with_s1_fmt(format)
            .with_s1_cd_max(bits);
        let Ok(SteConfig::Stage1(stage1)) = ste.decode(&features) else {
            panic!("{ste:?}");
        };
        let address = stage1.table().pointer().address().get();
        assert_eq!(
            address,
            ((1 << 44) - 1) & !(alignment - 1),
            "{format:?} {bits}"
        );
    }
}

#[test]
fn stalls_are_forbidden_only_where_they_are_a_choice() {
    let ste = translate().with_s1_stalld(true);
    for &model in StallModel::ALL {
        let decoded = ste.decode(&features(|r| r.idr0 = r.idr0.with_stall_model(model)));
        if model == StallModel::Both {
            assert!(matches!(decoded, Ok(SteConfig::Stage1(s)) if s.is_stall_disabled()));
        } else {
            assert_eq!(decoded, Err(BadSte::StallDisabled(model)));
        }
        assert!(
            translate()
                .decode(&features(|r| r.idr0 = r.idr0.with_stall_model(model)))
                .is_ok()
        );
    }
}

#[test]
fn ats_is_ignored_where_it_is_not_offered() {
    for ats in [false, true] {
        let features = features(|r| r.idr0 = r.idr0.with_ats(ats));
        for &mode in AtsMode::ALL {
            let decoded = translate().with_eats(mode).decode(&features);
            match (ats, mode) {
                (true, AtsMode::SplitStage) => assert_eq!(decoded, Err(BadSte::SplitStageAts)),
                _ => assert!(
                    matches!(decoded, Ok(SteConfig::Stage1(s))
                        if s.has_full_ats() == (ats && mode == AtsMode::Full)),
                    "{ats} {mode:?} {decoded:?}"
                ),
            }
        }
    }
}

#[test]
fn the_stream_world_counts_only_with_el2() {
    let el2 = features(|r| r.idr0 = r.idr0.with_s2p(true).with_hyp(true));
    for strw in 0..4 {
        let ste = translate().with_strw(strw);
        assert!(ste.decode(&features(|_| {})).is_ok());
        assert_eq!(ste.decode(&el2).is_err(), strw & 1 == 1);
        // The kernel has no stream world for a nested table.
        assert_eq!(matches!(ste.reduce(&el2), Reduced::Install(_)), strw == 0);
    }
}

#[test]
fn a_pointer_beyond_the_output_size_is_bad() {
    let features = features(|_| {});
    for bit in 6..52 {
        let ste = translate().with_s1_context_ptr(Ipa::new(1 << bit).unwrap());
        let decoded = ste.decode(&features);
        if bit < 44 {
            assert!(decoded.is_ok(), "{bit}");
        } else {
            assert_eq!(
                decoded,
                Err(BadSte::ContextPointer(Ipa::new(1 << bit).unwrap()))
            );
        }
    }
}

#[test]
fn a_wide_vmid_is_bad_only_where_vmids_are() {
    let ste = translate().with_s2_vmid(Vmid::new(0x100));
    assert!(ste.decode(&features(|_| {})).is_ok());
    assert_eq!(
        ste.decode(&features(|r| r.idr0 = r.idr0.with_s2p(true))),
        Err(BadSte::Vmid(Vmid::new(0x100)))
    );
    assert!(
        ste.decode(&features(
            |r| r.idr0 = r.idr0.with_s2p(true).with_vmid16(true)
        ))
        .is_ok()
    );
}

#[test]
fn whatever_a_guest_writes_is_reduced_to_what_the_kernel_takes() {
    let mut random = Random::new(1);
    let mut installed = 0;
    for round in 0..200_000_u32 {
        let features = features(|r| {
            r.idr0 = r
                .idr0
                .with_ats(round & 1 == 1)
                .with_cd2l(round & 2 == 2)
                .with_s2p(round & 4 == 4);
            r.idr1 = r.idr1.with_ssidsize((random.word() % 21) as u8);
        });
        let mut words: [u64; 8] = random.words();
        // Else almost none would be valid and within the output size.
        words[0] |= 1;
        if round & 8 == 8 {
            words[0] &= !0x000f_f000_0000_000e;
            words[0] |= 0b1010;
        }
        match Ste::from_words(words).reduce(&features) {
            Reduced::Install(nested) => {
                installed += 1;
                assert_ne!(nested.config(), NestedConfig::Invalid);
                assert_eq!(NestedSte::from_words(nested.words()), Ok(nested));
                // Reducing it again changes nothing.
                assert_eq!(nested.ste().reduce(&features), Reduced::Install(nested));
            }
            Reduced::AbortWithBadSte(_) => {}
        }
    }
    assert!(installed > 50_000, "{installed}");
}

#[test]
fn every_bit_of_an_entry_is_kept() {
    let mut random = Random::new(2);
    for _ in 0..1000 {
        let words: [u64; 8] = random.words();
        let ste = Ste::from_words(words);
        assert_eq!(ste.words(), words);
        assert_eq!(Ste::from_bytes(&ste.to_bytes()), ste);
        for (word, bytes) in words.iter().zip(ste.to_bytes().chunks(8)) {
            assert_eq!(word.to_le_bytes(), bytes);
        }
    }
}

#[test]
fn every_reserved_encoding_is_an_error_that_names_it() {
    type Getter = fn(&Ste) -> Result<(), smmuv3_types::Reserved>;
    // The word and first bit of each field that leaves encodings reserved, and those.
    let fields: [(usize, u32, &[u64], &str, Getter); 8] = [
        (0, 1, &[1, 2, 3], "STE.Config", |s| s.config().map(drop)),
        (0, 4, &[3], "STE.S1Fmt", |s| s.s1_fmt().map(drop)),
        (1, 0, &[3], "STE.S1DSS", |s| s.s1_dss().map(drop)),
        (1, 6, &[1], "STE.S1CSH", |s| s.s1_csh().map(drop)),
        (1, 46, &[1], "STE.NSCFG", |s| s.nscfg().map(drop)),
        (1, 48, &[1], "STE.PRIVCFG", |s| s.privcfg().map(drop)),
        (1, 50, &[1], "STE.INSTCFG", |s| s.instcfg().map(drop)),
        (2, 44, &[1], "STE.S2SH0", |s| s.s2_sh0().map(drop)),
    ];
    for (word, first, reserved, name, get) in fields {
        let width = if name == "STE.Config" { 3 } else { 2 };
        for value in 0..1 << width {
            let mut words = [0; 8];
            words[word] = value << first;
            let got = get(&Ste::from_words(words));
            if reserved.contains(&value) {
                let error = got.unwrap_err();
                assert_eq!((error.field(), error.value()), (name, value));
            } else {
                assert_eq!(got, Ok(()), "{name} {value}");
            }
        }
    }
}

#[test]
fn debug_shows_the_fields_that_are_not_0() {
    let ste = Ste::valid(StreamConfig::Bypass).with_cont(3);
    assert_eq!(
        format!("{ste:?}"),
        "Ste { v: true, config: Ok(Bypass), cont: 3 }"
    );
    let nested = NestedSte::bypass();
    assert_eq!(format!("{nested:?}"), "NestedSte(Bypass)");
}
