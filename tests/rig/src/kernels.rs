//! The test kernels: their sources and their build.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::cargo::{DEBUG_BUILD, built, cargo, name_of};
use crate::config::Config;
use crate::directives::Directives;
use crate::paths::TARGET;

/// A test kernel.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// `qemu_…`.
    pub name: String,
    pub directives: Directives,
}

/// A test kernel that has been built.
#[derive(Clone, Debug)]
pub struct Built {
    pub kernel: Kernel,
    pub elf: PathBuf,
}

/// Where the sources are.
const SOURCES: &str = "tests/kernels/src/bin";

/// The package of the test kernels. Cargo builds it only if it is named.
pub const PACKAGE: &str = "stillpoint-kernels";

impl Kernel {
    /// Returns the test kernel whose program is `elf`; `None` if it is no test kernel.
    ///
    /// # Errors
    ///
    /// Its source can't be read.
    pub fn of_elf(elf: &Path) -> Result<Option<Kernel>> {
        let name = name_of(elf);
        if !name.starts_with("qemu_") {
            return Ok(None);
        }
        Kernel::named(name).map(Some)
    }

    /// Returns the test kernel `name`.
    ///
    /// # Errors
    ///
    /// Its source can't be read.
    pub fn named(name: &str) -> Result<Kernel> {
        let folder = Path::new(SOURCES).join(name);
        let source = if folder.is_dir() {
            folder.join("main.rs")
        } else {
            folder.with_extension("rs")
        };
        Ok(Kernel {
            name: name.to_owned(),
            directives: Directives::read(&source)?,
        })
    }

    /// Returns all test kernels, by name.
    ///
    /// # Errors
    ///
    /// A source can't be read.
    pub fn all() -> Result<Vec<Kernel>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(SOURCES).context(SOURCES)? {
            let path = entry?.path();
            let name = path.file_stem().and_then(|name| name.to_str());
            if let Some(name) = name
                && name.starts_with("qemu_")
            {
                names.push(name.to_owned());
            }
        }
        names.sort();
        names.iter().map(|name| Kernel::named(name)).collect()
    }

    /// Returns whether the kernel is built in a debug build. `profile` is the profile for all
    /// kernels; if it is empty, the kernel's directive counts.
    ///
    /// # Errors
    ///
    /// There is no such profile.
    fn is_debug_build(&self, profile: &str) -> Result<bool> {
        let own = self.directives.value("profile", "").unwrap_or("release");
        match if profile.is_empty() { own } else { profile } {
            "release" => Ok(false),
            "dev" => Ok(true),
            other => bail!("{}: no profile is named {other}", self.name),
        }
    }
}

/// Builds `kernels`, each in the profile of its directive, or all in the profile of `config` if
/// that names one.
///
/// # Errors
///
/// A kernel doesn't compile, or names a profile that doesn't exist.
pub fn build(config: &Config, kernels: &[Kernel]) -> Result<Vec<Built>> {
    let profile = &config.profile;
    let mut all = Vec::new();
    for debug in [false, true] {
        let mut cargo = cargo();
        cargo.args(["build", "--target", TARGET, "-p", PACKAGE]);
        if debug {
            DEBUG_BUILD.choose(&mut cargo);
        } else {
            cargo.arg("--release");
        }
        let mut any = false;
        for kernel in kernels {
            if kernel.is_debug_build(profile)? == debug {
                cargo.args(["--bin", &kernel.name]);
                any = true;
            }
        }
        if !any {
            continue;
        }
        for elf in built(&mut cargo)? {
            let name = name_of(&elf);
            if let Some(kernel) = kernels.iter().find(|kernel| kernel.name == name) {
                all.push(Built {
                    kernel: kernel.clone(),
                    elf,
                });
            }
        }
    }
    Ok(all)
}
