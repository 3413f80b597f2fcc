//! `managed ELF IMAGE [long]`: what a manager of virtual machines does to them, in the middle of hotplug.
//!
//! ELF is qemu_storm, which takes CPUs down and up beside threads, timers, calls, locks and stops,
//! and judges all that itself. Meanwhile the machine is stopped and goes on, its state is saved and
//! loaded again, and it is migrated to a file and from there to another QEMU. It must not notice:
//! all its results must be ok, and it may warn of nothing.
//!
//! The counter of an emulated machine stands still meanwhile. On other hosts it may go on, and the
//! guest sees it leap: as after a leap of half a minute in the state that is migrated. Then CPUs
//! come and go all the time, by the `stress` of the shell in IMAGE, and none may be called late.
//!
//! With `long` each case lasts longer, and there are more cases.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::cases::Cases;
use crate::config::Config;
use crate::image;
use crate::ktap::{self, Plan};
use crate::machine::Machine;
use crate::monitor::{INCOMING, leap};
use crate::paths::log_dir;
use crate::qemu;

/// Seconds that a machine may take to begin, and to end after the last act.
const LIMIT: u64 = 120;

/// The time between two acts.
const BETWEEN: Duration = Duration::from_millis(250);

/// How long the counter goes on while the machine doesn't run: longer than any limit of hotplug,
/// and than a wait may take until the kernel warns.
const AWAY: Duration = Duration::from_secs(30);

/// Seconds for which the storm runs before the one that is judged.
const WARM_UP: u64 = 2;

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
    /// The same, and the counter has gone on meanwhile, for [`AWAY`].
    Leap,
}

/// What the machine does meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Load {
    /// The storm, which ends by itself and prints results.
    Storm,
    /// The shell's `stress`, in which hardly a moment is without a CPU that comes or goes. It
    /// has no end.
    Stress,
}

impl Load {
    /// Returns what the kernel prints when it begins.
    fn begins(self) -> &'static str {
        match self {
            Load::Storm => "# seed=",
            Load::Stress => "stillpoint# stress ",
        }
    }
}

/// A machine, and what is done to it again and again.
struct Case {
    name: &'static str,
    gic: &'static str,
    smp: &'static str,
    load: Load,
    acts: &'static [Act],
    /// How often, in the check and in the nightly run.
    rounds: [u32; 2],
}

const BRIEFLY: Duration = Duration::from_millis(300);
const ALL: [Act; 4] = [Act::Stop(BRIEFLY), Act::Save, Act::Load, Act::Migrate];

const CASES: &[Case] = &[
    Case {
        name: "all",
        gic: "3",
        smp: "4",
        load: Load::Storm,
        acts: &ALL,
        rounds: [2, 20],
    },
    Case {
        name: "all-gicv2",
        gic: "2",
        smp: "4",
        load: Load::Storm,
        acts: &ALL,
        rounds: [1, 20],
    },
    Case {
        name: "leaps",
        gic: "3",
        smp: "8",
        load: Load::Stress,
        acts: &[Act::Leap],
        rounds: [6, 120],
    },
    Case {
        name: "leaps-gicv2",
        gic: "2",
        smp: "4",
        load: Load::Stress,
        acts: &[Act::Leap],
        rounds: [0, 120],
    },
];

pub fn run(config: &Config, arguments: &[OsString]) -> Result<i32> {
    let (elf, shell, is_long) = match arguments {
        [elf, shell] => (elf, shell, false),
        [elf, shell, long] if long == "long" => (elf, shell, true),
        _ => bail!("managed ELF IMAGE [long]"),
    };
    let mut storm = elf.clone();
    storm.push(".Image");
    image::make(Path::new(elf), Path::new(&storm))?;
    let mut cases = Cases::new("managed", arguments, config);
    for case in CASES {
        let rounds = case.rounds[usize::from(is_long)];
        if rounds == 0 {
            continue;
        }
        let image = match case.load {
            Load::Storm => &storm,
            Load::Stress => shell,
        };
        let log = log_dir()?.join(format!("managed-{}.log", case.name));
        let about = |took: &str| {
            let Case { name, smp, gic, .. } = case;
            format!("{name:<24} SMP={smp:<3} GIC={gic} {took:>6}")
        };
        cases.run(case.name, &log, about, || {
            manage(config, case, rounds, Path::new(image), &log)
        });
    }
    Ok(cases.finish())
}

