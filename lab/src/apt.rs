//! Debian's packages, without touching the machine's own apt configuration.
//!
//! A newer suite in `/etc/apt` would upgrade the machine's libc with the next `apt-get upgrade`. So each suite the lab
//! needs is in an apt configuration of its own, in the cache: its own list of sources and its own package lists. Where
//! packages come from is taken from the machine's own sources, so a mirror that is configured there is used here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cache::{self, Cache};
use crate::command::{self, command};
use crate::error::{Doing, Error, Result};
use crate::host::{self, System};
use crate::progress::{Step, Unit};

/// How many seconds apt waits for another package manager to finish.
const WAIT_FOR_DPKG: &str = "600";

/// One suite of a site.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Source {
    site: String,
    suite: String,
    component: String,
}

/// A private apt configuration.
#[derive(Debug)]
pub(crate) struct Apt {
    configuration: PathBuf,
    log: PathBuf,
}

impl Apt {
    /// A configuration that knows some foreign suites only, to download from.
    pub(crate) fn of_suites(cache: &Cache, name: &'static str, suites: &[&str]) -> Result<Self> {
        let archive = main_archive()?;
        let source = |suite: &&str| Source {
            suite: (*suite).to_owned(),
            ..archive.clone()
        };
        let sources: Vec<Source> = suites.iter().map(source).collect();
        Self::new(cache, name, &sources, None)
    }

    /// A configuration that knows Debian's suites of this machine, and its backports, to install from.
    pub(crate) fn of_machine(cache: &Cache, codename: &str, backports: bool) -> Result<Self> {
        let mut sources = debian_sources()?;
        if backports {
            sources.push(Source {
                suite: format!("{codename}-backports"),
                ..main_archive()?
            });
        }
        Self::new(cache, "machine", &sources, None)
    }

    /// A configuration that knows Debian's suites of this machine, but for an architecture that may be another, to
    /// download from.
    pub(crate) fn of_architecture(cache: &Cache, architecture: &'static str) -> Result<Self> {
        Self::new(cache, architecture, &debian_sources()?, Some(architecture))
    }

    fn new(
        cache: &Cache,
        name: &'static str,
        sources: &[Source],
        architecture: Option<&str>,
    ) -> Result<Self> {
        let root = cache.path("apt").join(name);
        cache::create(&root.join("lists/partial"))?;
        cache::create(&root.join("cache/archives/partial"))?;
        let list = root.join("sources.list");
        let text: String = sources
            .iter()
            .map(|source| line(source, keyring()))
            .collect();
        fs::write(&list, text).doing(|| format!("cannot write {}", list.display()))?;
        let mut settings = vec![
            ("Dir::Etc::sourcelist", list.display().to_string()),
            ("Dir::Etc::sourceparts", "/dev/null".to_owned()),
            ("Dir::Etc::preferences", "/dev/null".to_owned()),
            ("Dir::Etc::preferencesparts", "/dev/null".to_owned()),
            (
                "Dir::State::lists",
                root.join("lists").display().to_string(),
            ),
            ("Dir::Cache", root.join("cache").display().to_string()),
            ("Acquire::Languages", "none".to_owned()),
            ("Acquire::Retries", "3".to_owned()),
            // The cache is often below a home directory that apt's own user may not enter.
            ("APT::Sandbox::User", "root".to_owned()),
            ("DPkg::Lock::Timeout", WAIT_FOR_DPKG.to_owned()),
        ];
        if let Some(architecture) = architecture {
            settings.push(("APT::Architecture", architecture.to_owned()));
            settings.push(("APT::Architectures", architecture.to_owned()));
        }
        let configuration = root.join("apt.conf");
        let text: String = settings
            .iter()
            .map(|(name, value)| format!("{name} \"{value}\";\n"))
            .collect();
        fs::write(&configuration, text)
            .doing(|| format!("cannot write {}", configuration.display()))?;
        Ok(Self {
            log: cache.path("apt").join(format!("{name}.log")),
            configuration,
        })
    }

