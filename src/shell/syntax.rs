//! From a line to commands: words, quotes, and `;`.
//!
//! A small part of the POSIX shell's grammar, with the same meaning. Commands are
//! separated by `;` or a newline, words by other white space. Single quotes keep
//! everything literal. Double quotes do too, except a backslash before `"`, `\`, `$`
//! or a backquote. Outside of quotes a backslash keeps the next character literal. An
//! empty line holds no command; an empty command in front of a `;` is an error. A `#`
//! at the beginning of a word starts a comment, which ends with the line.
//!
//! Behind `echo`, `> FILE` says where its words are written.
//!
//! Operators and expansions that a real shell has and this one lacks (`|`, `&`, `<`,
//! other `>`, parentheses, and outside of single quotes `$` and the backquote) are errors, so
//! that `echo` doesn't print them as if nothing were wrong. The whole line is parsed
//! before any of it runs, so an error in its last command keeps the first from running.
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

/// One command of a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Simple<'a> {
    /// The command as it stands in the line.
    pub(super) text: &'a str,
    /// Its words.
    pub(super) words: Words,
    /// The word behind its `>`.
    pub(super) file: Option<String>,
}

/// Why a line is not a sequence of commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SyntaxError {
    /// The line ends inside these quotes.
    Unterminated(char),
    /// The line ends after a backslash.
    TrailingBackslash,
    /// An operator or an expansion that this shell doesn't have.
    Operator(char),
    /// There is no word behind a `>`.
    NoFile,
    /// There is no command in front of a `;`.
    EmptyCommand,
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unterminated(quote) => write!(f, "syntax error: unmatched {quote}"),
            Self::TrailingBackslash => f.write_str("syntax error: nothing after \\"),
            Self::Operator(operator) => {
                write!(f, "syntax error: '{operator}' is not supported")
            }
            Self::NoFile => f.write_str("syntax error: no file behind >"),
            Self::EmptyCommand => f.write_str("syntax error near unexpected token ';'"),
        }
    }
}

impl core::error::Error for SyntaxError {}

/// Returns the commands of `line`, in order.
///
/// # Errors
/// [`SyntaxError`] with the first thing wrong.
pub(super) fn parse_line(line: &str) -> Result<Vec<Simple<'_>>, SyntaxError> {
    let mut commands = Vec::new();
    let mut words = Words::new();
    // `None` between words; a pair of quotes with nothing in it makes an empty word.
    let mut word: Option<String> = None;
    // How many words stand in front of a `>`.
    let mut before_file: Option<usize> = None;
    let mut from = 0;
    let mut chars = line.chars();
    loop {
        let at = line.len() - chars.as_str().len();
        let next = chars.next();
        match next {
            None | Some(';' | '\n') => {
                words.extend(word.take());
                if words.is_empty() {
                    if next == Some(';') {
                        return Err(SyntaxError::EmptyCommand);
                    }
                } else {
                    let text = line[from..at].trim();
                    let mut words = take(&mut words);
                    let file = before_file.take().map(|at| {
                        let is_there = at < words.len();
                        is_there.then(|| words.remove(at))
                    });
                    let file = file.map(|file| file.ok_or(SyntaxError::NoFile));
                    let file = file.transpose()?;
                    commands.push(Simple { text, words, file });
                }
                if next.is_none() {
                    return Ok(commands);
                }
                from = at + 1;
            }
            Some('#') if word.is_none() => {
                let comment = chars.as_str();
                let end = comment.find('\n').unwrap_or(comment.len());
                chars = comment[end..].chars();
            }
            Some(c) if c.is_ascii_whitespace() => words.extend(word.take()),
            Some(c @ ('\'' | '"')) => quoted(c, &mut chars, word.get_or_insert_default())?,
            Some('\\') => {
                let literal = chars.next().ok_or(SyntaxError::TrailingBackslash)?;
                word.get_or_insert_default().push(literal);
            }
            Some('>') if takes_file(&words, word.as_deref()) && before_file.is_none() => {
                words.extend(word.take());
                before_file = Some(words.len());
            }
            Some(c @ ('|' | '&' | '<' | '>' | '(' | ')' | '$' | '`')) => {
                return Err(SyntaxError::Operator(c));
            }
            Some(c) => word.get_or_insert_default().push(c),
        }
    }
}

/// Returns the last command of the beginning of a line, or `None` if the beginning ends inside
/// quotes or in a comment.
pub(super) fn last_command(begun: &str) -> Option<&str> {
    let mut from = 0;
    let mut before = ' ';
    let mut chars = begun.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            ';' | '\n' => from = at + 1,
            '\'' | '"' => {
                while let (_, inside) = chars.next()?
                    && inside != c
                {
                    if inside == '\\' && c == '"' {
                        chars.next()?;
                    }
                }
            }
            '\\' => {
                chars.next()?;
            }
            '#' if before.is_ascii_whitespace() || before == ';' => return None,
            _ => {}
        }
        before = c;
    }
    Some(&begun[from..])
}

/// Returns whether a `>` may stand behind these words, of which `word` is the last if nothing
/// is between the two. A number there would be the number of a file, as in `2>`.
fn takes_file(words: &[String], word: Option<&str>) -> bool {
    let name = words.first().map(String::as_str).or(word);
    let is_number = |word: &str| word.bytes().all(|byte| byte.is_ascii_digit());
    name == Some("echo") && !word.is_some_and(is_number)
}

