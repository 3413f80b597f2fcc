//! `bad-boot ELF IMAGE MUTE_ELF MUTE_IMAGE`: boots an Image with a device tree that can't be
//! used.
//!
//! Each case puts a damaged tree into memory and jumps to the Image's first byte with an
//! address in x0. It doesn't use QEMU's own loader, which would refuse such a tree. At the
//! end the CPU must sleep in `boot_halt`, with the reason in `boot_failure_reason`. Exactly
//! one line must be on the early console, and none with the second Image, which is built without
//! one. QEMU takes semihosting calls, so a boot that makes one
//! although its arguments don't ask for it ends QEMU and fails the case.
//!
//! If the tree's boot arguments have `exit=semihosting`, a refused boot ends with status 101
//! after that line; if nothing takes semihosting calls, the CPU sleeps as without them.

mod refusals;
mod trees;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail, ensure};
use regex_lite::Regex;

use crate::cases::Cases;
use crate::config::Config;
use crate::halt::run_until_halt;
use crate::loader::{RAM, enter, put};
use crate::paths::log_dir;
use crate::qemu::{PROGRAM, dump_tree};

/// Seconds that a boot may take.
const LIMIT: u64 = 20;

/// The addresses of Image and tree.
const IMAGE_AT: u64 = RAM + 0x20_0000;
const TREE_AT: u64 = RAM + 0x400_1000;

/// An address where no memory is.
const NOWHERE: u64 = 0x6000_0000;

/// The codes of `BootFailure` in src/arch/aarch64/failure.rs.
const PANICKED: u8 = 14;
const BAD_DEVICE_TREE: u8 = 15;
const NO_MEMORY: u8 = 16;
const BAD_ADDRESS_MAP: u8 = 17;
const NO_DEVICE: u8 = 18;

/// A kernel: its ELF file, and the Image made of it.
struct Kernel<'a> {
    elf: &'a Path,
    image: &'a Path,
}

/// A case: the tree and x0 that the kernel gets, and the reason and output that must follow.
struct Case {
    name: String,
    /// Whether the kernel has no early console of its own.
    mute: bool,
    tree: Vec<u8>,
    x0: u64,
    reason: u8,
    /// A regular expression for the only line of output; `None` if there must be no output.
    line: Option<&'static str>,
}

pub fn run(config: &Config, arguments: &[OsString]) -> Result<i32> {
    let [elf, image, mute_elf, mute_image] = arguments else {
        bail!("bad-boot ELF IMAGE MUTE_ELF MUTE_IMAGE");
    };
    let ours = Kernel {
        elf: Path::new(elf),
        image: Path::new(image),
    };
    let mute = Kernel {
        elf: Path::new(mute_elf),
        image: Path::new(mute_image),
    };
    let limit = config.timeout_or(LIMIT)?;
    let mut cases = Cases::new("bad-boot", arguments, config);
    for case in trees::cases(&good_tree()?)? {
        let kernel = if case.mute { &mute } else { &ours };
        let name = &case.name;
        let log = log_of(name)?;
        let line = |took: &str| format!("{name:<24} {took:>13}");
        cases.run(name, &log, line, || {
            let vm = kernel.with_tree(&case.tree, case.x0, &log)?;
            kernel.halts(&vm, case.reason, &log, limit)?;
            prints(case.line, &log)
        });
    }
    refusals::run(&mut cases, &ours, limit)?;
    Ok(cases.finish())
}

fn log_of(name: &str) -> Result<PathBuf> {
    Ok(log_dir()?.join(format!("bad_boot-{name}.log")))
}

fn machine() -> Command {
    let mut vm = Command::new(PROGRAM);
    vm.args(["-M", "virt,gic-version=3", "-cpu", "max", "-m", "256M"]);
    vm.args(["-nic", "none", "-display", "none"]);
    vm.args(["-semihosting-config", "enable=on,target=native"]);
    vm
}

/// Returns the tree that QEMU's own loader gives the kernel.
fn good_tree() -> Result<Vec<u8>> {
    let file = log_dir()?.join("bad_boot.dtb");
    dump_tree(machine(), &file)?;
    Ok(fs::read(file)?)
}

impl Kernel<'_> {
    /// Returns a machine that enters the Image with `x0` and has `tree` at [`TREE_AT`].
    fn with_tree(&self, tree: &[u8], x0: u64, log: &Path) -> Result<Command> {
        let file = log.with_extension("dtb");
        fs::write(&file, tree)?;
        let mut vm = machine();
        put(&mut vm, self.image, IMAGE_AT);
        put(&mut vm, &file, TREE_AT);
        enter(&mut vm, IMAGE_AT, x0);
        Ok(vm)
    }

    /// Runs a machine and checks that its CPU comes to sleep with `reason`.
    fn halts(&self, vm: &Command, reason: u8, log: &Path, limit: u64) -> Result<()> {
        match run_until_halt(vm, self.elf, None, log, limit)? {
            Some(left) if left == reason => Ok(()),
            Some(left) => bail!("boot_failure_reason is {left} instead of {reason}"),
            None => bail!("boot_failure_reason is none within {limit} s instead of {reason}"),
        }
    }
}

/// Checks that the file `log` has just one line, which matches the regular expression `line`;
/// with `None`, that it is empty.
fn prints(line: Option<&str>, log: &Path) -> Result<()> {
    let printed = fs::read(log)?;
    let printed = String::from_utf8_lossy(&printed);
    match line {
        None => ensure!(printed.is_empty(), "it has no console, and printed"),
        Some(line) => {
            let whole = Regex::new(&format!("^stillpoint: (?:{line})\n$"))?;
            ensure!(
                printed.matches('\n').count() == 1 && whole.is_match(&printed),
                "not the one line: {line}"
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_the_only_one_and_whole() {
        let log = std::env::temp_dir().join(format!("rig-bad-boot-{}", std::process::id()));
        let judged = |printed: &str, line: Option<&str>| {
            fs::write(&log, printed).expect("a log");
            prints(line, &log).is_ok()
        };
        assert!(judged("stillpoint: no tree\n", Some("no t.*e")));
        assert!(!judged("stillpoint: no tree", Some("no tree")));
        assert!(!judged("stillpoint: no tree\nmore\n", Some("no tree")));
        assert!(!judged("stillpoint: no tree at all\n", Some("no tree|x")));
        assert!(!judged("", Some("")));
        assert!(judged("", None));
        assert!(!judged("\n", None));
        fs::remove_file(log).expect("a log");
    }
}
