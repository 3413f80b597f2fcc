//! Runs the stages of the check and of the nightly run, and shows how far they are. Each stage
//! runs in a process of its own, which prints into a log and tells of its
//! [events](crate::events). Two run at a time where their [lanes](crate::stages::Lane) allow it.
//!
//! ```text
//!   a stage --- its output --- TARGET/NAME/STAGE.log ----.
//!        \                                                 >-- the screen: a live line or a line
//!         `---- its events --- TARGET/NAME/STAGE.events --'    now and then, each failure at
//!                                                              once, a line at the end
//! ```

mod watched;

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use watched::{FURTHER, Watched};

use crate::config::Config;
use crate::counts::{Counts, clock, seconds};
use crate::events::Event;
use crate::interrupt::{Interrupt, end_all};
use crate::process::collect_all;
use crate::screen::{Colour, Screen};
use crate::stages::{Lane, Stage};
use crate::summary::{Failure, Summary};
use crate::times::Times;
use crate::view::Place;

/// How often the driver looks at its stages.
const LOOK: Duration = Duration::from_millis(20);

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
}

impl Driver {
    /// Returns a driver of stages, which get the variables of `config`. From here on signals
    /// interrupt a stage, and don't end this program.
    ///
    /// # Errors
    ///
    /// The directory of logs can't be made, or signals can't be caught.
    pub fn new(kind: Kind, config: Config) -> Result<Driver> {
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
        })
    }

    /// Returns the directory of the logs.
    #[must_use]
    pub fn logs(&self) -> &Path {
        &self.logs
    }

    /// Runs `stages`, and prints a line for each when it has ended. `judge_fn` returns the
    /// verdict, which is printed before the time. It may also change the status and the command
    /// that repeats the stage, and add to the log. `ended_fn` is told how each stage has ended, and
    /// returns whether the others go on; if not, those that run are ended. After an interruption
    /// none goes on.
    ///
    /// # Errors
    ///
    /// A stage can't be started or ended, or its log can't be written.
    pub fn run(
        &mut self,
        stages: &[&Stage],
        mut judge_fn: impl FnMut(&Stage, &mut Ended) -> &'static str,
        mut ended_fn: impl FnMut(&Stage, &Ended) -> bool,
    ) -> Result<()> {
        let mut waiting: Vec<(usize, &Stage)> = (1..).zip(stages.iter().copied()).collect();
        let mut running: Vec<(&Stage, Watched)> = Vec::new();
        loop {
            let lanes = || running.iter().map(|(stage, _)| self.lane(stage));
            let may_begin = |at: &usize| {
                let before = waiting[..*at].iter().map(|(_, stage)| self.lane(stage));
                self.lane(waiting[*at].1).is_free(before.chain(lanes()))
            };
            if let Some(at) = (0..waiting.len()).find(may_begin) {
                let (number, stage) = waiting.remove(at);
                let place = Place {
                    number,
                    all: stages.len(),
                    name: stage.name,
                    last: self.times.last(stage.name),
                };
                running.push((stage, self.begin(stage, place)?));
                continue;
            }
            if running.is_empty() {
                return Ok(());
            }
            for (_, watched) in &mut running {
                self.look_at(watched)?;
            }
            collect_all(running.iter_mut().map(|(_, watched)| watched.process()))?;
            if self.interrupt.signal().is_some() {
                return self.interrupted(running, ended_fn);
            }
            let Some(at) = running.iter().position(|(_, watched)| watched.has_ended()) else {
                self.show(&mut running);
                sleep(LOOK);
                continue;
            };
            let (stage, watched) = running.remove(at);
            if !ended_fn(stage, &self.end(stage, watched, &mut judge_fn)?) {
                return self.break_off(running);
            }
        }
    }

    /// Returns the lane of `stage`. What is shown at once would be mixed with that of others.
    fn lane(&self, stage: &Stage) -> Lane {
        match self.at_once(stage) {
            true => Lane::Alone,
            false => stage.lane,
        }
    }

    /// Returns whether the output of `stage` is shown at once.
    fn at_once(&self, stage: &Stage) -> bool {
        stage.at_once || self.config.verbose == "1"
    }

    /// Starts `stage`.
    fn begin<'a>(&mut self, stage: &Stage, place: Place<'a>) -> Result<Watched<'a>> {
        let at_once = self.at_once(stage);
        if at_once {
            self.screen.print(&format!("{}:\n", stage.name));
        }
        let log = self.logs.join(stage.name).with_extension("log");
        Watched::begin(&self.config, self.kind.command, place, log, at_once)
    }

    /// Takes in what a stage has printed and told.
    fn look_at(&mut self, watched: &mut Watched) -> Result<()> {
        while let Some(line) = watched.next_line()? {
            if watched.at_once {
                self.screen.print(&line);
            }
        }
        let news = watched.news()?;
        self.take_events(watched, &news);
        Ok(())
    }

    /// Takes the end of a stage, prints its line, and returns how it ended.
    fn end(
        &mut self,
        stage: &Stage,
        mut watched: Watched,
        judge_fn: impl FnOnce(&Stage, &mut Ended) -> &'static str,
    ) -> Result<Ended> {
        self.look_at(&mut watched)?;
        let mut ended = self.how_ended(&watched, watched.status());
        let before = ended.log.len();
        let verdict = judge_fn(stage, &mut ended);
        let added = &ended.log[before..];
        watched.add_to_log(added)?;
        self.tell_end(&watched, &ended, verdict, added);
        Ok(ended)
    }

    fn how_ended(&self, watched: &Watched, status: i32) -> Ended {
        Ended {
            status,
            log: watched.text(),
            took: watched.from.elapsed(),
            repeat: format!("{} {}", self.kind.typed, watched.place.name),
            is_interrupted: self.interrupt.signal().is_some(),
        }
    }

    /// Ends all stages that run, because of a signal, and prints where each was. A signal that the
    /// whole group gets may have ended one before the driver has seen the signal.
    fn interrupted(
        &mut self,
        running: Vec<(&Stage, Watched)>,
        mut ended_fn: impl FnMut(&Stage, &Ended) -> bool,
    ) -> Result<()> {
        let mut left = Vec::new();
        for (stage, mut watched) in running {
            self.look_at(&mut watched)?;
            let ended = self.how_ended(&watched, 128 + self.interrupt.signal().unwrap_or(0));
            self.tell_interrupted(&watched, &ended);
            left.push(watched);
            ended_fn(stage, &ended);
        }
        left.into_iter().for_each(Watched::forget);
        end_all()
    }

    /// Ends the stages that run beside one that has failed.
    fn break_off(&mut self, running: Vec<(&Stage, Watched)>) -> Result<()> {
        for (_, watched) in running {
            let took = clock(watched.from.elapsed());
            let line = format!("{} ended after {took}\n", watched.place.head());
            self.screen.print(&line);
            watched.forget();
        }
        end_all()
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

    /// Shows how far the stages are: on a terminal always, that which began first, and elsewhere
    /// each now and then.
    fn show(&mut self, running: &mut [(&Stage, Watched)]) {
        if self.screen.is_live() {
            if let Some((_, watched)) = running.first().filter(|(_, watched)| !watched.at_once) {
                self.screen.show(&watched.line());
            }
            return;
        }
        for (_, watched) in running {
            if !watched.at_once && watched.from.elapsed() >= watched.next {
                self.screen.print(&format!("{}\n", watched.line()));
                watched.next += FURTHER;
            }
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
