//! `managed ELF [long]`: what a manager of virtual machines does to them, in the middle of hotplug.
//!
//! ELF is qemu_storm, which takes CPUs down and up beside threads, timers, calls, locks and stops,
//! and judges all that itself. Meanwhile the machine is stopped and goes on, its state is saved and
//! loaded again, and it is migrated to a file and from there to another QEMU. It must not notice:
//! all its results must be ok, and it may warn of nothing.
//!
//! With `long` each case lasts longer, and there are more cases.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::cases::Cases;
use crate::config::Config;
use crate::image;
use crate::ktap::{self, Plan};
use crate::machine::Machine;
use crate::monitor::INCOMING;
use crate::paths::log_dir;
use crate::qemu;

/// Seconds that a machine may take to begin, and to end after the last act.
const LIMIT: u64 = 120;

/// The time between two acts.
const BETWEEN: Duration = Duration::from_millis(250);

/// Seconds for which the storm runs before the one that is judged.
const WARM_UP: u64 = 2;

/// What the storm prints when it begins.
const BEGINS: &str = "# seed=";

/// Something that is done to the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    /// It is stopped for this time, and goes on.
    Stop(Duration),
    /// Its state is saved.
    Save,
    /// Its state is what was saved last.
    Load,
    /// Its state goes to a file, and from there to another QEMU.
    Migrate,
}

/// A machine, and what is done to it again and again.
struct Case {
    name: &'static str,
    gic: &'static str,
    smp: &'static str,
    acts: &'static [Act],
    is_long: bool,
}

const BRIEFLY: Duration = Duration::from_millis(300);

const CASES: &[Case] = &[
    Case {
        name: "all",
        gic: "3",
        smp: "4",
        acts: &[Act::Stop(BRIEFLY), Act::Save, Act::Load, Act::Migrate],
        is_long: false,
    },
    Case {
        name: "all-gicv2",
        gic: "2",
        smp: "4",
        acts: &[Act::Stop(BRIEFLY), Act::Save, Act::Load, Act::Migrate],
        is_long: false,
    },
];

pub fn run(config: &Config, arguments: &[OsString]) -> Result<i32> {
    let (elf, is_long) = match arguments {
        [elf] => (elf, false),
        [elf, long] if long == "long" => (elf, true),
        _ => bail!("managed ELF [long]"),
    };
    let mut image = elf.clone();
    image.push(".Image");
    let image = PathBuf::from(image);
    image::make(Path::new(elf), &image)?;
    let mut cases = Cases::new("managed", arguments, config);
    for case in CASES.iter().filter(|case| is_long || !case.is_long) {
        let log = log_dir()?.join(format!("managed-{}.log", case.name));
        let about = |took: &str| {
            let Case { name, smp, gic, .. } = case;
            format!("{name:<24} SMP={smp:<3} GIC={gic} {took:>6}")
        };
        let rounds = if is_long { 20 } else { 2 };
        cases.run(case.name, &log, about, || {
            manage(config, case, rounds, &image, &log)
        });
    }
    Ok(cases.finish())
}

/// Boots the machine of `case`, does its acts so many times, and judges what the kernel says.
fn manage(config: &Config, case: &Case, rounds: u32, image: &Path, log: &Path) -> Result<()> {
    let limit = Duration::from_secs(config.timeout_or(LIMIT)?);
    let acts = u32::try_from(case.acts.len())? * rounds;
    let seconds = (BETWEEN * (acts + 4)).as_secs() - WARM_UP;
    let vm = qemu::command(
        &Config {
            gic: case.gic.into(),
            smp: case.smp.into(),
            mem: "256M".into(),
            append: format!("case=mixture seconds={seconds} patience=60").into(),
            ..config.clone()
        },
        image,
    )?;
    let mut managed = Managed::boot(vm, log)?;
    managed.begins(limit)?;
    for round in 1..=rounds {
        for act in case.acts {
            sleep(BETWEEN);
            let done = managed.act(*act);
            done.with_context(|| format!("round {round} of {rounds}: {act:?}"))?;
        }
    }
    let printed = managed.finish(limit)?;
    ktap::judge(&printed, Plan::Whole).map_err(anyhow::Error::msg)?;
    // Before that it warns of boot arguments that only the storm understands.
    let storm = printed.split_once(BEGINS).map_or("", |(_, storm)| storm);
    let warnings: Vec<&str> = storm.lines().filter(|line| is_warning(line)).collect();
    ensure!(warnings.is_empty(), "it warns: {}", warnings.join("; "));
    Ok(())
}

