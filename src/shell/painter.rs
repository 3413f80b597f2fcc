//! Draws prompt and line on the terminal, over as many rows as they need.
//!
//! The painter knows what it has drawn, draws only what is different, and leaves the
//! terminal's cursor where the line's is. A terminal goes on in the next row by itself, so all
//! that the painter must know is after how many columns. It asks when a line gets long
//! ([`Painter::ask_width`]), and the terminal's answer comes as a key. Until then it takes the
//! row for endless; that is right as long as all is typed at the end.
//!
//! A character may take two columns, or none, as Unicode's tables have it. One of two columns
//! for which a row has but one left goes to the next row.
//!
//! # Sources
//! ECMA-48 (CUU, CUF, ED, CPR, DSR); xterm's control sequences (DECSC, DECRC); Unicode Standard
//! Annex 11.

use alloc::string::String;
use core::fmt;

use unicode_width::UnicodeWidthChar;

use super::machine::Machine;

/// From how many columns on the painter asks for the width.
const ASKS_FROM: usize = 40;

/// A terminal that says it is narrower than this isn't believed.
const NARROWEST: usize = 20;

/// Save the cursor, go far to the right, ask for the cursor's place, and go back.
const ASK: &str = "\x1b7\x1b[999C\x1b[6n\x1b8";

/// Cursor to the top left, erase from there.
pub(super) const CLEAR: &str = "\x1b[H\x1b[J";

/// Draws on the console of `machine`.
pub(super) struct Painter<'m, M> {
    machine: &'m M,
    /// What is drawn, prompt included.
    shown: String,
    /// Where in `shown` the terminal's cursor is, in bytes.
    at: usize,
    /// The place of the terminal's cursor.
    cursor: Place,
    /// The place behind what is drawn.
    end: Place,
    /// The columns of the terminal, as far as they are known.
    columns: Option<usize>,
    /// Whether the terminal was asked for its width and has not answered.
    has_asked: bool,
    /// Whether the width was asked for in this line.
    asked_in_line: bool,
    /// Whether the prompt stands at the top left of the terminal.
    is_at_top: bool,
}

/// A place on the terminal, counted from the beginning of the prompt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Place {
    row: usize,
    column: usize,
}

impl Place {
    /// Goes to the beginning of the next row.
    fn next_row(&mut self) {
        self.row += 1;
        self.column = 0;
    }
}

