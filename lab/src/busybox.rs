//! The guest's shell and tools: one static program. It is only unpacked into the cache, never installed, as Debian's
//! package of it would replace a `busybox` that the machine already uses.

use std::fs;
use std::path::PathBuf;

use crate::apt::Apt;
use crate::cache::{Cache, Lock};
use crate::command::find;
use crate::elf::{self, Kind};
use crate::error::{Doing, Result};

/// Debian's package of it.
pub(crate) const PACKAGE: &str = "busybox-static";

/// The busybox of this machine, if it is a static one, or that in the cache.
pub(crate) fn present(cache: &Cache) -> Option<PathBuf> {
    let kept = cache.path("busybox");
    if kept.is_file() {
        return Some(kept);
    }
    find("busybox").filter(|path| fs::read(path).is_ok_and(|file| elf::kind(&file) == Kind::Static))
}

/// Puts Debian's into the cache.
pub(crate) fn fetch(lock: &Lock, apt: &Apt) -> Result<PathBuf> {
    let place = lock.workplace("busybox")?;
    let root = apt.unpacked(PACKAGE, None, &place)?;
    let program = [root.join("bin/busybox"), root.join("usr/bin/busybox")]
        .into_iter()
        .find(|path| path.is_file())
        .unwrap_or_else(|| root.join("bin/busybox"));
    let path = lock.publish(&program, "busybox")?;
    fs::remove_dir_all(&place).doing(|| format!("cannot remove {}", place.display()))?;
    Ok(path)
}
