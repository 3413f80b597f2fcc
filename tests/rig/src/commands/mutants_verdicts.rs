//! `mutants-verdicts`: checks the verdicts of `mutants` on mistakes whose verdict is known:
//! caught, surviving, hanging, killed, not compiling, or not to be made. It uses the real cargo and
//! real models.

use std::ffi::OsString;
use std::time::Duration;

use anyhow::{Error, Result, bail};
use regex_lite::Regex;

use super::mutants::{Sums, parse, plant};
use crate::config::Config;
use crate::report::print;

/// The mistakes, in the lists of two models.
const LISTS: [(&str, &str); 2] = [
    (
        "loom_trace",
        r#"
src/trace/ring.rs

- slot.sequence.store(0, Ordering::Relaxed);
+ // Caught.

- /// The place of one event of `WORDS` words.
+ /// Survives.

- slot.sequence.store(0, Ordering::Relaxed);
+ loop { std::thread::sleep(core::time::Duration::MAX); } // Hangs.

- slot.sequence.store(0, Ordering::Relaxed);
+ let me = std::process::id().to_string(); // Is killed.
+ let _ = std::process::Command::new("kill").args(["-9", &me]).status();

- slot.sequence.store(0, Ordering::Relaxed);
+ slot.sequence.store(0, ); // No Rust.

- this text is not there
+ anything
"#,
    ),
    (
        "loom_absent",
        "\
src/trace/ring.rs

- /// The place of one event of `WORDS` words.
+ /// No model.
",
    ),
];

/// Patterns for the lines that `mutants` must print, a line each.
const TOLD: [&str; 9] = [
    "^sound .*loom_trace",
    "^caught .*src/trace/ring.rs:.*Caught",
    "^SURVIVED .*src/trace/ring.rs:.*Survives",
    "^TIMED OUT .*src/trace/ring.rs:",
    "^KILLED .*src/trace/ring.rs:",
    "^FAIL .*does not compile",
    "^FAIL .*does not stand there just once",
    "^FAIL .*loom_absent does not pass unchanged",
    "^1 passed, 6 failed, 0 skipped",
];

/// The shortest time limit: short, because a model hangs here.
const FLOOR: Duration = Duration::from_secs(10);

pub fn run(_config: &Config, arguments: &[OsString]) -> Result<i32> {
    if !arguments.is_empty() {
        bail!("mutants-verdicts");
    }
    let mut mutants = Vec::new();
    for (model, list) in LISTS {
        mutants.extend(parse(model, list).map_err(Error::msg)?);
    }
    let mut told = String::new();
    let Sums {
        failed: of_them, ..
    } = plant(&mutants, "", FLOOR, |text| told += text)?;
    let mut failed = 0;
    for pattern in TOLD {
        let line = Regex::new(pattern)?;
        if told.lines().filter(|told| line.is_match(told)).count() != 1 {
            print(&format!(
                "FAIL      there is not one line like: {pattern}\n"
            ));
            failed += 1;
        }
    }
    if of_them == 0 {
        print("FAIL      all mistakes have been caught\n");
        failed += 1;
    }
    if failed != 0 {
        print(&told);
    }
    let passed = TOLD.len() + 1 - failed;
    print(&format!("{passed} passed, {failed} failed, 0 skipped\n"));
    Ok(i32::from(failed != 0))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// The source changes, and this command runs only at night.
    #[test]
    fn each_mistake_but_one_can_be_made() {
        let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut absent = Vec::new();
        for (model, list) in LISTS {
            for mutant in parse(model, list).expect("a list") {
                let source = fs::read_to_string(tree.join(&mutant.file)).expect("a source");
                if source.matches(&mutant.before).count() != 1 {
                    absent.push(mutant.before);
                }
            }
        }
        assert_eq!(absent, ["this text is not there"]);
    }
}
