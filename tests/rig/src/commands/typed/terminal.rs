//! A session on a terminal: `run IMAGE` on a pseudo-terminal, as a person runs it.
//!
//! The case plays the person and the terminal: it types keys, waits for what they must show,
//! answers when it is asked where its cursor is, and changes its size. Nothing that is typed may
//! be lost without a word.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::process::this_program;
use crate::session::Session;

/// What a shell asks a terminal for: the place of its cursor.
const WHERE: &str = "\x1b[6n";

/// What shows that the shell waits for the next line.
const PROMPT: &str = "stillpoint# ";

/// How many characters are pasted, in one line and in many.
const PASTED: usize = 10_000;

/// How long a command may take to show something.
const SOON: Duration = Duration::from_secs(30);

/// A person at a terminal.
struct Person {
    session: Session,
}

impl Person {
    /// Types `keys`, and waits until `parts` are shown, one behind the other.
    fn types(&mut self, keys: &str, parts: &[&str]) -> Result<()> {
        self.session.type_in(keys)?;
        self.sees(parts)
    }

    /// Waits until `parts` are shown, one behind the other.
    fn sees(&mut self, parts: &[&str]) -> Result<()> {
        for part in parts {
            self.session.expect(part, Instant::now() + SOON)?;
        }
        Ok(())
    }
}

/// Goes through a session with `image`.
pub fn a_session(image: &Path, log: &Path, limit: Duration) -> Result<()> {
    let mut command = this_program();
    command.arg("run").arg(image);
    // With commands the machine doesn't begin with its tour.
    command.env("INIT", "nproc").env("APPEND", "quiet");
    command
        .env("SMP", "2")
        .env("TIMEOUT", limit.as_secs().to_string());
    let from = Instant::now();
    let mut person = Person {
        session: Session::start_on_terminal(&mut command, log, 80)?,
    };
    person.sees(&["Type 'help'", PROMPT])?;
    completion(&mut person)?;
    history(&mut person)?;
    ctrl_c(&mut person)?;
    resize(&mut person)?;
    paste(&mut person)?;
    no_text(&mut person)?;
    // The stopper of the boot CPU is the first thread that there is.
    let own = "taskset -pc 1; psci affinity_info 1; taskset -c 1 interrupts; dmesg\n";
    person.types(own, &["list: 0\n0 ON\n", "IPI3:", PROMPT])?;
    let faults = "fail 1 sched:drain; chcpu -d 1; target 1 online; exit 7\n";
    person.types(faults, &["EAGAIN"])?;
    person.session.finish(from + limit)?.is(7, limit)
}

/// Tab completes commands, CPUs and paths, and shows what there is.
fn completion(person: &mut Person) -> Result<()> {
    person.types("lsc\t\n", &["lscpu ", "Architecture:", PROMPT])?;
    person.types("trace \t", &["\n0  1  export\n", "stillpoint# trace "])?;
    let keys = "\x15cat /pr\tcm\t\n";
    person.types(keys, &["cat /proc/", "cmdline ", "init=\"nproc\"", PROMPT])?;
    // The line has got so long that the terminal is asked for its width.
    person.types("cat /sys/d\tsystem\tcpu\t", &[WHERE])?;
    let keys = "\x1b[9;80Rcpu1/o\t\n";
    person.types(keys, &["cpu1/online ", "\n1\n", PROMPT])
}

/// Up brings a line back, Ctrl-R finds one, and both can be edited before they run.
fn history(person: &mut Person) -> Result<()> {
    person.types("echo one; echo two\n", &["\none\ntwo\n", PROMPT])?;
    person.types("\x1b[A\x1b[A\n", &["\n1\n", PROMPT])?;
    // To the last word, and another one in its place.
    let keys = "\x12one;\x1b[1;5C\x1bf\x1bf\x1bb\x0bthree\n";
    person.types(keys, &["reverse-i-search", "\none\nthree\n", PROMPT])?;
    // Characters of two columns, of which one is replaced.
    person.types("echo 日本\x1b[D\x7f月\n", &["\n月本\n", PROMPT])
}

/// Ctrl-C abandons a line, and ends a command; what it drops is said. A key ends a screen.
fn ctrl_c(person: &mut Person) -> Result<()> {
    person.types("chcpu -d 1\x03", &["^C", PROMPT])?;
    person.types("sleep 60; echo never\n", &["never\n"])?;
    person.types("\x03", &["^C\n", PROMPT])?;
    person.types("repeat 100000 sleep 0.01; nproc\n", &["nproc\n"])?;
    let said = "sh: Ctrl-C has dropped 9 bytes";
    person.types("echo lost\x03", &["^C\n", said, PROMPT])?;
    person.types("watch -n 1 nproc\n", &["Every 1.0s: nproc\n\n2\n"])?;
    person.types("q", &[PROMPT])?;
    person.types("top -d 0.2\n", &["%Cpu1", "%Cpu1"])?;
    person.types("\x1b[B", &["top: dropped 3 bytes", PROMPT])
}

/// A line goes over the rows of the terminal, and over those of one that has become narrower.
fn resize(person: &mut Person) -> Result<()> {
    let text = "x".repeat(90);
    person.types(&format!("echo {text}"), &["echo x"])?;
    // From the second row to the beginning of the line in the first.
    person.types("\x01", &["\x1b[A"])?;
    person.session.resize(50)?;
    person.types("\x0c", &["\x1b[H\x1b[J", WHERE])?;
    person.types("\x1b[1;50R", &["\x1b[H\x1b[J", &text])?;
    person.types("\x05\x01", &["\x1b[2B", "\x1b[2A"])?;
    person.types("\x05y\n", &[&format!("\n{text}y\n"), PROMPT])?;
    person.session.resize(80)
}

/// Many characters at once: a line that is too long is refused, many lines run one by one.
fn paste(person: &mut Person) -> Result<()> {
    let line = format!("echo {}\necho after\n", "z".repeat(PASTED - 5));
    person.session.type_bytes(line.as_bytes())?;
    person.sees(&["sh: line ignored: it is longer", "\nafter\n", PROMPT])?;
    let lines: Vec<String> = (0..PASTED / 50)
        .map(|number| format!("echo L{number:04}{}\n", "p".repeat(39)))
        .collect();
    let before = person.session.printed().len();
    person.session.type_bytes(lines.concat().as_bytes())?;
    person.types("echo done\n", &["\ndone\n", PROMPT])?;
    let printed = person.session.printed();
    let shown = printed[before..].lines();
    let ran: Vec<&str> = shown.filter(|line| line.starts_with('L')).collect();
    let wanted = lines.iter().filter_map(|line| line.strip_prefix("echo "));
    let wanted: Vec<&str> = wanted.map(str::trim_end).collect();
    if ran != wanted {
        let (ran, all) = (ran.len(), wanted.len());
        bail!("{ran} of {all} pasted lines have run, or not as they were typed");
    }
    Ok(())
}

/// A line with bytes that are no text is refused, and the next one runs.
fn no_text(person: &mut Person) -> Result<()> {
    person
        .session
        .type_bytes(b"chcpu -d 1\xff\xc3\necho on\n")?;
    person.sees(&["sh: line ignored: it is not UTF-8", "\non\n", PROMPT])?;
    let keys = "cat /sys/devices/system/cpu/online\n";
    person.types(keys, &["\n0-1\n", PROMPT])
}
