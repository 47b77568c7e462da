//! Tests of the ledger.

use std::sync::mpsc;
use std::time::Duration;

use super::*;
use crate::address::Iova;
use crate::buffer::DmaBuffer;

fn memory() -> Arc<dyn DmaMemory> {
    DmaBuffer::new(4096).unwrap().share()
}

fn page(number: u64) -> IovaRange {
    IovaRange::with_len(Iova::new(number * 4096), 4096).unwrap()
}

fn map(ledger: &Ledger, memory: &Arc<dyn DmaMemory>, range: IovaRange) -> EntryKey {
    let key = ledger.begin_map(Held::Memory(Arc::clone(memory)));
    ledger.mapped(&key, range);
    key
}

#[test]
fn memory_is_held_from_before_the_map_until_the_unmap_is_confirmed() {
    let (ledger, memory) = (Ledger::default(), memory());
    let key = ledger.begin_map(Held::Memory(Arc::clone(&memory)));
    assert_eq!(Arc::strong_count(&memory), 2);
    ledger.mapped(&key, page(1));
    assert!(matches!(ledger.begin_unmap(&key), Unmap::Issue(range) if range == page(1)));
    ledger.still_mapped();
    assert_eq!(Arc::strong_count(&memory), 2);
    assert!(matches!(ledger.begin_unmap(&key), Unmap::Issue(_)));
    drop(ledger.unmapped(key));
    assert_eq!(Arc::strong_count(&memory), 1);
    assert_eq!(ledger.totals(), (0, 0));
}

#[test]
fn a_refused_map_holds_nothing() {
    let (ledger, memory) = (Ledger::default(), memory());
    let key = ledger.begin_map(Held::Memory(Arc::clone(&memory)));
    drop(ledger.not_mapped(key));
    assert_eq!(Arc::strong_count(&memory), 1);
    assert!(ledger.drain().is_empty());
}

#[test]
fn places_are_used_again_and_never_twice() {
    let (ledger, memory) = (Ledger::default(), memory());
    let keys: Vec<_> = (0..4).map(|n| map(&ledger, &memory, page(n))).collect();
    for key in keys {
        assert!(matches!(ledger.begin_unmap(&key), Unmap::Issue(_)));
        drop(ledger.unmapped(key));
    }
    let again: Vec<_> = (0..5).map(|n| map(&ledger, &memory, page(n))).collect();
    let mut indexes: Vec<_> = again.iter().map(|key| key.0).collect();
    indexes.sort_unstable();
    assert_eq!(indexes, [0, 1, 2, 3, 4]);
    assert_eq!(ledger.totals(), (5, 5 * 4096));
}

#[test]
fn a_range_unmap_empties_entries_and_their_guards_ask_for_nothing() {
    let (ledger, memory) = (Ledger::default(), memory());
    let inside = map(&ledger, &memory, page(1));
    let outside = map(&ledger, &memory, page(9));
    let exclusive = ledger.exclusive();
    let touching = exclusive.touching(page(1));
    assert_eq!(touching.len(), 1);
    let released = exclusive.emptied(&touching[0].0);
    drop(exclusive);
    drop(released);
    assert_eq!(Arc::strong_count(&memory), 2);
    assert!(matches!(ledger.begin_unmap(&inside), Unmap::Done));
    ledger.forget(inside);
    assert!(matches!(ledger.begin_unmap(&outside), Unmap::Issue(_)));
}

#[test]
fn an_exclusive_operation_waits_and_keeps_others_waiting() {
    let (ledger, memory) = (Ledger::default(), memory());
    let under_way = ledger.begin_map(Held::Memory(Arc::clone(&memory)));
    let (tell, told) = mpsc::channel();
    let soon = Duration::from_millis(50);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            let exclusive = ledger.exclusive();
            tell.send("exclusive").unwrap();
            std::thread::sleep(soon);
            drop(exclusive);
        });
        assert!(told.recv_timeout(soon).is_err());
        // Waiting for the map that is under way, it keeps a new one out already.
        threads.spawn(|| {
            map(&ledger, &memory, page(2));
            tell.send("map").unwrap();
        });
        assert!(told.recv_timeout(soon).is_err());
        ledger.mapped(&under_way, page(1));
        assert_eq!(told.recv().unwrap(), "exclusive");
        assert_eq!(told.recv().unwrap(), "map");
    });
}

