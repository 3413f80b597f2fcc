//! Runs the stages of the check and of the nightly run, and shows how far they are. Each stage
//! runs in a process of its own, which prints into a log and tells of its
//! [events](crate::events).
//!
//! ```text
//!   a stage --- its output --- TARGET/NAME/STAGE.log ----.
//!        \                                                 >-- the screen: a live line or a line
//!         `---- its events --- TARGET/NAME/STAGE.events --'    now and then, each failure at
//!                                                              once, a line at the end
//! ```

use std::fs::{self, File};
use std::io::{BufRead, BufReader, PipeReader, Write, pipe};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::config::Config;
use crate::counts::{Counts, clock, seconds};
use crate::events::{Event, FILE, Listener};
use crate::interrupt::{Interrupt, end_all};
use crate::process::{Running, code, this_program};
use crate::screen::{Colour, Screen};
use crate::stages::Stage;
use crate::summary::{Failure, Summary};
use crate::times::Times;
use crate::view::{Place, View};

/// How often the live line is made anew.
const TICK: Duration = Duration::from_millis(100);

/// After which time without a terminal a line tells how far a stage is: the first, and then each
/// further one.
const FIRST: Duration = Duration::from_secs(20);
const FURTHER: Duration = Duration::from_secs(60);

/// How a stage ended.
pub struct Ended {
    pub status: i32,
    pub log: String,
    pub took: Duration,
    /// The command that repeats the stage.
    pub repeat: String,
    /// Whether this program was interrupted meanwhile.
    pub is_interrupted: bool,
}

/// How a driver calls its stages.
pub struct Kind {
    /// The name of the directory of logs.
    pub name: &'static str,
    /// The rig's command that takes the name of a stage as its argument.
    pub command: &'static [&'static str],
    /// The same as a person types it.
    pub typed: &'static str,
}

/// Runs stages, each as a command of this program.
pub struct Driver {
    kind: Kind,
    config: Config,
    /// The directory of the logs, a file for each stage.
    logs: PathBuf,
    screen: Screen,
    interrupt: Interrupt,
    times: Times,
    summary: Summary,
    /// How many stages there are, and how many have begun.
    all: usize,
    begun: usize,
}

/// A stage that runs.
struct Watched<'a> {
    place: Place<'a>,
    log: &'a Path,
    /// Whether its output is shown at once.
    at_once: bool,
    from: Instant,
    view: View,
    /// When the next line is due that tells how far it is.
    next: Duration,
    failures: u64,
}

impl Driver {
    /// Returns the driver of `all` stages, which get the variables of `config`. From here on
    /// signals interrupt a stage, and don't end this program.
    ///
    /// # Errors
    ///
    /// The directory of logs can't be made, or signals can't be caught.
    pub fn new(kind: Kind, config: Config, all: usize) -> Result<Driver> {
        let logs = Path::new("target").join(kind.name);
        fs::create_dir_all(&logs).with_context(|| logs.display().to_string())?;
        Ok(Driver {
            config,
            screen: Screen::of_this_process(),
            interrupt: Interrupt::watch()?,
            times: Times::read(&logs.with_extension("times")),
            summary: Summary::default(),
            kind,
            logs,
            all,
            begun: 0,
        })
    }

    /// Returns the directory of the logs.
    #[must_use]
    pub fn logs(&self) -> &Path {
        &self.logs
    }

    /// Runs `stage`, prints its line, and returns how it ended. `judge_fn` returns the verdict,
    /// which is printed before the time. It may also change the status and the command that
    /// repeats the stage, and add to the log.
    ///
    /// # Errors
    ///
    /// The stage can't be started or ended, or its log can't be written.
    pub fn run(
        &mut self,
        stage: &Stage,
        judge_fn: impl FnOnce(&mut Ended) -> &'static str,
    ) -> Result<Ended> {
        self.begun += 1;
        let log = self.logs.join(stage.name).with_extension("log");
        let mut watched = Watched {
            place: Place {
                number: self.begun,
                all: self.all,
                name: stage.name,
                last: self.times.last(stage.name),
            },
            log: &log,
            at_once: stage.at_once || self.config.verbose == "1",
            from: Instant::now(),
            view: View::default(),
            next: FIRST,
            failures: 0,
        };
        if watched.at_once {
            self.screen.print(&format!("{}:\n", stage.name));
        }
        let mut ended = self.run_to_log(&mut watched)?;
        if ended.is_interrupted {
            self.tell_interrupted(&watched, &ended);
            return Ok(ended);
        }
        let before = ended.log.len();
        let verdict = judge_fn(&mut ended);
        let added = &ended.log[before..];
        let mut file = File::options().append(true).open(&log)?;
        file.write_all(added.as_bytes())?;
        self.tell_end(&watched, &ended, verdict, added);
        Ok(ended)
    }

