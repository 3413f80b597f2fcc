//! A client of QEMU's gdbstub, in gdb's remote serial protocol.
//!
//! The protocol is in the manual of gdb, appendix "gdb Remote Serial Protocol". A packet is
//! `$text#sum`, where the sum is that of the bytes of the text, modulo 256, as two
//! hexadecimal digits. It is answered by `+`, or by `-`, upon which it is sent again.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long the stub may take for an answer that needs nothing of the machine.
const PROMPTLY: Duration = Duration::from_secs(10);

/// How often a packet that arrived broken is asked for, or sent, again.
const TRIES: usize = 3;

/// The byte that begins an escape: the next byte is sent with one bit flipped.
const ESCAPE: u8 = b'}';
const ESCAPED_BIT: u8 = 0x20;

/// A connection to the stub of a machine. The machine stands still unless it is told to run.
pub struct Gdb {
    stream: UnixStream,
}

impl Gdb {
    /// Connects to the stub that listens at `socket`. The machine stands still from here on.
    ///
    /// # Errors
    ///
    /// Nothing listens there, or it doesn't speak the protocol.
    pub fn connect(socket: &Path) -> io::Result<Gdb> {
        let mut gdb = Gdb {
            stream: UnixStream::connect(socket)?,
        };
        gdb.ask("qSupported:xmlRegisters=aarch64")?;
        Ok(gdb)
    }

    /// Returns the answer to a packet.
    ///
    /// # Errors
    ///
    /// No answer comes within ten seconds.
    pub fn ask(&mut self, packet: &str) -> io::Result<String> {
        self.send(packet)?;
        self.answer(PROMPTLY)
    }

    /// Sends a packet, and waits until the stub has it.
    ///
    /// # Errors
    ///
    /// The stub doesn't take it.
    pub fn send(&mut self, packet: &str) -> io::Result<()> {
        self.stream.set_read_timeout(Some(PROMPTLY))?;
        for _ in 0..TRIES {
            write!(self.stream, "${packet}#{:02x}", sum(packet.as_bytes()))?;
            loop {
                match self.byte()? {
                    b'+' => return Ok(()),
                    b'-' => break,
                    // The rest of an answer that came too late.
                    _ => {}
                }
            }
        }
        Err(bad(format!("the stub does not understand {packet}")))
    }

    /// Returns the next packet that comes within this time.
    ///
    /// # Errors
    ///
    /// No packet comes, or only broken ones.
    pub fn answer(&mut self, within: Duration) -> io::Result<String> {
        self.stream.set_read_timeout(Some(within))?;
        for _ in 0..TRIES {
            while self.byte()? != b'$' {}
            let mut text = Vec::new();
            loop {
                match self.byte()? {
                    b'#' => break,
                    byte => text.push(byte),
                }
            }
            let mut digits = [0; 2];
            self.stream.read_exact(&mut digits)?;
            if digits == *format!("{:02x}", sum(&text)).as_bytes() {
                self.stream.write_all(b"+")?;
                return Ok(String::from_utf8_lossy(&unescaped(&text)).into_owned());
            }
            self.stream.write_all(b"-")?;
        }
        Err(bad("the stub sends broken packets".into()))
    }

    /// Stops the running machine, and returns the reason for the stop that the stub reports.
    ///
    /// # Errors
    ///
    /// The stub doesn't answer.
    pub fn interrupt(&mut self) -> io::Result<String> {
        self.stream.write_all(&[3])?;
        self.answer(PROMPTLY)
    }

    /// Lets the machine go on, without a debugger.
    ///
    /// # Errors
    ///
    /// The stub doesn't answer.
    pub fn detach(mut self) -> io::Result<()> {
        self.ask("D").map(drop)
    }

    /// Sets a hardware breakpoint on an instruction.
    ///
    /// # Errors
    ///
    /// The stub refuses the packet, or doesn't answer.
    pub fn set_breakpoint(&mut self, address: u64) -> io::Result<()> {
        self.ask_for_ok(&format!("Z1,{address:x},4"))
    }

    /// Removes a breakpoint.
    ///
    /// # Errors
    ///
    /// The stub refuses the packet, or doesn't answer.
    pub fn clear_breakpoint(&mut self, address: u64) -> io::Result<()> {
        self.ask_for_ok(&format!("z1,{address:x},4"))
    }

    /// Lets all CPUs run, until `answer` reports that the machine stands still again.
    ///
    /// # Errors
    ///
    /// The stub doesn't take it.
    pub fn go_on(&mut self) -> io::Result<()> {
        self.ask("vCont?")?;
        self.send("vCont;c")
    }

    /// Lets only these CPUs run. CPUs are counted from 0.
    ///
    /// # Errors
    ///
    /// The stub doesn't take it.
    pub fn go_on_only(&mut self, cpus: &[u32]) -> io::Result<()> {
        let threads = cpus.iter().map(|cpu| format!(";c:{:x}", cpu + 1));
        self.send(&format!("vCont{}", threads.collect::<String>()))
    }

    /// Returns a system register of a CPU, which is counted from 0.
    ///
    /// # Errors
    ///
    /// The stub has no register of this name, or doesn't answer.
    pub fn system_register(&mut self, name: &str, cpu: u32) -> io::Result<u64> {
        let described = self.feature("system-registers.xml")?;
        let number = register_number(&described, name)
            .ok_or_else(|| bad(format!("the stub has no register {name}")))?;
        self.ask_for_ok(&format!("Hg{:x}", cpu + 1))?;
        let value = self.ask(&format!("p{number:x}"))?;
        little_endian(&value).ok_or_else(|| bad(format!("the value of {name} is {value}")))
    }

