//! Mapping once more what is mapped.

use std::ops::Range;
use std::sync::Arc;

use iommufd::{Access, DmaBuffer, DmaMemory, DmaSlice, Error, Ioas, Iova, SharedBuffer};
use iommufd_sys::iommufd as sys;
use rustix::io::Errno;
use tests::at::{PAGE, page};
use tests::memory::Living;
use tests::mock::{self, MockAccess, check_pins};
use tests::raw::map::{FIXED, copy};
use tests::{ids, raw, refused};

use super::Fixture;
use crate::domains::Domains;
use crate::part::part;

const LEN: u64 = PAGE as u64;

pub(super) fn copy_area(fixture: Fixture) {
    let Fixture {
        domains,
        ioas,
        iommufd,
        ..
    } = &fixture;
    let other = Ioas::new(iommufd).unwrap();
    let of_other = Domains::new(&other, domains.len());
    let living = Living::new();
    let memory = living.memory(2 * PAGE);
    let source = ioas.map_at(page(0), &memory, Access::ReadWrite).unwrap();
    let has = |times| {
        let times = if domains.is_empty() { 0 } else { times };
        assert_eq!(check_pins(iommufd, memory.bytes(), times), Ok(()));
    };
    has(1);
    // Within the address space, and into another; where it is asked for, and where the kernel likes. The pages are the
    // same, and pinned once for all.
    let within = ioas.copy_at(page(16), &source, Access::ReadWrite).unwrap();
    let between = other.copy_at(page(0), &source, Access::Read).unwrap();
    let auto = [ioas, &other].map(|ioas| ioas.copy(&source, Access::Read).unwrap());
    for at in [page(0), page(16), auto[0].iova()] {
        domains.assert_map(at, &*memory);
    }
    for at in [page(0), auto[1].iova()] {
        of_other.assert_map(at, &*memory);
    }
    has(1);
    // A part, and a copy of a copy.
    let second = source.slice(LEN..).unwrap();
    let second = other.copy_at(page(8), second, Access::Read).unwrap();
    of_other.assert_map_bytes(page(8), part(&*memory, PAGE..2 * PAGE));
    let again = ioas.copy_at(page(32), &second, Access::Read).unwrap();
    domains.assert_map_bytes(page(32), part(&*memory, PAGE..2 * PAGE));
    has(1);

    // What is there stays there, and a copy may do no more than its source.
    for taken in [page(0), page(1), page(15), page(16)] {
        refused(ioas.copy_at(taken, &source, Access::Read), Errno::EXIST);
    }
    let read_only = ioas
        .map_at(page(64), living.memory(PAGE), Access::Read)
        .unwrap();
    for more in [Access::Write, Access::ReadWrite] {
        refused(other.copy_at(page(64), &read_only, more), Errno::PERM);
    }
    drop(other.copy_at(page(64), &read_only, Access::Read).unwrap());

    // The source goes, and each of the copies but the last, and the pages stay.
    source.unmap().unwrap();
    domains.assert_lack(page(0), &*memory);
    domains.assert_map(page(16), &*memory);
    has(1);
    drop(auto);
    within.unmap().unwrap();
    of_other.assert_map(page(0), &*memory);
    has(1);
    between.unmap().unwrap();
    second.unmap().unwrap();
    if !domains.is_empty() {
        let left = part(&*memory, PAGE..2 * PAGE);
        assert_eq!(check_pins(iommufd, left, 1), Ok(()));
        assert_eq!(check_pins(iommufd, part(&*memory, 0..PAGE), 0), Ok(()));
    }
    again.unmap().unwrap();
    has(0);
    what_is_no_copy(&fixture);
}

/// What the SDK has no words for.
fn what_is_no_copy(fixture: &Fixture) {
    const UNKNOWN: u32 = 1 << 30;
    let (fd, id) = (&fixture.iommufd, fixture.id());
    let memory = Living::new().memory(PAGE);
    let _source = fixture
        .ioas
        .map_at(page(0), &memory, Access::ReadWrite)
        .unwrap();
    let from = (id, page(0).get());
    let to = (id, page(8).get());
    let call = |flags, from, len, to| copy(fd, flags, from, len, to).unwrap_err();
    assert_eq!(call(FIXED | UNKNOWN, from, LEN, to), Errno::OPNOTSUPP);
    assert_eq!(
        call(sys::IOMMU_IOAS_MAP_FIXED_IOVA, from, LEN, to),
        Errno::INVAL
    );
    assert_eq!(call(FIXED, from, 0, to), Errno::INVAL);
    for (from, to) in [((0, from.1), to), (from, (0, to.1)), ((id, to.1), to)] {
        assert_eq!(call(FIXED, from, LEN, to), Errno::NOENT, "{from:?} {to:?}");
    }
    for len in [2 * LEN, LEN + 1] {
        assert_eq!(call(FIXED, from, len, to), Errno::NOENT);
    }
    for (from, len, to) in [
        ((id, u64::MAX), LEN, to),
        (from, u64::MAX, to),
        (from, LEN, (id, u64::MAX)),
        ((id, u64::MAX - 1), LEN, to),
    ] {
        assert_eq!(call(FIXED, from, len, to), Errno::OVERFLOW);
    }
}

