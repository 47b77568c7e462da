//! The help texts.

use crate::cli::Command;

/// What every command that boots takes.
const BOOT: &str = "
Options of every command that boots, but fuzz:
  --arch NAME          the machine's architecture: x86_64, with a VT-d, or aarch64, with an SMMUv3 that nests
  --timeout SECONDS    end the boot, with an error, after this time
  --append PARAMETERS  more kernel parameters, in one word (`--append 'a=1 b=2'`)
  --kernel FILE        use this kernel: an image (vmlinux, bzImage; Image for aarch64), or a source tarball
                       (linux-source-*.tar.xz) to build one from
  --kernel VERSION     use the Linux of this version, such as 6.12, built from Debian's source of it
  --qemu PATH          use this QEMU (for the architecture, version 10 or newer)
  --update             see if there is a newer kernel first
";

/// What everybody should read first.
const OVERVIEW: &str = "
Boots a Linux with an emulated IOMMU and devices that do DMA behind it, and runs this workspace's programs and tests in
it. No hardware is used and nothing but Debian packages is installed; the first command sets up what it needs.
";

const STATUS: &str = "
Exit status: of run, demo and shell that of the program in the guest (128 and its number for a signal); of the others 101 if
tests fail or something does not build, 1 for what bench, verify, fuzz and codegen --check find. Of all 124 for a boot that ran
into its time limit, 125 for any other failure of the lab itself, 2 for a command line that makes no sense.

Kernel, source and package lists are kept in $IOMMU_LAB_CACHE, else $XDG_CACHE_HOME/iommu-lab, else
~/.cache/iommu-lab (up to 4 GB). Nothing there is needed but the time it took: remove it at will.
";

/// The help for all.
pub(crate) fn all() -> String {
    format!(
        "Usage: cargo lab COMMAND [OPTIONS]\n{OVERVIEW}\nCommands:\n{}\n\n`cargo lab help COMMAND` says more.\n{STATUS}",
        commands()
    )
}

/// The commands, a line each.
pub(crate) fn commands() -> String {
    let lines: Vec<String> = Command::ALL
        .into_iter()
        .map(|command| format!("  {:<8} {}", command.name(), summary(command)))
        .collect();
    lines.join("\n")
}

fn summary(command: Command) -> &'static str {
    match command {
        Command::Demo => {
            "run an example: a DMA engine and a userspace buffer, or a guest's own tables"
        }
        Command::Test => "run all tests: those of the host, then those that need the lab's kernel",
        Command::Bench => "measure the SDK against the same ioctls in a plain loop",
        Command::Verify => "look for undefined behaviour in what runs without a kernel",
        Command::Run => "run one program in the lab",
        Command::Shell => "boot to a prompt",
        Command::Setup => "install and build what the lab needs, and stop there",
        Command::Codegen => "regenerate the bindings to the kernel's headers, or check them",
        Command::Source => "print the path of the kernel's source, unpacked",
        Command::Fuzz => "run a fuzzer, on this machine or in the lab, or say what they reach",
    }
}

/// How a command is called.
pub(crate) fn usage(command: Command) -> String {
    let rest = match command {
        Command::Demo => "[OPTIONS] [dma|nested|vtd]",
        Command::Setup | Command::Source => "[OPTIONS]",
        Command::Test => "[--filter NAME] [OPTIONS]",
        Command::Bench => "[--quick] [OPTIONS]",
        Command::Verify => "",
        Command::Run => "[OPTIONS] PROGRAM [ARGUMENT...]",
        Command::Shell => "[OPTIONS] [PROGRAM...]",
        Command::Codegen => "[--check]",
        Command::Fuzz => "TARGET [--seconds SECONDS] [--input FILE] | --report | --check",
    };
    format!("usage: cargo lab {} {rest}", command.name())
}

/// The help for one command.
pub(crate) fn of(command: Command) -> String {
    let (text, boots) = match command {
        Command::Demo => (DEMO, true),
        Command::Test => (TEST, true),
        Command::Bench => (BENCH, true),
        Command::Verify => (VERIFY, false),
        Command::Run => (RUN, true),
        Command::Shell => (SHELL, true),
        Command::Setup => (SETUP, false),
        Command::Codegen => (CODEGEN, false),
        Command::Source => (SOURCE, false),
        Command::Fuzz => (FUZZ, false),
    };
    let usage = usage(command).replacen("usage", "Usage", 1);
    format!("{usage}\n{text}{}", if boots { BOOT } else { "" })
}

