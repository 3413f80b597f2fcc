//! `host-cost IMAGE [SECONDS]`: what a machine costs its host, seen from there.
//!
//! Boots the Image, and reads how much CPU time the host has given to the threads of QEMU that
//! execute the virtual CPUs: while all CPUs are online and idle, while half of them are offline,
//! while one is busy, and while the machine is stopped. Then what it costs to take CPUs down and up
//! and to stop all of them for a moment, and what a machine costs that does nothing else.
//!
//! The promises are judged: a CPU that is offline costs nothing at all, nor does one of a stopped
//! machine; an idle one next to nothing. All else are figures.

use std::ffi::OsString;
use std::fmt::Write;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::cases::Cases;
use crate::config::{Config, or};
use crate::machine::Machine;
use crate::monitor::{Vcpu, cpu_time};
use crate::paths::log_dir;
use crate::qemu;
use crate::report::print;

/// Seconds that the machine may take to come to its next part.
const LIMIT: u64 = 60;

/// For how many seconds the threads are observed in each part, unless the arguments say.
const WATCHED: u64 = 1;

/// The time between the beginning of a part and that of the observation: what came before is over
/// then, the output too.
const SETTLES: Duration = Duration::from_millis(300);

/// How much CPU time in a second counts as none: QEMU may wake a thread for its own ends.
const NOTHING: Duration = Duration::from_millis(1);

/// How much an idle CPU may cost in a second.
const IDLE: Duration = Duration::from_millis(10);

/// How much a CPU that is busy costs in a second at least, however busy the host is.
const BUSY: Duration = Duration::from_millis(50);

/// How many CPUs come or go, and how many stops there are.
const WALKS: u32 = 100;
const STOPS: u32 = 100;

/// CPU time that the host has given so far.
struct Given {
    /// To each virtual CPU.
    vcpus: Vec<Duration>,
    /// To all threads of QEMU.
    all: Duration,
}

impl Given {
    /// Returns what was given since `before`.
    fn since(&self, before: &Given) -> Given {
        let each = self.vcpus.iter().zip(&before.vcpus);
        Given {
            vcpus: each.map(|(now, then)| now.saturating_sub(*then)).collect(),
            all: self.all.saturating_sub(before.all),
        }
    }

    /// Returns a line of the table: milliseconds in a second, for each virtual CPU and for all
    /// other threads.
    fn line(&self, name: &str, time: Duration) -> String {
        let mut line = format!("{name:<24}");
        let vcpus: Duration = self.vcpus.iter().sum();
        let others = self.all.saturating_sub(vcpus);
        for given in self.vcpus.iter().chain([&others]) {
            let share = 1000.0 * given.as_secs_f64() / time.as_secs_f64();
            let _to_a_string = write!(line, " {share:>8.3}");
        }
        line
    }
}

/// The machine, and the threads of its CPUs.
struct Watched {
    machine: Machine,
    process: u32,
    vcpus: Vec<Vcpu>,
    limit: Duration,
}

pub fn run(config: &Config, arguments: &[OsString]) -> Result<i32> {
    let (image, seconds) = match arguments {
        [image] => (image, WATCHED),
        [image, seconds] => {
            let seconds = seconds.to_str().and_then(|text| text.parse().ok());
            (image, seconds.context("SECONDS is a number")?)
        }
        _ => bail!("host-cost IMAGE [SECONDS]"),
    };
    let time = Duration::from_secs(seconds);
    let in_all = u32::try_from(seconds).context("SECONDS")?;
    let cpus: usize = or(&config.smp, "4").parse().context("SMP")?;
    ensure!(cpus >= 2, "SMP must be at least 2: one CPU goes offline");
    let half = cpus / 2;
    let log = log_dir()?.join("host-cost.log");
    let machine = Config {
        smp: cpus.to_string(),
        init: script(cpus, time).into(),
        ..config.clone()
    };
    let vm = qemu::command(&machine, Path::new(image))?;
    let limit = Duration::from_secs(config.timeout_or(LIMIT)?);
    let mut watched = Watched::boot(Machine::boot(&vm, &log, false)?, limit)?;

    let idle = watched.observe("idle", time)?;
    let walks = watched.whole("walks", "stops")?;
    let stops = watched.whole("stops", "offline")?;
    let offline = watched.observe("offline", time)?;
    let busy = watched.observe("busy", time)?;
    watched.machine.monitor()?.stop()?;
    let stopped = watched.given_in(time)?;
    watched.machine.quit()?;

    print(&table(&[
        idle.line("all online, all idle", time),
        offline.line(&format!("from CPU {half} on offline"), time),
        busy.line("so, and CPU 0 is busy", time),
        stopped.line("so, and QMP stop", time),
    ]));
    let per = |given: &Given, count: u32| 1000.0 * given.all.as_secs_f64() / f64::from(count);
    print(&format!(
        "a CPU down or up: {:.3} ms in all threads; a stop of all: {:.3} ms\n",
        per(&walks, WALKS),
        per(&stops, STOPS)
    ));

    // All of it is of one machine, so `CASE` selects none.
    let mut cases = Cases::new("host-cost", arguments, &Config::default());
    let mut check = |what: &str, given: &[Duration], is_so: &dyn Fn(Duration) -> bool| {
        let outcome = if given.iter().all(|given| is_so(*given)) {
            Ok(())
        } else {
            Err(anyhow::anyhow!("CPU time: {given:?}"))
        };
        cases.tell(what, &outcome, &log);
    };
    let nothing = |given: Duration| given <= NOTHING * in_all;
    check(
        "an offline CPU costs nothing",
        &offline.vcpus[half..],
        &nothing,
    );
    check(
        "nor while another one is busy",
        &busy.vcpus[half..],
        &nothing,
    );
    check("nor does a stopped machine", &stopped.vcpus, &nothing);
    let little = |given: Duration| given <= IDLE * in_all;
    check("an idle CPU costs next to nothing", &idle.vcpus, &little);
    check("a busy one works", &busy.vcpus[..1], &|given| {
        given >= BUSY * in_all
    });
    Ok(cases.finish())
}

