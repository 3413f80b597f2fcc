//! Checks source files against the rules, which are data in the parent module.

use std::fmt;

use crate::source::{NamedPath, Source, closing};
use crate::{
    BEHIND_THE_DOOR, DOOR, DRIVERS_NAME, HARDWARE, HARDWARE_NAMES, KNOW_HARDWARE, LAYERS,
    MAY_BE_UNSAFE, TOP,
};

/// A rule that a line breaks.
#[derive(Debug)]
pub(crate) struct Violation {
    pub(crate) rule: &'static str,
    path: String,
    line: usize,
    what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "src/{}:{}: {}: {}",
            self.path, self.line, self.rule, self.what
        )
    }
}

/// Returns all faults of `sources`, which are a tree: a module's `forbid` applies to its
/// children, and a module that is declared under `#[cfg(test)]` is test code.
pub(crate) fn check(sources: &[Source]) -> Vec<Violation> {
    let mut found = Vec::new();
    let tests = test_modules(sources);
    for source in sources {
        let module = source.module();
        let in_test = |test: &Vec<String>| {
            test.len() <= module.len() && test.iter().zip(&module).all(|(a, b)| a == b)
        };
        if !tests.iter().any(in_test) {
            layers(source, &mut found);
            door(source, &mut found);
            purity(source, &mut found);
            safe_by_default(source, sources, &mut found);
        }
        argued(source, &mut found);
    }
    found
}

/// Returns the modules that are declared under `#[cfg(test)]` and have files of their own.
fn test_modules(sources: &[Source]) -> Vec<Vec<String>> {
    let mut modules = Vec::new();
    for source in sources {
        for window in source.tokens.windows(3) {
            if window[0].test && window[0].text == "mod" && window[2].text == ";" {
                let mut module: Vec<String> = source
                    .module()
                    .iter()
                    .map(|name| (*name).to_owned())
                    .collect();
                module.retain(|name| name != "lib");
                module.push(window[1].text.clone());
                modules.push(module);
            }
        }
    }
    modules
}

fn rank(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

fn violation(source: &Source, line: usize, rule: &'static str, what: String) -> Violation {
    Violation {
        rule,
        path: source.path.clone(),
        line,
        what,
    }
}

/// Checks rules 1 and 2.
fn layers(source: &Source, found: &mut Vec<Violation>) {
    let from = source.module()[0];
    if rank(from).is_none() && !TOP.contains(&from) && !HARDWARE.contains(&from) {
        let what = format!("`{from}` has no layer: give it one in tests/host_layering.rs");
        found.push(violation(source, 1, "layers", what));
        return;
    }
    for path in source.paths.iter().filter(|path| !path.test) {
        let Some(to) = from_root(source, path) else {
            continue;
        };
        if to == from {
            continue;
        }
        let reason = if HARDWARE.contains(&from) {
            let fine = HARDWARE.contains(&to)
                || HARDWARE_NAMES.contains(&to)
                || (from == "drivers" && to == DRIVERS_NAME);
            (!fine).then(|| ("hardware", format!("`{from}` may not name `{to}`")))
        } else if HARDWARE.contains(&to) {
            (!KNOW_HARDWARE.contains(&from)).then(|| {
                (
                    "hardware",
                    format!("`{to}` is named by {KNOW_HARDWARE:?} alone"),
                )
            })
        } else if let Some(place) = TOP.iter().position(|top| *top == from) {
            (rank(to).is_none() && !TOP[..place].contains(&to)).then(|| {
                let what = format!("`{from}` may not name `{to}`, which is not below it");
                ("layers", what)
            })
        } else {
            match rank(to) {
                None => Some((
                    "layers",
                    format!("`{from}` may not name `{to}`, which has no layer below it"),
                )),
                Some(rank_to) if Some(rank_to) > rank(from) => Some((
                    "layers",
                    format!("`{from}` is below `{to}` and may not name it"),
                )),
                Some(_) => None,
            }
        };
        if let Some((rule, what)) = reason {
            found.push(violation(source, path.line, rule, what));
        }
    }
}

/// Returns the top-level module that `path` leads to, if the path starts from the root: by
/// `crate::`, or by enough `super::`.
fn from_root<'a>(source: &Source, path: &'a NamedPath) -> Option<&'a str> {
    let segments = &path.segments;
    if segments[0] == "crate" {
        return Some(&segments[1]);
    }
    let start = usize::from(segments[0] == "self");
    let supers = segments[start..]
        .iter()
        .take_while(|segment| *segment == "super")
        .count();
    let depth = source.module().len() + path.inline_modules;
    if supers < depth {
        return None;
    }
    segments.get(start + supers).map(String::as_str)
}