const DEMO: &str = "
Sets up what is missing, boots, gives a DMA engine (an `edu`) to vfio-pci and runs an example on it:
  dma      `dma_buffer`: a buffer of the program's own; what runs if none is named
  nested   `nested_smmuv3`: plays a VMM and its guest, whose own tables translate in hardware (aarch64)
  vtd      `nested_vtd`: the same of a guest with a VT-d, up to where an emulated one cannot nest, and says so (x86_64)
The first time takes some minutes, most of it for building a kernel; after that, seconds. Ends with status 0 only if the
example did what it says. Its time limit is 120 s.
";

const TEST: &str = "
Runs `cargo test --workspace`, then the tests that are ignored there because they need the lab's kernel: they are built
as static programs (in target/lab) and run in one boot of each machine, one test at a time. The test runner's own lines
are printed. Fails if a test fails, if the kernel warns, dies or hangs, and if there was nothing to run.

The machines: a PC with a VT-d (x86_64), an Arm board with an SMMUv3 that nests (aarch64), and one with an SMMUv3 that
does not. Most test programs run on the first two; lab/src/places.rs says which do not.

  --filter NAME        run only the tests with NAME in their name, or, of those for the kernel, in their file's
  --file NAME          build and run only the kernel's tests of tests/tests/NAME.rs: the quickest way to try a change
  --arch NAME          run only the kernel's tests on machines of this architecture
  --skip-host          leave out the tests of the host
  --no-fail-fast       go on to the kernel's tests when one of the host's failed, and to the next architecture's

With an older kernel (--kernel 6.12), what lab/src/needs/list.rs says to need more has to fail there, by an error that
says so where there is one; everything else has to pass, as on the lab's own. Of an image nothing is known: on it all has
to pass. Before Linux 6.16 the tests of the mock driver run on a PC without an IOMMU (docs/older-kernels.md).

The time limit of each boot is 1800 s, and of each test program 420 s: of one that does not end the lab says where its
threads are. If the machine itself stands still (QEMU loses an interrupt now and then), the rest is run in another boot,
at most twice; target/lab/stood-still has what the processors did.
";

const BENCH: &str = "
Measures what the SDK takes beside the same ioctls in a plain loop, side by side in one boot: on a machine whose clock
counts instructions, whose ratios are the same on every host and are judged, and on one on which time passes, for a
witness. Says how many instructions a program executes itself, how many of them are the ledger's, how often memory is
allocated in a loop that goes on, and how many ioctls a batch is. Prints a table; results.json and plot.svg are in
target/lab/bench. Fails if a ratio is worse than it was, by more than another compiler makes of it; if memory is allocated;
if a batch is more than one ioctl. docs/performance.md has the figures, and what they mean.

  --quick              only what is judged, of what does not take long, by instructions
  --save FILE          keep the results there, too
  --against FILE       compare with these results, not with bench/baseline.json

All of it takes about a quarter of an hour, --quick two minutes for each architecture; the time limit of each boot is 1800 s.
";

const VERIFY: &str = "
Without booting anything:
  - runs the tests that go through every case there is (their names begin with `every_`)
  - runs what can run in Miri there; a nightly Rust with Miri is installed by rustup, if it is not there and can be
  - runs all unit tests with AddressSanitizer
Fails if one of them fails.
";

const RUN: &str = "
Runs one program in the lab and hands on its output, as it comes, and its exit status. PROGRAM is
  - an example or a binary of this workspace, by name: it is built as a static program first;
  - a path of a static program or of a shell script;
  - a tool of the guest (busybox): `cargo lab run sh -c 'ls -l /dev/vfio'`.
What follows PROGRAM is its own. It runs as root, its input is empty, its directory is an empty /tmp. The environment
has LAB=1, and addresses of devices: LAB_EDU (a DMA engine), LAB_EDU_PAIR (two in one IOMMU group) and LAB_IGB (a network
card with MSI-X, a reset method and SR-IOV). `bind-vfio ADDRESS` gives a device to vfio-pci:
  cargo lab run sh -c 'bind-vfio $LAB_EDU && ls /dev/vfio/devices'
