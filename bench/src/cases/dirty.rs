//! Dirty bits: reading them, and walking over them.

use std::hint::black_box;

use iommufd::{Access, DirtyBitmap, Granule, Ioas, Iommufd, Iova, IovaRange, Mapping};
use tests::at::page;
use tests::memory::Living;
use tests::mock::{self, MockDevice};
use tests::{dirty, ids};

use crate::measure::{Bound, Plan, loops, once, pair};
use crate::raw::{Bitmap, Raw};

/// How much of the memory is dirty.
const SHARES: [(&str, u64); 3] = [("clean", 0), ("1 % dirty", 100), ("50 % dirty", 2)];

/// Bits of which every `step`-th is set; none, if that is 0.
fn every(step: u64, bits: u64) -> Vec<u64> {
    let mut words = vec![0; usize::try_from(bits.div_ceil(64)).unwrap()];
    if step > 0 {
        for bit in (0..bits).step_by(usize::try_from(step).unwrap()) {
            words[(bit / 64) as usize] |= 1 << (bit % 64);
        }
    }
    words
}

/// Reads of memory that is mapped by pages of 4 KiB. The mock's tables reach 2 GiB far.
pub(crate) fn reads(lengths: &[u64]) {
    let iommufd = Iommufd::open().unwrap();
    let device = MockDevice::new(&iommufd).unwrap();
    for &len in lengths {
        let ioas = Ioas::builder(&iommufd)
            .huge_pages(false)
            .allocate()
            .unwrap();
        let hwpt = dirty::trackable(&ioas, &device).unwrap();
        // The same memory in as many places: there is less of it than can be mapped.
        let part = len.min(64 << 20);
        let memory = Living::new().filled(usize::try_from(part).unwrap(), 1);
        let start = page(0).get();
        let map = |n: u64| {
            let at = Iova::new(start + n * part);
            ioas.map_at(at, &memory, Access::ReadWrite).unwrap()
        };
        let _mappings: Vec<Mapping> = (0..len / part).map(map).collect();
        let range = IovaRange::with_len(Iova::new(start), len).unwrap();
        let tracking = hwpt.track_dirty().unwrap();
        let raw = Raw::of(&iommufd, &hwpt);
        let mut bits = Bitmap::new(len / 4096);
        let mut bitmap = DirtyBitmap::new(range, Granule::KIB_4).unwrap();
        let name = format!("{} MiB", len >> 20);
        for (share, step) in SHARES {
            let written = every(step, len / 4096);
            let write = || {
                let table = ids::of(&hwpt);
                mock::set_dirty(&iommufd, table, (start, len), 4096, &written).unwrap();
            };
            write();
            pair(
                &format!("dirty read, {name}, {share}"),
                Bound::Gate,
                9,
                || {
                    once(
                        || {
                            bits.clear();
                            raw.dirty(start, len, true, bits.words());
                        },
                        drop,
                    )
                },
                || {
                    once(
                        || {
                            bitmap.clear();
                            tracking.read(&mut bitmap).unwrap();
                        },
                        drop,
                    )
                },
            );
            assert_eq!(bitmap.words(), written);
            // Of what is read and cleared, there has to be some.
            pair(
                &format!("dirty read and clear, {name}, {share}"),
                Bound::Gate,
                9,
                || {
                    write();
                    once(
                        || {
                            bits.clear();
                            raw.dirty(start, len, false, bits.words());
                        },
                        drop,
                    )
                },
                || {
                    write();
                    once(
                        || {
                            bitmap.clear();
                            tracking.read_and_clear(&mut bitmap).unwrap();
                        },
                        drop,
                    )
                },
            );
            assert_eq!(bitmap.words(), written);
        }
    }
}

/// Walking over what was read, which takes no kernel. Both ways give ranges of addresses.
pub(crate) fn walks(len: u64) {
    const START: u64 = 1 << 40;
    let range = IovaRange::with_len(Iova::new(START), len).unwrap();
    let bits = len / 4096;
    // As where memory is mapped by pages of 2 MiB: 8 words of which all bits are set.
    let mut large = every(0, bits);
    for block in large.chunks_mut(8).step_by(2) {
        block.fill(u64::MAX);
    }
    let small = SHARES.map(|(share, step)| (share, every(step, bits)));
    let large = [("50 % dirty, by 2 MiB", large)];
    for (share, mut words) in small.into_iter().chain(large) {
        let plain = words.clone();
        let bitmap = DirtyBitmap::over(range, Granule::KIB_4, &mut words).unwrap();
        let (mut found, mut there) = (0, 0);
        loops(
            &format!("walk over {} GiB, {share}", len >> 30),
            Bound::Gate,
            Plan::new(9, 1),
            || {
                found = 0;
                plain_runs(black_box(&plain), START, |first, last| {
                    found ^= first ^ last
                });
            },
            || {
                there = 0;
                for run in black_box(&bitmap).runs() {
                    there ^= run.start().get() ^ run.last().get();
                }
            },
        );
        assert_eq!(found, there);
    }
}

/// What a program does that has nothing else: word by word, from where a run begins to where it ends.
fn plain_runs(words: &[u64], start: u64, mut each: impl FnMut(u64, u64)) {
    let mut begun = None;
    let mut address = start;
    for word in words {
        // Mostly there is nothing.
        let mut at = if *word == 0 && begun.is_none() { 64 } else { 0 };
        while at < 64 {
            match begun {
                None => {
                    at += (word >> at).trailing_zeros();
                    if at >= 64 {
                        break;
                    }
                    begun = Some(address + 4096 * u64::from(at));
                }
                Some(first) => {
                    at += (word >> at).trailing_ones();
                    if at >= 64 {
                        break;
                    }
                    each(first, address + 4096 * u64::from(at) - 1);
                    begun = None;
                }
            }
        }
        address += 64 * 4096;
    }
    if let Some(first) = begun {
        each(first, address - 1);
    }
}
