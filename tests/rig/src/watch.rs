//! A kernel that may hang: when its time is over, QEMU's monitor tells where its CPUs are.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Result;

use crate::process;

/// What [`run_watched`] runs.
pub struct Watched<'a> {
    /// What `image` was made of.
    pub elf: &'a Path,
    pub image: &'a Path,
    /// Gets what the console prints, as standard output does.
    pub log: &'a Path,
    /// Seconds.
    pub limit: u64,
    /// The time is over as soon as a line of the console matches: for a kernel that hangs
    /// by intent.
    pub hangs: Option<&'a str>,
}

/// Runs `vm` until it ends or its time is over, and returns its status: 124 if it did not
/// end. Then it is printed, and in the log, where its CPUs are.
///
/// # Errors
///
/// QEMU can't be started, or the log not be written.
pub fn run_watched(vm: &Command, watched: &Watched) -> Result<i32> {
    let script = ". tests/halt.sh; . tests/where.sh; . tests/watch.sh; \
                  elf=$1 image=$2 log=$3 limit=$4 hangs=$5; shift 5; VM=(\"$@\") vm=; \
                  trap '[ -z \"$vm\" ] || kill \"$vm\" 2>/dev/null || true' EXIT; \
                  run_watched \"$elf\" \"$image\" \"$log\" \"$limit\" \"$hangs\"; exit \"$status\"";
    let mut bash = Command::new("bash");
    bash.args(["-euc", script, "watch"])
        .arg(watched.elf)
        .arg(watched.image);
    bash.arg(watched.log).arg(watched.limit.to_string());
    bash.arg(watched.hangs.unwrap_or(""));
    bash.arg(vm.get_program())
        .args(vm.get_args())
        .stdin(Stdio::null());
    process::status(&mut bash)
}
