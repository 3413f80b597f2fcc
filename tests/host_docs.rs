//! Checks that the documents agree with the tree.

#[path = "support/sources.rs"]
mod sources;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("it is there")
}

/// Returns the text of all Rust files below the directory `path`.
fn rust_text(path: &Path) -> String {
    let mut files = Vec::new();
    sources::collect(path, &mut files).expect("a directory");
    let read = |file| fs::read_to_string(file).expect("it is readable");
    files.into_iter().map(read).collect()
}

/// Returns the crates that Cargo.toml depends on, in the spelling of the code.
fn dependencies(manifest: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut wanted = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            // The crates of the models are named only in `sync`; the tests' only other
            // dependency is this library.
            wanted = line.ends_with("dependencies]")
                && !line.contains("cfg(loom)")
                && !line.contains("dev-");
        } else if let Some((name, _)) = line.split_once(" = ").filter(|_| wanted) {
            names.push(name.replace('-', "_"));
        }
    }
    names
}

#[test]
fn every_crate_has_a_job_and_the_docs_name_it() {
    let source = rust_text(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let table = read("docs/references.md");
    let crates = dependencies(&read("Cargo.toml"));
    assert!(crates.len() > 10, "{crates:?}");
    for name in crates {
        assert!(
            source.contains(&format!("{name}::")),
            "no line of src names {name}"
        );
        let row = format!("| `{}` |", name.replace('_', "-"));
        assert!(table.contains(&row), "docs/references.md has no row {row}");
    }
}

#[test]
fn the_program_of_the_readme_is_the_one_that_runs() {
    let program = read("examples/api/program.rs");
    let (_, section) = read("README.md")
        .split_once("\n## A program\n\n")
        .map(|(before, after)| (before.to_string(), after.to_string()))
        .expect("the section");
    let shown: String = section
        .lines()
        .take_while(|line| line.is_empty() || line.starts_with("    "))
        .map(|line| format!("{}\n", line.strip_prefix("    ").unwrap_or(line)))
        .collect();
    assert_eq!(shown.trim_end(), program.trim_end());
}

/// Returns the lines of `text` that begin with `start`, without it and what ends them.
fn lines_with<'a>(text: &'a str, start: &str, end: &str) -> Vec<&'a str> {
    let lines = text.lines().filter_map(|line| line.strip_prefix(start));
    lines.map(|line| line.trim_end_matches(end)).collect()
}

#[test]
fn the_chapter_on_programs_describes_the_template_and_the_runner() {
    let chapter = read("docs/applications.md");
    let template = |file: &str| read(&format!("examples/template/{file}"));
    let (program, _) = template("src/main.rs")
        .split_once("\n#[cfg(test)]")
        .map(|(program, tests)| (program.to_owned(), tests.to_owned()))
        .expect("the template has tests");
    assert!(chapter.contains(&format!("```rust\n{program}```\n")));
    // Each argument of the linker and the compiler, in the template as in this tree.
    let flags = lines_with(&template(".cargo/config.toml"), "    \"-C", "\",").join(" ");
    let ours = lines_with(&read(".cargo/config.toml"), "    \"-C", "\",").join(" ");
    assert_eq!(flags, ours);
    for flag in flags.split(' ') {
        let flag = flag.strip_prefix("link-arg=").unwrap_or(flag);
        assert!(chapter.contains(&format!("{flag}`")), "no word of {flag}");
    }
    for key in ["channel", "targets"] {
        let of_template = lines_with(&template("rust-toolchain.toml"), key, "").join("");
        assert_eq!(
            of_template,
            lines_with(&read("rust-toolchain.toml"), key, "").join("")
        );
    }
    // Each option of the runner, and each feature.
    let boot = read("tests/rig/src/commands/boot.rs");
    let (_, options) = boot.split_once("const OPTIONS:").expect("the options");
    let (options, _) = options.split_once("];").expect("their end");
    let options: Vec<_> = between(options, '"').collect();
    assert!(options.len() > 10, "{options:?}");
    for option in options {
        assert!(
            chapter.contains(&format!("`--{option}`")),
            "no word of --{option}"
        );
    }
    let manifest = read("Cargo.toml");
    let (_, features) = manifest.split_once("\n[features]\n").expect("features");
    let (features, _) = features.split_once("\n[").expect("their end");
    let features = features.lines().filter_map(|line| line.split_once(" = ["));
    let features: Vec<_> = features.map(|(name, _)| name).collect();
    assert!(features.len() > 10, "{features:?}");
    for feature in features {
        let named = chapter.contains(&format!("`{feature}`"));
        assert!(named || feature == "default", "no word of {feature}");
    }
}

