//! The emulator: where it is, how old, and what it calls the properties that the lab sets.

use std::fs;
use std::path::{Path, PathBuf};

use crate::arch::Arch;
use crate::cache::{self, Cache};
use crate::command::{self, command, find};
use crate::error::{Error, Result};
use crate::host::Need;

/// The oldest version that the lab was seen to run on.
const OLDEST: u32 = 10;
/// What a user without a fit QEMU can do.
pub(crate) const BRING: &str = "install QEMU 10 or newer, or name one: --qemu PATH";

/// What emulates an architecture.
#[derive(Debug)]
pub(crate) struct Emulator {
    /// The program.
    pub(crate) program: &'static str,
    /// The package of it.
    pub(crate) need: Need,
    /// The device that is the IOMMU.
    pub(crate) iommu: &'static str,
    /// Properties to turn on in it, each by the names that it has in one version or another.
    pub(crate) properties: &'static [&'static [&'static str]],
}

/// A QEMU that is fit for the lab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Qemu {
    /// The program.
    pub(crate) path: PathBuf,
    /// The IOMMU, with the properties that the lab's kernel wants of it.
    pub(crate) iommu: String,
}

impl Qemu {
    /// The QEMU in `PATH`, if it is there and new enough.
    pub(crate) fn installed(cache: &Cache, arch: &Arch) -> Option<Self> {
        let (version, qemu) = look(cache, arch, &find(arch.emulator.program)?).ok()?;
        (version >= OLDEST).then_some(qemu)
    }

    /// The QEMU that the user named.
    pub(crate) fn brought(cache: &Cache, arch: &Arch, path: &Path) -> Result<Self> {
        let named = path.to_string_lossy();
        let path = if named.contains('/') {
            Some(path.to_owned())
        } else {
            find(&named)
        };
        let path = path
            .filter(|path| command::is_executable(path))
            .ok_or_else(|| {
                Error::new(format!("there is no QEMU at {named}"))
                    .because("no such file, or not executable")
                    .next(BRING)
            })?;
        look(cache, arch, &path).map(|(_, qemu)| qemu)
    }
}

/// Asks a QEMU for its version and its IOMMU's properties; once for each QEMU, as the answers take 0.1 s.
fn look(cache: &Cache, arch: &Arch, path: &Path) -> Result<(u32, Qemu)> {
    let name = format!("{}-{}", arch.name, cache::file_key(path)?);
    let known = cache.path("qemu").join(name);
    if let Some(answer) = fs::read_to_string(&known)
        .ok()
        .and_then(|text| parse_known(&text, path))
    {
        return Ok(answer);
    }
    let said = command::output(command(path).arg("--version"))?;
    let version = version(&said).ok_or_else(|| {
        Error::new(format!("{} does not look like QEMU", path.display()))
            .because(format!("to --version it says: {}", said.trim()))
            .next(BRING)
    })?;
    let device = arch.emulator.iommu;
    let properties = command::output(command(path).args(["-device", &format!("{device},help")]))?;
    // Of a device that it has not got it says nothing here, and is content.
    if properties.is_empty() {
        return Err(
            Error::new(format!("{} is no QEMU for {}", path.display(), arch.name))
                .because(format!("it has no {device}"))
                .next(BRING),
        );
    }
    let iommu = iommu(&arch.emulator, &properties);
    cache::create(&cache.path("qemu"))?;
    // Only a memory of what can be asked again; and whole or absent, as concurrent runs write it too.
    let half = known.with_extension(std::process::id().to_string());
    if fs::write(&half, format!("{version}\n{iommu}\n")).is_ok() {
        fs::rename(&half, &known).unwrap_or_default();
    }
    let path = path.to_owned();
    Ok((version, Qemu { path, iommu }))
}

fn parse_known(text: &str, path: &Path) -> Option<(u32, Qemu)> {
    let (version, iommu) = text.trim_end().split_once('\n')?;
    let qemu = Qemu {
        path: path.to_owned(),
        iommu: iommu.to_owned(),
    };
    Some((version.parse().ok()?, qemu))
}

/// The major version in what `qemu --version` says.
fn version(said: &str) -> Option<u32> {
    let (_, rest) = said.split_once("version ")?;
    rest.split('.').next()?.parse().ok()
}

/// The IOMMU with its properties, those of them that QEMU says that it has.
fn iommu(emulator: &Emulator, properties: &str) -> String {
    let has = |name: &str| {
        properties.lines().any(|line| {
            line.trim_start()
                .strip_prefix(name)
                .is_some_and(|rest| rest.starts_with('='))
        })
    };
    let mut device = emulator.iommu.to_owned();
    for names in emulator.properties {
        if let Some(name) = names.iter().find(|name| has(name)) {
            device.push_str(&format!(",{name}=on"));
        }
    }
    device
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::X86_64;

    #[test]
    fn reads_a_version() {
        let said = "QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)\nCopyright";
        assert_eq!(version(said), Some(10));
        assert_eq!(version("busybox"), None);
    }

    #[test]
    fn sets_the_properties_that_this_qemu_has() {
        let ten = "  caching-mode=<bool> - on\n  device-iotlb=<bool>\n  intremap=<OnOffAuto>\n  x-scalable-mode=<bool>\n";
        assert_eq!(
            iommu(&X86_64.emulator, ten),
            "intel-iommu,intremap=on,x-scalable-mode=on,caching-mode=on,device-iotlb=on"
        );
        let eleven = ten.replace("x-scalable", "scalable");
        assert_eq!(
            iommu(&X86_64.emulator, &eleven),
            "intel-iommu,intremap=on,scalable-mode=on,caching-mode=on,device-iotlb=on"
        );
    }
}
