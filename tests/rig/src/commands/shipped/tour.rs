//! The tour that `make run` shows at the terminal.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::Setting;
use crate::cases::find_lines;
use crate::process::this_program;
use crate::session::Session;

/// The lines of a screen above the prompt.
const SCREEN: usize = 49;

/// The columns of a screen.
const COLUMNS: usize = 120;

/// Seconds that the machine may take.
const LIMIT: u64 = 60;

/// How long the prompt may take to come.
const PROMPT_WITHIN: Duration = Duration::from_secs(30);

/// Checks that the tour's commands are shown, in order, with their output on a screen of 50
/// lines, and that each key reaches the kernel. Ctrl-A goes to the beginning of the line, so
/// that `cho it` becomes `echo it`.
pub fn the_tour(setting: &Setting) -> Result<()> {
    let limit = setting.config.timeout_or(LIMIT)?;
    let mut command = this_program();
    command.arg("run").arg(setting.image).env_remove("INIT");
    command.env("SMP", "4").env("TIMEOUT", limit.to_string());
    let from = Instant::now();
    let mut session = Session::start(&mut command, &setting.log("the_tour"), false)?;
    let screen = session
        .wait_for(from + PROMPT_WITHIN, |printed| {
            // The prompt may stand behind a carriage return.
            let mut lines = printed.split(['\r', '\n']);
            lines
                .any(|line| line == "stillpoint# ")
                .then(|| printed.to_owned())
        })
        .unwrap_or_else(|| session.printed());
    session.type_all(b"cho it arrives\x01e\npoweroff\n".to_vec());
    let limit = Duration::from_secs(limit);
    session.finish(from + limit)?.is(0, limit)?;
    fits_a_screen(&screen)?;
    find_lines(&session.printed(), LINES)
}

fn fits_a_screen(screen: &str) -> Result<()> {
    let lines = screen.matches('\n').count();
    if lines > SCREEN {
        bail!("{lines} lines, and the prompt: more than a screen");
    }
    if screen
        .lines()
        .take(lines)
        .any(|line| line.chars().count() > COLUMNS)
    {
        bail!("a line is longer than {COLUMNS} columns");
    }
    Ok(())
}

const LINES: &[&str] = &[
    r"Ctrl-\] X ends the machine",
    "Stillpoint .* on .*: 4 CPUs",
    "CPU1 up in [0-9.]+ ms, [0-9.]+ ms of it in [a-z:-]+( and [0-9.]+ ms for others)?$",
    "+ CPU2 up in [0-9.]+ ms, [0-9.]+ ms of it in [a-z:-]+( and [0-9.]+ ms for others)?$",
    "+ CPU3 up in [0-9.]+ ms, [0-9.]+ ms of it in [a-z:-]+( and [0-9.]+ ms for others)?$",
    "+ Brought up 4 of 4 CPUs in [0-9]+ us: online 0-3",
    "^stillpoint# trace 3$",
    "+ CPU3   up    call +on CPU0",
    "CPU3   up    prep:hardware +on CPU0",
    "CPU3   up    init:online +on CPU3",
    "CPU3   up    sched:active +on CPU3",
    "CPU3 up in [0-9.]+ ms$",
    "+ ^stillpoint# stop$",
    "^Time to fn: ",
    "^stillpoint# chcpu -d 3$",
    "CPU3 down in [0-9.]+ ms, interrupts off for [0-9.]+ ms$",
    "^CPU 3 disabled$",
    "^stillpoint# chcpu -e 3$",
    "CPU3 up in [0-9.]+ ms$",
    "^CPU 3 enabled$",
    "^Type 'help'",
    "^it arrives$",
    "^stillpoint# poweroff$",
    "! CPU[12]   up    prep:hardware",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_screen_has_fifty_lines_of_120_columns() {
        let line = format!("{}\n", "x".repeat(COLUMNS));
        fits_a_screen(&format!("{}stillpoint# ", line.repeat(SCREEN))).expect("it fits");
        assert!(fits_a_screen(&line.repeat(SCREEN + 1)).is_err());
        assert!(fits_a_screen(&format!("x{line}")).is_err());
        fits_a_screen(&format!("{line}{}", "x".repeat(COLUMNS + 1))).expect("no line yet");
    }
}
