//! Capability registers: their fields, and what of them a guest can be told.

use vtd_types::{
    Agaw, CannotOffer, Cap, Capabilities, DescriptorFeatures, Ecap, Features, FirstStageLevels,
    Gcmd, Gpa, Gsts, HostAddressWidth, HostCapabilities, Ics, Iqa, Iqercd, Prs, QueueError, Rtaddr,
    SourceId, TableMode,
};

/// What a server's remapping unit reports: Linux prints both registers when it starts.
const SEEN: Capabilities = Capabilities::from_bits(0x19ed_008c_4078_0c66, 0x0003_ef9e_86f0_50df);

#[test]
fn the_fields_of_registers_that_were_seen() {
    let Capabilities { cap, ecap } = SEEN;
    // 0x66: PHMR, PLMR, ND 6. 0xc00: four and five levels. 0x780000: ZLR, MGAW 56. 0x40 << 24: FRO.
    assert_eq!((cap.nd(), cap.mgaw(), cap.fro()), (6, 56, 0x40));
    assert!(cap.plmr() && cap.phmr() && cap.zlr() && !cap.cm() && !cap.rwbf() && !cap.afl());
    assert!(!cap.sagaw_39() && cap.sagaw_48() && cap.sagaw_57());
    // 0x8c << 32: SSLPS of 2 MiB and 1 GiB, PSI. 0x19ed << 48: MAMV 0x2d, DWD, DRD, FS1GP, PI, FS5LP.
    assert!(cap.sslps_2m() && cap.sslps_1g() && cap.psi());
    assert_eq!((cap.nfr(), cap.mamv()), (0, 0x2d));
    assert!(cap.dwd() && cap.drd() && cap.fs1gp() && cap.pi() && cap.fs5lp());
    assert!(!cap.ecmds() && !cap.esirtps() && !cap.esrtps());
    assert_eq!((cap.input_bits(), cap.fault_records()), (57, 1));
    assert_eq!(cap.fault_record_offset(), 0x400);

    // 0xdf: C, QI, DT, IR, EIM, PT, SC. 0x50 << 8: IRO. 0xf << 20: MHMV. 0x86 << 24: MTS, NEST, SRS.
    assert!(ecap.c() && ecap.qi() && ecap.dt() && ecap.ir() && ecap.eim() && ecap.pt());
    assert!(ecap.sc() && ecap.mts() && ecap.nest() && ecap.srs());
    assert!(!ecap.prs() && !ecap.ers());
    assert_eq!((ecap.iotlb_offset(), ecap.mhmv()), (0x500, 15));
    // 0x3ef9e << 32: NWFS, EAFS, PSS 19, PASID, DIT, PDS, SMTS, SSADS, SSTS, FSTS, SMPWCS, RPS.
    assert!(ecap.nwfs() && ecap.eafs() && ecap.pasid() && ecap.dit() && ecap.pds());
    assert!(ecap.smts() && ecap.ssads() && ecap.ssts() && ecap.fsts() && ecap.smpwcs());
    assert!(ecap.rps() && !ecap.vcs() && !ecap.pms() && !ecap.adms() && !ecap.rprivs());
    assert_eq!((ecap.pss(), ecap.pasid_bits()), (19, 20));
    assert_eq!(ecap.with_pasid(false).pasid_bits(), 0);
}

#[test]
fn each_field_is_where_the_document_has_it() {
    assert_eq!(Cap::default().with_mamv(0x3f).bits(), 0x3f << 48);
    assert_eq!(Cap::default().with_esrtps(true).bits(), 1 << 63);
    assert_eq!(Ecap::default().with_pss(0x1f).bits(), 0x1f << 35);
    assert_eq!(Ecap::default().with_rprivs(true).bits(), 1 << 53);
    let gcmd = Gcmd::default().with_te(true).with_qie(true).with_srtp(true);
    assert_eq!(gcmd.bits(), 0xc400_0000);
    let gsts = Gsts::from_bits(0xc400_0000);
    assert!(gsts.tes() && gsts.rtps() && gsts.qies() && !gsts.ires());
    let rtaddr = Rtaddr::from_bits(0x1234_5400);
    assert_eq!(rtaddr.ttm(), Ok(TableMode::Scalable));
    assert_eq!(rtaddr.rta(), Gpa::new(0x1234_5000).unwrap());
    assert_eq!(Rtaddr::from_bits(0x800).ttm().unwrap_err().value(), 2);
    let iqa = Iqa::from_bits(0x1234_5807);
    assert_eq!(
        (iqa.iqa().get(), iqa.qs(), iqa.dw().bits()),
        (0x1234_5000, 7, 1)
    );
    let error = Iqercd::from_bits(0x3afe_0018_0000_0004);
    assert_eq!(error.iqei(), Ok(QueueError::Reserved));
    assert_eq!(error.itesid(), SourceId::new(0x18));
    assert_eq!(error.icesid(), SourceId::new(0x3afe));
    assert!(Iqercd::from_bits(8).iqei().is_err());
}

