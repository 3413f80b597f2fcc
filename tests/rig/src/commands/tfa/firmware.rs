//! Trusted Firmware-A, built from Debian's source package.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::debian::Packages;
use crate::process::{Running, succeed};
use crate::report::print;

/// The address of the Image when TF-A starts it.
pub const IMAGE_AT: u64 = 0x4200_0000;

/// How long it may take to build.
const BUILDS: Duration = Duration::from_secs(600);

/// How many of the last lines are shown if the build fails.
const LAST_LINES: usize = 20;

/// The size of the first stage's place in the flash, in bytes. The package of the other
/// stages follows it.
const FIRST_STAGE: usize = 256 * 1024;

/// What TF-A starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    Image,
    UBoot,
}

/// The source, and the tools to build it.
pub struct Firmware<'a> {
    packages: &'a Packages,
    source: PathBuf,
    pub version: String,
}

impl Firmware<'_> {
    /// Unpacks the source, and installs a compiler for it.
    ///
    /// # Errors
    ///
    /// The source or a tool can't be had.
    pub fn unpack(packages: &Packages) -> Result<Firmware<'_>> {
        packages.needs_command("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu")?;
        packages.needs_command("make", "make")?;
        packages.needs_command("dtc", "device-tree-compiler")?;
        let source = packages.unpack_source("arm-trusted-firmware")?;
        let makefile = source.join("Makefile");
        let text = fs::read_to_string(&makefile)?;
        fs::write(&makefile, with_segments_as_they_are(&text))?;
        Ok(Firmware {
            packages,
            source,
            version: version(&text),
        })
    }

    /// Returns the path of a flash image of TF-A for this GIC, which starts `next`. Builds it
    /// if there is none.
    ///
    /// # Errors
    ///
    /// The build fails.
    pub fn build(&self, gic: u32, next: Next) -> Result<PathBuf> {
        let name = match next {
            Next::Image => "direct",
            Next::UBoot => "uboot",
        };
        let out = self.packages.root().join(format!("tfa-gicv{gic}-{name}"));
        let flash = out.join("flash.bin");
        if flash.exists() {
            return Ok(flash);
        }
        let uboot = match next {
            Next::Image => None,
            Next::UBoot => {
                let package = self.packages.unpack("u-boot-qemu")?;
                Some(package.join("usr/lib/u-boot/qemu_arm64/u-boot.bin"))
            }
        };
        self.make(gic, uboot.as_deref(), &out)?;
        let made = out.join("qemu/debug");
        let tools = format!("arm-trusted-firmware-tools:{}", self.packages.host());
        let mut fiptool = Command::new(self.packages.unpack(&tools)?.join("usr/bin/fiptool"));
        fiptool
            .arg("create")
            .arg("--tb-fw")
            .arg(made.join("bl2.bin"));
        fiptool.arg("--soc-fw").arg(made.join("bl31.bin"));
        if let Some(uboot) = &uboot {
            fiptool.arg("--nt-fw").arg(uboot);
        }
        succeed(fiptool.arg(made.join("fip.bin")))?;
        let mut bytes = fs::read(made.join("bl1.bin"))?;
        bytes.resize(bytes.len().next_multiple_of(FIRST_STAGE), 0);
        bytes.extend(fs::read(made.join("fip.bin"))?);
        // The file gets its name only when it is complete.
        let part = out.join("flash.new");
        fs::write(&part, bytes)?;
        fs::rename(part, &flash)?;
        Ok(flash)
    }

    fn make(&self, gic: u32, uboot: Option<&Path>, out: &Path) -> Result<()> {
        let mut make = Command::new("make");
        make.arg("-s").arg("-C").arg(&self.source);
        make.args([
            "CROSS_COMPILE=aarch64-linux-gnu-",
            "PLAT=qemu",
            "DEBUG=1",
            "E=0",
        ]);
        make.arg(format!("BUILD_BASE={}", out.display()));
        make.arg(format!("QEMU_USE_GIC_DRIVER=QEMU_GICV{gic}"));
        make.arg("OPENSSL_DIR=/usr");
        match uboot {
            None => {
                make.arg("ARM_LINUX_KERNEL_AS_BL33=1");
                make.arg(format!("PRELOADED_BL33_BASE={IMAGE_AT:#x}"));
            }
            Some(uboot) => {
                make.arg(format!("BL33={}", uboot.display()));
            }
        }
        make.args(["bl1", "bl2", "bl31"]);
        // The flags of the `make` that runs the rig don't hold for this one.
        make.env_remove("MAKEFLAGS")
            .env_remove("MFLAGS")
            .env_remove("MAKELEVEL");
        let log = out.with_extension("log");
        let file = File::create(&log)?;
        make.stdout(file.try_clone()?).stderr(file);
        let ended = Running::start(&mut make)?.wait_until(Instant::now() + BUILDS)?;
        if ended.is_some_and(|status| status.success()) {
            return Ok(());
        }
        let log = fs::read(&log)?;
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
        print(&format!("{}\n", last.join("\n")));
        bail!("TF-A does not build")
    }
}

/// Returns TF-A's Makefile with a flag of the linker replaced: without the warning about
/// segments that are writable and executable, which is newer than TF-A's linker scripts.
fn with_segments_as_they_are(makefile: &str) -> String {
    let line = |line: &str| {
        if line.contains("TF_LDFLAGS") {
            line.replacen("--fatal-warnings", "--no-warn-rwx-segments", 1) + "\n"
        } else {
            format!("{line}\n")
        }
    };
    makefile.lines().map(line).collect()
}

/// Returns the version that TF-A's Makefile names.
fn version(makefile: &str) -> String {
    let number = |name: &str| {
        let line = makefile.lines().find_map(|line| line.strip_prefix(name))?;
        Some(
            line.trim_start_matches(|char: char| !char.is_ascii_digit())
                .trim_end(),
        )
    };
    let major = number("VERSION_MAJOR").unwrap_or("?");
    let minor = number("VERSION_MINOR").unwrap_or("?");
    format!("{major}.{minor}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAKEFILE: &str = "VERSION_MAJOR\t\t\t:= 2\nVERSION_MINOR := 8\n\
                            TF_LDFLAGS += $(call x,--fatal-warnings)\nOTHER = --fatal-warnings\n";

    #[test]
    fn the_makefile_names_its_version() {
        assert_eq!(version(MAKEFILE), "2.8");
        assert_eq!(version(""), "?.?");
    }

    #[test]
    fn one_flag_is_another() {
        let changed = with_segments_as_they_are(MAKEFILE);
        assert!(
            changed.contains("$(call x,--no-warn-rwx-segments)"),
            "{changed}"
        );
        assert!(changed.ends_with("OTHER = --fatal-warnings\n"), "{changed}");
        assert_eq!(with_segments_as_they_are(&changed), changed);
    }
}
