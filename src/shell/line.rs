//! The line that is being edited: its text, and where the cursor is.
//!
//! The cursor moves by what a person sees as a character: a mark that takes no column of its
//! own, as a combining accent, belongs to the character before it.

use alloc::string::String;

use unicode_width::UnicodeWidthChar;

use super::LINE_LIMIT;
use super::words::{word_end, word_start};

/// A text and a cursor in it. Its functions return whether they have changed anything.
#[derive(Debug, Default)]
pub(super) struct Line {
    text: String,
    /// The cursor, in bytes from the beginning; it stands before a character.
    cursor: usize,
}

impl Line {
    /// Returns the text.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Returns the cursor, in bytes from the beginning.
    pub(super) fn cursor(&self) -> usize {
        self.cursor
    }

    /// Returns the text before the cursor.
    pub(super) fn before(&self) -> &str {
        &self.text[..self.cursor]
    }

    /// Returns the text behind the cursor.
    fn after(&self) -> &str {
        &self.text[self.cursor..]
    }

    /// Replaces the text; the cursor goes to byte `cursor`. Returns true.
    pub(super) fn set(&mut self, text: &str, cursor: usize) -> bool {
        self.text.clear();
        self.text.push_str(text);
        self.cursor = cursor;
        true
    }

    /// Takes the text out.
    pub(super) fn take(&mut self) -> String {
        self.cursor = 0;
        core::mem::take(&mut self.text)
    }

    /// Inserts `text` before the cursor, all of it or, if there is no room, nothing.
    pub(super) fn insert(&mut self, text: &str) -> bool {
        let fits = self.text.len() + text.len() <= LINE_LIMIT;
        if fits {
            self.text.insert_str(self.cursor, text);
            self.cursor += text.len();
        }
        fits
    }

    /// Moves the cursor to byte `to`.
    fn go(&mut self, to: usize) -> bool {
        core::mem::replace(&mut self.cursor, to) != to
    }

    /// Deletes the bytes from `from` to `to`; the cursor goes there.
    fn delete(&mut self, from: usize, to: usize) -> bool {
        self.text.drain(from..to);
        self.cursor = from;
        from < to
    }

    /// Returns where the character before the cursor begins.
    fn previous(&self) -> usize {
        let mut characters = self.before().char_indices().rev();
        let start = characters.find(|(_, c)| c.width() != Some(0));
        start.map_or(0, |(at, _)| at)
    }

    /// Returns where the character behind the cursor ends.
    fn next(&self) -> usize {
        let mut characters = self.after().char_indices().skip(1);
        let end = characters.find(|(_, c)| c.width() != Some(0));
        end.map_or(self.text.len(), |(at, _)| self.cursor + at)
    }

    pub(super) fn left(&mut self) -> bool {
        self.go(self.previous())
    }

    pub(super) fn right(&mut self) -> bool {
        self.go(self.next())
    }

    pub(super) fn word_left(&mut self) -> bool {
        self.go(word_start(self.before()))
    }

    pub(super) fn word_right(&mut self) -> bool {
        self.go(self.cursor + word_end(self.after()))
    }

    pub(super) fn home(&mut self) -> bool {
        self.go(0)
    }

    pub(super) fn end(&mut self) -> bool {
        self.go(self.text.len())
    }

    pub(super) fn backspace(&mut self) -> bool {
        self.delete(self.previous(), self.cursor)
    }

    pub(super) fn delete_right(&mut self) -> bool {
        self.delete(self.cursor, self.next())
    }

    pub(super) fn kill_to_start(&mut self) -> bool {
        self.delete(0, self.cursor)
    }

    pub(super) fn kill_to_end(&mut self) -> bool {
        self.delete(self.cursor, self.text.len())
    }

    /// Deletes the word before the cursor and the spaces behind it.
    pub(super) fn kill_word(&mut self) -> bool {
        self.delete(word_start(self.before()), self.cursor)
    }

    /// Deletes the spaces behind the cursor and the word behind them.
    pub(super) fn kill_word_right(&mut self) -> bool {
        self.delete(self.cursor, self.cursor + word_end(self.after()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_without_a_column_goes_with_its_character() {
        let mut line = Line::default();
        assert!(line.insert("ae\u{301}b"));
        assert!(line.left() && line.left());
        assert_eq!(line.before(), "a");
        assert!(line.right());
        assert_eq!(line.before(), "ae\u{301}");
        assert!(line.backspace());
        assert_eq!((line.text(), line.cursor()), ("ab", 1));
        assert!(line.left() && !line.left() && line.delete_right());
        assert_eq!(line.text(), "b");
        line.set("e\u{301}", 0);
        assert!(line.delete_right() && !line.delete_right());
        assert_eq!(line.text(), "");
    }

    #[test]
    fn a_text_fits_whole_or_not_at_all() {
        let mut line = Line::default();
        assert!(line.insert(&"x".repeat(LINE_LIMIT - 1)));
        assert!(!line.insert("é"));
        assert_eq!(line.cursor(), LINE_LIMIT - 1);
        assert!(line.insert("y") && !line.insert("z"));
    }

    #[test]
    fn words_are_killed_on_both_sides() {
        let mut line = Line::default();
        line.set("ab cd  ef", 4);
        assert!(line.kill_word());
        assert_eq!((line.text(), line.cursor()), ("ab d  ef", 3));
        assert!(line.kill_word_right() && line.kill_word_right());
        assert_eq!(line.text(), "ab ");
        assert!(!line.kill_word_right());
        assert!(line.word_left() && !line.word_left() && line.end());
        assert!(line.kill_to_start() && !line.kill_to_start());
    }
}
