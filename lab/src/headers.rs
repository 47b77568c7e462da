//! The kernel's headers for user programs, as Debian's `linux-libc-dev` of the lab kernel's version has them.

use std::path::{Path, PathBuf};

use crate::arch::Arch;
use crate::cache::{self, Cache, Lock};
use crate::error::{Error, Result};
use crate::progress::say;
use crate::source::{self, Version};

/// Debian's package of them.
const PACKAGE: &str = "linux-libc-dev";

/// The directory that has `linux/iommufd.h`: in the cache, or fetched. They are of the lab kernel's version, if there is
/// one already, and else of the newest.
pub(crate) fn make(lock: &Lock, arch: &Arch, update: bool) -> Result<(Version, PathBuf)> {
    let cache = lock.cache();
    let wanted = if update {
        None
    } else {
        arch.cached_version(cache, None)
    };
    let cached = source::best(cached(cache, wanted.as_ref()), None, |(version, _)| {
        version.clone()
    });
    if let (Some(cached), false) = (cached, update) {
        return Ok(cached);
    }
    let apt = source::apt(cache, None)?;
    apt.update()?;
    let offers = apt.versions(PACKAGE)?;
    let version = choose(&offers, wanted.as_ref()).ok_or_else(|| {
        Error::new(format!(
            "{} has no {PACKAGE} of the lab kernel's series",
            source::SUITE
        ))
        .because(format!("it has: {}", offers.join(", ")))
    })?;
    if let Some(wanted) = wanted.filter(|wanted| !same(wanted, &version)) {
        say(format!(
            "{} no longer has the headers of Linux {}, the lab's kernel; taking {}",
            source::SUITE,
            wanted.0,
            version.0
        ));
    }
    let place = lock.workplace("headers")?;
    let root = apt.unpacked(PACKAGE, Some(&version.0), &place)?;
    let kept = lock.publish(
        &root,
        Path::new("headers").join(cache::directory_name(&version.0)),
    )?;
    Ok((version, kept.join("usr/include")))
}

/// The headers in the cache; of one version, if one is wanted.
fn cached(cache: &Cache, wanted: Option<&Version>) -> Vec<(Version, PathBuf)> {
    cache
        .names("headers")
        .into_iter()
        .map(|name| {
            (
                Version(name.clone()),
                cache.path("headers").join(name).join("usr/include"),
            )
        })
        .filter(|(version, _)| wanted.is_none_or(|wanted| same(wanted, version)))
        .collect()
}

/// The version on offer that is wanted, or else the best.
fn choose(offers: &[String], wanted: Option<&Version>) -> Option<Version> {
    let offers: Vec<Version> = offers.iter().cloned().map(Version).collect();
    let exact = offers
        .iter()
        .find(|offer| wanted.is_some_and(|wanted| same(wanted, offer)))
        .cloned();
    exact.or_else(|| source::best(offers, None, Version::clone))
}

/// Whether two versions are one: the cache has them as names of directories.
fn same(one: &Version, other: &Version) -> bool {
    cache::directory_name(&one.0) == cache::directory_name(&other.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_headers_of_the_kernel_if_there_are_any() {
        let offers = ["7.3.5-1~bpo13+1", "7.3.4-1~bpo13+1", "7.4.1-1~bpo13+1"].map(str::to_owned);
        let chosen = |wanted: &str| {
            choose(&offers, Some(&Version(wanted.to_owned())))
                .unwrap()
                .0
        };
        assert_eq!(chosen("7.3.4-1-bpo13-1"), "7.3.4-1~bpo13+1");
        assert_eq!(chosen("7.3.1-1-bpo13-1"), "7.3.5-1~bpo13+1");
        assert_eq!(choose(&offers, None).unwrap().0, "7.3.5-1~bpo13+1");
    }
}
