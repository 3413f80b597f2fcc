//! Which of its tests a program runs, by the options that Rust's own tests have.

use alloc::vec::Vec;

/// The arguments of a program of tests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TestArgs<'a> {
    /// Parts of the names of the tests to run; all tests if it is empty.
    filters: Vec<&'a str>,
    /// `--skip`: parts of the names of tests to leave out.
    skips: Vec<&'a str>,
    /// `--exact`: the parts are whole names.
    exact: bool,
    /// `--ignored`: only the tests that are ignored otherwise.
    only_ignored: bool,
    /// `--include-ignored`: the tests that are ignored otherwise, too.
    ignored_too: bool,
    /// `--list`: print the names, and run nothing.
    pub list: bool,
    /// `--from=N`: how many of the tests were done before this boot.
    pub from: usize,
}

impl<'a> TestArgs<'a> {
    /// Returns the meaning of `words`.
    ///
    /// # Errors
    /// The first word that is no option, or that needs a value.
    pub fn parse(words: impl IntoIterator<Item = &'a str>) -> Result<TestArgs<'a>, &'a str> {
        let mut args = TestArgs::default();
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            match word.split_once('=').unwrap_or((word, "")) {
                ("--exact", "") => args.exact = true,
                ("--ignored", "") => args.only_ignored = true,
                ("--include-ignored", "") => args.ignored_too = true,
                ("--list", "") => args.list = true,
                ("--skip", "") => args.skips.push(words.next().ok_or(word)?),
                ("--skip", part) => args.skips.push(part),
                ("--from", number) => args.from = number.parse().map_err(|_| word)?,
                // Output is never held back, and tests run one after the other.
                ("--nocapture" | "--no-capture" | "--show-output", "") => {}
                ("--test-threads", "") => drop(words.next().ok_or(word)?),
                ("--test-threads", _) => {}
                (option, _) if option.starts_with('-') => return Err(word),
                _ => args.filters.push(word),
            }
        }
        Ok(args)
    }

    /// Returns whether the test `name` is one of those whose results are wanted.
    pub fn selects(&self, name: &str) -> bool {
        let meant = |part: &&str| match self.exact {
            true => name == *part,
            false => name.contains(part),
        };
        (self.filters.is_empty() || self.filters.iter().any(meant)) && !self.skips.iter().any(meant)
    }

    /// Returns whether a selected test is run; `is_ignored` says whether it has the attribute
    /// `ignore`.
    pub fn runs(&self, is_ignored: bool) -> bool {
        self.ignored_too || is_ignored == self.only_ignored
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed<'a>(words: &[&'a str]) -> TestArgs<'a> {
        TestArgs::parse(words.iter().copied()).expect("options")
    }

    #[test]
    fn names_are_selected_as_by_rusts_own_tests() {
        let all = ["a::one", "a::two", "b::one"];
        let selected = |words: &[&str]| {
            let args = parsed(words);
            let names = all.iter().copied().filter(|name| args.selects(name));
            names.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(selected(&[]), "a::one a::two b::one");
        assert_eq!(selected(&["one"]), "a::one b::one");
        assert_eq!(selected(&["one", "two"]), "a::one a::two b::one");
        assert_eq!(selected(&["--exact", "a::one", "one"]), "a::one");
        assert_eq!(selected(&["one", "--skip", "b::"]), "a::one");
        assert_eq!(selected(&["--skip=one", "--nocapture"]), "a::two");
        assert_eq!(selected(&["--test-threads", "1", "two"]), "a::two");
    }

    #[test]
    fn ignored_tests_run_if_they_are_asked_for() {
        let runs = |word: &str| {
            let args = parsed(&[word]);
            (args.runs(false), args.runs(true))
        };
        assert_eq!(runs("one"), (true, false));
        assert_eq!(runs("--ignored"), (false, true));
        assert_eq!(runs("--include-ignored"), (true, true));
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        let refused = |words: &[&'static str]| TestArgs::parse(words.iter().copied());
        assert_eq!(refused(&["a", "--exakt"]), Err("--exakt"));
        assert_eq!(refused(&["--exact=a"]), Err("--exact=a"));
        assert_eq!(refused(&["--skip"]), Err("--skip"));
        assert_eq!(refused(&["--from=x"]), Err("--from=x"));
        assert_eq!(parsed(&["--from=3"]).from, 3);
    }
}
