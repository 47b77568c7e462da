//! Root and context entries: from a requester to what becomes of its requests.

#![expect(clippy::unwrap_used, reason = "the test's own constants")]

use vtd_types::{
    Agaw, BadContextEntry, BadRootEntry, BadRootTable, BadScalableContextEntry, Cap, Capabilities,
    ContextEntry, ContextTranslation, DomainId, Ecap, FaultReason, Features, Gpa, HostAddressWidth,
    NoPasidEntry, Pasid, PasidDirectoryEntry, RootEntry, RootLookup, RootTable, Rtaddr,
    ScalableContextEntry, ScalableRootEntry, SourceId, TableMode, TranslationType,
};

fn gpa(address: u64) -> Gpa {
    Gpa::new(address).unwrap()
}

/// A unit with these capabilities, and addresses of 46 bits.
fn features(cap: Cap, ecap: Ecap) -> Features {
    let width = HostAddressWidth::new(46).unwrap();
    Features::new(Capabilities { cap, ecap }, width).unwrap()
}

fn all() -> Features {
    features(
        Cap::default().with_sagaw_39(true).with_sagaw_48(true),
        Ecap::default()
            .with_smts(true)
            .with_adms(true)
            .with_dt(true)
            .with_pt(true)
            .with_pasid(true)
            .with_prs(true)
            .with_rps(true)
            .with_rprivs(true),
    )
}

#[test]
fn the_mode_is_one_that_is_there() {
    let none = features(Cap::default(), Ecap::default());
    let table = |ttm: u64, features: &Features| {
        RootTable::from_register(Rtaddr::from_bits(0x1234_5000 | ttm << 10), features)
    };
    assert!(!table(0, &none).unwrap().is_scalable());
    assert_eq!(
        table(1, &none),
        Err(BadRootTable::NoMode(TableMode::Scalable))
    );
    assert_eq!(table(3, &none), Err(BadRootTable::NoMode(TableMode::Abort)));
    assert!(table(1, &all()).unwrap().is_scalable());
    assert_eq!(table(3, &all()), Err(BadRootTable::Abort));
    assert_eq!(BadRootTable::Abort.reason(), None);
    let reserved = table(2, &all()).unwrap_err();
    assert!(matches!(reserved, BadRootTable::Reserved(_)));
    assert_eq!(reserved.reason(), Some(FaultReason::Rta1));
    for bit in 12..64 {
        let made = RootTable::from_register(Rtaddr::from_bits(1 << bit), &all());
        assert_eq!(made.is_ok(), bit < 46);
    }
}

#[test]
fn every_requester_has_an_entry_of_its_own() {
    let legacy = RootTable::from_register(Rtaddr::from_bits(0x1_0000), &all()).unwrap();
    let scalable = RootTable::from_register(Rtaddr::from_bits(0x1_0400), &all()).unwrap();
    for number in 0..=u16::MAX {
        let source = SourceId::new(number);
        let (bus, devfn) = (u64::from(number >> 8), u64::from(number & 0xff));
        let RootLookup::Legacy(lookup) = legacy.locate(source) else {
            panic!("legacy mode");
        };
        assert_eq!(lookup.address().get(), 0x1_0000 + 16 * bus);
        let entry = RootEntry::default().with_p(true).with_ctp(gpa(0x2_0000));
        assert_eq!(lookup.resolve(entry), Ok(gpa(0x2_0000 + 16 * devfn)));

        let RootLookup::Scalable(lookup) = scalable.locate(source) else {
            panic!("scalable mode");
        };
        assert_eq!(lookup.address().get(), 0x1_0000 + 16 * bus);
        let entry = ScalableRootEntry::default()
            .with_lp(true)
            .with_lctp(gpa(0x3_0000))
            .with_up(true)
            .with_uctp(gpa(0x4_0000));
        // 128 entries of 32 bytes in each of two tables.
        let expected = if devfn < 128 {
            0x3_0000 + 32 * devfn
        } else {
            0x4_0000 + 32 * (devfn - 128)
        };
        assert_eq!(lookup.resolve(entry), Ok(gpa(expected)));
    }
}

