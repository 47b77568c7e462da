//! PASID table entries, and what of them a nested table takes.

#![expect(clippy::unwrap_used, reason = "the test's own constants")]

use vtd_types::{
    Agaw, BadPasidEntry, Cap, Capabilities, DomainId, Ecap, FaultReason, Features,
    FirstStageLevels, Gpa, HostAddressWidth, HostCapabilities, NestedPasidEntry, NotNested,
    PasidConfig, PasidEntry, PasidTranslationType,
};
use zerocopy::IntoBytes;

fn gpa(address: u64) -> Gpa {
    Gpa::new(address).unwrap()
}

/// A unit with these capabilities, and addresses of 46 bits.
fn features(cap: Cap, ecap: Ecap) -> Features {
    let width = HostAddressWidth::new(46).unwrap();
    Features::new(Capabilities { cap, ecap }, width).unwrap()
}

/// All types of translation, and nothing else.
fn types() -> Ecap {
    Ecap::default()
        .with_smts(true)
        .with_fsts(true)
        .with_ssts(true)
        .with_nest(true)
        .with_pt(true)
}

fn all() -> Features {
    features(
        Cap::default()
            .with_sagaw_48(true)
            .with_sagaw_57(true)
            .with_fs5lp(true)
            .with_mgaw(56),
        types()
            .with_ers(true)
            .with_srs(true)
            .with_eafs(true)
            .with_sc(true)
            .with_mts(true)
            .with_ssads(true)
            .with_smpwcs(true),
    )
}

fn bare() -> Features {
    features(Cap::default().with_sagaw_48(true), types())
}

fn first_stage() -> PasidEntry {
    PasidEntry::default()
        .with_p(true)
        .with_pgtt(PasidTranslationType::FirstStage)
}

#[test]
fn an_entry_byte_for_byte() {
    // P, FPD; AW 0b011 << 2; SSEE 5; PGTT 0b011 << 6; SSADE 9; the pointer.
    let entry = PasidEntry::default()
        .with_p(true)
        .with_fpd(true)
        .with_aw(Agaw::Five)
        .with_ssee(true)
        .with_pgtt(PasidTranslationType::Nested)
        .with_ssade(true)
        .with_ssptptr(gpa(0x3fff_8765_4000))
        // DID 15:0, PWSNP 23, PGSNP 24, CD 25, EMTE 26, EMT 29:27, PWT 30, PCD 31, PAT 63:32.
        .with_did(DomainId::new(0x8123))
        .with_pwsnp(true)
        .with_pgsnp(true)
        .with_emte(true)
        .with_emt(6)
        .with_pcd(true)
        .with_pat(0x0007_0406)
        // SRE 0, ERE 1, FSPM 3:2, WPE 4, NXE 5, SMEP 6, EAFE 7.
        .with_sre(true)
        .with_fspm(FirstStageLevels::Five)
        .with_wpe(true)
        .with_smep(true)
        .with_eafe(true)
        .with_fsptptr(gpa(0x2fff_1234_5000));
    assert_eq!(
        entry.words(),
        [
            0x3fff_8765_42ef,
            0x0007_0406_b580_8123,
            0x2fff_1234_50d5,
            0,
            0,
            0,
            0,
            0
        ]
    );
    let bytes = entry.to_bytes();
    assert_eq!(bytes[..8], [0xef, 0x42, 0x65, 0x87, 0xff, 0x3f, 0, 0]);
    assert_eq!(PasidEntry::from_bytes(&bytes), entry);
    assert!(entry.decode(&all()).is_ok());
}

#[test]
fn what_the_kernel_writes_for_itself() {
    // A first stage of four levels, domain 1, coherent: PGTT 1, PWSNP.
    let words = [0x41, 1 | 1 << 23, 0x1234_5000, 0, 0, 0, 0, 0];
    let translation = PasidEntry::from_words(words).decode(&all()).unwrap();
    assert_eq!(translation.domain, DomainId::new(1));
    let PasidConfig::FirstStage(stage) = translation.config else {
        panic!("{translation:?}");
    };
    assert_eq!(
        (stage.table, stage.levels),
        (gpa(0x1234_5000), FirstStageLevels::Four)
    );
    assert!(!stage.supervisor && !stage.write_protect && !stage.extended_accessed);
    // A second stage of four levels with dirty tracking: AW 2, PGTT 2, SSADE.
    let words = [
        0x1234_5000 | 2 << 2 | 2 << 6 | 1 << 9 | 1,
        9,
        0,
        0,
        0,
        0,
        0,
        0,
    ];
    let translation = PasidEntry::from_words(words).decode(&all()).unwrap();
    let PasidConfig::SecondStage(stage) = translation.config else {
        panic!("{translation:?}");
    };
    assert_eq!((stage.table, stage.agaw), (gpa(0x1234_5000), Agaw::Four));
    assert!(stage.accessed_dirty && stage.scalable && !stage.execute);
    assert_eq!(stage.input_bits, 48);
}

