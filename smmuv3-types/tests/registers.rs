//! Identification registers: their fields, and what of them a guest can be told.

use smmuv3_types::{
    AddressSize, AllocationHints, BadFeatures, CannotOffer, Cr0, Features, Gbpa, IdRegisters, Idr0,
    Idr1, Idr3, Idr5, Iidr, InputSize, ShareabilityOverride, StallModel, StreamTableLevels,
    TableEndianness, TableUpdate, VmidWildcard, Vouched,
};

/// What an emulated SMMUv3 that nests was seen to report.
const SEEN: [u32; 6] = [0x0d44_101b, 0x0273_0010, 0, 0x1414, 0, 0x74];

fn seen() -> IdRegisters {
    IdRegisters::from_bits(SEEN, 0, 1)
}

#[test]
fn the_fields_of_registers_that_were_seen() {
    let IdRegisters {
        idr0,
        idr1,
        idr3,
        idr5,
        ..
    } = seen();
    // 0x0d44101b: bits 27, 26, 24, 22, 18, 12, 4, 3, 1, 0.
    assert!(idr0.s2p() && idr0.s1p() && idr0.ttf_aarch64() && idr0.cohacc() && idr0.asid16());
    assert!(!idr0.ttf_aarch32() && !idr0.cd2l() && !idr0.ats() && !idr0.hyp());
    assert!(idr0.vmid16() && idr0.term_model());
    assert_eq!(idr0.httu(), TableUpdate::None);
    assert_eq!(idr0.ttendian(), Ok(TableEndianness::Little));
    assert_eq!(idr0.stall_model(), Ok(StallModel::TerminateOnly));
    assert_eq!(idr0.st_level(), Ok(StreamTableLevels::Two));
    // 0x02730010: CMDQS = 19, EVENTQS = 19, SIDSIZE = 16.
    assert_eq!((idr1.cmdqs(), idr1.eventqs(), idr1.sidsize()), (19, 19, 16));
    assert_eq!(idr1.ssidsize(), 0);
    // 0x1414: BBML = 2, RIL, XNX, HAD.
    assert!(idr3.ril() && idr3.xnx() && idr3.had());
    assert_eq!(idr3.bbml().unwrap().bits(), 2);
    // 0x74: all granules, 44 bits.
    assert!(idr5.gran4k() && idr5.gran16k() && idr5.gran64k());
    assert_eq!(idr5.oas(), Ok(AddressSize::Bits44));
    assert_eq!(idr5.vax(), Ok(InputSize::Bits48));
}

#[test]
fn each_field_is_where_the_document_has_it() {
    assert_eq!(
        Idr0::default().with_st_level(StreamTableLevels::Two).bits(),
        1 << 27
    );
    assert_eq!(Idr0::default().with_cd2l(true).bits(), 1 << 19);
    assert_eq!(Idr1::default().with_ssidsize(20).bits(), 20 << 6);
    assert_eq!(Idr3::default().with_stt(true).bits(), 1 << 9);
    assert_eq!(Idr5::default().with_stall_max(0xffff).bits(), 0xffff_0000);
    assert_eq!(Iidr::from_bits(0x4832_143b).product_id(), 0x483);
    assert_eq!(Iidr::from_bits(0x4832_143b).variant(), 2);
    assert_eq!(Iidr::from_bits(0x4832_143b).revision(), 1);
    assert_eq!(Iidr::from_bits(0x4832_143b).implementer(), 0x43b);
    let cr0 = Cr0::default()
        .with_smmuen(true)
        .with_eventqen(true)
        .with_cmdqen(true);
    assert_eq!(cr0.bits(), 0b1101);
    assert_eq!(
        cr0.with_priqen(true)
            .with_atschk(true)
            .with_vmw(VmidWildcard::But4)
            .bits(),
        0b1_0001_1111
    );
    let gbpa = Gbpa::from_bits(0x8010_0000 | 0b1101 << 8 | 2 << 12 | 0xf | 0x10);
    assert!(gbpa.update() && gbpa.abort() && gbpa.mtcfg());
    assert_eq!(gbpa.mem_attr(), 0xf);
    assert_eq!(gbpa.shcfg(), ShareabilityOverride::Outer);
    assert_eq!(
        gbpa.alloccfg(),
        AllocationHints::Override {
            read: true,
            write: false,
            transient: true
        }
    );
}

#[test]
fn every_reserved_encoding_is_an_error_that_names_it() {
    let check = |reserved: Result<(), smmuv3_types::Reserved>, field: &str, value: u64| {
        let reserved = reserved.unwrap_err();
        assert_eq!((reserved.field(), reserved.value()), (field, value));
    };
    for value in 2..4_u32 {
        check(
            Idr0::from_bits(value << 27).st_level().map(drop),
            "SMMU_IDR0.ST_LEVEL",
            value.into(),
        );
    }
    check(
        Idr0::from_bits(3 << 24).stall_model().map(drop),
        "SMMU_IDR0.STALL_MODEL",
        3,
    );
    check(
        Idr0::from_bits(1 << 21).ttendian().map(drop),
        "SMMU_IDR0.TTENDIAN",
        1,
    );
    check(Idr5::from_bits(7).oas().map(drop), "SMMU_IDR5.OAS", 7);
    check(Idr5::from_bits(2 << 10).vax().map(drop), "SMMU_IDR5.VAX", 2);
    check(
        Idr3::from_bits(3 << 11).bbml().map(drop),
        "SMMU_IDR3.BBML",
        3,
    );
    for value in 5..8_u32 {
        check(
            Cr0::from_bits(value << 6).vmw().map(drop),
            "SMMU_CR0.VMW",
            value.into(),
        );
    }
}

