//! `held ELF`: checks the kernel while the host doesn't run a CPU that is about to store DEAD.
//!
//! ELF is qemu_quarantine, which turns CPU 1 off and on and judges the outcome itself. QEMU's
//! gdbstub holds that CPU at the first instruction of `Hotplug::leave`, and lets the other
//! CPUs run, until the kernel prints that CPU 1 may go on.

use std::ffi::OsString;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::cases::find_lines;
use crate::config::Config;
use crate::elf::Elf;
use crate::events::Outcome;
use crate::gdb::stopped_cpu;
use crate::image;
use crate::machine::Machine;
use crate::paths::log_dir;
use crate::qemu;
use crate::report::{Progress, indented, print, to_repeat};
use crate::session::End;
use crate::whereabouts::image_base;

/// Seconds that the kernel may take until CPU 1 is held, and then until it may go on.
const LIMIT: u64 = 120;

/// How long the kernel may take from there to its end, and until a CPU leaves.
const ENDS: Duration = Duration::from_secs(60);

/// The number of the kernel's results.
const RESULTS: u64 = 3;

/// The CPU that is held.
const HELD: u32 = 1;
/// The other CPUs, which run meanwhile.
const OTHERS: [u32; 3] = [0, 2, 3];

pub fn run(config: &Config, arguments: &[OsString]) -> Result<i32> {
    let [elf] = arguments else {
        bail!("held ELF");
    };
    let elf = Path::new(elf);
    let log = log_dir()?.join("held.log");
    let progress = Progress::new(1);
    let from = Instant::now();
    progress.begin("held");
    let held = hold(config, elf, &log);
    let mut outcome = Outcome {
        name: "held".to_owned(),
        took: Some(from.elapsed()),
        log: log.display().to_string(),
        ..Outcome::default()
    };
    let mut text = String::new();
    match &held {
        Ok(()) => outcome.counts.passed = RESULTS,
        Err(why) => {
            outcome.counts.failed = 1;
            outcome.repeat = vec![format!("cargo rig held {}", elf.display())];
            let printed = std::fs::read(&log).unwrap_or_default();
            let printed = indented(&String::from_utf8_lossy(&printed));
            text = format!(
                "{printed}held: FAIL {why:#}\n{}",
                to_repeat(&outcome.repeat)
            );
        }
    }
    let counts = outcome.counts;
    progress.done(&text, outcome);
    print(&format!("{counts}\n"));
    Ok(i32::from(held.is_err()))
}

fn hold(config: &Config, elf: &Path, log: &Path) -> Result<()> {
    let limit = Duration::from_secs(config.timeout_or(LIMIT)?);
    let leave = Elf::read(elf)?.symbol_where(is_leave)?;
    let leave = leave.context("no Hotplug::leave in it")?;
    let mut image = elf.as_os_str().to_owned();
    image.push(".Image");
    let image = Path::new(&image);
    image::make(elf, image)?;
    let machine = Config {
        append: "held".into(),
        smp: "4".into(),
        ..config.clone()
    };
    let mut machine = Machine::boot(&qemu::command(&machine, image)?, log, false)?;

    says(&mut machine, "# hold it", limit).context("it does not begin")?;
    let monitor = machine.monitor()?;
    let registers = monitor.registers()?;
    let base = image_base(monitor, &registers)?.context("no CPU is in the Image")?;
    let mut gdb = machine.gdb()?;
    gdb.set_breakpoint(base + leave)?;
    gdb.go_on()?;
    let stopped = gdb.answer(ENDS).context("no CPU leaves")?;
    let held = stopped_cpu(&stopped);
    ensure!(
        held == Some(HELD),
        "CPU {HELD} should have stopped: {stopped}"
    );
    gdb.clear_breakpoint(base + leave)?;
    gdb.go_on_only(&OTHERS)?;
    says(&mut machine, "# let it go", limit).context("it is not told to let go")?;
    gdb.interrupt().context("it does not stop")?;
    gdb.detach()?;

    let end = machine.session().finish(Instant::now() + limit)?;
    let printed = machine.session().printed();
    find_lines(&printed, &["^ *1 .* quarantined "])
        .context("lscpu -e does not call it quarantined")?;
    let passed = printed
        .lines()
        .filter(|line| line.starts_with("ok "))
        .count();
    let passed = u64::try_from(passed)?;
    ensure!(
        end == End::Status(0) && passed == RESULTS,
        "{end:?}, {passed} of {RESULTS} results"
    );
    Ok(())
}

/// Returns whether `name` is the mangled name of `Hotplug::leave`, which is in `hotplug::ap`.
fn is_leave(name: &str) -> bool {
    let behind_the_module = name.split_once("7hotplug2ap").map(|(_, rest)| rest);
    behind_the_module.is_some_and(|rest| rest.contains("5leave"))
}

/// Waits until a line of the console begins with `text`.
fn says(machine: &mut Machine, text: &str, limit: Duration) -> Result<()> {
    let deadline = Instant::now() + limit;
    let begins = |printed: &str| {
        printed
            .lines()
            .any(|line| line.starts_with(text))
            .then_some(())
    };
    let seen = machine.session().wait_for(deadline, begins);
    seen.with_context(|| format!("no line begins with {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_function_is_known_by_its_mangled_name() {
        assert!(is_leave(
            "_ZN10stillpoint7hotplug2ap7Hotplug5leave17h0123456789abcdefE"
        ));
        assert!(!is_leave("_ZN10stillpoint5sched5leave17h0123456789abcdefE"));
        assert!(!is_leave(
            "_ZN10stillpoint5leave7hotplug17h0123456789abcdefE"
        ));
    }
}