    /// A program of apt with this configuration.
    fn program(&self, program: &str) -> Command {
        let mut command = command(program);
        command
            .env("LC_ALL", "C")
            .env("DEBIAN_FRONTEND", "noninteractive");
        // Read after the machine's own, whose proxies and other ways to the network hold here too.
        command.arg("-c").arg(&self.configuration);
        command
    }

    /// Runs apt-get and shows how far it is.
    fn get(
        &self,
        what: &str,
        done: &str,
        arguments: &[&str],
        directory: Option<&Path>,
    ) -> Result<()> {
        let step = Step::start(what, Unit::Percent, 100);
        let mut command = self.program("apt-get");
        command
            .args(["-q", "-y", "-o", "APT::Status-Fd=1"])
            .args(arguments);
        if let Some(directory) = directory {
            command.current_dir(directory);
        }
        let installs = arguments.contains(&"install");
        fs::remove_file(&self.log).unwrap_or_default();
        command::logged(&mut command, &self.log, |line| {
            if let Some(percent) = percent(line, installs) {
                step.at(percent);
            }
        })
        .map_err(|_| self.failure(what))?;
        step.done(done);
        Ok(())
    }

    /// What apt says was wrong.
    fn failure(&self, what: &str) -> Error {
        let said = fs::read(&self.log).unwrap_or_default();
        Error::new(format!("{what} failed"))
            .because(complaints(&String::from_utf8_lossy(&said)))
            .because(format!("all that apt said is in {}", self.log.display()))
            .next("if the network or the mirror failed, run the same command again")
    }

    /// Fetches the lists of packages.
    pub(crate) fn update(&self) -> Result<()> {
        self.get(
            "fetching the package lists",
            "fetched the package lists",
            &["update", "-o", "APT::Update::Error-Mode=any"],
            None,
        )
    }

    /// Installs packages, those of `backports` from that suite, and nothing that they only recommend.
    pub(crate) fn install(&self, packages: &[&str], backports: Option<&str>) -> Result<()> {
        let names = packages.join(" ");
        let arguments = install_arguments(packages, backports);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        self.get(
            &format!("installing {names}"),
            &format!("installed {names}"),
            &arguments,
            None,
        )
    }

    /// The command that installs packages from this configuration, for a person to type.
    pub(crate) fn install_command(&self, packages: &[&str], backports: Option<&str>) -> String {
        let mut command = self.program("apt-get");
        command.args(install_arguments(packages, backports));
        command::show(&command)
    }

    /// Names of packages that match a pattern.
    pub(crate) fn search(&self, pattern: &str) -> Result<Vec<String>> {
        let mut search = self.program("apt-cache");
        let found = command::output(search.args(["search", "--names-only", pattern]))?;
        Ok(found
            .lines()
            .filter_map(|line| line.split(' ').next())
            .map(str::to_owned)
            .collect())
    }

    /// The versions of a package, newest first.
    pub(crate) fn versions(&self, package: &str) -> Result<Vec<String>> {
        let table = command::output(self.program("apt-cache").args(["madison", package]))?;
        Ok(table
            .lines()
            .filter_map(|line| line.split('|').nth(1))
            .map(|version| version.trim().to_owned())
            .collect())
    }

    /// Downloads one package into `directory` and unpacks it there; answers where.
    pub(crate) fn unpacked(
        &self,
        package: &str,
        version: Option<&str>,
        directory: &Path,
    ) -> Result<PathBuf> {
        let wanted = version.map_or_else(
            || package.to_owned(),
            |version| format!("{package}={version}"),
        );
        self.get(
            &format!("downloading {wanted}"),
            &format!("downloaded {wanted}"),
            &["download", &wanted],
            Some(directory),
        )?;
        let archive = fs::read_dir(directory)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
            .ok_or_else(|| {
                Error::new(format!("apt-get downloaded no {package}"))
                    .because(format!("no .deb file in {}", directory.display()))
            })?;
        let root = directory.join("root");
        command::output(command("dpkg-deb").arg("-x").arg(&archive).arg(&root))?;
        fs::remove_file(&archive).doing(|| format!("cannot remove {}", archive.display()))?;
        Ok(root)
    }
}

