//! The kernel's source: which version, where from, unpacked where.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::apt::Apt;
use crate::cache::{self, Cache, Lock};
use crate::command::command;
use crate::error::{Doing, Error, Result};
use crate::progress::{Step, Unit, say};
use crate::series::Series;

/// The series the lab is written for.
pub(crate) const SERIES: Series = Series::new(7, 3);
/// What takes its place when it is gone: the newest of these.
const MAJOR: &str = "7.";
/// The Debian suite that has it, whatever the release of this machine.
pub(crate) const SUITE: &str = "trixie-backports";
/// Those that have another series, if one is asked for.
const SUITES: [&str; 2] = [SUITE, "trixie"];
/// The package of a series' source, without the series.
const PACKAGE: &str = "linux-source-";

/// A version of a Debian source package, such as `7.3.4-1~bpo13+1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version(pub(crate) String);

impl Version {
    /// The series that a version belongs to.
    pub(crate) fn series(&self) -> Option<Series> {
        Series::of(&self.0)
    }

    /// The numbers in it, which order the versions of one suite.
    pub(crate) fn numbers(&self) -> Vec<u64> {
        self.0
            .split(|c: char| !c.is_ascii_digit())
            .filter_map(|number| number.parse().ok())
            .collect()
    }
}

/// The best of some versions: the newest of the series that is wanted. Without one, it is the newest of the lab's, else of
/// its major version.
pub(crate) fn best<T>(
    candidates: Vec<T>,
    wanted: Option<Series>,
    version: impl Fn(&T) -> Version,
) -> Option<T> {
    candidates
        .into_iter()
        .filter(|candidate| match wanted {
            Some(series) => version(candidate).series() == Some(series),
            None => version(candidate).0.starts_with(MAJOR),
        })
        .max_by_key(|candidate| {
            let version = version(candidate);
            (version.series() == Some(SERIES), version.numbers())
        })
}

/// The version that the suites offer now. Asks the network.
pub(crate) fn newest(apt: &Apt, wanted: Option<Series>) -> Result<Version> {
    apt.update()?;
    if let Some(series) = wanted {
        return newest_of(apt, series);
    }
    let mut offers = Vec::new();
    for package in apt.search(&format!("^{PACKAGE}[0-9.]+$"))? {
        offers.extend(apt.versions(&package)?.into_iter().map(Version));
    }
    let seen: Vec<String> = offers.iter().map(|version| version.0.clone()).collect();
    let version = best(offers, None, Version::clone).ok_or_else(|| {
        Error::new(format!("{SUITE} has no Linux {MAJOR}x source"))
            .because(format!("it has: {}", if seen.is_empty() { "none".to_owned() } else { seen.join(", ") }))
            .next("bring a kernel: --kernel FILE takes an image or a source tarball (linux-source-*.tar.xz)")
    })?;
    if version.series() != Some(SERIES) {
        say(format!(
            "{SUITE} no longer has Linux {SERIES}; taking the newest {MAJOR}x instead: {}",
            version.0
        ));
    }
    Ok(version)
}

/// The same of one series, whose package has its name.
fn newest_of(apt: &Apt, series: Series) -> Result<Version> {
    let offers = apt.versions(&format!("{PACKAGE}{series}"))?;
    let offers = offers.into_iter().map(Version).collect();
    best(offers, Some(series), Version::clone).ok_or_else(|| {
        Error::new(format!("Debian has no Linux {series} source"))
            .because(format!("the package {PACKAGE}{series} was looked for in {}", SUITES.join(" and ")))
            .next("see which there are, https://packages.debian.org/linux-source, or bring a source tarball: --kernel FILE")
    })
}

/// The apt configuration that has the source.
pub(crate) fn apt(cache: &Cache, wanted: Option<Series>) -> Result<Apt> {
    match wanted {
        None => Apt::of_suites(cache, "kernel", &[SUITE]),
        Some(_) => Apt::of_suites(cache, "kernels", &SUITES),
    }
}

/// The directory of an unpacked source.
pub(crate) fn directory(version: &Version) -> PathBuf {
    Path::new("source").join(cache::directory_name(&version.0))
}

/// The unpacked sources in the cache.
pub(crate) fn cached(cache: &Cache) -> Vec<(Version, PathBuf)> {
    cache
        .names("source")
        .into_iter()
        .map(|name| (Version(name.clone()), cache.path("source").join(name)))
        .collect()
}

/// Whether the source of a series is in the cache.
pub(crate) fn is_cached(cache: &Cache, series: Series) -> bool {
    let mut versions = cached(cache).into_iter();
    versions.any(|(version, _)| version.series() == Some(series))
}

/// Fetches and unpacks the source of a version that the suite has.
pub(crate) fn fetch(lock: &Lock, apt: &Apt, version: &Version) -> Result<PathBuf> {
    let place = lock.workplace("source")?;
    let series = version
        .series()
        .ok_or_else(|| Error::new(format!("cannot tell which Linux {} is", version.0)))?;
    let package = format!("{PACKAGE}{series}");
    let root = apt.unpacked(&package, Some(&version.0), &place)?;
    let tarball = root.join("usr/src").join(format!("{package}.tar.xz"));
    let tree = unpack(&tarball, &place)?;
    let tree = lock.publish(&tree, directory(version))?;
    fs::remove_dir_all(&place).unwrap_or_default();
    Ok(tree)
}

