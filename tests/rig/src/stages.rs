//! Runs the stages of the check and of the nightly run. Each stage runs in a process of its
//! own and prints into a log. Its time and its outcome are printed on a line.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, IsTerminal, Write, pipe, stderr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::config::Config;
use crate::counts::seconds;
use crate::process::{Running, code, this_program};
use crate::report::print;

/// The status of a stage that can't run here; its last line says why.
pub const SKIP: i32 = 77;

/// A part of a check.
pub struct Stage {
    pub name: &'static str,
    /// Whether its output is shown at once, because the stage takes long or installs
    /// something.
    pub at_once: bool,
    pub run: fn(&Config) -> Result<()>,
}

impl Stage {
    /// Returns a stage that prints into its log.
    #[must_use]
    pub const fn quiet(name: &'static str, run: fn(&Config) -> Result<()>) -> Stage {
        Stage {
            name,
            at_once: false,
            run,
        }
    }

    /// Returns a stage that prints at once.
    #[must_use]
    pub const fn at_once(name: &'static str, run: fn(&Config) -> Result<()>) -> Stage {
        Stage {
            name,
            at_once: true,
            run,
        }
    }
}

/// Returns the stage of `all` with the name `name`.
///
/// # Errors
///
/// There is no such stage; the message lists the names of all stages.
pub fn find<'a>(all: &'a [Stage], name: &OsStr) -> Result<&'a Stage> {
    match all.iter().find(|stage| stage.name == name) {
        Some(stage) => Ok(stage),
        None => {
            let names: Vec<&str> = all.iter().map(|stage| stage.name).collect();
            bail!(
                "no stage of that name: {}; there are: {}",
                name.display(),
                names.join(" ")
            )
        }
    }
}

/// The exit status of a failed stage that has already printed the reason.
#[derive(Debug)]
pub struct Failed(pub i32);

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ended with status {}", self.0)
    }
}

impl std::error::Error for Failed {}

/// Turns the exit status of a step into its result.
///
/// # Errors
///
/// The status isn't 0.
pub fn done(status: i32) -> Result<()> {
    if status == 0 {
        Ok(())
    } else {
        Err(Failed(status).into())
    }
}

/// Runs a stage in this process, and returns its exit status.
///
/// # Errors
///
/// The stage has failed and has not printed the reason yet.
pub fn run_here(stage: &Stage, config: &Config) -> Result<i32> {
    match (stage.run)(config) {
        Ok(()) => Ok(0),
        Err(error) => match error.downcast_ref() {
            Some(Failed(status)) => Ok(*status),
            None => Err(error),
        },
    }
}

/// How a stage ended.
pub struct Ended {
    pub status: i32,
    pub log: String,
    pub took: Duration,
}

/// Runs stages, each as a command of this program.
pub struct Driver<'a> {
    /// The rig's command that takes the name of a stage as its argument.
    pub command: &'a [&'a str],
    pub config: Config,
    /// The directory of the logs, a file for each stage.
    pub logs: PathBuf,
}

impl Driver<'_> {
    /// Runs `stage`, prints its line, and returns how it ended. `judge` returns the verdict,
    /// which is printed before the time. It may also change the status and add to the log.
    ///
    /// # Errors
    ///
    /// The stage can't be started, or its log can't be written.
    pub fn run(
        &self,
        stage: &Stage,
        judge: impl FnOnce(&mut Ended) -> &'static str,
    ) -> Result<Ended> {
        let at_once = stage.at_once || self.config.verbose == "1";
        if at_once {
            print(&format!("{}:\n", stage.name));
        } else {
            print(&format!("{:<16}", stage.name));
        }
        let log = self.logs.join(stage.name).with_extension("log");
        let mut ended = self.run_to_log(stage, &log, at_once)?;
        let before = ended.log.len();
        let word = judge(&mut ended);
        let added = &ended.log[before..];
        File::options()
            .append(true)
            .open(&log)?
            .write_all(added.as_bytes())?;
        if at_once {
            print(&format!("{added}{:<16}", stage.name));
        }
        print(&format!("{word:<4} {:>8}", seconds(ended.took)));
        if word == "SKIP" {
            let why = ended.log.lines().last().unwrap_or_default();
            print(&format!("  {why}"));
        }
        print("\n");
        if word == "FAIL" {
            if !at_once {
                print(&ended.log);
            }
            print(&format!(
                "repeat: cargo rig {} {}\n",
                self.command.join(" "),
                stage.name
            ));
        }
        Ok(ended)
    }

    fn run_to_log(&self, stage: &Stage, log: &Path, at_once: bool) -> Result<Ended> {
        let from = Instant::now();
        let mut file = File::create(log).with_context(|| log.display().to_string())?;
        let mut command = this_program();
        self.config.export(&mut command);
        command.args(self.command).arg(stage.name);
        let (reader, writer) = pipe()?;
        command.stdout(writer.try_clone()?).stderr(writer);
        // In the foreground, because an installation may ask for a password.
        let mut running = Running::start_in_front(&mut command)?;
        // Closes the rig's copy of the pipe's writing end, or reading would never end.
        drop(command);
        let live = !at_once && stderr().is_terminal();
        let mut text = Vec::new();
        let mut reader = BufReader::new(reader);
        loop {
            let before = text.len();
            if reader.read_until(b'\n', &mut text)? == 0 {
                break;
            }
            let line = &text[before..];
            file.write_all(line)?;
            if at_once {
                print(&String::from_utf8_lossy(line));
            } else if live {
                show(stage.name, &String::from_utf8_lossy(line));
            }
        }
        if live {
            show(stage.name, "");
        }
        Ok(Ended {
            status: code(running.wait()?),
            log: String::from_utf8_lossy(&text).into_owned(),
            took: from.elapsed(),
        })
    }
}

/// Shows the last line of a stage on a terminal.
fn show(name: &str, line: &str) {
    let line: String = line.trim_end().chars().take(60).collect();
    let _no_terminal = write!(stderr(), "\r\x1b[K{name:<16}{line}");
}

/// Empties the directory `name` in the target directory, for logs, and returns its path.
///
/// # Errors
///
/// The directory can't be made, or a file in it can't be removed.
pub fn fresh_logs(name: &str) -> Result<PathBuf> {
    let logs = Path::new("target").join(name);
    fs::create_dir_all(&logs).with_context(|| logs.display().to_string())?;
    for entry in fs::read_dir(&logs)? {
        let path = entry?.path();
        if path.is_file() {
            fs::remove_file(&path).with_context(|| path.display().to_string())?;
        }
    }
    Ok(logs)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAGES: &[Stage] = &[
        Stage::quiet("good", |_| Ok(())),
        Stage::at_once("bad", |_| done(3)),
        Stage::quiet("worse", |_| bail!("it says why")),
    ];

    #[test]
    fn a_stage_is_found_by_its_name() {
        assert_eq!(find(STAGES, "bad".as_ref()).expect("a stage").name, "bad");
        let refused = find(STAGES, "none".as_ref()).err().expect("no stage");
        let there_are = "no stage of that name: none; there are: good bad worse";
        assert_eq!(refused.to_string(), there_are);
    }

    #[test]
    fn a_step_that_fails_is_the_status_of_its_stage() {
        let config = Config::default();
        assert_eq!(run_here(&STAGES[0], &config).expect("no error"), 0);
        assert_eq!(run_here(&STAGES[1], &config).expect("no error"), 3);
        assert!(run_here(&STAGES[2], &config).is_err());
    }
}
