//! Command options as `getopt_long` takes them, from a table.
//!
//! Short options may be joined (`-ab`). The value of a short option stands behind it or
//! in the next word (`-e1`, `-e 1`), that of a long one behind `=` or in the next word.
//! A negative number is an operand, if no option of the command is a digit. A long name may be cut short as long as only one option begins so. Options and
//! operands may be mixed, and `--` ends the options. The words are checked in the order
//! in which they were typed, and the first error is reported in the words of the C
//! library.
//!
//! # Sources
//! POSIX.1-2017, XBD 12.2; the GNU C library manual, "Getopt".

use alloc::vec::Vec;
use core::fmt;

use super::status::Status;

/// An option that a command takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opt {
    /// The option's letter, which also stands for it in [`Parsed`].
    pub(super) short: char,
    /// The option's long name, without the dashes.
    pub(super) long: &'static str,
    /// The name of the option's value in the help; `None` if it takes no value.
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

/// A command's arguments, checked against its options.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Parsed<'a> {
    /// The letters of the options given, without [`HELP`], each with its value; the value
    /// is empty if the option takes none.
    pub(super) options: Vec<(char, &'a str)>,
    /// The words that are neither options nor their values.
    pub(super) operands: Vec<&'a str>,
    /// Whether [`HELP`] was given.
    pub(super) help: bool,
    /// The status of the command before this one.
    pub(super) last: Status,
}

