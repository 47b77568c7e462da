//! What keeps a device's mapped registers from being accessed while an access would be answered
//! with a signal.
//!
//! An access passes through the gate of its device. Whoever is about to do what revokes the
//! mappings of registers closes it first: accesses that are under way end, later ones are refused,
//! and when it is over the gate opens again.

use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::{Condvar, Mutex};

use crate::error::{Error, Result};

/// What has revoked the access to mapped registers, or is doing so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Revocation {
    /// The device is being reset. It ends with the reset.
    Reset,
    /// The device is in the low-power state that the kernel was asked for. It ends when that is
    /// left.
    LowPower,
    /// The function is in power state D3, as its power management capability was told. It ends
    /// when D0 is written there, or by a reset.
    PowerState,
    /// The function's memory decoding is off, bit 1 of the command register. It ends when that is
    /// set.
    MemoryDecode,
}

impl Revocation {
    /// All of them; what names the cause where there are several comes first.
    const ALL: [Self; 4] = [
        Self::Reset,
        Self::LowPower,
        Self::PowerState,
        Self::MemoryDecode,
    ];
}

impl fmt::Display for Revocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reset => "the device is being reset",
            Self::LowPower => "the device is in a low-power state",
            Self::PowerState => "the function is in power state D3",
            Self::MemoryDecode => "the function's memory decoding is off",
        })
    }
}

/// Of a gate's word: it is closed. The rest counts the passes.
const CLOSED: usize = 1;
/// Of a gate's word: one pass.
const PASS: usize = 2;

/// Where the accesses of a device's mapped registers pass.
///
/// # Invariants
/// The bit `CLOSED` of `word` is set exactly as long as `causes` has one; it is changed under its
/// lock.
pub(crate) struct Gate {
    id: u64,
    word: AtomicUsize,
    causes: Mutex<Causes>,
    /// The last pass went while the gate was closed.
    empty: Condvar,
    /// How often what was behind the gate has been revoked.
    revoked: AtomicU64,
}

/// Why a gate is closed.
#[derive(Debug, Default)]
struct Causes {
    /// Of each, how many are under way.
    under_way: [usize; Revocation::ALL.len()],
    /// Of each, whether it goes on until it is ended.
    standing: [bool; Revocation::ALL.len()],
}

impl Causes {
    fn first(&self) -> Option<Revocation> {
        Revocation::ALL
            .into_iter()
            .find(|&cause| self.under_way[cause as usize] > 0 || self.standing[cause as usize])
    }
}

thread_local! {
    /// The gates of which this thread holds passes, once for each pass.
    static HELD: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

impl Gate {
    /// Lets one access pass. Nothing of the user's may run before the pass is dropped.
    ///
    /// Only in the process of the device: a child of a fork would count for nobody.
    ///
    /// # Errors
    /// [`Error::Revoked`].
    #[inline]
    pub(crate) fn enter(&self) -> Result<Pass<'_>> {
        // So that those who try again and again do not keep it from being empty.
        if self.word.load(Ordering::Relaxed) & CLOSED != 0 {
            return Err(self.revoked_by());
        }
        // The count comes before the access, as `fetch_sub` comes after it: either who closes the
        // gate sees the pass, or the pass sees that the gate is closed.
        let before = self.word.fetch_add(PASS, Ordering::Acquire);
        let pass = Pass { gate: self };
        if before & CLOSED != 0 {
            return Err(self.revoked_by());
        }
        Ok(pass)
    }

    /// Lets accesses of this thread pass until what is returned is dropped.
    ///
    /// # Errors
    /// [`Error::Revoked`].
    pub(crate) fn hold(&self) -> Result<HeldPass<'_>> {
        let pass = self.enter()?;
        // A thread at its end is not told of its own passes any more.
        HELD.try_with(|held| held.borrow_mut().push(self.id)).ok();
        Ok(HeldPass {
            pass,
            _of_this_thread: PhantomData,
        })
    }

    /// Closes the gate: on return no access is under way, and none passes before the end of what
    /// is returned.
    ///
    /// Several can have it closed at once; it opens when the last of them is at its end.
    ///
    /// # Errors
    /// [`Error::AccessHeld`], if it would wait for a pass that this very thread holds.
    pub(crate) fn close(&self, cause: Revocation) -> Result<Closed<'_>> {
        let held = HELD.try_with(|held| held.borrow().contains(&self.id));
        if held.unwrap_or(false) {
            return Err(Error::AccessHeld);
        }
        let mut causes = self.causes.lock();
        causes.under_way[cause as usize] += 1;
        self.word.fetch_or(CLOSED, Ordering::AcqRel);
        let closed = Closed {
            gate: self,
            cause,
            revoked: true,
        };
        while self.word.load(Ordering::Acquire) >= PASS {
            self.empty.wait(&mut causes);
        }
        Ok(closed)
    }

    /// Has a cause stand, or no longer.
    pub(crate) fn stands(&self, cause: Revocation, stands: bool) {
        let mut causes = self.causes.lock();
        causes.standing[cause as usize] = stands;
        self.follow(&causes);
    }

    /// Ends a cause that stands, as leaving a low-power state does.
    pub(crate) fn open(&self, cause: Revocation) {
        self.stands(cause, false);
    }

    /// A number that is another when what was behind the gate has been revoked since.
    ///
    /// # Errors
    /// [`Error::Revoked`], while it is.
    pub(crate) fn generation(&self) -> Result<u64> {
        match self.causes.lock().first() {
            Some(cause) => Err(Error::Revoked { cause }),
            None => Ok(self.revoked.load(Ordering::Relaxed)),
        }
    }

    /// Opens the gate, or closes it, as the causes ask for.
    fn follow(&self, causes: &Causes) {
        match causes.first() {
            Some(_) => self.word.fetch_or(CLOSED, Ordering::AcqRel),
            None => self.word.fetch_and(!CLOSED, Ordering::AcqRel),
        };
    }

    /// What a pass is refused with.
    #[cold]
    fn revoked_by(&self) -> Error {
        // If the last cause has ended meanwhile, the refused access came before that.
        let cause = self.causes.lock().first().unwrap_or(Revocation::Reset);
        Error::Revoked { cause }
    }

    /// Wakes who waits for the last pass to go.
    #[cold]
    fn wake(&self) {
        // Who waits has seen the count under this lock, or sees it as it is now.
        drop(self.causes.lock());
        self.empty.notify_all();
    }
}