#[test]
fn the_readme_has_each_command_of_the_shell() {
    let table = read("src/shell/table.rs");
    let names = table.split("Command::new(").skip(1);
    let names: Vec<&str> = names.filter_map(|row| row.split('"').nth(1)).collect();
    assert!(names.len() > 25, "{names:?}");
    let readme = read("README.md");
    let (_, section) = readme.split_once("\n## The shell\n").expect("the section");
    let rows: Vec<&str> = section
        .lines()
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'))
        .flat_map(|row| between(row, '`'))
        .filter_map(|usage| usage.split_whitespace().next())
        .collect();
    assert!(rows.len() > 10, "{rows:?}");
    let missing: Vec<&str> = names
        .into_iter()
        .filter(|name| !rows.contains(name))
        .collect();
    assert!(missing.is_empty(), "the table has no {missing:?}");
}

/// The steps that the README's sample of `trace` shows on the way `direction`, in its order.
fn sampled_steps<'a>(readme: &'a str, direction: &str) -> Vec<&'a str> {
    let lines = readme.lines().filter(|line| line.starts_with("[ "));
    let names = lines.filter_map(|line| {
        let mut words = line.split_once(']')?.1.split_whitespace().skip(1);
        (words.next()? == direction).then(|| words.next())?
    });
    // The still point's parts have such names too.
    let is_step = |name: &&str| name.contains(':') && !name.starts_with("stop:");
    names.filter(is_step).collect()
}

#[test]
fn the_sample_of_trace_has_the_steps_of_the_table() {
    let readme = read("README.md");
    let table = read("src/hotplug/table.rs");
    let rows = table.split("\ntable![").nth(1).expect("the table");
    let mut names: Vec<&str> = rows
        .lines()
        .filter_map(|line| line.trim().strip_prefix("name: \"")?.strip_suffix("\","))
        .collect();
    assert!(names.len() > 10, "{names:?}");
    assert_eq!(sampled_steps(&readme, "up"), names);
    names.reverse();
    assert_eq!(sampled_steps(&readme, "down"), names);
}

/// The names of rows that a chapter names, in the order in which it does.
fn rows_named(text: &str) -> Vec<&str> {
    let names = between(text, '`').filter(|name| {
        let group = name.split(':').next().unwrap_or_default();
        name.contains(':') && ["prep", "sync", "init", "sched", "enable"].contains(&group)
    });
    names.collect()
}

#[test]
fn the_chapter_of_one_cpu_down_has_ten_steps_in_the_order_of_the_table() {
    let chapter = read("docs/one-cpu-down.md");
    let steps = chapter
        .lines()
        .filter(|line| line.starts_with("## ") && line.contains(". "));
    let numbers: Vec<_> = steps.map(|line| line[3..].split('.').next()).collect();
    let ten: Vec<_> = (1..=10).map(|number: u32| number.to_string()).collect();
    assert_eq!(
        numbers,
        ten.iter()
            .map(|number| Some(number.as_str()))
            .collect::<Vec<_>>()
    );
    let table = read("src/hotplug/table.rs");
    let places: Vec<_> = rows_named(&chapter)
        .into_iter()
        .map(|name| {
            let place = table.find(&format!("name: \"{name}\""));
            place.unwrap_or_else(|| panic!("the table has no row {name}"))
        })
        .collect();
    assert!(places.len() >= 8, "{places:?}");
    // On the way down the last row comes first.
    assert!(places.is_sorted_by(|one, next| one > next), "{places:?}");
}

/// Returns the files of the tree that `text` names between backquotes. Names with a place
/// holder (`qemu_NAME.rs`) or an asterisk (`host_*`) are left out.
fn named_files(text: &str) -> impl Iterator<Item = &str> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted.filter(|word| {
        let inside = ["src/", "tests/", "benches/"];
        inside.iter().any(|folder| word.starts_with(folder))
            && !word.contains(|c: char| c.is_whitespace() || "*[".contains(c))
            && !word.contains("NAME")
    })
}

