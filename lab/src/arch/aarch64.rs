//! aarch64: an Arm board with an SMMUv3, whose translation nests, and the same board as it was when it did not.

use std::path::Path;

use super::Arch;
use crate::host;
use crate::kernel::{Recipe, keep_nothing_else};
use crate::machine::{Machine, Port, Ports, words};
use crate::programs::Target;
use crate::qemu::Emulator;

pub(crate) static AARCH64: Arch = Arch {
    name: "aarch64",
    debian: "arm64",
    elf: 183,
    fault: "arm-smmu-v3 arm-smmu-v3.0.auto: event:",
    kernel: Recipe {
        make: "arm64",
        cross: "aarch64-linux-gnu-",
        fragment: include_str!("../../kernel/aarch64.config"),
        settings: &[],
        keep: keep_nothing_else,
        image: "Image",
        built: "arch/arm64/boot/Image",
        strip: false,
        steps: 1580,
        brought: "an Image",
        is_image: |start| start.get(56..60) == Some(b"ARM\x64"),
        needs: &[host::KERNEL_BUILD, &[host::CROSS_COMPILER]],
    },
    target: Target {
        triple: "aarch64-unknown-linux-musl",
        flags: &[
            // Rust's own linker, and the C library that comes with the target: no cross compiler.
            "-Clinker=rust-lld",
            "-Ctarget-feature=+crt-static",
            "-Clink-arg=--compress-debug-sections=zlib",
        ],
        // A test program is asked which tests it has before it is put into the guest.
        emulator: Some("qemu-aarch64"),
    },
    emulator: Emulator {
        program: "qemu-system-aarch64",
        need: host::QEMU_ARM,
        // It comes with the board.
        iommu: "arm-smmuv3",
        properties: &[],
    },
    needs: &[host::FIRMWARE, host::QEMU_USER],
    ports: Ports {
        console: Port {
            name: "ttyAMA0",
            device: &["-serial", "chardev:console"],
        },
        // The board has one serial port. These are faster, too: what is written goes out by the piece.
        program: Port {
            name: "hvc0",
            device: &[
                "-device",
                "virtio-serial-pci,bus=pcie.0,addr=1.0",
                "-device",
                "virtconsole,chardev=program",
            ],
        },
        reports: Port {
            name: "hvc1",
            device: &["-device", "virtconsole,chardev=reports"],
        },
        log: Port {
            name: "hvc2",
            device: &["-device", "virtconsole,chardev=log"],
        },
    },
    machines: &[&VIRT, &VIRT_WITHOUT_NESTING],
};

/// The kernel reads ACPI's tables, of which one can be overridden, if it is told to; else a device tree. And
/// `vfio-platform` takes devices that it cannot reset.
const PARAMETERS: &str = "acpi=force vfio_platform.reset_required=0";

/// The board whose SMMU translates in two stages.
pub(crate) static VIRT: Machine = Machine {
    name: "aarch64",
    arch: &AARCH64,
    board: |_| board("virt"),
    parameters: PARAMETERS,
    overrides_iort: true,
};

/// The board of QEMU 9.1, whose SMMU translates in one.
pub(crate) static VIRT_WITHOUT_NESTING: Machine = Machine {
    name: "aarch64 without nesting",
    arch: &AARCH64,
    board: |_| board("virt-9.1"),
    parameters: PARAMETERS,
    overrides_iort: false,
};

fn board(board: &str) -> Vec<String> {
    let mut hardware = words(&[
        // Processors side by side, as tests of races need them. To count instructions (-icount) would let the clock pass
        // over the time in which nothing happens; but the tests then take three times as long, and races none.
        "-accel",
        "tcg,thread=multi",
        "-smp",
        "2",
        // Memory begins at 1 GiB; with 4 GiB there is some above 4 GiB, too.
        "-m",
        "4G",
        "-cpu",
        "max,pauth-impdef=on",
    ]);
    hardware.extend([
        "-M".to_owned(),
        format!("{board},gic-version=3,its=on,iommu=smmuv3"),
    ]);
    // A device that is on no PCI bus: the first of the board's places for one.
    hardware.extend(words(&[
        "-global",
        "virtio-mmio.force-legacy=false",
        "-device",
        "virtio-rng-device,bus=virtio-mmio-bus.0",
    ]));
    // Without it QEMU says what it looks for.
    let firmware = host::firmware().unwrap_or(Path::new("QEMU_EFI.fd"));
    hardware.extend(["-bios".to_owned(), firmware.display().to_string()]);
    hardware
}
