//! What of stage 2 `Ste::decode` looks at, and what not.

#![expect(clippy::unwrap_used, reason = "the test's own constants")]

use smmuv3_types::{
    BadSte, Features, IdRegisters, Ipa, Stage2, StallModel, Ste, SteConfig, StreamConfig,
    TableUpdate, Vmid,
};

/// Both stages, VMSAv8-64 little-endian, 16-bit VMIDs, no stalls; 4 KiB, 44 bits out.
fn features(change: impl FnOnce(&mut IdRegisters)) -> Features {
    let idr0 = 0b11 | 2 << 2 | 1 << 18 | 2 << 21 | 1 << 24;
    let mut registers = IdRegisters::from_bits([idr0, 16, 0, 0, 0, 0x14], 0, 1);
    change(&mut registers);
    Features::new(registers).unwrap()
}

fn ste() -> Ste {
    Ste::valid(StreamConfig::Stage2)
        .with_s2_aa64(true)
        .with_s2_vmid(Vmid::new(0x1234))
        .with_s2_ttb(Ipa::new(0x4000_0000).unwrap())
}

#[test]
fn exactly_the_fields_that_are_documented_count() {
    // S2PI and S2PO, whose fields are not looked at even so.
    let features = features(|r| r.idr3 = r.idr3.with_s2pi(true).with_s2po(true));
    let decoded = ste().decode(&features);
    assert_eq!(
        decoded,
        Ok(SteConfig::Stage2(Stage2 {
            vmid: Vmid::new(0x1234),
            table: Ipa::new(0x4000_0000).unwrap(),
        }))
    );
    for bit in 0..512_u32 {
        let mut words = ste().words();
        words[(bit / 64) as usize] ^= 1 << (bit % 64);
        let counts = match bit {
            // V and Config.
            0..=3 => true,
            // S2VMID, S2TG, S2AA64, S2ENDI, S2HD, S2HA, S2S.
            128..=143 | 174 | 175 | 179 | 180 | 183 | 184 | 185 => true,
            // S2TTB, which is given as it is.
            196..=243 => true,
            _ => false,
        };
        let changed = Ste::from_words(words).decode(&features) != decoded;
        assert_eq!(changed, counts, "bit {bit}");
    }
}

#[test]
fn what_the_smmu_has_not_is_named() {
    type Change = fn(&mut IdRegisters);
    let plain: Change = |_| {};
    let bad = |ste: Ste, change: Change, field| {
        let decoded = ste.decode(&features(change));
        assert_eq!(decoded, Err(BadSte::Stage2(field)));
        let nested = ste.with_config(StreamConfig::Nested);
        assert_eq!(nested.decode(&features(change)), decoded);
    };
    let good = |ste: Ste, change: Change| assert!(ste.decode(&features(change)).is_ok());

    bad(ste().with_s2_s(true), plain, "STE.S2S");
    let stall_only: Change = |r| r.idr0 = r.idr0.with_stall_model(StallModel::StallOnly);
    bad(ste(), stall_only, "STE.S2S");
    good(ste().with_s2_s(true), stall_only);

    let lpae = ste().with_s2_aa64(false);
    bad(lpae, plain, "STE.S2AA64");
    let both: Change = |r| {
        r.idr0 = r.idr0.with_ttf_aarch32(true).with_httu(TableUpdate::Dirty);
        r.idr3 = r.idr3.with_fwb(true);
    };
    // The granule counts with VMSAv8-64 only, S2FWB and the flags not with LPAE.
    good(lpae.with_s2_tg(3), both);
    bad(lpae.with_s2_fwb(true), both, "STE.S2FWB");
    bad(lpae.with_s2_ha(true), both, "STE.S2HA");
    good(ste().with_s2_fwb(true).with_s2_ha(true), both);

    bad(ste().with_s2_hd(true), plain, "STE.S2HA");
    let access: Change = |r| r.idr0 = r.idr0.with_httu(TableUpdate::AccessFlag);
    good(ste().with_s2_ha(true), access);
    bad(ste().with_s2_hd(true), access, "STE.S2HD");

    for tg in 1..4 {
        bad(ste().with_s2_tg(tg), plain, "STE.S2TG");
    }
    bad(ste().with_s2_endi(true), plain, "STE.S2ENDI");
    assert_eq!(
        ste().decode(&features(|r| r.idr0 = r.idr0.with_vmid16(false))),
        Err(BadSte::Vmid(Vmid::new(0x1234)))
    );
}