#[test]
fn status_is_cleared_by_writing_one() {
    assert_eq!(Prs::from_bits(3).after_write(2).bits(), 1);
    assert_eq!(Prs::from_bits(u32::MAX).after_write(u32::MAX).bits(), !3);
    assert_eq!(Ics::from_bits(1).after_write(1).bits(), 0);
    assert_eq!(Ics::from_bits(1).after_write(!1).bits(), 1);
}

#[test]
fn reserved_capabilities_are_errors_that_name_the_field() {
    let width = HostAddressWidth::MAX;
    for nd in 0..8 {
        let cap = SEEN.cap.with_nd(nd);
        let made = Features::new(Capabilities { cap, ..SEEN }, width);
        match made {
            Ok(features) => assert_eq!(features.domain_bits(), 4 + 2 * nd),
            Err(reserved) => assert_eq!((reserved.field(), nd), ("CAP_REG.ND", 7)),
        }
    }
    for pss in 0..32 {
        let ecap = SEEN.ecap.with_pss(pss);
        let made = Features::new(Capabilities { ecap, ..SEEN }, width);
        assert_eq!(made.is_ok(), pss < 20, "{pss}");
        // Without PASIDs it means nothing.
        let ecap = ecap.with_pasid(false);
        assert!(Features::new(Capabilities { ecap, ..SEEN }, width).is_ok());
    }
}

#[test]
fn shapes_of_tables_follow_the_registers() {
    for bits in 0..8 {
        let cap = Cap::default()
            .with_sagaw_39(bits & 1 != 0)
            .with_sagaw_48(bits & 2 != 0)
            .with_sagaw_57(bits & 4 != 0)
            .with_fs5lp(bits & 1 != 0);
        let features = Features::new(
            Capabilities {
                cap,
                ecap: Ecap::default(),
            },
            HostAddressWidth::MAX,
        )
        .unwrap();
        for (n, agaw) in Agaw::ALL.iter().enumerate() {
            assert_eq!(features.has(*agaw), bits & 1 << n != 0);
            assert_eq!(agaw.bits_of_address(), 39 + 9 * n as u32);
        }
        assert!(features.has_levels(FirstStageLevels::Four));
        assert_eq!(features.has_levels(FirstStageLevels::Five), bits & 1 != 0);
    }
}

#[test]
fn descriptors_follow_the_registers() {
    let width = HostAddressWidth::new(46).unwrap();
    let features = Features::new(SEEN, width).unwrap();
    let expected = DescriptorFeatures::SCALABLE
        .with_device_tlb(true)
        .with_interrupt_remapping(true)
        .with_page_request_drain(true)
        .with_max_address_mask(0x2d)
        .with_width(width);
    assert_eq!(features.descriptors(TableMode::Scalable), expected);
    assert_eq!(
        features.descriptors(TableMode::Legacy),
        expected.with_scalable(false)
    );
}

/// The bits of each register that a guest may have only if the hardware has them.
fn of_the_hardware() -> Capabilities {
    Capabilities {
        cap: Cap::default()
            .with_zlr(true)
            .with_dwd(true)
            .with_drd(true)
            .with_fs1gp(true)
            .with_fs5lp(true),
        ecap: Ecap::default()
            .with_dt(true)
            .with_prs(true)
            .with_srs(true)
            .with_nwfs(true)
            .with_eafs(true)
            .with_dit(true)
            .with_smts(true)
            .with_fsts(true)
            .with_smpwcs(true)
            .with_pasid(true),
    }
}

