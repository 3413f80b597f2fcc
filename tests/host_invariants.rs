//! Checks that every invariant that a comment relies on has a name that can be looked up.
//!
//! 1. **Defined once.** A name is defined in the `# Invariants` section at the head of a
//!    file of `src`, as an item of the form ``- **says-the-rule**: a sentence.``
//! 2. **Used.** A comment that relies on the rule names it: `(says-the-rule)`, several of them
//!    with commas between. The docs of another file name it with the module that defines it:
//!    ``(`says-the-rule` of [`module`])``.
//! 3. **No numbers.** No comment and no panic names a rule by a letter and a number.
//!    [`REAL_NAMES`] has names of this form that are in common use.

#[path = "support/sources.rs"]
mod sources;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

/// Names of a letter and a number that are in common use, such as those of cores.
const REAL_NAMES: &[&str] = &[
    "A35", "A53", "A55", "A57", "A65", "A72", "A73", "A75", "A76", "A77", "A78", "C1", "X1",
];

/// Words in parentheses that have the form of a name but are no rules.
const OTHER_WORDS: &[&str] = &["little-endian", "spin-table", "util-linux"];

/// The kind of a comment, by its first characters.
#[derive(Clone, Copy, PartialEq)]
enum Comment {
    /// `//!`
    Head,
    /// `///`
    Doc,
    /// `//`
    Line,
}

/// Consecutive comment lines of one kind. They are read as one text, because a name with its
/// module may be on two lines.
struct Block {
    kind: Comment,
    lines: Vec<String>,
}

/// Returns the comment of `line`, if it has one.
fn comment(line: &str) -> Option<(Comment, &str)> {
    let (code, text) = line.split_once("//")?;
    // Two slashes inside a string are no comment.
    if code.matches('"').count() % 2 == 1 {
        return None;
    }
    let starts = code.trim().is_empty();
    Some(match text.as_bytes().first() {
        Some(b'!') if starts => (Comment::Head, &text[1..]),
        Some(b'/') if starts => (Comment::Doc, &text[1..]),
        _ => (Comment::Line, text),
    })
}

fn blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut goes_on = false;
    for line in text.lines() {
        let Some((kind, text)) = comment(line) else {
            goes_on = false;
            continue;
        };
        match blocks.last_mut() {
            Some(last) if goes_on && last.kind == kind => last.lines.push(text.to_string()),
            _ => blocks.push(Block {
                kind,
                lines: vec![text.to_string()],
            }),
        }
        goes_on = true;
    }
    blocks
}

/// Returns whether `word` has the form of a name: small letters, with hyphens between words.
fn is_name(word: &str) -> bool {
    word.contains('-')
        && !OTHER_WORDS.contains(&word)
        && word
            .split('-')
            .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase()))
}

/// Returns the name that `line` defines, if it begins an item of an `# Invariants` section.
fn defined(line: &str) -> Option<&str> {
    let (name, sentence) = line.strip_prefix(" - **")?.split_once("**: ")?;
    (is_name(name) && !sentence.is_empty()).then_some(name)
}

/// Returns whether `line` begins an item of a list, numbered or not.
fn is_item(line: &str) -> bool {
    let Some((mark, _)) = line.trim_start().split_once(' ') else {
        return false;
    };
    let number = mark.trim_end_matches(['.', ')']);
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    ["-", "*", "+"].contains(&mark) || is_number && number != mark
}

/// Returns the names that `block` defines, and adds a fault for each item of its section that
/// defines none.
fn definitions(block: &Block, faults: &mut Vec<String>) -> Vec<String> {
    let mut names = Vec::new();
    let mut inside = false;
    for line in &block.lines {
        if line.starts_with(" # ") {
            inside = line == " # Invariants";
        } else if inside && is_item(line) {
            match defined(line) {
                Some(name) if block.kind == Comment::Head => names.push(name.to_string()),
                _ => faults.push(format!("an invariant without a name:{line}")),
            }
        }
    }
    names
}

/// Returns the names in parentheses in `text`, and those that it gives with a module.
fn uses(text: &str) -> (Vec<&str>, Vec<&str>) {
    let mut bare = Vec::new();
    for (at, _) in text.match_indices('(') {
        let Some((inside, _)) = text[at + 1..].split_once(')') else {
            continue;
        };
        if inside.split(", ").all(is_name) {
            bare.extend(inside.split(", "));
        }
    }
    let mut with_module = Vec::new();
    let quoted: Vec<&str> = text.split('`').collect();
    for pair in quoted.windows(2) {
        if is_name(pair[0]) && [" of [", " of "].contains(&pair[1]) {
            with_module.push(pair[0]);
        }
    }
    (bare, with_module)
}

/// Returns the labels in `text`: words of a letter and a number, with a hyphen between or
/// without.
fn labels(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !(c.is_alphanumeric() || "-_.".contains(c)));
    words.filter(|word| {
        let word = word.trim_end_matches(['.', '-']);
        let Some(number) = word.strip_prefix(|c: char| c.is_ascii_uppercase()) else {
            return false;
        };
        let number = number.strip_prefix('-').unwrap_or(number);
        (1..=2).contains(&number.len())
            && number.bytes().all(|byte| byte.is_ascii_digit())
            && !REAL_NAMES.contains(&word)
    })
}

