//! The lab's kernel: what it is made of, whether it is in the cache, and its build.

use std::fs;
use std::path::{Path, PathBuf};

use crate::arch::Arch;
use crate::cache::{self, Cache, Lock};
use crate::command::{self, command};
use crate::error::{Doing, Error, Result};
use crate::features;
use crate::host::{self, Need};
use crate::progress::{Step, Unit, say};
use crate::series::Series;
use crate::source::{self, Version};

/// How the kernel of an architecture is built.
#[derive(Debug)]
pub(crate) struct Recipe {
    /// The architecture's name in the kernel's tree.
    pub(crate) make: &'static str,
    /// What the names of the compiler and its tools begin with; nothing, for the host's own.
    pub(crate) cross: &'static str,
    /// The configuration, on top of `allnoconfig`.
    pub(crate) fragment: &'static str,
    /// More settings for make.
    pub(crate) settings: &'static [&'static str],
    /// What else is to be kept of the build: made of its objects, in the directory of the result.
    pub(crate) keep: fn(&Path, &Path) -> Result<()>,
    /// What is built, and booted.
    pub(crate) image: &'static str,
    /// Where the build leaves it.
    pub(crate) built: &'static str,
    /// Whether there are symbols in it to be taken out.
    pub(crate) strip: bool,
    /// How many lines the build prints, to say how far it is.
    pub(crate) steps: u64,
    /// What it takes to build it.
    pub(crate) needs: &'static [&'static [Need]],
    /// What a user may bring instead.
    pub(crate) brought: &'static str,
    /// Whether a file that starts so is that.
    pub(crate) is_image: fn(&[u8]) -> bool,
}

impl Arch {
    /// The key of the configuration for the Linux of a series. A comment changes no kernel.
    fn key(&self, series: Option<Series>) -> String {
        let settings: Vec<&str> = settings(self.kernel.fragment, series).collect();
        cache::key(settings.join("\n").as_bytes())
    }

    /// The name in the cache of the kernel that is built from a source, which is of a series.
    fn directory(&self, source: &str, series: Option<Series>) -> PathBuf {
        let name = format!(
            "{}-{}-{}",
            self.name,
            cache::directory_name(source),
            self.key(series)
        );
        Path::new("kernel").join(name)
    }

    /// The kernel that is built, or is to be, from a source.
    fn kernel_of(&self, cache: &Cache, source: &str, series: Option<Series>) -> Kernel {
        let directory = cache.path(self.directory(source, series));
        Kernel {
            image: directory.join(self.kernel.image),
            series,
        }
    }

    /// The best kernel in the cache with this configuration, if there is one; of a series, if one is wanted.
    pub(crate) fn cached(&self, cache: &Cache, wanted: Option<Series>) -> Option<Kernel> {
        let version = self.cached_version(cache, wanted)?;
        Some(self.of_version(cache, &version))
    }

    /// The same from a version of Debian's source.
    fn of_version(&self, cache: &Cache, version: &Version) -> Kernel {
        self.kernel_of(cache, &version.0, version.series())
    }

    /// Its version.
    pub(crate) fn cached_version(&self, cache: &Cache, wanted: Option<Series>) -> Option<Version> {
        let version = |name: &String| {
            let rest = name.strip_prefix(self.name)?.strip_prefix('-')?;
            let (version, key) = rest.rsplit_once('-')?;
            (key == self.key(Series::of(version))).then(|| version.to_owned())
        };
        let versions = cache
            .names("kernel")
            .iter()
            .filter_map(version)
            .map(Version)
            .collect();
        source::best(versions, wanted, Version::clone)
    }
}

/// A kernel to boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kernel {
    /// Its image.
    pub(crate) image: PathBuf,
    /// Which Linux it is; of an image that a user brought nothing is known.
    pub(crate) series: Option<Series>,
}

/// The kernel that the user asked for with `--kernel`.
#[derive(Debug)]
pub(crate) enum Brought {
    /// An image to boot.
    Image(PathBuf),
    /// A source tarball to build one from.
    Tarball(PathBuf),
    /// A series, whose source Debian has.
    Series(Series),
}

