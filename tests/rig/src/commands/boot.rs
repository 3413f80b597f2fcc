//! `boot [--OPTION VALUE]... ELF [ARGUMENT]...`: cargo's runner for programs outside of this tree.
//!
//! Makes the Image of a program, boots it, and ends with the program's status. An option, or
//! else the variable `STILLPOINT_` with its name in capitals, describes the machine, as the
//! Makefile's variables do: `--smp 8`, `STILLPOINT_GIC=2`. The arguments behind the ELF file are
//! the program's: it finds them in `stillpoint::api::args`.
//!
//! On a terminal the console is the terminal's, and Ctrl-] is QEMU's escape key (see `run`).
//!
//! A program of tests is told by its table of tests. A test that panics ends its machine, and one
//! that hangs is ended at the time limit. Either way the rest runs on another machine. The last
//! line has the counts, and the status is 0 if no test has failed.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{IsTerminal, stdin};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::commands::runner::{self, TIMED_OUT, TIMEOUT};
use crate::config::Config;
use crate::counts::Counts;
use crate::elf::Elf;
use crate::ktap::{self, Plan};
use crate::process::{Running, code};
use crate::report::print;
use crate::watch::{Watched, run_watched};
use crate::{image, qemu};

/// The options, each the name of a variable of [`Config`] in small letters.
const OPTIONS: [&str; 14] = [
    "append", "board", "cpu", "dtb", "gic", "icount", "init", "mem", "qemu", "secure", "smp",
    "tcg", "timeout", "virt",
];

/// The exit status of a panic.
const PANICKED: i32 = 101;

/// The section with the table of tests; it is empty in a program without tests.
const TESTS: &str = ".stillpoint_tests";

pub fn run(_config: &Config, arguments: &[OsString]) -> Result<i32> {
    let (options, rest) = options(arguments)?;
    let [elf, arguments @ ..] = rest else {
        bail!("boot [--OPTION VALUE]... ELF [ARGUMENT]...");
    };
    let config = Config::read(|name| {
        let given = options.iter().rfind(|(option, _)| option == name);
        let given = given.map(|(_, value)| value.clone());
        given.or_else(|| env::var_os(format!("STILLPOINT_{name}")))
    })?;
    let program = Program {
        elf: Path::new(elf),
        image: beside(elf, ".Image"),
        config,
    };
    image::make_anew(program.elf, &program.image)?;
    let lists = arguments.iter().any(|argument| argument == "--list");
    if Elf::read(program.elf)?.section_size(TESTS)? > 0 && !lists {
        program.test(arguments)
    } else {
        program.run(arguments)
    }
}

/// An option: the name of its variable, and its value.
type Setting = (String, OsString);

/// Splits off the options at the start of `arguments`.
fn options(arguments: &[OsString]) -> Result<(Vec<Setting>, &[OsString])> {
    let mut found = Vec::new();
    let mut rest = arguments;
    while let [first, after @ ..] = rest {
        let Some(option) = first.to_str().and_then(|word| word.strip_prefix("--")) else {
            break;
        };
        let (name, value, after) = match (option.split_once('='), after) {
            (Some((name, value)), after) => (name, value.into(), after),
            (None, [value, after @ ..]) => (option, value.clone(), after),
            (None, []) => bail!("--{option} needs a value"),
        };
        if !OPTIONS.contains(&name) {
            bail!("no option --{name}; there are: --{}", OPTIONS.join(" --"));
        }
        found.push((name.to_uppercase(), value));
        rest = after;
    }
    Ok((found, rest))
}

/// Returns the path of a file beside `elf` that differs in its end.
fn beside(elf: &OsStr, end: &str) -> PathBuf {
    let mut path = elf.to_owned();
    path.push(end);
    path.into()
}

/// Returns the boot arguments that pass `arguments` to the program, byte for byte.
fn boot_arguments(arguments: &[OsString]) -> Result<OsString> {
    let mut line = OsString::new();
    for argument in arguments {
        let bytes = argument.as_bytes();
        if bytes.contains(&b'"') {
            bail!("a program's argument can't have a double quote");
        }
        line.push(if line.is_empty() { "-- " } else { " " });
        if bytes.is_empty() || bytes.contains(&b' ') {
            line.push("\"");
            line.push(argument);
            line.push("\"");
        } else {
            line.push(argument);
        }
    }
    Ok(line)
}