pub(super) fn copy_sweep(fixture: Fixture) {
    let Fixture {
        domains,
        ioas,
        iommufd,
        ..
    } = &fixture;
    let id = fixture.id();
    // As finely as the devices bear.
    let step = match ioas.iova_ranges().unwrap().alignment() {
        1 => 700,
        alignment => alignment as usize,
    };
    let (low, high) = (numbered(0), numbered(1));
    let len = 5 * step;
    let slice = |memory| DmaSlice::new(memory, step..step + len).unwrap();
    // Two mappings side by side, neither of whole pages.
    let start = page(0).checked_add(step as u64).unwrap();
    let seam = start.checked_add(len as u64).unwrap();
    let source = ioas.map_at(start, slice(&low), Access::ReadWrite).unwrap();
    let _beside = ioas.map_at(seam, slice(&high), Access::ReadWrite).unwrap();
    let expected = |range: Range<usize>| {
        let mut bytes = vec![0; 2 * len];
        low.read_bytes(step, &mut bytes[..len]).unwrap();
        high.read_bytes(step, &mut bytes[len..]).unwrap();
        bytes[range].to_vec()
    };
    let to = page(64);
    let access = MockAccess::new(ioas).unwrap();
    let check = |range: Range<usize>| {
        let mut seen = vec![0; range.len()];
        access.read(to, &mut seen).unwrap();
        assert!(seen == expected(range.clone()), "{range:?}");
        let first = range.start..range.end.min(len);
        if !first.is_empty() {
            let bytes = part(&*low, step + first.start..step + first.end);
            domains.assert_map_bytes(to, bytes);
        }
    };
    // All parts of the first, and what is no part of it.
    for from in 0..=6 {
        for until in from..=6 {
            let range = (from * step) as u64..(until * step) as u64;
            let bytes = range.start as usize..range.end as usize;
            match source.slice(range) {
                Ok(part) if from < until => {
                    let copy = ioas.copy_at(to, part, Access::ReadWrite).unwrap();
                    check(bytes);
                    copy.unmap().unwrap();
                }
                Ok(nothing) => {
                    let error = ioas.copy_at(to, nothing, Access::Read).unwrap_err();
                    assert!(matches!(error, Error::Empty { .. }), "{error}");
                }
                Err(error) => {
                    assert!(matches!(error, Error::OutOfBounds { .. }), "{error}");
                    assert_eq!(until, 6);
                }
            }
        }
    }
    // The kernel knows no bounds but those of what is mapped: from before the first to behind the second.
    let before = start.get() - step as u64;
    for from in 0..12 {
        for until in from + 1..=12 {
            let source = (id, before + (from * step) as u64);
            let bytes = ((until - from) * step) as u64;
            let copied = copy(iommufd, FIXED, source, bytes, (id, to.get()));
            if from == 0 || until == 12 {
                assert_eq!(copied, Err(Errno::NOENT), "{from} {until}");
                continue;
            }
            assert_eq!(copied, Ok(to.get()), "{from} {until}");
            check((from - 1) * step..(until - 1) * step);
            assert_eq!(raw::unmap(iommufd, id, to.get(), bytes), Ok(bytes));
        }
    }
    // A half of a step is not for devices.
    if !domains.is_empty() {
        let half = mock::PAGE / 2;
        for odd in [0..half, half..2 * half, half..3 * half] {
            let odd = source.slice(odd).unwrap();
            refused(ioas.copy_at(to, odd, Access::Read), Errno::INVAL);
        }
        let whole = source.slice(..2 * half).unwrap();
        let odd = Iova::new(to.get() + half);
        refused(ioas.copy_at(odd, whole, Access::Read), Errno::INVAL);
    }
    let from = (ids::of(ioas), start.get());
    assert_eq!(
        copy(iommufd, FIXED, from, len as u64, (id, to.get())),
        Ok(to.get())
    );
    assert_eq!(
        raw::unmap(iommufd, id, to.get(), len as u64),
        Ok(len as u64)
    );
}

/// Shared memory in which each place differs from those around it, and from that of another seed.
fn numbered(seed: u8) -> Arc<SharedBuffer> {
    let mut buffer = DmaBuffer::new(4 * PAGE).unwrap();
    for (n, byte) in buffer.iter_mut().enumerate() {
        *byte = (n % 251) as u8 ^ (n / 251) as u8 ^ seed.wrapping_mul(0x80);
    }
    buffer.share()
}
