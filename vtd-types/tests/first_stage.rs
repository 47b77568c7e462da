//! Walks through tables of the first stage.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the test's own constants"
)]

mod common;

use common::{Memory, features, gpa};
use vtd_types::{
    Access, Cap, Capabilities, Ecap, FaultReason, FirstStage, FirstStageFault, FirstStageFaultKind,
    FirstStageLeaf, FirstStageLevels, FirstStageStep, FirstStageTranslation, InputAddress, Level,
    Rights,
};

const READ: Access = Access {
    rights: Rights::READ,
    privileged: false,
};
const WRITE: Access = Access {
    rights: Rights::WRITE,
    privileged: false,
};
const ROOT: u64 = 0x8_0000;
/// P, R/W, U/S.
const ALLOW: u64 = 7;

fn stage(levels: FirstStageLevels) -> FirstStage {
    let features = features(Capabilities {
        cap: Cap::default().with_fs5lp(true).with_fs1gp(true),
        ecap: Ecap::default(),
    });
    FirstStage::new(gpa(ROOT), levels, &features)
}

/// Walks the tables in `memory`. Also what is written over tables on the way.
fn translate_all(
    stage: &FirstStage,
    memory: &Memory,
    input: u64,
    access: Access,
) -> Result<(FirstStageTranslation, Vec<u64>), FirstStageFault> {
    let mut walk = stage.walk(InputAddress::new(input), access)?;
    let mut updates = Vec::new();
    loop {
        match walk.resume(memory.read(walk.address()))? {
            FirstStageStep::Read(next) => {
                if let Some(update) = next.update() {
                    assert_eq!(update.address, walk.address());
                    updates.push(update.entry);
                }
                walk = next;
            }
            FirstStageStep::Done(translation) => return Ok((translation, updates)),
        }
    }
}

fn translate(
    stage: &FirstStage,
    memory: &Memory,
    input: u64,
    access: Access,
) -> Result<FirstStageTranslation, FirstStageFault> {
    translate_all(stage, memory, input, access).map(|(translation, _)| translation)
}

#[test]
fn pages_of_every_size_in_tables_of_both_shapes() {
    for (levels, number) in [(FirstStageLevels::Four, 4), (FirstStageLevels::Five, 5)] {
        let stage = stage(levels);
        let top = 12 + 9 * number;
        for (level, at) in [(Level::Level1, 1), (Level::Level2, 2), (Level::Level3, 3)] {
            let low = (1 << level.span_bits()) - 1;
            // The lower half, and the upper: sign-extended.
            for input in [0x1234_5678_9abc, 0x7fff_ffff_f000, u64::MAX - 0x123] {
                let input = if input >> 63 == 0 {
                    input & ((1 << (top - 1)) - 1)
                } else {
                    input
                };
                let mut memory = Memory::default();
                let output = gpa(0x2345_6789_a000 & !low);
                let leaf = FirstStageLeaf::new(level, output).unwrap().with_us(true);
                let entry = memory.entry(ROOT, number, input, at, ALLOW);
                memory.write(entry, leaf.words()[0]);
                let done = translate(&stage, &memory, input, READ).unwrap();
                assert_eq!(done.output.get(), output.get() | input & low);
                assert_eq!((done.span_bits, done.level), (level.span_bits(), level));
                assert_eq!((done.entry.get(), done.leaf), (entry, leaf));
            }
        }
    }
}

#[test]
fn addresses_that_are_not_canonical_fault() {
    for (levels, bits) in [(FirstStageLevels::Four, 48), (FirstStageLevels::Five, 57)] {
        for bit in 0..64 {
            let got = stage(levels).walk(InputAddress::new(1 << bit), READ);
            assert_eq!(got.is_ok(), bit < bits - 1, "{bit}");
            let high = stage(levels).walk(InputAddress::new(u64::MAX << bit), READ);
            assert_eq!(high.is_ok(), bit < bits, "{bit}");
            if let Err(fault) = got {
                assert_eq!(fault.reason(), FaultReason::Sgn1);
            }
        }
    }
}