#[test]
fn root_entries_that_are_not_there_or_malformed() {
    let legacy = RootTable::from_register(Rtaddr::from_bits(0), &all()).unwrap();
    let RootLookup::Legacy(lookup) = legacy.locate(SourceId::new(0)) else {
        panic!("legacy mode");
    };
    let not_present = lookup.resolve(RootEntry::from_words([!1, !0])).unwrap_err();
    assert_eq!(not_present, BadRootEntry::NotPresent);
    assert_eq!(not_present.legacy_reason(), FaultReason::Lrt2);
    for word in 0..2_u8 {
        for bit in 0..64 {
            let mut words = [1, 0];
            words[usize::from(word)] |= 1 << bit;
            let expected = BadRootEntry::Reserved {
                word,
                bits: 1 << bit,
            };
            let is_reserved = word == 1 || (1..12).contains(&bit) || bit >= 46;
            let got = lookup.resolve(RootEntry::from_words(words));
            assert_eq!(got == Err(expected), is_reserved, "{words:x?}");
            assert_eq!(expected.legacy_reason(), FaultReason::Lrt3);
        }
    }

    let scalable = RootTable::from_register(Rtaddr::from_bits(0x400), &all()).unwrap();
    for (devfn, mine) in [(0x7f, 0), (0x80, 1)] {
        let RootLookup::Scalable(lookup) = scalable.locate(SourceId::new(devfn)) else {
            panic!("scalable mode");
        };
        // The other half is not looked at.
        let mut words = [!1; 2];
        words[mine] = 1;
        assert!(lookup.resolve(ScalableRootEntry::from_words(words)).is_ok());
        let mut words = [1; 2];
        words[mine] = 0;
        let not_present = lookup
            .resolve(ScalableRootEntry::from_words(words))
            .unwrap_err();
        assert_eq!(not_present.scalable_reason(), FaultReason::Srt2);
        words[mine] = 3;
        let reserved = lookup
            .resolve(ScalableRootEntry::from_words(words))
            .unwrap_err();
        assert_eq!(reserved.scalable_reason(), FaultReason::Srt3);
    }
}

#[test]
fn every_reserved_bit_of_a_context_entry_is_an_error() {
    let good = ContextEntry::default()
        .with_p(true)
        .with_aw(Agaw::Four)
        .with_ssptptr(gpa(0x5000))
        .with_did(DomainId::new(7));
    assert_eq!(good.words(), [0x5001, 0x702]);
    for word in 0..2_u8 {
        for bit in 0..64 {
            let mut words = good.words();
            words[usize::from(word)] |= 1 << bit;
            let expected = BadContextEntry::Reserved {
                word,
                bits: 1 << bit,
            };
            let is_reserved = match word {
                0 => (4..12).contains(&bit) || bit >= 46,
                _ => bit == 7 || bit >= 24,
            };
            let got = ContextEntry::from_words(words).decode(&all());
            assert_eq!(got == Err(expected), is_reserved, "{words:x?}");
            assert_eq!(expected.reason(), FaultReason::Lct3);
        }
    }
    let not_present = good.with_p(false).decode(&all()).unwrap_err();
    assert_eq!(not_present.reason(), FaultReason::Lct2);
}

#[test]
fn types_and_widths_of_a_context_entry() {
    let entry = ContextEntry::default().with_p(true).with_aw(Agaw::Three);
    let bare = features(Cap::default().with_sagaw_39(true), Ecap::default());
    for tt in 0..4_u8 {
        let entry = ContextEntry::from_words([entry.words()[0] | u64::from(tt) << 2, 1]);
        let full = entry.decode(&all());
        match tt {
            0 | 1 => {
                let ContextTranslation::SecondStage { stage, device_tlb } =
                    full.unwrap().translation
                else {
                    panic!("the second stage");
                };
                assert_eq!((device_tlb, stage.scalable), (tt == 1, false));
            }
            2 => assert_eq!(full.unwrap().translation, ContextTranslation::PassThrough),
            _ => assert_eq!(full, Err(BadContextEntry::TranslationType(3))),
        }
        assert_eq!(entry.decode(&bare).is_ok(), tt == 0);
    }
    for aw in 0..8_u8 {
        let entry = ContextEntry::from_words([1, aw.into()]);
        let got = entry.decode(&all());
        if aw == 1 || aw == 2 {
            assert!(got.is_ok());
        } else {
            let bad = got.unwrap_err();
            assert_eq!(bad, BadContextEntry::AddressWidth(aw));
            assert_eq!(bad.reason(), FaultReason::Lct4);
        }
    }
    assert_eq!(entry.tt(), Ok(TranslationType::SecondStage));
}

