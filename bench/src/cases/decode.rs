//! Decoding what a guest has written into its queues, which takes no kernel.

use std::hint::black_box;

use smmuv3_types::{
    Asid, Command, CommandWords, Features, Granule, IdRegisters, Idr0, Idr3, InputAddress,
    Invalidation, InvalidationLimits, Level, SyncSignal, TlbiRange, Vmid,
};
use vtd_types::{
    AddressMask, Descriptor, DescriptorFeatures, DescriptorWords, DomainId,
    InputAddress as InputAddress2, PageSelection, Pasid,
};

use crate::measure::{alone, repeat};

/// About as many as a guest writes before it waits.
const ENTRIES: u64 = 1024;

/// A figure is for one command, and for one descriptor.
pub(crate) fn all() {
    smmuv3();
    vtd();
}

fn smmuv3() {
    let features = Features::new(IdRegisters {
        idr0: Idr0::default().with_s1p(true).with_asid16(true),
        idr3: Idr3::default().with_ril(true),
        ..IdRegisters::default()
    })
    .unwrap();
    let limits = InvalidationLimits::NONE.with_ril(true).with_asid16(true);
    let commands: Vec<CommandWords> = (0..ENTRIES)
        .map(|n| match n % 7 {
            6 => Command::Sync(SyncSignal::None),
            _ => Command::TlbiNhVa {
                vmid: Vmid::new(0),
                asid: Asid::new(1),
                address: InputAddress::new(n << 12),
                leaf: true,
                range: TlbiRange::new(Granule::Kib4, Some(Level::Level3), (n % 31) as u8, 0),
            },
        })
        .map(|command| command.encode())
        .collect();
    let mut all = commands.iter().cycle();
    let mut next = || *black_box(all.next().unwrap());
    alone("decode a command", "sdk", 15, || {
        repeat(20 * ENTRIES as u32, || {
            black_box(&Command::decode(next(), &features));
        })
    });
    alone("decode a command into an invalidation", "sdk", 15, || {
        repeat(20 * ENTRIES as u32, || {
            let command = Command::decode(next(), &features).ok();
            black_box(&command.map(|command| Invalidation::from_command(&command, &limits).ok()));
        })
    });
}

fn vtd() {
    let features = DescriptorFeatures::SCALABLE.with_max_address_mask(18);
    let descriptors: Vec<DescriptorWords> = (0..ENTRIES)
        .map(|n| {
            let mask = AddressMask::new((n % 8) as u8).unwrap();
            let address = InputAddress2::new(n << 12);
            Descriptor::PasidIotlb {
                domain: DomainId::new(1),
                pasid: Pasid::ZERO,
                pages: Some(PageSelection::new(address, mask, true)),
            }
            .encode()
        })
        .collect();
    let mut all = descriptors.iter().cycle();
    let mut next = || *black_box(all.next().unwrap());
    alone("decode a descriptor", "sdk", 15, || {
        repeat(20 * ENTRIES as u32, || {
            black_box(&Descriptor::decode(next(), &features));
        })
    });
    alone(
        "decode a descriptor into an invalidation",
        "sdk",
        15,
        || {
            repeat(20 * ENTRIES as u32, || {
                let descriptor = Descriptor::decode(next(), &features).ok();
                black_box(
                    &descriptor.map(|descriptor| {
                        vtd_types::Invalidation::from_descriptor(&descriptor).ok()
                    }),
                );
            })
        },
    );
}
