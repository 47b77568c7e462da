//! Makes this machine ready: finds what is missing, says what it will install and why, and gets it.

use std::path::PathBuf;

use crate::apt::Apt;
use crate::busybox;
use crate::cache::{Cache, Lock};
use crate::cli::Options;
use crate::error::{Error, Result};
use crate::host::{self, Need, System};
use crate::kernel::{self, Arch, Brought};
use crate::progress::say;
use crate::qemu::{BRING, Qemu};
use crate::source;

/// Everything it takes to boot.
#[derive(Debug)]
pub(crate) struct Lab {
    /// The emulator.
    pub(crate) qemu: Qemu,
    /// The kernel image.
    pub(crate) kernel: PathBuf,
    /// The guest's shell and tools.
    pub(crate) busybox: PathBuf,
}

/// Debian's release whose own QEMU is too old.
const OLD_QEMU: &str = "bookworm";

/// Makes the machine ready; does nothing, and asks nobody, if it is.
pub(crate) fn prepare(options: &Options) -> Result<Lab> {
    let arch = &kernel::X86_64;
    let cache = Cache::open()?;
    let brought = options.kernel.as_deref().map(Brought::look).transpose()?;
    // A kernel that the user brought has no newer one.
    let update = options.update && brought.is_none();
    if !update
        && let (Some(qemu), Some(kernel), Some(busybox)) = (
            present_qemu(options, &cache)?,
            present_kernel(brought.as_ref(), arch, &cache)?,
            busybox::present(&cache),
        )
    {
        return Ok(Lab {
            qemu,
            kernel,
            busybox,
        });
    }

    let lock = cache.lock()?;
    let qemu = present_qemu(options, &cache)?;
    let kernel = present_kernel(brought.as_ref(), arch, &cache)?.filter(|_| !update);
    let mut needs = if kernel.is_none() {
        kernel::needs()
    } else {
        Vec::new()
    };
    if qemu.is_none() {
        needs.push(host::QEMU);
    }
    let no_busybox = busybox::present(&cache).is_none();
    let no_source =
        brought.is_none() && kernel.is_none() && (update || source::cached(&cache).is_empty());
    let from = Packages::of(&cache, &needs, no_busybox, no_source)?;
    from.install(&needs)?;

    let qemu = match qemu {
        Some(qemu) => qemu,
        None => present_qemu(options, &cache)?.ok_or_else(|| {
            Error::new("there is no fit QEMU")
                .because("the one that was installed is too old")
                .next(BRING)
        })?,
    };
    let busybox = match busybox::present(&cache) {
        Some(busybox) => busybox,
        None => {
            let apt = from.apt()?;
            if needs.is_empty() {
                apt.update()?; // Else the installation has done so.
            }
            busybox::fetch(&lock, apt)?
        }
    };
    let kernel = match (kernel, &brought) {
        (Some(kernel), _) => kernel,
        (None, Some(Brought::Image(kernel))) => kernel.clone(),
        (None, Some(Brought::Tarball(tarball))) => kernel::make_from_tarball(&lock, arch, tarball)?,
        (None, None) => kernel::make(&lock, arch, update)?,
    };
    Ok(Lab {
        qemu,
        kernel,
        busybox,
    })
}

/// Installs what is missing of some needs.
pub(crate) fn install(lock: &Lock, needs: &[Need]) -> Result<()> {
    let needs = host::missing(needs);
    Packages::of(lock.cache(), &needs, false, false)?.install(&needs)
}

/// `cargo lab setup`.
pub(crate) fn run(options: &Options) -> Result<u8> {
    let lab = prepare(options)?;
    say("this machine is ready:");
    say(format!("  kernel   {}", lab.kernel.display()));
    say(format!("  QEMU     {}", lab.qemu.path.display()));
    say(format!("  busybox  {}", lab.busybox.display()));
    say("try `cargo lab demo`, or see `cargo lab help`");
    Ok(0)
}

/// `cargo lab source`.
pub(crate) fn source(options: &Options) -> Result<u8> {
    let cache = Cache::open()?;
    let lock = cache.lock()?;
    let (_, tree) = kernel::source_tree(&lock, options.update)?;
    println!("{}", tree.display());
    Ok(0)
}

fn present_qemu(options: &Options, cache: &Cache) -> Result<Option<Qemu>> {
    match &options.qemu {
        Some(path) => Qemu::brought(cache, path).map(Some),
        None => Ok(Qemu::installed(cache)),
    }
}

fn present_kernel(
    brought: Option<&Brought>,
    arch: &Arch,
    cache: &Cache,
) -> Result<Option<PathBuf>> {
    match brought {
        Some(Brought::Image(image)) => Ok(Some(image.clone())),
        Some(Brought::Tarball(tarball)) => {
            let kernel = cache.path(arch.image_of(&source::brought_key(tarball)?));
            Ok(kernel.is_file().then_some(kernel))
        }
        None => Ok(arch.cached(cache)),
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

    fn apt(&self) -> Result<&Apt> {
        match self {
            Self::Debian { apt, .. } => Ok(apt),
            Self::Nowhere => Err(Error::new("no package source was set up")),
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
            .partition(|need| need.package == host::QEMU.package && backports.is_some());
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
                Some(suite) if need.package == host::QEMU.package => {
                    format!(" (from {suite}, nothing else changes)")
                }
                _ => String::new(),
            };
            format!("{:<16} {}{from}", need.package, need.why)
        })
        .collect()
}

/// The one message for a machine that the lab cannot install anything on.
fn not_debian(name: &str, needs: &[Need], no_busybox: bool, no_source: bool) -> Error {
    let mut wanted = list(needs, None);
    if no_busybox {
        wanted.push(format!(
            "{:<16} is the guest's shell and tools",
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
    if needs.contains(&host::QEMU) {
        next.push(BRING.to_owned());
    }
    if no_source {
        next.push(format!(
            "bring a kernel: --kernel FILE takes an image (vmlinux, bzImage), or a source tarball to build one from\n\
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
        let lines = list(&[host::QEMU], Some("bookworm-backports"));
        assert_eq!(
            lines,
            [
                "qemu-system-x86  is the machine with the emulated IOMMU (from bookworm-backports, nothing else changes)"
            ]
        );
    }

    #[test]
    fn another_distribution_gets_one_complete_message() {
        let message = not_debian(
            "Some Linux",
            &[host::KERNEL_BUILD[0], host::QEMU],
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
