//! The directives of a test kernel, in the first lines of its source. docs/testing.md lists
//! them.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use regex_lite::Regex;

/// The words of all directives but `case`.
const WORDS: [&str; 20] = [
    "append",
    "board",
    "cases",
    "dtb",
    "gic",
    "halts",
    "hangs",
    "icount",
    "long",
    "not-on",
    "output",
    "plan",
    "powerdown",
    "profile",
    "qemu",
    "smp",
    "status",
    "timeout",
    "types",
    "virt",
];

/// The directives of a test kernel.
#[derive(Clone, Debug, Default)]
pub struct Directives {
    all: Vec<Directive>,
}

#[derive(Clone, Debug)]
struct Directive {
    /// A regular expression for the cases for which it is; `None` for all cases, if it stands
    /// above the first `case`.
    cases: Option<Regex>,
    /// A word of [`WORDS`].
    word: String,
    value: String,
}

impl Directives {
    /// Reads the directives in the source file `path`.
    ///
    /// # Errors
    ///
    /// The file can't be read, or [`Directives::parse`] fails.
    pub fn read(path: &Path) -> Result<Directives> {
        let source = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        Directives::parse(&source).with_context(|| path.display().to_string())
    }

    /// Parses the directives in `source`: the lines `//@ word: value` before its first line of
    /// code.
    ///
    /// # Errors
    ///
    /// Such a line has no word of [`WORDS`], the value of `case` isn't a regular expression, or
    /// an ordinary comment begins like a directive, as in `//! SMP: 4`.
    pub fn parse(source: &str) -> Result<Directives> {
        let mut all = Vec::new();
        let mut cases = None;
        let opening = source.lines();
        let opening = opening.take_while(|line| line.is_empty() || line.starts_with("//"));
        for line in opening {
            let Some(line) = line.strip_prefix("//@") else {
                if let Some(asked) = present_form(line) {
                    bail!("{line} is no directive: write {asked}");
                }
                continue;
            };
            let known = |(word, _): &(&str, &str)| *word == "case" || WORDS.contains(word);
            let said = line.trim_start().split_once(": ").filter(known);
            let (word, value) = said.with_context(|| format!("no directive: //@{line}"))?;
            if word == "case" {
                let pattern = value.trim();
                cases = Some(
                    Regex::new(&format!("^(?:{pattern})$"))
                        .with_context(|| format!("case: {pattern}"))?,
                );
            } else {
                all.push(Directive {
                    cases: cases.clone(),
                    word: word.to_owned(),
                    value: value.trim_start_matches(' ').to_owned(),
                });
            }
        }
        Ok(Directives { all })
    }

    /// Returns the values of `word` for the case named `case`: those above the first
    /// directive `case`, and those below such a directive that matches the name. `case` is
    /// empty for a kernel without cases.
    #[must_use]
    pub fn values(&self, word: &str, case: &str) -> Vec<&str> {
        let fits = |each: &&Directive| {
            each.word == word && each.cases.as_ref().is_none_or(|cases| cases.is_match(case))
        };
        let all = self.all.iter().filter(fits);
        all.map(|each| each.value.as_str()).collect()
    }

    /// Returns the last value of `word`. It overrides the earlier values, for a word whose
    /// values aren't joined.
    #[must_use]
    pub fn value(&self, word: &str, case: &str) -> Option<&str> {
        self.values(word, case).pop()
    }

    /// Returns whether `word` has a value for any case.
    #[must_use]
    pub fn chooses(&self, word: &str) -> bool {
        self.all.iter().any(|each| each.word == word)
    }

    /// Returns the names of the cases; none if the kernel has no cases.
    #[must_use]
    pub fn cases(&self) -> Vec<&str> {
        let lists = self.values("cases", "").into_iter();
        lists.flat_map(str::split_whitespace).collect()
    }