/// Why arguments don't fit a command's options. Prints in the C library's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OptionError<'a> {
    /// `-x`, and there is no such option.
    Invalid(char),
    /// `--name`, and there is no such option.
    Unrecognized(&'a str),
    /// `--na`, and more than one option begins so.
    Ambiguous(&'a str),
    /// `-x` at the end, and it needs a value.
    ShortNeedsValue(char),
    /// `--name` at the end, and it needs a value.
    LongNeedsValue(&'static str),
    /// `--name=value`, and the option takes no value.
    LongTakesNoValue(&'static str),
}

impl fmt::Display for OptionError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(short) => write!(f, "invalid option -- '{short}'"),
            Self::Unrecognized(word) => write!(f, "unrecognized option '{word}'"),
            Self::Ambiguous(word) => write!(f, "option '{word}' is ambiguous"),
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

/// Returns `args` sorted into options of `table`, [`HELP`] and operands.
///
/// # Errors
/// [`OptionError`] for the first word that doesn't fit.
pub(super) fn parse_options<'a>(
    table: &[Opt],
    args: &[&'a str],
) -> Result<Parsed<'a>, OptionError<'a>> {
    parse(table, args, false)
}

/// Returns `args` as [`parse_options`] does, but the options end with the first operand: it and
/// all words behind it are operands.
///
/// # Errors
/// As those of [`parse_options`].
pub(super) fn parse_command<'a>(
    table: &[Opt],
    args: &[&'a str],
) -> Result<Parsed<'a>, OptionError<'a>> {
    parse(table, args, true)
}

fn parse<'a>(
    table: &[Opt],
    args: &[&'a str],
    ends_at_operand: bool,
) -> Result<Parsed<'a>, OptionError<'a>> {
    let mut parsed = Parsed::default();
    let mut words = args.iter().copied();
    while let Some(word) = words.next() {
        if word == "--" {
            parsed.operands.extend(words.by_ref());
        } else if word.starts_with("--") {
            long(table, word, &mut words, &mut parsed)?;
        } else if let Some(letters) = word
            .strip_prefix('-')
            .filter(|rest| is_options(table, rest))
        {
            short(table, letters, &mut words, &mut parsed)?;
        } else {
            parsed.operands.push(word);
            if ends_at_operand {
                parsed.operands.extend(words.by_ref());
            }
        }
    }
    Ok(parsed)
}

/// Returns whether `rest`, which stands behind a dash, is short options. It isn't if it is nothing,
/// or a number: `-1` is one where no option is a digit.
fn is_options(table: &[Opt], rest: &str) -> bool {
    let is_digit = |c: char| c.is_ascii_digit();
    !rest.chars().all(is_digit) || table.iter().any(|option| is_digit(option.short))
}

/// Returns the options in `table`, and [`HELP`].
fn known(table: &[Opt]) -> impl Iterator<Item = &Opt> {
    table.iter().chain([&HELP])
}

/// Returns the option of `table`, or [`HELP`], whose name is `name`, or else the only one
/// whose name begins with `name`. `word` is the word that was typed, for the error.
fn named<'t, 'a>(table: &'t [Opt], name: &str, word: &'a str) -> Result<&'t Opt, OptionError<'a>> {
    let mut beginning = known(table).filter(|option| option.long.starts_with(name));
    match known(table).find(|option| option.long == name) {
        Some(option) => Ok(option),
        None => match (beginning.next(), beginning.next()) {
            (Some(option), None) => Ok(option),
            (Some(_), Some(_)) => Err(OptionError::Ambiguous(word)),
            (None, _) => Err(OptionError::Unrecognized(word)),
        },
    }
}

impl<'a> Parsed<'a> {
    /// Returns `args` with nothing among them taken for an option.
    pub(super) fn of_words(args: &[&'a str]) -> Parsed<'a> {
        Parsed {
            operands: args.into(),
            ..Parsed::default()
        }
    }

    /// Returns whether the option of letter `short` was given.
    pub(super) fn has(&self, short: char) -> bool {
        self.options.iter().any(|(letter, _)| *letter == short)
    }

    /// Returns the value of the option of letter `short`; that of the last, if it was given more
    /// than once.
    pub(super) fn value(&self, short: char) -> Option<&'a str> {
        let given = self.options.iter().rev();
        let mut values = given.filter(|(letter, _)| *letter == short);
        values.next().map(|(_, value)| *value)
    }

    /// Adds `option` with `value`, which is empty if the option takes none.
    fn take(&mut self, option: &Opt, value: &'a str) {
        if option.long == HELP.long {
            self.help = true;
        } else {
            self.options.push((option.short, value));
        }
    }
}

/// Adds the long option `word` to `parsed`. Takes its value from behind the `=`, or else
/// from `words`.
fn long<'a>(
    table: &[Opt],
    word: &'a str,
    words: &mut impl Iterator<Item = &'a str>,
    parsed: &mut Parsed<'a>,
) -> Result<(), OptionError<'a>> {
    let body = &word[2..];
    let (name, given) = match body.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (body, None),
    };
    let option = named(table, name, word)?;
    let value = match (option.value, given) {
        (None, None) => "",
        (None, Some(_)) => return Err(OptionError::LongTakesNoValue(option.long)),
        (Some(_), given) => given
            .or_else(|| words.next())
            .ok_or(OptionError::LongNeedsValue(option.long))?,
    };
    parsed.take(option, value);
    Ok(())
}

/// Adds the joined short options `letters` to `parsed`. The first option with a
/// value takes the rest of `letters` as its value, or else the next of `words`.
fn short<'a>(
    table: &[Opt],
    letters: &'a str,
    words: &mut impl Iterator<Item = &'a str>,
    parsed: &mut Parsed<'a>,
) -> Result<(), OptionError<'a>> {
    let mut letters = letters.chars();
    while let Some(letter) = letters.next() {
        let mut options = known(table);
        let option = options
            .find(|option| option.short == letter)
            .ok_or(OptionError::Invalid(letter))?;
        if option.value.is_none() {
            parsed.take(option, "");
            continue;
        }
        let rest = Some(letters.as_str()).filter(|rest| !rest.is_empty());
        let value = rest
            .or_else(|| words.next())
            .ok_or(OptionError::ShortNeedsValue(letter))?;
        parsed.take(option, value);
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

    fn split(words: &str) -> Vec<&str> {
        words.split_whitespace().collect()
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
            ("-1 -x -20", &[('x', "")], &["-1", "-20"]),
            (
                "--en 1 --hex --en=2",
                &[('e', "1"), ('x', ""), ('e', "2")],
                &[],
            ),
        ] {
            let args = split(words);
            let parsed = parse_options(&TABLE, &args).unwrap();
            assert_eq!(parsed.options, options, "{words}");
            assert_eq!(parsed.operands, operands, "{words}");
        }
    }

    #[test]
    fn the_options_of_a_command_behind_are_its_own() {
        let args = split("-x stop -v --no");
        let parsed = parse_command(&TABLE, &args).unwrap();
        assert_eq!((parsed.has('x'), parsed.has('e')), (true, false));
        assert_eq!(parsed.operands, ["stop", "-v", "--no"]);
        let args = split("-e 1 -x -e 2");
        assert_eq!(parse_command(&TABLE, &args).unwrap().value('e'), Some("2"));
    }

    #[test]
    fn the_help_is_not_one_of_the_options() {
        let human = Opt {
            short: 'h',
            long: "human",
            ..TABLE[1]
        };
        for (words, help, options) in [
            ("--help", true, &[][..]),
            ("--hel", true, &[]),
            ("-h", false, &[('h', "")]),
            ("--hu -h", false, &[('h', ""), ('h', "")]),
        ] {
            let args = split(words);
            let parsed = parse_options(&[human], &args).unwrap();
            assert_eq!(
                (parsed.help, &parsed.options[..]),
                (help, options),
                "{words}"
            );
        }
        assert!(parse_options(&TABLE, &split("-h")).unwrap().help);
    }

    #[test]
    fn errors_read_as_those_of_the_c_library() {
        for (words, message) in [
            ("-z", "invalid option -- 'z'"),
            ("-xz", "invalid option -- 'z'"),
            ("-é", "invalid option -- 'é'"),
            ("--foo=1", "unrecognized option '--foo=1'"),
            ("--he", "option '--he' is ambiguous"),
            ("--hexa", "unrecognized option '--hexa'"),
            ("-e", "option requires an argument -- 'e'"),
            ("--enable", "option '--enable' requires an argument"),
            ("--hex=1", "option '--hex' doesn't allow an argument"),
        ] {
            let args = split(words);
            let error = parse_options(&TABLE, &args).unwrap_err();
            assert_eq!(error.to_string(), message);
        }
    }
}