/// Moves the characters before the closing `quote` from `chars` to `word`.
fn quoted(quote: char, chars: &mut Chars<'_>, word: &mut String) -> Result<(), SyntaxError> {
    while let Some(c) = chars.next() {
        match c {
            c if c == quote => return Ok(()),
            '\\' if quote == '"' => match chars.next() {
                Some(escaped @ ('"' | '\\' | '$' | '`')) => word.push(escaped),
                Some(other) => word.extend(['\\', other]),
                None => break,
            },
            '$' | '`' if quote == '"' => return Err(SyntaxError::Operator(c)),
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
        let cases: [(&str, &[&[&str]]); 18] = [
            ("", &[]),
            (" \t ", &[]),
            (" \n\n\t\n", &[]),
            ("lscpu", &[&["lscpu"]]),
            ("a b;c", &[&["a", "b"], &["c"]]),
            ("a;\n\n b;", &[&["a"], &["b"]]),
            ("a\nb\r\n", &[&["a"], &["b"]]),
            ("echo 'a; b' \"c  d\"", &[&["echo", "a; b", "c  d"]]),
            ("echo a\\;b \\ c", &[&["echo", "a;b", " c"]]),
            ("echo \"\\\"\\\\\\n\"", &[&["echo", "\"\\\\n"]]),
            ("echo '\\'", &[&["echo", "\\"]]),
            ("echo '' \"\"", &[&["echo", "", ""]]),
            ("e'ch'\"o\" x'|'y", &[&["echo", "x|y"]]),
            ("echo -e --d=é", &[&["echo", "-e", "--d=é"]]),
            ("# a > b", &[]),
            ("a # b; c\nd #", &[&["a"], &["d"]]),
            ("a#b '#' \\# ''#", &[&["a#b", "#", "#", "#"]]),
            ("echo '$`' \"\\$\\`\" \\$", &[&["echo", "$`", "$`", "$"]]),
        ];
        for (line, commands) in cases {
            let parsed = parse_line(line).unwrap();
            let words: Vec<Words> = parsed.into_iter().map(|command| command.words).collect();
            assert_eq!(words, commands, "{line:?}");
        }
    }

    #[test]
    fn echo_may_have_a_file() {
        for (line, words, file) in [
            ("echo 0 > /sys/x", &["echo", "0"] as &[&str], Some("/sys/x")),
            ("echo 0 >/sys/x", &["echo", "0"], Some("/sys/x")),
            ("echo > x a b", &["echo", "a", "b"], Some("x")),
            ("echo a>'b c'", &["echo", "a"], Some("b c")),
            ("echo>x", &["echo"], Some("x")),
            ("echo '>' x", &["echo", ">", "x"], None),
        ] {
            let parsed = parse_line(line).unwrap();
            assert_eq!(parsed.len(), 1, "{line:?}");
            assert_eq!(
                (&*parsed[0].words, parsed[0].file.as_deref()),
                (&*owned(words), file)
            );
        }
    }

    fn owned(words: &[&str]) -> Words {
        words.iter().map(|word| String::from(*word)).collect()
    }

    #[test]
    fn the_last_command_is_behind_a_semicolon_outside_of_quotes() {
        for (begun, command) in [
            ("", Some("")),
            ("a; b c", Some(" b c")),
            ("echo 'a; b'", Some("echo 'a; b'")),
            ("echo 'a; b' \"c;\";d", Some("d")),
            ("echo a\\;b", Some("echo a\\;b")),
            ("echo \"\\\";\"", Some("echo \"\\\";\"")),
            ("echo a#b;c", Some("c")),
            ("echo 'a; b", None),
            ("echo \"a; b'", None),
            ("echo \"\\\"; b", None),
            ("a; # b; c", None),
            ("a;#", None),
            ("a\\", None),
        ] {
            assert_eq!(last_command(begun), command, "{begun:?}");
        }
    }

    #[test]
    fn the_text_of_a_command_is_what_was_written() {
        let parsed = parse_line(" echo  'a; b' ; lscpu -e # all\n\techo ü;").unwrap();
        let texts: Vec<&str> = parsed.iter().map(|command| command.text).collect();
        assert_eq!(texts, ["echo  'a; b'", "lscpu -e # all", "echo ü"]);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        use SyntaxError::{EmptyCommand, NoFile, Operator, TrailingBackslash, Unterminated};
        for (line, error) in [
            ("echo 'a", Unterminated('\'')),
            ("a; echo \"b", Unterminated('"')),
            ("\"\\", Unterminated('"')),
            ("echo \\", TrailingBackslash),
            ("echo 0> /sys/x", Operator('>')),
            ("echo 0 >> /sys/x", Operator('>')),
            ("echo 0 > /sys/x > /sys/y", Operator('>')),
            ("lscpu > /sys/x", Operator('>')),
            ("> /sys/x", Operator('>')),
            ("echo >", NoFile),
            ("echo 1 > # x", NoFile),
            ("echo 1 >; lscpu", NoFile),
            ("a | b", Operator('|')),
            ("a && b", Operator('&')),
            ("(a)", Operator('(')),
            ("echo $HOME", Operator('$')),
            ("echo \"$HOME\"", Operator('$')),
            ("echo `a`", Operator('`')),
            ("lscpu ;; lscpu", EmptyCommand),
            (" ; ", EmptyCommand),
            ("a; ;", EmptyCommand),
            ("a\n; b", EmptyCommand),
        ] {
            assert_eq!(parse_line(line), Err(error), "{line:?}");
        }
    }
}
