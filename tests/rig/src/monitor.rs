//! A client of QEMU's monitor, over a socket, in QMP.
//!
//! In QMP (docs/interop/qmp-spec.rst of QEMU) each command and each answer is a line of JSON.
//! Its command `human-monitor-command` runs a command of the monitor's prompt. Registers and
//! memory can be read in no other way.

use serde_json::{Value, json};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long QEMU may take for an answer.
const PROMPTLY: Duration = Duration::from_secs(5);

/// A connection to the monitor of a machine. The machine keeps running.
pub struct Monitor {
    reader: BufReader<UnixStream>,
}

/// The registers of a CPU that show what it executes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registers {
    /// Its number in QEMU.
    pub cpu: u32,
    /// The address of its next instruction.
    pub pc: u64,
    /// The frame pointer.
    pub x29: u64,
    /// The link register.
    pub x30: u64,
    /// The process state, PSTATE.
    pub pstate: u64,
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
        monitor.execute(&json!({"execute": "qmp_capabilities"}))?;
        Ok(monitor)
    }

    /// Stops the machine.
    ///
    /// # Errors
    ///
    /// QEMU doesn't answer.
    pub fn stop(&mut self) -> io::Result<()> {
        self.execute(&json!({"execute": "stop"})).map(drop)
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
        let answer = self.execute(&json!({
            "execute": "human-monitor-command",
            "arguments": {"command-line": line},
        }))?;
        let text = answer.as_str().ok_or_else(|| bad(&answer))?;
        Ok(text.replace('\r', ""))
    }

    /// Returns the registers of all CPUs.
    ///
    /// # Errors
    ///
    /// QEMU doesn't answer.
    pub fn registers(&mut self) -> io::Result<Vec<Registers>> {
        Ok(registers(&self.human("info registers -a")?))
    }

    /// Returns `COUNT` words of `size` from the guest's memory at `address`; `None` if there
    /// is no memory.
    ///
    /// # Errors
    ///
    /// QEMU doesn't answer.
    pub fn memory<const COUNT: usize>(
        &mut self,
        address: u64,
        size: WordSize,
    ) -> io::Result<Option<[u64; COUNT]>> {
        let size = size as u8 as char;
        let text = self.human(&format!("xp /{COUNT}x{size} {address:#x}"))?;
        Ok(words(&text).and_then(|words| words.try_into().ok()))
    }

    fn execute(&mut self, command: &Value) -> io::Result<Value> {
        self.write(command)?;
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

/// The size of a word in the guest's memory, by its letter in the monitor's `xp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum WordSize {
    /// 1 byte.
    Byte = b'b',
    /// 4 bytes.
    Four = b'w',
    /// 8 bytes.
    Eight = b'g',
}

/// Parses the output of `info registers -a`.
fn registers(text: &str) -> Vec<Registers> {
    let mut all = Vec::new();
    let mut now = Registers {
        cpu: 0,
        pc: 0,
        x29: 0,
        x30: 0,
        pstate: 0,
    };
    for line in text.lines() {
        if let Some(number) = line.strip_prefix("CPU#") {
            now.cpu = number.trim().parse().unwrap_or_default();
        }
        for (name, value) in line
            .split_whitespace()
            .filter_map(|word| word.split_once('='))
        {
            let value = u64::from_str_radix(value, 16).unwrap_or_default();
            match name {
                "PC" => now.pc = value,
                "X29" => now.x29 = value,
                "X30" => now.x30 = value,
                // QEMU prints PSTATE after the other registers used here.
                "PSTATE" => {
                    now.pstate = value;
                    all.push(now);
                }
                _ => {}
            }
        }
    }
    all
}

/// Parses all lines of the hexadecimal output of `xp`.
fn words(text: &str) -> Option<Vec<u64>> {
    let mut words = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let (address, values) = line.split_once(": ")?;
        u64::from_str_radix(address, 16).ok()?;
        for value in values.split_whitespace() {
            words.push(u64::from_str_radix(value.strip_prefix("0x")?, 16).ok()?);
        }
    }
    Some(words)
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

    const PRINTED: &str = "\nCPU#0\n PC=0000000040201810 X00=0000000000000000\n\
        X29=0000000040300000 X30=0000000040201234 SP=0000000040300000\n\
        PSTATE=800003c5 N--- EL1h FPCR=00000000\n\n\
        CPU#1\n PC=0000000040200010 X29=0000000000000000 X30=0000000000000000\nPSTATE=00000005 ----\n";

    /// Calls `talk_fn` with a monitor that sends `lines` after its greeting, and returns all
    /// that the monitor received.
    fn talk(lines: &str, talk_fn: impl FnOnce(&mut Monitor)) -> String {
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

    #[test]
    fn registers_are_read() {
        let all = registers(PRINTED);
        assert_eq!(
            all,
            [
                Registers {
                    cpu: 0,
                    pc: 0x4020_1810,
                    x29: 0x4030_0000,
                    x30: 0x4020_1234,
                    pstate: 0x8000_03c5,
                },
                Registers {
                    cpu: 1,
                    pc: 0x4020_0010,
                    x29: 0,
                    x30: 0,
                    pstate: 5
                },
            ]
        );
    }

    #[test]
    fn memory_is_read() {
        let line = "0000000040200038: 0x644d5241 0x00000001\n";
        assert_eq!(words(line), Some(vec![0x644d_5241, 1]));
        assert_eq!(words("Cannot access memory\n"), None);
        assert_eq!(words("0000000040200038: 14\n"), None);
        let answer = "{\"return\": \"0000000040200038: 0x644d5241\\r\\n\"}\n";
        let heard = talk(answer, |monitor| {
            let word = monitor
                .memory(0x4020_0038, WordSize::Four)
                .expect("an answer");
            assert_eq!(word, Some([0x644d_5241]));
        });
        assert!(heard.contains("xp /1xw 0x40200038"), "{heard}");
    }
}