impl Brought {
    /// Looks at what `--kernel` names.
    pub(crate) fn look(path: &Path, arch: &Arch) -> Result<Self> {
        if let Some(series) = series_of(path) {
            return Ok(Self::Series(series));
        }
        let path = std::path::absolute(path).doing(|| format!("cannot use {}", path.display()))?;
        let mut start = [0; 0x210];
        let mut file =
            fs::File::open(&path).doing(|| format!("cannot read the kernel {}", path.display()))?;
        let length = std::io::Read::read(&mut file, &mut start)
            .doing(|| format!("cannot read the kernel {}", path.display()))?;
        let start = &start[..length];
        let name = path.to_string_lossy();
        if (arch.kernel.is_image)(start) {
            Ok(Self::Image(path))
        } else if name.contains(".tar") || name.ends_with(".tgz") {
            Ok(Self::Tarball(path))
        } else {
            let image = arch.kernel.brought;
            Err(Error::new(format!(
                "{name} is neither a kernel image for {} nor a source tarball",
                arch.name
            ))
            .because(format!(
                "it does not start as {image} does, and its name has no .tar in it"
            ))
            .next(format!("give --kernel {image}, or a linux-source-*.tar.xz")))
        }
    }
}

/// The series that `--kernel` names, if it names no file.
pub(crate) fn series_of(path: &Path) -> Option<Series> {
    path.to_str()?.parse().ok()
}

/// What the lab still needs to have a kernel.
pub(crate) fn needs(arch: &Arch) -> Vec<Need> {
    host::missing(&arch.kernel.needs.concat())
}

/// The kernel from Debian's source: from the cache, or built. The network is asked only if the cache cannot answer, or
/// if `update` is set.
pub(crate) fn make(
    lock: &Lock,
    arch: &Arch,
    wanted: Option<Series>,
    update: bool,
) -> Result<Kernel> {
    let cache = lock.cache();
    if !update && let Some(kernel) = arch.cached(cache, wanted) {
        return Ok(kernel);
    }
    let (version, tree) = source_tree(lock, wanted, update)?;
    let kernel = arch.of_version(cache, &version);
    if kernel.image.is_file() {
        say(format!(
            "Linux {} is the newest, and is built already",
            version.0
        ));
        return Ok(kernel);
    }
    build(lock, arch, &version.0, &tree)
}

/// The kernel from a tarball that the user brought.
pub(crate) fn make_from_tarball(lock: &Lock, arch: &Arch, tarball: &Path) -> Result<Kernel> {
    let (key, tree) = source::bring(lock, tarball)?;
    build(lock, arch, &key, &tree)
}

/// The kernel from a tarball that the user brought, if it is built.
pub(crate) fn cached_from_tarball(
    cache: &Cache,
    arch: &Arch,
    tarball: &Path,
) -> Result<Option<Kernel>> {
    let key = source::brought_key(tarball)?;
    let tree = cache.path(source::brought(&key));
    let kernel = arch.kernel_of(cache, &key, series_of_tree(&tree));
    Ok(kernel.image.is_file().then_some(kernel))
}

/// An unpacked source tree: from the cache, or fetched.
pub(crate) fn source_tree(
    lock: &Lock,
    wanted: Option<Series>,
    update: bool,
) -> Result<(Version, PathBuf)> {
    let cache = lock.cache();
    let cached = source::best(
        source::cached(cache),
        wanted,
        |(version, _): &(Version, PathBuf)| version.clone(),
    );
    if let (Some(cached), false) = (cached, update) {
        return Ok(cached);
    }
    let apt = source::apt(cache, wanted)?;
    let version = source::newest(&apt, wanted)?;
    let tree = cache.path(source::directory(&version));
    let tree = if tree.is_dir() {
        tree
    } else {
        source::fetch(lock, &apt, &version)?
    };
    Ok((version, tree))
}

