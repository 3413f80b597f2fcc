//! `ls`: the names in a directory, in columns.

use alloc::string::String;
use alloc::vec::Vec;

use super::{Node, all, find};
use crate::shell::command::complain;
use crate::shell::machine::Machine;
use crate::shell::options::{Opt, Parsed};
use crate::shell::status::{Outcome, Status};

/// The options of `ls`.
pub(in crate::shell) const LS_OPTIONS: [Opt; 1] = [Opt {
    short: '1',
    long: "one",
    value: None,
    help: "list one file per line",
}];

/// The width of the table, in columns of the terminal.
const WIDTH: usize = 80;

/// `ls`: prints the names in directories, and files by their paths.
pub(in crate::shell) fn ls<M: Machine>(machine: &M, args: &Parsed<'_>) -> Outcome {
    let paths = match args.operands.as_slice() {
        [] => &["/"],
        paths => paths,
    };
    let mut outcome = Outcome::Continue(Status::SUCCESS);
    for path in paths {
        let names = match find(machine, path) {
            Err(error) => {
                let message = format_args!("cannot access '{path}': {error}");
                complain(machine, "ls", message);
                // GNU's `ls` returns 2, which here stands for a mistake in the line.
                outcome = Outcome::Continue(Status::FAILURE);
                continue;
            }
            Ok(Node::File(_)) => Vec::from([String::from(*path)]),
            Ok(Node::Directory(path)) => names(machine, path),
        };
        if paths.len() > 1 {
            machine.write(format_args!("{path}:\n"));
        }
        print(machine, &names, args.has('1'));
    }
    outcome
}

/// Returns the names in the directory of the path `directory`, as `all` has paths, in their order.
fn names<M: Machine>(machine: &M, directory: String) -> Vec<String> {
    let inside = match directory {
        root if root.is_empty() => root,
        directory => directory + "/",
    };
    let mut names: Vec<String> = all(machine)
        .iter()
        .filter_map(|(path, _)| path.strip_prefix(&inside)?.split('/').next())
        .map(String::from)
        .collect();
    // CPU 2 stands before CPU 10.
    names.sort_by_key(|name| {
        let digits = name.len() - name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        let (word, number) = name.split_at(name.len() - digits);
        (String::from(word), number.parse::<usize>().ok())
    });
    names.dedup();
    names
}

/// Prints `names` in as many columns as fit, down each column, or else in one.
fn print<M: Machine>(machine: &M, names: &[String], one: bool) {
    let widest = names.iter().map(String::len).max().unwrap_or(0) + 2;
    let columns = if one { 1 } else { (WIDTH / widest).max(1) };
    let rows = names.len().div_ceil(columns);
    for row in 0..rows {
        let mut line = String::new();
        for name in names.iter().skip(row).step_by(rows) {
            let from = line.chars().count().next_multiple_of(widest);
            line.extend(core::iter::repeat_n(' ', from - line.chars().count()));
            line.push_str(name);
        }
        machine.write(format_args!("{line}\n"));
    }
}
