//! Loaded into another program (`LD_PRELOAD`), writes down what its system calls reach in the kernel, into the file that
//! `FUZZ_REACHED` names.
//!
//! The kernel records a thread at a time, and forgets of it when it forks. So the calls by which a program comes to
//! iommufd are the program's no more: each sees to it that its thread is recorded.

// UNSAFETY: takes the place of functions of the C library.
#![expect(unsafe_code, reason = "functions of the C library")]

#[path = "../../src/kcov/known.rs"]
mod known;
#[path = "../../src/kcov/record.rs"]
mod record;

use std::cell::RefCell;
use std::ffi::{c_int, c_long, c_ulong, c_void};
use std::fs::File;
use std::io::Write;

use known::Known;
use record::Record;

struct Traced {
    thread: c_long,
    record: Record,
    known: Known,
    reached: Option<File>,
}

thread_local! {
    static TRACED: RefCell<Option<Traced>> = const { RefCell::new(None) };
}

fn thread() -> c_long {
    // SAFETY: it takes nothing.
    unsafe { libc::syscall(libc::SYS_gettid) }
}

fn open(thread: c_long) -> Option<Traced> {
    let reached = std::env::var_os("FUZZ_REACHED")?;
    Some(Traced {
        thread,
        record: Record::open()?,
        known: Known::new(1 << 14),
        reached: File::options().append(true).create(true).open(reached).ok(),
    })
}

/// Makes a call, of which it is written down what it reaches. Those that this makes itself are not.
fn traced(call: impl FnOnce() -> c_long) -> c_long {
    TRACED.with(|traced| {
        let Ok(mut traced) = traced.try_borrow_mut() else {
            return call();
        };
        let thread = thread();
        if traced.as_ref().is_none_or(|traced| traced.thread != thread) {
            *traced = open(thread);
        }
        let Some(traced) = traced.as_mut() else {
            return call();
        };
        traced.record.clear();
        let answer = call();
        // SAFETY: the thread's own error number, which the caller reads.
        let errno = unsafe { *libc::__errno_location() };
        for address in traced.record.addresses() {
            if traced.known.is_new(address)
                && let Some(file) = &mut traced.reached
            {
                let _written = writeln!(file, "{address:x}");
            }
        }
        // SAFETY: as above.
        unsafe { *libc::__errno_location() = errno };
        answer
    })
}

/// `ioctl`.
///
/// # Safety
/// As of the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ioctl(fd: c_int, request: c_ulong, arg: *mut c_void) -> c_int {
    // SAFETY: the caller's promise.
    traced(|| unsafe { libc::syscall(libc::SYS_ioctl, fd, request, arg) }) as c_int
}

/// `close`.
///
/// # Safety
/// As of the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn close(fd: c_int) -> c_int {
    // SAFETY: the caller's promise.
    traced(|| unsafe { libc::syscall(libc::SYS_close, fd) }) as c_int
}

/// `read`.
///
/// # Safety
/// As of the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn read(fd: c_int, to: *mut c_void, len: usize) -> isize {
    // SAFETY: the caller's promise.
    traced(|| unsafe { libc::syscall(libc::SYS_read, fd, to, len) }) as isize
}

/// `write`.
///
/// # Safety
/// As of the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn write(fd: c_int, from: *const c_void, len: usize) -> isize {
    // SAFETY: the caller's promise.
    traced(|| unsafe { libc::syscall(libc::SYS_write, fd, from, len) }) as isize
}

/// `poll`.
///
/// # Safety
/// As of the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn poll(
    files: *mut libc::pollfd,
    count: libc::nfds_t,
    timeout: c_int,
) -> c_int {
    // SAFETY: the caller's promise.
    traced(|| unsafe { libc::syscall(libc::SYS_poll, files, count, timeout) }) as c_int
}

/// `munmap`.
///
/// # Safety
/// As of the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn munmap(at: *mut c_void, len: usize) -> c_int {
    // SAFETY: the caller's promise.
    traced(|| unsafe { libc::syscall(libc::SYS_munmap, at, len) }) as c_int
}

/// `mmap`.
///
/// # Safety
/// As of the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mmap(
    at: *mut c_void,
    len: usize,
    protection: c_int,
    flags: c_int,
    fd: c_int,
    offset: libc::off_t,
) -> *mut c_void {
    // SAFETY: the caller's promise.
    let at =
        traced(|| unsafe { libc::syscall(libc::SYS_mmap, at, len, protection, flags, fd, offset) });
    at as *mut c_void
}
