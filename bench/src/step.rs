//! The instructions that a program itself executes, each seen: the program is another process of this one's, and goes step
//! by step. On Arm a step can end between the two halves of an atomic access, which then fails for ever: so only on `x86_64`.

// UNSAFETY: traces a process.
#![expect(unsafe_code, reason = "ptrace takes addresses and numbers")]

use std::fs;
use std::process::{Child, Command};

use iommufd::Iommufd;

use tests::page_requests::Setup;

use crate::cases::faults;
use crate::cases::invalidations::Nested;
use crate::cases::maps::{Space, a_page};
use crate::raw::RawMaps;

/// What is looked at; of each the loop's and the SDK's way.
const CASES: [&str; 8] = [
    "nothing",
    "map+unmap 4 KiB:raw",
    "map+unmap 4 KiB:sdk",
    "map+unmap 4 KiB in a file:sdk",
    "invalidate 1, nested table:raw",
    "invalidate 1, nested table:sdk",
    "fault round trip:raw",
    "fault round trip:sdk",
];

/// Tells of each what it executes.
pub(crate) fn all() {
    for case in CASES {
        let mut child = Command::new("/proc/self/exe")
            .args(["stepped", case])
            .spawn()
            .unwrap();
        let trace = follow(&mut child);
        print(case, &trace);
    }
}

#[expect(clippy::print_stdout, reason = "what it is for")]
fn print(case: &str, trace: &[u64]) {
    let places: Vec<String> = trace.iter().map(|place| format!("\"{place:x}\"")).collect();
    println!(
        "@steps {{\"case\":\"{case}\",\"places\":[{}]}}",
        places.join(",")
    );
}

/// The process that is looked at: does the work between two stops.
pub(crate) fn stepped(case: &str) {
    let iommufd = Iommufd::open().unwrap();
    match case {
        "nothing" => between_stops(|| ()),
        "map+unmap 4 KiB in a file:sdk" => {
            let space = Space::of_mock(&iommufd);
            let memory = iommufd::DmaBuffer::memfd(4096).unwrap().share();
            between_stops(|| space.round(&memory));
        }
        "fault round trip:raw" => {
            let setup = Setup::new();
            let mut raw = faults::Raw::new(&setup);
            between_stops(|| raw.round());
        }
        "fault round trip:sdk" => {
            let setup = Setup::new();
            let mut groups = Vec::with_capacity(1);
            between_stops(|| faults::round(&setup, &mut groups));
        }
        _ => {
            let space = Space::of_mock(&iommufd);
            let memory = a_page();
            let maps = RawMaps::new(space.raw, &memory);
            let nested = Nested::new(&iommufd);
            let taker = nested.taker(&iommufd);
            let one = &taker.commands[..1];
            match case {
                "map+unmap 4 KiB:raw" => between_stops(|| maps.round()),
                "map+unmap 4 KiB:sdk" => between_stops(|| space.round(&memory)),
                "invalidate 1, nested table:raw" => {
                    between_stops(|| taker.raw.invalidate(taker.kind, one));
                }
                _ => between_stops(|| nested.table.invalidate(one).unwrap()),
            }
        }
    }
}

fn between_stops(mut work: impl FnMut()) {
    let null = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: without an address. From here on the parent sees this process stop.
    let answer = unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, null, null) };
    assert_eq!(answer, 0);
    for _ in 0..10 {
        work();
    }
    stop();
    work();
    stop();
}

fn stop() {
    // SAFETY: no address.
    let answer = unsafe { libc::raise(libc::SIGSTOP) };
    assert_eq!(answer, 0);
}

/// Where the process was at each of its steps between its two stops. It ends.
fn follow(child: &mut Child) -> Vec<u64> {
    let process = child.id() as libc::pid_t;
    assert_eq!(wait(process), libc::SIGSTOP, "its first stop");
    let base = base(process);
    let mut trace = Vec::with_capacity(4096);
    loop {
        request(libc::PTRACE_SINGLESTEP, process);
        match wait(process) {
            libc::SIGTRAP => trace.push(place(process).wrapping_sub(base)),
            libc::SIGSTOP => break,
            other => panic!("signal {other}"),
        }
    }
    request(libc::PTRACE_CONT, process);
    assert!(child.wait().unwrap().success());
    trace
}

fn request(request: libc::c_uint, process: libc::pid_t) {
    let null = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: without an address; no signal is passed on.
    let answer = unsafe { libc::ptrace(request as _, process, null, null) };
    assert_eq!(answer, 0);
}

/// The signal with which it has stopped.
fn wait(process: libc::pid_t) -> libc::c_int {
    let mut status = 0;
    // SAFETY: the status is borrowed for the call.
    let stopped = unsafe { libc::waitpid(process, &mut status, 0) };
    assert_eq!(stopped, process);
    assert!(libc::WIFSTOPPED(status), "it has ended");
    libc::WSTOPSIG(status)
}

/// Where it is.
fn place(process: libc::pid_t) -> u64 {
    let offset = std::mem::offset_of!(libc::user_regs_struct, rip);
    let at = std::ptr::without_provenance_mut::<libc::c_void>(offset);
    let null = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: an offset, for an address; the answer is the word there.
    let word = unsafe { libc::ptrace(libc::PTRACE_PEEKUSER, process, at, null) };
    word as u64
}

/// Where its program begins, if that can be anywhere.
fn base(process: libc::pid_t) -> u64 {
    /// The program is where it was linked for.
    const FIXED: u8 = 2;
    if fs::read("/proc/self/exe").unwrap()[16] == FIXED {
        return 0;
    }
    let maps = fs::read_to_string(format!("/proc/{process}/maps")).unwrap();
    let program = fs::read_link("/proc/self/exe").unwrap();
    let of_it = |line: &&str| line.ends_with(program.to_str().unwrap());
    let first = maps.lines().find(of_it).unwrap();
    u64::from_str_radix(first.split('-').next().unwrap(), 16).unwrap()
}
