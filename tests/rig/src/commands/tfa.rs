//! `tfa IMAGE`: boots the Image under Trusted Firmware-A.
//!
//! Debian's source of TF-A is built for QEMU's board and put in its flash. It runs at EL3,
//! owns the secure half of the interrupt controller, and answers PSCI by SMC; QEMU's own PSCI
//! is off. It starts the Image itself, at EL2 or EL1, or U-Boot, which has `booti` start the
//! Image.
//!
//! It ends with status 77 if something that it needs can't be had; the last line names it.

mod firmware;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::cases::Cases;
use crate::config::Config;
use crate::debian::Packages;
use crate::guest::{COMMANDS, judge_guest, or_skip};
use crate::loader::put;
use crate::machine::run_to_end;
use crate::paths::log_dir;
use crate::process::succeed;
use crate::qemu::{PROGRAM, dump_tree};
use crate::uboot_prompt::boot_by_uboot;

use firmware::{Firmware, IMAGE_AT, Next};

/// Seconds that a machine may take whose Image TF-A starts.
const LIMIT: u64 = 180;
/// Seconds that a machine may take whose Image U-Boot starts.
const UBOOT_LIMIT: u64 = 60;

/// The machines: the GIC, whether there is EL2, and what TF-A starts.
const MACHINES: [(u32, &str, Next); 6] = [
    (3, "on", Next::Image),
    (3, "off", Next::Image),
    (2, "on", Next::Image),
    (2, "off", Next::Image),
    (3, "on", Next::UBoot),
    (2, "on", Next::UBoot),
];

pub fn run(config: &Config, arguments: &[OsString]) -> Result<i32> {
    let [image] = arguments else {
        bail!("tfa IMAGE");
    };
    let image = Path::new(image);
    or_skip(Packages::open().and_then(|packages| {
        let firmware = Firmware::unpack(&packages)?;
        let mut cases = Cases::new("tfa", arguments, config);
        for (gic, el2, next) in MACHINES {
            let (name, what) = match next {
                Next::Image => (format!("gicv{gic}-el2-{el2}"), format!("EL2 {el2}")),
                Next::UBoot => (format!("gicv{gic}-uboot"), "U-Boot".to_owned()),
            };
            if !cases.wants(&name) {
                continue;
            }
            let log = log_dir()?.join(format!("tfa-{name}.log"));
            // The build takes minutes the first time, which isn't part of the case's time.
            let flash = firmware.build(gic, next)?;
            let line = |took: &str| format!("TF-A {}, GICv{gic}, {what}  {took}", firmware.version);
            cases.run(&name, &log, line, || {
                let machine = Machine {
                    gic,
                    el2,
                    flash: &flash,
                };
                let printed = match next {
                    Next::Image => {
                        let tree = packages.root().join(format!("tfa-{name}.dtb"));
                        let limit = Duration::from_secs(config.timeout_or(LIMIT)?);
                        machine.boot(image, &tree, &log, limit)?
                    }
                    Next::UBoot => {
                        let limit = Duration::from_secs(config.timeout_or(UBOOT_LIMIT)?);
                        let arguments = format!("init=\"{COMMANDS}\"");
                        boot_by_uboot(machine.command(), image, &arguments, &log, limit)?
                    }
                };
                judge_guest(&printed)
            });
        }
        Ok(cases.finish())
    }))
}

/// A board with TF-A in its flash.
struct Machine<'a> {
    gic: u32,
    el2: &'a str,
    flash: &'a PathBuf,
}

impl Machine<'_> {
    fn command(&self) -> Command {
        let Machine { gic, el2, flash } = self;
        let mut board = Command::new(PROGRAM);
        let machine = format!("virt,secure=on,virtualization={el2},gic-version={gic}");
        board.args([
            "-M",
            &machine,
            "-cpu",
            "cortex-a72",
            "-smp",
            "4",
            "-m",
            "1G",
        ]);
        board.args([
            "-nodefaults",
            "-display",
            "none",
            "-monitor",
            "none",
            "-no-reboot",
        ]);
        board.arg("-bios").arg(flash);
        board
    }

    /// Has TF-A start `image`, with a tree that this writes to the file `tree`. Returns the
    /// console's output.
    fn boot(&self, image: &Path, tree: &Path, log: &Path, limit: Duration) -> Result<String> {
        dump_tree(self.command(), tree)?;
        // Firmware gets the tree that QEMU makes, and QEMU adds no boot arguments to it.
        let mut put_arguments = Command::new("fdtput");
        put_arguments
            .args(["-t", "s"])
            .arg(tree)
            .args(["/chosen", "bootargs"]);
        succeed(put_arguments.arg(format!("init=\"{COMMANDS}\"")))?;
        let mut vm = self.command();
        vm.arg("-dtb").arg(tree);
        put(&mut vm, image, IMAGE_AT);
        let (end, printed) = run_to_end(vm, b"", log, limit)?;
        end.is(0, limit)?;
        Ok(printed)
    }
}
