//! A QEMU whose kernel can't leave: its CPU comes to sleep in `boot_halt`, and leaves the
//! reason in `boot_failure_reason`.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Result;

use crate::process::output_of;

/// Runs `vm` until its first CPU sleeps in `boot_halt`, then ends it by its monitor.
/// Returns what the CPU has left in `boot_failure_reason`, `None` if it didn't get there
/// within `limit` seconds. The serial port goes to `log`. The symbols of `elf` are looked
/// up, which is what was booted; given `image`, the Image made of it, the log says at its
/// end where the CPUs of a machine are that didn't get there.
///
/// # Errors
///
/// QEMU can't be started, or `elf` has no such symbols.
pub fn run_until_halt(
    vm: &Command,
    elf: &Path,
    image: Option<&Path>,
    log: &Path,
    limit: u64,
) -> Result<Option<u8>> {
    let script = ". tests/halt.sh; . tests/where.sh; elf=$1 image=$2 log=$3 TIMEOUT=$4; shift 4; \
                  VM=(\"$@\"); run_until_halt \"$elf\" \"$log\" ${image:+\"$image\"} >&2; \
                  echo \"$halt_reason\"";
    let mut bash = Command::new("bash");
    bash.args(["-euc", script, "halt"]).arg(elf);
    bash.arg(image.unwrap_or(Path::new("")))
        .arg(log)
        .arg(limit.to_string());
    bash.arg(vm.get_program())
        .args(vm.get_args())
        .stdin(Stdio::null());
    let reason = output_of(&mut bash)?;
    Ok(String::from_utf8_lossy(&reason).trim().parse().ok())
}