#[test]
fn every_reserved_bit_is_an_error_that_names_it() {
    let entry = first_stage().with_pgtt(PasidTranslationType::PassThrough);
    for word in 0..8_u8 {
        for bit in 0..64 {
            let mut words = entry.words();
            let expected = BadPasidEntry::Reserved {
                word,
                bits: 1 << bit,
            };
            words[usize::from(word)] |= 1 << bit;
            let always = match word {
                0 => matches!(bit, 10 | 11) || bit >= 46,
                1 => (16..23).contains(&bit),
                2 => (8..12).contains(&bit) || bit >= 46,
                _ => true,
            };
            // SSEE, SSADE; PWSNP and up; SRE, ERE, NXE, SMEP, EAFE.
            let without = match word {
                0 => matches!(bit, 5 | 9),
                1 => bit >= 23,
                2 => matches!(bit, 0 | 1 | 5..=7),
                _ => false,
            };
            let entry = PasidEntry::from_words(words);
            assert_eq!(entry.decode(&all()) == Err(expected), always, "{words:x?}");
            let got = entry.decode(&bare());
            assert_eq!(got == Err(expected), always || without, "{words:x?}");
            assert_eq!(expected.reason(), FaultReason::Spt3);
        }
    }
    let not_present = PasidEntry::from_words([!1; 8]).decode(&all()).unwrap_err();
    assert_eq!(not_present.reason(), FaultReason::Spt2);
}

#[test]
fn each_capability_frees_its_own_bits() {
    // Word 1: PWSNP, PGSNP, memory types. Word 2: SRE, execute, EAFE.
    let cases: [(Ecap, [u64; 3]); 7] = [
        (
            types().with_ers(true),
            [1 << 5, 0, 1 << 1 | 1 << 5 | 1 << 6],
        ),
        (types().with_ssads(true), [1 << 9, 0, 0]),
        (types().with_smpwcs(true), [0, 1 << 23, 0]),
        (types().with_sc(true), [0, 1 << 24, 0]),
        (types().with_mts(true), [0, u64::MAX << 25, 0]),
        (types().with_srs(true), [0, 0, 1]),
        (types().with_eafs(true), [0, 0, 1 << 7]),
    ];
    for (ecap, free) in cases {
        let with = features(Cap::default().with_sagaw_48(true), ecap);
        for word in 0..3 {
            for bit in 0..64 {
                let mut words = first_stage()
                    .with_pgtt(PasidTranslationType::PassThrough)
                    .words();
                words[word] |= 1 << bit;
                let entry = PasidEntry::from_words(words);
                let freed = entry.decode(&with).is_ok() && entry.decode(&bare()).is_err();
                assert_eq!(freed, free[word] & 1 << bit != 0, "{ecap:?} {words:x?}");
            }
        }
    }
}

#[test]
fn types_of_translation_are_those_that_are_there() {
    for pgtt in 0..8_u8 {
        let words = [1 | 2 << 2 | u64::from(pgtt) << 6, 0, 0, 0, 0, 0, 0, 0];
        let entry = PasidEntry::from_words(words);
        let got = entry.decode(&bare());
        let bad = BadPasidEntry::TranslationType(pgtt);
        match pgtt {
            1..=4 => assert_eq!(entry.pgtt().unwrap().bits(), pgtt),
            _ => assert_eq!(got, Err(bad)),
        }
        assert_eq!(got.is_ok(), (1..=4).contains(&pgtt));
        let without = Ecap::default().with_smts(true);
        let got = entry.decode(&features(bare().cap(), without));
        assert_eq!(got, Err(bad));
        assert_eq!(bad.reason(), FaultReason::Spt4);
    }
}

#[test]
fn shapes_count_where_they_are_used() {
    for aw in 0..8_u8 {
        for fspm in 0..4_u8 {
            for pgtt in 1..=4_u8 {
                let words = [
                    1 | u64::from(aw) << 2 | u64::from(pgtt) << 6,
                    0,
                    u64::from(fspm) << 2,
                    0,
                    0,
                    0,
                    0,
                    0,
                ];
                let first = matches!(pgtt, 1 | 3);
                let second = matches!(pgtt, 2 | 3);
                let got = PasidEntry::from_words(words).decode(&bare());
                let expected = if first && fspm != 0 {
                    Some(BadPasidEntry::Levels(fspm))
                } else if second && aw != 2 {
                    Some(BadPasidEntry::AddressWidth(aw))
                } else {
                    None
                };
                assert_eq!(got.err(), expected, "{words:x?}");
                let got = PasidEntry::from_words(words).decode(&all());
                let good = (!first || fspm < 2) && (!second || matches!(aw, 2 | 3));
                assert_eq!(got.is_ok(), good, "{words:x?}");
            }
        }
    }
}

/// Whether the kernel takes a nested table, makes what it says of it, and attaches it: written from
/// the description of its rules. Of flags it does not look at unknown ones.
fn kernel_takes(nested: &NestedPasidEntry, cap: Cap, ecap: Ecap) -> bool {
    nested.flags() & !7 == 0
        && matches!(nested.address_width(), 48 | 57)
        && (nested.address_width() == 48 || cap.fs5lp())
        && (nested.flags() & 1 == 0 || ecap.srs())
        && (nested.flags() & 2 == 0 || ecap.eafs())
        && (nested.flags() & 4 == 0 || nested.flags() & 1 != 0)
        && nested.table().is_aligned_to(4096)
}

