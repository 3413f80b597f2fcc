//! The line editor: `embedded-cli` for the line, our keys in front of it.
//!
//! The crate keeps the line, the cursor, the echo and the history. It was
//! chosen over `noline`, which first asks the terminal for its size, so it eats
//! the first bytes of a pipe, and which panics on an `ESC [ R` that it didn't
//! ask for. This module makes up for what version 0.2 lacks:
//!
//! - *Keys.* The crate takes the DEL that most terminals send for Backspace as
//!   text, prints SS3 arrows as letters, has no Home, End, Delete and no Ctrl
//!   keys, lets a broken escape sequence swallow an Enter, and builds a `str`
//!   out of overlong UTF-8 without a check, which is undefined behaviour. So
//!   [`Keys`] decodes, and the crate is fed nothing but valid characters and its
//!   own complete sequences. A compound key is several of those.
//! - *The raw line.* The crate hands its command processor words without their quotes,
//!   but our parser needs the quotes: `echo "a;b"` must not become two commands. The
//!   crate also redraws prompt and line when asked ([`Cli::write`]), through the writer
//!   that we gave it. So we read the line by having it redrawn into a copy.
//! - *Text that doesn't fit.* The crate drops a character for which there is no room.
//!   The editor rings the bell then. If Enter follows with no editing key between, the
//!   editor refuses the line: `chcpu -d 1,2,…` cut off at the limit would be another list.
//! - *Bytes that the console has lost.* A line with a gap may be the beginning of one
//!   line and the end of another. The editor refuses it at Enter, whatever keys came
//!   between, because they may have been meant for the other line. Only Ctrl-C starts
//!   anew.
//! - *Wide characters.* The crate takes each character for one column. So the editor
//!   redraws a line that isn't all ASCII after each key: first the whole line, then once
//!   more its part before the cursor. The terminal itself finds the cursor's column
//!   that way.
//!
//! A line is drawn on one row. If it is longer than a row of the terminal, its end is
//! drawn wrongly.

use alloc::rc::Rc;
use alloc::string::String;
use core::convert::Infallible;
use core::fmt;

use embedded_cli::cli::{Cli, CliBuilder};
use embedded_cli::command::RawCommand;

use super::command::commands;
use super::complete::{Completion, completion, to_word_end, to_word_start};
use super::keys::{Key, Keys};
use super::machine::Machine;
use super::screen::{Bytes, Mode, Screen, ScreenWriter};

/// The prompt in front of the line.
pub const PROMPT: &str = "stillpoint# ";

/// The longest line, in bytes.
pub const LINE_LIMIT: usize = 512;

/// Bytes for the lines of the history; each line takes one byte more than its length.
const HISTORY_SIZE: usize = 2048;

/// What the crate draws before the prompt when it redraws: carriage return,
/// erase in line (ECMA-48, EL 2).
const REDRAW: &str = "\r\x1b[2K";

/// Cursor to the top left, erase in page (ECMA-48, CUP and ED 2).
const CLEAR_SCREEN: &str = "\x1b[H\x1b[2J";

// The bytes that stand for a key in the crate.
const BACKSPACE: &str = "\x08";
const ENTER: &str = "\r";
const UP: &str = "\x1b[A";
const DOWN: &str = "\x1b[B";
const RIGHT: &str = "\x1b[C";
const LEFT: &str = "\x1b[D";

/// Why a line was refused at Enter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineError {
    /// It was longer than [`LINE_LIMIT`].
    TooLong,
    /// Some of its bytes were not UTF-8.
    NotUtf8,
    /// The console lost some of its bytes.
    Lost,
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "line ignored: it is longer than {LINE_LIMIT} bytes"),
            Self::NotUtf8 => f.write_str("line ignored: it is not UTF-8"),
            Self::Lost => f.write_str("line ignored: the console has lost some of its bytes"),
        }
    }
}

impl core::error::Error for LineError {}

/// A line being edited, and the lines before it.
pub(super) struct Editor<'m, M: Machine> {
    cli: Cli<ScreenWriter<'m, M>, Infallible, Bytes, Bytes>,
    screen: Rc<Screen<'m, M>>,
    keys: Keys,
    /// Why the line will be refused at Enter; `None` if it won't be. An editing key
    /// clears it, except [`LineError::Lost`], which only Ctrl-C clears.
    lost: Option<LineError>,
    /// Whether every character of the line is ASCII, and so takes one column.
    is_ascii: bool,
}