/// Returns the documents, as paths from the root.
fn documents() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut documents: Vec<String> = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"]
        .map(str::to_string)
        .into();
    for entry in fs::read_dir(root.join("docs")).expect("a directory") {
        let name = entry.expect("an entry").file_name();
        let name = name.to_string_lossy();
        // There are pictures too.
        if name.ends_with(".md") {
            documents.push(format!("docs/{name}"));
        }
    }
    documents
}

#[test]
fn the_files_that_the_documents_name_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut named = 0;
    for document in documents() {
        for file in named_files(&read(&document)) {
            named += 1;
            assert!(root.join(file).exists(), "{document} names {file}");
        }
    }
    assert!(named > 40, "only {named} names were found");
}

/// Returns the anchors of a document's headings.
fn anchors(text: &str) -> Vec<String> {
    let headings = text.lines().filter_map(|line| {
        let title = line.trim_start_matches('#');
        (title.len() < line.len()).then_some(title.strip_prefix(' ')?)
    });
    let anchor = |title: &str| {
        let kept = title
            .chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.collect::<String>().to_lowercase().replace(' ', "-")
    };
    headings.map(anchor).collect()
}

#[test]
fn the_links_of_the_documents_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut followed = 0;
    for document in documents() {
        let text = read(&document);
        let here = Path::new(&document).parent().expect("a file");
        for link in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            if link.contains("://") {
                continue;
            }
            followed += 1;
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() {
                Path::new(&document).to_path_buf()
            } else {
                here.join(file)
            };
            assert!(root.join(&target).exists(), "{document} links to {link}");
            if !anchor.is_empty() {
                let anchors = anchors(&read(&target.to_string_lossy()));
                assert!(
                    anchors.iter().any(|known| known == anchor),
                    "{document} links to {link}: {anchors:?}"
                );
            }
        }
    }
    assert!(followed > 15, "only {followed} links were found");
}

/// Returns the parts of `text` that are between two `mark`s.
fn between(text: &str, mark: char) -> impl Iterator<Item = &str> {
    text.split(mark).skip(1).step_by(2)
}

