//! The examples that programs are shown: those in the documentation of the source, and the files
//! of `examples/api`, which the documentation includes. `host_compile_fail` compiles them, and
//! `host_public` looks for each public item in them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::sources;

/// An example.
#[allow(dead_code, reason = "of the two tests one compiles, and one reads")]
pub(crate) struct Example {
    /// The file in which it stands.
    pub(crate) file: PathBuf,
    /// All of it, as it is compiled.
    pub(crate) code: String,
    /// Without the lines that rustdoc hides.
    pub(crate) shown: String,
}

/// The fence that an example begins with. None is run where it stands.
pub(crate) const EXAMPLE: &str = "```no_run";

/// Returns the text of `line`, if it is a line of documentation.
pub(crate) fn documentation(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let text = line
        .strip_prefix("//!")
        .or_else(|| line.strip_prefix("///"))?;
    Some(text.strip_prefix(' ').unwrap_or(text))
}

/// Returns the examples in the documentation of `text`, a Rust file: those that stand there, and
/// not in a file of their own. The first of each pair has the lines that rustdoc hides, without
/// their mark.
pub(crate) fn in_documentation(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut example: Option<(String, String)> = None;
    for line in text.lines().filter_map(documentation) {
        match (line, &mut example) {
            (EXAMPLE, _) => example = Some(Default::default()),
            ("```", Some(_)) => found.extend(example.take().filter(|(code, _)| !code.is_empty())),
            (line, Some((code, shown))) => {
                let hidden = line.strip_prefix("# ");
                // An attribute of a whole program has no place in a part of one.
                if !line.starts_with("#![") {
                    *code += &format!("{}\n", hidden.unwrap_or(line));
                }
                if hidden.is_none() {
                    *shown += &format!("{line}\n");
                }
            }
            _ => {}
        }
    }
    found
}

/// Returns the files of the source.
pub(crate) fn documented_files() -> Vec<PathBuf> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = vec![src.join("macros/lib.rs")]; // A package of its own.
    sources::collect(&src, &mut files).expect("a directory");
    files.sort();
    files
}

/// Returns all examples of the documentation that stand there.
pub(crate) fn of_documentation() -> Vec<Example> {
    let mut found = Vec::new();
    for file in documented_files() {
        let text = fs::read_to_string(&file).expect("it can be read");
        let examples = in_documentation(&text).into_iter();
        found.extend(examples.map(|(code, shown)| Example {
            file: file.clone(),
            code,
            shown,
        }));
    }
    found
}

/// Returns the files of `examples/api`.
pub(crate) fn of_files() -> Vec<Example> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/api");
    let mut files = Vec::new();
    sources::collect(&directory, &mut files).expect("a directory");
    files.sort();
    let read = |file: PathBuf| {
        let code = fs::read_to_string(&file).expect("it can be read");
        let shown = code.clone();
        Example { file, code, shown }
    };
    files.into_iter().map(read).collect()
}
