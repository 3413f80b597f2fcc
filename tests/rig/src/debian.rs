//! Debian packages that are unpacked, not installed.
//!
//! Firmware and hypervisors for arm64 come from a separate root for apt: the directory
//! `rigs` in the target directory. It has a copy of the host's package sources, package
//! lists and a cache of its own, and an empty list of installed packages. The host's own
//! apt isn't changed, and needs no architecture arm64.

use std::cmp::Ordering;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf, absolute};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use regex_lite::Regex;

use crate::paths::target_dir;
use crate::process::{Running, output_of};
use crate::report::print;

/// How long apt may take to read lists or to fetch a package.
const FETCHES: Duration = Duration::from_secs(300);
/// How long apt may take to install a package.
const INSTALLS: Duration = Duration::from_secs(600);

/// The directory of the host's own package sources.
const SOURCES: &str = "/etc/apt";

/// The error that something can't be had on this host; the text names it.
#[derive(Debug)]
pub struct Missing(String);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Missing {}

/// Fails because something, which `what` names, can't be had on this host.
///
/// # Errors
///
/// Always, with a [`Missing`].
pub fn missing<T>(what: &str) -> Result<T> {
    Err(Missing(what.to_owned()).into())
}

/// The separate root for apt.
pub struct Packages {
    root: PathBuf,
    /// The architecture of the host.
    host: String,
}

impl Packages {
    /// Returns the root for apt in this tree's target directory.
    ///
    /// # Errors
    ///
    /// Its directory can't be made, or the host isn't a Debian system.
    pub fn open() -> Result<Packages> {
        let root = absolute(target_dir().join("rigs"))?;
        fs::create_dir_all(&root).with_context(|| root.display().to_string())?;
        if !is_command("apt-get") {
            return missing("this system has no apt");
        }
        let host = output_of(Command::new("dpkg").arg("--print-architecture"))?;
        let host = String::from_utf8_lossy(&host).trim().to_owned();
        Ok(Packages { root, host })
    }

    /// Returns the directory of the root. Callers may put their own files there too.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the architecture of the host, as Debian calls it.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Unpacks a binary package and returns its directory. `package` is `NAME`, for arm64 or
    /// for every architecture, or `NAME:ARCHITECTURE`.
    ///
    /// # Errors
    ///
    /// The package can't be had, or can't be unpacked.
    pub fn unpack(&self, package: &str) -> Result<PathBuf> {
        let to = self
            .root
            .join("packages")
            .join(package.replacen(':', "_", 1));
        if !is_done(&to) {
            self.lists()?;
            let fetched = to.join(".deb");
            make_anew(&to)?;
            fs::create_dir(&fetched)?;
            if !self.apt(&["download", package], &fetched)? {
                return missing(&format!("Debian's package {package} can't be had"));
            }
            let deb = only_file(&fetched, "deb")?;
            let mut unpack = Command::new("dpkg-deb");
            self.succeed(unpack.arg("-x").arg(deb).arg(&to))?;
            mark_done(&to)?;
        }
        Ok(to)
    }

    /// Unpacks a source package and returns its directory.
    ///
    /// # Errors
    ///
    /// The package can't be had, or can't be unpacked.
    pub fn unpack_source(&self, package: &str) -> Result<PathBuf> {
        let to = self.root.join(format!("packages/{package}-source"));
        if !is_done(&to) {
            if !is_command("dpkg-source") {
                return missing("there is no dpkg-source (package dpkg-dev)");
            }
            self.lists()?;
            let fetched = self.root.join(format!("packages/{package}-source.dsc"));
            make_anew(&fetched)?;
            if to.exists() {
                fs::remove_dir_all(&to)?;
            }
            if !self.apt(&["source", "--download-only", package], &fetched)? {
                return missing(&format!(
                    "the source of Debian's package {package} can't be had"
                ));
            }
            let dsc = only_file(&fetched, "dsc")?;
            let mut unpack = Command::new("dpkg-source");
            self.succeed(unpack.args(["--no-check", "-x"]).arg(dsc).arg(&to))?;
            mark_done(&to)?;
        }
        Ok(to)
    }

