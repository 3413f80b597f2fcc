//! Plants mistakes, and judges the results of their models.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;

use super::list::{Change, Mutant};

/// How long a model without a mistake may take.
const SOUND_WITHIN: Duration = Duration::from_secs(1200);

/// How many times longer a model with a mistake may take than without.
const SLOWER: u32 = 10;

/// The most characters of a mistake that are shown.
const SHOWN: usize = 60;

/// How a model ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Passed,
    Failed,
    TimedOut,
    Killed,
}

/// A copy of the tree, in which mistakes are planted and models run.
pub trait Tree {
    /// Returns the text of a file without a mistake.
    fn source(&self, file: &str) -> Result<String>;

    /// Puts `text` into the copy of a file.
    fn write(&mut self, file: &str, text: &str) -> Result<()>;

    /// Returns whether a model compiles, as the copy stands.
    fn builds(&mut self, model: &str) -> Result<bool>;

    /// Runs a model for `limit` at most, and returns how it ended and how long it took.
    fn runs(&mut self, model: &str, limit: Duration) -> Result<(End, Duration)>;

    /// Returns the last lines that the compiler or the model has printed.
    fn last_lines(&self) -> String;
}

/// How long a model may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Limit {
    Of(Duration),
    /// It doesn't pass unchanged.
    Red,
}

/// How many mistakes had each outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sums {
    pub caught: usize,
    pub failed: usize,
    /// Orderings that can't be weakened.
    pub unchanged: usize,
}

/// Plants each of `mutants` whose text contains `only`, one at a time. `floor` is the
/// shortest time limit of a model. `tell_fn` gets each verdict as it comes.
///
/// # Errors
///
/// A file can't be read or written, or cargo can't be started.
pub fn plant(
    mutants: &[Mutant],
    only: &str,
    floor: Duration,
    tree: &mut impl Tree,
    mut tell_fn: impl FnMut(&str),
) -> Result<Sums> {
    let mut sums = Sums::default();
    let mut limits = BTreeMap::new();
    for mutant in mutants {
        let Change::Text(after) = &mutant.after else {
            sums.unchanged += 1;
            continue;
        };
        let texts = [&mutant.file, &mutant.model, &mutant.before, after];
        if !texts.iter().any(|text| text.contains(only)) {
            continue;
        }
        let verdict = judge(mutant, after, floor, tree, &mut limits, &mut tell_fn)?;
        tell_fn(&verdict.text);
        if verdict.is_caught {
            sums.caught += 1;
        } else {
            sums.failed += 1;
        }
    }
    Ok(sums)
}

/// The verdict on a mistake, and its line.
struct Verdict {
    is_caught: bool,
    text: String,
}

impl Verdict {
    fn new(word: &str, text: &str) -> Verdict {
        Verdict {
            is_caught: word == "caught",
            text: format!("{word:<9} {text}\n"),
        }
    }
}

/// Returns the verdict on a mistake. `after` replaces the correct text.
fn judge(
    mutant: &Mutant,
    after: &str,
    floor: Duration,
    tree: &mut impl Tree,
    limits: &mut BTreeMap<String, Limit>,
    tell_fn: &mut impl FnMut(&str),
) -> Result<Verdict> {
    let Mutant {
        file,
        model,
        before,
        ..
    } = mutant;
    let source = tree.source(file)?;
    let mut places = source.match_indices(before.as_str());
    let (Some((at, _)), None) = (places.next(), places.next()) else {
        let why = format!("{file}: does not stand there just once: {before}");
        return Ok(Verdict::new("FAIL", &why));
    };
    let limit = match limits.get(model) {
        Some(limit) => *limit,
        None => {
            let limit = find_limit(model, floor, tree, tell_fn)?;
            limits.insert(model.clone(), limit);
            limit
        }
    };
    let number = source[..at].matches('\n').count() + 1;
    let shown: String = after
        .lines()
        .next()
        .unwrap_or_default()
        .chars()
        .take(SHOWN)
        .collect();
    let summary = format!("{file}:{number}: {shown}");
    let Limit::Of(limit) = limit else {
        let why = format!("{model} does not pass unchanged: {summary}");
        return Ok(Verdict::new("FAIL", &why));
    };
    let behind = &source[at + before.len()..];
    tree.write(file, &format!("{}{after}{behind}", &source[..at]))?;
    let verdict = if tree.builds(model)? {
        match tree.runs(model, limit)?.0 {
            End::Failed => Verdict::new("caught", &summary),
            End::Passed => Verdict::new("SURVIVED", &summary),
            End::TimedOut => {
                let text = format!("{summary} (after {} s)", limit.as_secs());
                Verdict::new("TIMED OUT", &text)
            }
            End::Killed => Verdict::new("KILLED", &summary),
        }
    } else {
        let mut verdict = Verdict::new("FAIL", &format!("does not compile: {summary}"));
        verdict.text += &tree.last_lines();
        verdict
    };
    tree.write(file, &source)?;
    Ok(verdict)
}