#[test]
fn a_guest_is_told_nothing_that_the_hardware_does_not_do() {
    let shared = of_the_hardware();
    let needed = Ecap::default()
        .with_smts(true)
        .with_nest(true)
        .with_fsts(true)
        .bits();
    // Every bit alone, on hardware with nothing else, and wanted with all else.
    for bit in 0..64 {
        let wanted = Capabilities::from_bits(!1, !(0xc << 35));
        let host = Capabilities::from_bits(1 << bit & !1, needed | 1 << bit & !(0x1f << 35));
        let offered = HostCapabilities::new(host).offer(wanted).unwrap();
        let same_cap = shared.cap.bits() & host.cap.bits();
        assert_eq!(offered.cap.bits() & shared.cap.bits(), same_cap, "{bit}");
        let same_ecap = shared.ecap.bits() & host.ecap.bits();
        assert_eq!(offered.ecap.bits() & shared.ecap.bits(), same_ecap, "{bit}");
        // The VMM's own stay.
        let emulated = HostCapabilities::EMULATED_CAP & wanted.cap.bits();
        assert_eq!(
            offered.cap.bits() & HostCapabilities::EMULATED_CAP,
            emulated
        );
        let emulated = HostCapabilities::EMULATED_ECAP & wanted.ecap.bits();
        assert_eq!(
            offered.ecap.bits() & HostCapabilities::EMULATED_ECAP,
            emulated
        );
        // What nothing carries is never there.
        let ecap = offered.ecap;
        assert!(!ecap.sc() && !ecap.mts() && !ecap.ers() && !ecap.rprivs());
        assert!(!ecap.nest() && !ecap.ssads() && !ecap.tdxio() && !ecap.pms());
        assert!(!offered.cap.ecmds());
    }
}

#[test]
fn each_field_is_offered_in_one_way() {
    let shared = of_the_hardware();
    let emulated_cap = HostCapabilities::EMULATED_CAP;
    assert_eq!(shared.cap.bits() & emulated_cap, 0);
    // All of CAP_REG, but RWBF (4), MGAW (21:16), ECMDS (61), and what is reserved.
    let others = 1 << 4 | 0x3f << 16 | 1 << 61;
    let reserved = 7 << 13 | 1 << 23 | 1 << 38 | 3 << 57;
    assert_eq!(
        shared.cap.bits() | emulated_cap | others | reserved,
        u64::MAX
    );
    let emulated_ecap = HostCapabilities::EMULATED_ECAP;
    assert_eq!(shared.ecap.bits() & emulated_ecap, 0);
    // All of ECAP_REG, but SC (7), MTS (25), NEST (26), ERS (30), PSS (39:35), SSADS (45), TDXIO
    // (50), PMS (51), RPRIVS (53), and what is reserved.
    let others = 1 << 7 | 1 << 25 | 1 << 26 | 1 << 30 | 0x1f << 35 | 1 << 45 | 3 << 50 | 1 << 53;
    let reserved = 1 << 5 | 3 << 18 | 1 << 24 | 3 << 27 | 1 << 32 | u64::MAX << 54;
    assert_eq!(
        shared.ecap.bits() | emulated_ecap | others | reserved,
        u64::MAX
    );
}

#[test]
fn the_smaller_of_two_sizes_is_offered() {
    for (host, wanted) in [(19, 15), (15, 19), (0, 0)] {
        let offered = HostCapabilities::new(Capabilities {
            ecap: SEEN.ecap.with_pss(host),
            cap: SEEN.cap.with_mgaw(38 + host),
        })
        .offer(Capabilities {
            ecap: SEEN.ecap.with_pss(wanted),
            cap: SEEN.cap.with_mgaw(38 + wanted).with_rwbf(host == 0),
        })
        .unwrap();
        assert_eq!(offered.ecap.pss(), host.min(wanted));
        assert_eq!(offered.cap.mgaw(), 38 + host.min(wanted));
        assert_eq!(offered.cap.rwbf(), host == 0);
    }
    let without = SEEN.ecap.with_pasid(false);
    let offered = HostCapabilities::new(SEEN)
        .offer(Capabilities {
            ecap: without,
            ..SEEN
        })
        .unwrap();
    assert_eq!((offered.ecap.pasid(), offered.ecap.pss()), (false, 0));
}

#[test]
fn hardware_that_does_not_nest_offers_nothing() {
    for (ecap, field) in [
        (SEEN.ecap.with_smts(false), "ECAP_REG.SMTS"),
        (SEEN.ecap.with_nest(false), "ECAP_REG.NEST"),
        (SEEN.ecap.with_fsts(false), "ECAP_REG.FSTS"),
    ] {
        let host = HostCapabilities::new(Capabilities { ecap, ..SEEN });
        assert_eq!(host.offer(SEEN), Err(CannotOffer::Nothing(field)));
        assert_eq!(host.nests(), field == "ECAP_REG.FSTS");
    }
    let reserved = Capabilities {
        cap: SEEN.cap.with_nd(7),
        ..SEEN
    };
    assert!(matches!(
        HostCapabilities::new(SEEN).offer(reserved),
        Err(CannotOffer::Reserved(_))
    ));
    assert!(matches!(
        HostCapabilities::new(reserved).offer(SEEN),
        Err(CannotOffer::Reserved(_))
    ));
    assert!(HostCapabilities::new(SEEN).tracks_dirty());
}