    /// Returns the name of the newest package for arm64. Its whole name matches `pattern`.
    ///
    /// # Errors
    ///
    /// No package matches.
    pub fn newest(&self, pattern: &str) -> Result<String> {
        self.lists()?;
        let pattern = Regex::new(&format!("^(?:{pattern})$"))?;
        let mut cache = Command::new("apt-cache");
        self.choose(&mut cache, "arm64");
        let names = output_of(cache.arg("pkgnames"))?;
        let names = String::from_utf8_lossy(&names);
        let fitting = names.lines().filter(|name| pattern.is_match(name));
        match fitting.max_by(|one, other| by_version(one, other)) {
            Some(name) => Ok(name.to_owned()),
            None => missing(&format!("Debian has no package {pattern}")),
        }
    }

    /// Installs `package` and prints a line, if `command` is missing.
    ///
    /// # Errors
    ///
    /// The package can't be had.
    pub fn needs_command(&self, command: &str, package: &str) -> Result<()> {
        if is_command(command) {
            return Ok(());
        }
        print(&format!("nightly: adding the package {package}\n"));
        let mut apt = Command::new("apt-get");
        apt.env("DEBIAN_FRONTEND", "noninteractive");
        apt.args([
            "-q",
            "-o",
            "DPkg::Lock::Timeout=120",
            "install",
            "-y",
            "--no-remove",
        ]);
        apt.args(["--no-install-recommends", package]);
        if self.runs(&mut apt, INSTALLS)? {
            return Ok(());
        }
        missing(&format!("Debian's package {package} can't be had"))
    }

    /// Fetches the package lists, unless that was done before.
    fn lists(&self) -> Result<()> {
        let mark = self.root.join("listed");
        if mark.exists() {
            return Ok(());
        }
        for dir in [
            "sources",
            "state/lists/partial",
            "cache/archives/partial",
            "packages",
        ] {
            fs::create_dir_all(self.root.join(dir))?;
        }
        fs::write(self.root.join("status"), "")?;
        let mut files = vec![Path::new(SOURCES).join("sources.list")];
        if let Ok(dir) = fs::read_dir(Path::new(SOURCES).join("sources.list.d")) {
            files.extend(dir.filter_map(|entry| Some(entry.ok()?.path())));
        }
        for file in files {
            let (Some(name), Ok(text)) = (file.file_name(), fs::read_to_string(&file)) else {
                continue;
            };
            let mut to = self.root.join("sources").join(name).into_os_string();
            match file.extension().and_then(|extension| extension.to_str()) {
                Some("sources") => fs::write(to, sources_too(&text))?,
                Some("list") => {
                    to.push(".list");
                    fs::write(to, lines_for_sources_too(&text))?;
                }
                _ => {}
            }
        }
        // The status is ignored: a package source without arm64 fails, and isn't needed.
        self.apt(&["update"], &self.root)?;
        Ok(fs::write(mark, "")?)
    }

    /// Runs apt-get on this root, in the directory `dir`, and returns whether it succeeds.
    fn apt(&self, arguments: &[&str], dir: &Path) -> Result<bool> {
        let mut apt = Command::new("apt-get");
        apt.current_dir(dir).arg("-q");
        self.choose(&mut apt, &format!("arm64,{}", self.host));
        for option in [
            "Acquire::Languages=none",
            "APT::Sandbox::User=",
            "Debug::NoLocking=1",
        ] {
            apt.args(["-o", option]);
        }
        self.runs(apt.args(arguments), FETCHES)
    }

    /// Gives the command `apt` the options by which it works on this root.
    fn choose(&self, apt: &mut Command, architectures: &str) {
        let root = self.root.display();
        for option in [
            "Dir::Etc::sourcelist=/dev/null".into(),
            format!("Dir::Etc::sourceparts={root}/sources"),
            format!("Dir::State={root}/state"),
            format!("Dir::State::status={root}/status"),
            format!("Dir::Cache={root}/cache"),
            "APT::Architecture=arm64".into(),
            format!("APT::Architectures={architectures}"),
        ] {
            apt.args(["-o", &option]);
        }
    }