/// Returns what the shell does: the parts, each with its name before it.
fn script(cpus: usize, time: Duration) -> String {
    let half = cpus / 2;
    let stays = (time + 3 * SETTLES).as_secs_f64();
    format!(
        "chcpu -e 1-{last}; echo part idle; sleep {stays}; \
         echo part walks; stress {WALKS}; echo part stops; repeat {STOPS} stop; \
         chcpu -d {half}-{last}; echo part offline; sleep {stays}; \
         echo part busy; taskset -c 0 repeat 1000000000 echo -n",
        last = cpus - 1
    )
}

/// Returns the table of `lines`.
fn table(lines: &[String]) -> String {
    let columns = lines[0].split_whitespace().rev();
    let numbers = columns
        .take_while(|word| word.parse::<f64>().is_ok())
        .count();
    let mut text = format!("{:<24}", "ms of CPU time in 1 s");
    for cpu in 0..numbers - 1 {
        let _to_a_string = write!(text, " {:>8}", format!("CPU {cpu}"));
    }
    text.push_str("   others\n");
    for line in lines {
        text.push_str(line);
        text.push('\n');
    }
    text
}

impl Watched {
    fn boot(mut machine: Machine, limit: Duration) -> Result<Watched> {
        let vcpus = machine.monitor()?.vcpus()?;
        let process = machine.session().running().child().id();
        Ok(Watched {
            machine,
            process,
            vcpus,
            limit,
        })
    }

    /// Waits until the part `name` begins.
    fn begins(&mut self, name: &str) -> Result<()> {
        let deadline = Instant::now() + self.limit;
        let begins = format!("\npart {name}\n");
        let seen = self
            .machine
            .session()
            .wait_for(deadline, |printed| printed.contains(&begins).then_some(()));
        seen.with_context(|| format!("the part {name} does not begin"))
    }

    fn given(&self) -> Result<Given> {
        let of_one = |vcpu: &Vcpu| vcpu.cpu_time(self.process);
        let vcpus = self.vcpus.iter().map(of_one);
        Ok(Given {
            vcpus: vcpus.collect::<Result<_, _>>()?,
            all: cpu_time(self.process)?,
        })
    }

    /// Returns what is given in `time` from now on.
    fn given_in(&self, time: Duration) -> Result<Given> {
        sleep(SETTLES);
        let before = self.given()?;
        sleep(time);
        Ok(self.given()?.since(&before))
    }

    /// Returns what is given in `time` in the part `name`.
    fn observe(&mut self, name: &str, time: Duration) -> Result<Given> {
        self.begins(name)?;
        self.given_in(time)
    }

    /// Returns what is given in the part `name`, from its beginning to that of `next`.
    fn whole(&mut self, name: &str, next: &str) -> Result<Given> {
        self.begins(name)?;
        let before = self.given()?;
        self.begins(next)?;
        Ok(self.given()?.since(&before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_column_for_each_cpu_and_one_for_the_rest() {
        let ms = Duration::from_millis;
        let before = Given {
            vcpus: vec![ms(1), ms(0)],
            all: ms(5),
        };
        let now = Given {
            vcpus: vec![ms(3), ms(2000)],
            all: ms(2010),
        };
        let line = now.since(&before).line("busy", Duration::from_secs(2));
        assert_eq!(line, "busy                        1.000 1000.000    1.500");
        let head = "ms of CPU time in 1 s       CPU 0    CPU 1   others";
        assert_eq!(
            table(std::slice::from_ref(&line)),
            format!("{head}\n{line}\n")
        );
    }
}
