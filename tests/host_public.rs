//! What is public, name by name: `public_items.txt` lists what a program may use, and this
//! fails when a name appears in `src/api` that isn't in the list, or goes from there. A
//! name in the list is a promise; so it gets there by hand.
//!
//! It reads the source, because the library for the target has no other list on a stable
//! compiler: rustdoc's JSON is unstable. It relies on rustfmt: what is public in a module
//! begins at the margin, what is public in an `impl` four columns from there. Of a type
//! that is re-exported or an alias, the list has the name alone.

#[path = "support/sources.rs"]
mod sources;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The attribute that keeps the next item from programs.
const INSIDE: &str = "#[cfg(feature = \"internals\")]";

/// Files that are no module of their own for a program: `api` itself re-exports from them.
const PRIVATE: [&str; 3] = ["mod", "macros", "termination"];

/// The words that may stand between `pub` and the name.
const KEYWORDS: [&str; 9] = [
    "const", "unsafe", "fn", "struct", "enum", "trait", "type", "static", "mod",
];

/// The name at the start of `text`.
fn name(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_');
    &text[..end.unwrap_or(text.len())]
}

/// The name of the public item that begins with `line`, unless it is a `use`.
fn item(line: &str) -> Option<&str> {
    let mut rest = line.strip_prefix("pub ")?;
    if rest.starts_with("use ") {
        return None;
    }
    while let Some(keyword) = KEYWORDS.iter().find(|word| name(rest) == **word) {
        rest = rest[keyword.len()..].trim_start();
    }
    Some(name(rest))
}

/// The names that `tree`, what stands behind a `use`, makes.
fn used(tree: &str) -> Vec<String> {
    let tree = tree.trim();
    if let Some((_, inner)) = tree.split_once('{') {
        let inner = inner.strip_suffix('}').expect("rustfmt closes it");
        let mut depth = 0;
        let parts = inner.split(|c| {
            depth += i32::from(c == '{') - i32::from(c == '}');
            c == ',' && depth == 0
        });
        return parts.flat_map(used).collect();
    }
    let last = tree.rsplit("::").next().unwrap_or(tree);
    let last = last.rsplit(" as ").next().unwrap_or(last);
    Vec::from_iter((!last.is_empty()).then(|| last.to_owned()))
}

/// The type of an `impl` that begins with `line`; nothing for the `impl` of a trait, which
/// makes no names.
fn implemented(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("impl")?;
    if rest.contains(" for ") {
        return None;
    }
    let rest = match rest.strip_prefix('<') {
        // Bounds with generics of their own aren't used there.
        Some(generics) => generics.split_once("> ")?.1,
        None => rest.trim_start(),
    };
    Some(name(rest))
}

/// The public names in `text`, the file of the module `module`.
fn names(module: &str, text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut owner = None;
    let mut before = ["", ""];
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line == INSIDE || line.trim_start().starts_with(INSIDE) {
            // What it is about ends at the margin.
            for line in lines.by_ref() {
                if line.ends_with(';') || line == "}" {
                    break;
                }
            }
            continue;
        }
        if !line.starts_with([' ', '#', '/', '}']) && !line.is_empty() {
            owner = implemented(line).or_else(|| item(line));
        }
        if let Some(name) = item(line) {
            found.insert(format!("{module}::{name}"));
        }
        if let Some(tree) = line.strip_prefix("pub use ") {
            let mut tree = tree.to_owned();
            while !tree.ends_with(';') {
                tree += lines.next().expect("a `use` ends").trim();
            }
            let hidden = before[1] == "#[doc(hidden)]";
            for name in used(tree.trim_end_matches(';')) {
                let mark = if hidden { " (hidden)" } else { "" };
                found.insert(format!("{module}::{name}{mark}"));
            }
        }
        if let Some(name) = line.strip_prefix("macro_rules! ") {
            let exported = before.contains(&"#[macro_export]");
            if exported {
                found.insert(format!("{}!", name.trim_end_matches(" {")));
            }
        }
        if let Some(inner) = line.strip_prefix("    ").and_then(item) {
            let owner = owner.expect("it is inside of something");
            found.insert(format!("{module}::{owner}::{inner}"));
        }
        before = [before[1], line];
    }
    found
}

/// All that `src/api` makes public.
fn public() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/api");
    let mut files = Vec::new();
    sources::collect(&root, &mut files).expect("a directory");
    let mut found = BTreeSet::new();
    for file in files {
        let path = file.strip_prefix(&root).expect("below it");
        let path = path.with_extension("");
        let module: Vec<_> = ["api".into()]
            .into_iter()
            .chain(path.iter().map(|part| part.to_string_lossy()))
            .filter(|part| !PRIVATE.contains(&&**part))
            .collect();
        let text = fs::read_to_string(&file).expect("it is readable");
        found.extend(names(&module.join("::"), &text));
    }
    found
}

#[test]
fn the_public_items_are_those_of_the_list() {
    let list = include_str!("public_items.txt");
    let listed: BTreeSet<String> = list
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect();
    let found = public();
    let new: Vec<_> = found.difference(&listed).collect();
    let gone: Vec<_> = listed.difference(&found).collect();
    assert!(
        new.is_empty() && gone.is_empty(),
        "tests/public_items.txt promises what programs may use.\n\
         Public, and not in it: {new:#?}\nIn it, and not public: {gone:#?}"
    );
}

#[test]
fn what_is_public_is_seen() {
    let text = "\
pub mod one;
mod two;
pub use crate::a::{B, c::{D, E as F}};
#[doc(hidden)]
pub use crate::print;
#[cfg(feature = \"internals\")]
pub use {
    crate::hidden::X,
    y::Z,
};
pub struct S {
    pub field: u8,
    hidden: u8,
}
impl<'a, T: Send> S<'a, T> {
    pub const fn get(&self) -> u8 {
        self.field
    }
    fn hidden(&self) {}
    #[cfg(feature = \"internals\")]
    pub fn inside();
}
pub(crate) fn hidden() {}
pub fn free<T>() {
}
#[macro_export]
macro_rules! shout {
    () => {};
}
";
    let names = names("m", text);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "m::B",
            "m::D",
            "m::F",
            "m::S",
            "m::S::field",
            "m::S::get",
            "m::free",
            "m::one",
            "m::print (hidden)",
            "shout!",
        ]
    );
}
