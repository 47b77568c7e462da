//! A child that is killed in the middle of its work.

// UNSAFETY: forks.
#![expect(unsafe_code, reason = "forks")]

use std::io::{PipeReader, PipeWriter, Read as _, Write as _};

/// Runs `work` in a child made by a fork, and kills the child, without a warning, once `work` has called what it is
/// given.
///
/// Of the threads only the caller's exists in the child, so `work` must need no other, and no lock that one may hold.
pub fn killed_in(work: impl FnOnce(&dyn Fn())) {
    let (parent, child) = std::io::pipe().unwrap();
    // SAFETY: the other threads of a test's process wait for this one; the C library makes its allocator usable in the
    // child, which ends without running down what belongs to the parent.
    match unsafe { libc::fork() } {
        -1 => panic!("fork: {}", std::io::Error::last_os_error()),
        0 => be_killed(work, &child),
        pid => {
            drop(child);
            wait_and_kill(pid, parent);
        }
    }
}

fn be_killed(work: impl FnOnce(&dyn Fn()), parent: &PipeWriter) -> ! {
    // SAFETY: its signal ends the child if nobody does.
    unsafe { libc::alarm(60) };
    let ready = || {
        let mut parent = parent;
        parent.write_all(b"!").unwrap();
        loop {
            // SAFETY: waits for a signal, which is the parent's.
            unsafe { libc::pause() };
        }
    };
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(&ready))).ok();
    // SAFETY: ends the process here and now.
    unsafe { libc::_exit(1) }
}

fn wait_and_kill(pid: i32, mut child: PipeReader) {
    let mut ready = [0];
    let answer = child.read_exact(&mut ready);
    // SAFETY: kills the child that was made above, which nobody has waited for yet.
    unsafe { libc::kill(pid, libc::SIGKILL) };
    let mut status = 0;
    // SAFETY: waits for that child; `status` is borrowed exclusively.
    let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    assert_eq!(waited, pid);
    answer.expect("the child came to where it is to be killed");
    assert!(libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGKILL);
}
