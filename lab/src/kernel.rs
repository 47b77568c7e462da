//! The lab's kernel: what it is made of, whether it is in the cache, and its build.

use std::fs;
use std::path::{Path, PathBuf};

use crate::arch::Arch;
use crate::cache::{self, Cache, Lock};
use crate::command::{self, command};
use crate::error::{Doing, Error, Result};
use crate::host::{self, Need};
use crate::progress::{Step, Unit, say};
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
    /// The key of the configuration. A comment changes no kernel.
    fn key(&self) -> String {
        let settings: Vec<&str> = settings(self.kernel.fragment).collect();
        cache::key(settings.join("\n").as_bytes())
    }

    /// The name in the cache of the kernel that is built from a source.
    fn directory(&self, source: &str) -> PathBuf {
        let name = format!(
            "{}-{}-{}",
            self.name,
            cache::directory_name(source),
            self.key()
        );
        Path::new("kernel").join(name)
    }

    /// The path in the cache of the image that is built from a source.
    pub(crate) fn image_of(&self, source: &str) -> PathBuf {
        self.directory(source).join(self.kernel.image)
    }

    /// The best kernel in the cache with this configuration, if there is one.
    pub(crate) fn cached(&self, cache: &Cache) -> Option<PathBuf> {
        let version = self.cached_version(cache)?;
        Some(cache.path(self.image_of(&version.0)))
    }

    /// Its version.
    pub(crate) fn cached_version(&self, cache: &Cache) -> Option<Version> {
        let key = self.key();
        let version = |name: &String| {
            let rest = name.strip_prefix(self.name)?.strip_prefix('-')?;
            rest.strip_suffix(&key)?
                .strip_suffix('-')
                .map(str::to_owned)
        };
        let versions = cache
            .names("kernel")
            .iter()
            .filter_map(version)
            .map(Version)
            .collect();
        source::best(versions, Version::clone)
    }
}

/// The kernel that the user brought with `--kernel`.
#[derive(Debug)]
pub(crate) enum Brought {
    /// An image to boot.
    Image(PathBuf),
    /// A source tarball to build one from.
    Tarball(PathBuf),
}

impl Brought {
    /// Looks at what `--kernel` names.
    pub(crate) fn look(path: &Path, arch: &Arch) -> Result<Self> {
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

/// What the lab still needs to have a kernel.
pub(crate) fn needs(arch: &Arch) -> Vec<Need> {
    host::missing(&arch.kernel.needs.concat())
}

/// The kernel from Debian's source: from the cache, or built. The network is asked only if the cache cannot answer, or
/// if `update` is set.
pub(crate) fn make(lock: &Lock, arch: &Arch, update: bool) -> Result<PathBuf> {
    let cache = lock.cache();
    if !update && let Some(kernel) = arch.cached(cache) {
        return Ok(kernel);
    }
    let (version, tree) = source_tree(lock, update)?;
    let kernel = cache.path(arch.image_of(&version.0));
    if kernel.is_file() {
        say(format!(
            "Linux {} is the newest, and is built already",
            version.0
        ));
        return Ok(kernel);
    }
    build(lock, arch, &version.0, &tree)
}

/// The kernel from a tarball that the user brought.
pub(crate) fn make_from_tarball(lock: &Lock, arch: &Arch, tarball: &Path) -> Result<PathBuf> {
    let (key, tree) = source::bring(lock, tarball)?;
    build(lock, arch, &key, &tree)
}

/// An unpacked source tree: from the cache, or fetched.
pub(crate) fn source_tree(lock: &Lock, update: bool) -> Result<(Version, PathBuf)> {
    let cache = lock.cache();
    let cached = source::best(
        source::cached(cache),
        |(version, _): &(Version, PathBuf)| version.clone(),
    );
    if let (Some(cached), false) = (cached, update) {
        return Ok(cached);
    }
    let apt = source::apt(cache)?;
    let version = source::newest(&apt)?;
    let tree = cache.path(source::directory(&version));
    let tree = if tree.is_dir() {
        tree
    } else {
        source::fetch(lock, &apt, &version)?
    };
    Ok((version, tree))
}

/// Builds a kernel out of its source tree.
fn build(lock: &Lock, arch: &Arch, name: &str, tree: &Path) -> Result<PathBuf> {
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let place = lock.workplace("kernel")?;
    let (objects, result) = (place.join("objects"), place.join("result"));
    cache::create(&objects)?;
    cache::create(&result)?;
    let fragment = result.join("fragment");
    let recipe = &arch.kernel;
    fs::write(&fragment, recipe.fragment)
        .doing(|| format!("cannot write {}", fragment.display()))?;
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
    report_lost(arch, &objects.join(".config"))?;
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
    let kept = lock.publish(&result, arch.directory(name))?;
    fs::remove_dir_all(&place).unwrap_or_default();
    step.done(format!("built Linux {shown} for {}", arch.name));
    Ok(kept.join(recipe.image))
}

/// Keeps nothing but what is always kept.
pub(crate) fn keep_nothing_else(_: &Path, _: &Path) -> Result<()> {
    Ok(())
}

/// The release that a source tree says it is of, such as `7.3.4`.
fn release(tree: &Path) -> Option<String> {
    release_from(&fs::read_to_string(tree.join("Makefile")).ok()?)
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

/// Says which lines of the fragment a kernel did not take: another version may know them under another name.
fn report_lost(arch: &Arch, config: &Path) -> Result<()> {
    let config =
        fs::read_to_string(config).doing(|| format!("cannot read {}", config.display()))?;
    for line in lost(arch.kernel.fragment, &config) {
        say(format!(
            "note: this kernel's configuration did not take {line}"
        ));
    }
    Ok(())
}

/// The lines of a fragment that are no comments.
fn settings(fragment: &str) -> impl Iterator<Item = &str> {
    fragment.lines().filter(|line| line.starts_with("CONFIG_"))
}

/// The lines of a fragment that a configuration does not have.
fn lost<'a>(fragment: &'a str, config: &str) -> Vec<&'a str> {
    let has = |line: &str| config.lines().any(|other| other == line);
    settings(fragment)
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
    use crate::arch::{COVERAGE, X86_64};

    #[test]
    fn finds_what_a_configuration_did_not_take() {
        let fragment = "# comment\nCONFIG_A=y\nCONFIG_B=n\nCONFIG_C=y\nCONFIG_D=n\nCONFIG_E=7\n";
        let config =
            "CONFIG_A=y\n# CONFIG_B is not set\n# CONFIG_C is not set\nCONFIG_D=y\nCONFIG_E=8\n";
        assert_eq!(
            lost(fragment, config),
            ["CONFIG_C=y", "CONFIG_D=n", "CONFIG_E=7"]
        );
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
        let name = X86_64.directory("7.3.4-1~bpo13+1");
        let expected = format!("kernel/x86_64-7.3.4-1-bpo13-1-{}", X86_64.key());
        assert_eq!(name, Path::new(&expected));
        assert_ne!(name, COVERAGE.directory("7.3.4-1~bpo13+1"));
    }
}