/// A program, and the machine that it runs on.
struct Program<'a> {
    elf: &'a Path,
    image: PathBuf,
    config: Config,
}

impl Program<'_> {
    /// Returns the command that boots it with `arguments`.
    fn machine(&self, arguments: &[OsString]) -> Result<Command> {
        let mut config = self.config.clone();
        let mut append = config.append.into_vec();
        if !append.is_empty() {
            append.push(b' ');
        }
        append.extend(boot_arguments(arguments)?.into_vec());
        config.append = OsString::from_vec(append);
        qemu::command(&config, &self.image)
    }

    /// Runs it with the console on standard input and output.
    fn run(&self, arguments: &[OsString]) -> Result<i32> {
        let mut vm = self.machine(arguments)?;
        if stdin().is_terminal() {
            eprintln!("Ctrl-] X ends the machine, whatever it does.");
            vm.args(["-serial", "mon:stdio", "-echr", "0x1d"]);
        } else {
            vm.args(["-serial", "stdio", "-monitor", "none"]);
        }
        let mut running = Running::start_in_front(&mut vm)?;
        if self.config.timeout.is_empty() {
            return Ok(code(running.wait()?));
        }
        let limit = self.config.timeout_or(TIMEOUT)?;
        match running.wait_until(Instant::now() + Duration::from_secs(limit))? {
            Some(status) => Ok(code(status)),
            None => {
                running.end()?;
                eprintln!("timed out after {limit} s");
                Ok(TIMED_OUT)
            }
        }
    }

    /// Runs its tests, which `arguments` select.
    fn test(&self, arguments: &[OsString]) -> Result<i32> {
        let limit = self.config.timeout_or(TIMEOUT)?;
        let (status, printed) = boot_on(limit, |done| {
            let mut arguments = arguments.to_vec();
            arguments.push(format!("--from={done}").into());
            self.boot_tests(&arguments, limit)
        })?;
        let verdict = verdict(status, &printed);
        let verdict = verdict.as_ref();
        let verdict = verdict.map_err(|(status, why)| (*status, why.as_str()));
        Ok(runner::say(verdict, &printed))
    }

    /// Boots it, and returns its status and what it has printed.
    fn boot_tests(&self, arguments: &[OsString], limit: u64) -> Result<(i32, String)> {
        let log = beside(self.elf.as_os_str(), ".log");
        let watched = Watched {
            elf: self.elf,
            image: &self.image,
            log: &log,
            limit,
            hangs: None,
            typed: String::new(),
        };
        let status = run_watched(&self.machine(arguments)?, &watched)?;
        let printed = std::fs::read(&log).with_context(|| log.display().to_string())?;
        Ok((status, String::from_utf8_lossy(&printed).into_owned()))
    }
}

/// Boots a program of tests, and again behind each test that has ended its machine, or that was
/// ended with it after `limit` seconds. Returns the last status and what all have printed.
///
/// * `boot_fn` — boots the program from the test on whose number it gets, counted from 0, and
///   returns the status and what was printed
fn boot_on(
    limit: u64,
    mut boot_fn: impl FnMut(u64) -> Result<(i32, String)>,
) -> Result<(i32, String)> {
    let mut printed = String::new();
    loop {
        let before = ktap::results(&printed);
        let (status, log) = boot_fn(before)?;
        printed.push_str(&log);
        if status == TIMED_OUT {
            let hangs = ktap::results(&printed) + 1;
            let line = format!("not ok {hangs} - timed out after {limit} s\n");
            print(&line);
            printed.push_str(&line);
        }
        let now = ktap::results(&printed);
        let goes_on = matches!(status, PANICKED | TIMED_OUT);
        if !goes_on || now == before || now >= ktap::planned(&printed) {
            return Ok((status, printed));
        }
    }
}

