//! What a stage tells its driver while it runs: how many runs it has, which begin, and how
//! each has ended.
//!
//! A stage is a process of its own, and its output is a log. So it tells by a file, which the
//! driver names in the variable [`FILE`] of the stage's environment: each event is a line of
//! JSON, written at once. The driver reads on in the file while the stage appends. Without the
//! variable nothing is written.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::counts::Counts;

/// The variable of the environment that names the file.
pub const FILE: &str = "STILLPOINT_EVENTS";

/// An event of a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// So many further runs are planned.
    Planned(u64),
    /// The run of this name has begun.
    Begun(String),
    /// A run has ended. It may have been told without a beginning.
    Ended(Box<Outcome>),
}

/// How a run of a stage has ended: that of a test kernel, of a program of tests, of a case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub name: String,
    pub counts: Counts,
    /// How long the run took; `None` if nothing was run.
    pub took: Option<Duration>,
    /// What was printed of it, if it has failed; the reason, if it was skipped.
    pub text: String,
    /// The commands that repeat just this, if it has failed.
    pub repeat: Vec<String>,
    /// The file of its output; empty if that is in the log of the stage.
    pub log: String,
}

impl Outcome {
    /// Returns whether it has failed.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.counts.failed != 0
    }
}

impl Event {
    /// Returns the event's line.
    fn line(&self) -> String {
        let value = match self {
            Event::Planned(runs) => json!({ "planned": runs }),
            Event::Begun(name) => json!({ "begun": name }),
            Event::Ended(outcome) => {
                let Counts {
                    passed,
                    failed,
                    skipped,
                    inapplicable,
                } = outcome.counts;
                let took = outcome.took.map(|took| took.as_millis().to_string());
                json!({
                    "ended": outcome.name,
                    "counts": [passed, failed, skipped, inapplicable],
                    "ms": took,
                    "text": outcome.text,
                    "repeat": outcome.repeat,
                    "log": outcome.log,
                })
            }
        };
        format!("{value}\n")
    }

    /// Parses a line that [`Event::line`] has made; `None` for any other.
    fn parse(line: &str) -> Option<Event> {
        let value: Value = serde_json::from_str(line).ok()?;
        if let Some(runs) = value["planned"].as_u64() {
            return Some(Event::Planned(runs));
        }
        if let Some(name) = value["begun"].as_str() {
            return Some(Event::Begun(name.to_owned()));
        }
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let count = |kind: usize| value["counts"][kind].as_u64();
        let milliseconds = value["ms"].as_str().and_then(|ms| ms.parse().ok());
        Some(Event::Ended(Box::new(Outcome {
            name: text(&value["ended"])?,
            counts: Counts {
                passed: count(0)?,
                failed: count(1)?,
                skipped: count(2)?,
                inapplicable: count(3)?,
            },
            took: milliseconds.map(Duration::from_millis),
            text: text(&value["text"])?,
            repeat: value["repeat"]
                .as_array()?
                .iter()
                .filter_map(text)
                .collect(),
            log: text(&value["log"])?,
        })))
    }
}

/// The end of the file to which a stage writes.
pub struct Teller(Option<File>);

impl Teller {
    /// Returns the teller of this process.
    #[must_use]
    pub fn of_this_process() -> Teller {
        let path = std::env::var_os(FILE).filter(|path| !path.is_empty());
        let open = |path| File::options().append(true).open(path).ok();
        Teller(path.and_then(open))
    }

    /// Returns whether a driver reads what is told.
    #[must_use]
    pub fn is_heard(&self) -> bool {
        self.0.is_some()
    }

    /// Tells of `event`. The stage goes on even if that isn't possible.
    pub fn tell(&self, event: &Event) {
        if let Some(mut file) = self.0.as_ref() {
            let _driver_knows_less = file.write_all(event.line().as_bytes());
        }
    }
}

/// The end of the file from which a driver reads.
pub struct Listener {
    file: File,
    /// The beginning of a line that isn't complete yet.
    part: Vec<u8>,
}

impl Listener {
    /// Makes the file `path` empty, and reads from it.
    ///
    /// # Errors
    ///
    /// The file can't be made.
    pub fn at(path: &Path) -> Result<Listener> {
        let made = File::create(path).and_then(|_| File::open(path));
        Ok(Listener {
            file: made.with_context(|| path.display().to_string())?,
            part: Vec::new(),
        })
    }

    /// Returns the events since the last call.
    ///
    /// # Errors
    ///
    /// The file can't be read.
    pub fn news(&mut self) -> Result<Vec<Event>> {
        self.file.read_to_end(&mut self.part)?;
        let whole = self.part.iter().rposition(|byte| *byte == b'\n');
        let rest = self.part.split_off(whole.map_or(0, |end| end + 1));
        let lines = std::mem::replace(&mut self.part, rest);
        let lines = String::from_utf8_lossy(&lines);
        Ok(lines.lines().filter_map(Event::parse).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended() -> Event {
        Event::Ended(Box::new(Outcome {
            name: "qemu_stop SMP=4".into(),
            counts: Counts {
                passed: 3,
                failed: 1,
                skipped: 0,
                inapplicable: 2,
            },
            took: Some(Duration::from_millis(1234)),
            text: "a\nb\t\"c\"\n".into(),
            repeat: vec!["make test-qemu TEST=qemu_stop SMP=4".into()],
            log: "target/qemu/qemu_stop-smp4.log".into(),
        }))
    }

    #[test]
    fn an_event_reads_as_it_was_told() {
        let untimed = Event::Ended(Box::default());
        for event in [
            Event::Planned(7),
            Event::Begun("a b".into()),
            ended(),
            untimed,
        ] {
            let line = event.line();
            assert_eq!(line.matches('\n').count(), 1, "{line}");
            assert_eq!(Event::parse(line.trim_end()), Some(event));
        }
        for other in ["", "no JSON", "{}", r#"{"ended":"a"}"#] {
            assert_eq!(Event::parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_line_is_read_when_it_is_whole() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("events");
        let mut listener = Listener::at(&path).expect("a file");
        let teller = Teller(File::options().append(true).open(&path).ok());
        teller.tell(&Event::Planned(2));
        let line = ended().line();
        let (first, second) = line.split_at(20);
        let mut file = teller.0.as_ref().expect("a file");
        file.write_all(first.as_bytes()).expect("written");
        assert_eq!(listener.news().expect("read"), [Event::Planned(2)]);
        assert_eq!(listener.news().expect("read"), []);
        file.write_all(second.as_bytes()).expect("written");
        assert_eq!(listener.news().expect("read"), [ended()]);
    }
}
