//! Checks the public names. `public_items.txt` lists the names that a program may use. The
//! test fails if `src/api` has a name that isn't in the list, or lacks a name of the list. A
//! name in the list is a promise, so it is added by hand.
//!
//! The types in a public signature must be in the list too, or be the standard library's.
//! Otherwise a program could hold a value of a type without a name, and depend on it.
//!
//! The test reads the source, because a stable compiler offers no list: rustdoc's JSON is
//! unstable. It relies on rustfmt: a public item of a module begins at the margin, a public
//! item of an `impl` four columns from there. For a type that is re-exported, the test reads
//! the module of the kernel that has it, and lists its methods, constants and public fields.

#[path = "support/examples.rs"]
mod examples;
#[path = "host_public/shown.rs"]
mod shown;
#[path = "support/sources.rs"]
mod sources;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use shown::Shown;

/// The attribute that hides the next item from programs.
const INSIDE: &str = "#[cfg(feature = \"internals\")]";

/// Files that aren't modules for a program: `api` itself re-exports their names.
const PRIVATE: [&str; 6] = ["mod", "macros", "termination", "locks", "pins", "waits"];

/// Files whose names another module re-exports, each with that module.
const OF: [(&str, &str); 11] = [
    ("handle", "thread"),
    ("init_step", "hotplug"),
    ("step", "hotplug"),
    ("multi_step", "hotplug"),
    ("service", "hotplug"),
    ("rcu_box", "rcu"),
    ("pool_scope", "pool"),
    ("residents", "hotplug"),
    ("stop_request", "stop"),
    ("tcp", "net"),
    ("udp", "net"),
];

/// The words that may stand between `pub` and the name.
const KEYWORDS: [&str; 9] = [
    "const", "unsafe", "fn", "struct", "enum", "trait", "type", "static", "mod",
];

/// Returns the name at the start of `text`.
fn name(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_');
    &text[..end.unwrap_or(text.len())]
}

/// Returns the name of the public item that begins with `line`, unless it is a `use`.
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

/// Returns the names that a `use` makes. `tree` is the text after the word `use`.
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

/// Returns the type of an `impl` that begins with `line`; `None` for the `impl` of a trait,
/// which makes no names.
fn implemented(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("impl")?;
    if rest.contains(" for ") {
        return None;
    }
    let rest = match rest.strip_prefix('<') {
        // No `impl` of `src/api` has bounds with generics of their own.
        Some(generics) => generics.split_once("> ")?.1,
        None => rest.trim_start(),
    };
    Some(name(rest))
}

/// Returns the public names in `text`, the file of the module `module`.
fn names(module: &str, text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut owner = None;
    let mut before = ["", ""];
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line == INSIDE || line.trim_start().starts_with(INSIDE) {
            skip_hidden(&mut lines);
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

/// Takes the lines of an item that is hidden from programs. It ends at the margin.
fn skip_hidden<'a>(lines: &mut impl Iterator<Item = &'a str>) {
    lines.find(|line| line.ends_with(';') || *line == "}");
}

/// Returns the public members of the type `of` in `text`: fields, methods and constants.
fn members(text: &str, of: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut owner = None;
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line == INSIDE {
            skip_hidden(&mut lines);
            continue;
        }
        if !line.starts_with([' ', '#', '/', '}']) && !line.is_empty() {
            owner = implemented(line).or_else(|| item(line));
        }
        if owner == Some(of) {
            found.extend(line.strip_prefix("    ").and_then(item).map(str::to_owned));
            // No re-exported tuple has more than one field.
            if line.starts_with("pub struct ") && line.contains("(pub ") {
                found.push("0".to_owned());
            }
        }
    }
    found
}