fn install_arguments(packages: &[&str], backports: Option<&str>) -> Vec<String> {
    let mut arguments = vec!["install".to_owned(), "--no-install-recommends".to_owned()];
    if let Some(suite) = backports {
        arguments.extend(["-t".to_owned(), suite.to_owned()]);
    }
    arguments.extend(packages.iter().map(|&package| package.to_owned()));
    arguments
}

/// How far apt is, from a line of its status report: `dlstatus:3:45.2:...` or `pmstatus:flex:60.0:...`.
fn percent(line: &str, installs: bool) -> Option<u64> {
    let mut fields = line.split(':');
    let phase = fields.next()?;
    // A package name may have an architecture behind a colon, so the number is the first field that is one.
    let text = fields
        .skip(1)
        .find(|field| field.contains('.') && field.parse::<f64>().is_ok())?;
    let percent: u64 = text.split('.').next()?.parse().ok()?;
    match (phase, installs) {
        ("dlstatus", false) => Some(percent),
        ("dlstatus", true) => Some(percent / 2),
        ("pmstatus", true) => Some(50 + percent / 2),
        _ => None,
    }
}

/// The lines of apt's output that say what was wrong; without any, the last of them.
fn complaints(said: &str) -> String {
    let said: Vec<&str> = said
        .lines()
        .filter(|line| !line.starts_with("dlstatus:") && !line.starts_with("pmstatus:"))
        .collect();
    let wrong: Vec<&str> = said
        .iter()
        .filter(|line| line.starts_with("E:") || line.contains("dpkg: error"))
        .copied()
        .collect();
    if wrong.is_empty() {
        command::last_lines(&said.join("\n"), 10)
    } else {
        wrong.join("\n")
    }
}

/// The keys that Debian's suites, newer ones as well, are signed with. Without the file, apt's trusted keys count.
fn keyring() -> Option<&'static Path> {
    [
        "/usr/share/keyrings/debian-archive-keyring.gpg",
        "/usr/share/keyrings/debian-archive-keyring.pgp",
    ]
    .into_iter()
    .map(Path::new)
    .find(|path| path.exists())
}

fn line(source: &Source, keyring: Option<&Path>) -> String {
    let signed = keyring.map_or_else(String::new, |path| {
        format!("[signed-by={}] ", path.display())
    });
    format!(
        "deb {signed}{} {} {}\n",
        source.site, source.suite, source.component
    )
}

/// Debian's own suites among this machine's sources, whether or not their lists were ever fetched.
fn debian_sources() -> Result<Vec<Source>> {
    if let System::Other(name) = host::system() {
        return Err(Error::new("the lab can download packages on Debian only")
            .because(format!("this is {name}")));
    }
    let targets = command::output(command("apt-get").env("LC_ALL", "C").args([
        "indextargets",
        "-o",
        "APT::Get::IndexTargets::ReleaseInfo=false",
        "--format",
        "$(REPO_URI) $(RELEASE) $(COMPONENT)",
        "Created-By: Packages",
    ]))?;
    let sources = debian_sources_from(&targets);
    if sources.is_empty() {
        return Err(
            Error::new("this machine's apt sources name no Debian suite")
                .because("`apt-get indextargets` shows none of the release's own suites")
                .next(
                    "give apt a Debian mirror in /etc/apt/sources.list.d and run the command again",
                ),
        );
    }
    Ok(sources)
}

