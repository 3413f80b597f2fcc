//! The line editor: Emacs's keys, a history with a search, completion.
//!
//! It is our own, because no crate does it for a console that may also be a pipe: `noline` asks
//! the terminal for its size first, which eats the first bytes of a pipe, and panics on an
//! answer that it didn't ask for; `embedded-cli` takes each character for one column, knows
//! neither word nor search keys, and hands on words without their quotes. What is hard about it
//! is a crate's: `unicode-width` knows how many columns a character takes.
//!
//! What would be lost is said (`no-input-lost` of the shell):
//!
//! - *Text that doesn't fit.* The editor rings the bell for the first character for which there
//!   is no room. It refuses the line at Enter, unless a key has deleted some of it since:
//!   `chcpu -d 1,2,…` cut off at the limit would be another list.
//! - *Bytes that aren't UTF-8.* The editor refuses the line at Enter, unless a key has emptied it
//!   since.
//! - *Bytes that the console has lost.* A line with a gap may be the beginning of one line and
//!   the end of another. The editor refuses it at Enter, whatever keys came between, because
//!   they may have been meant for the other line. Only Ctrl-C starts anew.
//! - *Control characters that are no key* ring the bell, and aren't in the line.
//!
//! While a line will be refused, the keys of the history do nothing: they would put the line
//! away, and bring it back as a whole one.

use alloc::format;
use alloc::string::String;
use core::fmt;

use super::complete::{Completion, completion};
use super::history::History;
use super::keys::{Key, Keys};
use super::line::Line;
use super::machine::Machine;
use super::painter::Painter;

/// The prompt in front of the line.
pub const PROMPT: &str = "stillpoint# ";

/// The longest line, in bytes.
pub const LINE_LIMIT: usize = 512;

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

/// A search in the history.
struct Search {
    /// The text that is searched for.
    text: String,
    /// The number of the line that was found last, and is shown.
    found: Option<usize>,
    /// Whether no line before it has the text.
    fails: bool,
    /// The line that was typed before, and its cursor.
    typed: (String, usize),
}

/// A line being edited, and the lines before it.
pub(super) struct Editor<'m, M: Machine> {
    machine: &'m M,
    painter: Painter<'m, M>,
    keys: Keys,
    line: Line,
    history: History,
    search: Option<Search>,
    /// Why the line will be refused at Enter; `None` if it won't be. `edit` says which keys
    /// clear it.
    lost: Option<LineError>,
}

impl<'m, M: Machine> Editor<'m, M> {
    /// Returns an editor with an empty line and no history. It draws nothing yet.
    pub(super) fn new(machine: &'m M) -> Editor<'m, M> {
        Editor {
            machine,
            painter: Painter::new(machine),
            keys: Keys::new(),
            line: Line::default(),
            history: History::default(),
            search: None,
            lost: None,
        }
    }

    /// Draws the prompt and the line. The caller calls this when it is ready for the next line.
    pub(super) fn draw(&mut self) {
        let (text, cursor) = (self.line.text(), self.line.cursor());
        match &self.search {
            None => self.painter.draw(PROMPT, text, cursor),
            Some(search) => {
                let failed = if search.fails { "failed " } else { "" };
                let prompt = format!("({failed}reverse-i-search)`{}': ", search.text);
                self.painter.draw(&prompt, text, cursor);
            }
        }
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
            let done = self.edit(key);
            self.draw();
            // For a line that will be refused the bell has rung already.
            if !done && !told {
                self.painter.bell();
            }
        }
        line
    }

    /// Makes the editor refuse the line at Enter, because the console lost some of it.
    pub(super) fn lose(&mut self) {
        self.keys = Keys::new();
        self.lost = Some(LineError::Lost);
        self.painter.bell();
    }