/// Returns the public members of the types that `text`, the file of the module `module`,
/// re-exports from the kernel.
fn followed(module: &str, text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(tree) = line.strip_prefix("pub use crate::") else {
            continue;
        };
        let mut tree = tree.to_owned();
        while !tree.ends_with(';') {
            tree += lines.next().expect("a `use` ends").trim();
        }
        let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let home = src.join(name(&tree));
        // The members of `api`'s own types have been found in its files.
        if home.ends_with("api") {
            continue;
        }
        let mut files = vec![home.with_extension("rs")];
        if home.is_dir() {
            files.clear();
            sources::collect(&home, &mut files).expect("a directory");
        }
        let texts: Vec<_> = files
            .iter()
            .map(|file| fs::read_to_string(file).expect("it is readable"))
            .collect();
        for of in used(tree.trim_end_matches(';')) {
            let members = texts.iter().flat_map(|text| members(text, &of));
            found.extend(members.map(|member| format!("{module}::{of}::{member}")));
        }
    }
    found
}

/// Calls `each_fn` for each module of `src/api`, with the module's name for programs and its
/// text.
fn each_module(mut each_fn: impl FnMut(&str, &str)) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/api");
    let mut files = Vec::new();
    sources::collect(&root, &mut files).expect("a directory");
    for file in files {
        let path = file.strip_prefix(&root).expect("below it");
        let path = path.with_extension("");
        let module: Vec<_> = ["api".into()]
            .into_iter()
            .chain(path.iter().map(|part| part.to_string_lossy()))
            .filter(|part| !PRIVATE.contains(&&**part))
            .map(|part| match OF.iter().find(|(file, _)| *file == part) {
                Some((_, module)) => (*module).into(),
                None => part,
            })
            .collect();
        let text = fs::read_to_string(&file).expect("it is readable");
        each_fn(&module.join("::"), &text);
    }
}

/// Returns all names that `src/api` makes public.
fn public() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    each_module(|module, text| {
        found.extend(names(module, text));
        found.extend(followed(module, text));
    });
    found
}

/// Returns the names of the list.
fn listed() -> BTreeSet<String> {
    include_str!("public_items.txt")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

/// The items that no example shows, and why, besides those that are hidden.
const NOT_SHOWN: [(&str, &str); 1] = [("api::cpu::PerCpuVar::new", "`percpu!` calls it")];

/// Returns whether `item` of `listed` is hidden from the documentation, or the member of a type
/// that is.
fn is_hidden(item: &str, listed: &BTreeSet<String>) -> bool {
    let owner = item.rsplit_once("::").map_or(item, |(owner, _)| owner);
    item.ends_with(" (hidden)") || listed.contains(&format!("{owner} (hidden)"))
}

/// Returns whether `item` is the member of a type, and another type of `listed` has one of the
/// same name.
fn is_ambiguous(item: &str, listed: &BTreeSet<String>) -> bool {
    let member = |item: &str| -> Option<String> {
        let (owner, member) = item.rsplit_once("::")?;
        let owner = owner.rsplit("::").next()?;
        owner
            .starts_with(char::is_uppercase)
            .then(|| member.to_owned())
    };
    let name = member(item);
    name.is_some() && listed.iter().filter(|it| member(it) == name).count() > 1
}

/// The kernel that shows what becomes of each function in a still point.
const IN_STILL_POINT: &str = "tests/kernels/src/bin/qemu_forbidden_still/main.rs";

/// Returns whether `item` of `listed` is a function, a field or a macro that prints.
fn is_function(item: &str, listed: &BTreeSet<String>) -> bool {
    let name = item.rsplit("::").next().unwrap_or(item);
    let is_module = || {
        let start = format!("{item}::");
        listed.iter().any(|other| other.starts_with(&start))
    };
    match name.strip_suffix('!') {
        Some(name) => name.starts_with("print"),
        None => name.starts_with(|c: char| c.is_ascii_lowercase()) && !is_module(),
    }
}

/// Returns the lines of `tests/in_still_point.txt`: what becomes of a call, and of which items.
fn in_still_point() -> Vec<(&'static str, &'static str)> {
    include_str!("in_still_point.txt")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line.split_once(' ').expect("two words"))
        .collect()
}

/// Returns whether `pattern` of `tests/in_still_point.txt` stands for `item`.
fn stands_for(pattern: &str, item: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => item.starts_with(start),
        None => item == pattern,
    }
}