#[test]
fn the_bytes_are_those_of_the_kernels_structure() {
    // flags 0, pgtbl_addr 8, addr_width 16, reserved 20.
    let entry = first_stage()
        .with_fsptptr(gpa(0x1234_5000))
        .with_fspm(FirstStageLevels::Five)
        .with_sre(true)
        .with_wpe(true)
        .with_eafe(true);
    let nested = NestedPasidEntry::from_entry(&entry, &all()).unwrap();
    let mut bytes = [0; 24];
    bytes[0] = 7;
    bytes[8..12].copy_from_slice(&[0x00, 0x50, 0x34, 0x12]);
    bytes[16] = 57;
    assert_eq!(nested.as_bytes(), bytes);
    assert_eq!(nested.levels(), FirstStageLevels::Five);
    assert!(nested.supervisor() && nested.write_protect() && nested.extended_accessed());
}

#[test]
fn every_entry_under_every_capability_is_taken_or_refused() {
    for bits in 0..1_u32 << 8 {
        let flag = |n: u32| bits >> n & 1 == 1;
        let cap = Cap::default().with_sagaw_48(true).with_fs5lp(flag(0));
        let ecap = types().with_srs(flag(1)).with_eafs(flag(2));
        let features = features(cap, ecap);
        let levels = if flag(3) {
            FirstStageLevels::Five
        } else {
            FirstStageLevels::Four
        };
        let (sre, wpe, eafe) = (flag(4), flag(5), flag(6));
        let entry = first_stage()
            .with_fsptptr(gpa(0x1234_5000))
            .with_fspm(levels)
            .with_sre(sre)
            .with_wpe(wpe)
            .with_eafe(eafe);
        let good = (!flag(3) || flag(0)) && (!sre || flag(1)) && (!eafe || flag(2));
        match NestedPasidEntry::from_entry(&entry, &features) {
            Ok(nested) => {
                assert!(good && kernel_takes(&nested, cap, ecap), "{nested:?}");
                assert_eq!(nested.supervisor(), sre);
                assert_eq!(nested.write_protect(), sre && wpe);
                assert_eq!(nested.extended_accessed(), eafe);
                assert_eq!(nested.address_width(), levels.bits_of_address());
            }
            Err(refused) => assert!(!good && matches!(refused, NotNested::Bad(_))),
        }
    }
}

#[test]
fn what_a_nested_table_does_not_do_is_named() {
    let refused = |entry: PasidEntry| NestedPasidEntry::from_entry(&entry, &all()).unwrap_err();
    let entry = first_stage().with_aw(Agaw::Four);
    assert_eq!(
        refused(entry.with_pgtt(PasidTranslationType::PassThrough)),
        NotNested::PassThrough
    );
    assert_eq!(
        refused(entry.with_pgtt(PasidTranslationType::Nested)),
        NotNested::Nested
    );
    assert!(matches!(
        refused(entry.with_pgtt(PasidTranslationType::SecondStage)),
        NotNested::SecondStage(_)
    ));
    assert_eq!(
        refused(PasidEntry::default()),
        NotNested::Bad(BadPasidEntry::NotPresent)
    );
    for (entry, field) in [
        (entry.with_ere(true), "PASIDTE.ERE"),
        (entry.with_pgsnp(true), "PASIDTE.PGSNP"),
        (entry.with_cd(true), "PASIDTE.CD"),
        (entry.with_pwt(true), "PASIDTE.PWT"),
        (entry.with_pcd(true), "PASIDTE.PCD"),
        (entry.with_pat(1 << 31), "PASIDTE.PAT"),
    ] {
        assert_eq!(refused(entry), NotNested::NotCarried(field));
    }
}

#[test]
fn with_what_is_offered_nothing_is_there_that_is_not_carried() {
    let host = Capabilities {
        cap: all().cap(),
        ecap: all().ecap(),
    };
    let offered = HostCapabilities::new(host).offer(host).unwrap();
    let features = Features::new(offered, HostAddressWidth::MAX).unwrap();
    let mut state = 0x1234_5678_9abc_def1_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut taken = 0;
    for _ in 0..500_000 {
        let mut words = [
            random() & random(),
            random() & random(),
            random() & random(),
        ];
        // Most would have reserved bits.
        words[0] = words[0] & 0x0000_3fff_ffff_f3df | 1;
        words[1] &= 0x80_ffff | random() & random() & random() & random();
        words[2] &= 0x0000_3fff_ffff_f09d;
        let [word0, word1, word2] = words;
        let entry = PasidEntry::from_words([word0, word1, word2, 0, 0, 0, 0, 0]);
        match NestedPasidEntry::from_entry(&entry, &features) {
            Ok(nested) => {
                assert!(kernel_takes(&nested, host.cap, host.ecap));
                taken += 1;
            }
            Err(refused) => assert!(
                !matches!(refused, NotNested::NotCarried(_) | NotNested::Nested),
                "{refused:?} {entry:?}"
            ),
        }
    }
    assert!(taken > 1_000, "{taken}");
}