#[test]
fn nothing_there_and_malformed_entries_fault_at_their_level() {
    let stage = stage(FirstStageLevels::Five);
    for (at, level) in (1..).zip(Level::ALL) {
        let mut memory = Memory::default();
        let entry = memory.entry(ROOT, 5, 0x3000, at, ALLOW);
        let fault = translate(&stage, &memory, 0x3000, READ).unwrap_err();
        assert_eq!(fault.kind, FirstStageFaultKind::NotPresent);
        assert_eq!((fault.level, fault.reason()), (*level, FaultReason::Sfs2));
        // Beyond 46 bits.
        memory.write(entry, 1 << 46 | ALLOW);
        let fault = translate(&stage, &memory, 0x3000, READ).unwrap_err();
        assert_eq!(fault.kind, FirstStageFaultKind::Reserved(1 << 46));
        assert_eq!((fault.level, fault.reason()), (*level, FaultReason::Sfs3));
    }
}

#[test]
fn every_combination_of_permissions() {
    for case in 0..1_u32 << 11 {
        let bit = |n: u32| case >> n & 1 == 1;
        let [us, rw, xd, table_us, table_rw, table_xd] = [0, 1, 2, 3, 4, 5].map(bit);
        let [sre, wpe, ere, nxe, smep] = [6, 7, 8, 9, 10].map(bit);
        let mut stage = stage(FirstStageLevels::Four);
        stage.supervisor = sre;
        stage.write_protect = wpe;
        stage.execute = ere;
        stage.no_execute = nxe;
        stage.supervisor_no_user_execute = smep;

        let flag = |on: bool, bit: u32| u64::from(on) << bit;
        let mut memory = Memory::default();
        let leaf = memory.entry(ROOT, 4, 0x3000, 1, ALLOW);
        memory.write(leaf, 0x5001 | flag(rw, 1) | flag(us, 2) | flag(xd, 63));
        // Each limit in a table of another level.
        let table = memory.entry(ROOT, 4, 0x3000, 2, ALLOW);
        let next = u64::from_le_bytes(memory.read(gpa(table)));
        memory.write(table, next & !2 | flag(table_rw, 1));
        let table = memory.entry(ROOT, 4, 0x3000, 3, ALLOW);
        let next = u64::from_le_bytes(memory.read(gpa(table)));
        memory.write(table, next & !4 | flag(table_us, 2) | flag(table_xd, 63));

        let user = us && table_us;
        let writable = rw && table_rw;
        let executable = !(nxe && (xd || table_xd));
        let denied = |kind, level| Err(FirstStageFault { kind, level });
        let none = |kind| denied(kind, Level::Level4);
        let page = |kind| denied(kind, Level::Level1);
        use FirstStageFaultKind::{Execute, NoExecute, NoWrite, NotUser, Supervisor};
        for (privileged, rights, expected) in [
            (
                false,
                Rights::READ,
                if user { Ok(()) } else { page(NotUser) },
            ),
            (
                false,
                Rights::WRITE,
                if !user {
                    page(NotUser)
                } else if !writable {
                    page(NoWrite)
                } else {
                    Ok(())
                },
            ),
            (
                false,
                Rights::EXECUTE,
                if !ere {
                    none(Execute)
                } else if !user {
                    page(NotUser)
                } else if !executable {
                    page(NoExecute)
                } else {
                    Ok(())
                },
            ),
            (
                true,
                Rights::READ,
                if sre { Ok(()) } else { none(Supervisor) },
            ),
            (
                true,
                Rights::WRITE,
                if !sre {
                    none(Supervisor)
                } else if !writable && wpe {
                    page(NoWrite)
                } else {
                    Ok(())
                },
            ),
            (
                true,
                Rights::EXECUTE,
                if !sre {
                    none(Supervisor)
                } else if !ere {
                    none(Execute)
                } else if !executable || smep && user {
                    page(NoExecute)
                } else {
                    Ok(())
                },
            ),
        ] {
            let access = Access { rights, privileged };
            let got = translate(&stage, &memory, 0x3000, access).map(drop);
            assert_eq!(got, expected, "{case:#b} {access:?}");
        }
    }
}