/// The names of the standard library that signatures use, and `Self`.
const STANDARD: [&str; 35] = [
    "Add",
    "AddAssign",
    "Arguments",
    "Clone",
    "Debug",
    "Default",
    "Deref",
    "DerefMut",
    "Display",
    "Drop",
    "Duration",
    "Eq",
    "Error",
    "Fn",
    "FnMut",
    "FnOnce",
    "Formatter",
    "From",
    "Future",
    "Infallible",
    "IpAddr",
    "Item",
    "Iterator",
    "Option",
    "Output",
    "PartialEq",
    "Range",
    "Result",
    "Self",
    "Send",
    "SocketAddr",
    "String",
    "Sub",
    "Sync",
    "Vec",
];

/// The supertrait that keeps programs from implementing a public trait. It has no name for a
/// program, and the documentation doesn't show its `impl`s.
const SEALED: &str = "Sealed";

/// Returns the signatures of the public items in `text`, without bodies and private fields. The
/// first line of a trait's `impl` counts as a signature.
fn signatures(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line == INSIDE {
            skip_hidden(&mut lines);
            continue;
        }
        let inner = line.trim_start();
        let is_public = inner.starts_with("pub ") && !inner.starts_with("pub use ");
        if !is_public && !line.starts_with("impl") {
            continue;
        }
        let mut signature = inner.to_owned();
        // A field ends with a comma outside parentheses.
        let is_open = |text: &str| text.matches('(').count() > text.matches(')').count();
        while !signature.ends_with(['{', '}', ';'])
            && (is_open(&signature) || !signature.ends_with(','))
        {
            signature += lines.next().expect("an item ends").trim();
        }
        // The body of a function or the value of a constant may be on the same line.
        let end = signature.find(" {").unwrap_or(signature.len());
        signature.truncate(end);
        if !signature.starts_with("pub type ") {
            let value = signature.find(" = ").unwrap_or(signature.len());
            signature.truncate(value);
        }
        if signature.starts_with("pub struct ") {
            // A field of a tuple is private unless it has `pub`.
            let fields = signature.find('(').unwrap_or(signature.len());
            let fields = signature.split_off(fields);
            let fields = fields.split(", ").filter(|field| field.contains("pub "));
            signature += &fields.collect::<String>();
        }
        found.push(signature);
    }
    found
}

/// Returns the names in `signature` that are neither `known` nor type parameters. A name is a
/// word that begins with a capital letter, or a path into this crate.
fn strange<'a>(signature: &'a str, known: &BTreeSet<&str>) -> Vec<&'a str> {
    let words = signature.split(|c: char| !c.is_alphanumeric() && c != '_');
    words
        .filter(|word| *word == "crate" || word.starts_with(char::is_uppercase))
        .filter(|word| word.len() > 1 && !known.contains(word))
        .collect()
}