#[test]
fn who_waits_already_goes_before_the_next_exclusive_operation() {
    let ledger = Ledger::default();
    let (tell, told) = mpsc::channel();
    let first = ledger.exclusive();
    std::thread::scope(|threads| {
        // The exclusive operation waits longest, so it is woken first.
        threads.spawn(|| {
            let exclusive = ledger.exclusive();
            tell.send("exclusive").unwrap();
            drop(exclusive);
        });
        let soon = Duration::from_millis(50);
        std::thread::sleep(soon);
        threads.spawn(|| {
            let key = ledger.begin_map(Held::Nothing);
            tell.send("map").unwrap();
            ledger.mapped(&key, page(1));
        });
        std::thread::sleep(soon);
        drop(first);
        assert_eq!(told.recv().unwrap(), "map");
        assert_eq!(told.recv().unwrap(), "exclusive");
    });
}

#[test]
fn where_another_was_mapped_after_it_nothing_of_a_mapping_is_left() {
    let (ledger, memory) = (Ledger::default(), memory());
    let whole = IovaRange::with_len(Iova::new(0), 4 * 4096).unwrap();
    let stale = map(&ledger, &memory, whole);
    assert!(matches!(ledger.begin_unmap(&stale), Unmap::Issue(_)));
    ledger.still_mapped();
    let concurrent = ledger.begin_map(Held::Nothing);
    let successor = map(&ledger, &memory, page(1));
    let lost = ledger.begin_map(Held::Nothing);
    ledger.mapped(&concurrent, page(9));
    ledger.unanswered(&lost, Some(page(9)));
    for key in [&stale, &successor] {
        assert!(matches!(ledger.begin_unmap(key), Unmap::FindOut(_)));
        ledger.still_mapped();
    }
    let exclusive = ledger.exclusive();
    let rest = IovaRange::new(Iova::new(2 * 4096), whole.last()).unwrap();
    assert_eq!(exclusive.left_of(&stale), [page(0), rest]);
    assert_eq!(exclusive.left_of(&successor), [page(1)]);
    assert_eq!(exclusive.left_of(&concurrent), [page(9)]);
    assert_eq!(exclusive.left_of(&lost), [page(9)]);
    assert!(exclusive.is_disputed(&lost), "one of the two is there");
    drop(exclusive.emptied(&stale));
    assert_eq!(exclusive.left_of(&stale), [], "it is another's place now");
    drop(exclusive);
    assert!(matches!(ledger.begin_unmap(&successor), Unmap::Issue(_)));
    drop(ledger.unmapped(successor));
}

#[test]
fn a_map_without_an_answer_is_kept_until_all_is_unmapped() {
    let (ledger, memory) = (Ledger::default(), memory());
    let lose = |range| {
        let key = ledger.begin_map(Held::Memory(Arc::clone(&memory)));
        ledger.unanswered(&key, range);
    };
    lose(None);
    lose(Some(page(1)));
    assert_eq!(Arc::strong_count(&memory), 3);
    assert_eq!(ledger.totals(), (0, 0));
    let exclusive = ledger.exclusive();
    assert!(exclusive.touching(IovaRange::ALL).is_empty());
    for (range, left) in [(page(2), 3), (page(1), 2), (IovaRange::ALL, 1)] {
        drop(exclusive.nothing_left_in(range));
        assert_eq!(Arc::strong_count(&memory), left);
    }
    drop(exclusive);
    lose(None);
    assert_eq!(ledger.drain().len(), 1);
}

#[test]
fn who_finds_out_what_is_there_does_not_find_another_in_the_entrys_place() {
    let (ledger, memory) = (Ledger::default(), memory());
    let lost = ledger.begin_map(Held::Memory(Arc::clone(&memory)));
    ledger.unanswered(&lost, Some(page(1)));
    // A range unmap comes first, and a map after it.
    drop(ledger.exclusive().nothing_left_in(IovaRange::ALL));
    assert_eq!(Arc::strong_count(&memory), 1);
    let other = map(&ledger, &memory, page(1));
    let exclusive = ledger.exclusive();
    assert!(!exclusive.is_disputed(&lost));
    assert_eq!(exclusive.left_of(&lost), []);
    drop(exclusive.emptied(&lost));
    drop(exclusive);
    ledger.forget(lost);
    assert_eq!(ledger.totals(), (1, 4096));
    assert_eq!(Arc::strong_count(&memory), 2);
    assert!(matches!(ledger.begin_unmap(&other), Unmap::Issue(_)));
    drop(ledger.unmapped(other));
    assert_eq!(Arc::strong_count(&memory), 1);
}
