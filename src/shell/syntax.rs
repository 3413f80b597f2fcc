//! From a line to commands: words, quotes, and `;`.
//!
//! A small part of the POSIX shell's grammar, with its meaning. Commands are
//! separated by `;` or a newline, words by other white space. Single quotes keep
//! everything literal; double quotes too, but for a backslash before `"` or `\`;
//! outside of quotes a backslash keeps the next character literal. An empty
//! command is skipped.
//!
//! Operators that a real shell would act on (`|`, `&`, `<`, `>`, parentheses)
//! are refused, not printed by `echo` as if nothing were wrong. A line is parsed
//! whole before any of it runs, so an error in its last command stops the first.
//!
//! # Sources
//! POSIX.1-2017, XCU chapter 2, "Quoting" and "Token Recognition".

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::mem::take;
use core::str::Chars;

/// A command and its arguments, quotes taken off; never empty.
pub(super) type Words = Vec<String>;

/// Why a line is not a sequence of commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SyntaxError {
    /// The line ends inside these quotes.
    Unterminated(char),
    /// The line ends after a backslash.
    TrailingBackslash,
    /// An operator that this shell doesn't have.
    Operator(char),
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unterminated(quote) => write!(f, "syntax error: unmatched {quote}"),
            Self::TrailingBackslash => f.write_str("syntax error: nothing after \\"),
            Self::Operator(operator) => {
                write!(f, "syntax error: '{operator}' is not supported")
            }
        }
    }
}

impl core::error::Error for SyntaxError {}

/// The commands of `line`, in order.
///
/// # Errors
/// [`SyntaxError`] with the first thing wrong.
pub(super) fn parse_line(line: &str) -> Result<Vec<Words>, SyntaxError> {
    let mut commands = Vec::new();
    let mut words = Words::new();
    // `None` between words; quotes alone make an empty word.
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            ';' | '\n' => {
                words.extend(word.take());
                if !words.is_empty() {
                    commands.push(take(&mut words));
                }
            }
            c if c.is_ascii_whitespace() => words.extend(word.take()),
            '\'' | '"' => quoted(c, &mut chars, word.get_or_insert_default())?,
            '\\' => {
                let literal = chars.next().ok_or(SyntaxError::TrailingBackslash)?;
                word.get_or_insert_default().push(literal);
            }
            '|' | '&' | '<' | '>' | '(' | ')' => return Err(SyntaxError::Operator(c)),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    if !words.is_empty() {
        commands.push(words);
    }
    Ok(commands)
}

/// Takes what stands before the closing `quote` from `chars` to `word`.
fn quoted(quote: char, chars: &mut Chars<'_>, word: &mut String) -> Result<(), SyntaxError> {
    while let Some(c) = chars.next() {
        match c {
            c if c == quote => return Ok(()),
            '\\' if quote == '"' => match chars.next() {
                Some(escaped @ ('"' | '\\')) => word.push(escaped),
                Some(other) => word.extend(['\\', other]),
                None => break,
            },
            c => word.push(c),
        }
    }
    Err(SyntaxError::Unterminated(quote))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_quotes_and_sequences() {
        let cases: [(&str, &[&[&str]]); 14] = [
            ("", &[]),
            (" \t ", &[]),
            (";; ;\n;", &[]),
            ("lscpu", &[&["lscpu"]]),
            ("a b;c", &[&["a", "b"], &["c"]]),
            ("a;;b;", &[&["a"], &["b"]]),
            ("a\nb\r\n", &[&["a"], &["b"]]),
            ("echo 'a; b' \"c  d\"", &[&["echo", "a; b", "c  d"]]),
            ("echo a\\;b \\ c", &[&["echo", "a;b", " c"]]),
            ("echo \"\\\"\\\\\\n\"", &[&["echo", "\"\\\\n"]]),
            ("echo '\\'", &[&["echo", "\\"]]),
            ("echo '' \"\"", &[&["echo", "", ""]]),
            ("e'ch'\"o\" x'|'y", &[&["echo", "x|y"]]),
            ("echo -e --d=é", &[&["echo", "-e", "--d=é"]]),
        ];
        for (line, commands) in cases {
            assert_eq!(parse_line(line).unwrap(), commands, "{line:?}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        use SyntaxError::{Operator, TrailingBackslash, Unterminated};
        for (line, error) in [
            ("echo 'a", Unterminated('\'')),
            ("a; echo \"b", Unterminated('"')),
            ("\"\\", Unterminated('"')),
            ("echo \\", TrailingBackslash),
            ("echo 0 > /sys/x", Operator('>')),
            ("a | b", Operator('|')),
            ("a && b", Operator('&')),
            ("(a)", Operator('(')),
        ] {
            assert_eq!(parse_line(line), Err(error), "{line:?}");
        }
    }
}
