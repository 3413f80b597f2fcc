//! A program with a console. Its output is kept, a test can wait for it, and can type input.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, OutputModes, Winsize, tcgetattr, tcsetattr, tcsetwinsize};

use crate::process::{Running, code};

/// A running program and its console. The program is ended when this is dropped.
pub struct Session {
    running: Running,
    console: Arc<Console>,
    input: Option<File>,
    copier: Option<JoinHandle<()>>,
    /// How many bytes of the output [`Session::expect`] has passed.
    expected: usize,
}

/// How a program has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By itself, with this status.
    Status(i32),
    /// It was ended because its time was over.
    TimedOut,
}

/// The output so far.
#[derive(Default)]
struct Console {
    printed: Mutex<Printed>,
    changed: Condvar,
}

#[derive(Default)]
struct Printed {
    bytes: Vec<u8>,
    is_whole: bool,
    sink: Option<Sink>,
}

/// The destinations of the output.
struct Sink {
    log: File,
    /// Whether the output goes to standard output too.
    echo: bool,
}

impl Session {
    /// Starts `command`. What it prints to standard output and standard error goes to the
    /// file `log` too, as it comes, and with `echo` to this program's standard output. A
    /// carriage return before a line feed is left out.
    ///
    /// # Errors
    ///
    /// The program can't be started, or `log` can't be written.
    pub fn start(command: &mut Command, log: &Path, echo: bool) -> Result<Session> {
        let (reader, writer) = io::pipe()?;
        command
            .stdin(Stdio::piped())
            .stdout(writer.try_clone()?)
            .stderr(writer);
        let mut running = Running::start(command)?;
        // Closes this program's copies of the pipe's ends, or the console would never end.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let input = running.child().stdin.take();
        let input = input.map(|input| File::from(OwnedFd::from(input)));
        Session::of(running, input, reader, log, echo)
    }

