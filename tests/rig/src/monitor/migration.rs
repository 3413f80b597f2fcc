//! Migration of a machine to a file, and from it into another QEMU, which was started with the
//! same options and `-incoming defer` ([`INCOMING`]).
//!
//! The transport is `exec:`, because QEMU knows `file:` only from version 8.2 on.

use std::io;
use std::path::Path;

use serde_json::{Value, json};

use crate::monitor::Monitor;

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
    fn a_migration_that_fails_says_why() {
        let failed = json!({"status": "failed", "error-desc": "no room"});
        let error = outcome("migrate", &failed).expect_err("an error");
        assert_eq!(error.to_string(), "QEMU's migrate: no room");
        assert!(quoted(Path::new("it's")).is_err());
    }
}
