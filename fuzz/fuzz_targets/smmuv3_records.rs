//! What a guest of an SMMUv3 writes: commands, stream table entries, context descriptors, the tables that lead to them,
//! and its page tables.
#![no_main]

use fuzz::words::Words;
use libfuzzer_sys::fuzz_target;
use smmuv3_types::{
    Access, Aidr, Cd, CdConfig, CdLookup, Command, CommandWords, Features, IdRegisters, Idr0, Idr1,
    Idr2, Idr3, Idr4, Idr5, Iidr, InputAddress, Invalidation, InvalidationLimits,
    L1ContextDescriptor, L1StreamDescriptor, NestedSte, PriRecord, Rights, Ste, SteConfig,
    StreamId, StreamLookup, StreamTable, StrtabBase, StrtabBaseCfg, SubstreamId, WalkStep,
};

fuzz_target!(|input: &[u8]| {
    let mut words = Words::new(input);
    let registers = IdRegisters {
        idr0: Idr0::from_bits(words.next32()),
        idr1: Idr1::from_bits(words.next32()),
        idr2: Idr2::from_bits(0),
        idr3: Idr3::from_bits(words.next32()),
        idr4: Idr4::from_bits(0),
        idr5: Idr5::from_bits(words.next32()),
        iidr: Iidr::from_bits(0),
        aidr: Aidr::from_bits(0),
    };
    let Ok(features) = Features::new(registers) else {
        return;
    };
    while !words.is_empty() {
        match words.next32() % 6 {
            0 => command(&mut words, &features),
            1 => entry(&mut words, &features),
            2 => stream_table(&mut words, &features),
            3 => {
                let record = PriRecord::from_words(words.array());
                let message = record.decode();
                assert_eq!(message.encode().decode(), message);
            }
            4 => {
                let _ = NestedSte::from_words(words.array());
            }
            _ => descriptor(&mut words, &features),
        }
    }
});

fn command(words: &mut Words<'_>, features: &Features) {
    let Ok(command) = Command::decode(CommandWords::from_words(words.array()), features) else {
        return;
    };
    assert_eq!(Command::decode(command.encode(), features), Ok(command));
    let limits = InvalidationLimits::NONE
        .with_ril(words.next32() & 1 != 0)
        .with_ats(words.next32() & 1 != 0);
    if let Ok(invalidation) = Invalidation::from_command(&command, &limits) {
        assert!(limits.permit(&invalidation));
    }
}

fn entry(words: &mut Words<'_>, features: &Features) {
    let ste = Ste::from_words(words.array());
    let nested = ste.reduce(features).nested();
    assert_eq!(NestedSte::from_words(nested.words()), Ok(nested));
    let _ = ste.decode(features);
}

fn stream_table(words: &mut Words<'_>, features: &Features) {
    let base = StrtabBase::from_bits(words.word());
    let cfg = StrtabBaseCfg::from_bits(words.next32());
    let table = StreamTable::from_registers(base, cfg, features);
    if let Ok(StreamLookup::Descriptor(lookup)) = table.locate(StreamId::new(words.next32())) {
        let _ = lookup.resolve(L1StreamDescriptor::from_words([words.word()]));
    }
}

fn descriptor(words: &mut Words<'_>, features: &Features) {
    let stage1 = match Ste::from_words(words.array()).decode(features) {
        Ok(SteConfig::Stage1(stage1) | SteConfig::Nested(stage1, _)) => stage1,
        _ => return,
    };
    let substream = SubstreamId::new(words.next32());
    if let Ok(CdLookup::Descriptor(lookup)) = stage1.locate(substream) {
        let _ = lookup.resolve(L1ContextDescriptor::from_words([words.word()]), features);
    }
    let Ok(CdConfig::Vmsa64(context)) = Cd::from_words(words.array()).decode(features, &stage1)
    else {
        return;
    };
    let access = Access {
        rights: Rights::READ,
        privileged: words.next32() & 1 != 0,
    };
    let Ok(mut walk) = context.walk(InputAddress::new(words.word()), access) else {
        return;
    };
    // A walk ends, whatever is in the tables.
    for _ in 0..5 {
        match walk.resume(words.bytes()) {
            Ok(WalkStep::Read(next)) => walk = next,
            Ok(WalkStep::Done(_)) | Err(_) => return,
        }
    }
    panic!("a walk of more levels than there are");
}