    /// Starts `command` on a terminal of its own, of `columns` columns; otherwise as
    /// [`Session::start`] does, without the echo.
    ///
    /// # Errors
    ///
    /// Those of [`Session::start`]; there is no terminal left.
    pub fn start_on_terminal(command: &mut Command, log: &Path, columns: u16) -> Result<Session> {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).context("a terminal")?;
        grantpt(&ours)?;
        unlockpt(&ours)?;
        let name = ptsname(&ours, Vec::new())?;
        let theirs = File::options()
            .read(true)
            .write(true)
            .open(OsStr::from_bytes(name.as_bytes()))?;
        let ours = File::from(ours);
        set_columns(&ours, columns)?;
        // The program has its carriage returns itself.
        let mut modes = tcgetattr(&theirs)?;
        modes.output_modes.remove(OutputModes::ONLCR);
        tcsetattr(&theirs, OptionalActions::Now, &modes)?;
        command
            .stdin(theirs.try_clone()?)
            .stdout(theirs.try_clone()?)
            .stderr(theirs);
        let running = Running::start(command)?;
        command.stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Session::of(running, Some(ours.try_clone()?), ours, log, false)
    }

    /// Returns the session of `running`, whose output `reader` has.
    fn of(
        running: Running,
        input: Option<File>,
        reader: impl Read + Send + 'static,
        log: &Path,
        echo: bool,
    ) -> Result<Session> {
        let log = File::create(log).with_context(|| log.display().to_string())?;
        let console = Arc::<Console>::default();
        console.lock().sink = Some(Sink { log, echo });
        let copier = thread::spawn({
            let console = Arc::clone(&console);
            move || console.copy(reader)
        });
        Ok(Session {
            running,
            console,
            input,
            copier: Some(copier),
            expected: 0,
        })
    }

    /// Gives the program's terminal so many columns.
    ///
    /// # Errors
    ///
    /// It is on none, or its input has ended.
    pub fn resize(&self, columns: u16) -> Result<()> {
        set_columns(self.input.as_ref().context("its input has ended")?, columns)
    }

    /// Types `bytes`, and waits until all have been read.
    ///
    /// # Errors
    ///
    /// The program has ended, or its input has.
    pub fn type_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        let input = self.input.as_mut().context("its input has ended")?;
        Ok(input.write_all(bytes)?)
    }

    /// Types `text`. It must be short enough for the pipe: a program that hangs doesn't read
    /// it, and this would wait for ever.
    ///
    /// # Errors
    ///
    /// The program has ended, or its input has.
    pub fn type_in(&mut self, text: &str) -> Result<()> {
        let input = self.input.as_mut().context("its input has ended")?;
        input.write_all(text.as_bytes())?;
        Ok(input.flush()?)
    }

    /// Types `bytes` as fast as they are read, and ends the input.
    pub fn type_all(&mut self, bytes: Vec<u8>) {
        if let Some(mut input) = self.input.take() {
            // The thread ends with the program at the latest, because the pipe closes then.
            thread::spawn(move || drop(input.write_all(&bytes)));
        }
    }

    /// Waits until the output has `text` after the last expected text.
    ///
    /// # Errors
    ///
    /// The text isn't printed by `deadline`, or the program has ended without it.
    pub fn expect(&mut self, text: &str, deadline: Instant) -> Result<()> {
        let from = self.expected;
        let end = self.console.wait(deadline, |printed| {
            let new = &printed[from..];
            let at = new
                .windows(text.len())
                .position(|part| part == text.as_bytes());
            at.map(|at| from + at + text.len())
        });
        match end {
            Some(end) => {
                self.expected = end;
                Ok(())
            }
            None => bail!("it does not print: {text}"),
        }
    }

    /// Returns the next whole line after the last expected text; `None` if it isn't printed by
    /// `deadline`, or the program has ended without it.
    pub fn next_line(&mut self, deadline: Instant) -> Option<String> {
        let from = self.expected;
        let line = self.console.wait(deadline, |printed| {
            let new = &printed[from..];
            let end = new.iter().position(|byte| *byte == b'\n')?;
            Some(new[..end].to_vec())
        })?;
        self.expected += line.len() + 1;
        Some(String::from_utf8_lossy(&line).into_owned())
    }

    /// Calls `find_fn` with all output so far, whenever there is more of it, until it returns
    /// `Some`. Returns `None` if it doesn't by `deadline` or before the program ends.
    pub fn wait_for<T>(
        &self,
        deadline: Instant,
        mut find_fn: impl FnMut(&str) -> Option<T>,
    ) -> Option<T> {
        self.console.wait(deadline, |printed| {
            find_fn(&String::from_utf8_lossy(printed))
        })
    }

    /// Returns the output so far. Bytes that aren't UTF-8 are replaced.
    #[must_use]
    pub fn printed(&self) -> String {
        String::from_utf8_lossy(&self.console.lock().bytes).into_owned()
    }

    /// Returns whether the output is complete, because the program has ended.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.console.lock().is_whole
    }

    /// Adds `text` to the output, as if the program had printed it on a line of its own.
    pub fn note(&self, text: &str) {
        let last = self.console.lock().bytes.last().copied();
        if last.is_some_and(|last| last != b'\n') {
            self.console.add(b"\n");
        }
        self.console.add(text.as_bytes());
    }

    /// Returns the program itself.
    pub fn running(&mut self) -> &mut Running {
        &mut self.running
    }

    /// Waits until the program ends, and ends it at `deadline`. On return the output is
    /// complete.
    ///
    /// # Errors
    ///
    /// The system doesn't say how it ended.
    pub fn finish(&mut self, deadline: Instant) -> Result<End> {
        let end = match self.running.wait_until(deadline)? {
            Some(status) => End::Status(code(status)),
            None => {
                self.running.end()?;
                End::TimedOut
            }
        };
        if let Some(copier) = self.copier.take() {
            let _panicked = copier.join();
        }
        Ok(end)
    }
}

impl End {
    /// Checks that the program has ended by itself with the status `wanted`.
    ///
    /// # Errors
    ///
    /// It has ended otherwise. The message says how, and after a time-out names `limit`.
    pub fn is(self, wanted: i32, limit: Duration) -> Result<()> {
        match self {
            End::Status(status) if status == wanted => Ok(()),
            End::Status(status) if wanted == 0 => bail!("ended with status {status}"),
            End::Status(status) => bail!("ended with status {status} instead of {wanted}"),
            End::TimedOut => bail!("timed out after {} s", limit.as_secs()),
        }
    }
}