/// Builds a kernel out of its source tree.
fn build(lock: &Lock, arch: &Arch, name: &str, tree: &Path) -> Result<Kernel> {
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let place = lock.workplace("kernel")?;
    let (objects, result) = (place.join("objects"), place.join("result"));
    cache::create(&objects)?;
    cache::create(&result)?;
    let fragment = result.join("fragment");
    let recipe = &arch.kernel;
    let series = series_of_tree(tree);
    let lines: String = settings(recipe.fragment, series)
        .map(|line| format!("{line}\n"))
        .collect();
    fs::write(&fragment, lines).doing(|| format!("cannot write {}", fragment.display()))?;
    // Outside the workplace, which the next run clears away: a user wants to read it after a failure.
    let log = lock.cache().path("kernel-build.log");
    fs::remove_file(&log).unwrap_or_default();

    let shown = release(tree).unwrap_or_else(|| name.to_owned());
    let step = Step::start(
        format!("building Linux {shown} for {} with {jobs} jobs", arch.name),
        Unit::About("steps"),
        recipe.steps,
    );
    let make = |arguments: &[&str]| {
        let mut make = command("make");
        make.env("LC_ALL", "C")
            .env("KCONFIG_ALLCONFIG", &fragment)
            .arg("-C")
            .arg(tree)
            .arg(format!("O={}", objects.display()))
            .arg(format!("ARCH={}", recipe.make))
            .arg(format!("CROSS_COMPILE={}", recipe.cross))
            .args(recipe.settings)
            .args(arguments);
        make
    };
    let hint = |error: Error| {
        error.next("the kernel's build needs the packages that `cargo lab help setup` lists; see the log for the first error")
    };
    command::logged(&mut make(&["allnoconfig"]), &log, |_| {}).map_err(hint)?;
    check_configuration(arch, series, &objects.join(".config"))?;
    let mut lines = 0;
    command::logged(
        &mut make(&[&format!("-j{jobs}"), recipe.image]),
        &log,
        |_| {
            lines += 1;
            step.at(lines);
        },
    )
    .map_err(hint)?;
    (recipe.keep)(&objects, &result)?;
    let (built, image) = (objects.join(recipe.built), result.join(recipe.image));
    if recipe.strip {
        command::output(command("strip").arg("-o").arg(&image).arg(&built))?;
    } else {
        fs::rename(&built, &image).doing(|| format!("cannot move {}", built.display()))?;
    }
    let config = result.join("config");
    fs::copy(objects.join(".config"), &config)
        .doing(|| format!("cannot write {}", config.display()))?;
    let kept = lock.publish(&result, arch.directory(name, series))?;
    fs::remove_dir_all(&place).unwrap_or_default();
    step.done(format!("built Linux {shown} for {}", arch.name));
    Ok(Kernel {
        image: kept.join(recipe.image),
        series,
    })
}

/// Keeps nothing but what is always kept.
pub(crate) fn keep_nothing_else(_: &Path, _: &Path) -> Result<()> {
    Ok(())
}

/// The release that a source tree says it is of, such as `7.3.4`.
fn release(tree: &Path) -> Option<String> {
    release_from(&fs::read_to_string(tree.join("Makefile")).ok()?)
}

/// The series of that release.
fn series_of_tree(tree: &Path) -> Option<Series> {
    Series::of(&release(tree)?)
}

fn release_from(makefile: &str) -> Option<String> {
    let value = |name: &str| {
        makefile.lines().find_map(|line| {
            line.strip_prefix(name)?
                .trim_start()
                .strip_prefix('=')
                .map(str::trim)
        })
    };
    let numbers = [value("VERSION")?, value("PATCHLEVEL")?, value("SUBLEVEL")?];
    Some(numbers.join("."))
}

/// Sees that a kernel took every line of the fragment that its series knows. A series that the lab is tested on fails
/// otherwise: without an option less would be tested, and nobody would notice. Of another one the lab says so only, as it
/// may know an option by another name.
fn check_configuration(arch: &Arch, series: Option<Series>, config: &Path) -> Result<()> {
    let config =
        fs::read_to_string(config).doing(|| format!("cannot read {}", config.display()))?;
    let lost = lost(arch.kernel.fragment, series, &config);
    match series {
        Some(series) if features::KERNELS.contains(&series) && !lost.is_empty() => {
            Err(Error::new(format!(
                "the configuration of Linux {series} for {} lacks what the lab needs",
                arch.name
            ))
            .because(format!("it did not take {}", lost.join(", ")))
            .next(format!(
                "if it is newer than this kernel, say so in front of it in lab/kernel: `{SINCE}...`"
            )))
        }
        _ => {
            for line in lost {
                say(format!(
                    "note: this kernel's configuration did not take {line}"
                ));
            }
            Ok(())
        }
    }
}

/// How a fragment says, on a line in front of an option, since which Linux there is one.
const SINCE: &str = "# since Linux ";
/// How it says that a newer Linux has none.
const BEFORE: &str = "# before Linux ";