/// Returns the names of the invariants that the sources define.
fn invariants() -> Vec<String> {
    let source = rust_text(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let items = source
        .lines()
        .filter_map(|line| line.strip_prefix("//! - **"));
    items
        .filter_map(|item| Some(item.split_once("**: ")?.0.to_string()))
        .collect()
}

/// Returns what is wrong with `tests`, the tests of `name`: files, and checks or functions in them.
fn missing_tests(name: &str, tests: &str) -> Vec<String> {
    let mut missing = Vec::new();
    for test in tests.split("; ") {
        let Some((file, names)) = test.split_once(": ") else {
            missing.push(format!("{name}: no test in {test}"));
            continue;
        };
        let source = read(file.trim_matches('`'));
        let checks = between(names, '"').map(str::to_string);
        let functions = between(names, '`').map(|name| format!("fn {name}("));
        let mut count = 0;
        for text in checks.chain(functions) {
            count += 1;
            if !source.contains(&text) {
                missing.push(format!("{name}: {file} has no {text}"));
            }
        }
        if count == 0 {
            missing.push(format!("{name}: no test in {test}"));
        }
    }
    missing
}

/// Returns the untrue statements in `races`, the text of the list of races.
fn untruths(races: &str, invariants: &[String]) -> Vec<String> {
    let mut untruths = Vec::new();
    for race in races.split("\n### ").skip(1) {
        let name = race.lines().next().unwrap_or_default();
        let (Some((_, ruled_out)), Some((_, shown))) = (
            race.split_once("\n- Ruled out by "),
            race.split_once("\n- Shown by "),
        ) else {
            untruths.push(format!("{name}: not ruled out, or not shown"));
            continue;
        };
        let rules = ruled_out.split("\n- ").next().unwrap_or_default();
        let is_rule = |word: &&str| word.contains('-') && !word.contains(['/', ':']);
        for rule in between(rules, '`').filter(is_rule) {
            if !invariants.iter().any(|known| known == rule) {
                untruths.push(format!("{name}: no invariant {rule}"));
            }
        }
        let tests = shown.split("\n\n").next().unwrap_or_default();
        untruths.extend(missing_tests(name, tests));
    }
    untruths
}

#[test]
fn each_race_is_ruled_out_by_what_exists_and_shown_by_a_test() {
    let races = read("docs/races.md");
    assert!(races.matches("\n### ").count() > 25, "where are the races?");
    let untruths = untruths(&races, &invariants());
    assert!(untruths.is_empty(), "{untruths:#?}");
}

#[test]
fn an_untrue_race_is_found() {
    let known = ["some-rule".to_string()];
    let race = |rule: &str, test: &str| {
        format!("\n### A race\nIt is one.\n- Ruled out by {rule}.\n- Shown by {test}.\n")
    };
    let test = "`tests/host_docs.rs`: `an_untrue_race_is_found`, \"An untrue race\"";
    let marked = |text: &str| untruths(text, &known).join("\n");
    // An untrue race
    assert_eq!(marked(&race("`some-rule`, in `src/lib.rs`", test)), "");
    for (text, untruth) in [
        (race("`other-rule`", test), "no invariant other-rule"),
        (
            race("x", "`tests/host_dt.rs`: `no_such_test`"),
            "has no fn no_such_test(",
        ),
        (
            race("x", "`tests/host_dt.rs`: \"no such check\""),
            "has no no such check",
        ),
        (race("x", "`tests/host_docs.rs`: nothing"), "no test in"),
        (race("x", "nothing"), "no test in nothing"),
        (
            "\n### A race\nIt is one.\n".to_string(),
            "not ruled out, or not shown",
        ),
    ] {
        assert!(marked(&text).contains(untruth), "{text}: {}", marked(&text));
    }
}

/// Returns the labels in `text`: those words in parentheses that are a capital letter and a
/// number.
fn labels(text: &str) -> BTreeSet<&str> {
    let inside = text.split('(').skip(1);
    let words = inside.filter_map(|rest| rest.split(')').next());
    words
        .filter(|word| {
            let number = word.strip_prefix(|c: char| c.is_ascii_uppercase());
            number.is_some_and(|number| number.parse::<u32>().is_ok())
        })
        .collect()
}

/// Returns what is wrong with `guarantees`: cells without a test, labels without one, tests that
/// don't exist or that no statement names.
fn unproved(guarantees: &str) -> Vec<String> {
    let Some((statements, tests)) = guarantees.split_once("\n## The tests\n") else {
        return vec!["no tests".to_string()];
    };
    let mut unproved = Vec::new();
    let rows = statements.lines().filter(|line| line.starts_with("| "));
    for row in rows.skip(1) {
        for cell in row.trim_matches('|').split('|').skip(1) {
            if labels(cell).is_empty() {
                unproved.push(format!("no test in the cell {cell} of {row}"));
            }
        }
    }
    let named = labels(statements);
    let mut known = BTreeSet::new();
    for (label, tests) in tests
        .lines()
        .filter_map(|line| line.strip_prefix("- ")?.split_once(": "))
    {
        known.insert(label);
        unproved.extend(missing_tests(label, tests));
    }
    let differences = named.symmetric_difference(&known);
    unproved.extend(differences.map(|label| format!("{label} is not both named and shown")));
    unproved
}

#[test]
fn each_guarantee_has_its_test() {
    let guarantees = read("docs/guarantees.md");
    assert!(labels(&guarantees).len() > 20, "where are the guarantees?");
    let unproved = unproved(&guarantees);
    assert!(unproved.is_empty(), "{unproved:#?}");
}

#[test]
fn a_guarantee_without_a_test_is_found() {
    let page = |cell: &str, test: &str| {
        format!("| Code | A |\n|---|---|\n| one | {cell} |\n\n## The tests\n\n- S1: {test}.\n")
    };
    let found = |cell: &str, test: &str| unproved(&page(cell, test)).join("\n");
    let test = "`tests/host_docs.rs`: `each_guarantee_has_its_test`";
    assert_eq!(found("excluded (S1)", test), "");
    for (cell, test, wrong) in [
        ("excluded", test, "no test in the cell"),
        ("excluded (S1), (S2)", test, "S2 is not both"),
        ("excluded (see)", test, "S1 is not both"),
        (
            "excluded (S1)",
            "`tests/host_dt.rs`: `no_such_test`",
            "has no fn no_such_test(",
        ),
        ("excluded (S1)", "nothing", "no test in nothing"),
    ] {
        assert!(
            found(cell, test).contains(wrong),
            "{cell}: {}",
            found(cell, test)
        );
    }
}