impl Default for Gate {
    fn default() -> Self {
        /// The next number. Never used again, so that a pass that was forgotten is of no other.
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            word: AtomicUsize::new(0),
            causes: Mutex::default(),
            empty: Condvar::new(),
            revoked: AtomicU64::new(0),
        }
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = self.word.load(Ordering::Relaxed);
        f.debug_struct("Gate")
            .field("closed", &(word & CLOSED != 0))
            .field("passes", &(word / PASS))
            .finish_non_exhaustive()
    }
}

/// An access that is under way.
#[derive(Debug)]
#[must_use = "the access is over when it is dropped"]
pub(crate) struct Pass<'g> {
    gate: &'g Gate,
}

impl Drop for Pass<'_> {
    #[inline]
    fn drop(&mut self) {
        let before = self.gate.word.fetch_sub(PASS, Ordering::Release);
        if before == PASS | CLOSED {
            self.gate.wake();
        }
    }
}

/// Accesses of one thread that are under way.
#[derive(Debug)]
#[must_use = "the accesses are over when it is dropped"]
pub(crate) struct HeldPass<'g> {
    pass: Pass<'g>,
    // It is counted where it was made.
    _of_this_thread: PhantomData<*const ()>,
}

impl Drop for HeldPass<'_> {
    fn drop(&mut self) {
        let id = self.pass.gate.id;
        // Of a thread at its end nobody asks any more.
        let forget = |held: &RefCell<Vec<u64>>| {
            let mut held = held.borrow_mut();
            if let Some(place) = held.iter().rposition(|&other| other == id) {
                held.swap_remove(place);
            }
        };
        HELD.try_with(forget).ok();
    }
}

/// A gate that is closed, while what revokes the mappings is under way. Dropped, the gate opens.
#[derive(Debug)]
#[must_use = "the gate opens when it is dropped"]
pub(crate) struct Closed<'g> {
    gate: &'g Gate,
    cause: Revocation,
    revoked: bool,
}