/// The key in the cache of a source tarball that the user brought.
pub(crate) fn brought_key(tarball: &Path) -> Result<String> {
    let name = tarball.file_name().unwrap_or_default().to_string_lossy();
    Ok(format!(
        "{}-{}",
        cache::directory_name(&name),
        cache::file_key(tarball)?
    ))
}

/// The directory of a source that the user brought, unpacked.
pub(crate) fn brought(key: &str) -> PathBuf {
    Path::new("brought").join(key)
}

/// Unpacks a source tarball that the user brought.
pub(crate) fn bring(lock: &Lock, tarball: &Path) -> Result<(String, PathBuf)> {
    let key = brought_key(tarball)?;
    let brought = brought(&key);
    let there = lock.cache().path(&brought);
    if there.is_dir() {
        return Ok((key, there));
    }
    let place = lock.workplace("brought")?;
    let tree = unpack(tarball, &place)?;
    Ok((key, lock.publish(&tree, brought)?))
}

/// Unpacks a tarball, whatever its compression, without its top directory; answers where.
fn unpack(tarball: &Path, place: &Path) -> Result<PathBuf> {
    let tree = place.join("tree");
    cache::create(&tree)?;
    let cannot = || format!("cannot read {}", tarball.display());
    let mut input = File::open(tarball).doing(cannot)?;
    let size = input.metadata().doing(cannot)?.len();
    let step = Step::start("unpacking the kernel source", Unit::Bytes, size);
    let mut child = command("tar")
        .args([decompression(tarball), "-x", "--strip-components=1", "-C"])
        .arg(&tree)
        .stdin(Stdio::piped())
        .spawn()
        .doing(|| "cannot start tar".to_owned())?;
    // Fed by hand, so as to know how far it is.
    let mut fed = 0;
    if let Some(mut pipe) = child.stdin.take() {
        let mut buffer = vec![0; 1 << 20];
        loop {
            let count = input.read(&mut buffer).doing(cannot)?;
            if count == 0 || pipe.write_all(&buffer[..count]).is_err() {
                break; // Why tar stopped reading, its status tells.
            }
            fed += count as u64;
            step.at(fed);
        }
    }
    let status = child.wait().doing(|| "cannot wait for tar".to_owned())?;
    if !status.success() {
        return Err(Error::new(format!("cannot unpack {}", tarball.display()))
            .because(format!("tar failed: {status}"))
            .next(
                "see that the file is a complete tar archive and that the cache has 2 GB of room",
            ));
    }
    if !tree.join("Kconfig").is_file() {
        return Err(
            Error::new(format!("{} is not a kernel source", tarball.display()))
                .because("there is no Kconfig below its top directory"),
        );
    }
    step.done("unpacked the kernel source");
    Ok(tree)
}

/// The option that makes tar decompress its standard input, where it cannot look ahead by itself.
fn decompression(tarball: &Path) -> &'static str {
    match tarball.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => "-J",
        Some("gz" | "tgz") => "-z",
        Some("zst") => "--zstd",
        Some("bz2") => "-j",
        _ => "--no-same-owner",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(offers: &[&str]) -> Option<String> {
        let offers = offers
            .iter()
            .map(|version| Version((*version).to_owned()))
            .collect();
        best(offers, None, Version::clone).map(|version| version.0)
    }

    #[test]
    fn takes_the_newest_of_the_series_that_is_asked_for() {
        let offers = ["6.12.95-1", "6.12.107-1", "6.1.190-1", "7.3.4-1~bpo13+1"];
        let offers = offers.map(|version| Version(version.to_owned())).to_vec();
        let of = |series| best(offers.clone(), Some(series), Version::clone);
        assert_eq!(of(Series::new(6, 12)).unwrap().0, "6.12.107-1");
        assert_eq!(of(Series::new(6, 13)), None);
    }

    #[test]
    fn takes_the_newest_of_the_series() {
        let offers = [
            "7.3.4-1~bpo13+1",
            "7.3.10-1~bpo13+1",
            "7.4.1-1~bpo13+1",
            "6.12.107-1",
        ];
        assert_eq!(chosen(&offers).unwrap(), "7.3.10-1~bpo13+1");
    }

    #[test]
    fn takes_the_newest_of_the_major_version_when_the_series_is_gone() {
        let offers = ["7.2.12-1~bpo13+1", "7.10.1-1~bpo13+1", "7.4.3-1~bpo13+1"];
        assert_eq!(chosen(&offers).unwrap(), "7.10.1-1~bpo13+1");
        assert_eq!(chosen(&["6.12.107-1", "8.0.1-1"]), None);
    }

    #[test]
    fn a_version_knows_its_series() {
        let version = Version("7.3.4-1~bpo13+1".to_owned());
        assert_eq!(version.series(), Some(SERIES));
        let other = Version("7.4-1".to_owned());
        assert_eq!(other.series(), Some(Series::new(7, 4)));
    }
}
