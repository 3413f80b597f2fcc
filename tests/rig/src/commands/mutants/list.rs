//! The lists of mistakes in `tests/mutants`: a file for each model, named like the model.
//!
//! A line with the path of a source file comes before its mistakes. A mistake has the
//! correct text, with `- ` before each line, and then the wrong text, with `+ ` before each
//! line. The correct text must occur just once in the source file, and may begin and end in
//! the middle of a line. For an ordering that can't be weakened, `= ` and the reason stand
//! in place of the wrong text. Empty lines separate entries, and a line that begins with `#`
//! is a comment.
//!
//! `tests/host_orderings.rs` includes this file, so it uses only std.

use std::fs;
use std::path::Path;

/// A mistake, or an ordering that can't be weakened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mutant {
    /// The source file in which the mistake is made.
    pub file: String,
    /// The model that must fail.
    pub model: String,
    /// The correct text.
    pub before: String,
    /// The wrong text.
    pub after: Change,
}

/// What replaces a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// This text.
    Text(String),
    /// Nothing, because the ordering can't be weaker, for this reason.
    Nothing(String),
}

/// Returns the mistakes of the lists in the directory `dir`, in the order of the lists' names.
///
/// # Errors
///
/// A list can't be read, or has a line that can't be understood.
pub fn read(dir: &Path) -> Result<Vec<Mutant>, String> {
    let told = |error: std::io::Error| format!("{}: {error}", dir.display());
    let entries = fs::read_dir(dir).map_err(told)?;
    let mut files = Vec::new();
    for entry in entries {
        files.push(entry.map_err(told)?.path());
    }
    files.sort();
    let mut all = Vec::new();
    for file in files {
        let model = file.file_stem().unwrap_or_default().to_string_lossy();
        let text = fs::read_to_string(&file).map_err(told)?;
        all.extend(parse(&model, &text).map_err(|why| format!("{}:{why}", file.display()))?);
    }
    Ok(all)
}

/// Returns the mistakes in the list `text` of the model `model`.
///
/// # Errors
///
/// A line can't be understood; the message names it.
pub fn parse(model: &str, text: &str) -> Result<Vec<Mutant>, String> {
    let mut all = Vec::new();
    let mut file = None;
    let mut entry = Entry::default();
    for (number, line) in text.lines().chain([""]).enumerate() {
        let bad = |why: &str| Err(format!("{}: {why}", number + 1));
        match Line::of(line) {
            Line::Comment => {}
            Line::Before(line) if entry.after.is_empty() => entry.before.push(line),
            Line::Before(_) => return bad("an empty line is missing above"),
            Line::After(line) => entry.after.push(line),
            Line::Reason(reason) => entry.reason = Some(reason),
            Line::Empty | Line::File(_) => {
                if let Some(change) = entry.change() {
                    let Some(file) = file else {
                        return bad("no file is named above");
                    };
                    all.push(Mutant {
                        file: String::from(file),
                        model: model.into(),
                        before: entry.before.join("\n"),
                        after: change,
                    });
                } else if !entry.is_empty() {
                    return bad("above is not a text, and either another or a reason");
                }
                entry = Entry::default();
                if let Line::File(name) = Line::of(line) {
                    file = Some(name);
                }
            }
        }
    }
    Ok(all)
}

/// The lines of a mistake so far.
#[derive(Default)]
struct Entry<'a> {
    before: Vec<&'a str>,
    after: Vec<&'a str>,
    reason: Option<&'a str>,
}

impl Entry<'_> {
    fn is_empty(&self) -> bool {
        self.before.is_empty() && self.after.is_empty() && self.reason.is_none()
    }

    fn change(&self) -> Option<Change> {
        match (self.before.is_empty(), self.after.is_empty(), self.reason) {
            (false, false, None) => Some(Change::Text(self.after.join("\n"))),
            (false, true, Some(reason)) => Some(Change::Nothing(reason.into())),
            _ => None,
        }
    }
}

enum Line<'a> {
    Empty,
    Comment,
    File(&'a str),
    Before(&'a str),
    After(&'a str),
    Reason(&'a str),
}

impl Line<'_> {
    fn of(line: &str) -> Line<'_> {
        let behind = |mark: char| {
            let rest = line.strip_prefix(mark)?;
            Some(rest.strip_prefix(' ').unwrap_or(rest))
        };
        if line.is_empty() {
            Line::Empty
        } else if line.starts_with('#') {
            Line::Comment
        } else if let Some(text) = behind('-') {
            Line::Before(text)
        } else if let Some(text) = behind('+') {
            Line::After(text)
        } else if let Some(reason) = behind('=') {
            Line::Reason(reason)
        } else {
            Line::File(line)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_a_text_and_another() {
        let list = "# comment\nsrc/a.rs\n\n- x();\n-\n-     y();\n+ y(|| 1);\n\n- z\n= so\n\nsrc/b.rs\n- b\n+\n";
        let mutant = |file: &str, before: &str, after| Mutant {
            file: file.into(),
            model: "loom_a".into(),
            before: before.into(),
            after,
        };
        assert_eq!(
            parse("loom_a", list),
            Ok(vec![
                mutant(
                    "src/a.rs",
                    "x();\n\n    y();",
                    Change::Text("y(|| 1);".into())
                ),
                mutant("src/a.rs", "z", Change::Nothing("so".into())),
                mutant("src/b.rs", "b", Change::Text(String::new())),
            ])
        );
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        for (list, line) in [
            ("- x\n+ y\n", "3: no file"),
            ("a\n- x\n", "3: above"),
            ("a\n+ x\n", "3: above"),
            ("a\n- x\n+ y\n= so\n", "5: above"),
            ("a\n- x\n+ y\n- z\n", "4: an empty line"),
        ] {
            let why = parse("loom_a", list).expect_err(list);
            assert!(why.starts_with(line), "{list}: {why}");
        }
    }
}
