//! `parked ELF IMAGE`: checks from outside what a parked CPU does.
//!
//! Boots the Image that is shipped on QEMU's raspi4b, parks the secondaries, and looks:
//! their PC lies in the pen (by QEMU's monitor), their MMU and caches are off (SCTLR, by its
//! gdbstub), and the host has next to nothing to do.

use std::ffi::OsString;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::cases::Cases;
use crate::config::Config;
use crate::elf::Elf;
use crate::machine::Machine;
use crate::paths::log_dir;
use crate::qemu;
use crate::whereabouts::is_image;

/// How long the parked CPUs are observed.
const WATCHED: Duration = Duration::from_secs(3);
/// How many ticks of the host's clock, a hundred a second, QEMU may run in [`WATCHED`].
const ALLOWED: u64 = 45;

/// How long it may take until the CPUs are parked.
const PARKED_WITHIN: Duration = Duration::from_secs(30);

/// M, C and I of SCTLR_EL1.
const ENABLES: u64 = 0x1005;

/// The alignment of an Image in memory, and of the pen in the Image, in bytes.
const PAGE: u64 = 4096;

pub fn run(config: &Config, arguments: &[OsString]) -> Result<i32> {
    let [elf, image] = arguments else {
        bail!("parked ELF IMAGE");
    };
    let pen = Pen::of(&Elf::read(Path::new(elf))?)?;
    let machine = Config {
        board: "rpi4".into(),
        init: "chcpu -d 1-3".into(),
        ..config.clone()
    };
    let log = log_dir()?.join("parked.log");
    let vm = qemu::command(&machine, Path::new(image))?;
    let mut machine = Machine::boot(&vm, &log, false)?;
    // All cases run on the same machine, in order, so `CASE` selects none.
    let mut cases = Cases::new("parked", arguments, &Config::default());
    let mut check = |what: &str, outcome: Result<()>| cases.tell(what, &outcome, &log);

    check("CPUs 1 to 3 are disabled", disabled(&mut machine));
    let ran = ran_while_watched(&mut machine)?;
    let ticks = WATCHED.as_millis() / 10;
    check(
        &format!("parked CPUs sleep: QEMU ran {ran} of {ticks} ticks"),
        is_so(ran <= ALLOWED),
    );
    for cpu in 1..=3 {
        let inside = pen.has(&mut machine, cpu);
        check(
            &format!("the PC of CPU {cpu} is in the pen"),
            inside.and_then(is_so),
        );
    }
    let mut gdb = machine.gdb()?;
    for cpu in 1..=3 {
        let sctlr = gdb.system_register("SCTLR", cpu)?;
        let text = format!("MMU and caches of CPU {cpu} are off");
        check(&text, is_so(sctlr & ENABLES == 0));
    }
    let sctlr = gdb.system_register("SCTLR", 0)?;
    check("those of CPU 0 are on", is_so(sctlr & ENABLES == ENABLES));
    gdb.detach()?;
    // This doesn't test how QEMU ends, so its status is ignored.
    machine.quit()?;
    Ok(cases.finish())
}

fn is_so(is_so: bool) -> Result<()> {
    ensure!(is_so, "is not so");
    Ok(())
}

fn disabled(machine: &mut Machine) -> Result<()> {
    let deadline = Instant::now() + PARKED_WITHIN;
    let last = |printed: &str| printed.contains("CPU 3 disabled").then_some(());
    let seen = machine.session().wait_for(deadline, last);
    is_so(seen.is_some())
}

/// Returns how many ticks of the host's clock the machine runs in [`WATCHED`].
fn ran_while_watched(machine: &mut Machine) -> Result<u64> {
    let process = machine.session().running().child().id();
    let before = ticks(process)?;
    sleep(WATCHED);
    Ok(ticks(process)? - before)
}

/// Returns the ticks that `process` has run, for itself and in the host's kernel.
fn ticks(process: u32) -> Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    ticks_in(&stat).context("what the system says of QEMU's time")
}

/// Returns the sum of the 14th and the 15th field of `stat`, a line of /proc/PID/stat
/// (proc_pid_stat(5)).
fn ticks_in(stat: &str) -> Option<u64> {
    // The name of the program, the second field, may have blanks in it.
    let (_, behind_the_name) = stat.rsplit_once(") ")?;
    let mut fields = behind_the_name.split(' ').skip(11);
    let mut field = || fields.next()?.parse::<u64>().ok();
    Some(field()? + field()?)
}

/// The place of the pen in the Image.
struct Pen {
    start: u64,
    end: u64,
}

impl Pen {
    fn of(elf: &Elf) -> Result<Pen> {
        Ok(Pen {
            start: elf.symbol("pen_start")?,
            end: elf.symbol("pen_end")?,
        })
    }

    /// Returns whether `cpu` is in the pen.
    fn has(&self, machine: &mut Machine, cpu: u32) -> Result<bool> {
        let monitor = machine.monitor()?;
        let all = monitor.registers()?;
        let registers = all.iter().find(|registers| registers.cpu == cpu);
        let pc = registers.context("QEMU has no such CPU")?.pc;
        match self.image_of(pc) {
            Some(base) => Ok(is_image(monitor, base)?),
            None => Ok(false),
        }
    }

    /// Returns the address that the Image must have for `pc` to be in the pen; `None` if there
    /// is none.
    fn image_of(&self, pc: u64) -> Option<u64> {
        let base = (pc / PAGE * PAGE).checked_sub(self.start)?;
        (pc - base < self.end).then_some(base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_those_of_the_program_and_of_the_system() {
        let stat = "42 (qemu (x) y) S 1 2 3 4 5 6 7 8 9 10 700 31 14 15\n";
        assert_eq!(ticks_in(stat), Some(731));
        assert_eq!(ticks_in("42 (qemu) S 1"), None);
        assert!(ticks(std::process::id()).is_ok());
    }

    #[test]
    fn a_pc_is_in_the_pen_or_not() {
        let pen = Pen {
            start: 0x3000,
            end: 0x3040,
        };
        assert_eq!(pen.image_of(0x20_3008), Some(0x20_0000));
        assert_eq!(pen.image_of(0x20_3040), None);
        assert_eq!(pen.image_of(0x10), None);
    }
}