    /// Returns the last value of `word` as a number.
    ///
    /// # Errors
    ///
    /// The value isn't a number.
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

/// Returns the directive that the comment `line` was meant as; `None` if it is plain text. It is
/// meant as one if it begins with a word of [`WORDS`] and a colon: in a doc comment in either
/// case, in another comment in upper case, because prose may begin with the lower-case word.
fn present_form(line: &str) -> Option<String> {
    let doc = line.strip_prefix("//!");
    let text = doc.or_else(|| line.strip_prefix("//"))?;
    let (word, value) = text.trim_start().split_once(": ")?;
    let lower = word.to_ascii_lowercase();
    let is_known = lower == "case" || WORDS.contains(&lower.as_str());
    let is_meant = word == word.to_ascii_uppercase() || (doc.is_some() && word == lower);
    (is_known && is_meant).then(|| format!("//@ {lower}: {}", value.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "//! It does things.\n\n//@ smp: 2 4\n//@ cases: a b@0\n\
                          //@ cases: c\n//@ append: x=1\n//@ case: a|c\n//@ status:  101\n\
                          // status: prose\n//@ output: ^one: two$\n//@ output:  three\n\
                          //@ case: b@.\n//@ append: y\n//@ not-on: 7.2 why\n#![no_std]\n\
                          //@ smp: 20\n";

    fn said(source: &str) -> Directives {
        Directives::parse(source).expect("directives")
    }

    fn values(directives: &Directives, word: &str, case: &str) -> Vec<String> {
        let values = directives.values(word, case).into_iter();
        values.map(str::to_owned).collect()
    }

    #[test]
    fn what_stands_above_the_first_case_is_for_all() {
        let said = said(SOURCE);
        assert_eq!(said.cases(), ["a", "b@0", "c"]);
        assert_eq!(said.value("smp", ""), Some("2 4"));
        assert_eq!(values(&said, "append", ""), ["x=1"]);
        assert_eq!(values(&said, "append", "b@0"), ["x=1", "y"]);
        assert_eq!(said.value("status", "a"), Some("101"));
        assert_eq!(said.value("status", "b@0"), None);
        // Only a whole name matches.
        assert_eq!(said.value("status", "ca"), None);
        assert_eq!(values(&said, "output", "c"), ["^one: two$", "three"]);
        assert_eq!(said.value("not-on", "b@1"), Some("7.2 why"));
        assert!(said.chooses("not-on") && !said.chooses("gic"));
    }

    #[test]
    fn a_word_that_is_none_is_found() {
        for source in ["//@ otuput: x\n", "//@ SMP: 2\n", "//! Is\n//@smp 2\n"] {
            assert!(Directives::parse(source).is_err(), "{source}");
        }
        assert!(Directives::parse("#![no_std]\n//@ nothing: x\n").is_ok());
    }

    #[test]
    fn an_old_form_is_refused() {
        for (source, asked) in [
            ("//! SMP: 4\n", "//@ smp: 4"),
            (
                "//! It does things.\n//!\n//! STATUS: 101\n",
                "//@ status: 101",
            ),
            ("// NOT-ON: 7.2 why\n", "//@ not-on: 7.2 why"),
            ("//! CASE: a|c\n", "//@ case: a|c"),
            ("//! smp: 4\n", "//@ smp: 4"),
        ] {
            let refused = Directives::parse(source).expect_err(source).to_string();
            assert!(refused.ends_with(&format!("write {asked}")), "{refused}");
        }
        assert!(Directives::parse("//! NOTE: x\n// status: prose\n").is_ok());
        assert!(Directives::parse("#![no_std]\n//! SMP: 4\n").is_ok());
    }

    #[test]
    fn numbers_are_numbers() {
        let said = said("//@ status: 101\n//@ timeout: soon\n");
        assert_eq!(said.number("status", "").expect("a number"), Some(101));
        assert_eq!(said.number::<u64>("halts", "").expect("nothing"), None);
        assert!(said.number::<u64>("timeout", "").is_err());
    }
}
