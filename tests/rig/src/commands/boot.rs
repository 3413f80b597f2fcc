//! `boot [--OPTION VALUE]... ELF [ARGUMENT]...`: cargo's runner for programs outside of this tree.
//!
//! Makes the Image of a program, boots it, and ends with the program's status. An option, or
//! else the variable `STILLPOINT_` with its name in capitals, describes the machine, as the
//! Makefile's variables do: `--smp 8`, `STILLPOINT_GIC=2`. The arguments behind the ELF file are
//! the program's: it finds them in `stillpoint::api::args`.
//!
//! On a terminal the console is the terminal's, and Ctrl-] is QEMU's escape key (see `run`).
//!
//! A program of tests is told by its table of tests. A test that panics ends its machine, and so
//! may any other; one that hangs is ended at the time limit. Either way the rest runs on another
//! machine. The last line has the counts, and the status is 0 if no test has failed.

mod help;
mod results;
mod series;

use std::ffi::{OsStr, OsString};
use std::io::{IsTerminal, stdin};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, fs};

use anyhow::{Context, Result, bail};

use crate::commands::boot::series::{boot_on, verdict};
use crate::commands::runner::{self, TIMED_OUT, TIMEOUT};
use crate::config::{Config, Named};
use crate::elf::Elf;
use crate::process::{Running, code};
use crate::report::print;
use crate::tools::part_of;
use crate::watch::{Watched, run_watched};
use crate::{image, qemu};

/// The options, each the name of a variable of [`Config`] in small letters.
const OPTIONS: [&str; 14] = [
    "append", "board", "cpu", "dtb", "gic", "icount", "init", "mem", "qemu", "secure", "smp",
    "tcg", "timeout", "virt",
];

/// The section with the table of tests; it is empty in a program without tests.
const TESTS: &str = ".stillpoint_tests";

pub fn run(_config: &Config, arguments: &[OsString]) -> Result<i32> {
    if help::is_wanted(arguments) {
        print(help::BOOT);
        return Ok(0);
    }
    let (options, rest) = options(arguments)?;
    let [elf, arguments @ ..] = rest else {
        bail!("no ELF file to boot: `stillpoint-rig boot --help` tells more");
    };
    let config = Config::read(named(&options), |name| {
        let given = options.iter().rfind(|(option, _)| option == name);
        let given = given.map(|(_, value)| value.clone());
        given.or_else(|| env::var_os(variable(name)))
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

/// Returns the variable of the environment for the variable `name` of [`Config`].
fn variable(name: &str) -> String {
    format!("STILLPOINT_{name}")
}

/// Returns what the variables of [`Config`] are called: as the options among `given`, and the
/// others as variables of the environment.
fn named(given: &[Setting]) -> Named {
    let named = OPTIONS.map(|option| {
        let name = option.to_uppercase();
        let is_given = given.iter().any(|(given, _)| *given == name);
        let called = if is_given {
            format!("--{option}")
        } else {
            variable(&name)
        };
        (name, called)
    });
    Named(named.into())
}

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

/// Returns the boot arguments that pass `arguments` to the program, byte for byte. The kernel
/// splits its line at ASCII white space that isn't between double quotes, and leaves out words
/// that aren't UTF-8.
///
/// # Errors
///
/// An argument can't be passed on.
fn boot_arguments(arguments: &[OsString]) -> Result<OsString> {
    let mut line = OsString::new();
    for argument in arguments {
        let Some(text) = argument.to_str() else {
            bail!("the program's argument {} is not text", argument.display());
        };
        if text.contains('"') {
            bail!("the program's argument {text} has a double quote, which can't be passed on");
        }
        line.push(if line.is_empty() { "-- " } else { " " });
        if text.is_empty() || text.contains(|char: char| char.is_ascii_whitespace()) {
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
        let (status, results) = boot_on(limit, |done| {
            let mut arguments = arguments.to_vec();
            arguments.push(format!("--from={done}").into());
            self.boot_tests(&arguments, limit)
        })?;
        let verdict = verdict(status, &results);
        let verdict = verdict.as_ref();
        let verdict = verdict.map_err(|(status, why)| (*status, why.as_str()));
        Ok(runner::say(verdict, results.ktap()))
    }

    /// Boots it, and returns its status and what it has printed.
    fn boot_tests(&self, arguments: &[OsString], limit: u64) -> Result<(i32, String)> {
        let machine = self.machine(arguments)?;
        logged(&beside(self.elf.as_os_str(), ".log"), |log| {
            let watched = Watched {
                elf: self.elf,
                image: &self.image,
                log,
                limit,
                hangs: None,
                powerdown: None,
                typed: String::new(),
            };
            run_watched(&machine, &watched)
        })
    }
}

/// Returns what `run_fn` returns, and what it has written to the file that it gets. That becomes
/// `log` afterwards: until then it is another file, because the same program may run more than
/// once at a time.
fn logged(log: &Path, run_fn: impl FnOnce(&Path) -> Result<i32>) -> Result<(i32, String)> {
    let part = part_of(log);
    let status = run_fn(&part);
    let printed = fs::read(&part).with_context(|| part.display().to_string());
    if printed.is_ok() {
        fs::rename(&part, log).with_context(|| log.display().to_string())?;
    }
    Ok((status?, String::from_utf8_lossy(&printed?).into_owned()))
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
        // The kernel splits at each of these.
        for white in ["\t", "\n", "\x0c", "\r"] {
            let word = format!("two{white}words");
            assert_eq!(line(&[&word]), *format!("-- \"{word}\""));
        }
        let why = |word: OsString| boot_arguments(&[word]).expect_err("no way").to_string();
        let quote = "the program's argument a\"b has a double quote, which can't be passed on";
        assert_eq!(why("a\"b".into()), quote);
        let bytes = OsString::from_vec(vec![b'a', 0xff]);
        assert_eq!(why(bytes), "the program's argument a\u{fffd} is not text");
    }

    #[test]
    fn a_setting_is_called_as_it_was_given() {
        let named = named(&[("VIRT".to_owned(), "on".into())]);
        assert_eq!(named.of("VIRT"), "--virt");
        assert_eq!(named.of("TIMEOUT"), "STILLPOINT_TIMEOUT");
    }

    #[test]
    fn a_program_may_run_twice_at_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let log = dir.path().join("a.elf.log");
        let write = |file: &Path, text: &str| fs::write(file, text).expect("it is written");
        let one = logged(&log, |one| {
            write(one, "one");
            let other = logged(&log, |other| {
                write(other, "other");
                Ok(2)
            });
            assert_eq!(other.expect("a log"), (2, "other".to_owned()));
            Ok(1)
        });
        assert_eq!(one.expect("a log"), (1, "one".to_owned()));
        let kept = fs::read_dir(dir.path()).expect("a directory").count();
        assert_eq!(kept, 1, "only {}", log.display());
    }
}
