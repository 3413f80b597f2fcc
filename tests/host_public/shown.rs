//! Which public items an example shows, as far as its text tells.
//!
//! An item of a module is shown by a path that leads to it: `thread::sleep` where `thread` was
//! imported from `stillpoint::api`, or `sleep` where that was. A method or a field is shown by its
//! path (`Class::fifo`), in the braces behind its type (`HeapStats { total, .. }`), or behind a
//! point. Of what stands behind a point the type is not known; so the example has to name the type
//! too, or, if no other type has a member of that name, anything of its module.
//!
//! A line that rustdoc hides may import, and shows nothing.

use std::collections::{BTreeMap, BTreeSet};

/// Returns the words and signs of `code`, without comments and the insides of texts. `::` is one
/// sign.
fn tokens(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let end = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if first == '"' {
            let mut escaped = false;
            let end = rest[1..].find(|c| {
                let ends = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                ends
            });
            end.map_or(rest.len(), |end| end + 2)
        } else if first == '\'' && rest.chars().nth(2) == Some('\'') {
            3
        } else if is_word(first) {
            let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            found.push(rest[..end].to_owned());
            end
        } else if rest.starts_with("::") {
            found.push("::".to_owned());
            2
        } else {
            if !first.is_whitespace() {
                found.push(first.to_string());
            }
            first.len_utf8()
        };
        rest = &rest[end..];
    }
    found
}

/// Adds what the tree of a `use` brings to `imports`: each name with its whole path. `start` is the
/// path before the tree. Returns what follows the tree.
fn import<'a>(
    start: &str,
    mut rest: &'a [String],
    imports: &mut BTreeMap<String, String>,
) -> &'a [String] {
    let mut path = start.to_owned();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match first.as_str() {
            "::" => path += "::",
            "{" => {
                while rest.first().is_some_and(|next| next != "}") {
                    rest = import(&path, rest, imports);
                    rest = rest.strip_prefix(&[",".to_owned()][..]).unwrap_or(rest);
                }
                return rest.get(1..).unwrap_or_default();
            }
            "self" => path = path.trim_end_matches("::").to_owned(),
            word => path += word,
        }
        let is_end = |next: &String| [",", "}", ";", "as"].contains(&next.as_str());
        if rest.first().is_none_or(is_end) {
            break;
        }
    }
    let mut name = path.rsplit("::").next().unwrap_or_default().to_owned();
    if rest.first().is_some_and(|next| next == "as") {
        name = rest[1].clone();
        rest = &rest[2..];
    }
    imports.insert(name, path);
    rest
}

/// Splits `tokens` into what they import and the rest.
fn split(tokens: &[String]) -> (BTreeMap<String, String>, Vec<String>) {
    let mut imports = BTreeMap::new();
    let mut body = Vec::new();
    let mut rest = tokens;
    while let Some((first, after)) = rest.split_first() {
        // Not that of a bound: `+ use<'_>`.
        let imports_here = first == "use" && after.first().is_some_and(|next| next != "<");
        if imports_here {
            rest = import("", after, &mut imports);
        } else {
            body.push(first.clone());
            rest = after;
        }
    }
    (imports, body)
}

/// What an example shows.
pub(super) struct Shown {
    /// The items to which paths of the example lead, and the modules and types on the way.
    items: BTreeSet<String>,
    /// The same, with what it only imports.
    named: BTreeSet<String>,
    /// The words behind a point.
    members: BTreeSet<String>,
}

/// Adds `path` to `items`, and each path that leads to it.
fn add(path: &str, items: &mut BTreeSet<String>) {
    let Some(path) = path.strip_prefix("stillpoint::") else {
        return;
    };
    let ends = path.match_indices("::").map(|(end, _)| end);
    items.extend(ends.chain([path.len()]).map(|end| path[..end].to_owned()));
}