impl<'m, M: Machine> Painter<'m, M> {
    pub(super) fn new(machine: &'m M) -> Painter<'m, M> {
        Painter {
            machine,
            shown: String::new(),
            at: 0,
            cursor: Place::default(),
            end: Place::default(),
            columns: None,
            has_asked: false,
            asked_in_line: false,
            is_at_top: false,
        }
    }

    fn write(&self, text: fmt::Arguments<'_>) {
        self.machine.write(text);
    }

    /// Rings the bell.
    pub(super) fn bell(&self) {
        self.write(format_args!("\x07"));
    }

    /// Draws `prompt` and `line`, with the cursor at byte `cursor` of the line.
    pub(super) fn draw(&mut self, prompt: &str, line: &str, cursor: usize) {
        let text = String::from(prompt) + line;
        let same = self.same_as(&text);
        let at_end = self.at == self.shown.len() && same == self.shown.len();
        if same < text.len() || same < self.shown.len() {
            if !at_end {
                // Behind the character before: the terminal knows whether the next one fits there.
                self.go(self.advance(Place::default(), &text[..same]));
                self.write(format_args!("\x1b[J"));
            }
            let new = &text[same..];
            self.write(format_args!("{new}"));
            self.end = if same == self.shown.len() {
                self.advance(self.end, new)
            } else {
                self.advance(Place::default(), &text)
            };
            self.shown = text;
            self.at = self.shown.len();
            self.cursor = self.end;
            self.end_row();
        }
        self.go_to(prompt.len() + cursor);
        if self.columns.is_none() && !self.asked_in_line && self.end.column >= ASKS_FROM {
            self.ask_width();
        }
    }

    /// Returns how many bytes of `text` are drawn already. What is drawn anew begins with a
    /// character that has a column of its own.
    fn same_as(&self, text: &str) -> usize {
        let mut end = if text.starts_with(&self.shown) {
            self.shown.len()
        } else {
            let pairs = self.shown.chars().zip(text.chars());
            let same = pairs.take_while(|(one, other)| one == other);
            same.map(|(c, _)| c.len_utf8()).sum()
        };
        let is_mark = |from: &str| from.chars().next().is_some_and(|c| c.width() == Some(0));
        while end > 0 && (is_mark(&text[end..]) || is_mark(&self.shown[end..])) {
            let before = text[..end].chars().next_back();
            end -= before.map_or(end, char::len_utf8);
        }
        end
    }

    /// Ends the drawn text with `mark` and a line end. What is drawn next begins in a row of its
    /// own.
    pub(super) fn finish(&mut self, mark: &str) {
        if !mark.is_empty() {
            self.go_to(self.shown.len());
        }
        self.step('B', self.end.row - self.cursor.row);
        self.write(format_args!("{mark}\n"));
        self.forget();
        self.asked_in_line = false;
        self.is_at_top = false;
    }

    /// Clears the terminal; what is drawn next begins at its top. Asks for the width, which
    /// may have changed.
    pub(super) fn clear(&mut self) {
        self.write(format_args!("{CLEAR}"));
        self.forget();
        self.is_at_top = true;
        self.ask_width();
    }

    /// Asks the terminal for its width.
    fn ask_width(&mut self) {
        self.write(format_args!("{ASK}"));
        self.has_asked = true;
        self.asked_in_line = true;
    }

    /// Takes the terminal's answer: `columns`. Returns false if it was not asked.
    pub(super) fn answer(&mut self, columns: usize) -> bool {
        if !core::mem::take(&mut self.has_asked) {
            return false;
        }
        let columns = Some(columns).filter(|columns| *columns >= NARROWEST);
        if self.columns == columns {
            return true;
        }
        self.columns = columns;
        if self.is_at_top {
            self.write(format_args!("{CLEAR}"));
            self.forget();
        } else {
            self.end = self.advance(Place::default(), &self.shown);
            self.cursor = self.place(self.at);
            if self.at == self.shown.len() {
                self.end_row();
            }
        }
        true
    }

    /// Takes the row of the cursor for empty.
    fn forget(&mut self) {
        self.shown.clear();
        self.at = 0;
        self.cursor = Place::default();
        self.end = Place::default();
    }

    /// Goes to the next row if the text ends with the last column of one: a terminal itself
    /// waits with that for the next character.
    fn end_row(&self) {
        if self.end.column == 0 && self.end.row > 0 {
            self.write(format_args!(" \r"));
        }
    }

    /// Returns the place behind `text` that is drawn from `place` on.
    fn advance(&self, mut place: Place, text: &str) -> Place {
        let columns = self.columns.unwrap_or(usize::MAX);
        for c in text.chars() {
            let width = c.width().unwrap_or(0);
            if place.column + width > columns {
                place.next_row();
            }
            place.column += width;
            if place.column == columns {
                place.next_row();
            }
        }
        place
    }

    /// Returns the place of byte `at`.
    fn place(&self, at: usize) -> Place {
        if at == self.shown.len() {
            return self.end;
        }
        let mut place = self.advance(Place::default(), &self.shown[..at]);
        let here = self.shown[at..].chars().next();
        let width = here.and_then(UnicodeWidthChar::width).unwrap_or(0);
        if self
            .columns
            .is_some_and(|columns| place.column + width > columns)
        {
            place.next_row();
        }
        place
    }

    /// Moves the terminal's cursor to byte `at`.
    fn go_to(&mut self, at: usize) {
        if at != self.at {
            self.at = at;
            self.go(self.place(at));
        }
    }

    /// Moves the terminal's cursor to `to`.
    fn go(&mut self, to: Place) {
        let from = core::mem::replace(&mut self.cursor, to);
        self.step('A', from.row.saturating_sub(to.row));
        self.step('B', to.row.saturating_sub(from.row));
        if to.column == 0 && from.column > 0 {
            self.write(format_args!("\r"));
        } else {
            self.step('D', from.column.saturating_sub(to.column));
            self.step('C', to.column.saturating_sub(from.column));
        }
    }

    /// Moves the cursor by `count` rows or columns: `A` up, `B` down, `C` right, `D` left.
    fn step(&self, way: char, count: usize) {
        match count {
            0 => {}
            1 => self.write(format_args!("\x1b[{way}")),
            _ => self.write(format_args!("\x1b[{count}{way}")),
        }
    }
}
