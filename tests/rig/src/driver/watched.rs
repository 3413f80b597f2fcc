//! A stage that runs, as its driver watches it.

use std::fs::File;
use std::io::{BufRead, BufReader, PipeReader, Write, pipe};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::config::Config;
use crate::events::{Event, FILE, Listener};
use crate::process::{Running, code, this_program};
use crate::view::{Place, View};

/// After which time without a terminal a line tells how far a stage is: the first, and then each
/// further one.
const FIRST: Duration = Duration::from_secs(20);
pub const FURTHER: Duration = Duration::from_secs(60);

/// A stage that runs.
pub struct Watched<'a> {
    pub place: Place<'a>,
    pub log: PathBuf,
    /// Whether its output is shown at once.
    pub at_once: bool,
    pub from: Instant,
    pub view: View,
    /// When the next line is due that tells how far it is.
    pub next: Duration,
    pub failures: u64,
    running: Running,
    file: File,
    listener: Listener,
    lines: Receiver<Vec<u8>>,
    /// Whether nothing writes to it any more.
    is_silent: bool,
    text: Vec<u8>,
}

impl<'a> Watched<'a> {
    /// Starts the stage at `place`: `command` of this program, with the variables of `config`. Its
    /// output goes to the file `log` too.
    ///
    /// # Errors
    ///
    /// The stage can't be started, or its log can't be made.
    pub fn begin(
        config: &Config,
        command: &[&str],
        place: Place<'a>,
        log: PathBuf,
        at_once: bool,
    ) -> Result<Watched<'a>> {
        let file = File::create(&log).with_context(|| log.display().to_string())?;
        let events = std::path::absolute(log.with_extension("events"))?;
        let listener = Listener::at(&events)?;
        let mut stage = this_program();
        config.export(&mut stage);
        stage.args(command).arg(place.name).env(FILE, &events);
        let (reader, writer) = pipe()?;
        stage.stdout(writer.try_clone()?).stderr(writer);
        // In the foreground, because an installation may ask for a password.
        let running = Running::start_in_front(&mut stage)?;
        // Closes the rig's copy of the pipe's writing end, or reading would never end.
        drop(stage);
        Ok(Watched {
            place,
            log,
            at_once,
            from: Instant::now(),
            view: View::default(),
            next: FIRST,
            failures: 0,
            running,
            file,
            listener,
            lines: lines_of(reader),
            is_silent: false,
            text: Vec::new(),
        })
    }

    /// Returns the process of the stage.
    pub fn process(&mut self) -> &mut Running {
        &mut self.running
    }

    /// Takes a line that the stage has printed; `None` if it has printed no other yet.
    ///
    /// # Errors
    ///
    /// The log can't be written.
    pub fn next_line(&mut self) -> Result<Option<String>> {
        match self.lines.try_recv() {
            Ok(line) => {
                self.file.write_all(&line)?;
                let text = String::from_utf8_lossy(&line).into_owned();
                if !self.at_once {
                    self.view.said(&text);
                }
                self.text.extend(line);
                Ok(Some(text))
            }
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => {
                self.is_silent = true;
                Ok(None)
            }
        }
    }

    /// Returns what the stage has told since the last call.
    ///
    /// # Errors
    ///
    /// The file of events can't be read.
    pub fn news(&mut self) -> Result<Vec<Event>> {
        self.listener.news()
    }

    /// Returns whether the stage has ended, and all that it has started and that would print.
    pub fn has_ended(&self) -> bool {
        self.is_silent && self.running.status().is_some()
    }

    /// Returns the status of the stage, which has ended.
    pub fn status(&self) -> i32 {
        self.running.status().map_or(0, code)
    }

    /// Returns all that the stage has printed.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.text).into_owned()
    }

    /// Adds `text` to the log.
    ///
    /// # Errors
    ///
    /// The log can't be written.
    pub fn add_to_log(&mut self, text: &str) -> Result<()> {
        Ok(self.file.write_all(text.as_bytes())?)
    }

    /// Returns the line that tells how far the stage is.
    pub fn line(&self) -> String {
        self.place.line(&self.view, self.from.elapsed())
    }

    /// Leaves the stage to a part of this program that ends it.
    pub fn forget(self) {
        self.running.forget();
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