impl Shown {
    /// Reads an example of which `code` is all, and `shown` is what rustdoc shows.
    pub(super) fn new(code: &str, shown: &str) -> Shown {
        let (imports, _) = split(&tokens(code));
        let (_, body) = split(&tokens(shown));
        let (mut items, mut members) = (BTreeSet::new(), BTreeSet::new());
        let is_word = |token: &String| token.starts_with(|c: char| c.is_alphanumeric() || c == '_');
        let mut at = 0;
        while at < body.len() {
            let begin = at;
            at += 1;
            if !is_word(&body[begin]) {
                continue;
            }
            if begin > 0 && body[begin - 1] == "." {
                members.insert(body[begin].clone());
                continue;
            }
            while at + 1 < body.len() && body[at] == "::" && is_word(&body[at + 1]) {
                at += 2;
            }
            let first = &body[begin];
            let first = imports.get(first).unwrap_or(first);
            let mut path = first.to_owned() + &body[begin + 1..at].concat();
            let next = body.get(at).map(String::as_str);
            if next == Some("!") && !path.starts_with("stillpoint::api::") {
                path += "!";
            }
            add(&path, &mut items);
            if next == Some("{") && path.starts_with("stillpoint::") {
                let inside = body[at + 1..].iter().take_while(|token| *token != "}");
                for field in inside.filter(|token| is_word(token)) {
                    add(&format!("{path}::{field}"), &mut items);
                }
            }
        }
        let mut named = items.clone();
        for path in imports.values() {
            add(path, &mut named);
        }
        Shown {
            items,
            named,
            members,
        }
    }

    /// Returns whether the example shows `item`. `is_ambiguous` says whether more than one type has
    /// a member of that name.
    pub(super) fn has(&self, item: &str, is_ambiguous: bool) -> bool {
        if self.items.contains(item) {
            return true;
        }
        let Some((owner, member)) = item.rsplit_once("::") else {
            return false;
        };
        let module = match owner.rsplit_once("::") {
            Some((module, name)) if name.starts_with(char::is_uppercase) => module,
            _ => return false, // No member.
        };
        let is_named = self.named.contains(owner) || !is_ambiguous && self.named.contains(module);
        is_named && self.members.contains(member)
    }
}

#[test]
fn what_an_example_shows_is_seen() {
    let code = "\
use stillpoint::api::{time::{self, Timer}, thread as threads, cpu::CpuMask};
use stillpoint::{println, api::stop::HeldUp};
use stillpoint::api::log;
let timer = Timer::new(|| println!(\"{}: Condvar\", 'x'));
timer.start(time::now()); // timer.cancel()
log::info!(\"{:?}\", threads::current().name());
let HeldUp { by, .. } = held;
#[stillpoint::main]
fn main() {}
";
    let example = Shown::new(code, code);
    let has = |item| example.has(item, false);
    for item in [
        "api::time",
        "api::time::Timer",
        "api::time::Timer::new",
        "api::time::Timer::start",
        "api::time::now",
        "api::thread::current",
        "api::thread::Thread::name",
        "api::stop::HeldUp",
        "api::stop::HeldUp::by",
        "api::log::info",
        "println!",
    ] {
        assert!(has(item), "{item}: {:?}", example.items);
    }
    for item in [
        "api::cpu::CpuMask",
        "api::cpu::CpuMask::new",
        "api::time::Timer::cancel",
        "api::time::sleep",
        "api::task::current",
        "api::stop::HeldUp::thread",
        "api::sync::Condvar",
        "api::hotplug::Step::start",
        "print!",
    ] {
        assert!(!has(item), "{item}: {:?}", example.items);
    }
    // Several types have a name, and no thread is named.
    assert!(!example.has("api::thread::Thread::name", true));
    assert!(example.has("api::time::Timer::start", true));
    // What imports is hidden, and what follows is not; and the other way round.
    let (imports, rest) = code.split_at(code.find("let").expect("a line"));
    assert!(Shown::new(code, rest).has("api::time::Timer::new", true));
    assert!(!Shown::new(code, imports).has("api::time::Timer", true));
}
