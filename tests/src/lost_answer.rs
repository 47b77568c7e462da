//! Answers that the kernel cannot write: it has done what an ioctl asks for, and says `EFAULT`.

// UNSAFETY: takes the right to write away from a stack, and gives it back in the handler of the signal that follows.
#![expect(unsafe_code, reason = "protects memory and handles a signal")]

use std::hint::{black_box, spin_loop};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// So much of a stack, below the frame that has armed it, is where arguments of ioctls are.
const DEPTH: usize = 256 << 10;
const PAGE: usize = 4096;

/// Where the part of the stack begins that cannot be written; 0 if there is none.
static PROTECTED: AtomicUsize = AtomicUsize::new(0);

/// Tries until an answer was lost, which `attempt` says of what it does in [`Moment::during`].
pub fn until_lost(mut attempt: impl FnMut(&mut Moment) -> bool) {
    let mut moment = Moment {
        took: None,
        round: 0,
    };
    let lost = (0..1000).any(|round| {
        moment.round = round;
        attempt(&mut moment)
    });
    assert!(lost, "each time the answer came through");
}

/// When to take away the right to write: somewhere in the time that it took the last time.
#[derive(Debug)]
pub struct Moment {
    took: Option<Duration>,
    round: u32,
}

impl Moment {
    /// Runs `work` on a thread whose stack cannot be written from some moment on, until the thread itself tries to. If it
    /// is in an ioctl then, which must take long, the kernel's answer is lost.
    pub fn during<T: Send>(&mut self, work: impl FnOnce() -> T + Send) -> T {
        let delay = self.took.map(|took| took * (1 + self.round % 15) / 16);
        let (result, took) = protected_after(delay, work);
        self.took = Some(took);
        result
    }
}

/// One at a time in a process.
fn protected_after<T: Send>(
    delay: Option<Duration>,
    work: impl FnOnce() -> T + Send,
) -> (T, Duration) {
    handle_signal();
    let stack = AtomicUsize::new(0);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let begun = Instant::now();
            let result = deep_down(&stack, work);
            over.store(true, Ordering::SeqCst);
            (result, begun.elapsed())
        });
        let top = loop {
            match stack.load(Ordering::SeqCst) {
                0 => spin_loop(),
                top => break top,
            }
        };
        let begun = Instant::now();
        let is_over = || over.load(Ordering::SeqCst);
        while !is_over() && delay.is_none_or(|delay| begun.elapsed() < delay) {
            spin_loop();
        }
        if !is_over() {
            PROTECTED.store(top - DEPTH, Ordering::SeqCst);
            protect(top - DEPTH, libc::PROT_READ);
        }
        let result = worker.join().unwrap();
        // If the thread has not written there any more.
        protect_again();
        result
    })
}

/// Calls `work` with nothing but its own frames, and those that it calls, in the part of the stack below `top`.
#[inline(never)]
fn deep_down<T>(top: &AtomicUsize, work: impl FnOnce() -> T) -> T {
    let between = [0_u8; 4 * PAGE];
    let lowest = black_box(&between).as_ptr().expose_provenance();
    // Within it: the frames that follow can begin right below it.
    top.store(lowest.next_multiple_of(PAGE), Ordering::SeqCst);
    let result = work();
    black_box(&between);
    result
}

fn protect(start: usize, protection: libc::c_int) {
    let start = ptr::with_exposed_provenance_mut(start);
    // SAFETY: a part of the stack of a thread that is alive. If the thread writes there, or anybody else, the handler lets
    // it go on; whatever else reads it may.
    let done = unsafe { libc::mprotect(start, DEPTH, protection) };
    assert_eq!(done, 0);
}

/// Gives the right to write back, if it was taken. Nothing here is forbidden in the handler of a signal.
fn protect_again() -> bool {
    let start = PROTECTED.swap(0, Ordering::SeqCst);
    if start != 0 {
        protect(start, libc::PROT_READ | libc::PROT_WRITE);
    }
    start != 0
}

extern "C" fn on_fault(signal: libc::c_int) {
    if !protect_again() {
        // Not of this making: the instruction faults once more, and ends the process.
        // SAFETY: the default is no handler of anybody's.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

fn handle_signal() {
    // SAFETY: zeroes are a valid value.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = on_fault as extern "C" fn(libc::c_int) as usize;
    // Threads of the standard library have a second stack for handlers.
    action.sa_flags = libc::SA_ONSTACK;
    // SAFETY: the handler calls nothing that a handler must not, and lives for ever.
    let done = unsafe { libc::sigaction(libc::SIGSEGV, &raw const action, ptr::null_mut()) };
    assert_eq!(done, 0);
}
