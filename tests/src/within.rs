//! Time limits: a deadlock is a failure, not a test run without an end.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// Runs `work` on a thread of its own and gives it `seconds`.
pub fn within<T: Send + 'static>(seconds: u64, work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, wait) = mpsc::channel();
    let worker = thread::spawn(move || {
        // Nobody waits any more if the time is over.
        done.send(work()).ok();
    });
    match wait.recv_timeout(Duration::from_secs(seconds)) {
        Ok(result) => result,
        Err(RecvTimeoutError::Timeout) => panic!("not done after {seconds} s: a deadlock"),
        Err(RecvTimeoutError::Disconnected) => match worker.join() {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(()) => unreachable!("the worker ended without a result and without a panic"),
        },
    }
}

/// Runs `work` in a tokio runtime, on a thread of its own, and gives it a minute.
pub fn in_runtime<F: Future<Output = ()>>(work: impl FnOnce() -> F + Send + 'static) {
    within(60, || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(work());
    });
}