/// Returns the counts of the tests that have printed `printed`, whose last machine ended with
/// `status`; or the reason why they have failed.
fn verdict(status: i32, printed: &str) -> Result<Counts, (i32, String)> {
    let all = ktap::planned(printed);
    let is_whole = ktap::results(printed) == all && printed.contains("1..");
    if !is_whole || !matches!(status, 0 | 1 | PANICKED | TIMED_OUT) {
        let why = format!(
            "ended with status {status} after {} of {all} tests",
            ktap::results(printed)
        );
        return Err((status.max(1), why));
    }
    if all == 0 {
        return Ok(Counts::default());
    }
    ktap::judge(printed, Plan::Whole).map_err(|why| (1, why))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    #[test]
    fn options_come_before_the_program_and_arguments_after_it() {
        let all = words(&["--smp", "8", "--gic=2", "a.elf", "--smp", "1"]);
        let (found, rest) = options(&all).expect("options");
        assert_eq!(
            found,
            [
                ("SMP".to_owned(), OsString::from("8")),
                ("GIC".to_owned(), OsString::from("2"))
            ]
        );
        assert_eq!(rest, words(&["a.elf", "--smp", "1"]));
        for wrong in [&["--cpus", "8"][..], &["--smp"]] {
            assert!(options(&words(wrong)).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn arguments_reach_the_program_as_they_are() {
        let line = |all: &[&str]| boot_arguments(&words(all)).expect("no quotes");
        assert_eq!(line(&[]), "");
        assert_eq!(
            line(&["--exact", "two words", ""]),
            "-- --exact \"two words\" \"\""
        );
        assert!(boot_arguments(&words(&["a\"b"])).is_err());
    }

    #[test]
    fn tests_go_on_behind_one_that_ends_its_machine() {
        let run = |boots: &[(i32, &str)]| {
            let mut boots = boots.iter();
            let mut from = Vec::new();
            let booted = boot_on(9, |done| {
                from.push(done);
                let (status, log) = boots.next().expect("no more boots");
                Ok((*status, (*log).to_owned()))
            });
            let (status, printed) = booted.expect("no error");
            assert!(boots.next().is_none(), "more boots");
            (from, verdict(status, &printed).map_err(|(_, why)| why))
        };
        let passed = |passed| {
            Ok(Counts {
                passed,
                ..Counts::default()
            })
        };
        let first = "1..3\nok 1 - a\n";
        let boots = [
            (PANICKED, first),
            (PANICKED, "ok 2 - b\n"),
            (0, "ok 3 - c\n"),
        ];
        assert_eq!(run(&boots), (vec![0, 1, 2], passed(3)));
        let boots = [(TIMED_OUT, first), (0, "ok 3 - c\n")];
        let failed = Err("1 of the results".to_owned());
        assert_eq!(run(&boots), (vec![0, 2], failed));
        // A panic between two tests would come again.
        let failed = Err("ended with status 101 after 1 of 3 tests".to_owned());
        assert_eq!(
            run(&[(PANICKED, first), (PANICKED, "")]),
            (vec![0, 1], failed)
        );
        let failed = Err("ended with status 0 after 1 of 3 tests".to_owned());
        assert_eq!(run(&[(0, first)]), (vec![0], failed));
    }

    #[test]
    fn tests_pass_if_all_of_them_did() {
        let passes = "1..2\nok 1 - a\nok 2 - b\n";
        let passed = verdict(0, passes).map(|counts| counts.passed);
        assert_eq!(passed, Ok(2));
        // The last test had to panic.
        assert!(verdict(PANICKED, passes).is_ok());
        assert!(verdict(0, "1..0\n").is_ok());
        let fails = |status, log| verdict(status, log).expect_err("a failure").1;
        assert_eq!(fails(1, "1..1\nnot ok 1 - a\n"), "1 of the results");
        let early = "ended with status 0 after 1 of 2 tests";
        assert_eq!(fails(0, "1..2\nok 1 - a\n"), early);
        assert_eq!(fails(0, ""), "ended with status 0 after 0 of 0 tests");
        assert_eq!(fails(7, passes), "ended with status 7 after 2 of 2 tests");
    }
}
