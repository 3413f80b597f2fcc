//! Command options as `getopt_long` takes them, from a table.
//!
//! Short options may be joined (`-ab`) and carry their value behind them or in
//! the next word (`-e1`, `-e 1`), long ones behind `=` or in the next word;
//! options and operands may be mixed, and `--` ends the options. What people
//! typed is judged in its order, and the first thing wrong is reported in the
//! words of the C library.
//!
//! # Sources
//! POSIX.1-2017, XBD 12.2; the GNU C library manual, "Getopt".

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// An option that a command takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opt {
    /// Its letter, which also stands for it in [`Parsed`].
    pub(super) short: char,
    /// Its long name, without the dashes.
    pub(super) long: &'static str,
    /// How the help names its value; `None` if it takes none.
    pub(super) value: Option<&'static str>,
    /// One line of help.
    pub(super) help: &'static str,
}

/// The option that every command has.
pub(super) const HELP: Opt = Opt {
    short: 'h',
    long: "help",
    value: None,
    help: "display this help",
};

/// A command's arguments, judged.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Parsed<'a> {
    /// The options given, by their letter, with their values.
    pub(super) options: Vec<(char, &'a str)>,
    /// The other words.
    pub(super) operands: Vec<&'a str>,
}

/// Why arguments don't fit a command's options. Prints in the C library's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OptionError<'a> {
    /// `-x`, and there is no such option.
    Invalid(char),
    /// `--name`, and there is no such option.
    Unrecognized(&'a str),
    /// `-x` at the end, and it needs a value.
    ShortNeedsValue(char),
    /// `--name` at the end, and it needs a value.
    LongNeedsValue(&'static str),
    /// `--name=value`, and it takes none.
    LongTakesNoValue(&'static str),
}

impl fmt::Display for OptionError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(short) => write!(f, "invalid option -- '{short}'"),
            Self::Unrecognized(word) => write!(f, "unrecognized option '{word}'"),
            Self::ShortNeedsValue(short) => {
                write!(f, "option requires an argument -- '{short}'")
            }
            Self::LongNeedsValue(long) => write!(f, "option '--{long}' requires an argument"),
            Self::LongTakesNoValue(long) => {
                write!(f, "option '--{long}' doesn't allow an argument")
            }
        }
    }
}

/// Judges `args` by the options in `table` and [`HELP`].
///
/// # Errors
/// [`OptionError`] for the first word that doesn't fit.
pub(super) fn parse_options<'a>(
    table: &[Opt],
    args: &'a [String],
) -> Result<Parsed<'a>, OptionError<'a>> {
    let mut parsed = Parsed::default();
    let mut words = args.iter().map(String::as_str);
    while let Some(word) = words.next() {
        if word == "--" {
            parsed.operands.extend(words.by_ref());
        } else if word.starts_with("--") {
            parsed.options.push(long(table, word, &mut words)?);
        } else if let Some(letters) = word.strip_prefix('-').filter(|rest| !rest.is_empty()) {
            short(table, letters, &mut words, &mut parsed.options)?;
        } else {
            parsed.operands.push(word);
        }
    }
    Ok(parsed)
}

/// The option in `table`, or [`HELP`], that `is_it` knows.
fn find(table: &[Opt], is_it: impl Fn(&Opt) -> bool) -> Option<&Opt> {
    table.iter().chain([&HELP]).find(|option| is_it(option))
}

/// Takes the long option `word`, and its value from `words` if that is there.
fn long<'a>(
    table: &[Opt],
    word: &'a str,
    words: &mut impl Iterator<Item = &'a str>,
) -> Result<(char, &'a str), OptionError<'a>> {
    let body = &word[2..];
    let (name, given) = match body.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (body, None),
    };
    let option =
        find(table, |option| option.long == name).ok_or(OptionError::Unrecognized(word))?;
    let value = match (option.value, given) {
        (None, None) => "",
        (None, Some(_)) => return Err(OptionError::LongTakesNoValue(option.long)),
        (Some(_), given) => given
            .or_else(|| words.next())
            .ok_or(OptionError::LongNeedsValue(option.long))?,
    };
    Ok((option.short, value))
}

/// Takes the joined short options `letters` into `options`; the first that has a
/// value takes the rest as its value, or the next of `words`.
fn short<'a>(
    table: &[Opt],
    letters: &'a str,
    words: &mut impl Iterator<Item = &'a str>,
    options: &mut Vec<(char, &'a str)>,
) -> Result<(), OptionError<'a>> {
    let mut letters = letters.chars();
    while let Some(letter) = letters.next() {
        let option =
            find(table, |option| option.short == letter).ok_or(OptionError::Invalid(letter))?;
        if option.value.is_none() {
            options.push((letter, ""));
            continue;
        }
        let rest = Some(letters.as_str()).filter(|rest| !rest.is_empty());
        let value = rest
            .or_else(|| words.next())
            .ok_or(OptionError::ShortNeedsValue(letter))?;
        options.push((letter, value));
        break;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    const TABLE: [Opt; 2] = [
        Opt {
            short: 'e',
            long: "enable",
            value: Some("LIST"),
            help: "",
        },
        Opt {
            short: 'x',
            long: "hex",
            value: None,
            help: "",
        },
    ];

    fn strings(words: &str) -> Vec<String> {
        words.split_whitespace().map(String::from).collect()
    }

    #[test]
    fn every_form_of_an_option_is_taken() {
        for (words, options, operands) in [
            ("", &[][..], &[][..]),
            ("-e 1", &[('e', "1")], &[]),
            ("-e1-3", &[('e', "1-3")], &[]),
            ("-xe 1 y", &[('x', ""), ('e', "1")], &["y"]),
            ("--enable=1 --enable 2", &[('e', "1"), ('e', "2")], &[]),
            ("--enable=", &[('e', "")], &[]),
            ("a -x b", &[('x', "")], &["a", "b"]),
            ("- -- -x --", &[], &["-", "-x", "--"]),
            ("--help -h", &[('h', ""), ('h', "")], &[]),
        ] {
            let args = strings(words);
            let parsed = parse_options(&TABLE, &args).unwrap();
            assert_eq!(parsed.options, options, "{words}");
            assert_eq!(parsed.operands, operands, "{words}");
        }
    }

    #[test]
    fn errors_read_as_those_of_the_c_library() {
        for (words, message) in [
            ("-z", "invalid option -- 'z'"),
            ("-xz", "invalid option -- 'z'"),
            ("-é", "invalid option -- 'é'"),
            ("--foo=1", "unrecognized option '--foo=1'"),
            ("-e", "option requires an argument -- 'e'"),
            ("--enable", "option '--enable' requires an argument"),
            ("--hex=1", "option '--hex' doesn't allow an argument"),
        ] {
            let args = strings(words);
            let error = parse_options(&TABLE, &args).unwrap_err();
            assert_eq!(error.to_string(), message);
        }
    }
}
