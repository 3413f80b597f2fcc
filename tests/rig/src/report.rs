//! The output about runs: a line for each, the progress, and the command that repeats a run that
//! failed.

use std::io::{Write, stdout};
use std::sync::Mutex;

use crate::counts::Counts;
use crate::events::{Event, Outcome, Teller};
use crate::screen::Screen;
use crate::view::View;

/// Prints what runs have to say, and tells how far they are: the driver of the stage, if there
/// is one, or else a person, by a live line.
pub struct Progress(Mutex<State>);

struct State {
    view: View,
    screen: Screen,
    teller: Teller,
}

impl Progress {
    /// Returns the progress of `all` runs.
    #[must_use]
    pub fn new(all: usize) -> Progress {
        let mut state = State {
            view: View::default(),
            screen: Screen::of_this_process(),
            teller: Teller::of_this_process(),
        };
        if all != 0 {
            state.take(&Event::Planned(u64::try_from(all).unwrap_or(u64::MAX)));
        }
        Progress(Mutex::new(state))
    }

    /// Tells that the run `name` begins.
    ///
    /// # Panics
    ///
    /// Another thread has panicked while it told something.
    pub fn begin(&self, name: &str) {
        let mut state = self.0.lock().expect("no thread panics while it tells");
        state.take(&Event::Begun(name.to_owned()));
        state.show();
    }

    /// Tells that a run has ended, or that it wasn't run at all, and prints `text`, which has
    /// whole lines, in one write. The `text` of an outcome that has failed may be empty: it is
    /// the one that is printed then.
    ///
    /// # Panics
    ///
    /// Another thread has panicked while it told something.
    pub fn done(&self, text: &str, mut outcome: Outcome) {
        let mut state = self.0.lock().expect("no thread panics while it tells");
        if outcome.has_failed() && outcome.text.is_empty() {
            text.clone_into(&mut outcome.text);
        }
        state.take(&Event::Ended(Box::new(outcome)));
        state.screen.print(text);
        state.show();
    }
}

impl State {
    fn take(&mut self, event: &Event) {
        self.teller.tell(event);
        self.view.take(event);
    }

    /// Shows the live line, while there is a run and no driver.
    fn show(&mut self) {
        let now = self.view.now();
        if !now.is_empty() && !self.teller.is_heard() {
            let line = format!("{}  {now}", self.view.progress(0));
            self.screen.show(&line);
        }
    }
}

/// Prints `text` to standard output at once. The run goes on even if no program reads it.
pub fn print(text: &str) {
    if cfg!(test) {
        // The test harness keeps what goes through the macro to itself: a line of counts
        // would be summed up with the results of the stage that runs these tests.
        std::print!("{text}");
        return;
    }
    let mut out = stdout().lock();
    let _reader_is_gone = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Prints why the test `name` is left out, and counts one skipped test.
pub fn skipped(name: &str, why: &str) {
    let counts = Counts {
        skipped: 1,
        ..Counts::default()
    };
    let outcome = Outcome {
        name: name.to_owned(),
        counts,
        text: why.to_owned(),
        ..Outcome::default()
    };
    Progress::new(1).done(&format!("SKIP: {why}\n{counts}\n"), outcome);
}

/// Returns the lines that tell how to repeat what has failed.
#[must_use]
pub fn to_repeat(commands: &[String]) -> String {
    let line = |command| format!("    repeat: {command}\n");
    commands.iter().map(line).collect()
}

/// Returns `text` with four blanks before each line.
#[must_use]
pub fn indented(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        out.push_str("    ");
        out.push_str(line);
        out.push('\n');
    }
    out
}

/// Returns the command that repeats a run: `make` with a target and the variables that aren't
/// empty.
#[must_use]
pub fn repeat(target: &str, variables: &[(&str, &str)]) -> String {
    let mut command = format!("make {target}");
    for (name, value) in variables {
        if value.is_empty() {
            continue;
        }
        let plain = |char: char| char.is_ascii_alphanumeric() || "_-.,=/@:".contains(char);
        if value.chars().all(plain) {
            command.push_str(&format!(" {name}={value}"));
        } else {
            command.push_str(&format!(" {name}='{}'", value.replace('\'', "'\\''")));
        }
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_repeats_it() {
        let variables = [
            ("TEST", "qemu_fault"),
            ("CASE", "read@0"),
            ("GIC", ""),
            ("APPEND", "it's 1"),
        ];
        assert_eq!(
            repeat("test-qemu", &variables),
            "make test-qemu TEST=qemu_fault CASE=read@0 APPEND='it'\\''s 1'"
        );
    }

    #[test]
    fn a_log_is_shown_indented() {
        assert_eq!(indented("a\n\nb"), "    a\n    \n    b\n");
    }
}