impl<'m, M: Machine> Editor<'m, M> {
    /// Returns an editor with an empty line and no history. It draws nothing yet.
    pub(super) fn new(machine: &'m M) -> Editor<'m, M> {
        let screen = Screen::new(machine);
        screen.set_mode(Mode::Discard); // `build` draws a prompt.
        let Ok(cli) = CliBuilder::default()
            .writer(ScreenWriter(screen.clone()))
            .command_buffer(Bytes::new(LINE_LIMIT))
            .history_buffer(Bytes::new(HISTORY_SIZE))
            .prompt(PROMPT)
            .build();
        screen.set_mode(Mode::Show);
        Editor {
            cli,
            screen,
            keys: Keys::new(),
            lost: None,
            is_ascii: true,
        }
    }

    /// Draws the prompt. The caller calls this when it is ready for the next line.
    pub(super) fn prompt(&self) {
        self.screen.draw(PROMPT);
    }

    /// Takes a byte from the console. At Enter it returns the line just as it
    /// was typed, and begins an empty one.
    ///
    /// # Errors
    /// [`LineError`] at Enter if some of what was sent is missing in the line.
    pub(super) fn feed(&mut self, byte: u8) -> Result<Option<String>, LineError> {
        let mut line = Ok(None);
        for key in self.keys.feed(byte) {
            if key == Key::Enter {
                line = self.enter().map(Some);
                continue;
            }
            let told = self.lost.is_some();
            let done = match key {
                Key::Char(c) if c.is_ascii() && self.is_ascii => self.edit(key),
                Key::ClearScreen | Key::Interrupt | Key::Complete => self.edit(key),
                // The crate draws a line of the history from its beginning.
                Key::Up | Key::Down => {
                    let done = self.edit(key);
                    self.is_ascii = self.text().is_ascii();
                    done
                }
                Key::Char(_) => self.edit_and_repaint(key),
                _ if !self.is_ascii => self.edit_and_repaint(key),
                _ => self.edit(key),
            };
            // For a line that will be refused the bell has rung already.
            if !done && !told {
                self.screen.draw("\x07");
            }
        }
        line
    }

    /// Makes the editor refuse the line at Enter, because the console lost some of it.
    pub(super) fn lose(&mut self) {
        self.keys = Keys::new();
        self.lost = Some(LineError::Lost);
        self.screen.draw("\x07");
    }

    /// Does what `key` asks for. Returns whether it could.
    fn edit(&mut self, key: Key) -> bool {
        match key {
            Key::Char(c) => {
                let typed = self.press(c.encode_utf8(&mut [0; 4]));
                if !typed {
                    self.lost.get_or_insert(LineError::TooLong);
                }
                return typed;
            }
            Key::Damaged => {
                self.lost.get_or_insert(LineError::NotUtf8);
                return false;
            }
            Key::Enter | Key::Unknown => return false,
            Key::Interrupt => self.lost = None,
            _ => self.lost = self.lost.filter(|lost| *lost == LineError::Lost),
        }
        match key {
            Key::Backspace => self.press(BACKSPACE),
            Key::Delete => self.delete(),
            Key::Left => self.press(LEFT),
            Key::Right => self.press(RIGHT),
            Key::WordLeft => self.word_left(),
            Key::WordRight => self.word_right(),
            Key::Complete => self.complete(),
            Key::Up => self.press(UP),
            Key::Down => self.press(DOWN),
            Key::Home => self.press_all(LEFT),
            Key::End => self.press_all(RIGHT),
            Key::KillToStart => self.press_all(BACKSPACE),
            Key::KillToEnd => {
                while self.delete() {}
                true
            }
            Key::KillWord => self.kill_word(),
            Key::ClearScreen => {
                self.screen.draw(CLEAR_SCREEN);
                // `redraw` leaves the terminal's cursor at the end of the line, so the
                // crate's cursor has to be there too.
                self.press_all(RIGHT);
                self.redraw();
                true
            }
            Key::Interrupt => {
                self.screen.draw("^C\n");
                self.discard_line();
                self.prompt();
                true
            }
            Key::Char(_) | Key::Damaged | Key::Enter | Key::Unknown => false,
        }
    }

    /// Does what [`Editor::edit`] does, for a line with wide characters: repaints it
    /// instead of letting the crate draw.
    fn edit_and_repaint(&mut self, key: Key) -> bool {
        let mode = self.screen.set_mode(Mode::Discard);
        let done = self.edit(key);
        self.screen.set_mode(mode);
        self.repaint();
        done
    }

    /// Draws the line, and then once more its part before the cursor.
    fn repaint(&mut self) {
        let text = self.text();
        let before = self.before_cursor();
        self.screen.draw(REDRAW);
        self.prompt();
        self.screen.draw(&text);
        if before.len() < text.len() {
            self.screen.draw("\r");
            self.prompt();
            self.screen.draw(&before);
        }
        self.is_ascii = text.is_ascii();
    }

    /// Ends the line, adds it to the history and returns it, unless it is refused.
    fn enter(&mut self) -> Result<String, LineError> {
        self.screen.draw("\n");
        if let Some(error) = self.lost.take() {
            self.discard_line();
            return Err(error);
        }
        let line = self.text();
        let mode = self.screen.set_mode(Mode::Discard);
        self.press(ENTER);
        self.screen.set_mode(mode);
        self.is_ascii = true;
        Ok(line)
    }

    /// Gives the crate a character or a key. Returns whether that changed anything: the
    /// crate draws exactly then.
    fn press(&mut self, key: &str) -> bool {
        self.screen.take_drawn();
        let mut ignore = RawCommand::processor(|_, _| Ok(()));
        for byte in key.bytes() {
            let Ok(()) = self
                .cli
                .process_byte::<RawCommand<'_>, _>(byte, &mut ignore);
        }
        self.screen.take_drawn()
    }

    /// Presses `key`, which moves or deletes towards an end of the line, until nothing
    /// changes any more. Returns true.
    fn press_all(&mut self, key: &str) -> bool {
        while self.press(key) {}
        true
    }

    /// Presses `key` `count` times. Returns whether `count` is above 0.
    fn press_times(&mut self, key: &str, count: usize) -> bool {
        for _ in 0..count {
            self.press(key);
        }
        count > 0
    }

    /// Deletes the character behind the cursor. Returns whether there was one.
    fn delete(&mut self) -> bool {
        self.press(RIGHT) && self.press(BACKSPACE)
    }

    /// Deletes the word before the cursor and the spaces behind it. Returns whether
    /// there was anything to delete.
    fn kill_word(&mut self) -> bool {
        let count = to_word_start(&self.before_cursor());
        self.press_times(BACKSPACE, count)
    }

    /// Moves to the beginning of the word before the cursor. Returns whether the cursor
    /// moved.
    fn word_left(&mut self) -> bool {
        let count = to_word_start(&self.before_cursor());
        self.press_times(LEFT, count)
    }

    /// Moves to the end of the word after the cursor. Returns whether the cursor moved.
    fn word_right(&mut self) -> bool {
        let text = self.text();
        let after = &text[self.before_cursor().len()..];
        let count = to_word_end(after);
        self.press_times(RIGHT, count)
    }

    /// Completes the command name before the cursor as far as all fitting names agree.
    /// If they don't agree on another character, prints them. Returns whether a name
    /// fits, and its completion fits into the line.
    fn complete(&mut self) -> bool {
        let rows = commands::<M>();
        let before = self.before_cursor();
        let Some(completion) = completion(&before, rows.iter().map(|row| row.name)) else {
            return false;
        };
        let typed = match completion {
            Completion::Certain(more) => {
                let mode = self.screen.set_mode(Mode::Discard);
                let fits = more.chars().all(|c| self.press(c.encode_utf8(&mut [0; 4])));
                self.screen.set_mode(mode);
                fits
            }
            Completion::OneOf(names) => {
                self.screen.draw("\n");
                self.screen.draw(&names.join("  "));
                self.screen.draw("\n");
                true
            }
        };
        self.repaint();
        typed
    }

    /// Returns the part of the line before the cursor.
    fn before_cursor(&mut self) -> String {
        let mode = self.screen.set_mode(Mode::Discard);
        let mut cursor = 0;
        while self.press(LEFT) {
            cursor += 1;
        }
        for _ in 0..cursor {
            self.press(RIGHT);
        }
        self.screen.set_mode(mode);
        self.text().chars().take(cursor).collect()
    }

    /// Empties the line. Draws nothing and leaves the history as it is.
    fn discard_line(&mut self) {
        let mode = self.screen.set_mode(Mode::Discard);
        self.press_all(RIGHT);
        self.press_all(BACKSPACE);
        self.screen.set_mode(mode);
        self.is_ascii = true;
    }

    /// Returns the line as it was typed, quotes included.
    fn text(&mut self) -> String {
        let mode = self.screen.set_mode(Mode::Copy);
        self.redraw();
        self.screen.set_mode(mode);
        let copy = self.screen.take_copy();
        copy.strip_prefix(REDRAW)
            .and_then(|copy| copy.strip_prefix(PROMPT))
            .expect("BUG: the line is not drawn after the prompt")
            .into()
    }

    /// Has the crate draw prompt and line, with the cursor at the line's end.
    fn redraw(&mut self) {
        let Ok(()) = self.cli.write(|_| Ok(()));
    }
}