Its time limit is 120 s.
";

const SHELL: &str = "
Boots to a prompt. Each PROGRAM, named as for `cargo lab run`, is built and put in the path. Ctrl-D or `exit` powers
off; Ctrl-A X kills the machine. Its time limit is 8 hours.
";

const SETUP: &str = "
Does what demo, test, bench, run and shell do first if they have to: installs packages, fetches Debian's kernel source and builds the
lab's kernel from it. Nothing is done twice. Without --arch it does so for both architectures, where other commands do
it for the one that they need.

Packages, on Debian and as root only, and only those that are missing:
  gcc make flex bison bc libelf-dev xz-utils   build the kernel
  qemu-system-x86                              from the release's backports if its own is older than 10
and for aarch64:
  gcc-aarch64-linux-gnu                        builds the kernel
  qemu-system-arm                              as qemu-system-x86
  qemu-efi-aarch64                             is the firmware that it boots with
  qemu-user                                    asks test programs which tests they have
Downloaded, not installed: linux-source-7.3 (the newest 7.x when that is gone) and busybox-static. The machine's own apt
configuration is read, to know its mirror, and never changed. With rustup, the standard library of
aarch64-unknown-linux-musl is added to the toolchain.

The first boot of each QEMU for aarch64 reads the table by which the firmware describes the SMMU: it is corrected and
kept, as the kernel else nests nothing (lab/src/iort.rs says why).

  --arch NAME          only for this architecture: x86_64 or aarch64
  --update             fetch and build a newer kernel, if there is one
  --kernel FILE        build this source tarball, or just check for everything but a kernel if it is an image
  --kernel VERSION     fetch and build this Linux, such as 6.12
  --qemu PATH          use this QEMU
";

const CODEGEN: &str = "
Regenerates iommufd-sys/src/generated from the kernel headers (linux-libc-dev) of the lab kernel's version. Installs
libclang, which nothing else here needs. Before that, it puts the table of what works on which kernel into the README, as
lab/src/features.rs has it.

  --check              change nothing; if the table or the bindings are not what they should be, show the difference and fail.
                       Then run the tests of iommufd-sys that compare it with the headers themselves
  --update             use the headers of the newest kernel that there is
";

const SOURCE: &str = "
Prints the path of the source tree that the lab's kernel is built from, fetching and unpacking it if need be.

  --update             fetch a newer one, if there is one
";

const FUZZ: &str = "
Builds a fuzzer of `fuzz/` with AddressSanitizer, and runs it. On this machine, what takes bytes apart:
  capabilities, events, faults, hw_info   what a kernel or a device answers
  smmuv3_records, vtd_records             a guest's commands, descriptors and tables
  smmuv3_relay, vtd_relay                 a guest's queue, in front of a relay
In the lab, against the kernel's mock driver, on a kernel whose coverage of iommufd (KCOV) guides the fuzzer:
  safe_calls                              lists of safe calls: no memory and no object is lost
  raw_ioctls                              lists of ioctls as anybody can issue them
What an input reaches for the first time is kept in fuzz/corpus/TARGET. A crash is made as small as it goes, kept in
fuzz/artifacts/TARGET, and reported with the command that reproduces it; then the status is 1.

  --seconds SECONDS    for how long (60)
  --input FILE         run this input only
  --report             say how many of the places in iommufd that KCOV knows the corpora of safe_calls and raw_ioctls
                       reach, beside what the kernel's own selftest programs reach on the same kernel. They are built
                       in the cache from the kernel's source, which takes libcap-dev
  --check              see that bugs are found: fuzzers with one in them (planted_...) must find it, keep it and have it
                       come again. Takes some minutes
  --qemu PATH          use this QEMU

The lab's kernel for it is one more, built at the first run. It takes a nightly Rust, which rustup installs if it can; where there is none, the machine's own is told to take a
nightly's options (RUSTC_BOOTSTRAP). The fuzzers can be run by `cargo fuzz`, too.
";