#[test]
fn the_public_items_are_those_of_the_list() {
    let listed = listed();
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
fn each_item_is_shown_by_an_example() {
    let listed = listed();
    let mut all = examples::of_documentation();
    all.extend(examples::of_files());
    let all: Vec<Shown> = all
        .iter()
        .map(|example| Shown::new(&example.code, &example.shown))
        .collect();
    let is_shown = |item: &str| {
        let is_ambiguous = is_ambiguous(item, &listed);
        all.iter().any(|example| example.has(item, is_ambiguous))
    };
    let excepted = |item: &str| NOT_SHOWN.iter().any(|(it, _)| *it == item);
    let missing: Vec<_> = listed
        .iter()
        .filter(|item| !is_hidden(item, &listed) && !excepted(item) && !is_shown(item))
        .collect();
    let stale: Vec<_> = NOT_SHOWN
        .iter()
        .filter(|(item, _)| !listed.contains(*item) || is_shown(item))
        .collect();
    assert!(
        missing.is_empty() && stale.is_empty(),
        "no example shows {missing:#?}\nexceptions that are none: {stale:#?}"
    );
}

#[test]
fn what_becomes_of_each_function_in_a_still_point_is_known() {
    let listed = listed();
    let lines = in_still_point();
    let unknown: Vec<_> = listed
        .iter()
        .filter(|item| is_function(item, &listed))
        .filter(|item| !lines.iter().any(|(_, pattern)| stands_for(pattern, item)))
        .collect();
    let stale: Vec<_> = lines
        .iter()
        .filter(|(_, pattern)| !listed.iter().any(|item| stands_for(pattern, item)))
        .collect();
    // A method may be added to a type whose line ends in an asterisk, a function to no module.
    let broad: Vec<_> = lines
        .iter()
        .filter(|(_, pattern)| pattern.ends_with('*'))
        .filter(|(_, pattern)| {
            let owner = pattern.trim_end_matches("::*").rsplit("::").next();
            owner.is_none_or(|owner| owner.starts_with(|c: char| c.is_ascii_lowercase()))
        })
        .collect();
    assert!(
        unknown.is_empty() && stale.is_empty() && broad.is_empty(),
        "tests/in_still_point.txt has no line for {unknown:#?}\n\
         and for what isn't there: {stale:#?}\nand for a whole module: {broad:#?}"
    );
}

#[test]
fn each_misuse_in_a_still_point_has_its_case() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(IN_STILL_POINT);
    let kernel = fs::read_to_string(path).expect("it is readable");
    let cases: BTreeSet<&str> = kernel
        .lines()
        .filter_map(|line| line.strip_prefix("//@ cases: "))
        .flat_map(str::split_whitespace)
        .collect();
    let wanted: BTreeSet<&str> = in_still_point()
        .into_iter()
        .map(|(case, _)| case)
        .filter(|case| !["may", "allocates"].contains(case))
        .collect();
    let missing: Vec<_> = wanted.difference(&cases).collect();
    assert!(
        missing.is_empty() && wanted.len() > 60,
        "{IN_STILL_POINT} has no case {missing:?}"
    );
}

#[test]
fn signatures_name_what_programs_have() {
    let listed = listed();
    let last = listed.iter().filter_map(|item| item.rsplit("::").next());
    let known: BTreeSet<&str> = last.chain(STANDARD).chain([SEALED]).collect();
    let mut wrong = Vec::new();
    each_module(|module, text| {
        for signature in signatures(text) {
            let strange = strange(&signature, &known);
            if !strange.is_empty() {
                wrong.push(format!("{module}: {signature}: {strange:?}"));
            }
        }
    });
    assert!(wrong.is_empty(), "not for programs: {wrong:#?}");
}

#[test]
fn a_signature_is_seen_as_far_as_programs_see_it() {
    let text = "\
pub type Lock<T> = lock::Mutex<T, Hw>;
pub struct Thread(Arc<Inner>);
pub struct Pair(pub Seen, Inner);
pub struct S {
    pub field: Seen,
    hidden: Inner,
}
impl From<Inner> for S {
    fn from() {}
}
pub fn free(
    one: Seen,
) -> crate::Other {
    Inner
}
#[cfg(feature = \"internals\")]
impl S {
    pub fn inside() -> Inner {}
}
pub const VALUE: Seen = Inner;
";
    let known = BTreeSet::from(["Seen", "Lock", "Thread", "Pair", "From", "VALUE"]);
    let found = signatures(text);
    let strange: Vec<_> = found.iter().map(|text| strange(text, &known)).collect();
    let wanted: [&[&str]; 8] = [
        &["Mutex", "Hw"],
        &[],
        &[],
        &[],
        &[],
        &["Inner"],
        &["crate", "Other"],
        &[],
    ];
    assert_eq!(strange, wanted, "{found:#?}");
}

#[test]
fn the_members_of_a_type_are_seen() {
    let text = "\
pub struct Pair(pub u8, u8);
pub struct Other {
    pub field: u8,
}
impl Pair {
    pub const MAX: u8 = 1;
    pub fn get(&self) -> u8 {
        self.0
    }
    pub(crate) fn hidden(&self) {}
}
impl Other {
    pub fn set(&mut self) {}
}
#[cfg(feature = \"internals\")]
impl Pair {
    pub fn inside() {}
}
";
    assert_eq!(members(text, "Pair"), ["0", "MAX", "get"]);
    assert_eq!(members(text, "Other"), ["field", "set"]);
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
