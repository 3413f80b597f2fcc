//! `runner ELF`: cargo's runner for the target, which boots a kernel and judges it.
//!
//! A test kernel (an ELF named `qemu_*`) has directives in the first lines of its source;
//! docs/testing.md lists them. It passes if
//!
//! 1. it ends by itself, in time, with the status of its directive `status` (else 0),
//! 2. its KTAP output is whole: one plan `1..N`, N > 0, and N results, numbered in order,
//!    none of them `not ok`. A kernel with another `status` than 0 needs no plan, because it
//!    ends early,
//! 3. every `output` pattern is matched by a line, in the order given.
//!
//! A program that isn't a test has `plan: none`: 1 and 3 hold for it.
//!
//! A kernel that can't end has `halts: REASON`: it passes if its CPU sleeps in `boot_halt`
//! with that number in `boot_failure_reason`, and if 3 holds. QEMU is then ended.
//!
//! A kernel with cases is run once for each case, or only for the case that the variable
//! CASE names. The boot argument `case=NAME` tells the kernel its case.
//!
//! The last line has the counts, or the reason of the failure and every `not ok` result. Any
//! other ELF is the kernel itself: the runner boots it, and ends with its status.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use regex_lite::Regex;

use crate::cargo::name_of;
use crate::config::Config;
use crate::counts::Counts;
use crate::directives::Directives;
use crate::halt::run_until_halt;
use crate::kernels::Kernel;
use crate::ktap::{self, Plan};
use crate::paths::log_dir;
use crate::report::print;
use crate::watch::{Watched, run_watched};
use crate::{image, qemu};

/// Seconds after which a test without a directive `timeout` is ended.
pub const TIMEOUT: u64 = 60;

/// The status of a kernel that was ended at its time limit.
pub const TIMED_OUT: i32 = 124;

pub fn run(config: &Config, arguments: &[OsString]) -> Result<i32> {
    let [elf] = arguments else {
        bail!("runner ELF");
    };
    let elf = Path::new(elf);
    let Some(kernel) = Kernel::of_elf(elf)? else {
        return boot(config, elf);
    };
    let cases = kernel.directives.cases();
    if cases.is_empty() || !config.case.is_empty() {
        return Ok(report(&judge(config, &kernel, elf)?));
    }
    let mut counts = Counts::default();
    for case in cases {
        print(&format!("runner: case {case}\n"));
        let mut config = config.clone();
        config.case = case.to_owned();
        let verdict = judge(&config, &kernel, elf)?;
        let status = report(&verdict);
        match verdict {
            Ok(of_case) => counts += of_case,
            Err(_) => return Ok(status),
        }
    }
    Ok(report(&Ok(counts)))
}

/// Why a test kernel didn't pass.
struct Failure {
    status: i32,
    why: String,
    /// The console's output; empty if the kernel wasn't run.
    log: String,
}

impl Failure {
    fn new(status: i32, why: impl Into<String>, log: &str) -> Result<Counts, Failure> {
        let (why, log) = (why.into(), log.to_owned());
        Err(Failure { status, why, log })
    }
}

/// Prints the last line, and returns the exit status.
fn report(verdict: &Result<Counts, Failure>) -> i32 {
    match verdict {
        Ok(counts) => say(Ok(counts), ""),
        Err(Failure { status, why, log }) => say(Err((*status, why)), log),
    }
}

/// Prints the last line for a kernel that has printed `log`, and returns the exit status. A
/// failure has a status and a reason.
pub fn say(verdict: Result<&Counts, (i32, &str)>, log: &str) -> i32 {
    match verdict {
        Ok(counts) => {
            print(&format!("runner: ok {counts}\n"));
            0
        }
        Err((status, why)) => {
            let broken: String = ktap::broken(log).map(|line| format!("; {line}")).collect();
            print(&format!("runner: FAIL {why}{broken}\n"));
            status
        }
    }
}

/// Boots the kernel itself, and returns its status.
fn boot(config: &Config, elf: &Path) -> Result<i32> {
    let limit = config.timeout_or(TIMEOUT)?;
    let log = log_of(name_of(elf), config)?;
    let status = Machine::new(config, elf)?.run(&log, limit, [None, None], String::new())?;
    if matches!(status, TIMED_OUT | 137) {
        let why = timed_out(limit, config)?;
        return Ok(report(&Failure::new(status, why, &read(&log)?)));
    }
    Ok(status)
}

