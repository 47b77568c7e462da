//! What a guest of a VT-d writes: invalidation descriptors, root, context and PASID table entries, and its page tables.
#![no_main]

use fuzz::words::Words;
use libfuzzer_sys::fuzz_target;
use vtd_types::{
    Access, Agaw, Capabilities, ContextEntry, Descriptor, DescriptorWords, FaultRecord, Features,
    FirstStage, FirstStageLevels, FirstStageStep, Gpa, HostAddressWidth, InputAddress,
    Invalidation, NestedPasidEntry, PageRequestRecord, Pasid, PasidDirectoryEntry, PasidEntry,
    Rights, RootEntry, RootLookup, RootTable, Rtaddr, ScalableContextEntry, ScalableRootEntry,
    SecondStage, SecondStageStep, SourceId, TableMode,
};

fuzz_target!(|input: &[u8]| {
    let mut words = Words::new(input);
    let capabilities = Capabilities::from_bits(words.word(), words.word());
    let [width, ..] = words.next32().to_le_bytes();
    let Some(width) = HostAddressWidth::new(width) else {
        return;
    };
    let Ok(features) = Features::new(capabilities, width) else {
        return;
    };
    while !words.is_empty() {
        match words.next32() % 6 {
            0 => descriptor(&mut words, &features),
            1 => roots(&mut words, &features),
            2 => contexts(&mut words, &features),
            3 => records(&mut words),
            4 => first_stage(&mut words, &features),
            _ => second_stage(&mut words, &features),
        }
    }
});

fn descriptor(words: &mut Words<'_>, features: &Features) {
    let mode = match words.next32() & 1 {
        0 => TableMode::Legacy,
        _ => TableMode::Scalable,
    };
    let features = features.descriptors(mode);
    let decoded = Descriptor::decode(DescriptorWords::from_words(words.array()), &features);
    let Ok(descriptor) = decoded else {
        return;
    };
    assert_eq!(
        Descriptor::decode(descriptor.encode(), &features),
        Ok(descriptor)
    );
    let _ = Invalidation::from_descriptor(&descriptor);
}

fn roots(words: &mut Words<'_>, features: &Features) {
    let Ok(table) = RootTable::from_register(Rtaddr::from_bits(words.word()), features) else {
        return;
    };
    let [first, second, ..] = words.next32().to_le_bytes();
    match table.locate(SourceId::new(u16::from_le_bytes([first, second]))) {
        RootLookup::Legacy(lookup) => {
            let _ = lookup.resolve(RootEntry::from_words(words.array()));
        }
        RootLookup::Scalable(lookup) => {
            let _ = lookup.resolve(ScalableRootEntry::from_words(words.array()));
        }
    }
}

fn contexts(words: &mut Words<'_>, features: &Features) {
    let _ = ContextEntry::from_words(words.array()).decode(features);
    let Ok(directory) = ScalableContextEntry::from_words(words.array()).decode(features) else {
        return;
    };
    if let Ok(lookup) = directory.locate(Pasid::new(words.next32())) {
        let _ = lookup.resolve(PasidDirectoryEntry::from_words(words.array()));
    }
    let entry = PasidEntry::from_words(words.array());
    let decoded = entry.decode(features);
    if NestedPasidEntry::from_entry(&entry, features).is_ok() {
        assert!(decoded.is_ok(), "nested, and not valid");
    }
}

fn records(words: &mut Words<'_>) {
    if let Ok(message) = PageRequestRecord::from_words(words.array()).decode() {
        assert_eq!(message.encode().decode(), Ok(message));
    }
    if let Ok(fault) = FaultRecord::from_words(words.array()).decode() {
        assert_eq!(fault.encode().decode(), Ok(fault));
    }
}

/// Where a table is.
fn table(words: &mut Words<'_>, features: &Features) -> Option<Gpa> {
    let address = words.word() & !0xfff;
    Gpa::new(address).filter(|_| address >> features.width().get() == 0)
}

fn first_stage(words: &mut Words<'_>, features: &Features) {
    let Some(table) = table(words, features) else {
        return;
    };
    let levels = match words.next32() & 1 {
        0 => FirstStageLevels::Four,
        _ => FirstStageLevels::Five,
    };
    let stage = FirstStage::new(table, levels, features);
    let access = Access {
        rights: Rights::WRITE,
        privileged: words.next32() & 1 != 0,
    };
    let Ok(mut walk) = stage.walk(InputAddress::new(words.word()), access) else {
        return;
    };
    for _ in 0..5 {
        match walk.resume(words.bytes()) {
            Ok(FirstStageStep::Read(next)) => walk = next,
            Ok(FirstStageStep::Done(_)) | Err(_) => return,
        }
    }
    panic!("a walk of more levels than there are");
}

fn second_stage(words: &mut Words<'_>, features: &Features) {
    let Some(table) = table(words, features) else {
        return;
    };
    let agaw = match words.next32() % 3 {
        0 => Agaw::Three,
        1 => Agaw::Four,
        _ => Agaw::Five,
    };
    let stage = match words.next32() & 1 {
        0 => SecondStage::legacy(table, agaw, features),
        _ => SecondStage::scalable(table, agaw, features),
    };
    let Ok(mut walk) = stage.walk(InputAddress::new(words.word()), Rights::WRITE) else {
        return;
    };
    for _ in 0..5 {
        match walk.resume(words.bytes()) {
            Ok(SecondStageStep::Read(next)) => walk = next,
            Ok(SecondStageStep::Done(_)) | Err(_) => return,
        }
    }
    panic!("a walk of more levels than there are");
}