    /// Runs `command` with its output in the log, and returns whether it succeeds within
    /// `limit`.
    fn runs(&self, command: &mut Command, limit: Duration) -> Result<bool> {
        let log = self.log()?;
        command.stdout(log.try_clone()?).stderr(log);
        let mut running = Running::start(command)?;
        let ended = running.wait_until(Instant::now() + limit)?;
        Ok(ended.is_some_and(|status| status.success()))
    }

    fn succeed(&self, command: &mut Command) -> Result<()> {
        let program = command.get_program().display().to_string();
        ensure!(
            self.runs(command, FETCHES)?,
            "{program} fails: {}",
            self.log_name().display()
        );
        Ok(())
    }

    fn log(&self) -> Result<File> {
        let log = self.log_name();
        let file = OpenOptions::new().create(true).append(true).open(&log);
        file.with_context(|| log.display().to_string())
    }

    fn log_name(&self) -> PathBuf {
        self.root.join("apt.log")
    }
}

/// Returns whether a directory of `PATH` has the file `name`.
#[must_use]
pub fn is_command(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(name).is_file())
}

fn is_done(dir: &Path) -> bool {
    dir.join(".done").exists()
}

fn mark_done(dir: &Path) -> Result<()> {
    Ok(fs::write(dir.join(".done"), "")?)
}

/// Makes the directory `dir`, after removing an earlier one with all its files.
fn make_anew(dir: &Path) -> Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir)?;
    }
    fs::create_dir_all(dir).with_context(|| dir.display().to_string())
}

/// Returns a file with this extension in the directory `dir`.
///
/// # Errors
///
/// The directory has no such file.
pub fn only_file(dir: &Path, extension: &str) -> Result<PathBuf> {
    let entries = fs::read_dir(dir).with_context(|| dir.display().to_string())?;
    let mut files = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let found = files.find(|file| file.extension().is_some_and(|end| end == extension));
    found.with_context(|| format!("{} has no .{extension}", dir.display()))
}

/// Returns `text`, a `.sources` file, with the source packages added.
fn sources_too(text: &str) -> String {
    let line = |line: &str| match line.strip_prefix("Types:") {
        Some(_) => "Types: deb deb-src\n".to_owned(),
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

/// Returns `text`, a `.list` file, with the source packages added.
fn lines_for_sources_too(text: &str) -> String {
    let lines = text.lines().filter_map(|line| line.strip_prefix("deb "));
    lines
        .map(|rest| format!("deb-src {rest}\ndeb {rest}\n"))
        .collect()
}

/// Compares names by the numbers in them, as `sort -V` does.
fn by_version(one: &str, other: &str) -> Ordering {
    parts(one).cmp(&parts(other))
}

/// Splits a name into its texts, each with the number that follows it.
fn parts(name: &str) -> Vec<(String, u64)> {
    let mut parts = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let digits = rest
            .find(|char: char| char.is_ascii_digit())
            .unwrap_or(rest.len());
        let (text, behind) = rest.split_at(digits);
        let end = behind
            .find(|char: char| !char.is_ascii_digit())
            .unwrap_or(behind.len());
        let (number, behind) = behind.split_at(end);
        parts.push((text.to_owned(), number.parse().unwrap_or(0)));
        rest = behind;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_by_their_numbers() {
        let mut names = [
            "xen-4.17-arm64",
            "xen-4.9-arm64",
            "xen-10.1-arm64",
            "xen-4.17.2-arm64",
        ];
        names.sort_by(|one, other| by_version(one, other));
        assert_eq!(
            names,
            [
                "xen-4.9-arm64",
                "xen-4.17-arm64",
                "xen-4.17.2-arm64",
                "xen-10.1-arm64"
            ]
        );
    }

    #[test]
    fn sources_have_source_packages_too() {
        let text = "Types: deb\nURIs: http://deb.debian.org/debian\n";
        assert_eq!(
            sources_too(text),
            text.replace("deb\n", "deb deb-src\n")
                .replace("debian deb-src", "debian")
        );
        assert_eq!(
            lines_for_sources_too("# deb x\ndeb http://x y main\ndeb-src http://x y main\n"),
            "deb-src http://x y main\ndeb http://x y main\n"
        );
    }

    #[test]
    fn a_command_is_looked_for_in_the_path() {
        assert!(is_command("sh"));
        assert!(!is_command("no-such-command"));
    }
}
