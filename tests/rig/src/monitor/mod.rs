//! A client of QEMU's monitor, over a socket, in QMP.
//!
//! In QMP (docs/interop/qmp-spec.rst of QEMU) each command and each answer is a line of JSON.
//! Its command `human-monitor-command` runs a command of the monitor's prompt. Registers and
//! memory can be read in no other way.
//!
//! [`Machine::monitor`](crate::machine::Machine::monitor) connects. The methods lie by subject:
//! registers and memory in [`memory`], stop, cont and the power button in [`run_state`], snapshots
//! in [`snapshots`], migration to a file and back in [`migration`], the threads of
//! the virtual CPUs in [`vcpus`]. A command for which there is no method goes through [`Monitor::execute`]:
//!
//! ```ignore
//! let monitor = machine.monitor()?;
//! monitor.power_down()?;                                          // the power button
//! let version = monitor.execute("query-version", json!({}))?;     // any other command
//! ```

mod memory;
mod migration;
mod run_state;
mod snapshots;
mod vcpus;

pub use memory::{Registers, WordSize};
pub use migration::{INCOMING, leap};
pub use vcpus::{Vcpu, cpu_time};

use serde_json::{Value, json};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long QEMU may take for an answer.
const PROMPTLY: Duration = Duration::from_secs(5);

/// How long QEMU may take to write or read the whole state of a machine.
const WHOLE_STATE: Duration = Duration::from_secs(60);

/// How often QEMU is asked how far it is.
const LOOK: Duration = Duration::from_millis(5);

/// A connection to the monitor of a machine. The machine keeps running.
pub struct Monitor {
    reader: BufReader<UnixStream>,
}

impl Monitor {
    /// Connects to the monitor that listens at `socket`.
    ///
    /// # Errors
    ///
    /// Nothing listens there, or it doesn't speak QMP.
    pub fn connect(socket: &Path) -> io::Result<Monitor> {
        Monitor::new(UnixStream::connect(socket)?)
    }

    fn new(stream: UnixStream) -> io::Result<Monitor> {
        stream.set_read_timeout(Some(PROMPTLY))?;
        let mut monitor = Monitor {
            reader: BufReader::new(stream),
        };
        monitor.message()?;
        monitor.execute("qmp_capabilities", json!({}))?;
        Ok(monitor)
    }

    /// Ends QEMU.
    ///
    /// # Errors
    ///
    /// QEMU has ended before.
    pub fn quit(&mut self) -> io::Result<()> {
        // The answer may be lost with QEMU.
        self.write(&json!({"execute": "quit"}))
    }

    /// Runs a command of the monitor's prompt and returns its output.
    ///
    /// # Errors
    ///
    /// QEMU doesn't answer.
    pub fn human(&mut self, line: &str) -> io::Result<String> {
        let answer = self.execute("human-monitor-command", json!({"command-line": line}))?;
        let text = answer.as_str().ok_or_else(|| bad(&answer))?;
        Ok(text.replace('\r', ""))
    }

    /// Executes a command of QMP with its arguments, a JSON object, and returns the answer.
    /// Events are passed over.
    ///
    /// # Errors
    ///
    /// QEMU doesn't answer, or refuses: the message has its reason.
    pub fn execute(&mut self, command: &str, arguments: Value) -> io::Result<Value> {
        self.write(&json!({"execute": command, "arguments": arguments}))?;
        loop {
            let mut message = self.message()?;
            if let Some(answer) = message.get_mut("return") {
                return Ok(answer.take());
            }
            // Any other message is an event. Events come at any time.
            if message.get("error").is_some() {
                return Err(bad(&message));
            }
        }
    }

    /// Calls `look_fn` until it returns `Some`, for as long as the whole state of a machine may
    /// take.
    fn wait_until<T>(
        &mut self,
        what: &str,
        mut look_fn: impl FnMut(&mut Monitor) -> io::Result<Option<T>>,
    ) -> io::Result<T> {
        let deadline = Instant::now() + WHOLE_STATE;
        loop {
            if let Some(found) = look_fn(self)? {
                return Ok(found);
            }
            if Instant::now() >= deadline {
                let seconds = WHOLE_STATE.as_secs();
                let text = format!("QEMU's monitor: {what} takes longer than {seconds} s");
                return Err(io::Error::new(io::ErrorKind::TimedOut, text));
            }
            sleep(LOOK);
        }
    }

    fn write(&mut self, command: &Value) -> io::Result<()> {
        self.reader
            .get_mut()
            .write_all(format!("{command}\n").as_bytes())
    }

    fn message(&mut self) -> io::Result<Value> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(serde_json::from_str(&line)?)
    }
}

fn bad(answer: &Value) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("QEMU's monitor: {answer}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::thread;

    /// Calls `talk_fn` with a monitor that sends `lines` after its greeting, and returns all
    /// that the monitor received.
    pub fn talk(lines: &str, talk_fn: impl FnOnce(&mut Monitor)) -> String {
        let (ours, mut theirs) = UnixStream::pair().expect("a pair");
        let said = format!("{{\"QMP\": {{}}}}\n{{\"return\": {{}}}}\n{lines}");
        theirs.write_all(said.as_bytes()).expect("room");
        let heard = thread::spawn(move || {
            let mut heard = String::new();
            theirs.read_to_string(&mut heard).expect("text");
            heard
        });
        let mut monitor = Monitor::new(ours).expect("it speaks QMP");
        talk_fn(&mut monitor);
        drop(monitor);
        heard.join().expect("a listener")
    }

    #[test]
    fn an_answer_is_found_among_events() {
        let lines = "{\"event\": \"STOP\"}\n{\"return\": \"one\\r\\ntwo\\r\\n\"}\n";
        let heard = talk(lines, |monitor| {
            assert_eq!(
                monitor.human("info version").expect("an answer"),
                "one\ntwo\n"
            );
        });
        assert!(heard.contains("qmp_capabilities"), "{heard}");
        assert!(
            heard.contains("\"command-line\":\"info version\""),
            "{heard}"
        );
    }

    #[test]
    fn an_error_is_told() {
        talk(
            "{\"error\": {\"desc\": \"no such command\"}}\n",
            |monitor| {
                let error = monitor.stop().expect_err("an error");
                assert!(error.to_string().contains("no such command"), "{error}");
            },
        );
    }
}