/// Boots the machine of `case`, does its acts so many times, and judges what the kernel says.
fn manage(config: &Config, case: &Case, rounds: u32, image: &Path, log: &Path) -> Result<()> {
    let limit = Duration::from_secs(config.timeout_or(LIMIT)?);
    let vm = qemu::command(&machine(config, case, rounds)?, image)?;
    let mut managed = Managed::boot(vm, log)?;
    managed.prints(case.load.begins(), limit)?;
    for round in 1..=rounds {
        for act in case.acts {
            sleep(BETWEEN);
            let done = managed.act(*act);
            done.with_context(|| format!("round {round} of {rounds}: {act:?}"))?;
        }
    }
    let printed = match case.load {
        Load::Storm => {
            let printed = managed.finish(limit)?;
            ktap::judge(&printed, Plan::Whole).map_err(anyhow::Error::msg)?;
            printed
        }
        Load::Stress => {
            managed.goes_on(limit)?;
            managed.end()?
        }
    };
    // Before that it warns of boot arguments that only the storm understands.
    let load = printed.split_once(case.load.begins());
    let (_, load) = load.context("it has not begun")?;
    let warnings: Vec<&str> = load.lines().filter(|line| is_warning(line)).collect();
    ensure!(warnings.is_empty(), "it warns: {}", warnings.join("; "));
    Ok(())
}

/// Returns the machine of `case`.
fn machine(config: &Config, case: &Case, rounds: u32) -> Result<Config> {
    let mut machine = Config {
        gic: case.gic.into(),
        smp: case.smp.into(),
        mem: "256M".into(),
        ..config.clone()
    };
    match case.load {
        Load::Storm => {
            let acts = u32::try_from(case.acts.len())? * rounds;
            let seconds = (BETWEEN * (acts + 4))
                .as_secs()
                .saturating_sub(WARM_UP)
                .max(1);
            machine.append = format!("case=mixture seconds={seconds} patience=60").into();
        }
        Load::Stress => machine.init = "stress 1000000000".into(),
    }
    Ok(machine)
}

/// Returns whether a line of the log is a warning that the storm doesn't bring about itself.
fn is_warning(line: &str) -> bool {
    let behind_the_time = line.split_once("] ").map_or("", |(_, text)| text);
    let words = ["warning: ", "error: "];
    let is_any = words.iter().any(|word| behind_the_time.starts_with(word))
        || line.starts_with("stress: CPU");
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

    /// Waits until the kernel prints `text`.
    fn prints(&mut self, text: &str, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        let prints = |printed: &str| printed.contains(text).then_some(());
        let seen = self.machine.session().wait_for(deadline, prints);
        seen.with_context(|| format!("it doesn't print: {text}"))
    }

    /// Waits until a CPU has come since now.
    fn goes_on(&mut self, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        let before = self.machine.session().printed().len();
        let comes = |printed: &str| printed.get(before..)?.contains(" up in ").then_some(());
        let seen = self.machine.session().wait_for(deadline, comes);
        seen.context("no CPU comes any more")
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
            Act::Migrate => self.migrate(Duration::ZERO)?,
            Act::Leap => self.migrate(AWAY)?,
        }
        let state = self.machine.monitor()?.run_state()?;
        ensure!(state == "running", "the machine is {state}");
        Ok(())
    }

    /// Migrates the machine, whose counter goes on for `away` meanwhile.
    fn migrate(&mut self, away: Duration) -> Result<()> {
        let file = self.states.path().join("state");
        self.machine.monitor()?.migrate_to(&file)?;
        leap(&file, away)?;
        self.machine.quit()?;
        let printed = self.machine.session().printed();
        let mut vm = Command::new(self.vm.get_program());
        vm.args(self.vm.get_args()).args(INCOMING);
        self.machine = Machine::boot(&vm, self.log, false)?;
        self.machine.session().note(&printed);
        self.machine.monitor()?.migrate_from(&file)?;
        self.make_store()
    }

    /// Ends the machine, and returns all that it has printed.
    fn end(mut self) -> Result<String> {
        self.machine.quit()?;
        Ok(self.machine.session().printed())
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
        assert!(is_warning(
            "stress: CPU 1 up: Input/output error (EIO: it never arrived)"
        ));
        assert!(!is_warning("ok 1 - no warning: none"));
    }
}