impl Closed<'_> {
    /// It has been done, and goes on until [`Gate::open`].
    pub(crate) fn stay_closed(self) {
        self.gate.stands(self.cause, true);
    }

    /// It has not been done: the kernel refused, and revoked nothing.
    pub(crate) fn cancel(mut self) {
        self.revoked = false;
    }
}

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        let gate = self.gate;
        let mut causes = gate.causes.lock();
        let count = &mut causes.under_way[self.cause as usize];
        *count = count.saturating_sub(1);
        if self.revoked {
            // Before the gate opens: who sees it open sees the number.
            gate.revoked.fetch_add(1, Ordering::Relaxed);
        }
        gate.follow(&causes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;
    use std::thread;
    use std::time::Duration;

    fn cause_of<T>(refused: Result<T>) -> Revocation {
        match refused {
            Err(Error::Revoked { cause }) => cause,
            Err(error) => panic!("{error}"),
            Ok(_) => panic!("it passed"),
        }
    }

    #[test]
    fn a_gate_that_is_closed_lets_nothing_pass_and_then_it_does() {
        let gate = Gate::default();
        drop(gate.enter().unwrap());
        let closed = gate.close(Revocation::Reset).unwrap();
        assert_eq!(cause_of(gate.enter()), Revocation::Reset);
        assert_eq!(cause_of(gate.hold()), Revocation::Reset);
        drop(closed);
        drop(gate.enter().unwrap());
        assert_eq!(gate.word.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_stands_keeps_it_closed_whatever_else_comes_and_goes() {
        let gate = Gate::default();
        let closed = gate.close(Revocation::MemoryDecode).unwrap();
        gate.stands(Revocation::MemoryDecode, true);
        drop(closed);
        drop(gate.close(Revocation::Reset).unwrap());
        assert_eq!(cause_of(gate.enter()), Revocation::MemoryDecode);
        let reset = gate.close(Revocation::Reset).unwrap();
        assert_eq!(cause_of(gate.enter()), Revocation::Reset);
        gate.stands(Revocation::MemoryDecode, false);
        assert_eq!(cause_of(gate.enter()), Revocation::Reset);
        drop(reset);
        drop(gate.enter().unwrap());
    }

    #[test]
    fn two_that_close_it_are_waited_for_both() {
        let gate = Gate::default();
        let one = gate.close(Revocation::Reset).unwrap();
        let other = gate.close(Revocation::Reset).unwrap();
        drop(one);
        assert_eq!(cause_of(gate.enter()), Revocation::Reset);
        drop(other);
        drop(gate.enter().unwrap());
    }

    #[test]
    fn a_generation_ends_with_a_revocation_and_not_with_a_refused_one() {
        let gate = Gate::default();
        let first = gate.generation().unwrap();
        let closed = gate.close(Revocation::Reset).unwrap();
        assert_eq!(cause_of(gate.generation()), Revocation::Reset);
        closed.cancel();
        assert_eq!(gate.generation().unwrap(), first);
        drop(gate.close(Revocation::Reset).unwrap());
        assert_ne!(gate.generation().unwrap(), first);
    }

    #[test]
    fn who_closes_waits_for_what_is_under_way() {
        let gate = Arc::new(Gate::default());
        let held = gate.hold().unwrap();
        let closed = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                drop(gate.close(Revocation::Reset).unwrap());
                closed.store(true, Ordering::Release);
            });
            while gate.enter().is_ok() {
                thread::yield_now();
            }
            thread::sleep(Duration::from_millis(20));
            assert!(!closed.load(Ordering::Acquire));
            drop(held);
        });
        assert!(closed.load(Ordering::Acquire));
    }

    #[test]
    fn a_thread_does_not_wait_for_itself() {
        let (gate, other) = (Gate::default(), Gate::default());
        let (one, two) = (gate.hold().unwrap(), gate.hold().unwrap());
        drop(one);
        assert!(matches!(
            gate.close(Revocation::Reset),
            Err(Error::AccessHeld)
        ));
        drop(other.close(Revocation::Reset).unwrap());
        drop(two);
        drop(gate.close(Revocation::Reset).unwrap());
    }

    #[test]
    fn nobody_is_behind_a_gate_that_is_closed() {
        let gate = Gate::default();
        // What the accesses touch: gone while it is closed.
        let there = AtomicBool::new(true);
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        if let Ok(_pass) = gate.enter() {
                            assert!(there.load(Ordering::Relaxed));
                        }
                    }
                });
            }
            for _ in 0..2000 {
                let closed = gate.close(Revocation::Reset).unwrap();
                there.store(false, Ordering::Relaxed);
                thread::yield_now();
                there.store(true, Ordering::Relaxed);
                drop(closed);
            }
            stop.store(true, Ordering::Relaxed);
        });
        assert_eq!(gate.word.load(Ordering::Relaxed), 0);
    }

    /// `cargo test --release -p vfio --lib -- --ignored --nocapture cost`
    #[test]
    #[ignore = "measures"]
    fn the_cost_of_a_pass() {
        const ROUNDS: u32 = 10_000_000;
        let gate = Gate::default();
        for threads in [1, 2] {
            let begin = std::time::Instant::now();
            thread::scope(|scope| {
                for _ in 0..threads {
                    scope.spawn(|| {
                        for _ in 0..ROUNDS {
                            drop(std::hint::black_box(gate.enter()));
                        }
                    });
                }
            });
            let each = begin.elapsed() / ROUNDS;
            eprintln!("{threads} threads: {each:?} a pass");
        }
    }
}
