//! The lines that were entered before, and which of them is shown.
//!
//! The oldest lines are forgotten when all together are longer than [`HISTORY_LIMIT`]. A line
//! equal to the one before it is kept once.

use alloc::collections::VecDeque;
use alloc::string::String;

/// How many bytes the lines of the history have together at most.
const HISTORY_LIMIT: usize = 8192;

/// The entered lines, and a place among them.
#[derive(Debug, Default)]
pub(super) struct History {
    /// The lines, oldest first.
    lines: VecDeque<String>,
    /// Which line is shown; behind the last: the one that is being typed.
    at: usize,
    /// What had been typed when the history was entered.
    draft: String,
}

impl History {
    /// Adds `line` unless it is blank. The place is behind it then.
    pub(super) fn add(&mut self, line: &str) {
        if !line.trim().is_empty() && self.lines.back().is_none_or(|last| last != line) {
            self.lines.push_back(line.into());
        }
        while self.lines.iter().map(String::len).sum::<usize>() > HISTORY_LIMIT {
            self.lines.pop_front();
        }
        self.leave();
    }

    /// Goes behind the newest line.
    pub(super) fn leave(&mut self) {
        self.at = self.lines.len();
        self.draft.clear();
    }

    /// Goes to the line before, and returns it; `None` if there is none. `typed` is what is
    /// shown now: if it is no line of the history, [`History::newer`] comes back to it.
    pub(super) fn older(&mut self, typed: &str) -> Option<&str> {
        let at = self.at.checked_sub(1)?;
        if self.at == self.lines.len() {
            self.draft = typed.into();
        }
        self.at = at;
        Some(&self.lines[at])
    }

    /// Goes to the line behind, and returns it; `None` if there is none.
    pub(super) fn newer(&mut self) -> Option<&str> {
        if self.at == self.lines.len() {
            return None;
        }
        self.at += 1;
        Some(self.lines.get(self.at).unwrap_or(&self.draft))
    }

    /// Returns the newest line before number `before` in which `text` is, with its number and
    /// the last place of `text` in it.
    pub(super) fn find(&self, text: &str, before: usize) -> Option<(usize, usize, &str)> {
        let lines = self.lines.iter().enumerate().take(before).rev();
        let mut found =
            lines.filter_map(|(number, line)| Some((number, line.rfind(text)?, line.as_str())));
        found.next()
    }

    /// Goes to line `number`; `typed` is kept as by [`History::older`].
    pub(super) fn go(&mut self, number: usize, typed: &str) {
        if self.at == self.lines.len() {
            self.draft = typed.into();
        }
        self.at = number;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_typed_waits_below_the_newest_line() {
        let mut history = History::default();
        assert_eq!(history.older("x"), None);
        assert_eq!(history.newer(), None);
        for line in ["a", "b", "b", " ", ""] {
            history.add(line);
        }
        assert_eq!(history.lines.len(), 2);
        assert_eq!(history.older("dra"), Some("b"));
        assert_eq!(history.older("b"), Some("a"));
        assert_eq!(history.older("a"), None);
        assert_eq!(history.newer(), Some("b"));
        assert_eq!(history.newer(), Some("dra"));
        assert_eq!(history.newer(), None);
        history.go(0, "other");
        assert_eq!(history.newer(), Some("b"));
        assert_eq!(history.newer(), Some("other"));
    }

    #[test]
    fn a_search_goes_back_from_where_it_is() {
        let mut history = History::default();
        for line in ["echo one", "lscpu", "echo two; echo"] {
            history.add(line);
        }
        assert_eq!(history.find("echo", 3), Some((2, 10, "echo two; echo")));
        assert_eq!(history.find("echo", 2), Some((0, 0, "echo one")));
        assert_eq!(history.find("echo", 0), None);
        assert_eq!(history.find("nosuch", 3), None);
    }

    #[test]
    fn the_oldest_lines_are_forgotten() {
        let mut history = History::default();
        for number in 0..1000 {
            history.add(&alloc::format!("{number:64}"));
        }
        assert_eq!(history.lines.len(), HISTORY_LIMIT / 64);
        assert_eq!(history.find("999", 1000).map(|found| found.0), Some(127));
    }
}