/// How a kernel must end, and the console's lines.
struct Wanted<'a> {
    status: i32,
    /// The number in `boot_failure_reason` when its CPU sleeps in `boot_halt`.
    halts: Option<u8>,
    /// A pattern for the line after which it hangs.
    hangs: Option<&'a str>,
    plan: Plan,
    output: Vec<&'a str>,
    /// A pattern for the line after which the host shuts the machine down.
    powerdown: Option<&'a str>,
    /// The lines that are typed; the last has no line feed.
    types: Vec<&'a str>,
}

impl<'a> Wanted<'a> {
    fn new(directives: &'a Directives, case: &str) -> Result<Wanted<'a>> {
        let hangs = directives.value("hangs", case);
        let halts = directives.number("halts", case)?;
        let status = match hangs {
            Some(_) => TIMED_OUT,
            None => directives.number("status", case)?.unwrap_or(0),
        };
        let no_plan = directives.value("plan", case) == Some("none");
        let plan = if status != 0 || halts.is_some() || no_plan {
            Plan::None
        } else {
            Plan::Whole
        };
        let output = directives.values("output", case);
        let powerdown = directives.value("powerdown", case);
        let types = directives.values("types", case);
        Ok(Wanted {
            status,
            halts,
            hangs,
            plan,
            output,
            powerdown,
            types,
        })
    }

    /// Returns the text that is typed on the console.
    fn typed(&self) -> String {
        self.types.join("\n")
    }
}

/// Runs a test kernel in one of its cases, and returns its counts.
fn judge(config: &Config, kernel: &Kernel, elf: &Path) -> Result<Result<Counts, Failure>> {
    let case = &config.case;
    let wanted = Wanted::new(&kernel.directives, case)?;
    if wanted.plan == Plan::None && wanted.output.is_empty() {
        let why = "status, halts, hangs or plan without output: any early end would pass";
        return Ok(Failure::new(1, why, ""));
    }
    if let Some((version, why)) = not_on(&kernel.directives, case)? {
        let name = if case.is_empty() { &kernel.name } else { case };
        print(&format!("ok 1 - {name} # SKIP QEMU {version}: {why}\n"));
        return Ok(Ok(Counts {
            skipped: 1,
            ..Counts::default()
        }));
    }
    let config = machine_of(config, &kernel.directives)?;
    let limit = match config.timeout.as_str() {
        "" => kernel
            .directives
            .number("timeout", case)?
            .unwrap_or(TIMEOUT),
        _ => config.timeout_or(TIMEOUT)?,
    };
    let log = log_of(&kernel.name, &config)?;
    let machine = Machine::new(&config, elf)?;
    let status = match wanted.halts {
        Some(halts) => {
            let reason = machine.halt(&log, limit)?;
            print(&read(&log)?);
            if reason != Some(halts) {
                let reason = reason.map_or(format!("none within {limit} s"), |it| it.to_string());
                let why = format!("boot_failure_reason is {reason} instead of {halts}");
                return Ok(Failure::new(1, why, &read(&log)?));
            }
            wanted.status
        }
        None => {
            let events = [wanted.hangs, wanted.powerdown];
            machine.run(&log, limit, events, wanted.typed())?
        }
    };
    verdict(&wanted, status, &read(&log)?, || timed_out(limit, &config))
}

/// Returns the counts of a kernel that ended with `status` and printed `log`.
fn verdict(
    wanted: &Wanted,
    status: i32,
    log: &str,
    timed_out: impl FnOnce() -> Result<String>,
) -> Result<Result<Counts, Failure>> {
    if let Some(hangs) = wanted.hangs
        && first_match(log, 0, hangs)?.is_none()
    {
        return Ok(Failure::new(1, format!("no line matches: {hangs}"), log));
    }
    if status != wanted.status {
        if matches!(status, TIMED_OUT | 137) {
            return Ok(Failure::new(status, timed_out()?, log));
        }
        let why = format!("ended with status {status} instead of {}", wanted.status);
        // A wrong 0 must not look like a pass.
        return Ok(Failure::new(status.max(1), why, log));
    }
    let counts = match ktap::judge(log, wanted.plan) {
        Ok(counts) => counts,
        Err(why) => return Ok(Failure::new(1, why, log)),
    };
    let mut line = 0;
    for pattern in wanted.output.iter().filter(|pattern| !pattern.is_empty()) {
        match first_match(log, line, pattern)? {
            Some(found) => line = found + 1,
            None => {
                let why = format!("no line from {} on matches: {pattern}", line + 1);
                return Ok(Failure::new(1, why, log));
            }
        }
    }
    Ok(Ok(counts))
}

/// Returns the number of the first line, not before `from`, that `pattern` matches. Lines
/// are counted from 0.
fn first_match(log: &str, from: usize, pattern: &str) -> Result<Option<usize>> {
    let regex = Regex::new(pattern).with_context(|| pattern.to_owned())?;
    let mut lines = log.lines().enumerate().skip(from);
    Ok(lines
        .find(|(_, line)| regex.is_match(line))
        .map(|(number, _)| number))
}

/// Returns the message for a kernel that ran into its time limit.
fn timed_out(limit: u64, config: &Config) -> Result<String> {
    Ok(format!("timed out after {limit} s, SMP={}", config.cpus()?))
}

/// Returns the version and the reason of the directive `not-on`, if it names the version of
/// QEMU on this host; else `None`.
fn not_on<'a>(directives: &'a Directives, case: &str) -> Result<Option<(&'a str, &'a str)>> {
    let Some(value) = directives.value("not-on", case) else {
        return Ok(None);
    };
    let (version, why) = value.split_once(' ').unwrap_or((value, ""));
    let here = qemu::version()?;
    let is_here = here == version || here.starts_with(&format!("{version}."));
    Ok(is_here.then_some((version, why)))
}