/// Gives a terminal so many columns.
fn set_columns(terminal: &File, columns: u16) -> Result<()> {
    let size = Winsize {
        ws_row: 24,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    Ok(tcsetwinsize(terminal, size)?)
}

impl Console {
    fn lock(&self) -> MutexGuard<'_, Printed> {
        self.printed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `find_fn` returns `Some`, the output is complete, or `deadline` has come.
    fn wait<T>(&self, deadline: Instant, mut find_fn: impl FnMut(&[u8]) -> Option<T>) -> Option<T> {
        let mut printed = self.lock();
        loop {
            if let Some(found) = find_fn(&printed.bytes) {
                return Some(found);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if printed.is_whole || left.is_zero() {
                return None;
            }
            let waited = self.changed.wait_timeout(printed, left);
            printed = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Adds the bytes from `reader` to the output until it ends.
    fn copy(&self, mut reader: impl Read) {
        let mut part = [0; 4096];
        let mut returns = Returns::default();
        loop {
            let bytes = match reader.read(&mut part) {
                Ok(0) => break,
                Ok(length) => returns.without(&part[..length]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => break,
            };
            self.add(&bytes);
        }
        self.add(returns.rest());
        self.lock().is_whole = true;
        self.changed.notify_all();
    }

    fn add(&self, bytes: &[u8]) {
        let mut printed = self.lock();
        if let Some(Sink { log, echo }) = &mut printed.sink {
            // An error, as of a full disk, is ignored: the verdict depends on the copy in
            // memory.
            let _not_written = log.write_all(bytes);
            if *echo {
                let _closed = io::stdout()
                    .write_all(bytes)
                    .and_then(|()| io::stdout().flush());
            }
        }
        printed.bytes.extend_from_slice(bytes);
        self.changed.notify_all();
    }
}

/// Leaves out each carriage return that stands before a line feed.
#[derive(Default)]
struct Returns {
    /// Whether the last byte was a carriage return, which isn't in the output yet.
    held: bool,
}

impl Returns {
    fn without(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut kept = Vec::with_capacity(bytes.len() + 1);
        for &byte in bytes {
            if self.held && byte != b'\n' {
                kept.push(b'\r');
            }
            self.held = byte == b'\r';
            if !self.held {
                kept.push(byte);
            }
        }
        kept
    }

    fn rest(&self) -> &'static [u8] {
        if self.held { b"\r" } else { b"" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(name: &str, text: &str) -> Session {
        let log = std::env::temp_dir().join(format!("rig-session-{name}-{}", std::process::id()));
        let mut command = Command::new("sh");
        command.args(["-c", text]);
        let session = Session::start(&mut command, &log, false).expect("a shell");
        std::fs::remove_file(log).expect("a log");
        session
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[test]
    fn what_is_printed_can_be_answered() {
        let mut session = shell(
            "talk",
            "printf 'name? '; read name; echo hello $name; exit 3",
        );
        session.expect("name? ", soon()).expect("a prompt");
        session.type_in("you\n").expect("it reads");
        session.expect("hello you\n", soon()).expect("an answer");
        assert!(
            session.expect("hello", soon()).is_err(),
            "it was said but once"
        );
        assert_eq!(session.finish(soon()).expect("an end"), End::Status(3));
    }

    #[test]
    fn a_program_may_have_a_terminal_of_its_own() {
        let log = std::env::temp_dir().join(format!("rig-session-tty-{}", std::process::id()));
        let mut command = Command::new("sh");
        command.args(["-c", "stty size; read word; stty size; echo $word"]);
        let mut session = Session::start_on_terminal(&mut command, &log, 71).expect("a shell");
        std::fs::remove_file(log).expect("a log");
        session.expect("24 71\n", soon()).expect("its size");
        session.resize(72).expect("another size");
        session.type_bytes(b"word\n").expect("it reads");
        session.expect("24 72\nword\n", soon()).expect("both");
        assert_eq!(session.finish(soon()).expect("an end"), End::Status(0));
    }

    #[test]
    fn lines_come_one_by_one_and_whole() {
        let mut session = shell("lines", "printf 'one\\n\\ntwo\\nthree'");
        assert_eq!(session.next_line(soon()).as_deref(), Some("one"));
        assert_eq!(session.next_line(soon()).as_deref(), Some(""));
        session.expect("t", soon()).expect("the next line begins");
        assert_eq!(session.next_line(soon()).as_deref(), Some("wo"));
        assert_eq!(session.next_line(soon()), None);
        assert!(session.is_whole());
    }

    #[test]
    fn what_is_typed_may_be_more_than_a_pipe_holds() {
        let mut session = shell("much", "wc -c");
        session.type_all(vec![b'x'; 1_000_000]);
        assert_eq!(session.finish(soon()).expect("an end"), End::Status(0));
        assert_eq!(session.printed().trim(), "1000000");
    }

    #[test]
    fn what_does_not_end_is_ended() {
        let mut session = shell("hang", "echo begun; sleep 600");
        session.expect("begun", soon()).expect("a word");
        assert_eq!(
            session.finish(Instant::now()).expect("an end"),
            End::TimedOut
        );
        let limit = Duration::from_secs(7);
        let why = End::TimedOut
            .is(0, limit)
            .expect_err("no success")
            .to_string();
        assert_eq!(why, "timed out after 7 s");
    }

    #[test]
    fn carriage_returns_are_left_out_at_the_end_of_a_line_alone() {
        let mut returns = Returns::default();
        let mut all = returns.without(b"a\r\nb\rc\r");
        all.extend(returns.without(b"\nd\r\r\n\r"));
        all.extend(returns.rest());
        assert_eq!(all, b"a\nb\rc\nd\r\n\r");
    }
}
