//! The guest's shell and tools: one static program. It is only unpacked into the cache, never installed, as Debian's
//! package of it would replace a `busybox` that the machine already uses.

use std::fs;
use std::path::PathBuf;

use crate::apt::Apt;
use crate::arch::Arch;
use crate::cache::{Cache, Lock};
use crate::command::find;
use crate::elf::{self, Kind};
use crate::error::{Doing, Result};

/// Debian's package of it.
pub(crate) const PACKAGE: &str = "busybox-static";

/// The one in the cache, or that of this machine, if it is a static one for the guest's architecture.
pub(crate) fn present(cache: &Cache, arch: &Arch) -> Option<PathBuf> {
    let kept = cache.path(name(arch));
    if kept.is_file() {
        return Some(kept);
    }
    let fits =
        |path: &PathBuf| fs::read(path).is_ok_and(|file| elf::kind(&file, arch) == Kind::Static);
    find("busybox").filter(fits)
}

/// Its name in the cache.
fn name(arch: &Arch) -> String {
    format!("busybox-{}", arch.name)
}

/// Puts Debian's into the cache.
pub(crate) fn fetch(lock: &Lock, arch: &Arch) -> Result<PathBuf> {
    let apt = Apt::of_architecture(lock.cache(), arch.debian)?;
    apt.update()?;
    let place = lock.workplace("busybox")?;
    let root = apt.unpacked(PACKAGE, None, &place)?;
    let program = [root.join("bin/busybox"), root.join("usr/bin/busybox")]
        .into_iter()
        .find(|path| path.is_file())
        .unwrap_or_else(|| root.join("bin/busybox"));
    let path = lock.publish(&program, name(arch))?;
    fs::remove_dir_all(&place).doing(|| format!("cannot remove {}", place.display()))?;
    Ok(path)
}
