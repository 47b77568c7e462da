//! Dirty bits: reading them, and walking over them.

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

/// Walking over what was read, which takes no kernel: of 64 GiB.
pub(crate) fn walks() {
    const LEN: u64 = 64 << 30;
    let range = IovaRange::with_len(Iova::new(0), LEN).unwrap();
    for (share, step) in SHARES {
        let mut words = every(step, LEN / 4096);
        let plain = words.clone();
        let bitmap = DirtyBitmap::over(range, Granule::KIB_4, &mut words).unwrap();
        loops(
            &format!("walk over 64 GiB, {share}"),
            Bound::Told,
            Plan::new(9, 1),
            || {
                std::hint::black_box(bit_by_bit(&plain));
            },
            || {
                std::hint::black_box(bitmap.runs().count());
            },
        );
    }
}

/// What a program does that has nothing else: word by word, and bit by bit where a word has any.
fn bit_by_bit(words: &[u64]) -> u64 {
    let mut found = 0;
    for (n, word) in words.iter().enumerate() {
        let mut left = *word;
        while left != 0 {
            found += n as u64 * 64 + u64::from(left.trailing_zeros());
            left &= left - 1;
        }
    }
    found
}