    /// Returns one of the stub's files, which describes its registers.
    fn feature(&mut self, file: &str) -> io::Result<String> {
        let mut text = String::new();
        loop {
            let offset = text.len();
            let part = self.ask(&format!("qXfer:features:read:{file}:{offset:x},800"))?;
            if let Some(last) = part.strip_prefix('l') {
                return Ok(text + last);
            }
            let more = part.strip_prefix('m').filter(|more| !more.is_empty());
            text += more.ok_or_else(|| bad(format!("the stub has no {file}")))?;
        }
    }

    fn ask_for_ok(&mut self, packet: &str) -> io::Result<()> {
        match self.ask(packet)?.as_str() {
            "OK" => Ok(()),
            other => Err(bad(format!("the stub answers {packet} by {other:?}"))),
        }
    }

    fn byte(&mut self) -> io::Result<u8> {
        let mut byte = [0];
        self.stream.read_exact(&mut byte)?;
        Ok(byte[0])
    }
}

/// Returns the CPU, counted from 0, that a stop reply is about.
pub fn stopped_cpu(reply: &str) -> Option<u32> {
    let (_, rest) = reply.split_once("thread:")?;
    let (thread, _) = rest.split_once(';')?;
    u32::from_str_radix(thread, 16).ok()?.checked_sub(1)
}

fn sum(text: &[u8]) -> u8 {
    text.iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte))
}

fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut bytes = text.iter();
    let mut plain = Vec::with_capacity(text.len());
    while let Some(&byte) = bytes.next() {
        match (byte, bytes.as_slice().first()) {
            (ESCAPE, Some(escaped)) => {
                plain.push(escaped ^ ESCAPED_BIT);
                bytes.next();
            }
            _ => plain.push(byte),
        }
    }
    plain
}

/// Returns the number that the XML `described` gives the register `name`.
fn register_number(described: &str, name: &str) -> Option<u32> {
    let of_it = format!("reg name=\"{name}\"");
    let element = described.split('<').find(|part| part.starts_with(&of_it))?;
    let (_, rest) = element.split_once(" regnum=\"")?;
    rest.split('"').next()?.parse().ok()
}

/// Returns the number whose bytes are these hexadecimal digits, the lowest byte first.
fn little_endian(digits: &str) -> Option<u64> {
    let bytes = digits.as_bytes().chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair).ok()?;
        u64::from_str_radix(pair, 16).ok()
    });
    bytes.rev().try_fold(0, |value: u64, byte| {
        value.checked_mul(0x100).map(|value| Some(value | byte?))?
    })
}

fn bad(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    /// Returns a connection to a stub that sends all of `bytes` at once, and what the stub then
    /// receives.
    fn stub(bytes: &[u8], talk_fn: impl FnOnce(&mut Gdb)) -> String {
        let (ours, mut theirs) = UnixStream::pair().expect("a pair");
        theirs.write_all(bytes).expect("room");
        let mut gdb = Gdb { stream: ours };
        let heard = thread::spawn(move || {
            let mut heard = String::new();
            theirs.read_to_string(&mut heard).expect("text");
            heard
        });
        talk_fn(&mut gdb);
        drop(gdb);
        heard.join().expect("a listener")
    }

    #[test]
    fn packets_carry_their_sum() {
        let heard = stub(b"+$OK#9a", |gdb| {
            assert_eq!(gdb.ask("Hg2").expect("an answer"), "OK");
        });
        assert_eq!(heard, "$Hg2#e1+");
    }

    #[test]
    fn what_is_refused_is_sent_again() {
        let heard = stub(b"-+", |gdb| gdb.send("D").expect("it is taken"));
        assert_eq!(heard, "$D#44$D#44");
        let heard = stub(b"---", |gdb| assert!(gdb.send("D").is_err()));
        assert_eq!(heard, "$D#44$D#44$D#44");
    }

    #[test]
    fn what_is_broken_is_asked_for_again() {
        let heard = stub(b"$OK#9b$OK#9a", |gdb| {
            assert_eq!(gdb.answer(PROMPTLY).expect("an answer"), "OK");
        });
        assert_eq!(heard, "-+");
    }

    #[test]
    fn escapes_are_undone() {
        assert_eq!(unescaped(b"a}\x03b}\x5d"), b"a#b}");
        assert_eq!(unescaped(b"a}"), b"a}");
    }

    #[test]
    fn silence_is_an_error() {
        let (ours, _theirs) = UnixStream::pair().expect("a pair");
        let mut gdb = Gdb { stream: ours };
        assert!(gdb.answer(Duration::from_millis(10)).is_err());
    }

    #[test]
    fn a_register_is_read_by_its_name() {
        let xml = "l<reg name=\"TCR\" regnum=\"35\"/><reg name=\"SCTLR\" x=\"y\" regnum=\"36\"/>";
        let part = format!("+${xml}#{:02x}", sum(xml.as_bytes()));
        let value = "0510c50000000000";
        let value = format!("${value}#{:02x}", sum(value.as_bytes()));
        let bytes = format!("{part}+$OK#9a+{value}");
        let heard = stub(bytes.as_bytes(), |gdb| {
            let value = gdb.system_register("SCTLR", 3).expect("a value");
            assert_eq!(value, 0xc5_1005);
        });
        assert!(heard.contains("$Hg4#"), "{heard}");
        assert!(heard.contains("$p24#"), "{heard}");
        assert_eq!(register_number("<reg name=\"A\" regnum=\"1\"/>", "B"), None);
        assert_eq!(little_endian("zz"), None);
        assert_eq!(little_endian("010000000000000001"), None);
    }

    #[test]
    fn a_stop_names_its_cpu() {
        assert_eq!(stopped_cpu("T05thread:02;"), Some(1));
        assert_eq!(stopped_cpu("T05thread:p01.02;"), None);
        assert_eq!(stopped_cpu("W00"), None);
    }
}