#[test]
fn every_fault_has_its_reason() {
    use FirstStageFaultKind::*;
    for (kind, reason) in [
        (Supervisor, 0x5d),
        (Execute, 0x5c),
        (NotCanonical, 0x80),
        (NotPresent, 0x71),
        (Reserved(1), 0x72),
        (NotUser, 0x81),
        (NoWrite, 0x85),
        (NoExecute, 0x82),
        (Interrupt, 0x87),
    ] {
        let level = Level::Level1;
        let fault = FirstStageFault { kind, level };
        assert_eq!(fault.reason().number(), reason);
    }
}

#[test]
fn flags_that_are_set_by_being_used() {
    for case in 0..32 {
        let bit = |n: u32| case >> n & 1 == 1;
        let [a, d, ea, eafe, write] = [0, 1, 2, 3, 4].map(bit);
        let mut stage = stage(FirstStageLevels::Four);
        stage.extended_accessed = eafe;
        let flags = u64::from(a) << 5 | u64::from(ea) << 10;
        let mut memory = Memory::default();
        let leaf = memory.entry(ROOT, 4, 0x3000, 1, ALLOW | flags);
        let page = 0x5000 | ALLOW | flags | u64::from(d) << 6;
        memory.write(leaf, page);
        let access = if write { WRITE } else { READ };
        let (done, tables) = translate_all(&stage, &memory, 0x3000, access).unwrap();
        let used = 1 << 5 | u64::from(eafe) << 10;
        let expected = page | used | u64::from(write) << 6;
        let update = (expected != page).then_some(expected);
        assert_eq!(done.update.map(|update| update.entry), update, "{case:#b}");
        if let Some(update) = done.update {
            assert_eq!(update.address.get(), leaf);
            assert_eq!(update.to_bytes(), expected.to_le_bytes());
        }
        // The three tables on the way.
        let changes = flags | used != flags;
        assert_eq!(tables.len(), if changes { 3 } else { 0 });
        for table in tables {
            assert_eq!(table & used, used);
            assert_eq!(table & 1 << 6, 0);
        }
    }
}

#[test]
fn nothing_goes_to_where_interrupts_are() {
    let stage = stage(FirstStageLevels::Four);
    for (page, faults) in [
        (0xfedf_f000, false),
        (0xfee0_0000, true),
        (0xfef0_0000, false),
    ] {
        let mut memory = Memory::default();
        let leaf = memory.entry(ROOT, 4, 0x3000, 1, ALLOW);
        memory.write(leaf, page | ALLOW);
        let got = translate(&stage, &memory, 0x3000, READ);
        assert_eq!(got.is_err(), faults);
        if let Err(fault) = got {
            assert_eq!(fault.kind, FirstStageFaultKind::Interrupt);
        }
    }
    // Of a large page only that part.
    let mut memory = Memory::default();
    let leaf = memory.entry(ROOT, 4, 0, 3, ALLOW);
    memory.write(leaf, 0xc000_0000 | ALLOW | 1 << 7);
    assert!(translate(&stage, &memory, 0x3edf_ffff, READ).is_ok());
    assert!(translate(&stage, &memory, 0x3ee0_0000, READ).is_err());
}

#[test]
fn whatever_is_in_memory_a_walk_ends() {
    let mut state = 0x1234_5678_9abc_def1_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut done = 0;
    for _ in 0..100_000 {
        let levels = FirstStageLevels::ALL[(random() % 2) as usize];
        let input = random() & ((1 << 47) - 1);
        let mut walk = stage(levels).walk(InputAddress::new(input), READ).unwrap();
        for reads in 1.. {
            assert!(reads <= 5);
            // Mostly with no bits beyond the width.
            let entry = random() & !(0x3f << 46) & !(random() & 0x80) | 5;
            match walk.resume(entry.to_le_bytes()) {
                Ok(FirstStageStep::Read(next)) => walk = next,
                Ok(FirstStageStep::Done(_)) => {
                    done += 1;
                    break;
                }
                Err(_) => break,
            }
        }
    }
    assert!(done > 10_000, "{done}");
}