/// Checks rule 3.
fn door(source: &Source, found: &mut Vec<Violation>) {
    if source.module()[0] == DOOR {
        return;
    }
    for path in source.paths.iter().filter(|path| !path.test) {
        let segments: Vec<&str> = path.segments.iter().map(String::as_str).collect();
        if matches!(segments[0], "crate" | "super" | "self") {
            continue;
        }
        let behind = |names: &&&[&str]| segments.windows(names.len()).any(|part| part == **names);
        if let Some(names) = BEHIND_THE_DOOR.iter().find(behind) {
            let what = format!("`{}` comes from `crate::{DOOR}` only", names.join("::"));
            found.push(violation(source, path.line, "one door", what));
        }
    }
}

/// Checks rule 4.
fn purity(source: &Source, found: &mut Vec<Violation>) {
    if rank(source.module()[0]).is_none() {
        return;
    }
    let next = |i: usize| {
        source
            .tokens
            .get(i + 1)
            .map_or("", |token| token.text.as_str())
    };
    for (i, token) in source
        .tokens
        .iter()
        .enumerate()
        .filter(|(_, token)| !token.test)
    {
        let what = match token.text.as_str() {
            "static" => "a pure module has no `static`: its state belongs to the kernel value",
            name if name.ends_with("asm") && next(i) == "!" => {
                "a pure module has no assembly: declare what it needs in `platform`"
            }
            "cfg" | "cfg_attr" if asks_for_target(source, i) => {
                "a pure module is the same on every target"
            }
            _ => continue,
        };
        found.push(violation(source, token.line, "purity", what.to_owned()));
    }
}

/// Returns whether the `cfg` at token `at` names a `target_...`.
fn asks_for_target(source: &Source, at: usize) -> bool {
    let is = |i: usize, text| source.tokens.get(i).is_some_and(|token| token.text == text);
    let open = if is(at + 1, "!") { at + 2 } else { at + 1 };
    is(open, "(")
        && source.tokens[open..closing(&source.tokens, open)]
            .iter()
            .any(|token| token.text.starts_with("target_"))
}

/// Checks rule 5.
fn safe_by_default(source: &Source, all: &[Source], found: &mut Vec<Violation>) {
    let module = source.module();
    if rank(module[0]).is_none()
        || MAY_BE_UNSAFE
            .iter()
            .any(|listed| module.starts_with(listed))
    {
        return;
    }
    // A module can't forbid `unsafe` if a module below it is listed.
    if MAY_BE_UNSAFE
        .iter()
        .any(|listed| listed.starts_with(&module))
    {
        return;
    }
    let forbids = |source: &Source| {
        source
            .find(&["#", "!", "[", "forbid", "(", "unsafe_code"])
            .next()
            .is_some()
    };
    if !all
        .iter()
        .any(|other| module.starts_with(&other.module()) && forbids(other))
    {
        let what = "neither it nor a module above it says `#![forbid(unsafe_code)]`".to_owned();
        found.push(violation(source, 1, "safe by default", what));
    }
}

/// Checks rule 6, also for test code.
fn argued(source: &Source, found: &mut Vec<Violation>) {
    let starts = source
        .find(&["unsafe", "{"])
        .chain(source.find(&["unsafe", "impl"]));
    for token in starts {
        if !has_argument(&source.lines[..token.line]) {
            let what = "`unsafe` without a `// SAFETY:` comment before it".to_owned();
            found.push(violation(source, token.line, "argued", what));
        }
    }
}

/// Returns whether the last of `lines`, or the comment before its statement, has a `SAFETY:`.
/// On the way up, only lines of the same statement are passed.
fn has_argument(lines: &[String]) -> bool {
    for (distance, line) in lines.iter().rev().enumerate() {
        let line = line.trim();
        if line.contains("// SAFETY:") {
            return true;
        }
        let passed = distance == 0
            || line.starts_with("//")
            || line.starts_with("#[")
            || !(line.is_empty() || line.ends_with([';', '{', '}']));
        if !passed {
            return false;
        }
    }
    false
}
