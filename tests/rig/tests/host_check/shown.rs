//! What a check shows while it runs, and when it is interrupted.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::tree::{Tree, wait_for};

/// Starts a check that hangs, and returns it with the numbers of the processes that hang.
fn hanging(tree: &Tree, command: &mut Command, how: &str) -> (Child, Vec<String>) {
    let child = command.env("FAKE_HANGS", how).spawn().expect("a rig");
    let file = tree.root.join("hanging");
    let numbers = wait_for("it hangs", || fs::read_to_string(&file).ok());
    let numbers = numbers.split_whitespace().map(str::to_owned);
    (child, numbers.collect())
}

fn interrupt(child: &Child) {
    let process = Pid::from_child(child);
    kill_process(process, Signal::INT).expect("a signal");
}

#[test]
fn a_check_that_is_interrupted_says_where_and_leaves_nothing_running() {
    let tree = Tree::new("interrupted");
    let mut check = tree.shell("exec target/debug/stillpoint-rig check fmt clippy-host", "");
    let (child, hanging) = hanging(&tree, check.stdout(Stdio::piped()), "deaf");
    assert_eq!(hanging.len(), 2);
    let log = tree.root.join("target/check/fmt.log");
    wait_for("a line", || {
        fs::read_to_string(&log)
            .ok()
            .filter(|text| !text.is_empty())
    });
    interrupt(&child);
    let output = child.wait_with_output().expect("the rig ends");
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(130), "{text}");
    let told = [
        "1/2 fmt              interrupted after 0:0",
        "    was at: Compiling a crate",
        "    repeat: cargo rig stage fmt",
        "    log: target/check/fmt.log",
        "0 passed, 1 failed, 0 skipped",
    ];
    for (line, wanted) in text.lines().zip(told) {
        assert!(line.starts_with(wanted), "{text}");
    }
    assert_eq!(text.lines().count(), told.len(), "{text}");
    for process in hanging {
        let entry = Path::new("/proc").join(&process);
        assert!(!entry.exists(), "process {process} runs on");
    }
}

#[test]
fn a_stage_that_fails_ends_the_one_beside_it() {
    let tree = Tree::new("beside");
    // Only the cargo of clippy-host hangs; that of clippy-target fails once the other hangs.
    let script = include_str!("cargo.sh").replace(
        "if [ -n \"$FAKE_HANGS\" ]; then",
        "if [ \"$*\" != \"clippy --all-targets -- -D warnings\" ]; then\n\
         until [ -s hanging ]; do sleep 0.02; done\n\
         else",
    );
    fs::write(tree.root.join("bin/cargo"), script).expect("a script");
    let mut check = tree.shell(
        "exec target/debug/stillpoint-rig check clippy-host clippy-target qemu-tests",
        "cargo clippy --release",
    );
    let (child, hanging) = hanging(&tree, check.stdout(Stdio::piped()), "1");
    let output = child.wait_with_output().expect("the rig ends");
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}");
    let line = |start: &str| text.lines().filter(|line| line.starts_with(start)).count();
    assert_eq!(line("2/3 clippy-target    FAIL"), 1, "{text}");
    assert_eq!(line("1/3 clippy-host      ended after 0:0"), 1, "{text}");
    assert_eq!(line("3/3 qemu-tests"), 0, "{text}");
    assert_eq!(line("0 passed, 1 failed, 0 skipped"), 1, "{text}");
    for process in hanging {
        let entry = Path::new("/proc").join(&process);
        assert!(!entry.exists(), "process {process} runs on");
    }
}

/// Returns what a check prints on a terminal of `columns` columns, with `variables`. It is
/// interrupted when it has made place for `lines` live lines.
fn on_terminal(name: &str, columns: u16, variables: &[(&str, &str)], lines: usize) -> String {
    let tree = Tree::new(name);
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&ours).expect("a terminal");
    unlockpt(&ours).expect("a terminal");
    let path = ptsname(&ours, Vec::new()).expect("its name");
    let path = path.to_str().expect("its name").to_owned();
    let theirs = File::options()
        .read(true)
        .write(true)
        .open(path)
        .expect("a terminal");
    let size = Winsize {
        ws_row: 25,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&ours, size).expect("its size");
    let mut check = tree.shell("exec target/debug/stillpoint-rig check fmt", "");
    check.envs(variables.iter().copied());
    check.stdout(theirs.try_clone().expect("a terminal"));
    let (mut child, _) = hanging(&tree, &mut check, "1");
    drop((check, theirs));
    let printed = Arc::new(Mutex::new(String::new()));
    let reader = std::thread::spawn({
        let (printed, mut ours) = (Arc::clone(&printed), File::from(ours));
        move || {
            let mut bytes = [0; 4096];
            // The read fails when the last program has left the terminal.
            while let Ok(length @ 1..) = ours.read(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..length]);
                printed.lock().expect("no panic").push_str(&text);
            }
        }
    });
    let text = || printed.lock().expect("no panic").clone();
    wait_for("live lines", || {
        (text().matches(REPLACE).count() >= lines).then_some(())
    });
    interrupt(&child);
    child.wait().expect("the rig ends");
    reader.join().expect("no panic");
    text()
}

/// What makes place for a live line.
const REPLACE: &str = "\r\x1b[K";

#[test]
fn on_a_terminal_a_live_line_is_replaced_in_place_and_fits() {
    let text = on_terminal("terminal", 60, &[("TERM", "xterm")], 3);
    let live: Vec<&str> = text.split(REPLACE).skip(1).collect();
    for line in &live {
        let first = line.lines().next().unwrap_or_default();
        assert!(
            first.len() < 60 || first.contains("interrupted"),
            "{first:?}"
        );
    }
    let full = |line: &&&str| {
        line.starts_with("1/1 fmt              0:0") && line.len() == 59 && line.ends_with("...")
    };
    assert!(live.iter().any(|line| full(&line)), "{text:?}");
    assert!(text.contains("\x1b[33minterrupted\x1b[0m"), "{text:?}");
}

#[test]
fn a_terminal_may_have_no_colours_or_no_escape_codes() {
    let plain = on_terminal("no-colour", 80, &[("TERM", "xterm"), ("NO_COLOR", "1")], 2);
    assert!(plain.contains(REPLACE), "{plain:?}");
    assert!(!plain.replace(REPLACE, "").contains('\x1b'), "{plain:?}");
    let dumb = on_terminal("dumb", 80, &[("TERM", "dumb")], 0);
    assert!(
        !dumb.contains('\x1b') && dumb.contains("interrupted"),
        "{dumb:?}"
    );
}
