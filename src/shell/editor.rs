//! The line editor: `embedded-cli` for the line, our keys in front of it.
//!
//! The crate keeps the line, the cursor, the echo and the history. It was
//! chosen over `noline`, which first asks the terminal for its size, so it eats
//! the first bytes of a pipe, and which panics on an `ESC [ R` that it didn't
//! ask for. What version 0.2 leaves open is closed here:
//!
//! - *Keys.* The crate takes the DEL that most terminals send for Backspace as
//!   text, prints SS3 arrows as letters, has no Home, End, Delete and no Ctrl
//!   keys, lets a broken escape sequence swallow an Enter, and builds a `str`
//!   out of overlong UTF-8 without a check, which is undefined behaviour. So
//!   [`Keys`] decodes, and the crate is fed nothing but valid characters and its
//!   own complete sequences. A compound key is several of those.
//! - *The raw line.* The crate hands a processor words, with quotes taken off
//!   where we need them: `echo "a;b"` must not become two commands. But it
//!   redraws prompt and line when asked ([`Cli::write`]), through the writer
//!   that we gave it. To read the line, we have it redrawn into a copy.
//! - *What doesn't fit.* The crate drops a character for which there is no room.
//!   We ring the bell, and if Enter follows with no editing key between, refuse
//!   the line: `chcpu -d 1,2,…` cut off at the limit would be another list.
//! - *What the console has lost.* The line in which something is missing may be the
//!   beginning of one and the end of another. It is refused at Enter, whatever keys
//!   are between: they may have been meant for another line too. Only Ctrl-C begins
//!   a new one.
//! - *Wide characters.* The crate takes each character for one column. A line with
//!   more than ASCII is drawn anew after each key, first all of it and then what stands
//!   before the cursor: so the terminal itself finds the cursor's column.
//!
//! A line is drawn on one row; a terminal narrower than that shows its end badly.

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

/// What stands in front of the line.
pub const PROMPT: &str = "stillpoint# ";

/// The longest line, in bytes.
pub const LINE_LIMIT: usize = 512;

/// Bytes for the lines of the history; each takes one more than its length.
const HISTORY_SIZE: usize = 2048;

/// What the crate draws before the prompt when it redraws: carriage return,
/// erase in line (ECMA-48, EL 2).
const REDRAW: &str = "\r\x1b[2K";

/// Cursor to the top left, erase in page (ECMA-48, CUP and ED 2).
const CLEAR_SCREEN: &str = "\x1b[H\x1b[2J";

// The keys that the crate knows, as it knows them.
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
    /// The console lost some of it.
    Lost,
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "line ignored: it is longer than {LINE_LIMIT} bytes"),
            Self::NotUtf8 => f.write_str("line ignored: it is not UTF-8"),
            Self::Lost => {
                f.write_str("line ignored: it came too fast or damaged, and not all of it is here")
            }
        }
    }
}

impl core::error::Error for LineError {}

/// A line being edited, and the lines before it.
pub(super) struct Editor<'m, M: Machine> {
    cli: Cli<ScreenWriter<'m, M>, Infallible, Bytes, Bytes>,
    screen: Rc<Screen<'m, M>>,
    keys: Keys,
    /// What was lost of the line since the last editing key.
    lost: Option<LineError>,
    /// Whether each character of the line takes one column for sure.
    is_ascii: bool,
}

impl<'m, M: Machine> Editor<'m, M> {
    /// Returns an editor with an empty line and no history. It draws nothing yet.
    pub(super) fn new(machine: &'m M) -> Editor<'m, M> {
        let screen = Screen::new(machine);
        screen.set_mode(Mode::Discard); // The crate prompts when it is built.
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

    /// Draws the prompt. For the caller, when it is ready for the next line.
    pub(super) fn prompt(&self) {
        self.screen.draw(PROMPT);
    }

    /// Takes a byte from the console. At Enter it returns the line just as it
    /// was typed, and begins an empty one.
    ///
    /// # Errors
    /// [`LineError`] at Enter if the line is not all that was sent.
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
            // Of a line that will be refused the bell has told already.
            if !done && !told {
                self.screen.draw("\x07");
            }
        }
        line
    }

    /// Has the line refused at Enter: some of what was sent is missing here.
    pub(super) fn lose(&mut self) {
        self.keys = Keys::new();
        self.lost = Some(LineError::Lost);
        self.screen.draw("\x07");
    }

    /// Does what `key` asks for; whether it could.
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
                // The redrawing leaves the cursor at the end, so it must be there.
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

    /// As [`Editor::edit`], whatever the line has in it.
    fn edit_and_repaint(&mut self, key: Key) -> bool {
        let mode = self.screen.set_mode(Mode::Discard);
        let done = self.edit(key);
        self.screen.set_mode(mode);
        self.repaint();
        done
    }

    /// Draws the line, and then once more what stands before the cursor.
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

    /// Ends the line. It is in the history from now on, if it wasn't refused.
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

    /// Gives the crate a character or a key; whether that did anything. The
    /// crate draws exactly when something has changed.
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

    /// Presses `key`, which moves towards an end of the line, until that is reached.
    fn press_all(&mut self, key: &str) -> bool {
        while self.press(key) {}
        true
    }

    /// Presses `key` so many times; whether that is once at least.
    fn press_times(&mut self, key: &str, count: usize) -> bool {
        for _ in 0..count {
            self.press(key);
        }
        count > 0
    }

    fn delete(&mut self) -> bool {
        self.press(RIGHT) && self.press(BACKSPACE)
    }

    /// Takes away the word before the cursor and the spaces behind it.
    fn kill_word(&mut self) -> bool {
        let count = to_word_start(&self.before_cursor());
        self.press_times(BACKSPACE, count)
    }

    /// Goes to the beginning of the word before the cursor.
    fn word_left(&mut self) -> bool {
        let count = to_word_start(&self.before_cursor());
        self.press_times(LEFT, count)
    }

    /// Goes behind the word after the cursor.
    fn word_right(&mut self) -> bool {
        let text = self.text();
        let after = &text[self.before_cursor().len()..];
        let count = to_word_end(after);
        self.press_times(RIGHT, count)
    }

    /// Completes the name of a command before the cursor as far as it is certain. If
    /// that is no further, the commands that begin so are shown.
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

    /// Returns what stands before the cursor.
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

    /// Empties the line without a trace on the console or in the history.
    fn discard_line(&mut self) {
        let mode = self.screen.set_mode(Mode::Discard);
        self.press_all(RIGHT);
        self.press_all(BACKSPACE);
        self.screen.set_mode(mode);
        self.is_ascii = true;
    }

    /// Returns the line as it is.
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

    fn redraw(&mut self) {
        let Ok(()) = self.cli.write(|_| Ok(()));
    }
}