    /// Runs a stage to its end or to an interruption.
    fn run_to_log(&mut self, watched: &mut Watched) -> Result<Ended> {
        let log = watched.log;
        let mut file = File::create(log).with_context(|| log.display().to_string())?;
        let events = std::path::absolute(log.with_extension("events"))?;
        let mut listener = Listener::at(&events)?;
        let mut command = this_program();
        self.config.export(&mut command);
        command.args(self.kind.command).arg(watched.place.name);
        command.env(FILE, &events);
        let (reader, writer) = pipe()?;
        command.stdout(writer.try_clone()?).stderr(writer);
        // In the foreground, because an installation may ask for a password.
        let mut running = Running::start_in_front(&mut command)?;
        // Closes the rig's copy of the pipe's writing end, or reading would never end.
        drop(command);
        let lines = lines_of(reader);
        let mut text = Vec::new();
        let mut is_interrupted = false;
        let mut looked = Instant::now();
        loop {
            match lines.recv_timeout(TICK) {
                Ok(line) => {
                    file.write_all(&line)?;
                    self.take_line(watched, &String::from_utf8_lossy(&line));
                    text.extend(line);
                    if looked.elapsed() < TICK {
                        continue;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            looked = Instant::now();
            running.ended_among_orphans()?;
            self.take_events(watched, &listener.news()?);
            if self.interrupt.signal().is_some() {
                is_interrupted = true;
                break;
            }
            self.show(watched);
        }
        // A signal that the whole group gets may end the stage before the loop sees it.
        is_interrupted |= self.interrupt.signal().is_some();
        let status = if is_interrupted {
            running.forget();
            end_all()?;
            let signal = self.interrupt.signal().unwrap_or(0);
            128 + signal
        } else {
            code(wait(&mut running)?)
        };
        self.take_events(watched, &listener.news()?);
        Ok(Ended {
            status,
            log: String::from_utf8_lossy(&text).into_owned(),
            took: watched.from.elapsed(),
            repeat: format!("{} {}", self.kind.typed, watched.place.name),
            is_interrupted,
        })
    }

    fn take_line(&mut self, watched: &mut Watched, line: &str) {
        if watched.at_once {
            self.screen.print(line);
        } else {
            watched.view.said(line);
        }
    }

    /// Takes in `events`, and prints what they tell of failures.
    fn take_events(&mut self, watched: &mut Watched, events: &[Event]) {
        for event in events {
            watched.view.take(event);
            if let Event::Ended(outcome) = event {
                let log = watched.log.display().to_string();
                self.summary.test(watched.place.name, outcome, &log);
                if outcome.has_failed() {
                    watched.failures += 1;
                    if !watched.at_once {
                        self.screen.print(&outcome.text);
                    }
                }
            }
        }
    }

    /// Shows how far a stage is: on a terminal always, and elsewhere now and then.
    fn show(&mut self, watched: &mut Watched) {
        if watched.at_once {
            return;
        }
        let elapsed = watched.from.elapsed();
        let line = || watched.place.line(&watched.view, elapsed);
        if self.screen.is_live() {
            self.screen.show(&line());
        } else if elapsed >= watched.next {
            self.screen.print(&format!("{}\n", line()));
            watched.next += FURTHER;
        }
    }

    /// Prints the line of a stage at its end, and what is to be known of a failure.
    fn tell_end(&mut self, watched: &Watched, ended: &Ended, verdict: &'static str, added: &str) {
        let name = watched.place.name;
        self.summary.stage(name, ended.took);
        match verdict {
            "ok" => self.times.keep(name, ended.took, watched.view.done()),
            "FAIL" => {
                if watched.failures == 0 && !watched.at_once {
                    self.screen.print(&ended.log);
                } else {
                    self.screen.print(added);
                }
                if watched.failures == 0 {
                    self.summary.failure(Failure {
                        name: name.to_owned(),
                        repeat: vec![ended.repeat.clone()],
                        log: watched.log.display().to_string(),
                    });
                }
            }
            _ => {}
        }
        let colour = match verdict {
            "ok" => Colour::Green,
            "FAIL" => Colour::Red,
            _ => Colour::Yellow,
        };
        let word = self.screen.coloured(&format!("{verdict:<4}"), colour);
        let about = match verdict {
            "SKIP" => ended.log.lines().last().unwrap_or_default().to_owned(),
            _ => Counts::in_log(&ended.log).told(),
        };
        let line = format!(
            "{} {word} {:>8}  {about}",
            watched.place.head(),
            seconds(ended.took)
        );
        self.screen.print(&format!("{}\n", line.trim_end()));
    }

    /// Prints where a stage was when it was interrupted.
    fn tell_interrupted(&mut self, watched: &Watched, ended: &Ended) {
        let word = self.screen.coloured("interrupted", Colour::Yellow);
        let runs = watched.place.last.map_or(0, |(_, runs)| runs);
        let progress = watched.view.progress(runs);
        let head = watched.place.head();
        let line = format!("{head} {word} after {}  {progress}", clock(ended.took));
        let mut text = format!("{}\n", line.trim_end());
        let now = watched.view.now();
        if !now.is_empty() {
            text += &format!("    was at: {}\n", now);
        }
        text += &format!("    repeat: {}\n", ended.repeat);
        text += &format!("    log: {}\n", watched.log.display());
        self.screen.print(&text);
    }

    /// Prints what is told at the end of all stages, then `last`.
    pub fn finish(mut self, last: &str) {
        let text = self.summary.text();
        self.screen.print(&format!("{text}{last}"));
    }
}

/// Reads the lines of `reader` in a thread. It ends when nothing writes there any more.
fn lines_of(reader: PipeReader) -> Receiver<Vec<u8>> {
    let (sender, lines) = channel();
    thread::spawn(move || {
        let mut reader = BufReader::new(reader);
        loop {
            let mut line = Vec::new();
            match reader.read_until(b'\n', &mut line) {
                Ok(1..) if sender.send(line).is_ok() => {}
                _ => break,
            }
        }
    });
    lines
}

/// Waits for the end of a stage that prints nothing any more.
fn wait(running: &mut Running) -> Result<ExitStatus> {
    loop {
        if let Some(status) = running.ended_among_orphans()? {
            return Ok(status);
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Removes the files of former stages from the directory `logs`.
///
/// # Errors
///
/// A file can't be removed.
pub fn clear(logs: &Path) -> Result<()> {
    for entry in fs::read_dir(logs)? {
        let path = entry?.path();
        if path.is_file() {
            fs::remove_file(&path).with_context(|| path.display().to_string())?;
        }
    }
    Ok(())
}