/// Returns the machine that a kernel runs on. Its directives override the variables, except
/// `SMP`; boot arguments are joined, and so are the arguments of QEMU.
fn machine_of(config: &Config, directives: &Directives) -> Result<Config> {
    let mut machine = config.clone();
    let case = &config.case;
    for (word, variable) in [
        ("gic", &mut machine.gic),
        ("virt", &mut machine.virt),
        ("icount", &mut machine.icount),
        ("dtb", &mut machine.dtb),
    ] {
        if let Some(wish) = directives.value(word, case) {
            *variable = wish.to_owned();
        }
    }
    if machine.smp.is_empty() {
        machine.smp = size_of(directives.value("smp", case));
    }
    let mut append: Vec<OsString> = Vec::new();
    if !case.is_empty() {
        append.push(format!("case={case}").into());
    }
    append.extend(
        directives
            .values("append", case)
            .into_iter()
            .map(OsString::from),
    );
    if !config.append.is_empty() {
        append.push(config.append.clone());
    }
    machine.append = append.join(" ".as_ref());
    let mut qemu = directives.values("qemu", case);
    qemu.push(&config.qemu);
    machine.qemu = qemu.join(" ").trim().to_owned();
    Ok(machine)
}

/// Returns the number of CPUs for a kernel that runs without `SMP`: 4, or the first of its
/// own `sizes` if they don't have 4.
fn size_of(sizes: Option<&str>) -> String {
    let mut sizes = sizes.unwrap_or("4").split_whitespace();
    let first = sizes.clone().next().unwrap_or("4");
    let four = sizes.find(|size| *size == "4");
    four.unwrap_or(first).to_owned()
}

/// Returns the path of a kernel's log, the console's output.
///
/// # Errors
///
/// Its directory can't be made, or `SMP` isn't a number.
pub fn log_of(name: &str, config: &Config) -> Result<PathBuf> {
    let case = match config.case.as_str() {
        "" => String::new(),
        case => format!("-{case}"),
    };
    Ok(log_dir()?.join(format!("{name}{case}-smp{}.log", config.cpus()?)))
}

fn read(log: &Path) -> Result<String> {
    let bytes = std::fs::read(log).with_context(|| log.display().to_string())?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A machine, and the kernel that is booted on it.
struct Machine<'a> {
    elf: &'a Path,
    image: PathBuf,
    vm: std::process::Command,
}