/// The lines of a fragment that are no comments, for the Linux of a series: without what is newer, and what is gone. Of
/// a Linux that is not known it is thought to be new.
fn settings(fragment: &str, series: Option<Series>) -> impl Iterator<Item = &str> {
    let notes = std::iter::once("").chain(fragment.lines());
    let is_there = move |note: &str| {
        let named = |begins| Some(note.strip_prefix(begins)?.parse::<Series>());
        let is_before = |other| series.is_some_and(|series| series < other);
        match (named(SINCE), named(BEFORE)) {
            (Some(Ok(since)), _) => !is_before(since),
            (_, Some(Ok(gone))) => is_before(gone),
            _ => true,
        }
    };
    notes
        .zip(fragment.lines())
        .filter(|(_, line)| line.starts_with("CONFIG_"))
        .filter(move |(note, _)| is_there(note))
        .map(|(_, line)| line)
}

/// The lines of a fragment that the configuration of a kernel does not have, though it could.
fn lost<'a>(fragment: &'a str, series: Option<Series>, config: &str) -> Vec<&'a str> {
    let has = |line: &str| config.lines().any(|other| other == line);
    settings(fragment, series)
        .filter(|line| match line.strip_suffix("=n") {
            Some(name) => config
                .lines()
                .any(|other| other.starts_with(&format!("{name}="))),
            None => !has(line),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::{AARCH64, COVERAGE, X86_64};

    #[test]
    fn finds_what_a_configuration_did_not_take() {
        let fragment = "# comment\nCONFIG_A=y\nCONFIG_B=n\nCONFIG_C=y\nCONFIG_D=n\nCONFIG_E=7\n";
        let config =
            "CONFIG_A=y\n# CONFIG_B is not set\n# CONFIG_C is not set\nCONFIG_D=y\nCONFIG_E=8\n";
        assert_eq!(
            lost(fragment, None, config),
            ["CONFIG_C=y", "CONFIG_D=n", "CONFIG_E=7"]
        );
    }

    #[test]
    fn a_kernel_takes_what_there_is_in_its_series() {
        let fragment = "CONFIG_A=y\n# since Linux 6.13\nCONFIG_B=y\nCONFIG_C=y\n\
                        # before Linux 6.13\nCONFIG_D=y\n";
        let lost = |series| lost(fragment, series, "");
        let older = lost(Some(Series::new(6, 12)));
        assert_eq!(older, ["CONFIG_A=y", "CONFIG_C=y", "CONFIG_D=y"]);
        for newer in [Some(Series::new(6, 13)), None] {
            assert_eq!(lost(newer), ["CONFIG_A=y", "CONFIG_B=y", "CONFIG_C=y"]);
        }
    }

    #[test]
    fn every_note_of_a_fragment_is_on_an_option_and_can_be_read() {
        for arch in [&X86_64, &AARCH64, &COVERAGE] {
            let lines: Vec<&str> = arch.kernel.fragment.lines().collect();
            for pair in lines.windows(2) {
                let mut notes = [SINCE, BEFORE].into_iter();
                let read = notes.find_map(|begins| pair[0].strip_prefix(begins));
                if pair[0].starts_with("# since") || pair[0].starts_with("# before") {
                    read.unwrap().parse::<Series>().unwrap();
                    assert!(pair[1].starts_with("CONFIG_"), "{pair:?}");
                }
            }
        }
    }

    #[test]
    fn a_source_tree_knows_its_release() {
        let makefile =
            "# SPDX\nVERSION = 7\nPATCHLEVEL = 3\nSUBLEVEL = 4\nEXTRAVERSION =\nVERSION_X = 9\n";
        assert_eq!(release_from(makefile).unwrap(), "7.3.4");
        assert_eq!(release_from("all:\n"), None);
    }

    #[test]
    fn a_kernel_is_named_by_its_source_and_its_configuration() {
        let (version, series) = ("7.3.4-1~bpo13+1", Some(Series::new(7, 3)));
        let name = X86_64.directory(version, series);
        let expected = format!("kernel/x86_64-7.3.4-1-bpo13-1-{}", X86_64.key(series));
        assert_eq!(name, Path::new(&expected));
        assert_ne!(name, COVERAGE.directory(version, series));
        assert_ne!(X86_64.key(series), X86_64.key(Some(Series::new(6, 12))));
    }
}
