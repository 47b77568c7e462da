//! Makes this machine ready: finds what is missing, says what it will install and why, and gets it.

use std::path::{Path, PathBuf};

use crate::apt::Apt;
use crate::arch::Arch;
use crate::busybox;
use crate::cache::{Cache, Lock};
use crate::cli::Options;
use crate::error::{Error, Result};
use crate::host::{self, Need, System};
use crate::iort;
use crate::kernel::{self, Brought, Kernel};
use crate::progress::say;
use crate::qemu::{BRING, Qemu};
use crate::source;
use crate::toolchain;

/// Everything it takes to boot.
#[derive(Debug)]
pub(crate) struct Lab {
    /// For which architecture.
    pub(crate) arch: &'static Arch,
    /// The emulator.
    pub(crate) qemu: Qemu,
    /// The kernel.
    pub(crate) kernel: Kernel,
    /// The guest's shell and tools.
    pub(crate) busybox: PathBuf,
    /// The table for the machine that overrides its IORT, if there is one.
    pub(crate) iort: Option<PathBuf>,
}

/// Debian's release whose own QEMU is too old.
const OLD_QEMU: &str = "bookworm";

/// Makes the machine ready for an architecture; does nothing, and asks nobody, if it is.
pub(crate) fn prepare(options: &Options, arch: &'static Arch) -> Result<Lab> {
    let cache = Cache::open()?;
    let look = |path| Brought::look(path, arch);
    let brought = options.kernel.as_deref().map(look).transpose()?;
    // A kernel that the user brought has no newer one.
    let is_debians = matches!(brought, None | Some(Brought::Series(_)));
    let update = options.update && is_debians;
    let present = match update {
        true => None,
        false => present(options, brought.as_ref(), arch, &cache)?,
    };
    let mut lab = match present {
        Some(lab) => lab,
        None => complete(options, brought.as_ref(), arch, &cache, update)?,
    };
    let mut machines = arch.machines.iter();
    if let Some(machine) = machines.find(|machine| machine.overrides_iort) {
        lab.iort = Some(iort::of(&cache, &lab, machine)?);
    }
    Ok(lab)
}

/// What it takes to boot, if all of it is there.
fn present(
    options: &Options,
    brought: Option<&Brought>,
    arch: &'static Arch,
    cache: &Cache,
) -> Result<Option<Lab>> {
    let (Some(qemu), Some(kernel), Some(busybox), []) = (
        present_qemu(options, arch, cache)?,
        present_kernel(brought, arch, cache)?,
        busybox::present(cache, arch),
        &*host::missing(arch.needs),
    ) else {
        return Ok(None);
    };
    Ok(Some(Lab {
        arch,
        qemu,
        kernel,
        busybox,
        iort: None,
    }))
}

/// Gets what is not there, and a newer kernel if `update` is set.
fn complete(
    options: &Options,
    brought: Option<&Brought>,
    arch: &'static Arch,
    cache: &Cache,
    update: bool,
) -> Result<Lab> {
    let lock = cache.lock()?;
    let qemu = present_qemu(options, arch, cache)?;
    let kernel = present_kernel(brought, arch, cache)?.filter(|_| !update);
    let busybox = busybox::present(cache, arch);
    let mut needs = host::missing(arch.needs);
    if kernel.is_none() {
        needs.extend(kernel::needs(arch));
    }
    if qemu.is_none() {
        needs.push(arch.emulator.need);
    }
    let has_source = match brought {
        None => !update && !source::cached(cache).is_empty(),
        Some(Brought::Series(series)) => !update && source::is_cached(cache, *series),
        Some(Brought::Image(_) | Brought::Tarball(_)) => true,
    };
    let no_source = kernel.is_none() && !has_source;
    Packages::of(cache, &needs, busybox.is_none(), no_source)?.install(&needs)?;

    let qemu = match qemu {
        Some(qemu) => qemu,
        None => present_qemu(options, arch, cache)?.ok_or_else(|| {
            Error::new("there is no fit QEMU")
                .because("the one that was installed is too old")
                .next(BRING)
        })?,
    };
    let busybox = busybox.map_or_else(|| busybox::fetch(&lock, arch), Ok)?;
    let kernel = match (kernel, brought) {
        (Some(kernel), _) => kernel,
        (None, Some(Brought::Image(image))) => of_image(image),
        (None, Some(Brought::Tarball(tarball))) => kernel::make_from_tarball(&lock, arch, tarball)?,
        (None, Some(Brought::Series(series))) => kernel::make(&lock, arch, Some(*series), update)?,
        (None, None) => kernel::make(&lock, arch, None, update)?,
    };
    Ok(Lab {
        arch,
        qemu,
        kernel,
        busybox,
        iort: None,
    })
}

/// Installs what is missing of some needs.
pub(crate) fn install(lock: &Lock, needs: &[Need]) -> Result<()> {
    let needs = host::missing(needs);
    Packages::of(lock.cache(), &needs, false, false)?.install(&needs)
}

/// `cargo lab setup`.
pub(crate) fn run(options: &Options) -> Result<u8> {
    for arch in options.arches() {
        let lab = prepare(options, arch)?;
        toolchain::complete(arch)?;
        say(format!("this machine is ready for {}:", arch.name));
        say(format!("  kernel   {}", lab.kernel.image.display()));
        say(format!("  QEMU     {}", lab.qemu.path.display()));
        say(format!("  busybox  {}", lab.busybox.display()));
    }
    say("try `cargo lab demo`, or see `cargo lab help`");
    Ok(0)
}

