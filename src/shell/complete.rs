//! Completion of what is typed: commands, CPUs, steps, paths.
//!
//! What can stand at a place is in the table of commands ([`Word`]). A word is completed as it
//! stands in the line: one with quotes isn't, because none of what is completed needs them. Inside
//! quotes, and in a comment, nothing is.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::command::{Command, Takes, Word, commands};
use super::files;
use super::machine::Machine;
use super::options::parse_command;
use super::syntax::last_command;

/// How a word of which the beginning has been typed can go on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Completion {
    /// All words that begin so go on with this text; a space ends a unique word.
    Certain(String),
    /// These words begin so, and differ in the next character.
    OneOf(Vec<String>),
}

/// Returns how the word at the end of `before` goes on; `None` if nothing that begins so can
/// stand there.
pub(super) fn completion<M: Machine>(machine: &M, before: &str) -> Option<Completion> {
    let command = last_command(before)?;
    let mut words: Vec<&str> = command.split_whitespace().collect();
    let begun = match command.chars().next_back() {
        Some(last) if !last.is_whitespace() => words.pop()?,
        _ => "",
    };
    let (begun, candidates) = candidates(machine, &words, begun);
    among(begun, candidates)
}

/// Returns the part of `begun` that is completed, and what may stand in its place behind
/// `words`.
fn candidates<'a, M: Machine>(
    machine: &M,
    words: &[&str],
    begun: &'a str,
) -> (&'a str, Vec<String>) {
    let table = commands(machine);
    let names = || table.iter().map(|row| row.name.to_string()).collect();
    let file = |begun: &'a str| (begun, files::names_from(machine, begun));
    if let [_, .., ">"] = words {
        return file(begun);
    }
    if let Some(path) = begun.strip_prefix('>').filter(|_| !words.is_empty()) {
        return file(path);
    }
    // A command may run another one, and so on: the innermost counts. (`stays-flat` of `around`)
    let mut words = words;
    let (row, arguments) = loop {
        let [name, arguments @ ..] = words else {
            return (begun, names());
        };
        let Some(row) = table.iter().find(|row| row.name == *name) else {
            return (begun, Vec::new());
        };
        if let Takes::Command(options, before) = row.takes
            && let Ok(parsed) = parse_command(options, arguments)
            && !row.alone.is_some_and(|option| parsed.has(option))
            && let Some(length) = parsed.operands.len().checked_sub(before)
            && (before > 0 || !begun.starts_with('-') || length > 0)
        {
            // The operands are the last of the words, as they were typed.
            words = &arguments[arguments.len() - length..];
            continue;
        }
        break (row, arguments);
    };
    if begun.starts_with("--") {
        return (begun, long_options(row));
    }
    let options = row.takes.options();
    let value = arguments.last().and_then(|last| {
        let is_it = |short: char, long: &str| {
            last.strip_prefix("--").is_some_and(|name| name == long)
                || last
                    .strip_prefix('-')
                    .is_some_and(|name| name.ends_with(short))
        };
        let option = options
            .iter()
            .find(|option| is_it(option.short, option.long));
        option.and_then(|option| option.value)
    });
    let operands = arguments.iter().copied();
    let operands: Vec<&str> = operands.filter(|word| !word.starts_with('-')).collect();
    let place = operands.len();
    let word = match value {
        Some("cpu-list") => Word::CpuList,
        Some(_) => Word::Any,
        None => match row.words {
            [] => Word::OneOf(row.completed),
            words => words[place.min(words.len() - 1)],
        },
    };
    let word = match word {
        Word::After(word_fn) => word_fn(&operands),
        word => word,
    };
    let or = |mut found: Vec<String>, words: &[&str]| {
        found.extend(words.iter().map(ToString::to_string));
        (begun, found)
    };
    match word {
        // A word depends on others, and not on one that depends on them.
        Word::After(_) | Word::Any => (begun, Vec::new()),
        Word::Command => (begun, names()),
        Word::Path => file(begun),
        Word::CpuOr(words) => or(cpus(machine), words),
        Word::CpuList => {
            let last = begun.rfind([',', '-']).map_or(0, |at| at + 1);
            (&begun[last..], cpus(machine))
        }
        Word::StepOr(words) => or(steps(machine), words),
        Word::Pid => (begun, pids(machine)),
        Word::OneOf(words) => or(Vec::new(), words),
    }
}

/// Returns the long options of `row`.
fn long_options<M: Machine>(row: &Command<M>) -> Vec<String> {
    let options = row.takes.options().iter();
    let known = options.map(|option| String::from("--") + option.long);
    let help = (!matches!(row.takes, Takes::Words)).then(|| "--help".into());
    known.chain(help).collect()
}

/// Returns the numbers of the CPUs.
fn cpus<M: Machine>(machine: &M) -> Vec<String> {
    let possible = machine.masks().possible;
    possible.iter().map(|cpu| cpu.to_string()).collect()
}

/// Returns the numbers of the threads.
fn pids<M: Machine>(machine: &M) -> Vec<String> {
    let threads = machine.threads();
    threads.iter().map(|row| row.id.to_string()).collect()
}

/// Returns the names of the steps.
fn steps<M: Machine>(machine: &M) -> Vec<String> {
    machine.steps().map(|row| row.full_name()).collect()
}

/// Returns how `begun` goes on if one of `candidates` is meant.
fn among(begun: &str, candidates: Vec<String>) -> Option<Completion> {
    let mut fits: Vec<String> = candidates;
    fits.retain(|word| word.starts_with(begun));
    let (first, others) = fits.split_first()?;
    if others.is_empty() {
        // What is below a directory comes next.
        let space = if first.ends_with('/') { "" } else { " " };
        return Some(Completion::Certain(
            String::from(&first[begun.len()..]) + space,
        ));
    }
    let common = others.iter().fold(first.as_str(), |common, word| {
        let same = common.chars().zip(word.chars()).take_while(|(a, b)| a == b);
        &common[..same.map(|(c, _)| c.len_utf8()).sum()]
    });
    Some(match &common[begun.len()..] {
        "" => Completion::OneOf(fits),
        more => Completion::Certain(more.into()),
    })
}

#[cfg(test)]
mod tests {
    use super::Completion::{Certain, OneOf};
    use super::*;

    #[test]
    fn a_word_goes_on_as_far_as_it_is_certain() {
        let words = ["states", "stop", "status", "echo", "/sys/", "日本", "日時"];
        let among = |begun| among(begun, words.map(String::from).into());
        for (begun, wanted) in [
            ("e", Some(Certain("cho ".into()))),
            ("echo", Some(Certain(" ".into()))),
            ("sta", Some(Certain("t".into()))),
            (
                "st",
                Some(OneOf(["states", "stop", "status"].map(String::from).into())),
            ),
            ("", Some(OneOf(words.map(String::from).into()))),
            ("/", Some(Certain("sys/".into()))),
            ("日", Some(OneOf(["日本", "日時"].map(String::from).into()))),
            ("x", None),
            ("é", None),
        ] {
            assert_eq!(among(begun), wanted, "{begun:?}");
        }
    }
}
