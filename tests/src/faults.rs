//! Injected faults: the kernel fails on purpose, at the n-th point of a thread at which it could.
//!
//! Points are in iommufd itself (looking up an object: `ENOENT`, reserving addresses: `EINVAL`, pinning: `EFAULT`,
//! accounting: `ENOMEM`), and wherever the kernel allocates a small piece of memory (`ENOMEM`).

mod program;

use std::fs::{self, File};
use std::sync::LazyLock;

use iommufd::{Iommufd, Leaks};

use crate::memory::Living;
use crate::mock::{MockDevice, MockOptions};
use crate::raw;

pub use program::{Count, Stage, leaves_nothing};

/// Where to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Points {
    /// In iommufd itself.
    Iommufd,
    /// There, and in allocations.
    Everywhere,
}

/// Lets `scenario` fail at its first point, then at its second, and so on until it gets through. Says how many points
/// there were.
///
/// The scenario prepares what it needs, does what may fail in one call of [`Nth::armed`], and then looks at what is left.
pub fn sweep(points: Points, mut scenario: impl FnMut(&mut Nth)) -> usize {
    configure(points);
    for n in 1..1000 {
        let mut nth = Nth::new(n);
        scenario(&mut nth);
        assert!(nth.armed, "the scenario was never armed");
        if !nth.failed {
            return n - 1;
        }
    }
    panic!("a thousand points, and no end");
}

/// Lets `work` fail at every point, and sees to it that after each round the context is as empty as before.
///
/// To say that it was failed, where the SDK made up for it, `work` returns an error.
pub fn nothing_is_left(
    work: impl Fn(&mut Nth, &Iommufd, &MockDevice, &Living) -> iommufd::Result<()>,
) {
    nothing_is_left_of(MockOptions::default(), work);
}

/// As [`nothing_is_left`], with a device of another kind.
pub fn nothing_is_left_of(
    options: MockOptions,
    work: impl Fn(&mut Nth, &Iommufd, &MockDevice, &Living) -> iommufd::Result<()>,
) {
    for points in [Points::Iommufd, Points::Everywhere] {
        let mut errors = 0;
        let iommufd = Iommufd::open().unwrap();
        let device = MockDevice::with(&iommufd, options).unwrap();
        let before = raw::objects(&iommufd);
        let living = Living::new();
        let count = sweep(points, |nth| {
            let result = work(nth, &iommufd, &device, &living);
            let at = nth.point();
            assert!(result.is_ok() || nth.failed(), "{at}: {result:?}");
            errors += usize::from(result.is_err());
            assert_eq!(living.count(), 0, "{at}: {result:?}");
            assert_eq!(iommufd.leaks(), Leaks::default(), "{at}: {result:?}");
            assert_eq!(device.group().attached(), 0, "{at}: {result:?}");
            let now = raw::objects(&iommufd);
            assert_eq!(now, before, "{at}: {result:?}: an object is left");
        });
        assert!(count > 0 && errors > 0, "{points:?}: nothing ever failed");
    }
}

/// The one point at which a round of a [`sweep`] fails.
#[derive(Debug)]
pub struct Nth {
    file: File,
    n: usize,
    armed: bool,
    failed: bool,
}

impl Nth {
    fn new(n: usize) -> Self {
        let file = File::options()
            .read(true)
            .write(true)
            .open("/proc/thread-self/fail-nth")
            .expect("a kernel with fault injection");
        Self {
            file,
            n,
            armed: false,
            failed: false,
        }
    }

    /// Runs `work`, in which the kernel will fail once.
    ///
    /// It must not print, and not need more memory than a few pages, or what fails is the test itself.
    pub fn armed<T>(&mut self, work: impl FnOnce() -> T) -> T {
        assert!(!self.armed, "once a round");
        self.armed = true;
        warm_up();
        self.set(self.n);
        let result = work();
        let left = self.left();
        self.set(0);
        self.failed = left == 0;
        result
    }

    /// Whether the kernel failed, in [`armed`](Self::armed).
    #[must_use]
    pub fn failed(&self) -> bool {
        self.failed
    }

    /// The number of the point.
    #[must_use]
    pub fn point(&self) -> usize {
        self.n
    }

    fn set(&self, n: usize) {
        let mut digits = [0; 20];
        let text = decimal(n, &mut digits);
        // The point is counted from here on, so nothing may be allocated.
        rustix::io::pwrite(&self.file, text, 0).unwrap();
    }

    fn left(&self) -> usize {
        let mut text = [0; 20];
        let len = rustix::io::pread(&self.file, &mut text, 0).unwrap();
        let text = str::from_utf8(&text[..len]).unwrap();
        text.trim().parse().unwrap()
    }
}

fn decimal(mut n: usize, digits: &mut [u8; 20]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        // One decimal digit.
        digits[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            return &digits[at..];
        }
    }
}

/// Lets the allocator take pages now that it would else have to ask the kernel for while that fails.
fn warm_up() {
    LazyLock::force(&BALLAST);
    let blocks: Vec<Vec<u8>> = (0..64).map(|_| vec![1; 1500]).collect();
    assert_eq!(blocks.len(), std::hint::black_box(&blocks).len());
}

/// Blocks of many sizes, every fourth of those that were taken, so that no page of them is empty. The allocator of musl
/// gives a page back as soon as it is, and would ask for the next one at any time.
static BALLAST: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let sizes = (4..15).flat_map(|power| (4..8).map(move |quarters| quarters << (power - 2)));
    let blocks: Vec<Vec<u8>> = sizes
        .flat_map(|size: usize| (0..64).map(move |_| vec![1; size]))
        .collect();
    let every_fourth = |(place, block)| (place % 4 == 0).then_some(block);
    blocks
        .into_iter()
        .enumerate()
        .filter_map(every_fourth)
        .collect()
});

/// Lets the kernel fail at the next point in this thread, for many times in a row.
#[derive(Debug)]
pub struct Once {
    nth: Nth,
}

impl Once {
    /// For this thread.
    #[must_use]
    pub fn new() -> Self {
        configure(Points::Iommufd);
        Self { nth: Nth::new(1) }
    }

    /// Runs `work`, in which the kernel fails at the first point.
    pub fn armed<T>(&mut self, work: impl FnOnce() -> T) -> T {
        self.nth.armed = false;
        self.nth.armed(work)
    }
}

impl Default for Once {
    fn default() -> Self {
        Self::new()
    }
}

fn set(file: &str, value: &str) {
    let path = format!("/sys/kernel/debug/{file}");
    fs::write(&path, value).unwrap_or_else(|error| panic!("{path}: {error}"));
}

fn configure(points: Points) {
    // Without this the console would be busy with stack traces.
    set("fail_iommufd/verbose", "0");
    set("failslab/verbose", "0");
    let ignore = match points {
        Points::Iommufd => "Y",
        Points::Everywhere => "N",
    };
    set("failslab/ignore-gfp-wait", ignore);
}
