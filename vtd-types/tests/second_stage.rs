//! Walks through tables of the second stage.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the test's own constants"
)]

mod common;

use common::{Memory, features, gpa};
use vtd_types::{
    Agaw, Cap, Capabilities, Ecap, InputAddress, Level, Rights, SecondStage, SecondStageFault,
    SecondStageFaultKind, SecondStageLeaf, SecondStageStep, SecondStageTranslation,
};

const ROOT: u64 = 0x8_0000;
/// R, W.
const ALLOW: u64 = 3;

fn stage(agaw: Agaw, input_bits: u8) -> SecondStage {
    let features = features(Capabilities {
        cap: Cap::default()
            .with_sslps_2m(true)
            .with_sslps_1g(true)
            .with_mgaw(input_bits - 1),
        ecap: Ecap::default(),
    });
    SecondStage::scalable(gpa(ROOT), agaw, &features)
}

/// Walks the tables in `memory`. Also what is written over tables on the way.
fn translate_all(
    stage: &SecondStage,
    memory: &Memory,
    input: u64,
    access: Rights,
) -> Result<(SecondStageTranslation, Vec<u64>), SecondStageFault> {
    let mut walk = stage.walk(InputAddress::new(input), access)?;
    let mut updates = Vec::new();
    loop {
        match walk.resume(memory.read(walk.address()))? {
            SecondStageStep::Read(next) => {
                if let Some(update) = next.update() {
                    assert_eq!(update.address, walk.address());
                    updates.push(update.entry);
                }
                walk = next;
            }
            SecondStageStep::Done(translation) => return Ok((translation, updates)),
        }
    }
}

fn translate(
    stage: &SecondStage,
    memory: &Memory,
    input: u64,
    access: Rights,
) -> Result<SecondStageTranslation, SecondStageFault> {
    translate_all(stage, memory, input, access).map(|(translation, _)| translation)
}

#[test]
fn pages_of_every_size_in_tables_of_every_shape() {
    for (agaw, number) in [(Agaw::Three, 3), (Agaw::Four, 4), (Agaw::Five, 5)] {
        let stage = stage(agaw, 57);
        for (level, at) in [(Level::Level1, 1), (Level::Level2, 2), (Level::Level3, 3)] {
            let low = (1 << level.span_bits()) - 1;
            for input in [0x1234_5678_9abc, u64::MAX - 0x123] {
                let input = input & ((1 << agaw.bits_of_address()) - 1);
                let mut memory = Memory::default();
                let output = gpa(0x2345_6789_a000 & !low);
                let leaf = SecondStageLeaf::new(level, output).unwrap().with_r(true);
                let entry = memory.entry(ROOT, number, input, at, ALLOW);
                memory.write(entry, leaf.words()[0]);
                let done = translate(&stage, &memory, input, Rights::READ).unwrap();
                assert_eq!(done.output.get(), output.get() | input & low);
                assert_eq!((done.span_bits, done.level), (level.span_bits(), level));
                assert_eq!((done.entry.get(), done.rights), (entry, Rights::READ));
                assert_eq!(done.update, None);
            }
        }
    }
}

#[test]
fn addresses_beyond_the_tables_or_the_unit_fault() {
    for &agaw in Agaw::ALL {
        for most in [30, 39, 48, 57] {
            let stage = stage(agaw, most);
            let bits = agaw.bits_of_address().min(most.into());
            assert_eq!(stage.input_bits, bits);
            for bit in 0..64 {
                let got = stage.walk(InputAddress::new(1 << bit), Rights::READ);
                assert_eq!(got.is_ok(), bit < bits);
                if let Err(fault) = got {
                    assert_eq!(fault.kind, SecondStageFaultKind::Beyond);
                }
            }
        }
    }
}

