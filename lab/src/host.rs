//! What this machine is, and what it lacks.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::command::find;

/// The operating system, as far as the lab can install anything on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum System {
    /// Debian, with the name of its release.
    Debian(String),
    /// Something else, by its own name.
    Other(String),
}

/// The operating system of this machine.
pub(crate) fn system() -> System {
    system_from(&std::fs::read_to_string("/etc/os-release").unwrap_or_default())
}

/// The operating system that an os-release file describes.
fn system_from(os_release: &str) -> System {
    let value = |name: &str| {
        os_release
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
            .map(|value| value.trim_matches('"').to_owned())
    };
    match (value("ID").as_deref(), value("VERSION_CODENAME")) {
        (Some("debian"), Some(codename)) if find("apt-get").is_some() => System::Debian(codename),
        _ => System::Other(
            value("PRETTY_NAME").unwrap_or_else(|| "an operating system without a name".to_owned()),
        ),
    }
}

/// Whether this process may install packages.
pub(crate) fn is_root() -> bool {
    Path::new("/proc/self")
        .metadata()
        .is_ok_and(|data| data.uid() == 0)
}

/// Something that is installed as a Debian package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Need {
    /// The Debian package.
    pub(crate) package: &'static str,
    /// What it is for, as in "`flex` (for ...)".
    pub(crate) why: &'static str,
    /// Whether a release's own may be too old, and is to come from its backports then.
    pub(crate) recent: bool,
    /// How to see that it is there.
    probe: Probe,
}

/// How to see that a package's content is there, on any distribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Probe {
    Program(&'static str),
    Header(&'static str),
    /// One of some files.
    File(&'static [&'static str]),
    Libclang,
    /// Asked for by a caller that has looked for itself.
    Absent,
}

const fn program(package: &'static str, name: &'static str, why: &'static str) -> Need {
    Need {
        package,
        why,
        recent: false,
        probe: Probe::Program(name),
    }
}

/// What it takes to build the lab kernel.
pub(crate) const KERNEL_BUILD: &[Need] = &[
    program("gcc", "gcc", "compiles the kernel"),
    program("make", "make", "drives the kernel's build"),
    program("flex", "flex", "makes the kernel's configuration parser"),
    program("bison", "bison", "makes the kernel's configuration parser"),
    program("bc", "bc", "computes the kernel's time constants"),
    program("xz-utils", "xz", "unpacks the kernel source"),
    Need {
        package: "libelf-dev",
        why: "is linked into the kernel's objtool",
        recent: false,
        probe: Probe::Header("gelf.h"),
    },
];

/// What the kernel's own test programs are built with, besides what builds a kernel.
pub(crate) const SELFTESTS: &[Need] = &[Need {
    package: "libcap-dev",
    why: "is linked into the kernel's own tests",
    recent: false,
    probe: Probe::Header("sys/capability.h"),
}];

/// What builds a kernel for aarch64.
pub(crate) const CROSS_COMPILER: Need = program(
    "gcc-aarch64-linux-gnu",
    "aarch64-linux-gnu-gcc",
    "compiles the kernel for aarch64",
);

/// The PC that the lab's kernel runs on.
pub(crate) const QEMU_X86: Need = Need {
    package: "qemu-system-x86",
    why: "is the machine with the emulated IOMMU",
    recent: true,
    probe: Probe::Absent,
};

/// The Arm board that the lab's kernel runs on.
pub(crate) const QEMU_ARM: Need = Need {
    package: "qemu-system-arm",
    why: "is the machine with the emulated SMMU",
    recent: true,
    probe: Probe::Absent,
};

/// What runs a program for aarch64 on this machine.
pub(crate) const QEMU_USER: Need = program(
    "qemu-user",
    "qemu-aarch64",
    "asks test programs for aarch64 what they have",
);

/// What the aarch64 machine boots with.
pub(crate) const FIRMWARE: Need = Need {
    package: "qemu-efi-aarch64",
    why: "is the firmware of the aarch64 machine",
    recent: false,
    probe: Probe::File(FIRMWARES),
};

/// Where distributions have it.
const FIRMWARES: &[&str] = &[
    "/usr/share/qemu-efi-aarch64/QEMU_EFI.fd",
    "/usr/share/edk2/aarch64/QEMU_EFI.fd",
    "/usr/share/qemu/edk2-aarch64-code.fd",
];

/// The firmware of the aarch64 machine, if it is there.
pub(crate) fn firmware() -> Option<&'static Path> {
    FIRMWARES.iter().map(Path::new).find(|path| path.is_file())
}

/// What bindgen reads C headers with.
pub(crate) const LIBCLANG: Need = Need {
    package: "libclang1",
    why: "reads the kernel's headers for bindgen",
    recent: false,
    probe: Probe::Libclang,
};

/// Those of `needs` that are not there.
pub(crate) fn missing(needs: &[Need]) -> Vec<Need> {
    needs
        .iter()
        .filter(|need| !is_there(need.probe))
        .copied()
        .collect()
}

fn is_there(probe: Probe) -> bool {
    match probe {
        Probe::Program(name) => find(name).is_some(),
        Probe::Header(name) => has_header(name),
        Probe::File(names) => names.iter().any(|name| Path::new(name).is_file()),
        Probe::Libclang => has_libclang(),
        Probe::Absent => false,
    }
}

/// Whether the C compiler finds a header. Without a compiler nothing can be said, and the header counts as missing.
fn has_header(name: &str) -> bool {
    Command::new("gcc")
        .args([
            "-E",
            "-include",
            name,
            "-x",
            "c",
            "/dev/null",
            "-o",
            "/dev/null",
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Whether libclang is in a place where bindgen looks for it.
fn has_libclang() -> bool {
    if std::env::var_os("LIBCLANG_PATH").is_some() {
        return true;
    }
    let names = |directory: &Path| -> Vec<String> {
        std::fs::read_dir(directory)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect()
    };
    let is_libclang = |name: &String| {
        name.starts_with("libclang.so") || (name.starts_with("libclang-") && name.contains(".so"))
    };
    let llvm = Path::new("/usr/lib");
    let versions = names(llvm)
        .into_iter()
        .filter(|name| name.starts_with("llvm-"))
        .map(|name| llvm.join(name).join("lib"));
    versions
        .chain([
            "/usr/lib/x86_64-linux-gnu".into(),
            "/usr/lib64".into(),
            "/usr/lib".into(),
        ])
        .any(|directory| names(&directory).iter().any(is_libclang))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_debian_by_its_release_file() {
        let other =
            system_from("PRETTY_NAME=\"Ubuntu 24.04\"\nID=ubuntu\nVERSION_CODENAME=noble\n");
        assert_eq!(other, System::Other("Ubuntu 24.04".to_owned()));
        assert!(matches!(system_from(""), System::Other(_)));
    }

    #[test]
    fn what_is_there_is_not_missing() {
        let needs = [
            program("coreutils", "ls", ""),
            program("nothing", "no-such-program", ""),
        ];
        let missing = missing(&needs);
        assert_eq!(missing.len(), 1);
        assert_eq!(missing[0].package, "nothing");
    }
}