/// The Debian suites in what `apt-get indextargets` says.
fn debian_sources_from(targets: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    for line in targets.lines() {
        let [site, suite, component] = line.split(' ').collect::<Vec<_>>()[..] else {
            continue;
        };
        let source = Source {
            site: site.to_owned(),
            suite: suite.to_owned(),
            component: component.to_owned(),
        };
        if component == "main" && is_debian(suite) && !sources.contains(&source) {
            sources.push(source);
        }
    }
    sources
}

/// Whether a suite has a name that Debian's releases have; other repositories that a machine may use do not.
fn is_debian(suite: &str) -> bool {
    const RELEASES: &[&str] = &[
        "oldstable",
        "stable",
        "testing",
        "unstable",
        "bookworm",
        "trixie",
        "forky",
        "sid",
        "duke",
    ];
    let suite = suite.split('/').next().unwrap_or(suite);
    let release = suite.split('-').next().unwrap_or(suite);
    let rest = suite.strip_prefix(release).unwrap_or_default();
    RELEASES.contains(&release) && matches!(rest, "" | "-updates" | "-security")
}

/// The archive that has a release's main suite, and so its backports and those of every other release.
fn main_archive() -> Result<Source> {
    let sources = debian_sources()?;
    main_archive_of(&sources).cloned().ok_or_else(|| {
        Error::new("this machine's apt sources name no Debian archive")
            .because("they have security updates only")
            .next("give apt a Debian mirror in /etc/apt/sources.list.d and run the command again")
    })
}

fn main_archive_of(sources: &[Source]) -> Option<&Source> {
    let is_main = |source: &&Source| !source.suite.contains(['-', '/']);
    sources.iter().find(is_main).or_else(|| {
        sources
            .iter()
            .find(|source| source.suite.ends_with("-updates"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_debian_among_the_sources() {
        let targets = "http://m.example/debian-security/ bookworm-security main\n\
                       http://m.example/debian/ bookworm main\n\
                       http://m.example/debian/ bookworm main\n\
                       http://m.example/debian/ bookworm contrib\n\
                       https://other.example/x/ nodistro main\n\
                       http://m.example/debian/ bookworm-updates main\n";
        let sources = debian_sources_from(targets);
        let suites: Vec<&str> = sources.iter().map(|source| source.suite.as_str()).collect();
        assert_eq!(
            suites,
            ["bookworm-security", "bookworm", "bookworm-updates"]
        );
        let main = main_archive_of(&sources).unwrap();
        assert_eq!(main.site, "http://m.example/debian/");
    }

    #[test]
    fn a_line_names_its_keys() {
        let source = Source {
            site: "http://m.example/debian".to_owned(),
            suite: "trixie-backports".to_owned(),
            component: "main".to_owned(),
        };
        let expected = "deb [signed-by=/k.gpg] http://m.example/debian trixie-backports main\n";
        assert_eq!(line(&source, Some(Path::new("/k.gpg"))), expected);
        assert_eq!(
            line(&source, None),
            "deb http://m.example/debian trixie-backports main\n"
        );
    }

    #[test]
    fn shows_what_was_wrong_and_no_more() {
        let said =
            "dlstatus:1:0.0:Retrieving\nErr:1 x InRelease\nE: Failed to fetch x\nE: Some failed\n";
        assert_eq!(complaints(said), "E: Failed to fetch x\nE: Some failed");
        assert_eq!(complaints("dlstatus:1:0.0:x\nkilled\n"), "killed");
    }

    #[test]
    fn reads_the_status_report() {
        assert_eq!(
            percent("dlstatus:5:27.8524:Retrieving file 5 of 5", false),
            Some(27)
        );
        assert_eq!(
            percent("dlstatus:5:27.8524:Retrieving file 5 of 5", true),
            Some(13)
        );
        assert_eq!(
            percent(
                "pmstatus:libelf-dev:64.7059:Configuring libelf-dev (amd64)",
                true
            ),
            Some(82)
        );
        assert_eq!(
            percent("Setting up bison (2:3.8.2+dfsg-1+b1) ...", true),
            None
        );
    }
}