#[test]
fn rights_are_those_that_every_level_gives() {
    for case in 0..1_u64 << 7 {
        // R, W and X of a table and of the page; whether X counts.
        let (table, page, execute) = (case & 7, case >> 3 & 7, case >> 6 == 1);
        let mut stage = stage(Agaw::Four, 48);
        stage.execute = execute;
        let mut memory = Memory::default();
        let leaf = memory.entry(ROOT, 4, 0x3000, 1, 7);
        memory.write(leaf, 0x5000 | page);
        let entry = memory.entry(ROOT, 4, 0x3000, 3, 7);
        let next = u64::from_le_bytes(memory.read(gpa(entry)));
        memory.write(entry, next & !7 | table);

        for (rights, bit) in [(Rights::READ, 1), (Rights::WRITE, 2), (Rights::EXECUTE, 4)] {
            let counts = bit != 4 || execute;
            let level = if !counts {
                Some(Level::Level4)
            } else if table & bit == 0 {
                Some(Level::Level3)
            } else if page & bit == 0 {
                Some(Level::Level1)
            } else {
                None
            };
            let kind = match bit {
                1 => SecondStageFaultKind::NoRead,
                2 => SecondStageFaultKind::NoWrite,
                _ => SecondStageFaultKind::NoExecute,
            };
            let got = translate(&stage, &memory, 0x3000, rights);
            match level {
                None => {
                    let counted = if execute { 7 } else { 3 };
                    let has = (table & page & counted) as u8;
                    assert_eq!(got.unwrap().rights.bits(), has);
                }
                Some(level) => {
                    let scalable = true;
                    let expected = SecondStageFault {
                        kind,
                        level,
                        scalable,
                    };
                    assert_eq!(got, Err(expected), "{case:#b}");
                }
            }
        }
    }
}

#[test]
fn an_access_that_asks_for_nothing_needs_a_page_still() {
    let memory = Memory::default();
    let got = translate(&stage(Agaw::Four, 48), &memory, 0x3000, Rights::empty());
    assert_eq!(got.unwrap_err().kind, SecondStageFaultKind::NoRead);
}

#[test]
fn every_fault_has_its_reason_in_both_modes() {
    use SecondStageFaultKind::*;
    for (kind, legacy, scalable) in [
        (Beyond, 0x04, 0x83),
        (Reserved(1), 0x0c, 0x7a),
        (NoWrite, 0x05, 0x85),
        (NoRead, 0x06, 0x86),
        (Interrupt, 0x0e, 0x87),
    ] {
        for (mode, number) in [(false, legacy), (true, scalable)] {
            let fault = SecondStageFault {
                kind,
                level: Level::Level1,
                scalable: mode,
            };
            assert_eq!(fault.reason().number(), number);
        }
    }
}

#[test]
fn flags_that_are_set_by_being_used() {
    for case in 0..16 {
        let bit = |n: u32| case >> n & 1 == 1;
        let [a, d, ssade, write] = [0, 1, 2, 3].map(bit);
        let mut stage = stage(Agaw::Four, 48);
        stage.accessed_dirty = ssade;
        let flags = u64::from(a) << 8;
        let mut memory = Memory::default();
        let leaf = memory.entry(ROOT, 4, 0x3000, 1, ALLOW | flags);
        let page = 0x5000 | ALLOW | flags | u64::from(d) << 9;
        memory.write(leaf, page);
        let access = if write { Rights::WRITE } else { Rights::READ };
        let (done, tables) = translate_all(&stage, &memory, 0x3000, access).unwrap();
        let used = if ssade {
            1 << 8 | u64::from(write) << 9
        } else {
            0
        };
        let update = (page | used != page).then_some(page | used);
        assert_eq!(done.update.map(|update| update.entry), update, "{case:#b}");
        assert_eq!(tables.len(), if ssade && !a { 3 } else { 0 });
        assert!(tables.iter().all(|table| table & 0x300 == 0x100));
    }
}

#[test]
fn nothing_goes_to_where_interrupts_are() {
    let stage = stage(Agaw::Three, 39);
    let mut memory = Memory::default();
    let leaf = memory.entry(ROOT, 3, 0x3000, 1, ALLOW);
    memory.write(leaf, 0xfee0_0000 | ALLOW);
    let fault = translate(&stage, &memory, 0x3000, Rights::READ).unwrap_err();
    assert_eq!(fault.kind, SecondStageFaultKind::Interrupt);
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
        let agaw = Agaw::ALL[(random() % 3) as usize];
        let stage = stage(agaw, 57);
        let input = random() & ((1 << 39) - 1);
        let mut walk = stage.walk(InputAddress::new(input), Rights::READ).unwrap();
        for reads in 1.. {
            assert!(reads <= 5);
            // Mostly with no reserved bits.
            let entry = random() & !(0x1_003f << 46 | 0x800) & !(random() & 0x80) | 1;
            match walk.resume(entry.to_le_bytes()) {
                Ok(SecondStageStep::Read(next)) => walk = next,
                Ok(SecondStageStep::Done(_)) => {
                    done += 1;
                    break;
                }
                Err(_) => break,
            }
        }
    }
    assert!(done > 10_000, "{done}");
}
