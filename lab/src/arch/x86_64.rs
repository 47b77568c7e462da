//! `x86_64`: a PC with a VT-d IOMMU, and one without.

use super::Arch;
use crate::coverage;
use crate::host;
use crate::kernel::{Recipe, keep_nothing_else};
use crate::machine::{Machine, Port, Ports, words};
use crate::programs::Target;
use crate::qemu::{Emulator, Qemu};

pub(crate) static X86_64: Arch = arch(KERNEL);

/// The same with a kernel that says what of iommufd a program has reached.
pub(crate) static COVERAGE: Arch = arch(Recipe {
    fragment: concat!(
        include_str!("../../kernel/x86_64.config"),
        include_str!("../../kernel/coverage.config"),
    ),
    settings: &[coverage::IOMMUFD_ALONE],
    keep: coverage::keep_points,
    ..KERNEL
});

const KERNEL: Recipe = Recipe {
    make: "x86",
    cross: "",
    fragment: include_str!("../../kernel/x86_64.config"),
    settings: &[],
    keep: keep_nothing_else,
    // Uncompressed, it starts without a boot loader, by way of its PVH entry.
    image: "vmlinux",
    built: "vmlinux",
    strip: true,
    steps: 1680,
    brought: "a vmlinux or a bzImage",
    is_image: |start| start.starts_with(b"\x7fELF") || start.get(0x202..0x206) == Some(b"HdrS"),
    needs: &[host::KERNEL_BUILD],
};

const fn arch(kernel: Recipe) -> Arch {
    Arch {
        name: "x86_64",
        debian: "amd64",
        elf: 62,
        fault: r"DMAR: \[DMA",
        kernel,
        target: Target {
            // Named even where it is the host's own, so that the flags reach the programs only, and no build script or
            // procedural macro.
            triple: "x86_64-unknown-linux-gnu",
            flags: &[
                // The guest has no dynamic linker and no C library.
                "-Ctarget-feature=+crt-static",
                // All that runs is loaded into the guest's memory at each boot; this halves it, and backtraces keep their
                // line numbers.
                "-Clink-arg=-Wl,--compress-debug-sections=zlib",
            ],
            emulator: None,
        },
        emulator: Emulator {
            program: "qemu-system-x86_64",
            need: host::QEMU_X86,
            iommu: "intel-iommu",
            // In QEMU 11 `x-scalable-mode` has another name.
            properties: &[
                &["intremap"],
                &["scalable-mode", "x-scalable-mode"],
                &["caching-mode"],
                &["device-iotlb"],
            ],
        },
        needs: &[],
        ports: Ports {
            // In the order of the guest's serial ports.
            console: Port {
                name: "ttyS0",
                device: &["-serial", "chardev:console"],
            },
            program: Port {
                name: "ttyS1",
                device: &["-serial", "chardev:program"],
            },
            reports: Port {
                name: "ttyS2",
                device: &["-serial", "chardev:reports"],
            },
            log: Port {
                name: "ttyS3",
                device: &["-serial", "chardev:log"],
            },
        },
        machines: &MACHINES,
    }
}

static MACHINES: [&Machine; 2] = [&PC, &PC_WITHOUT_IOMMU];

/// A PC.
pub(crate) static PC: Machine = machine("x86_64", pc);

/// A PC for the mock driver, on a Linux whose mock driver does not work beside a VT-d: see [`crate::places`].
pub(crate) static PC_WITHOUT_IOMMU: Machine = machine("x86_64 without IOMMU", |_| bare_pc());

const fn machine(name: &'static str, board: fn(&Qemu) -> Vec<String>) -> Machine {
    Machine {
        name,
        arch: &X86_64,
        board,
        // Without x2APIC the processors reach their interrupt controllers by memory, under QEMU's lock. With it the end of an
        // interrupt was lost far more often, where they had threads of their own (see below).
        //
        // And the kernel is not to look whether timers tick: it waits for ten ticks by counting cycles, which on a busy host
        // is over, once in a hundred boots, before QEMU has come to tick; then it panics.
        //
        // Nor is it to compare the processors' cycle counters. While it waits for the other processor, with interrupts off and
        // by a clock that may need them, the other one may be changing the clock and wait for it: both do so for ever.
        //
        // Time comes from where no counter has to be measured against another at boot: on a busy host that had gone wrong by as
        // much as a factor of five.
        parameters: "nox2apic no_timer_check tsc=reliable clocksource=hpet",
        overrides_iort: false,
    }
}

fn pc(qemu: &Qemu) -> Vec<String> {
    let mut board = bare_pc();
    board.extend(["-device".to_owned(), qemu.iommu.clone()]);
    board
}

fn bare_pc() -> Vec<String> {
    words(&[
        // Software emulation everywhere, so that a test fails here as it fails there. Not the microvm machine: it hangs at
        // times. An IOMMU that remaps interrupts needs the split interrupt controller.
        //
        // The processors take turns in one thread of QEMU's. In threads of their own they lose the end of an interrupt now and
        // then, with QEMU 10.0.2, in one boot of six on a busy host: a processor was found halted while its interrupt
        // controller said that it was in its timer's handler, and from then on no timer of that processor fired. It takes
        // twice as long; the Arm boards have threads.
        "-accel",
        "tcg,thread=single",
        "-M",
        "q35,kernel-irqchip=split",
        // With 3 GiB there is memory above 4 GiB, too.
        "-smp",
        "2",
        "-m",
        "3G",
    ])
}

/// The same for fuzzers: libFuzzer counts bits by an instruction that QEMU's usual processor has not, and where processors
/// take turns anyway, one need not wait for another.
pub(crate) static PC_FOR_FUZZERS: Machine = machine("x86_64", |qemu| {
    let mut board = pc(qemu);
    board.extend(words(&["-cpu", "qemu64,+popcnt", "-smp", "1"]));
    board
});