impl<'a> Machine<'a> {
    fn new(config: &Config, elf: &'a Path) -> Result<Machine<'a>> {
        let mut image = elf.as_os_str().to_owned();
        image.push(".Image");
        let image = PathBuf::from(image);
        image::make(elf, &image)?;
        let vm = qemu::command(config, &image)?;
        Ok(Machine { elf, image, vm })
    }

    /// Runs it. The events are patterns for lines of the console: the first one after which it
    /// hangs, and the second one after which the host shuts it down.
    fn run(
        &self,
        log: &Path,
        limit: u64,
        [hangs, powerdown]: [Option<&str>; 2],
        typed: String,
    ) -> Result<i32> {
        let Machine { elf, image, vm } = self;
        run_watched(
            vm,
            &Watched {
                elf,
                image,
                log,
                limit,
                hangs,
                powerdown,
                typed,
            },
        )
    }

    fn halt(&self, log: &Path, limit: u64) -> Result<Option<u8>> {
        run_until_halt(&self.vm, self.elf, Some(&self.image), log, limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(source: &str) -> Directives {
        Directives::parse(source).expect("directives")
    }

    /// Returns the verdict on a kernel with the source `source`, as counts or as a reason.
    fn verdict_on(source: &str, status: i32, log: &str) -> Result<Counts, (i32, String)> {
        let directives = said(source);
        let wanted = Wanted::new(&directives, "").expect("numbers");
        let verdict = verdict(&wanted, status, log, || Ok("timed out".to_owned()));
        let verdict = verdict.expect("regular expressions");
        verdict.map_err(|failure| (failure.status, failure.why))
    }

    fn passed(passed: u64) -> Result<Counts, (i32, String)> {
        Ok(Counts {
            passed,
            ..Counts::default()
        })
    }

    fn failed(status: i32, why: &str) -> Result<Counts, (i32, String)> {
        Err((status, why.to_owned()))
    }

    #[test]
    fn the_status_is_the_one_that_was_announced() {
        let whole = "1..1\nok 1 - a\n";
        assert_eq!(verdict_on("", 0, whole), passed(1));
        assert_eq!(
            verdict_on("", 7, whole),
            failed(7, "ended with status 7 instead of 0")
        );
        let panics = "//@ status: 101\n//@ output: ^BUG\n";
        assert_eq!(verdict_on(panics, 101, "BUG\n"), passed(1));
        let wrong = failed(1, "ended with status 0 instead of 101");
        assert_eq!(verdict_on(panics, 0, "BUG\n"), wrong);
        assert_eq!(verdict_on("", 124, whole), failed(124, "timed out"));
        assert_eq!(verdict_on("", 137, whole), failed(137, "timed out"));
    }

    #[test]
    fn patterns_are_matched_in_their_order_each_by_a_line_of_its_own() {
        let source = "//@ plan: none\n//@ output: ^a\n//@ output: ^a+$\n//@ output: b\n";
        assert_eq!(verdict_on(source, 0, "a\nx\naa\nb\n"), passed(1));
        let wrong = failed(1, "no line from 2 on matches: ^a+$");
        assert_eq!(verdict_on(source, 0, "a\nb\n"), wrong);
        let wrong = failed(1, "no line from 3 on matches: b");
        assert_eq!(verdict_on(source, 0, "ab\na\n"), wrong);
    }

    #[test]
    fn a_kernel_runs_where_it_asks_for() {
        let directives = said(
            "//@ smp: 2 8\n//@ gic: 2\n//@ append: x\n//@ append: y=1\n\
             //@ qemu: -device edu\n//@ qemu: -device tpm\n",
        );
        let config = Config {
            gic: "3".into(),
            cpu: "cortex-a72".into(),
            case: "odd".into(),
            append: "z".into(),
            qemu: "-d int".into(),
            ..Config::default()
        };
        let machine = machine_of(&config, &directives).expect("a machine");
        assert_eq!((machine.smp.as_str(), machine.gic.as_str()), ("2", "2"));
        assert_eq!(machine.cpu, "cortex-a72");
        assert_eq!(machine.append, "case=odd x y=1 z");
        assert_eq!(machine.qemu, "-device edu -device tpm -d int");
        assert_eq!(size_of(Some("2 4 20")), "4");
        assert_eq!(size_of(None), "4");
    }

    #[test]
    fn a_kernel_that_hangs_must_have_said_its_line() {
        let source = "//@ hangs: ^now$\n//@ output: ^now$\n";
        assert_eq!(verdict_on(source, 124, "now\n"), passed(1));
        assert_eq!(
            verdict_on(source, 124, "not yet\n"),
            failed(1, "no line matches: ^now$")
        );
        let ended = failed(1, "ended with status 0 instead of 124");
        assert_eq!(verdict_on(source, 0, "now\n"), ended);
    }
}