    /// Does what `key` asks for. Returns whether it could.
    fn edit(&mut self, key: Key) -> bool {
        match key {
            Key::Char(c) => {
                let typed = match &mut self.search {
                    None => self.line.insert(c.encode_utf8(&mut [0; 4])),
                    Some(search) => search.type_in(c),
                };
                if !typed {
                    self.lost.get_or_insert(LineError::TooLong);
                    return false;
                }
                return self.search.is_none() || self.search_on();
            }
            Key::Damaged => {
                self.lost.get_or_insert(LineError::NotUtf8);
                return false;
            }
            Key::Position(columns) => return self.painter.answer(columns.into()),
            Key::Enter | Key::Unknown => return false,
            Key::Up | Key::Down | Key::Search if self.lost.is_some() => return false,
            Key::Interrupt => self.lost = None,
            _ => {}
        }
        match (key, &mut self.search) {
            (Key::Search, _) => return self.search_back(),
            (Key::Backspace, Some(search)) => {
                return search.text.pop().is_some() && self.search_again();
            }
            (Key::Abort, search) => match search.take() {
                None => return false,
                Some(Search { typed, .. }) => return self.line.set(&typed.0, typed.1),
            },
            _ => self.end_search(),
        }
        let done = match key {
            Key::Backspace => self.line.backspace(),
            Key::Delete => self.line.delete_right(),
            Key::Left => self.line.left(),
            Key::Right => self.line.right(),
            Key::WordLeft => self.line.word_left(),
            Key::WordRight => self.line.word_right(),
            Key::KillToStart => self.line.kill_to_start(),
            Key::KillToEnd => self.line.kill_to_end(),
            Key::Home => {
                self.line.home();
                true
            }
            Key::End => {
                self.line.end();
                true
            }
            Key::KillWord => self.line.kill_word(),
            Key::KillWordRight => self.line.kill_word_right(),
            Key::Complete => self.complete(),
            Key::Up => match self.history.older(self.line.text()) {
                None => false,
                Some(line) => self.line.set(line, line.len()),
            },
            Key::Down => match self.history.newer() {
                None => false,
                Some(line) => self.line.set(line, line.len()),
            },
            Key::ClearScreen => {
                self.painter.clear();
                true
            }
            Key::Interrupt => {
                self.painter.finish("^C");
                self.line.take();
                self.history.leave();
                true
            }
            Key::Char(_)
            | Key::Damaged
            | Key::Enter
            | Key::Unknown
            | Key::Position(_)
            | Key::Search
            | Key::Abort => false,
        };
        self.forgive(key, done);
        done
    }

    /// Lets the line be entered again if `key` was one that deletes, and has deleted what was
    /// wrong with the line; `done` is whether it has deleted anything.
    fn forgive(&mut self, key: Key, done: bool) {
        let deletes = matches!(
            key,
            Key::Backspace
                | Key::Delete
                | Key::KillToStart
                | Key::KillToEnd
                | Key::KillWord
                | Key::KillWordRight
        );
        // Ctrl-U in an empty line throws away what isn't in it.
        let is_emptied = self.line.text().is_empty() && (done || key == Key::KillToStart);
        let forgiven = match self.lost {
            Some(LineError::TooLong) => done || is_emptied,
            Some(LineError::NotUtf8) => is_emptied,
            Some(LineError::Lost) | None => false,
        };
        if deletes && forgiven {
            self.lost = None;
        }
    }

    /// Ends the line, adds it to the history and returns it, unless it is refused.
    fn enter(&mut self) -> Result<String, LineError> {
        if self.search.is_some() {
            self.end_search();
            self.draw();
        }
        self.painter.finish("");
        let line = self.line.take();
        if let Some(error) = self.lost.take() {
            self.history.leave();
            return Err(error);
        }
        self.history.add(&line);
        Ok(line)
    }

    /// Begins a search, or looks further back. Returns whether there is another line that has
    /// the text.
    fn search_back(&mut self) -> bool {
        match &self.search {
            None => {
                self.search = Some(Search {
                    text: String::new(),
                    found: None,
                    fails: false,
                    typed: (self.line.text().into(), self.line.cursor()),
                });
                true
            }
            Some(Search { found, text, .. }) if !text.is_empty() => {
                self.look(found.unwrap_or(usize::MAX))
            }
            Some(_) => false,
        }
    }

    /// Looks for the text, to which a character was added, from the line that is shown on.
    fn search_on(&mut self) -> bool {
        let shown = self.search.as_ref().and_then(|search| search.found);
        self.look(shown.map_or(usize::MAX, |number| number + 1))
    }

    /// Looks for the text, of which a character was taken, from the newest line on.
    fn search_again(&mut self) -> bool {
        self.look(usize::MAX)
    }

    /// Looks for the text of the search in the lines before number `before`, and shows the
    /// newest that has it. Returns whether there is one.
    fn look(&mut self, before: usize) -> bool {
        let Some(search) = &mut self.search else {
            return false;
        };
        let found = self.history.find(&search.text, before);
        search.fails = found.is_none();
        if let Some((number, at, line)) = found {
            search.found = Some(number);
            self.line.set(line, at);
        }
        !search.fails
    }

    /// Ends the search, if there is one: the line that it shows is edited from now on.
    fn end_search(&mut self) {
        if let Some(Search { found, typed, .. }) = self.search.take()
            && let Some(number) = found
        {
            self.history.go(number, &typed.0);
        }
    }

    /// Completes the word before the cursor as far as all fitting words agree. If they don't
    /// agree on another character, prints them. Returns whether a word fits, and its completion
    /// fits into the line.
    fn complete(&mut self) -> bool {
        match completion(self.machine, self.line.before()) {
            None => false,
            Some(Completion::Certain(more)) => self.line.insert(&more),
            Some(Completion::OneOf(words)) => {
                self.painter.finish("");
                self.machine.write(format_args!("{}\n", words.join("  ")));
                true
            }
        }
    }
}

impl Search {
    /// Adds a character to the text. Returns whether there is room.
    fn type_in(&mut self, c: char) -> bool {
        let fits = self.text.len() + c.len_utf8() <= LINE_LIMIT;
        if fits {
            self.text.push(c);
        }
        fits
    }
}