#[test]
fn features_are_refused_where_they_are_reserved_or_not_covered() {
    assert!(Features::new(seen()).is_ok());
    let with = |change: fn(&mut IdRegisters)| {
        let mut registers = seen();
        change(&mut registers);
        Features::new(registers).unwrap_err()
    };
    assert!(matches!(
        with(|r| r.idr1 = r.idr1.with_ssidsize(21)),
        BadFeatures::Reserved(_)
    ));
    assert!(matches!(
        with(|r| r.idr1 = r.idr1.with_sidsize(33)),
        BadFeatures::Reserved(_)
    ));
    let not_covered = |field, change| assert_eq!(with(change), BadFeatures::NotCovered(field));
    not_covered("SMMU_IDR5.D128", |r| r.idr5 = r.idr5.with_d128(true));
    not_covered("SMMU_IDR3.S1PI", |r| r.idr3 = r.idr3.with_s1pi(true));
    not_covered("SMMU_IDR3.AIE", |r| r.idr3 = r.idr3.with_aie(true));
    not_covered("SMMU_IDR3.THE", |r| r.idr3 = r.idr3.with_the(true));
    not_covered("SMMU_IDR3.DPT", |r| r.idr3 = r.idr3.with_dpt(true));
    // Of the flags that an SMMU writes into tables, all but those of tables themselves.
    for &update in TableUpdate::ALL {
        let mut registers = seen();
        registers.idr0 = registers.idr0.with_httu(update);
        assert_eq!(
            Features::new(registers).map(|features| features.table_update()),
            match update {
                TableUpdate::TableAccessFlag => Err(BadFeatures::NotCovered("SMMU_IDR0.HTTU")),
                covered => Ok(covered),
            }
        );
    }
}

#[test]
fn a_bit_that_is_not_vouched_for_cannot_be_read() {
    // Each bit by itself: it shows if and only if the kernel's list of fields has it.
    for register in 0..6 {
        for bit in 0..32 {
            let mut idr = [0; 6];
            idr[register] = 1 << bit;
            let shows = Vouched::new(idr) != Vouched::new([0; 6]);
            let listed = match register {
                0 => matches!(bit, 2 | 3 | 12 | 19 | 21 | 22 | 24..=28),
                1 => bit <= 10,
                3 => matches!(bit, 10..=12),
                5 => matches!(bit, 4..=7 | 10 | 11),
                _ => false,
            };
            assert_eq!(shows, listed, "IDR{register} bit {bit}");
        }
    }
}

#[test]
fn a_guest_is_offered_no_more_than_the_hardware_does() {
    let hardware = Vouched::new(SEEN);
    // All that can be wanted, and only what does not differ.
    let mut wanted = IdRegisters::from_bits([!0; 6], !0, !0);
    wanted.idr0 = wanted
        .idr0
        .with_stall_model(StallModel::TerminateOnly)
        .with_ttendian(TableEndianness::Little);
    wanted.idr3 = wanted.idr3.with_bbml(smmuv3_types::BreakBeforeMake::Level2);
    wanted.idr5 = wanted.idr5.with_vax(InputSize::Bits52);
    let offered = hardware.offer(&wanted).unwrap();
    // Of what the hardware has: TERM_MODEL, ASID16, TTF[1], STALL_MODEL 1, TTENDIAN 2; of the
    // VMM's: ST_LEVEL, PRI, SEV, MSI, ATS, COHACC; and S1P.
    assert_eq!(
        offered.idr0.bits(),
        3 << 27
            | 1 << 26
            | 1 << 24
            | 2 << 21
            | 1 << 16
            | 3 << 13
            | 1 << 12
            | 1 << 10
            | 1 << 4
            | 1 << 3
            | 1 << 1
    );
    assert_eq!(offered.idr1.bits(), 0xf3ff_f83f);
    assert_eq!(offered.idr3.bits(), 2 << 11 | 1 << 10 | 1 << 5);
    assert_eq!(offered.idr5.bits(), 0xffff_0077);

    // Nothing is offered that was not wanted.
    let least = IdRegisters::from_bits([1 << 24 | 2 << 21 | 1 << 3, 0, 0, 0, 0, 1 << 6], 0, 0);
    let offered = hardware.offer(&least).unwrap();
    assert_eq!(
        offered.idr0,
        least.idr0.with_s1p(true).with_term_model(true)
    );
    assert_eq!(offered.idr5, least.idr5);
}

#[test]
fn what_the_hardware_does_otherwise_cannot_be_offered() {
    let hardware = Vouched::new(SEEN);
    let wanted = |idr0: Idr0, idr5: u32| IdRegisters {
        idr0,
        idr5: Idr5::from_bits(idr5),
        ..Default::default()
    };
    let good = seen().idr0;
    for (idr0, idr5, refused) in [
        (
            good.with_stall_model(StallModel::Both),
            0x70,
            CannotOffer::Differs("SMMU_IDR0.STALL_MODEL"),
        ),
        (
            good.with_ttendian(TableEndianness::Mixed),
            0x70,
            CannotOffer::Differs("SMMU_IDR0.TTENDIAN"),
        ),
        (
            good.with_ttf_aarch64(false).with_ttf_aarch32(true),
            0x70,
            CannotOffer::Nothing("SMMU_IDR0.TTF"),
        ),
        (good, 0, CannotOffer::Nothing("SMMU_IDR5.GRAN*")),
    ] {
        assert_eq!(hardware.offer(&wanted(idr0, idr5)), Err(refused));
    }
}
