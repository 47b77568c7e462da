//! Looking at what is mapped while the kernel does.

use super::Ledger;
use crate::address::IovaRange;

/// The right to rely on what is mapped: while it lives nothing is mapped or unmapped, in the kernel
/// either. There can be several at once.
///
/// The kernel keeps maps and unmaps waiting while it looks at page tables, so for the length of one
/// ioctl this costs nothing. Exact operations that wait go first when it ends.
pub(crate) struct Reading<'l> {
    ledger: &'l Ledger,
}

impl Ledger {
    /// Waits until no map or unmap is under way, and keeps new ones out.
    pub(crate) fn reading(&self) -> Reading<'_> {
        let mut state = self.state.lock();
        while state.exclusive || state.waiting > 0 {
            self.changed.wait(&mut state);
        }
        state.readings += 1;
        while state.under_way > 0 {
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
    use crate::ledger::{Held, Unmap};

    fn page(number: u64) -> IovaRange {
        IovaRange::with_len(Iova::new(number * 4096), 4096).unwrap()
    }

    #[test]
    fn readings_go_on_side_by_side_and_keep_maps_and_range_unmaps_waiting() {
        let ledger = Ledger::default();
        let soon = Duration::from_millis(50);
        let (tell, told) = mpsc::channel();
        let (one, two) = (ledger.reading(), ledger.reading());
        std::thread::scope(|threads| {
            threads.spawn(|| {
                let key = ledger.begin_map(Held::Nothing);
                ledger.mapped(&key, page(1));
                tell.send("map").unwrap();
            });
            assert!(told.recv_timeout(soon).is_err());
            drop(one);
            assert!(told.recv_timeout(soon).is_err());
            drop(two);
            assert_eq!(told.recv().unwrap(), "map");
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
    fn a_reading_waits_for_what_is_under_way_and_lets_who_waits_go_first() {
        let ledger = Ledger::default();
        let soon = Duration::from_millis(50);
        let under_way = ledger.begin_map(Held::Nothing);
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
            ledger.mapped(&under_way, page(1));
            assert_eq!(told.recv().unwrap(), 1);
            threads.spawn(|| {
                let key = ledger.begin_map(Held::Nothing);
                ledger.mapped(&key, page(2));
            });
            std::thread::sleep(soon);
            spawn_reading();
            assert_eq!(told.recv().unwrap(), 2, "the map waited longer");
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