/// Returns whether a line of the log is a warning that the storm doesn't bring about itself.
fn is_warning(line: &str) -> bool {
    let behind_the_time = line.split_once("] ").map_or("", |(_, text)| text);
    let is_any = ["warning: ", "error: "]
        .iter()
        .any(|word| behind_the_time.starts_with(word));
    // The storm takes away the CPUs that its threads are bound to.
    is_any && !line.contains(" affine to cpu")
}

/// A machine under a manager.
struct Managed<'a> {
    vm: Command,
    machine: Machine,
    log: &'a Path,
    /// The directory of its states.
    states: tempfile::TempDir,
    /// The number of states so far.
    saved: u32,
}

impl Managed<'_> {
    fn boot(vm: Command, log: &Path) -> Result<Managed<'_>> {
        let machine = Machine::boot(&vm, log, false)?;
        let mut managed = Managed {
            vm,
            machine,
            log,
            states: tempfile::tempdir()?,
            saved: 0,
        };
        managed.make_store()?;
        Ok(managed)
    }

    /// Makes a store for the snapshots of this QEMU.
    fn make_store(&mut self) -> Result<()> {
        self.saved = 0;
        let store = self.states.path().join("store.qcow2");
        Ok(self.machine.monitor()?.make_snapshot_store(&store)?)
    }

    /// Waits until the storm begins.
    fn begins(&mut self, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        let begins = |printed: &str| printed.contains(BEGINS).then_some(());
        let seen = self.machine.session().wait_for(deadline, begins);
        seen.context("it doesn't begin")
    }

    fn act(&mut self, act: Act) -> Result<()> {
        let monitor = self.machine.monitor()?;
        match act {
            Act::Stop(time) => {
                monitor.stop()?;
                sleep(time);
                monitor.cont()?;
            }
            Act::Save => {
                self.saved += 1;
                monitor.save_snapshot(&self.saved.to_string())?;
            }
            Act::Load => monitor.load_snapshot(&self.saved.to_string())?,
            Act::Migrate => self.migrate()?,
        }
        let state = self.machine.monitor()?.run_state()?;
        ensure!(state == "running", "the machine is {state}");
        Ok(())
    }

    fn migrate(&mut self) -> Result<()> {
        let file = self.states.path().join("state");
        self.machine.monitor()?.migrate_to(&file)?;
        self.machine.quit()?;
        let printed = self.machine.session().printed();
        let mut vm = Command::new(self.vm.get_program());
        vm.args(self.vm.get_args()).args(INCOMING);
        self.machine = Machine::boot(&vm, self.log, false)?;
        self.machine.session().note(&printed);
        self.machine.monitor()?.migrate_from(&file)?;
        self.make_store()
    }

    /// Waits until the kernel ends, with status 0, and returns all that it has printed.
    fn finish(mut self, limit: Duration) -> Result<String> {
        let end = self.machine.session().finish(Instant::now() + limit)?;
        let printed = self.machine.session().printed();
        end.is(0, limit)?;
        Ok(printed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_known() {
        assert!(is_warning(
            "[    1.2] warning: rcu: CPUs 1 hold up a grace period"
        ));
        assert!(is_warning("[   10.2] error: CPU1 is not off"));
        assert!(!is_warning(
            "[    1.2] warning: thread short no longer affine to cpu0"
        ));
        assert!(!is_warning("[    1.2] CPU1 down in 0.015 ms"));
        assert!(!is_warning("ok 1 - no warning: none"));
    }
}
