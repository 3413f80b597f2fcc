//! Migration of a machine to a file, and from it into another QEMU, which was started with the
//! same options and `-incoming defer` ([`INCOMING`]).
//!
//! The transport is `exec:`, because QEMU knows `file:` only from version 8.2 on.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::monitor::Monitor;

/// What begins the section of QEMU's clock in the state of a machine: the length of its name, and
/// the name (`vmstate_timers` of its system/cpu-timers.c).
const CLOCK: &[u8] = b"\x05timer";

/// What lies between the name and the offset of the clock: the section's instance and version, each
/// of 4 bytes, the offset of the ticks, and a number that isn't used any more, each of 8.
const BEFORE_OFFSET: usize = 24;

/// The options by which QEMU waits for the state of a machine instead of booting one.
pub const INCOMING: [&str; 2] = ["-incoming", "defer"];

impl Monitor {
    /// Writes the whole state of the machine to `file`, while it runs on for most of the time.
    /// It stands still afterwards.
    ///
    /// # Errors
    ///
    /// The file can't be written, or QEMU takes too long.
    pub fn migrate_to(&mut self, file: &Path) -> io::Result<()> {
        let uri = format!("exec:exec cat > {}", quoted(file)?);
        self.execute("migrate", json!({"uri": uri}))?;
        self.migrated("migrate")
    }

    /// Gives this machine, which waits for it, the state in `file`. It goes on if it ran when
    /// the state was written.
    ///
    /// # Errors
    ///
    /// The machine doesn't wait for a state; `file` can't be read, or has the state of another
    /// machine, whereupon QEMU ends; QEMU takes too long.
    pub fn migrate_from(&mut self, file: &Path) -> io::Result<()> {
        let uri = format!("exec:exec cat {}", quoted(file)?);
        self.execute("migrate-incoming", json!({"uri": uri}))?;
        self.migrated("migrate-incoming")
    }

    fn migrated(&mut self, command: &str) -> io::Result<()> {
        self.wait_until(command, |monitor| {
            outcome(command, &monitor.execute("query-migrate", json!({}))?)
        })
    }
}

/// Moves the machine's counter in the state in `file` forward by `time`. So it is on a host that
/// lets the counter go on while the machine doesn't run; QEMU's emulation doesn't do that itself.
///
/// # Errors
///
/// `file` isn't there, or has no state of a machine with one clock.
pub fn leap(file: &Path, time: Duration) -> io::Result<()> {
    let mut state = fs::read(file)?;
    if !move_clock(&mut state, time) {
        let text = format!("{}: no state of a machine with one clock", file.display());
        return Err(io::Error::other(text));
    }
    fs::write(file, state)
}

fn move_clock(state: &mut [u8], time: Duration) -> bool {
    let mut sections = state.windows(CLOCK.len()).enumerate();
    let mut places = sections.by_ref().filter(|(_, bytes)| *bytes == CLOCK);
    let (Some((at, _)), None) = (places.next(), places.next()) else {
        return false;
    };
    let from = at + CLOCK.len() + BEFORE_OFFSET;
    let Some(offset) = state.get_mut(from..from + 8) else {
        return false;
    };
    // Nanoseconds, the highest byte first.
    let old = offset
        .iter()
        .fold(0, |sum, byte| sum << 8 | i64::from(*byte));
    let Ok(more) = i64::try_from(time.as_nanos()) else {
        return false;
    };
    offset.copy_from_slice(&old.wrapping_add(more).to_be_bytes());
    true
}

/// Returns `Some` if the `answer` to query-migrate says that all is there.
fn outcome(command: &str, answer: &Value) -> io::Result<Option<()>> {
    match answer["status"].as_str() {
        Some("completed") => Ok(Some(())),
        Some(state @ ("failed" | "cancelled")) => {
            let why = answer["error-desc"].as_str().unwrap_or(state);
            Err(io::Error::other(format!("QEMU's {command}: {why}")))
        }
        _ => Ok(None),
    }
}

/// Returns the name of `file` as a word of the shell that QEMU starts.
fn quoted(file: &Path) -> io::Result<String> {
    let name = file.to_str().filter(|name| !name.contains('\''));
    let name = name.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidFilename))?;
    Ok(format!("'{name}'"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::tests::talk;

    #[test]
    fn a_migration_is_waited_for() {
        let answers = "{\"return\": {}}\n{\"return\": {}}\n\
                       {\"return\": {\"status\": \"active\"}}\n\
                       {\"return\": {\"status\": \"completed\"}}\n";
        let heard = talk(answers, |monitor| {
            let file = Path::new("/a file");
            monitor.migrate_to(file).expect("it ends well");
        });
        assert!(heard.contains("exec:exec cat > '/a file'"), "{heard}");
        assert_eq!(heard.matches("query-migrate").count(), 3);
    }

    #[test]
    fn the_clock_of_a_state_is_moved() {
        let state = |clock: i64| {
            let head: &[u8] = b"QEVM\x00\x00\x00\x03\x04\x00\x00\x00\x00\x05timer";
            let numbers: &[u8] = b"\x00\x00\x00\x00\x00\x00\x00\x02";
            let [ticks, unused] = [7_i64, 0].map(i64::to_be_bytes);
            [
                head,
                numbers,
                &ticks,
                &unused,
                &clock.to_be_bytes(),
                b"\x7e",
            ]
            .concat()
        };
        let mut one = state(5_000_000_000);
        assert!(move_clock(&mut one, Duration::from_secs(30)));
        assert_eq!(one, state(35_000_000_000));
        let mut two = [state(0), state(0)].concat();
        assert!(!move_clock(&mut two, Duration::from_secs(30)));
        assert!(!move_clock(&mut one[..40], Duration::from_secs(30)));
    }

    #[test]
    fn a_migration_that_fails_says_why() {
        let failed = json!({"status": "failed", "error-desc": "no room"});
        let error = outcome("migrate", &failed).expect_err("an error");
        assert_eq!(error.to_string(), "QEMU's migrate: no room");
        assert!(quoted(Path::new("it's")).is_err());
    }
}
