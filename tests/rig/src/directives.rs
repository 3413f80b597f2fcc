//! What a test kernel says of itself in the first lines of its source;
//! docs/testing.md lists the words.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use regex_lite::Regex;

/// What one test kernel says of itself.
#[derive(Clone, Debug, Default)]
pub struct Directives {
    all: Vec<Directive>,
}

#[derive(Clone, Debug)]
struct Directive {
    /// The cases that it is for, as the text of a regular expression; all, if it stands
    /// above the first `case`.
    cases: Option<Regex>,
    /// The word, in lower case, with `-` for `_`.
    word: String,
    value: String,
}

impl Directives {
    /// Returns what the source in `path` says.
    ///
    /// # Errors
    ///
    /// The file can't be read, or names cases by what is no regular expression.
    pub fn read(path: &Path) -> Result<Directives> {
        let source = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        Directives::parse(&source).with_context(|| path.display().to_string())
    }

    /// Returns what `source` says: in lines `//@ word: value`, or `//! WORD: value`,
    /// before the first line of code.
    ///
    /// # Errors
    ///
    /// Cases are named by what is no regular expression.
    pub fn parse(source: &str) -> Result<Directives> {
        let mut all = Vec::new();
        let mut cases = None;
        for line in source.lines() {
            let Some((word, value)) = (match comment(line) {
                None => break,
                Some(said) => said,
            }) else {
                continue;
            };
            if word == "case" {
                let pattern = value.trim();
                cases = Some(
                    Regex::new(&format!("^(?:{pattern})$"))
                        .with_context(|| format!("case: {pattern}"))?,
                );
            } else {
                all.push(Directive {
                    cases: cases.clone(),
                    word,
                    value: value.to_owned(),
                });
            }
        }
        Ok(Directives { all })
    }

    /// Returns the values of `word` for the case named `case`, or for a kernel without
    /// cases if that is empty: those above the first `case`, and those below one that fits.
    #[must_use]
    pub fn values(&self, word: &str, case: &str) -> Vec<&str> {
        let fits = |each: &&Directive| {
            each.word == word && each.cases.as_ref().is_none_or(|cases| cases.is_match(case))
        };
        let all = self.all.iter().filter(fits);
        all.map(|each| each.value.as_str()).collect()
    }

    /// Returns the last value of `word`, which is the one that counts of a word that
    /// doesn't add up.
    #[must_use]
    pub fn value(&self, word: &str, case: &str) -> Option<&str> {
        self.values(word, case).pop()
    }

    /// Returns whether any case, or the kernel without one, is given a value for `word`.
    #[must_use]
    pub fn chooses(&self, word: &str) -> bool {
        self.all.iter().any(|each| each.word == word)
    }

    /// Returns the names of the cases; none if the kernel is run but once.
    #[must_use]
    pub fn cases(&self) -> Vec<&str> {
        let lists = self.values("cases", "").into_iter();
        lists.flat_map(str::split_whitespace).collect()
    }

    /// Returns the last value of `word` as a number.
    ///
    /// # Errors
    ///
    /// It is none.
    pub fn number<T: std::str::FromStr>(&self, word: &str, case: &str) -> Result<Option<T>> {
        let Some(value) = self.value(word, case) else {
            return Ok(None);
        };
        match value.trim().parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => bail!("{word}: {value} is no number"),
        }
    }
}

/// Returns what a line of the opening comment says: a word and its value, or nothing if it
/// is prose. `None` for a line that isn't of the comment.
fn comment(line: &str) -> Option<Option<(String, &str)>> {
    let directive = |text: &str, is_word: fn(char) -> bool| -> Option<String> {
        let word = !text.is_empty() && text.chars().all(is_word);
        word.then(|| text.to_ascii_lowercase().replace('_', "-"))
    };
    let (text, is_word): (_, fn(char) -> bool) = if let Some(text) = line.strip_prefix("//@ ") {
        (text, |char| char.is_ascii_lowercase() || char == '-')
    } else if line.is_empty() {
        return Some(None);
    } else {
        // Prose has words in upper case too, but none of ours with a colon.
        let text = line.strip_prefix("//!")?;
        (text.strip_prefix(' ').unwrap_or(text), |char| {
            char.is_ascii_uppercase() || char == '_'
        })
    };
    let said = text.split_once(": ").and_then(|(word, value)| {
        let value = value.trim_start_matches(' ');
        Some((directive(word, is_word)?, value))
    });
    Some(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "//! It does things.\n//!\n//! SMP: 2 4\n//! CASES: a b@0\n//! CASES: c\n\
                       //! APPEND: x=1\n//! CASE: a|c\n//! STATUS:  101\n//! Prose: in between.\n\
                       //! OUTPUT: ^one: two$\n//! OUTPUT:  three\n//! CASE: b@.\n//! APPEND: y\n\
                       //! NOT_ON: 7.2 why\n#![no_std]\n//! SMP: 20\n";

    fn said(source: &str) -> Directives {
        Directives::parse(source).expect("directives")
    }

    fn values(directives: &Directives, word: &str, case: &str) -> Vec<String> {
        let values = directives.values(word, case).into_iter();
        values.map(str::to_owned).collect()
    }

    #[test]
    fn what_stands_above_the_first_case_is_for_all() {
        let said = said(OLD);
        assert_eq!(said.cases(), ["a", "b@0", "c"]);
        assert_eq!(said.value("smp", ""), Some("2 4"));
        assert_eq!(values(&said, "append", ""), ["x=1"]);
        assert_eq!(values(&said, "append", "b@0"), ["x=1", "y"]);
        assert_eq!(said.value("status", "a"), Some("101"));
        assert_eq!(said.value("status", "b@0"), None);
        // A name as a whole.
        assert_eq!(said.value("status", "ca"), None);
        assert_eq!(values(&said, "output", "c"), ["^one: two$", "three"]);
        assert_eq!(said.value("not-on", "b@1"), Some("7.2 why"));
        assert!(said.chooses("not-on") && !said.chooses("gic"));
    }

    #[test]
    fn both_notations_say_the_same() {
        let new: String = OLD
            .lines()
            .map(|line| match comment(line) {
                Some(Some((word, value))) => format!("//@ {word}: {value}\n"),
                _ => format!("{line}\n"),
            })
            .collect();
        assert!(new.contains("//@ not-on: 7.2 why\n") && new.contains("//@ smp: 2 4\n"));
        for word in ["smp", "cases", "append", "status", "output", "not-on"] {
            for case in ["", "a", "b@0", "c"] {
                assert_eq!(
                    values(&said(&new), word, case),
                    values(&said(OLD), word, case)
                );
            }
        }
    }

    #[test]
    fn numbers_are_numbers() {
        let said = said("//@ status: 101\n//@ timeout: soon\n");
        assert_eq!(said.number("status", "").expect("a number"), Some(101));
        assert_eq!(said.number::<u64>("halts", "").expect("nothing"), None);
        assert!(said.number::<u64>("timeout", "").is_err());
    }
}
