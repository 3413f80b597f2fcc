//! Completion of command names, and the word boundaries that the cursor keys use.

use alloc::string::String;
use alloc::vec::Vec;

/// How a name of which the beginning has been typed can go on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Completion<'n> {
    /// All names that begin so go on with this text; a space ends a unique name.
    Certain(String),
    /// These names begin so, and differ in the next character.
    OneOf(Vec<&'n str>),
}

/// Returns how the command name at the end of `before` goes on, by the list `names`;
/// `None` if no name begins so, or if `before` has something behind the name already.
pub(super) fn completion<'n>(
    before: &str,
    names: impl Iterator<Item = &'n str>,
) -> Option<Completion<'n>> {
    let begun = before.rsplit(';').next()?.trim_start();
    let fits: Vec<&str> = names.filter(|name| name.starts_with(begun)).collect();
    let (first, others) = fits.split_first()?;
    if others.is_empty() {
        return Some(Completion::Certain(
            String::from(&first[begun.len()..]) + " ",
        ));
    }
    let common = others.iter().fold(*first, |common, name| {
        let same = common.chars().zip(name.chars()).take_while(|(a, b)| a == b);
        &common[..same.map(|(c, _)| c.len_utf8()).sum()]
    });
    Some(match &common[begun.len()..] {
        "" => Completion::OneOf(fits),
        more => Completion::Certain(more.into()),
    })
}

/// Returns how many characters lie between the beginning of the last word of `before` and
/// its end.
pub(super) fn to_word_start(before: &str) -> usize {
    let backwards = before.chars().rev().skip_while(|c| c.is_whitespace());
    let spaces = before.chars().count() - before.trim_end().chars().count();
    spaces + backwards.take_while(|c| !c.is_whitespace()).count()
}

/// Returns how many characters lie between the beginning of `after` and the end of its
/// first word.
pub(super) fn to_word_end(after: &str) -> usize {
    let word = after.trim_start();
    let spaces = after.chars().count() - word.chars().count();
    spaces + word.chars().take_while(|c| !c.is_whitespace()).count()
}

#[cfg(test)]
mod tests {
    use super::Completion::{Certain, OneOf};
    use super::*;

    #[test]
    fn a_name_goes_on_as_far_as_it_is_certain() {
        let names = ["states", "stop", "status", "echo"];
        for (before, wanted) in [
            ("e", Some(Certain("cho ".into()))),
            ("echo", Some(Certain(" ".into()))),
            ("sta", Some(Certain("t".into()))),
            ("st", Some(OneOf(["states", "stop", "status"].into()))),
            ("", Some(OneOf(names.into()))),
            ("echo 1;  ec", Some(Certain("ho ".into()))),
            ("x", None),
            ("é", None),
            ("echo e", None),
            ("echo ", None),
        ] {
            assert_eq!(completion(before, names.into_iter()), wanted, "{before:?}");
        }
    }

    #[test]
    fn words_are_what_stands_between_spaces() {
        for (text, start, end) in [
            ("", 0, 0),
            ("ab", 2, 2),
            ("ab cé", 2, 2),
            ("  ab  ", 4, 4),
            ("日本\u{3000}ü ", 2, 2),
            ("  ", 2, 2),
        ] {
            assert_eq!(
                (to_word_start(text), to_word_end(text)),
                (start, end),
                "{text:?}"
            );
        }
    }
}