/// `cargo lab source`.
pub(crate) fn source(options: &Options) -> Result<u8> {
    let cache = Cache::open()?;
    let lock = cache.lock()?;
    let (_, tree) = kernel::source_tree(&lock, None, options.update)?;
    println!("{}", tree.display());
    Ok(0)
}

fn present_qemu(options: &Options, arch: &Arch, cache: &Cache) -> Result<Option<Qemu>> {
    match &options.qemu {
        Some(path) => Qemu::brought(cache, arch, path).map(Some),
        None => Ok(Qemu::installed(cache, arch)),
    }
}

fn present_kernel(brought: Option<&Brought>, arch: &Arch, cache: &Cache) -> Result<Option<Kernel>> {
    match brought {
        Some(Brought::Image(image)) => Ok(Some(of_image(image))),
        Some(Brought::Tarball(tarball)) => kernel::cached_from_tarball(cache, arch, tarball),
        Some(Brought::Series(series)) => Ok(arch.cached(cache, Some(*series))),
        None => Ok(arch.cached(cache, None)),
    }
}

/// An image that the user brought.
fn of_image(image: &Path) -> Kernel {
    Kernel {
        image: image.to_owned(),
        series: None,
    }
}

/// Where packages come from on this machine.
#[derive(Debug)]
enum Packages {
    /// Nothing is needed.
    Nowhere,
    /// From Debian's suites, with the release's backports where its QEMU is too old.
    Debian { apt: Apt, backports: Option<String> },
}

impl Packages {
    /// Where to get some needs from, and busybox and the kernel's source if they are not there.
    fn of(cache: &Cache, needs: &[Need], no_busybox: bool, no_source: bool) -> Result<Self> {
        if needs.is_empty() && !no_busybox && !no_source {
            return Ok(Self::Nowhere);
        }
        match host::system() {
            System::Debian(codename) => {
                let backports = (codename == OLD_QEMU).then(|| format!("{codename}-backports"));
                let apt = Apt::of_machine(cache, &codename, backports.is_some())?;
                Ok(Self::Debian { apt, backports })
            }
            System::Other(name) => Err(not_debian(&name, needs, no_busybox, no_source)),
        }
    }

    /// Installs packages, or says what to do where the lab may not.
    fn install(&self, needs: &[Need]) -> Result<()> {
        let Self::Debian { apt, backports } = self else {
            return Ok(());
        };
        if needs.is_empty() {
            return Ok(());
        }
        say("this machine lacks some packages:");
        for line in list(needs, backports.as_deref()) {
            say(format!("  {line}"));
        }
        apt.update()?;
        let (newer, own): (Vec<Need>, Vec<Need>) = needs
            .iter()
            .partition(|need| need.recent && backports.is_some());
        let names = |needs: &[Need]| needs.iter().map(|need| need.package).collect::<Vec<_>>();
        let steps = [(names(&own), None), (names(&newer), backports.as_deref())];
        let steps = steps.iter().filter(|(packages, _)| !packages.is_empty());
        if !host::is_root() {
            let commands: Vec<String> = steps
                .map(|(packages, suite)| format!("sudo {}", apt.install_command(packages, *suite)))
                .collect();
            return Err(Error::new("only root can install packages")
                .because(format!("missing: {}", names(needs).join(" ")))
                .next(format!(
                    "have these run by root, then run this command again:\n{}\n\
                     (the options keep the suites out of the machine's own apt configuration)\n\
                     or bring your own with --qemu PATH and --kernel IMAGE",
                    commands.join("\n")
                )));
        }
        for (packages, suite) in steps {
            apt.install(packages, *suite)?;
        }
        Ok(())
    }
}

/// What is needed and why, a line each.
fn list(needs: &[Need], backports: Option<&str>) -> Vec<String> {
    needs
        .iter()
        .map(|need| {
            let from = match backports {
                Some(suite) if need.recent => {
                    format!(" (from {suite}, nothing else changes)")
                }
                _ => String::new(),
            };
            format!("{:<21} {}{from}", need.package, need.why)
        })
        .collect()
}

/// The one message for a machine that the lab cannot install anything on.
fn not_debian(name: &str, needs: &[Need], no_busybox: bool, no_source: bool) -> Error {
    let mut wanted = list(needs, None);
    if no_busybox {
        wanted.push(format!(
            "{:<21} is the guest's shell and tools",
            busybox::PACKAGE
        ));
    }
    let mut next = Vec::new();
    if !wanted.is_empty() {
        next.push(format!(
            "install what Debian calls\n  {}",
            wanted.join("\n  ")
        ));
    }
    if needs.iter().any(|need| need.recent) {
        next.push(BRING.to_owned());
    }
    if no_source {
        next.push(format!(
            "bring a kernel: --kernel FILE takes an image (vmlinux, bzImage, Image), or a source tarball to build one from\n\
             (such as the one in Debian's package linux-source-{} in {})",
            source::SERIES,
            source::SUITE
        ));
    }
    Error::new("the lab can get packages on Debian only")
        .because(format!("this is {name}"))
        .next(next.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_is_missing_and_why() {
        let lines = list(&[host::QEMU_X86], Some("bookworm-backports"));
        assert_eq!(
            lines,
            [
                "qemu-system-x86       is the machine with the emulated IOMMU (from bookworm-backports, nothing else changes)"
            ]
        );
    }

    #[test]
    fn another_distribution_gets_one_complete_message() {
        let message = not_debian(
            "Some Linux",
            &[host::KERNEL_BUILD[0], host::QEMU_X86],
            true,
            true,
        )
        .to_string();
        for part in [
            "Some Linux",
            "gcc",
            "qemu-system-x86",
            "busybox-static",
            "--kernel",
            "--qemu",
        ] {
            assert!(message.contains(part), "{part} is not in: {message}");
        }
    }
}
