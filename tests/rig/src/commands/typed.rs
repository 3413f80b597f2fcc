//! `typed IMAGE`: types faster than the shell reads.
//!
//! The shell must run each pasted line as it was typed, or refuse it with a message. It must
//! not cut a line, join it with another, or lose it silently. The case `terminal` types as a person
//! does, on a terminal. QEMU's serial port takes only
//! as many bytes as the kernel has room for, so the verdict doesn't depend on time.

mod terminal;

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};
use regex_lite::Regex;

use crate::cases::Cases;
use crate::config::Config;
use crate::machine::run_to_end;
use crate::paths::log_dir;
use crate::qemu;

/// Seconds that a machine may take.
const LIMIT: u64 = 120;

/// How many lines are typed in a row.
const MANY: usize = 1000;
/// The characters of a line that is too long.
const LONG: usize = 10_000;

/// A case: its name, the text that is typed, and the function that checks the output.
type Case = (&'static str, String, fn(&Printed) -> Result<()>);

pub fn run(config: &Config, arguments: &[OsString]) -> Result<i32> {
    let [image] = arguments else {
        bail!("typed IMAGE");
    };
    let limit = Duration::from_secs(config.timeout_or(LIMIT)?);
    let machine = Config {
        smp: "4".into(),
        ..config.clone()
    };
    let mut cases = Cases::new("typed", arguments, config);
    for (name, typed, judge_fn) in all() {
        let log = log_dir()?.join(format!("typed-{name}.log"));
        let line = |took: &str| format!("{name:<24} {took:>13}");
        cases.run(name, &log, line, || {
            let vm = qemu::command(&machine, Path::new(image))?;
            let (end, printed) = run_to_end(vm, typed.as_bytes(), &log, limit)?;
            end.is(0, limit)?;
            judge_fn(&Printed::of(&printed))
        });
    }
    let log = log_dir()?.join("typed-terminal.log");
    let line = |took: &str| format!("{:<24} {took:>13}", "terminal");
    cases.run("terminal", &log, line, || {
        terminal::a_session(Path::new(image), &log, limit)
    });
    Ok(cases.finish())
}

fn all() -> [Case; 4] {
    let numbers = (1..=MANY).map(|number| format!("echo L{number:04}L\n"));
    let numbers = numbers.collect::<String>();
    let thousand = format!("chcpu -d 1-3; chcpu -e 1-3\n{numbers}poweroff\n");
    // The console's interrupt moves from CPU to CPU while the rest is typed.
    let moves = "chcpu -d 0; chcpu -d 1; chcpu -d 2; chcpu -e 0; chcpu -d 3; chcpu -e 1-3";
    let moving = format!("{moves}; chcpu -d 0\n{numbers}chcpu -d 1-2\npoweroff\n");
    let long = format!("echo {}\necho after\npoweroff\n", "x".repeat(LONG));
    [
        // The first byte is in the UART before the kernel runs.
        ("early", "echo early\npoweroff\n".into(), early),
        // The commands turn CPUs off and on.
        ("thousand_lines", thousand, thousand_lines),
        ("without_boot_cpu", moving, thousand_lines),
        ("long_line", long, long_line),
    ]
}

fn early(printed: &Printed) -> Result<()> {
    printed.has("^early$", 1)?;
    printed.has("not found", 0)
}

/// Checks that each number was printed once, in order, or that its line was refused.
fn thousand_lines(printed: &Printed) -> Result<()> {
    let ran = MANY - printed.count("^sh: line ignored")?;
    printed.has("^L[0-9]{4}L$", ran)?;
    printed.has("L", ran)?;
    printed.has("not found", 0)?;
    let numbers = || printed.lines.iter().filter(|line| line.starts_with('L'));
    if !numbers().is_sorted_by(|one, next| one < next) {
        bail!("not in their order");
    }
    Ok(())
}

/// Checks that a line that is too long is refused, and that the next line runs.
fn long_line(printed: &Printed) -> Result<()> {
    printed.has("^sh: line ignored: it is longer", 1)?;
    printed.has("^after$", 1)?;
    printed.has("not found", 0)?;
    printed.has("^x", 0)
}

/// The lines that commands printed: all but the prompts with their echo, and the kernel's own
/// messages.
struct Printed {
    lines: Vec<String>,
}

impl Printed {
    fn of(console: &str) -> Printed {
        let console = console.replace('\x07', "");
        let of_commands = |line: &&str| !line.starts_with("stillpoint# ") && !line.starts_with('[');
        let lines = console.lines().filter(of_commands);
        Printed {
            lines: lines.map(str::to_owned).collect(),
        }
    }

    fn count(&self, pattern: &str) -> Result<usize> {
        let pattern = Regex::new(pattern)?;
        let lines = self.lines.iter();
        Ok(lines.filter(|line| pattern.is_match(line)).count())
    }

    fn has(&self, pattern: &str, wanted: usize) -> Result<()> {
        let count = self.count(pattern)?;
        if count != wanted {
            bail!("{count} lines match {pattern}, not {wanted}");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(console: &str) -> Result<()> {
        thousand_lines(&Printed::of(console))
    }

    #[test]
    fn each_line_runs_once_and_in_order_or_is_refused() {
        let line = |number: usize| format!("stillpoint# echo L{number:04}L\nL{number:04}L\n");
        let all: String = (1..=MANY).map(line).collect();
        judged(&format!("[  0.1] CPU1 L\n{all}")).expect("all of them");
        let refused = all.replace("\nL0007L\n", "\nsh: line ignored: no room\n");
        judged(&refused).expect("one was refused");
        let lost = judged(&all.replace("\nL0007L\n", "\n"));
        let lost = lost.expect_err("one is lost").to_string();
        assert_eq!(lost, "999 lines match ^L[0-9]{4}L$, not 1000");
        let twice = all.replace("\nL0007L\n", "\nL0006L\n");
        assert_eq!(
            judged(&twice).expect_err("one is there twice").to_string(),
            "not in their order"
        );
        assert!(judged(&all.replace("\nL0007L\n", "\nL0007\n")).is_err());
        assert!(judged(&format!("{all}sh: Lx: not found\n")).is_err());
    }

    #[test]
    fn a_line_that_is_too_long_is_gone_and_the_next_is_not() {
        let judged = |console: &str| long_line(&Printed::of(console));
        let refused = "sh: line ignored: it is longer than 256 characters\n";
        judged(&format!("\x07{refused}after\n")).expect("as it should be");
        assert!(judged(&format!("{refused}xxx\nafter\n")).is_err());
        assert!(judged(refused).is_err());
    }
}
