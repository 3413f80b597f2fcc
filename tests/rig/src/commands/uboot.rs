//! `uboot IMAGE [all]`: boots the Image as U-Boot's `booti` does.
//!
//! Debian's U-Boot for QEMU is the firmware. The Image is in memory already. The device tree
//! is U-Boot's own copy, near the end of memory. With `all`, the command boots at both
//! exception levels and with both interrupt controllers.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::cases::{Cases, judge_selftest};
use crate::config::Config;
use crate::paths::log_dir;
use crate::qemu::PROGRAM;
use crate::report::skipped;
use crate::uboot_prompt::boot_by_uboot;

const FIRMWARE: &str = "/usr/lib/u-boot/qemu_arm64/u-boot.bin";

/// The reason for skipping if [`can_run`] returns `false`.
pub const WHY_NOT: &str = "no U-Boot for QEMU (Debian's package u-boot-qemu)";

/// Seconds that a machine may take.
const LIMIT: u64 = 60;

/// A machine: its GIC, whether it has EL2, and its memory.
type Machine = (u32, &'static str, &'static str);

const FIRST: Machine = (3, "off", "1G");
const OTHERS: [Machine; 3] = [(3, "on", "1G"), (2, "off", "1G"), (2, "on", "6G")];

/// Returns whether this host has the U-Boot that the command needs.
#[must_use]
pub fn can_run() -> bool {
    Path::new(FIRMWARE).exists()
}

pub fn run(config: &Config, arguments: &[OsString]) -> Result<i32> {
    let (image, machines) = match arguments {
        [image] => (image, vec![FIRST]),
        [image, all] if all == "all" => (image, [&[FIRST], &OTHERS[..]].concat()),
        _ => bail!("uboot IMAGE [all]"),
    };
    if !can_run() {
        skipped("U-Boot", WHY_NOT);
        return Ok(0);
    }
    let limit = Duration::from_secs(config.timeout_or(LIMIT)?);
    let mut cases = Cases::new("uboot", arguments, config);
    for (gic, el2, memory) in machines {
        let name = format!("gicv{gic}-el2-{el2}-{memory}");
        if !cases.wants(&name) {
            continue;
        }
        let log = log_dir()?.join(format!("uboot-{name}.log"));
        let mut vm = Command::new(PROGRAM);
        let board = format!("virt,gic-version={gic},virtualization={el2}");
        vm.args(["-M", &board, "-cpu", "max", "-smp", "4", "-m", memory]);
        vm.args(["-nic", "none", "-display", "none"]);
        vm.args(["-semihosting-config", "enable=on,target=native"]);
        vm.args(["-bios", FIRMWARE, "-monitor", "none"]);
        let arguments = "exit=semihosting init=\"selftest; poweroff\"";
        let line = |took: &str| {
            let version = version(&std::fs::read(&log).unwrap_or_default());
            format!("booti by {version}, GICv{gic}, EL2 {el2}, {memory}  {took}")
        };
        cases.run(&name, &log, line, || {
            judge_selftest(&boot_by_uboot(
                vm,
                Path::new(image),
                arguments,
                &log,
                limit,
            )?)
        });
    }
    Ok(cases.finish())
}

/// Returns U-Boot's version as its first lines in `log` have it.
fn version(log: &[u8]) -> String {
    let log = String::from_utf8_lossy(log);
    let number = log.split_once("U-Boot 20").map_or("", |(_, behind)| behind);
    let end = number.find(|char: char| !char.is_ascii_digit() && char != '.');
    format!("U-Boot 20{}", &number[..end.unwrap_or(number.len())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_ends_where_its_digits_do() {
        let log = b"\n\nU-Boot 2023.01+dfsg-2 (Mar 2023)\n";
        assert_eq!(version(log), "U-Boot 2023.01");
    }
}
