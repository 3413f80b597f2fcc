//! How long each stage took the last time it passed, kept in a file for the next time.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A time and a number of runs for each stage.
pub struct Times {
    path: PathBuf,
    of: BTreeMap<String, (Duration, u64)>,
}

impl Times {
    /// Reads the file `path`. If there is none, or it has another form, nothing is known.
    #[must_use]
    pub fn read(path: &Path) -> Times {
        let text = fs::read_to_string(path).unwrap_or_default();
        Times {
            path: path.to_owned(),
            of: text.lines().filter_map(parse).collect(),
        }
    }

    /// Returns how long `stage` took the last time, and how many runs it had.
    #[must_use]
    pub fn last(&self, stage: &str) -> Option<(Duration, u64)> {
        self.of.get(stage).copied()
    }

    /// Keeps how long `stage` took. The next time knows less if that isn't possible.
    pub fn keep(&mut self, stage: &str, took: Duration, runs: u64) {
        self.of.insert(stage.to_owned(), (took, runs));
        let line = |(stage, (took, runs)): (&String, &(Duration, u64))| {
            format!("{stage} {} {runs}\n", took.as_millis())
        };
        let text: String = self.of.iter().map(line).collect();
        let _unknown_next_time = fs::write(&self.path, text);
    }
}

/// Parses a line: the stage, its milliseconds, its runs.
fn parse(line: &str) -> Option<(String, (Duration, u64))> {
    let mut words = line.split(' ');
    let stage = words.next()?.to_owned();
    let took = Duration::from_millis(words.next()?.parse().ok()?);
    let runs = words.next()?.parse().ok()?;
    Some((stage, (took, runs)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_known_the_next_time() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("times");
        let mut times = Times::read(&path);
        assert_eq!(times.last("loom"), None);
        times.keep("loom", Duration::from_millis(61_234), 24);
        times.keep("fmt", Duration::from_millis(900), 0);
        times.keep("fmt", Duration::from_millis(800), 0);
        let next = Times::read(&path);
        assert_eq!(next.last("loom"), Some((Duration::from_millis(61_234), 24)));
        assert_eq!(next.last("fmt"), Some((Duration::from_millis(800), 0)));
        fs::write(&path, "loom\nfmt 9 x\nbuild 5 1\n").expect("written");
        let odd = Times::read(&path);
        assert_eq!((odd.last("loom"), odd.last("fmt")), (None, None));
        assert!(odd.last("build").is_some());
    }
}