/// Returns the faults of `files`, each of which is a path and its text.
fn faults(files: &[(String, String)]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut homes: BTreeMap<String, &str> = BTreeMap::new();
    let parsed: Vec<(&str, Vec<Block>)> = files
        .iter()
        .map(|(path, text)| (path.as_str(), blocks(text)))
        .collect();
    for (path, blocks) in &parsed {
        for block in blocks {
            for name in definitions(block, &mut faults) {
                if let Some(first) = homes.insert(name.clone(), path) {
                    faults.push(format!("{path}: {name} is defined in {first} too"));
                }
            }
        }
    }
    let mut unused = homes.clone();
    for (path, blocks) in &parsed {
        for block in blocks {
            let text = block.lines.join("");
            let (bare, with_module) = uses(&text);
            for name in bare.iter().chain(&with_module) {
                unused.remove(*name);
                if !homes.contains_key(*name) {
                    faults.push(format!("{path}: {name} is defined nowhere"));
                }
            }
            for name in bare {
                let elsewhere = homes.get(name).is_some_and(|home| home != path);
                if elsewhere && block.kind != Comment::Line {
                    faults.push(format!("{path}: {name} is named without its module"));
                }
            }
            for label in labels(&text) {
                faults.push(format!("{path}: {label} is no name"));
            }
        }
    }
    for (path, text) in files {
        for panic in text.split("\"BUG: ").skip(1) {
            let panic = panic.split('"').next().unwrap_or(panic);
            for label in labels(panic) {
                faults.push(format!("{path}: a panic says {label}"));
            }
        }
    }
    for (name, home) in unused {
        faults.push(format!("{home}: nothing rests on {name}"));
    }
    faults
}

/// Returns this repository's Rust files below `folder`: their paths from its root and texts.
fn read(folder: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    sources::collect(&root.join(folder), &mut files).expect("a directory");
    files.sort();
    let name = |path: &Path| {
        let inside = path.strip_prefix(root).expect("below the root");
        inside.to_string_lossy().into_owned()
    };
    files
        .into_iter()
        .map(|path| (name(&path), fs::read_to_string(&path).expect("readable")))
        // The samples in this file break the rules.
        .filter(|(path, _)| path != file!())
        .collect()
}

#[test]
fn every_invariant_has_one_name_that_is_used() {
    let mut files = read("src");
    for folder in ["tests", "benches", "fuzz"] {
        files.extend(read(folder));
    }
    let found = faults(&files);
    let mut list = String::new();
    for fault in &found {
        let _ = writeln!(list, "{fault}");
    }
    assert!(found.is_empty(), "{list}");
}

/// Returns the faults of a file that defines `first-rule`, and of another file with `text`.
fn beside_a_rule(text: &str) -> Vec<String> {
    let rule = "//! # Invariants\n//! - **first-rule**: it holds.\n\n// (first-rule)\n";
    let file = |path: &str, text: &str| (path.to_string(), text.to_string());
    faults(&[file("a.rs", rule), file("b.rs", text)])
}

#[test]
fn a_rule_that_is_named_with_its_module_is_found() {
    let good = [
        "/// As promised (`first-rule` of [`a`](crate::a)).\n",
        "/// As promised, `first-rule`\n/// of `a`.\n",
        "fn f() {} // (first-rule)\n",
        "// By the Arm ARM, of a Cortex-A72 in EL1.\n",
    ];
    for text in good {
        assert_eq!(beside_a_rule(text), [""; 0], "{text}");
    }
}

#[test]
fn each_kind_of_fault_is_found() {
    let bad = [
        (
            "//! # Invariants\n//! - **first-rule**: again.\n",
            "is defined in a.rs too",
        ),
        (
            "//! # Invariants\n//! - **new-rule**: it holds.\n",
            "nothing rests on new-rule",
        ),
        (
            "//! # Invariants\n//! - S1: it holds.\n",
            "an invariant without a name",
        ),
        (
            "//! # Invariants\n//! - it holds.\n",
            "an invariant without a name",
        ),
        (
            "//! # Invariants\n//! 1. It holds.\n",
            "an invariant without a name",
        ),
        (
            "/// # Invariants\n/// These hold:\n/// 2. It holds.\n",
            "an invariant without a name",
        ),
        (
            "/// # Invariants\n/// - **new-rule**: it holds.\n",
            "an invariant without a name",
        ),
        ("// (no-such-rule)\n", "no-such-rule is defined nowhere"),
        (
            "/// See `no-such-rule` of\n/// [`a`].\n",
            "no-such-rule is defined nowhere",
        ),
        (
            "/// As promised (first-rule).\n",
            "first-rule is named without its module",
        ),
        ("fn f() {} // W2, the waiter's half.\n", "W2 is no name"),
        ("/// Rules out a race (C-12).\n", "C-12 is no name"),
        (
            "fn f() { panic!(\"BUG: it is not so (Q2)\") }\n",
            "a panic says Q2",
        ),
    ];
    for (text, fault) in bad {
        let found = beside_a_rule(text);
        assert!(
            found.iter().any(|it| it.contains(fault)),
            "{text}: {found:?}"
        );
    }
}
