//! Standard output as a person sees it: lines that stay, and on a terminal one more, the *live
//! line*, which is replaced in place.
//!
//! A terminal is what isatty(3) calls one, unless `TERM` is `dumb`: then, and on a pipe or in a
//! file, there is no live line and no escape code. `NO_COLOR` (<https://no-color.org>), set to
//! anything, takes the colours away, and leaves the live line.

use std::io::{IsTerminal, stdout};

use rustix::termios::tcgetwinsize;

use crate::report::print;

/// The width of a terminal that doesn't tell it.
const COLUMNS: usize = 80;

/// Standard output.
pub struct Screen {
    is_terminal: bool,
    has_colours: bool,
    /// The live line that is on the terminal.
    shown: String,
}

/// The colour of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    Red,
    Green,
    Yellow,
}

impl Screen {
    /// Returns the screen of this process.
    #[must_use]
    pub fn of_this_process() -> Screen {
        let variable = |name| std::env::var_os(name).unwrap_or_default();
        Screen::new(
            stdout().is_terminal(),
            variable("TERM") == "dumb",
            !variable("NO_COLOR").is_empty(),
        )
    }

    fn new(is_terminal: bool, is_dumb: bool, no_colour: bool) -> Screen {
        let is_terminal = is_terminal && !is_dumb;
        Screen {
            is_terminal,
            has_colours: is_terminal && !no_colour,
            shown: String::new(),
        }
    }

    /// Returns whether there is a live line.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.is_terminal
    }

    /// Returns `word` in a colour, if there are colours.
    #[must_use]
    pub fn coloured(&self, word: &str, colour: Colour) -> String {
        let code = match colour {
            Colour::Red => 31,
            Colour::Green => 32,
            Colour::Yellow => 33,
        };
        match self.has_colours {
            true => format!("\x1b[{code}m{word}\x1b[0m"),
            false => word.to_owned(),
        }
    }

    /// Prints `text`, which has whole lines, where the live line was.
    pub fn print(&mut self, text: &str) {
        print(&self.printed(text));
    }

    /// Makes `text` the live line, cut to the width of the window.
    pub fn show(&mut self, text: &str) {
        if self.is_terminal {
            print(&self.replaced(text, columns()));
        }
    }

    fn printed(&mut self, text: &str) -> String {
        if self.shown.is_empty() {
            return text.to_owned();
        }
        self.shown.clear();
        format!("\r\x1b[K{text}")
    }

    /// Returns what makes `text` the live line in a window of `columns`; nothing if it is there.
    fn replaced(&mut self, text: &str, columns: usize) -> String {
        let line = cut(text, columns);
        if line == self.shown {
            return String::new();
        }
        self.shown = line;
        format!("\r\x1b[K{}", self.shown)
    }
}

/// Returns the width of the window.
fn columns() -> usize {
    match tcgetwinsize(stdout()) {
        Ok(size) if size.ws_col != 0 => usize::from(size.ws_col),
        _ => COLUMNS,
    }
}

/// Returns `text` as a line that doesn't reach the last of `columns`, behind which a terminal
/// would begin another line. A character whose width isn't known counts as one `?`.
fn cut(text: &str, columns: usize) -> String {
    let most = columns.saturating_sub(1);
    let seen = |char: char| {
        if char == ' ' || char.is_ascii_graphic() {
            char
        } else {
            '?'
        }
    };
    let line: String = text.trim_end().chars().map(seen).take(most + 1).collect();
    if line.len() <= most {
        return line;
    }
    let kept = most.saturating_sub(3);
    format!("{}{}", &line[..kept], &"..."[..most - kept])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_terminal_there_is_no_escape_code() {
        for (is_terminal, is_dumb) in [(false, false), (false, true), (true, true)] {
            let mut screen = Screen::new(is_terminal, is_dumb, false);
            assert!(!screen.is_live());
            assert_eq!(screen.coloured("ok", Colour::Green), "ok");
            screen.show("live");
            assert_eq!(screen.printed("stays\n"), "stays\n");
        }
    }

    #[test]
    fn colours_can_be_refused_and_the_live_line_stays() {
        let coloured = Screen::new(true, false, false).coloured("ok", Colour::Green);
        assert_eq!(coloured, "\x1b[32mok\x1b[0m");
        let mut plain = Screen::new(true, false, true);
        assert_eq!(plain.coloured("FAIL", Colour::Red), "FAIL");
        assert_eq!(plain.replaced("live", 80), "\r\x1b[Klive");
    }

    #[test]
    fn the_live_line_is_replaced_in_place_and_makes_room_for_lines_that_stay() {
        let mut screen = Screen::new(true, false, true);
        assert_eq!(screen.printed("first\n"), "first\n");
        assert_eq!(screen.replaced("one", 80), "\r\x1b[Kone");
        assert_eq!(screen.replaced("one", 80), "");
        assert_eq!(screen.replaced("two", 80), "\r\x1b[Ktwo");
        assert_eq!(screen.printed("stays\n"), "\r\x1b[Kstays\n");
        assert_eq!(screen.printed("stays\n"), "stays\n");
    }

    #[test]
    fn the_live_line_fits_the_window() {
        assert_eq!(cut("0123456789", 11), "0123456789");
        assert_eq!(cut("0123456789", 10), "012345...");
        assert_eq!(cut("0123456789", 3), "..");
        assert_eq!(cut("0123456789", 0), "");
        assert_eq!(cut("a\tb\x1b[Kc\u{e9}\u{4e2d}\n", 80), "a?b?[Kc??");
    }
}
