//! The words of the kernel command line, split as Linux splits them.
//!
//! White space separates words, except between double quotes. Quotes around a value
//! (`init="a; b"`) or around the whole word (`"init=a; b"`) are removed; quotes elsewhere in
//! a word stay. A double quote can't be escaped.
//!
//! # Sources
//! Linux `lib/cmdline.c`, `next_arg`.

use core::fmt;

use crate::escape::Escaped;

/// One word of the command line: `name` or `name=value`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BootArg<'a> {
    /// The part before the first `=`, or the whole word.
    pub name: &'a str,
    /// The part after the `=` without its quotes, if there is an `=`.
    pub value: Option<&'a str>,
}

impl fmt::Display for BootArg<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped(self.name.as_bytes()).fmt(f)?;
        match self.value {
            None => Ok(()),
            Some(value) => write!(f, "={}", Escaped(value.as_bytes())),
        }
    }
}

/// Returns the words of `line`, each with its quotes. A word may not be UTF-8, because the
/// line comes from outside.
pub(super) fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    Words { rest: line }
}

/// The iterator that [`words`] returns.
struct Words<'a> {
    /// The part of the line that has not been returned.
    rest: &'a [u8],
}

impl<'a> Iterator for Words<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest.trim_ascii_start();
        if rest.is_empty() {
            return None;
        }
        let mut in_quotes = false;
        let end = rest
            .iter()
            .position(|byte| {
                in_quotes ^= *byte == b'"';
                byte.is_ascii_whitespace() && !in_quotes
            })
            .unwrap_or(rest.len());
        let (word, rest) = rest.split_at(end);
        self.rest = rest;
        Some(word)
    }
}

impl<'a> BootArg<'a> {
    /// Returns the name and the value of `word`, which [`words`] has returned.
    pub(super) fn new(word: &'a str) -> BootArg<'a> {
        let unquoted = word.strip_prefix('"');
        let quoted = unquoted.is_some();
        let word = unquoted.unwrap_or(word);
        // An `=` in front is part of the name, as in Linux.
        let equals = word.bytes().skip(1).position(|byte| byte == b'=');
        match equals {
            Some(equals) => {
                let value = &word[equals + 2..];
                let inner = value.strip_prefix('"').or(quoted.then_some(value));
                BootArg {
                    name: &word[..=equals],
                    value: Some(inner.map_or(value, without_closing_quote)),
                }
            }
            None => BootArg {
                name: unquoted.map_or(word, without_closing_quote),
                value: None,
            },
        }
    }
}

/// Returns `text`, the rest of a word after an opening quote, without its closing quote.
fn without_closing_quote(text: &str) -> &str {
    text.strip_suffix('"').unwrap_or(text)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    fn split(line: &str) -> Vec<(&str, Option<&str>)> {
        words(line.as_bytes())
            .map(|word| BootArg::new(core::str::from_utf8(word).unwrap()))
            .map(|arg| (arg.name, arg.value))
            .collect()
    }

    #[test]
    fn words_split_as_in_linux() {
        assert_eq!(split(""), []);
        assert_eq!(split(" \t\n "), []);
        assert_eq!(split("quiet  a=b "), [("quiet", None), ("a", Some("b"))]);
        assert_eq!(split("a=\"b c\" d"), [("a", Some("b c")), ("d", None)]);
        assert_eq!(split("\"a=b c\" d"), [("a", Some("b c")), ("d", None)]);
        assert_eq!(split("\"a b\" c"), [("a b", None), ("c", None)]);
        assert_eq!(split("a=\"b c"), [("a", Some("b c"))]);
        assert_eq!(split("a="), [("a", Some(""))]);
        assert_eq!(split("a=\""), [("a", Some(""))]);
        assert_eq!(split("\""), [("", None)]);
        assert_eq!(split("=x"), [("=x", None)]);
        assert_eq!(split("=x=y"), [("=x", Some("y"))]);
        assert_eq!(split("a=b=c"), [("a", Some("b=c"))]);
        // Quotes in the middle protect, and stay.
        assert_eq!(split("a=b\" \"c d"), [("a", Some("b\" \"c")), ("d", None)]);
        assert_eq!(split("é=\"ü ö\""), [("é", Some("ü ö"))]);
    }
}
