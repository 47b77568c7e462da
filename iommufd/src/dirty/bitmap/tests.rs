//! What bits stand for, at every alignment.

use super::*;
use crate::dirty::lcg::Lcg;

fn range(start: u64, last: u64) -> IovaRange {
    IovaRange::new(Iova::new(start), Iova::new(last)).unwrap()
}

fn granule(bytes: u64) -> Granule {
    Granule::new(bytes).unwrap()
}

fn runs<B: AsRef<[u64]>>(bitmap: &DirtyBitmap<B>) -> Vec<(u64, u64)> {
    let runs = bitmap.runs();
    runs.map(|run| (run.start().get(), run.last().get()))
        .collect()
}

#[test]
fn a_bitmap_begins_clean_and_says_what_it_covers() {
    let all = range(0x1000, 0x8fff);
    let bitmap = DirtyBitmap::new(all, Granule::KIB_4).unwrap();
    assert_eq!(bitmap.range(), all);
    assert_eq!(bitmap.granule(), Granule::KIB_4);
    assert_eq!(bitmap.words(), [0]);
    assert_eq!((bitmap.count(), bitmap.runs().next()), (0, None));
    assert_eq!(bitmap.is_dirty(Iova::new(0x1000)), Some(false));
    assert_eq!(bitmap.is_dirty(Iova::new(0x8fff)), Some(false));
    assert_eq!(bitmap.is_dirty(Iova::new(0xfff)), None);
    assert_eq!(bitmap.is_dirty(Iova::new(0x9000)), None);
}

#[test]
fn bit_i_of_word_w_is_granule_64_w_plus_i() {
    let all = range(0x1000, 0x1000 + 130 * 0x1000 - 1);
    let mut words = [1 << 3, 1 << 63, 0b11, u64::MAX];
    let mut bitmap = DirtyBitmap::over(all, Granule::KIB_4, &mut words).unwrap();
    assert_eq!(bitmap.words().len(), 3, "the fourth is not its own");
    assert_eq!(bitmap.count(), 4);
    assert_eq!(runs(&bitmap), [(0x4000, 0x4fff), (0x8_0000, 0x8_2fff)]);
    assert_eq!(bitmap.is_dirty(Iova::new(0x4fff)), Some(true));
    assert_eq!(bitmap.is_dirty(Iova::new(0x5000)), Some(false));
    assert_eq!(bitmap.is_dirty(Iova::new(0x8_0000)), Some(true));
    bitmap.clear();
    assert_eq!(words, [0, 0, 0, u64::MAX]);
}

#[test]
fn bits_beyond_the_range_are_the_callers() {
    let mut words = [u64::MAX];
    let mut bitmap = DirtyBitmap::over(range(0, 2 * 0x1000), Granule::KIB_4, &mut words).unwrap();
    assert_eq!(bitmap.count(), 3);
    assert_eq!(runs(&bitmap), [(0, 0x2000)], "cut off at the end");
    bitmap.clear();
    assert_eq!(bitmap.count(), 0);
    assert_eq!(words, [u64::MAX << 3]);
}

#[test]
fn too_few_words_are_refused_and_enough_are_not() {
    let all = range(0, (1 << 20) - 1);
    let needed = DirtyBitmap::words_needed(all, Granule::KIB_4).unwrap();
    assert_eq!(needed, 4);
    for given in 0..needed {
        let mut words = vec![0; given];
        let error = DirtyBitmap::over(all, Granule::KIB_4, &mut words).unwrap_err();
        let said = (needed, given);
        assert!(
            matches!(error, Error::BitmapTooSmall { needed, given, .. } if (needed, given) == said)
        );
    }
    assert!(DirtyBitmap::over(all, Granule::KIB_4, &mut [0; 4]).is_ok());
}

#[test]
fn what_no_machine_has_is_refused() {
    let too_large = |granule| {
        let error = DirtyBitmap::new(IovaRange::ALL, granule).unwrap_err();
        assert!(matches!(error, Error::BitmapTooLarge { .. }), "{error}");
        let mut words = [0; 4];
        let error = DirtyBitmap::over(IovaRange::ALL, granule, &mut words).unwrap_err();
        match DirtyBitmap::words_needed(IovaRange::ALL, granule) {
            None => assert!(matches!(error, Error::BitmapTooLarge { .. }), "{error}"),
            Some(_) => assert!(matches!(error, Error::BitmapTooSmall { .. }), "{error}"),
        }
    };
    // So many bits that no number says how many, that no slice has, that no memory has.
    too_large(granule(1));
    too_large(granule(2));
    too_large(Granule::KIB_4);
}

