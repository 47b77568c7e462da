//! Looking at what is mapped while the kernel does.

use super::Ledger;
use crate::address::IovaRange;

/// The right to rely on what is mapped: while it lives nothing is unmapped, in the kernel either.
/// There can be several at once.
///
/// What is mapped meanwhile takes nothing from what there is. So maps go on, which can take long: a
/// reading that waited for them would keep everybody else waiting with it. The kernel keeps unmaps
/// waiting while it looks at page tables, so for the length of one ioctl this costs little. Exact
/// unmaps that wait go first when it ends.
pub(crate) struct Reading<'l> {
    ledger: &'l Ledger,
}

impl Ledger {
    /// Waits until no unmap is under way, and keeps new ones out.
    pub(crate) fn reading(&self) -> Reading<'_> {
        let mut state = self.state.lock();
        while state.exclusive || state.waiting > 0 {
            self.changed.wait(&mut state);
        }
        state.readings += 1;
        while state.unmaps > 0 {
            self.changed.wait(&mut state);
        }
        Reading { ledger: self }
    }
}

impl Reading<'_> {
    /// Another number after anything has been mapped or unmapped.
    pub(crate) fn version(&self) -> u64 {
        self.ledger.state.lock().version
    }

    /// Adds the mappings that touch `range` to `into`, in no order.
    pub(crate) fn add_touching(&self, range: IovaRange, into: &mut Vec<IovaRange>) {
        let state = self.ledger.state.lock();
        into.extend(state.mapped_within(range).map(|(_, mapped)| mapped));
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        let mut state = self.ledger.state.lock();
        state.readings -= 1;
        let wake = state.readings == 0;
        drop(state);
        if wake {
            self.ledger.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;
    use crate::address::Iova;
    use crate::ledger::{EntryKey, Held, Unmap};
    use crate::map::Access;

    fn page(number: u64) -> IovaRange {
        IovaRange::with_len(Iova::new(number * 4096), 4096).unwrap()
    }

    fn mapped(ledger: &Ledger, number: u64) -> EntryKey {
        let key = ledger.begin_map(Held::Nothing);
        ledger.mapped(&key, page(number));
        key
    }

    #[test]
    fn readings_go_on_side_by_side_and_keep_unmaps_waiting() {
        let ledger = Ledger::default();
        let soon = Duration::from_millis(50);
        let (tell, told) = mpsc::channel();
        let key = mapped(&ledger, 1);
        let (one, two) = (ledger.reading(), ledger.reading());
        std::thread::scope(|threads| {
            threads.spawn(|| {
                assert!(matches!(ledger.begin_unmap(&key), Unmap::Issue(_)));
                ledger.still_mapped();
                tell.send("unmap").unwrap();
            });
            assert!(told.recv_timeout(soon).is_err());
            drop(one);
            assert!(told.recv_timeout(soon).is_err());
            drop(two);
            assert_eq!(told.recv().unwrap(), "unmap");
            let reading = ledger.reading();
            threads.spawn(|| {
                drop(ledger.exclusive());
                tell.send("exclusive").unwrap();
            });
            assert!(told.recv_timeout(soon).is_err());
            drop(reading);
            assert_eq!(told.recv().unwrap(), "exclusive");
        });
    }

    #[test]
    fn a_reading_waits_for_no_map_and_no_map_waits_for_it() {
        let ledger = Ledger::default();
        let (tell, told) = mpsc::channel();
        // On a thread of its own, as it would wait for ever if it waited.
        std::thread::spawn(move || {
            let slow = ledger.begin_map(Held::Nothing);
            let reading = ledger.reading();
            mapped(&ledger, 2);
            let (copy, visit) = ledger
                .begin_copy(&ledger, &mapped(&ledger, 3), Access::ReadWrite)
                .unwrap()
                .unwrap();
            drop(visit);
            drop(ledger.not_mapped(copy));
            let mut seen = Vec::new();
            reading.add_touching(IovaRange::ALL, &mut seen);
            drop(reading);
            ledger.mapped(&slow, page(1));
            tell.send(seen).unwrap();
        });
        let seen = told.recv_timeout(Duration::from_secs(10));
        assert_eq!(seen.expect("it waited"), [page(2), page(3)]);
    }

    #[test]
    fn a_reading_waits_for_an_unmap_and_lets_who_waits_go_first() {
        let ledger = Ledger::default();
        let soon = Duration::from_millis(50);
        let (one, two) = (mapped(&ledger, 1), mapped(&ledger, 2));
        assert!(matches!(ledger.begin_unmap(&one), Unmap::Issue(_)));
        let (tell, told) = mpsc::channel();
        std::thread::scope(|threads| {
            let spawn_reading = || {
                threads.spawn(|| {
                    let reading = ledger.reading();
                    let mut mapped = Vec::new();
                    reading.add_touching(IovaRange::ALL, &mut mapped);
                    tell.send(mapped.len()).unwrap();
                    // Long enough for the others to come and wait.
                    std::thread::sleep(3 * soon);
                });
            };
            spawn_reading();
            assert!(told.recv_timeout(soon).is_err());
            drop(ledger.unmapped(one));
            assert_eq!(told.recv().unwrap(), 1);
            threads.spawn(|| {
                assert!(matches!(ledger.begin_unmap(&two), Unmap::Issue(_)));
                drop(ledger.unmapped(two));
            });
            std::thread::sleep(soon);
            spawn_reading();
            assert_eq!(told.recv().unwrap(), 0, "the unmap waited longer");
        });
    }

    #[test]
    fn the_version_tells_of_every_change() {
        let ledger = Ledger::default();
        let version = || ledger.reading().version();
        let empty = version();
        let key = ledger.begin_map(Held::Nothing);
        ledger.mapped(&key, page(1));
        let mapped = version();
        assert_ne!(mapped, empty);
        assert_eq!(version(), mapped);
        assert!(matches!(ledger.begin_unmap(&key), Unmap::Issue(_)));
        ledger.still_mapped();
        assert_eq!(version(), mapped);
        assert!(matches!(ledger.begin_unmap(&key), Unmap::Issue(_)));
        drop(ledger.unmapped(key));
        let unmapped = version();
        assert_ne!(unmapped, mapped);
        let key = ledger.begin_map(Held::Nothing);
        ledger.mapped(&key, page(1));
        let range = ledger.exclusive();
        drop(range.emptied(&key));
        drop(range);
        assert_ne!(version(), unmapped);
    }

    #[test]
    fn readings_maps_and_range_unmaps_do_not_wait_for_one_another_for_ever() {
        let ledger = Ledger::default();
        let done = AtomicUsize::new(0);
        std::thread::scope(|threads| {
            for worker in 0..6_u64 {
                let (ledger, done) = (&ledger, &done);
                threads.spawn(move || {
                    for _ in 0..500 {
                        match worker % 3 {
                            0 => drop(ledger.reading()),
                            1 => drop(ledger.exclusive()),
                            _ => {
                                let key = ledger.begin_map(Held::Nothing);
                                ledger.mapped(&key, page(worker));
                                assert!(matches!(ledger.begin_unmap(&key), Unmap::Issue(_)));
                                drop(ledger.unmapped(key));
                            }
                        }
                    }
                    done.fetch_add(1, Ordering::Relaxed);
                });
            }
        });
        assert_eq!(done.into_inner(), 6);
    }
}