/// Runs a model without a mistake, and returns its time limit with a mistake.
fn find_limit(
    model: &str,
    floor: Duration,
    tree: &mut impl Tree,
    tell_fn: &mut impl FnMut(&str),
) -> Result<Limit> {
    if tree.builds(model)?
        && let (End::Passed, took) = tree.runs(model, SOUND_WITHIN)?
    {
        tell_fn(&format!("sound     {model}: {} s\n", took.as_secs()));
        return Ok(Limit::Of(floor + SLOWER * took));
    }
    tell_fn(&tree.last_lines());
    Ok(Limit::Red)
}

#[cfg(test)]
mod tests {
    use super::super::list::parse;
    use super::*;

    const SOURCE: &str = "one\nstore(Release);\ntwo two\n";

    /// A tree of one file. Its model passes while the file contains `Release`.
    struct Fake {
        text: String,
        limits: Vec<Duration>,
    }

    impl Tree for Fake {
        fn source(&self, file: &str) -> Result<String> {
            assert_eq!(file, "src/a.rs");
            Ok(SOURCE.into())
        }

        fn write(&mut self, _file: &str, text: &str) -> Result<()> {
            self.text = text.into();
            Ok(())
        }

        fn builds(&mut self, model: &str) -> Result<bool> {
            Ok(model != "loom_absent" && !self.text.contains("no Rust"))
        }

        fn runs(&mut self, _model: &str, limit: Duration) -> Result<(End, Duration)> {
            self.limits.push(limit);
            let end = match () {
                () if self.text.contains("hangs") => End::TimedOut,
                () if self.text.contains("grows") => End::Killed,
                () if self.text.contains("Release") => End::Passed,
                () => End::Failed,
            };
            Ok((end, Duration::from_secs(3)))
        }

        fn last_lines(&self) -> String {
            "its last lines\n".into()
        }
    }

    /// Plants the mistakes of `list`, and returns the counts, the output and the tree.
    fn planted(model: &str, list: &str, only: &str) -> (Sums, String, Fake) {
        let mutants = parse(model, &format!("src/a.rs\n\n{list}")).expect("a list");
        let mut tree = Fake {
            text: SOURCE.into(),
            limits: Vec::new(),
        };
        let mut told = String::new();
        let floor = Duration::from_secs(10);
        let sums = plant(&mutants, only, floor, &mut tree, |text| told += text);
        (sums.expect("no error"), told, tree)
    }

    #[test]
    fn each_verdict_is_told() {
        let list = "- Release\n+ Relaxed\n\n- one\n+ three\n\n- Release\n+ hangs\n\n\
            - Release\n+ grows\n\n- one\n+ no Rust\n\n\
            - absent\n+ x\n\n- two\n+ x\n\n- store\n= weakest already\n";
        let (sums, told, tree) = planted("loom_a", list, "");
        assert_eq!(
            sums,
            Sums {
                caught: 1,
                failed: 6,
                unchanged: 1
            }
        );
        assert_eq!(
            told,
            "sound     loom_a: 3 s\n\
             caught    src/a.rs:2: Relaxed\n\
             SURVIVED  src/a.rs:1: three\n\
             TIMED OUT src/a.rs:2: hangs (after 40 s)\n\
             KILLED    src/a.rs:2: grows\n\
             FAIL      does not compile: src/a.rs:1: no Rust\n\
             its last lines\n\
             FAIL      src/a.rs: does not stand there just once: absent\n\
             FAIL      src/a.rs: does not stand there just once: two\n"
        );
        assert_eq!(tree.text, SOURCE);
        let forty = Duration::from_secs(40);
        assert_eq!(tree.limits, [SOUND_WITHIN, forty, forty, forty, forty]);
    }

    #[test]
    fn a_model_that_is_red_without_a_mistake_shows_nothing() {
        let (sums, told, tree) = planted("loom_absent", "- one\n+ two\n\n- one\n+ three\n", "");
        assert_eq!(sums.failed, 2);
        assert_eq!(
            told,
            "its last lines\n\
             FAIL      loom_absent does not pass unchanged: src/a.rs:1: two\n\
             FAIL      loom_absent does not pass unchanged: src/a.rs:1: three\n"
        );
        assert!(tree.limits.is_empty());
    }

    #[test]
    fn only_those_with_a_text_in_them_are_planted() {
        let list = "- Release\n+ Relaxed\n\n- one\n+ three\n";
        assert_eq!(planted("loom_a", list, "thr").0.failed, 1);
        assert_eq!(planted("loom_a", list, "Rel").0.caught, 1);
        assert_eq!(
            planted("loom_a", list, "loom_a").0,
            Sums {
                caught: 1,
                failed: 1,
                unchanged: 0
            }
        );
        assert_eq!(planted("loom_a", list, "nothing").0, Sums::default());
    }
}
