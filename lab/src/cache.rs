//! Where the lab keeps what took long to make, outside the checkout.
//!
//! Everything is made under `tmp/` and renamed to its name when it is complete, by the one process that holds the lock:
//! what has its name is whole, and what a killed run left behind is thrown away by the next.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use crate::error::{Doing, Error, Result};
use crate::progress::{Step, Unit};

/// The cache directory.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    root: PathBuf,
}

/// Held by the process that adds to the cache.
#[derive(Debug)]
pub(crate) struct Lock {
    cache: Cache,
    _file: File,
}

impl Cache {
    /// The cache of this user: `$IOMMU_LAB_CACHE`, else below `$XDG_CACHE_HOME`, else below `~/.cache`.
    pub(crate) fn open() -> Result<Self> {
        let variable = |name| {
            std::env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        let root = variable("IOMMU_LAB_CACHE")
            .or_else(|| variable("XDG_CACHE_HOME").map(|home| home.join("iommu-lab")))
            .or_else(|| variable("HOME").map(|home| home.join(".cache/iommu-lab")))
            .ok_or_else(|| {
                Error::new("no place for the lab's cache")
                    .because("neither IOMMU_LAB_CACHE nor XDG_CACHE_HOME nor HOME is set")
                    .next("set IOMMU_LAB_CACHE to a directory with 4 GB of room")
            })?;
        let root = std::path::absolute(&root)
            .doing(|| format!("cannot use {} as the cache", root.display()))?;
        create(&root)?;
        Ok(Self { root })
    }

    /// A path in the cache.
    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.root.join(name)
    }

    /// The names in a directory of the cache.
    pub(crate) fn names(&self, directory: &str) -> Vec<String> {
        fs::read_dir(self.path(directory))
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect()
    }

    /// Waits until no other `cargo lab` adds to the cache, and clears away what a killed one left.
    pub(crate) fn lock(&self) -> Result<Lock> {
        let path = self.path("lock");
        let cannot = || format!("cannot lock {}", path.display());
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .doing(cannot)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let step = Step::start(
                    "waiting for another cargo lab that sets this machine up",
                    Unit::Nothing,
                    0,
                );
                file.lock().doing(cannot)?;
                step.done("the other cargo lab is through");
            }
            Err(TryLockError::Error(error)) => return Err(error).doing(cannot),
        }
        // Whatever is here was left by a killed run. What an orphaned child of it still writes to has a name that no
        // later run uses, so a failure to remove it hurts nobody.
        fs::remove_dir_all(self.path("tmp")).unwrap_or_default();
        Ok(Lock {
            cache: self.clone(),
            _file: file,
        })
    }
}

impl Lock {
    /// The cache that is locked.
    pub(crate) fn cache(&self) -> &Cache {
        &self.cache
    }

    /// A new, empty directory to make something in.
    pub(crate) fn workplace(&self, name: &str) -> Result<PathBuf> {
        let path = self
            .cache
            .path("tmp")
            .join(format!("{name}-{}", std::process::id()));
        if path.exists() {
            fs::remove_dir_all(&path).doing(|| format!("cannot remove {}", path.display()))?;
        }
        create(&path)?;
        Ok(path)
    }

    /// Gives something that is complete its name in the cache.
    pub(crate) fn publish(&self, made: &Path, name: impl AsRef<Path>) -> Result<PathBuf> {
        let path = self.cache.path(name);
        if let Some(parent) = path.parent() {
            create(parent)?;
        }
        if path.is_dir() {
            fs::remove_dir_all(&path).doing(|| format!("cannot replace {}", path.display()))?;
        }
        fs::rename(made, &path)
            .doing(|| format!("cannot rename {} to {}", made.display(), path.display()))?;
        Ok(path)
    }
}

/// Makes a directory and its parents.
pub(crate) fn create(directory: &Path) -> Result<()> {
    fs::create_dir_all(directory)
        .doing(|| format!("cannot make the directory {}", directory.display()))
}

/// A key for a text: FNV-1a, which unlike the standard library's hash stays the same from one Rust to the next.
pub(crate) fn key(text: &[u8]) -> String {
    let hash = text.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{hash:016x}")
}

/// A key for a file that is too large to read each time: its name, size and time of change.
pub(crate) fn file_key(file: &Path) -> Result<String> {
    let data = file
        .metadata()
        .doing(|| format!("cannot read {}", file.display()))?;
    let text = format!("{} {} {:?}", file.display(), data.len(), data.modified());
    Ok(key(text.as_bytes()))
}

/// A version as a directory name that make and shells take without quotes.
pub(crate) fn directory_name(version: &str) -> String {
    version
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '.' {
                c
            } else {
                '-'
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_fnv_1a() {
        assert_eq!(key(b""), "cbf29ce484222325");
        assert_eq!(key(b"foobar"), "85944171f73967e8");
    }

    #[test]
    fn a_version_makes_a_plain_name() {
        assert_eq!(directory_name("7.3.4-1~bpo13+1"), "7.3.4-1-bpo13-1");
    }

    #[test]
    fn what_is_unfinished_has_no_name() {
        let root = std::env::temp_dir().join(format!("lab-cache-test-{}", std::process::id()));
        let cache = Cache { root: root.clone() };
        create(&root).unwrap();
        let lock = cache.lock().unwrap();
        let half = lock.workplace("thing").unwrap();
        fs::write(half.join("file"), "half").unwrap();
        assert!(cache.names("things").is_empty());
        drop(lock);
        let lock = cache.lock().unwrap();
        assert!(!half.exists(), "the next run starts afresh");
        let whole = lock.workplace("thing").unwrap();
        fs::write(whole.join("file"), "whole").unwrap();
        lock.publish(&whole, "things/one").unwrap();
        assert_eq!(cache.names("things"), ["one"]);
        fs::remove_dir_all(root).unwrap();
    }
}