#[test]
fn the_whole_address_space_fits_if_the_granules_are_large() {
    let gigantic = granule(1 << 60);
    let mut bitmap = DirtyBitmap::new(IovaRange::ALL, gigantic).unwrap();
    assert_eq!(bitmap.words().len(), 1);
    let last_page = range(u64::MAX - 0xfff, u64::MAX);
    bitmap.view().take(last_page, Granule::KIB_4, &mut [1]);
    assert_eq!(runs(&bitmap), [(15 << 60, u64::MAX)]);
    assert_eq!(bitmap.is_dirty(Iova::new(u64::MAX)), Some(true));
    bitmap.view().take(IovaRange::ALL, gigantic, &mut [0xffff]);
    assert_eq!(runs(&bitmap), [(0, u64::MAX)]);
}

#[test]
fn a_range_can_end_anywhere_at_the_end_of_the_address_space() {
    let all = range(u64::MAX - 0x17ff, u64::MAX);
    let mut words = [0b11];
    let bitmap = DirtyBitmap::over(all, Granule::KIB_4, &mut words).unwrap();
    assert_eq!(runs(&bitmap), [(u64::MAX - 0x17ff, u64::MAX)]);
    let mut words = [0b10];
    let bitmap = DirtyBitmap::over(all, Granule::KIB_4, &mut words).unwrap();
    assert_eq!(runs(&bitmap), [(u64::MAX - 0x7ff, u64::MAX)]);
}

#[test]
fn words_can_be_taken_out_and_lent_again() {
    let all = range(0, 0xffff);
    let mut bitmap = DirtyBitmap::new(all, Granule::KIB_4).unwrap();
    bitmap
        .view()
        .take(range(0x2000, 0x3fff), Granule::KIB_4, &mut [0b10]);
    let mut words = bitmap.into_words();
    assert_eq!(words, [0b1000]);
    let bitmap = DirtyBitmap::over(all, Granule::KIB_4, &mut words).unwrap();
    assert_eq!(runs(&bitmap), [(0x3000, 0x3fff)]);
}

/// Any run, base, granule and page there can be: a granule is dirty if a page that is touches it.
#[test]
fn a_read_of_any_alignment_is_that_of_a_naive_model() {
    let mut random = Lcg::new(3);
    let (mut matching, mut finer) = (0, 0);
    for round in 0..4000 {
        let granule = granule(512 << random.below(6));
        // A run of whole pages, of 256 bytes or more.
        let run_start = (1 << 24) + random.below(1 << 12) * 256;
        let run_len = (1 + random.below(1 << 10)) * 256;
        let run = IovaRange::with_len(Iova::new(run_start), run_len).unwrap();
        let page = granule.dividing(run);
        match page == granule {
            true => matching += 1,
            false => finer += 1,
        }
        // A bitmap that covers it, from anywhere to anywhere.
        let unit = if round % 3 == 0 { 1 } else { granule.bytes() };
        let start = run_start - random.below(300) * unit;
        let last = run.last().get() + random.below(300) * unit;
        let mut bitmap = DirtyBitmap::new(range(start, last), granule).unwrap();
        let bits = bitmap.shape.bits;

        let before = random.below(bits);
        bits::set(&mut bitmap.words, before, before);
        let pages = run_len / page.bytes();
        let mut found: Vec<u64> = (0..pages.div_ceil(64) + 2)
            .map(|_| random.word() & random.word())
            .collect();
        let given = found.clone();
        bitmap.view().take(run, page, &mut found);
        assert!(found.iter().all(|word| *word == 0), "the spill as well");

        let mut expected = vec![false; bits as usize];
        expected[before as usize] = true;
        for n in (0..pages).filter(|n| bits::is_set(&given, *n)) {
            let first = run_start + n * page.bytes();
            for address in (first..first + page.bytes()).step_by(256) {
                expected[((address - start) / granule.bytes()) as usize] = true;
            }
            let last = first + page.bytes() - 1;
            expected[((last - start) / granule.bytes()) as usize] = true;
        }
        for (bit, dirty) in (0..).zip(&expected) {
            let found = bits::is_set(bitmap.words(), bit);
            assert_eq!(found, *dirty, "bit {bit} of {run} by {page} in {bitmap:?}");
        }
        let sum: u64 = bitmap.runs().map(|run| run.len().unwrap()).sum();
        let bytes = |bit: u64| {
            granule
                .bytes()
                .min(last - start + 1 - bit * granule.bytes())
        };
        let dirty = (0..bits).filter(|bit| expected[*bit as usize]);
        assert_eq!(sum, dirty.map(bytes).sum::<u64>());
    }
    assert!(matching > 100 && finer > 100, "{matching}, {finer}");
}