#[test]
fn every_reserved_bit_of_a_scalable_context_entry_is_an_error() {
    let bare = features(Cap::default(), Ecap::default());
    for word in 0..4_u8 {
        for bit in 0..64 {
            let mut words = [1, 0, 0, 0];
            words[usize::from(word)] |= 1 << bit;
            let expected = BadScalableContextEntry::Reserved {
                word,
                bits: 1 << bit,
            };
            let always = match word {
                0 => (5..9).contains(&bit) || bit >= 46,
                1 => bit >= 21,
                _ => true,
            };
            // DTE, PASIDE, PRE; RID_PRIV.
            let without = word == 0 && (2..5).contains(&bit) || word == 1 && bit == 20;
            let entry = ScalableContextEntry::from_words(words);
            assert_eq!(entry.decode(&all()) == Err(expected), always, "{words:x?}");
            assert_eq!(entry.decode(&bare) == Err(expected), always || without);
            assert_eq!(expected.reason(), FaultReason::Sct3);
        }
    }
    let not_present = ScalableContextEntry::from_words([!1; 4]).decode(&all());
    assert_eq!(not_present.unwrap_err().reason(), FaultReason::Sct2);
}

#[test]
fn every_pasid_has_an_entry_of_its_own() {
    for pdts in 0..8 {
        let entry = ScalableContextEntry::default()
            .with_p(true)
            .with_paside(true)
            .with_pdts(pdts)
            .with_pasiddirptr(gpa(0x10_0000))
            .with_rid_pasid(Pasid::new(0x41).unwrap());
        let directory = entry.decode(&all()).unwrap();
        assert_eq!(directory.pasid_bits, 13 + pdts);
        let leaf = PasidDirectoryEntry::default()
            .with_p(true)
            .with_smptblptr(gpa(0x20_0000));
        for number in (0..1 << 20).step_by(61).chain([(1 << 20) - 1]) {
            let pasid = Pasid::new(number).unwrap();
            let got = directory.locate(Some(pasid));
            if number >= 1 << (13 + pdts) {
                let bad = got.unwrap_err();
                let bits = 13 + pdts;
                assert_eq!(bad, NoPasidEntry::BeyondDirectory { pasid, bits });
                assert_eq!(bad.reason(), FaultReason::Sct7);
                continue;
            }
            let lookup = got.unwrap();
            let number = u64::from(number);
            assert_eq!(lookup.address().get(), 0x10_0000 + number / 64 * 8);
            assert_eq!(lookup.resolve(leaf), Ok(gpa(0x20_0000 + number % 64 * 64)));
        }
        let lookup = directory.locate(None).unwrap();
        assert_eq!(lookup.pasid().get(), 0x41);
        assert_eq!(lookup.address().get(), 0x10_0008);
    }
}

#[test]
fn requests_that_have_no_pasid_entry() {
    let entry = ScalableContextEntry::default()
        .with_p(true)
        .with_rid_pasid(Pasid::MAX);
    let directory = entry.decode(&all()).unwrap();
    let pasid = Pasid::new(1).unwrap();
    let bad = directory.locate(Some(pasid)).unwrap_err();
    assert_eq!(bad, NoPasidEntry::NotEnabled(pasid));
    assert_eq!(bad.reason(), FaultReason::Sct6);
    let bad = directory.locate(None).unwrap_err();
    assert_eq!(bad, NoPasidEntry::RidPasid(Pasid::MAX));
    assert_eq!(bad.reason(), FaultReason::Sct9);
    // Without RPS it is 0, whatever the entry says.
    let ecap = all().ecap().with_rps(false);
    let directory = entry.decode(&features(Cap::default(), ecap)).unwrap();
    assert_eq!(directory.locate(None).unwrap().pasid(), Pasid::ZERO);

    let lookup = directory.locate(None).unwrap();
    let bad = lookup.resolve(PasidDirectoryEntry::from_words([!1]));
    assert_eq!(bad.unwrap_err().reason(), FaultReason::Spd2);
    for bit in 1..64 {
        let got = lookup.resolve(PasidDirectoryEntry::from_words([1 | 1 << bit]));
        let is_reserved = (2..12).contains(&bit) || bit >= 46;
        let expected = NoPasidEntry::Reserved(1 << bit);
        assert_eq!(got == Err(expected), is_reserved, "{bit}");
        assert_eq!(expected.reason(), FaultReason::Spd3);
    }
}

#[test]
fn requesters_and_their_functions() {
    for number in 0..=u16::MAX {
        let source = SourceId::new(number);
        let again = SourceId::of_function(source.bus(), source.device(), source.function());
        assert_eq!(again, Some(source));
    }
    assert_eq!(SourceId::of_function(0, 32, 0), None);
    assert_eq!(SourceId::of_function(0, 0, 8), None);
}
